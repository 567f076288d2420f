"""How many of live's files each point would bring back: live is walked once, each index read once.

Both come in one order, so that nothing is held in memory however large the trees are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.engines.trees.comparing import live_entries, side_by_side, without
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import Ground, open_ground
from fsbackup_tui.operations.files_point import open_files_point
from fsbackup_tui.operations.files_take_back import opened
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.trees import own_paths

_SEEN = "live"
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class PointCount:
    """Files of a point against live's; ``missing`` are in the point alone."""

    missing: int = 0
    missing_bytes: int = 0
    changed: int = 0
    only_live: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    path: bytes
    is_directory: bool
    size: int
    modified_ns: int


async def count_points(
    context: JobContext, part: str, points: Iterable[str]
) -> tuple[Mapping[str, PointCount], Mapping[str, FsbackupError]]:
    """Return the counts of each point, and why some could not be read (no key, no index)."""
    ground, spool = open_ground(context, part), context.work / _SEEN
    pace = Pace(context.report, guard=context.work)
    counted: dict[str, PointCount] = {}
    unread: dict[str, FsbackupError] = {}
    try:
        await paced(pace, lambda: _write_down(ground, spool, pace.step))
        for point in points:
            try:
                async with open_files_point(context, point, part, check=False) as opened_point:
                    counted[point] = await opened_point.read_index(
                        lambda index: _count(index, spool)
                    )
            except FsbackupError as error:
                unread[point] = error
    finally:
        spool.unlink(missing_ok=True)
    return counted, unread


def _write_down(ground: Ground, spool: Path, step: Callable[[], None]) -> None:
    """Write what stands in live, one name after the other, each ended by a zero byte."""
    ours = own_paths(ground)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with (
        opened(ground.root) as live,
        os.fdopen(os.open(spool, flags, 0o600), "wb", buffering=1 << 18) as file,
    ):
        entries = live_entries(live, ground.selection) if live is not None else iter(())
        for entry in without(entries, ours):
            step()
            kind = b"d" if entry.kind == "directory" else b"f"
            line = b"%b %d %d %b\0" % (kind, entry.size, entry.modified_ns, entry.path)
            file.write(line)


def _read_down(spool: Path) -> Iterator[_Seen]:
    rest = b""
    with spool.open("rb") as file:
        while chunk := file.read(1 << 18):
            *lines, rest = (rest + chunk).split(b"\0")
            for line in lines:
                kind, size, modified, path = line.split(b" ", _FIELDS - 1)
                yield _Seen(path, kind == b"d", int(size), int(modified))


def _count(index: Iterator[IndexEntry], spool: Path) -> PointCount:
    missing = missing_bytes = changed = only_live = 0
    for was, now in side_by_side(index, _read_down(spool)):
        if was is None:
            only_live += now is not None and not now.is_directory
        elif was.path == b"." or was.kind == "directory":
            continue
        elif now is None:
            missing += 1
            missing_bytes += was.size
        elif was.is_file and (now.size != was.size or now.modified_ns != was.mtime_ns):
            changed += 1
    return PointCount(missing, missing_bytes, changed, only_live)
