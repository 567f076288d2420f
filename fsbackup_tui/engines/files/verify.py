"""Reading a stored tree to its end and comparing it with its index, entry by entry.

Nothing is extracted: every member is read and its content hashed as an extraction would bring it.
The lines that the index must have are made of the archive and compared as they are; only where
they differ is looked at which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.files.entry_lines import LineMaker, with_state
from fsbackup_tui.engines.files.extract import MemberCheck
from fsbackup_tui.engines.files.index import (
    IndexEntry,
    merge_entries,
    parse_entry,
    read_lines,
    shown_path,
    sums_line,
)
from fsbackup_tui.engines.files.spool import Spool
from fsbackup_tui.engines.files.tar_stream import Member, TarStream

_READ = 1 << 20
_SHOWN = 20
Advance = Callable[[int, int, bytes], object]


@dataclass
class Listed:
    """What an index tells in all: enough to know whether an archive holds just that.

    ``twice`` are the lines of entries that were read again, by path: they may stand in the archive
    two times. ``targets`` are the paths that hard links name.
    """

    digest: str = ""
    sums_digest: str = ""
    files: int = 0
    directories: int = 0
    links: int = 0
    size: int = 0
    twice: dict[bytes, bytes] = field(default_factory=dict)
    targets: set[bytes] = field(default_factory=set)

    def differences(self, facts: FilesFacts) -> Iterator[str]:
        """Yield what the manifest tells otherwise."""
        for what, listed, told in (
            ("files", self.files, facts.files),
            ("directories", self.directories, facts.directories),
            ("links", self.links, facts.links),
            ("bytes", self.size, facts.bytes),
        ):
            if listed != told:
                yield f"it lists {listed} {what}, the manifest tells of {told}"


def read_list(stream: ByteStream) -> Listed:
    """Return what an index tells; IndexDamaged where it is none."""
    listed = Listed()
    digest, sums = hashlib.sha256(), hashlib.sha256()
    for line, entry in read_lines(stream):
        if entry.is_file:
            listed.files += 1
        elif entry.kind == "directory":
            listed.directories += 1
        else:
            listed.links += 1
        if entry.is_hard_link:
            listed.targets.add(entry.target)
        else:
            listed.size += entry.size
        plain = line.removesuffix(b"\n")
        if entry.state:
            plain = with_state(plain, b"-")
            listed.twice[entry.path] = plain
        digest.update(plain + b"\n")
        sums.update(sums_line(line))
    listed.digest, listed.sums_digest = digest.hexdigest(), sums.hexdigest()
    return listed


def content_digest(stream: ByteStream) -> str:
    """Return the SHA-256 of all that a stream gives."""
    digest = hashlib.sha256()
    while block := stream.read(_READ):
        digest.update(block)
    return digest.hexdigest()


class ArchiveLines:
    """Yields the lines that an archive's index should have; the second of what stands twice.

    Those that are due a second time come at their first place with the index's own line, and are
    compared when they come again: what never did is ``left``, what was otherwise ``wrong``.
    """

    def __init__(self, listed: Listed, *, advance: Advance | None = None) -> None:
        self._listed = listed
        self._advance = advance
        self._lines = LineMaker()
        self._linked: dict[bytes, tuple[int, str]] = {}
        self._symlinks: set[bytes] = set()
        self.left: dict[bytes, bytes] = {}
        self.wrong: list[bytes] = []

    def read(self, stream: ByteStream) -> Iterator[bytes]:
        """Yield them (without their ends); TarDamaged, UnsafeArchive."""
        reader = TarStream(stream)
        twice = self._listed.twice
        check = MemberCheck(twice=twice.keys())
        while (member := reader.next()) is not None:
            check.check(member)
            line = self._line(reader, member)
            if not check.is_second:
                due = twice.get(member.path)
                if due is not None and line != due:
                    self.left[member.path] = due
                yield line if due is None else due
            elif line != twice[member.path]:
                self.wrong.append(member.path)
            else:
                self.left.pop(member.path, None)

    def _line(self, reader: TarStream, member: Member) -> bytes:
        path, size, sha256 = member.path, member.size, None
        if member.kind == "file":
            sha256 = reader.digest(self._told(path)).hex()
            if path in self._listed.targets:
                self._linked[path] = (size, sha256)
        elif member.kind == "symlink" and path in self._listed.targets:
            self._symlinks.add(path)
        elif member.kind == "link":
            size, sha256 = self._linked.get(member.target, (0, None))
        if self._advance is not None:
            self._advance(1, 0, path)
        of_symlink = member.kind == "link" and member.target in self._symlinks
        return self._lines.line(member, size, sha256, of_symlink=of_symlink)

    def _told(self, path: bytes) -> Callable[[int], object] | None:
        advance = self._advance
        return None if advance is None else lambda count: advance(0, count, path)


def compare_archive(
    stream: ByteStream, listed: Listed, *, advance: Advance | None = None
) -> list[str] | None:
    """Return what is wrong with an archive by its index: nothing, or what can be said at once.

    None: some entries differ, and ``put_aside`` with ``differing`` tells which.
    """
    lines = ArchiveLines(listed, advance=advance)
    digest = hashlib.sha256()
    for line in lines.read(stream):
        digest.update(line + b"\n")
    wrong = [*lines.wrong, *lines.left]
    if wrong:
        return [
            f"{shown_path(path)}: its last content in the archive is not what was captured"
            for path in wrong[:_SHOWN]
        ]
    return [] if digest.hexdigest() == listed.digest else None


def put_aside(stream: ByteStream, listed: Listed, spool: Spool) -> None:
    """Put an archive's lines into a spool, to be compared one by one."""
    for line in ArchiveLines(listed).read(stream):
        spool.add(line + b"\n")


def differing(stream: ByteStream, spool: Spool) -> list[str]:
    """Return which entries of an index are not in the archive as they should be, some of them."""
    listed = (entry for _line, entry in read_lines(stream))
    stored = (parse_entry(line) for line in spool.lines())
    found: list[str] = []
    for entry, member in merge_entries(listed, stored):
        if (told := _difference(entry, member)) and len(found) < _SHOWN:
            found.append(told)
    return found


def _difference(entry: IndexEntry | None, member: IndexEntry | None) -> str:
    if entry is None or member is None:
        absent = "index" if entry is None else "archive"
        known = entry or member
        return f"{shown_path(known.path)}: is not in the {absent}" if known else ""
    name = shown_path(member.path)
    if entry.sha256 != member.sha256 or entry.size != member.size:
        return f"{name}: its content is not what was captured (SHA-256 or size)"
    for what in ("kind", "mode", "uid", "gid", "user", "group", "mtime_ns", "target", "attributes"):
        if getattr(entry, what) != getattr(member, what):
            return f"{name}: its {what.removesuffix('_ns')} differs from the index"
    return ""
