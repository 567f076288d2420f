"""The commands of RECOVER.md bring encrypted files, configuration and code back, as pasted."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from fsbackup_tui.engines.encryption.age import new_identity
from fsbackup_tui.operations.backup import back_up
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.repository.layout import open_repository
from tests.support.contexts import context_of
from tests.support.repositories import begin, commit, everything, files_of, git
from tests.support.sites import make_site

pytestmark = pytest.mark.machine
PASSPHRASE = "of many words, with 'quotes'"


@pytest.mark.parametrize("method", ["gpg", "age"])
def test_encrypted_parts_come_back_by_pasting(tmp_path: Path, method: str) -> None:
    tree = begin(tmp_path / "tree")
    library = begin(tmp_path / "library")
    commit(library, "a library", code="lib\n")
    commit(tree, "one", a="1\n" * 30)
    git(tree, "submodule", "--quiet", "add", f"file://{library}", "parts/lib")
    commit(tree, "two", **{".gitignore": "dist/\n"})
    (tree / "a").write_text("2\n" * 30)
    (tree / "loose").write_text("untracked\n")
    (tree / "parts" / "lib" / "code").write_text("changed there\n")
    (tree / "dist").mkdir()
    (tree / "dist" / "main.js").write_text("built\n")
    env = tmp_path / ".env"
    env.write_text("PASSWORD='correct horse'\n")
    env.chmod(0o640)
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "a picture\nof two lines.jpg").write_bytes(b"\xff\xd8" * 999)
    secret, recipient = new_identity()
    (tmp_path / "identity").write_text(f"{secret.reveal()}\n")
    key: dict[str, object] = {"method": "gpg", "passphrase": {"env": "THE_PASSPHRASE"}}
    if method == "age":
        key = {"method": "age", "recipients": [recipient]}
    site = make_site(
        tmp_path / "site",
        "-",
        settings={
            "sources": {
                "env": {"kind": "config", "files": [str(env)], "variables": ["SESSION"]},
                "code": {"kind": "code", "worktree": str(tree), "artifacts": ["dist"]},
                "uploads": {"kind": "files", "root": str(uploads)},
            },
            "plans": {"daily": {"sources": ["env", "code", "uploads"]}},
            "encryption": key,
        },
    )
    site.environment |= {"THE_PASSPHRASE": PASSPHRASE, "SESSION": "it's $secret"}
    repository = open_repository(site.repository)
    context = context_of(site, lambda _event: None)
    manifest, _ = asyncio.run(back_up(BackupRequest(plan="daily"), context, repository))
    point = repository.point_directory(manifest.id)
    text = (point / "RECOVER.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```sh\n")[1:]]
    home = tmp_path / "home"
    (home / ".gnupg").mkdir(parents=True, mode=0o700)
    (home / "passphrase").write_text(PASSPHRASE)
    asked = f"batch\npinentry-mode loopback\npassphrase-file {home}/passphrase\n"
    (home / ".gnupg" / "gpg.conf").write_text(asked)
    (home / "tmp").mkdir()
    done = subprocess.run(
        ["bash", "-c", "set -eu\n" + "".join(blocks)],
        cwd=point,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "AGE_IDENTITY": str(tmp_path / "identity"),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    subprocess.run(["gpgconf", "--kill", "all"], env={**os.environ, "HOME": str(home)}, check=False)
    code, restored = home / "code_restored", home / "env_restored"
    assert everything(code)["status"] == everything(tree)["status"]
    assert files_of(code) == files_of(tree)
    assert (restored / "files" / str(env)[1:]).read_bytes() == env.read_bytes()
    assert (restored / "files" / str(env)[1:]).stat().st_mode & 0o777 == 0o640
    assert (restored / "variables.env").read_text() == 'SESSION="it\'s \\$secret"\n'
    picture = next((home / "uploads_restored").glob("a picture*"))
    assert picture.read_bytes() == b"\xff\xd8" * 999
    assert list((home / "tmp").iterdir()) == []  # nothing in plain is left behind
