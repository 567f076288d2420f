"""A site whose only source is a tree of uploads, with one point of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.events import Event
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import REQUEST_TYPES
from tests.support.contexts import context_of
from tests.support.sites import Site, make_site

PART = "uploads"
ODD = "caf\udce9 \n\\t.jpg"
"""A name that is not UTF-8, with a newline and a backslash in it."""


def snapshot(root: Path, *, times: bool = False) -> dict[str, tuple[object, ...]]:
    """Return every entry below a directory: kind, mode, owner, content, and its times."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory, name)
            facts = path.lstat()
            content: object = "directory"
            if path.is_symlink():
                content = f"-> {path.readlink()}"
            elif path.is_file():
                content = path.read_bytes() if os.access(path, os.R_OK) else facts.st_size
            entry: tuple[object, ...] = (content, facts.st_uid, facts.st_gid)
            if not path.is_symlink():
                entry = (*entry, oct(facts.st_mode))
            if times and content != "directory":
                entry = (*entry, facts.st_mtime_ns)
            found[str(path.relative_to(root))] = entry
    return found


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree with its owners, times and links."""
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)


def fill(root: Path) -> None:
    """Make a tree with a little of everything."""
    for number in range(6):
        path = root / "faces" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(200 + number))
        os.utime(path, ns=(10**18, 10**18 + number))
    (root / "videos" / "deep" / "er").mkdir(parents=True)
    (root / "videos" / "deep" / "er" / "clip.mp4").write_bytes(b"clip" * 1000)
    (root / "videos" / "deep" / "er" / "private.mp4").write_bytes(b"private")
    (root / "videos" / "deep" / "er" / "private.mp4").chmod(0o640)
    (root / "videos" / "deep").chmod(0o751)
    (root / "empty").mkdir(mode=0o700)
    (root / ODD).write_bytes(b"odd")
    (root / "latest").symlink_to("videos/deep/er/clip.mp4")
    os.link(root / "faces" / "0.jpg", root / "zero.jpg")
    if os.geteuid() == 0:
        # Owners that have no account here.
        os.chown(root / "videos" / "deep", 12345, 23456)
        os.chown(root / "videos" / "deep" / "er" / "private.mp4", 12346, 23457)
        os.chown(root / "latest", 12347, 0, follow_symlinks=False)
    with (root / "sparse").open("wb") as file:
        file.truncate(300_000)
        file.seek(200_000)
        file.write(b"end")


@dataclass
class FileSite:
    """The site, its live tree, its point, and how it was when that was taken."""

    site: Site
    root: Path
    point: str = ""
    before: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    _context: JobContext | None = None

    def back_up(self) -> str:
        """Take a point and return its id."""
        done = self.site.run("backup", "daily", "--json")
        assert done.exit_code == 0, done.stderr + done.stdout
        self.point = str(done.document["point"])
        self.before = snapshot(self.root, times=True)
        return self.point

    def context(self, *, job: str = "20261122T020000Z-files-k3f9") -> JobContext:
        """Return the context of a job of the site; its configuration is read once."""
        if self._context is None:
            self._context = context_of(self.site, self.told.append)
        work = self._context.work
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        return replace(self._context, job=job)

    async def ask(self, request: Request, **more: Any) -> dict[str, Any]:
        """Run a request in this process and return its result."""
        module, _, name = REQUEST_TYPES[request.operation].runner.partition(":")
        runner = getattr(__import__(module, fromlist=[name]), name)
        result = await runner(request, self.context(**more))
        assert isinstance(result, dict)
        return result

    @property
    def beside(self) -> list[str]:
        """What stands beside the root."""
        return sorted(path.name for path in self.root.parent.iterdir() if path != self.root)


def make_file_site(
    directory: Path, *, more: Mapping[str, object] | None = None, verify: str = "sealed"
) -> FileSite:
    """Return a site with a filled tree and no point yet."""
    root = directory / "srv" / "storage"
    site = make_site(
        directory / "site",
        "",
        settings={
            "sources": {PART: {"kind": "files", "root": str(root), **(more or {})}},
            "plans": {"daily": {"sources": [PART], "verify": verify}},
        },
    )
    root.mkdir(parents=True)
    fill(root)
    return FileSite(site, root)
