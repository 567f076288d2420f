"""Extracting an archive safely: all of it is looked at before anything of it touches a disk.

    plan = await examine_archive(path, artifact, keys, wanted=…)     # refuses what is hostile
    plan.files, plan.bytes                                           # what it will take
    await extract_archive(path, artifact, keys, target, plan, program)

Extracted is by GNU tar, from a second reading of the same artifact that is checked like the
first; members that are not wanted never reach it. ``target`` must be an empty directory of one's
own: what leads out of it is refused, not what is in it already.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import DiskFull, PointDamaged, SafetyRefusal
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import ByteStream, compression_of, decompressed
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.index import order_key, shown_path
from fsbackup_tui.engines.files.rights import mode_without
from fsbackup_tui.engines.files.tar_headers import BLOCK
from fsbackup_tui.engines.files.tar_program import TarProgram
from fsbackup_tui.engines.files.tar_stream import Limits, Member, TarDamaged, TarStream
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.engines.process_channel import Channel

Wanted = Callable[[bytes], bool]
Bare = tuple[bytes, int]
_LONGEST_PATH = 4095
_MOST_TOLD = 20
_MOST_SYMLINKS = 5_000_000
_KINDS = ("file", "directory", "symlink", "link")


class UnsafeArchive(SafetyRefusal):
    """An archive has a member that is made to do harm when it is extracted."""


@dataclass(slots=True)
class ExtractionPlan:
    """What an archive would bring into a directory; ``bytes`` is the files' own size.

    ``bare`` are, when it is extracted, the first of the programs that came without the rights
    they had (path and mode, 0 for capabilities); ``bare_count`` counts them all. ``not_own``
    counts what belongs to another user than this process's.
    """

    wanted: Wanted | None = None
    ordered: bool = True
    twice: Collection[bytes] = ()
    root_programs: bool = True
    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    stored: int = 0
    bare: list[Bare] = field(default_factory=list)
    bare_count: int = 0
    not_own: int = 0


@dataclass(slots=True)
class MemberCheck:
    """Looks at the members of one archive in turn and refuses the first that is unsafe.

    ``ordered``: as fsbackup captures: sorted, each directory before what is in it; then those of
    ``twice`` may follow once more. Otherwise (archives of other scripts) any order will do, and
    no name may come twice.
    """

    ordered: bool = True
    twice: Collection[bytes] = ()
    _last: bytes | None = None
    _again: bool = False
    _parents: list[bytes] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)
    _symlinks: set[bytes] = field(default_factory=set)

    @property
    def is_second(self) -> bool:
        """Whether the last member that was checked stands in the archive for the second time."""
        return self._again

    def check(self, member: Member) -> None:
        """Raise UnsafeArchive where extracting the member could do harm."""
        path = member.path
        if member.kind not in _KINDS:
            raise _unsafe(path, f"is a {member.kind} device" if member.mode else "is no file")
        self._check_path(path, path)
        if member.kind == "link":
            self._check_path(member.target, path)
            if order_key(member.target) == order_key(path):
                raise _unsafe(path, "is a link to itself")
        if self.ordered:
            self._check_order(member)
        else:
            self._check_once(path)
        if self._symlinks:
            self._check_way(path, path)
            if member.kind == "link":
                self._check_way(member.target, path)
        if member.kind == "symlink" or (
            member.kind == "link" and _short(member.target) in self._symlinks
        ):
            if len(self._symlinks) >= _MOST_SYMLINKS:
                raise _unsafe(path, "is one symbolic link too many")
            self._symlinks.add(_short(path))

    def _check_path(self, path: bytes, told: bytes) -> None:
        if path.startswith(b"/"):
            raise _unsafe(told, "is absolute")
        if len(path) > _LONGEST_PATH:
            raise _unsafe(told, "is longer than a path may be")
        if path != b"." and not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
            raise _unsafe(told, "leads out of the directory, or is written to look otherwise")

    def _check_way(self, path: bytes, told: bytes) -> None:
        """Refuse a path that goes through a symbolic link of this archive."""
        end = path.find(b"/")
        while end >= 0:
            if _short(path[:end]) in self._symlinks:
                raise _unsafe(told, "goes through a symbolic link of the archive")
            end = path.find(b"/", end + 1)

    def _check_order(self, member: Member) -> None:
        path = member.path
        key = order_key(path)
        if self._last is not None and key <= self._last:
            if self._again:
                raise _unsafe(path, "comes twice, or not in its order")
            self._again = True
        if self._again:
            if path not in self.twice or member.kind not in ("file", "link"):
                raise _unsafe(path, "comes twice, or not in its order")
            self._last = key
            return
        self._last = key
        parents = self._parents
        while parents and not _is_below(path, parents[-1]):
            parents.pop()
        if (path.rpartition(b"/")[0] or b".") != (parents[-1] if parents else b"."):
            raise _unsafe(path, "is in a directory that the archive does not have")
        if member.kind == "directory" and path != b".":
            parents.append(path)

    def _check_once(self, path: bytes) -> None:
        short = _short(path)
        if short in self._seen:
            raise _unsafe(path, "comes twice")
        self._seen.add(short)


async def examine_archive(
    path: Path,
    artifact: Artifact,
    keys: ReadingKeys,
    *,
    wanted: Wanted | None = None,
    ordered: bool = True,
    twice: Collection[bytes] = (),
    limits: Limits | None = None,
    root_programs: bool = True,
    room: int | None = None,
    report: Report | None = None,
) -> ExtractionPlan:
    """Read an archive to its end and return what would be extracted of it.

    ``wanted`` tells which paths are (a directory that holds one should be, too); None: all.
    ``twice`` are the paths that the index marks as read again, which may come a second time.
    ``root_programs``: files that run as root for whoever starts them keep these rights.
    ``room`` are the bytes that there is room for: more of them is refused where it is claimed.

    Raises:
        DiskFull: what is wanted takes more than the room.
        UnsafeArchive: a member, wanted or not, would lead out of the target or is no plain thing.
        PointDamaged, KeyUnavailable: it can't be read to its end.
    """
    plan = ExtractionPlan(wanted, ordered, frozenset(twice), root_programs)

    def look(stream: ByteStream) -> None:
        reader = TarStream(_plain(stream, path, artifact), limits=limits)
        check = MemberCheck(plan.ordered, plan.twice)
        while (member := reader.next()) is not None:
            check.check(member)
            if wanted is None or wanted(member.path):
                _count(plan, member)
                if room is not None and plan.stored > room:
                    raise _no_room(room)

    await _reading(path, artifact, keys, look, report)
    return plan


async def extract_archive(
    path: Path,
    artifact: Artifact,
    keys: ReadingKeys,
    target: Path,
    plan: ExtractionPlan,
    program: TarProgram,
    *,
    owners: bool | None = None,
    report: Report | None = None,
    redactor: Redactor | None = None,
    advance: Callable[[int, int, bytes], object] | None = None,
) -> None:
    """Extract what ``plan`` wants into ``target``, an empty directory; times, modes, links too.

    ``owners``: set owners and all extended attributes; None: where this process is root.
    ``advance`` is told files, bytes and path. What is there when it fails stays, for the caller
    to remove.

    Raises:
        ToolFailed, ToolDiskFull: tar did not do all of it.
        UnsafeArchive, PointDamaged, KeyUnavailable: as ``examine_archive``.
    """
    owners = os.geteuid() == 0 if owners is None else owners
    channel = Channel("writes")
    command = Command(program.extract(str(target), owners=owners), stdin=channel)
    extracting = asyncio.create_task(run(command, report=report, redactor=redactor))

    def feed(stream: ByteStream) -> None:
        reader = TarStream(_plain(stream, path, artifact), passed=channel.write)
        check = MemberCheck(plan.ordered, plan.twice)
        while (member := reader.next()) is not None:
            check.check(member)
            if plan.wanted is not None and not plan.wanted(member.path):
                reader.leave_out()
                continue
            if not plan.root_programs:
                _make_bare(plan, reader, member, owners=owners)
            if advance is not None:
                advance(1, member.size, member.path)
        channel.write(bytes(2 * BLOCK))
        channel.finish()

    feeding = asyncio.create_task(_reading(path, artifact, keys, feed, None))
    try:
        await _both(feeding, extracting, channel)
    finally:
        channel.close()


def _make_bare(plan: ExtractionPlan, reader: TarStream, member: Member, *, owners: bool) -> None:
    """Take from a program the rights that are not its starter's, and take note of it."""
    mode = mode_without(member, owners=owners)
    if mode is None:
        return
    if reader.has_globals:
        raise _unsafe(member.path, "may get rights that all of its members have in common")
    reader.change_rights(mode)
    plan.bare_count += 1
    if len(plan.bare) < _MOST_TOLD:
        plan.bare.append((member.path, member.mode if mode != member.mode else 0))


async def _both(
    feeding: asyncio.Task[None], extracting: asyncio.Task[object], channel: Channel
) -> None:
    """Wait for the reading and for tar; the first to fail ends the other, and is told."""
    tasks: tuple[asyncio.Task[object], ...] = (feeding, extracting)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if extracting.done():
            channel.stop()
            await asyncio.wait((feeding,))
    finally:
        channel.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not extracting.cancelled() and (error := extracting.exception()) is not None:
        raise error
    if not feeding.cancelled():
        feeding.result()


async def _reading(
    path: Path,
    artifact: Artifact,
    keys: ReadingKeys,
    consume: Callable[[ByteStream], None],
    report: Report | None,
) -> None:
    try:
        await read_artifact(path, artifact, keys, consume, report=report)
    except TarDamaged as error:
        raise PointDamaged(
            f"NOT READABLE: {path.name} is no whole archive.",
            why=f"{str(error)[:1].upper()}{str(error)[1:]}.",
            fix="Take another copy of this point, or another point.",
        ) from error


def _plain(stream: ByteStream, path: Path, artifact: Artifact) -> ByteStream:
    """Return the archive itself: one of another script was compressed before it was adopted."""
    if artifact.compression is None and artifact.encryption is None:
        return decompressed(stream, compression_of(path))
    return stream


def _count(plan: ExtractionPlan, member: Member) -> None:
    plan.not_own += member.uid != os.geteuid()
    if member.kind in ("file", "link"):
        plan.files += 1
        plan.bytes += member.size
        plan.stored += member.stored
    elif member.kind == "directory":
        plan.directories += 1
    else:
        plan.links += 1


def _no_room(room: int) -> DiskFull:
    return DiskFull(
        "NOT ENOUGH SPACE. Nothing was touched.",
        why=f"What is in the archive takes more than the {room // 10**6} MB that are free.",
        fix="Free space there, or restore on another machine.",
    )


def _is_below(path: bytes, directory: bytes) -> bool:
    return path.startswith(directory) and path[len(directory) : len(directory) + 1] == b"/"


def _short(path: bytes) -> bytes:
    return hashlib.blake2b(path, digest_size=12).digest()


def _unsafe(path: bytes, why: str) -> UnsafeArchive:
    return UnsafeArchive(
        "NOT EXTRACTED: the archive is not safe. Nothing was touched.",
        why=f"{shown_path(path)[:200]} {why}.",
        fix="Don't trust this copy: take another one of the point, or another point.",
    )
