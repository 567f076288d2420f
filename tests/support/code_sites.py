"""A site whose sources are settings and code, with one point of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.in_process import back_up_in_process
from tests.support.sites import Site, make_site


def site_of_code(directory: Path) -> tuple[Site, Path]:
    """Return a site of settings and code, with one point of it, and its work tree."""
    top = directory / "srv"
    (top / ".next").mkdir(parents=True)
    (top / "uploads").mkdir()
    for name, text in (
        ("server.js", "serve()\n"),
        (".gitignore", ".env\n.next/\nuploads/\n"),
        (".env", "DATABASE_URL=postgres://shop:canary-7f3@db/shop\nAPI_KEY=canary-9c1\n"),
        (".next/app.js", "built of one\n"),
        ("uploads/me.jpg", "a picture"),
    ):
        (top / name).write_text(text)
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=one")
    sources: dict[str, object] = {
        "env": {"kind": "config", "files": [str(top / ".env")], "plaintext": True},
        "code": {"kind": "code", "worktree": str(top), "artifacts": [".next"], "plaintext": True},
    }
    plans = {"daily": {"sources": ["env", "code"], "verify": "sealed"}}
    site = make_site(directory / "site", "", settings={"sources": sources, "plans": plans})
    back_up_in_process(site)
    return site, top


def git(top: Path, *arguments: str) -> str:
    """Run git in a work tree; return what it prints."""
    who = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for role in ("AUTHOR", "COMMITTER"):
        who |= {f"GIT_{role}_NAME": "ana", f"GIT_{role}_EMAIL": "ana@example.org"}
    command = ["git", "-C", str(top), *arguments]
    done = subprocess.run(command, env={**os.environ, **who}, capture_output=True, check=True)
    return done.stdout.decode().strip()
