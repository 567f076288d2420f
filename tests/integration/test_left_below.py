"""What recoveries leave in a work tree gets into no part of code: trees twice, and secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.tree_marks import Mark, make_marked
from tests.support.code_sites import git
from tests.support.in_process import back_up_in_process
from tests.support.sites import make_site

pytestmark = pytest.mark.machine

SECRET = "canary-7f3"


def test_kept_trees_and_settings_are_no_untracked_files(tmp_path: Path) -> None:
    top = tmp_path / "srv"
    (top / "uploads").mkdir(parents=True)
    (top / "uploads" / "me.jpg").write_text("a picture")
    (top / ".env").write_text(f"KEY={SECRET}\n")
    (top / ".gitignore").write_text(".env\nuploads/\n")
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "add", ".gitignore")
    git(top, "commit", "--quiet", "--message=one")
    sources = {
        "uploads": {"kind": "files", "root": str(top / "uploads"), "plaintext": True},
        "env": {"kind": "config", "files": [str(top / ".env")], "plaintext": True},
        "code": {"kind": "code", "worktree": str(top), "plaintext": True},
    }
    plans = {"daily": {"sources": ["code"], "verify": "sealed"}}
    site = make_site(tmp_path / "site", "", settings={"sources": sources, "plans": plans})

    kept = top / ".before-20261122-01-.env~"
    kept.write_text(f"KEY={SECRET}\n")
    tree = top / "uploads.before-20261122-01"
    at = "2026-11-22T02:00:00Z"
    make_marked(tree, Mark("before", str(top / "uploads"), 0, "uploads", "p", "j", "i", at))
    (tree / "me.jpg").write_text("a picture")
    # What only looks like it is the site's own.
    (top / "uploads.before-lunch").mkdir()
    (top / "uploads.before-lunch" / "notes.txt").write_text("soup")

    point = back_up_in_process(site)
    reader = PointReader(open_repository(site.repository), point)
    code = reader.part("code").code
    assert code is not None
    assert code.untracked == 1
    assert any(kept.name in each for each in reader.part("code").warnings)
    restored = tmp_path / "restored"
    done = site.run(
        "restore", point, "--part", "code", "--to", str(restored), "--apply-work", "--json"
    )
    assert done.exit_code == 0, done.stderr
    files = [path for path in restored.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert {path.name for path in files} == {".gitignore", "notes.txt"}
    assert not any(SECRET in path.read_text() for path in files)
