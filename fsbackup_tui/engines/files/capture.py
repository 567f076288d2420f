"""Capturing a tree of files: GNU tar archives it, and every byte of it is looked at on its way.

    capture = TreeCapture(program, walk, work, report=report)
    written = await store(path, chain, capture)         # the archive, through the chain
    facts = capture.facts(root=…)                       # complete once it is stored
    capture.blocks()                                    # the lines of its index

The recorded hash of a file is that of the bytes that were stored. What changed while it was read
is archived a second time behind the rest, so that a stock ``tar -x`` ends with the settled
version; what changed then, too, is listed as unsettled.

Three looks tell whether a file changed: the walk's, tar's before it reads (which its header holds)
and tar's behind it (of which tar tells). A change between the first two makes the header another
than the walk's look; one between the last two moves the file's ctime, unless it falls into the
same tick of the clock, and then the walk found the file fresh or the header another.

A link that takes a directory's place meanwhile is found when the last of its entries was read:
what tar read through it is none of the tree's, and the capture fails.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
import threading
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.domain.errors import FilesUnreadable
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.engines.chain import Sink
from fsbackup_tui.engines.files.entry_lines import LineMaker, path_in, with_state
from fsbackup_tui.engines.files.index import escaped, parse_entry, shown_path
from fsbackup_tui.engines.files.plain_files import PlainFiles
from fsbackup_tui.engines.files.spool import Spool
from fsbackup_tui.engines.files.tar_child import ArchivingTar
from fsbackup_tui.engines.files.tar_headers import BLOCK
from fsbackup_tui.engines.files.tar_program import TarProgram
from fsbackup_tui.engines.files.tar_stream import Member, TarStream
from fsbackup_tui.engines.files.walk import (
    Entry,
    NameList,
    Walk,
    became_link,
    place_of,
    refuse_links,
    unreadable,
)

_RECORD = 20 * BLOCK
_MOST_LINKED = 250_000
_TOLD_AT_ONCE = 1 << 20
_STEADY, _FRESH, _CHANGED = b"-", b"f", b"c"
_ONE_NAME = b"-"
_Result = TypeVar("_Result")
Advance = Callable[[int, int, bytes], object]


class TreeCapture:
    """One capture of one tree; ``produce`` is what a chain calls, in a thread of its own.

    ``advance`` is told files, bytes and path as they pass. ``work`` is a private directory on
    which a list of the entries is put aside, unreadable to others.
    """

    def __init__(
        self,
        program: TarProgram,
        walk: Walk,
        work: Path,
        *,
        report: Report | None = None,
        advance: Advance | None = None,
    ) -> None:
        self._program = program
        self._walk = walk
        self._report = report
        self._advance = advance
        self._stop = threading.Event()
        self._first, self._second = Spool(work), Spool(work)
        self._again = False
        self._marked = False
        self._archived = 0
        # Paths of which tar said that they changed, in the first and the second reading.
        self._told: Container[bytes] = ()
        self._told_again: Container[bytes] = ()
        self._counts = {"file": 0, "directory": 0, "symlink": 0, "bytes": 0}
        self.reread, self.unsettled = NameList(), NameList()
        self.vanished = walk.vanished
        self.warnings: list[str] = []

    def stop(self) -> None:
        """Make ``produce`` end soon, by an error; from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Let the list that was put aside go."""
        self._first.close()
        self._second.close()

    def produce(self, sink: Sink) -> None:
        """Write the archive into a sink.

        Raises:
            FilesUnreadable: something can't be read; named, with what the system says.
            ToolError: tar failed.
        """
        first = _Pass(self, sink, self._first, is_first=True)
        self._told = self._archive(first, self._walk.entries())
        again = self._to_read_again() if self._again else iter(())
        if (entry := next(again, None)) is not None:
            second = _Pass(self, sink, self._second, is_first=False)
            self._told_again = self._archive(second, itertools.chain((entry,), again))
        end = 2 * BLOCK
        sink.write(bytes(end + -(self._archived + end) % _RECORD))
        if self._again:
            self._settle()

    def facts(self, root: str) -> FilesFacts:
        """Return what the manifest tells of the tree; complete behind ``produce``."""
        return FilesFacts(
            root=root,
            files=self._counts["file"],
            directories=self._counts["directory"],
            links=self._counts["symlink"],
            bytes=self._counts["bytes"],
            state_sha256=self._walk.state_sha256,
            reread=self.reread.names,
            unsettled=self.unsettled.names,
            vanished=self.vanished.names,
            skipped=self._walk.skipped.names,
        )

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the index: each entry as the archive ends with it."""
        for line in self._settled():
            yield line + b"\n"

    def blocks(self) -> Iterator[bytes]:
        """Yield the same lines, many of them at a time."""
        return self.lines() if self._marked else self._first.blocks()

    def _archive(self, reading: _Pass, entries: Iterator[Entry]) -> Container[bytes]:
        """Archive the entries; returns the paths (as in lines) of which tar says they changed."""
        tar = ArchivingTar(self._program, self._walk.root, entries, self._stop, self._report)
        try:
            reading.read(tar)
        finally:
            tar.close()
        self._archived += reading.archived
        self.warnings += tar.messages.warnings
        told = tar.messages.changed
        self._again = self._again or reading.found_changes or bool(told)
        self._marked = self._marked or self._again or reading.found_links
        return _Everything() if tar.messages.all_changed else {escaped(path) for path in told}

    def _to_read_again(self) -> Iterator[Entry]:
        """Yield what changed or may have, as it is now, with all names that it has."""
        # Inodes of those that have several names; what has their content comes first.
        inodes: set[bytes] = set()
        for mark, inode, line in _records(self._first, self._told):
            if mark == _STEADY and inode not in inodes:
                continue
            if inode != _ONE_NAME:
                inodes.add(inode)
            entry = parse_entry(line)
            if not entry.is_file:
                continue
            try:
                status = os.lstat(self._walk.root + b"/" + entry.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(entry.path, self._walk.root, error) from error
            yield Entry(entry.path, "file", status)

    def _settled(self) -> Iterator[bytes]:
        """Yield each entry's line as the archive ends with it."""
        later = _records(self._second, self._told_again)
        following = next(later, None)
        for mark, _inode, line in _records(self._first, self._told):
            if following is not None:
                changed, _inode, again = following
                if path_in(again) == path_in(line):
                    following = next(later, None)
                    if changed == _CHANGED:
                        yield with_state(again, b"u")
                    else:
                        steady = mark != _CHANGED and again == line
                        yield with_state(again, b"a" if steady else b"r")
                    continue
            yield with_state(line, b"u") if mark == _CHANGED else line

    def _settle(self) -> None:
        """List what was read again, and count anew what the archive holds in the end."""
        self._counts = dict.fromkeys(self._counts, 0)
        for line in self._settled():
            state = self._count(line, self._counts)
            if state in (b"r", b"u"):
                names = self.reread if state == b"r" else self.unsettled
                names.add(parse_entry(line).path)

    @staticmethod
    def _count(line: bytes, counts: dict[str, int]) -> bytes:
        kind, state, _mode, _uid, _gid, _user, _group, size, _rest = line.split(b"\t", 8)
        if kind == b"link":
            counts["file"] += 1
        elif kind == b"symlink-link":
            counts["symlink"] += 1
        else:
            counts[kind.decode("ascii")] += 1
            counts["bytes"] += int(size)
        return state


class _Pass:
    """One tar's archive, read member by member beside the entries that tar was named."""

    def __init__(self, capture: TreeCapture, sink: Sink, spool: Spool, *, is_first: bool) -> None:
        self._capture = capture
        self._root = capture._walk.root
        self._sink = sink
        self._add = spool.add
        self._lines = LineMaker()
        # Content of files with several names, by the path under which tar archived it.
        self._linked: dict[bytes, tuple[int, str]] = {}
        self._counts = capture._counts
        self._is_first = is_first
        self._directory: Entry | None = None
        self.archived = 0
        self.found_changes = False
        self.found_links = False

    def read(self, tar: ArchivingTar) -> None:
        """Read all of it."""
        reader = TarStream(tar, passed=self._pass_on)
        advance = self._capture._advance
        path = b""

        def told(count: int) -> None:
            if advance is not None:
                advance(0, count, path)

        plain = PlainFiles(self._add, self._enter, advance)
        while True:
            if self._is_first:
                files, size = plain.take(reader, tar.expected)
                self._counts["file"] += files
                self._counts["bytes"] += size
            if (member := reader.next()) is None:
                break
            path = member.path
            entry = self._entry_of(member, tar)
            self._enter(entry.parent)
            size, sha256 = 0, None
            if member.kind == "file":
                size = member.size if member.size < _TOLD_AT_ONCE else 0
                sha256 = reader.digest(None if size else told).hex()
            self._note(member, entry, sha256)
            if advance is not None:
                advance(1, size, path)
        while tar.expected:
            self._missing(tar.expected.popleft())
        self._enter(None)

    def _enter(self, directory: Entry | None) -> None:
        """Go on with entries of a directory; the last one's were read from where they should be."""
        last, self._directory = self._directory, directory
        if last is None or last is directory:
            return
        try:
            now = os.lstat(place_of(self._root, last.path))
        except OSError:
            return
        if (now.st_dev, now.st_ino) != (last.status.st_dev, last.status.st_ino):
            refuse_links(self._root, last.path)

    def _pass_on(self, data: bytes) -> None:
        self.archived += len(data)
        self._sink.write(data)

    def _entry_of(self, member: Member, tar: ArchivingTar) -> Entry:
        """Return the entry that was named for a member; those before it were left out by tar."""
        expected = tar.expected
        while expected:
            entry = expected.popleft()
            if entry.path == member.path:
                return entry
            self._missing(entry)
        raise FilesUnreadable(
            f"FILES NOT READ: {shown_path(member.path)}.",
            why="tar archived it though nobody named it.",
            fix="Run the backup again.",
        )

    def _missing(self, entry: Entry) -> None:
        """Take note of an entry that tar left out; only one that went away may be."""
        path = self._root + b"/" + entry.path
        try:
            status = os.lstat(path)
            if entry.kind == "file" and status.st_ino == entry.status.st_ino:
                os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            pass
        except OSError as error:
            raise unreadable(entry.path, self._root, error) from error
        self._capture.vanished.add(entry.path)

    def _note(self, member: Member, entry: Entry, sha256: str | None) -> None:
        """Put the member's line aside, marked if it changed since it was seen first."""
        kind, size, mark, inode = member.kind, member.size, _STEADY, _ONE_NAME
        counts = self._counts
        if kind == "file":
            counts["file"] += 1
            counts["bytes"] += size
            mark = self._mark(member, entry)
            if entry.status.st_nlink > 1:
                inode = b"%x:%x" % (entry.status.st_dev, entry.status.st_ino)
                if len(self._linked) < _MOST_LINKED and sha256 is not None:
                    self._linked[member.path] = (size, sha256)
            if mark != _STEADY:
                self.found_changes = True
        elif kind == "link":
            counts["symlink" if entry.kind == "symlink" else "file"] += 1
            inode = b"%x:%x" % (entry.status.st_dev, entry.status.st_ino)
            size, sha256 = self._linked.get(member.target, (0, None))
        elif entry.kind == "directory" and kind == "symlink":
            raise became_link(self._root, member.path)
        elif kind in ("directory", "symlink"):
            counts[kind] += 1
        else:
            raise FilesUnreadable(
                f"FILES NOT READ: {shown_path(member.path)}.",
                why=f"It became a {kind} while it was captured.",
                fix="Run the backup again.",
            )
        of_symlink = kind == "link" and entry.kind == "symlink"
        line = self._lines.line(member, size, sha256, of_symlink=of_symlink)
        if not self._is_first:
            refuse_links(self._root, member.path.rpartition(b"/")[0])
        if mark == _STEADY and inode == _ONE_NAME:
            self._add(line + b"\n")
        else:
            self.found_links = True
            self._add(b"!%b %b %b\n" % (mark, inode, line))

    def _mark(self, member: Member, entry: Entry) -> bytes:
        """Tell whether a file is as it was when it was seen first; see the module.

        One that has gone meanwhile was read as a whole, or tar told of it.
        """
        before = entry.status
        was_seen = (
            member.size == before.st_size
            and member.mtime_ns == before.st_mtime_ns
            and member.mode == stat.S_IMODE(before.st_mode)
            and member.uid == before.st_uid
            and member.gid == before.st_gid
        )
        try:
            now = os.lstat(self._root + b"/" + entry.path)
        except OSError:
            return _STEADY if was_seen else _CHANGED
        if (
            not was_seen
            or now.st_ctime_ns != before.st_ctime_ns
            or now.st_size != before.st_size
            or now.st_ino != before.st_ino
            or now.st_mtime_ns != before.st_mtime_ns
        ):
            return _CHANGED
        return _FRESH if entry.fresh else _STEADY


async def store(capture: TreeCapture, writing: asyncio.Future[_Result]) -> _Result:
    """Wait for a chain that ``capture.produce`` feeds; a cancellation ends both soon."""
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        capture.stop()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        raise


def _records(spool: Spool, told: Container[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield mark, inode and line of what was put aside; ``told``: what tar says of it."""
    for record in spool.lines():
        mark, inode, line = _unmarked(record)
        if told and line.startswith(b"file\t") and path_in(line) in told:
            mark = _CHANGED
        yield mark, inode, line


class _Everything(Container[bytes]):
    """More paths than are kept."""

    def __contains__(self, path: object) -> bool:
        return True


def _unmarked(record: bytes) -> tuple[bytes, bytes, bytes]:
    """Return mark, inode and line of what was put aside; most have no mark and one name."""
    if not record.startswith(b"!"):
        return _STEADY, _ONE_NAME, record
    mark, inode, line = record[1:].split(b" ", 2)
    return mark, inode, line
