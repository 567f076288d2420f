"""Incidents of files for tests: a site that has everything, and what its scripted jobs answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.domain.place import PathIdentity, PlaceStanding
from fsbackup_tui.domain.site_damage import SiteCandidate, SiteDamage
from fsbackup_tui.domain.tree import FilesLook, Found, RowFit, Touching, TreeBeside, TreeDifference
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import FilesExchangeRequest
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from tests.support.recovering import (
    LATER,
    NOW,
    POINT,
    Clock,
    ScriptedJobs,
    do_step,
    jobs_of,
    make_desk,
)

ROOT = "/srv/storage"
TREE, KEPT = f"{ROOT}.restore-20261122-01", f"{ROOT}.before-20261122-01"
LIVE, COMING = 100, 200
SOURCES = """\
  uploads: {kind: files, root: /srv/storage}
  public: {kind: files, root: /srv/public}
  env: {kind: config, files: [/srv/.env], plaintext: true}
  code: {kind: code, worktree: /srv}
"""
CLEANER = Touching("process", "cleanup.py", "4711", "/srv/storage/faces", "kill 4711")
CRON = Touching(
    "cron", "0 3 * * * rm -rf /srv/storage", "/etc/crontab", "", "sudoedit /etc/crontab"
)


def standing(clock: Clock, inode: int | None = LIVE, **more: Any) -> PlaceStanding:
    """Return what a look at the uploads sees."""
    return PlaceStanding(
        at=clock(),
        source="uploads",
        kind="files",
        host="db1",
        role="root",
        paths=(PathIdentity(ROOT, 7, inode),),
        owner="www:www",
        mode="drwxr-x---",
        file_system="ext4 on /dev/sdb, mounted at /srv",
        free_bytes=34_000_000_000,
        total_bytes=100_000_000_000,
        touching=(CLEANER, CRON),
        **more,
    )


def seen(clock: Clock, inode: int | None = LIVE, **more: Any) -> dict[str, Any]:
    """Return the same as a job's result."""
    return {"ok": True, **plain(standing(clock, inode, **more))}


def damage(clock: Clock) -> dict[str, Any]:
    """Return the damage: 5 300 files gone, three of them nowhere, and a later point in doubt."""
    missing = Found(5300, 1_200_000_000, ("faces/1.jpg", "faces/2.jpg"))
    nowhere = Found(3, 0, ("faces/x.jpg",))
    look = FilesLook(
        part="uploads",
        point=POINT,
        root=ROOT,
        exists=True,
        files=41_890,
        missing=missing,
        wanted=Found(5280, 1_100_000_000, ("faces/1.jpg",)),
        unnamed=Found(20, 100_000_000, ("faces/2.jpg",)),
        rows=(RowFit("public.videos", "path", 41_000, Found(5283), Found(5280), nowhere),),
        needed_bytes=1_100_000_000,
        beside_bytes=9_000_000_000,
        free_bytes=34_000_000_000,
        seconds=40.0,
    )
    found = SiteDamage(
        at=clock(),
        kind="files",
        part="uploads",
        point=POINT,
        point_at=NOW,
        candidates=(
            SiteCandidate(POINT, NOW, "proven", 65.0, False, files=41_890, brings=5300, seconds=40),
            SiteCandidate(LATER, NOW, "sealed", 5.0, True, doubt="taken after the damage"),
        ),
        found=plain(look),
    )
    return {"ok": True, **plain(found)}


def replies(clock: Clock) -> dict[str, Any]:
    """Return answers to all that a loss of files asks for; an exchange moves the inodes."""
    now = {"live": LIVE}

    def exchange(request: Request) -> Mapping[str, Any]:
        assert isinstance(request, FilesExchangeRequest)
        now["live"] = COMING
        return {
            "ok": True,
            "root": ROOT,
            "kept_as": KEPT,
            "inode": COMING,
            "kept_inode": LIVE,
            "at": "2026-11-22T03:05:00Z",
            "atomic": True,
        }

    gone, since = Found(5300, 1_200_000_000, ("faces/1.jpg",)), Found(12, 3_000_000, ("n.jpg",))
    difference = TreeDifference(TREE, ROOT, 36_590, only_tree=gone, only_live=since)
    tree = TreeBeside(TREE, ROOT, 41_890, 9_000_000_000, COMING)
    back = {"root": ROOT, "undo": "20261122-01", "put_back": plain(Found(5280, 1_100_000_000))}
    nothing = plain(Found())
    return {
        "look-place": lambda _: seen(clock, now["live"]),
        "site-damage": lambda _: damage(clock),
        "keep-tree": {"ok": True, "directory": "/state/evidence", "list": "tree.txt", "listed": 9},
        "files-put-back": {"ok": True, **back, "list_file": "/state/wanted.txt"},
        "files-take-back": {"ok": True, "root": ROOT, "removed": nothing},
        "files-beside": {"ok": True, **plain(tree)},
        "files-compare": {"ok": True, **plain(difference)},
        "files-carry": {"ok": True, "tree": TREE, "root": ROOT, "carried": plain(since)},
        "files-exchange": exchange,
        "files-look": {"ok": True, **damage(clock)["found"], "wanted": nothing},
    }


def site_desk(directory: Path) -> Desk:
    """Return the desk of a site that has everything, whose jobs are scripted."""
    desk = make_desk(directory)
    path = desk.loaded.path
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("plans:\n", SOURCES + "plans:\n"), encoding="utf-8")
    clock = jobs_of(desk).clock
    return replace(
        desk, loaded=load_config(path, {}), start=ScriptedJobs(clock, dict(replies(clock)))
    )


def open_files(desk: Desk, source: str = "uploads", what: Seen = "files") -> RecoverySession:
    """Declare that files are gone."""
    return declare(desk, source=source, seen=what, last_right=NOW)


TO_THE_WAY = ("stop-deleting", "tell-first", "keep-tree", "damage", "choose-point")
TO_THE_EXCHANGE = ("choose-way", "tell-eta", "files-beside", "files-compare", "files-carry")


def files_led_to(desk: Desk, last: str) -> None:
    """Lead an incident of files by scripted jobs to before a step, and get up."""
    session = open_files(desk)
    for step in (*TO_THE_WAY, *TO_THE_EXCHANGE):
        if step == last:
            break
        do_step(session, step, Answer("exchange" if step == "choose-way" else ""))
    session.leave()
