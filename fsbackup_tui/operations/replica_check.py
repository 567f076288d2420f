"""Reading back what lies on a replica: by lot, so that all of it is read within a time.

What was not read for longest comes first, by lot among equals; how long ago that is, is kept in
the state directory. Losing that costs nothing but reading sooner. A wrong or missing file is
recorded at once, before anything is done about it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import ReplicaLacks
from fsbackup_tui.domain.events import Progress, format_time, parse_time
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.engines.remote.remote import RemoteFile
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.replica_send import Far, Listing
from fsbackup_tui.repository.copies import COPIED, UNCOPIED
from fsbackup_tui.repository.files import make_state_directory, replace_file, state_file_mode
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.replica_layout import Stored, point_path


@dataclass
class ReadBack:
    """What reading back found: files and bytes read, and per point what is wrong there."""

    files: int = 0
    bytes: int = 0
    of_bytes: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return it as JSON holds it."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "of_bytes": self.of_bytes,
            "wrong": [{"point": point, "what": what} for point, what in self.wrong.items()],
        }


class LastReads:
    """When each file of a replica was last read back; kept in the state directory."""

    def __init__(self, state: Path, name: str) -> None:
        self._path = state / "replicas" / f"{name}.json"
        self._at: dict[str, datetime] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            document = json.loads(self._path.read_bytes())
            self._at = {path: parse_time(at) for path, at in document["read"].items()}

    def of(self, path: str) -> datetime | None:
        """Return when a file was last read back, None for never."""
        return self._at.get(path)

    def note(self, path: str, at: datetime) -> None:
        """Remember that a file was read back and is right."""
        self._at[path] = at

    def forget(self, path: str) -> None:
        """Forget about a file: it is wrong, or gone."""
        self._at.pop(path, None)

    def keep(self, paths: Sequence[str]) -> None:
        """Write what is known of these files; a state that can't be written costs nothing."""
        read = {path: format_time(self._at[path]) for path in paths if path in self._at}
        with suppress(OSError):
            make_state_directory(self._path.parent)
            content = json.dumps({"format": 1, "read": read}, indent=0).encode()
            replace_file(self._path, content, mode=state_file_mode(self._path))


def listed_wrong(point: str, files: Mapping[str, Stored], listing: Listing) -> list[str]:
    """Return what a listing alone shows: files of a point that are missing or of another size."""
    wrong: list[str] = []
    for name, stored in sorted(files.items()):
        file: RemoteFile | None = listing.get(point_path(point, name))
        if file is None:
            wrong.append(f"{name}: missing")
        elif file.bytes != stored.bytes:
            wrong.append(f"{name}: {file.bytes} bytes, should be {stored.bytes}")
    return wrong


async def read_back(
    context: JobContext,
    home: Repository,
    far: Far,
    points: Mapping[str, tuple[PointSummary, Mapping[str, Stored]]],
    last: LastReads,
    *,
    everything: bool,
) -> ReadBack:
    """Read a share of what should be whole there and record what it showed; see ``ReadBack``.

    ``points`` are those that the records say are there, with their files. ``everything`` reads
    all of them. ReplicaError where the far side stops answering; what was read still counts.
    """
    every = {
        point_path(point, name): (point, name, stored)
        for point, (_summary, files) in points.items()
        for name, stored in files.items()
    }
    result = ReadBack(of_bytes=sum(stored.bytes for _p, _n, stored in every.values()))
    now = context.now()
    chosen = list(every) if everything else _by_lot(far, points, every, last, now)
    total = sum(every[path][2].bytes for path in chosen)
    try:
        for path in chosen:
            point, name, stored = every[path]
            context.report(
                Progress(
                    float(result.bytes), float(total), "bytes", f"read back {far.name}: {path}"
                )
            )
            said = await _read_one(far, path, stored)
            result.files += 1
            result.bytes += stored.bytes
            if said:
                result.wrong.setdefault(point, []).append(f"{name}: {said}")
                last.forget(path)
            else:
                last.note(path, now)
    finally:
        last.keep(list(every))
        for point, what in result.wrong.items():
            record_wrong(context, home, far, point, what)
        _record_read_points(context, home, far, points, last, set(chosen), result)
    return result


async def _read_one(far: Far, path: str, stored: Stored) -> str:
    try:
        digest, size = await far.remote.read_hash(path)
    except ReplicaLacks:
        return "missing"
    if size != stored.bytes:
        return f"{size} bytes, should be {stored.bytes}"
    return "" if digest == stored.sha256 else "altered (its SHA-256 differs)"


def _by_lot(
    far: Far,
    points: Mapping[str, tuple[PointSummary, Mapping[str, Stored]]],
    every: Mapping[str, tuple[str, str, Stored]],
    last: LastReads,
    now: datetime,
) -> list[str]:
    """Return the overdue files, and others up to the share, what was not read for longest first."""
    settings = far.settings.read_back
    copied = {
        point: next((copy.at for copy in summary.copies if copy.replica == far.name), now)
        for point, (summary, _files) in points.items()
    }
    paths = list(every)
    random.SystemRandom().shuffle(paths)
    seen = {path: last.of(path) for path in paths}
    paths.sort(key=lambda path: seen[path] or datetime.min.replace(tzinfo=now.tzinfo))
    wanted = settings.share * sum(stored.bytes for _p, _n, stored in every.values())
    chosen: list[str] = []
    taken = 0
    for path in paths:
        point, _name, stored = every[path]
        overdue = now - (seen[path] or copied[point]) > settings.every
        if overdue or (taken < wanted and settings.share > 0):
            chosen.append(path)
            taken += stored.bytes
    return chosen


def record_wrong(
    context: JobContext, home: Repository, far: Far, point: str, what: Sequence[str]
) -> None:
    """Record that a point is not whole on a replica any more."""
    shown = "; ".join(what[:5]) + (f"; and {len(what) - 5} more" if len(what) > 5 else "")
    write_record(
        home,
        point,
        UNCOPIED,
        {"replica": far.name, "why": shown},
        now=context.now(),
        job=context.job,
        operator=context.operator,
    )


def _record_read_points(
    context: JobContext,
    home: Repository,
    far: Far,
    points: Mapping[str, tuple[PointSummary, Mapping[str, Stored]]],
    last: LastReads,
    chosen: set[str],
    result: ReadBack,
) -> None:
    """Record the points of which the last byte not read yet was read now."""
    for point, (summary, files) in points.items():
        paths = [point_path(point, name) for name in files]
        reads = [last.of(path) for path in paths]
        if point in result.wrong or not chosen.intersection(paths) or None in reads:
            continue
        known = next((c.checked_at for c in summary.copies if c.replica == far.name), None)
        oldest = min(at for at in reads if at is not None)
        if known is not None and oldest <= known:
            continue
        document = {
            "replica": far.name,
            "bytes": sum(stored.bytes for stored in files.values()),
            "artifacts": len(files),
            "read_back": True,
        }
        write_record(
            home,
            point,
            COPIED,
            document,
            now=context.now(),
            job=context.job,
            operator=context.operator,
        )
