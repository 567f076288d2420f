"""Sending one point to a replica so that it is either whole there, or plainly not yet.

Everything but the manifest goes first, the manifest last; what is there already is taken only
when its bytes are shown to be the right ones. The point's own seal is checked while files travel
that the replica never had (by rsync: before): what is found damaged then stops them, and its
manifest does not go.
The fact is recorded when the far side has listed every file with its size and given the manifest
back.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.domain.errors import PointDamaged, ReplicaError, SafetyRefusal
from fsbackup_tui.domain.events import Event, Progress, Report
from fsbackup_tui.engines.remote.remote import Remote, RemoteFile
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.replica_seals import Seals
from fsbackup_tui.repository.copies import COPIED
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.replica_layout import Stored, point_path, stored_files

Listing = Mapping[str, RemoteFile]


@dataclass(frozen=True, slots=True)
class Far:
    """A replica that is open: its name, its settings, and the way there."""

    name: str
    settings: Replica
    remote: Remote


@dataclass(frozen=True, slots=True)
class Sent:
    """What was done for a point: files and bytes that went, and those that were put again."""

    files: int
    bytes: int
    again: tuple[str, ...]
    seconds: float


async def send_point(
    context: JobContext,
    home: Repository,
    far: Far,
    point: str,
    listing: Listing,
    seals: Seals,
    *,
    known: bool,
    ahead: str | None = None,
) -> Sent | None:
    """Make a point whole on a replica and record it; None where nothing was to be done.

    ``listing`` is what the replica had a moment ago; ``known``: the records say that the point is
    whole there, so that a file of the right size is taken for the right one. ``ahead`` is the
    point that comes next: its seal is checked while this one travels.

    Raises:
        PointDamaged: it is not as it was sealed; its manifest was not sent, and nothing that is
            there was replaced.
        SafetyRefusal: it holds a part in plain, which this replica refuses.
        ReplicaError: the far side failed; what was sent stays, and the next run goes on there.
        LockHeld: the point is being removed.
    """
    started = time.monotonic()
    lock = Lock(home.use_lock(point), what=f"point {point}")
    async with lock.acquire_async(0, context.holder(), shared=True):
        files = await asyncio.to_thread(stored_files, home, point)
        here = {name: listing.get(point_path(point, name)) for name in files}
        lacking = [name for name, file in here.items() if _differs(file, files[name])]
        if known and not lacking:
            return None
        _refuse_what_may_not_go(context, home, far, point)
        found = {name: file for name, file in here.items() if file is not None}
        fresh = [name for name in lacking if name not in found]
        total = sum(files[name].bytes for name in fresh)
        counter = _Counter(context.report, total, f"{far.name}: {point}")
        check = _demand_sealed(seals, point, ahead)
        if far.settings.rsync is not None:
            # Over SSH a place can be such that nothing is ever replaced: nothing wrong may go.
            await check
            await _put(home, far, point, files, fresh, counter, replace=False)
        else:
            sending = _put(home, far, point, files, fresh, counter, replace=False)
            await _while_sealed(check, sending)
        doubted = [name for name in found if name not in lacking] if not known else []
        altered = await _altered(far, home, point, doubted, files)
        again = tuple(sorted({name for name in lacking if name in found} | set(altered)))
        counter.expect(sum(files[name].bytes for name in again))
        await _put(home, far, point, files, again, counter, replace=True)
        await _finish(home, far, point, files, fresh=fresh, again=again)
        sent = sum(files[name].bytes for name in (*fresh, *again))
        seconds = time.monotonic() - started
        _record(context, home, far, point, files, sent, seconds)
        return Sent(len(fresh) + len(again), sent, again, seconds)


def _differs(file: RemoteFile | None, stored: Stored) -> bool:
    return file is None or file.bytes != stored.bytes


def _refuse_what_may_not_go(context: JobContext, home: Repository, far: Far, point: str) -> None:
    reader = PointReader(home, point)
    manifest = reader.manifest
    if manifest is None:
        raise PointDamaged(
            f"POINT INCOMPLETE: {point} has no {MANIFEST_NAME}. Nothing of it was sent.",
            why="The backup that wrote it did not end well.",
            fix="Take a new one: fsbackup backup PLAN",
        )
    plain = [part.source for part in manifest.parts if part.key is None and part.artifacts]
    if far.settings.encrypted_only and plain:
        raise SafetyRefusal(
            f"IN PLAIN: {point} is not sent to {far.name}. Nothing of it was sent.",
            why=f"{', '.join(plain)} of it is not encrypted, and "
            f"{context.loaded.place('replicas', far.name, 'encrypted_only')} takes nothing plain.",
            fix="Encrypt: encryption: in the config, then: fsbackup rekey "
            f"{point}\nOr leave encrypted_only: away there.",
        )


async def _demand_sealed(seals: Seals, point: str, ahead: str | None) -> None:
    if problems := await seals.problems(point, ahead=ahead):
        raise PointDamaged(
            f"POINT DAMAGED: {point} is not as it was sealed. It was not sent.",
            why="\n".join(problems[:5])
            + "\nWhat had begun to go lacks its manifest there, so that "
            "nobody takes it for a point.",
            fix=f"fsbackup verify {point}",
        )


async def _altered(
    far: Far, home: Repository, point: str, names: Sequence[str], files: Mapping[str, Stored]
) -> list[str]:
    """Return which of the files there have other bytes: of a former run nobody knows how it ended.

    Where the far side tells MD5 sums, those are compared; otherwise the bytes are read back.
    """
    if not names:
        return []
    listed = {file.path: file for file in await far.remote.list(point_path(point), hashes=True)}
    altered: list[str] = []
    for name in names:
        file = listed.get(point_path(point, name))
        told = file.hashes.get("md5") if file is not None else None
        if told and told == await asyncio.to_thread(_md5, home, point, name):
            continue
        if told is None:
            digest, size = await far.remote.read_hash(point_path(point, name))
            if (digest, size) == (files[name].sha256, files[name].bytes):
                continue
        altered.append(name)
    return altered


def _md5(home: Repository, point: str, name: str) -> str:
    with (home.point_directory(point) / name).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


async def _while_sealed(check: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Do the work while the check runs; what the check finds ends the work."""
    checking, working = asyncio.ensure_future(check), asyncio.ensure_future(work)
    try:
        await asyncio.wait({checking, working}, return_when=asyncio.FIRST_EXCEPTION)
        if checking.done():
            checking.result()
        await working
        await checking
    finally:
        for task in (checking, working):
            task.cancel()
        await asyncio.gather(checking, working, return_exceptions=True)


async def _put(
    home: Repository,
    far: Far,
    point: str,
    files: Mapping[str, Stored],
    names: Sequence[str],
    counter: _Counter,
    *,
    replace: bool,
) -> None:
    bodies = [name for name in names if name != MANIFEST_NAME]
    if bodies:
        paths = [point_path(point, name) for name in bodies]
        await far.remote.put(home.root, paths, counter.report, replace=replace)
        counter.advance(sum(files[name].bytes for name in bodies))


async def _finish(
    home: Repository,
    far: Far,
    point: str,
    files: Mapping[str, Stored],
    *,
    fresh: Sequence[str],
    again: Sequence[str],
) -> None:
    """See that all is there, send the manifest, and see that it came back as it is."""
    manifest = point_path(point, MANIFEST_NAME)
    await _demand_all(far, point, {n: f for n, f in files.items() if n != MANIFEST_NAME})
    if MANIFEST_NAME in (*fresh, *again):
        await far.remote.put(home.root, [manifest], replace=MANIFEST_NAME in again)
    content = await far.remote.read(manifest)
    if hashlib.sha256(content).hexdigest() != files[MANIFEST_NAME].sha256:
        raise _wrong(far, point, f"{MANIFEST_NAME} came back altered")


async def _demand_all(far: Far, point: str, files: Mapping[str, Stored]) -> None:
    listed = {file.path: file for file in await far.remote.list(point_path(point))}
    for name, stored in sorted(files.items()):
        file = listed.get(point_path(point, name))
        if file is None:
            raise _wrong(far, point, f"{name} was sent and is not there")
        if file.bytes != stored.bytes:
            raise _wrong(far, point, f"{name} has {file.bytes} bytes there, not {stored.bytes}")


def _wrong(far: Far, point: str, what: str) -> ReplicaError:
    return ReplicaError(
        f"NOT WHOLE on {far.name}: {point}.",
        why=f"{far.remote.describe}: {what}.",
        fix=f"Run it again: fsbackup replicate {far.name}. If it stays so, that place does not "
        "keep\nwhat it is given.",
    )


def _record(
    context: JobContext,
    home: Repository,
    far: Far,
    point: str,
    files: Mapping[str, Stored],
    sent: int,
    seconds: float,
) -> None:
    document: dict[str, object] = {
        "replica": far.name,
        "place": far.remote.describe,
        "bytes": sum(stored.bytes for stored in files.values()),
        "artifacts": len(files),
        "sent": sent,
        "seconds": round(seconds, 3),
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


class _Counter:
    """Adds up what several calls of a program tell of their own progress."""

    def __init__(self, report: Report, total: int, detail: str) -> None:
        self._report = report
        self._total = total
        self._detail = detail
        self._before = 0

    def report(self, event: Event) -> None:
        """Pass an event on; progress counts for the whole point."""
        if not isinstance(event, Progress):
            self._report(event)
            return
        done = min(self._before + event.done, float(self._total))
        left = (self._total - done) / event.rate if event.rate else None
        self._report(
            Progress(
                done, float(self._total), "bytes", self._detail, event.rate, left, event.active
            )
        )

    def expect(self, count: int) -> None:
        """Take note that so many bytes more will go."""
        self._total += count

    def advance(self, count: int) -> None:
        """Count what a call has sent to its end."""
        self._before += count
        self._report(Progress(float(self._before), float(self._total), "bytes", self._detail))
