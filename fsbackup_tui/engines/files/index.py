r"""The list of a tree's entries beside its archive, and the list of sums that stock tools check.

``files.index`` begins with the line ``fsbackup files index 1``; each further line is an entry,
its fields parted by tabs::

    kind state mode uid gid user group size mtime sha256 attributes target path

``kind`` is ``file``, ``directory``, ``symlink``, ``link`` (a hard link: another name of the
earlier file ``target``) or ``symlink-link`` (another name of the earlier symlink ``target``).
``state`` is ``-``; ``r``: changed while it was read, and read again; ``u``: changed then, too, or
went away; ``a``: read again to be sure, and the same. Those three may stand in the archive twice:
the second counts, here as with ``tar -x``. ``mode`` is octal, ``mtime`` nanoseconds since 1970.
``sha256`` is that of the content (of a hard link: of what it names, where that is known), ``-``
for none; ``attributes`` is the beginning of the SHA-256 of its extended attributes and access
lists. In names ``\\``, ``\t`` and ``\n`` stand for a backslash, a tab and a newline; all other
bytes are as they are.

Entries are sorted by path, component by component: a directory before all that is in it, the root
(``.``) first. So two lists are compared in constant memory, whatever their length::

    for old, new in merge_entries(read_index(earlier), read_index(later)): …   # one may be None

``files.sha256`` holds one line for every regular file, as ``sha256sum`` writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.engines.compression import ByteStream

INDEX_NAME = "files.index"
SUMS_NAME = "files.sha256"
EntryKind = Literal["file", "directory", "symlink", "link", "symlink-link"]
_HEADING = b"fsbackup files index 1\n"
_READ = 1 << 20
_LONGEST_LINE = 1 << 18
_FIELDS = 13
_KINDS: dict[bytes, EntryKind] = {
    b"file": "file",
    b"directory": "directory",
    b"symlink": "symlink",
    b"link": "link",
    b"symlink-link": "symlink-link",
}
_STATES = {b"-": "", b"a": "a", b"r": "r", b"u": "u"}


class IndexDamaged(ValueError):
    """A list of entries or sums is not as fsbackup writes it; says what and where."""


@dataclass(slots=True)
class IndexEntry:
    """One entry of a tree; see the module for what the fields hold."""

    path: bytes
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    user: bytes
    group: bytes
    size: int
    mtime_ns: int
    sha256: str | None
    target: bytes = b""
    attributes: str = ""
    state: str = ""

    @property
    def is_hard_link(self) -> bool:
        """Whether it is another name of the entry ``target``."""
        return self.kind in ("link", "symlink-link")

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symlink, under whichever of its names."""
        return self.kind in ("symlink", "symlink-link")

    @property
    def is_file(self) -> bool:
        """Whether it has content of its own: a regular file, under whichever of its names."""
        return self.kind in ("file", "link")


def order_key(path: bytes) -> bytes:
    """Return what paths are sorted by: component by component, the root first."""
    return b"" if path == b"." else path.replace(b"/", b"\0")


def shown_path(path: bytes) -> str:
    """Return a path for people: bytes that are not UTF-8 as ``\\xNN``."""
    return path.decode("utf-8", "backslashreplace")


def attributes_digest(attributes: Sequence[tuple[bytes, bytes]]) -> str:
    """Return what the index holds of extended attributes; empty for none."""
    if not attributes:
        return ""
    digest = hashlib.sha256()
    for name, value in attributes:
        digest.update(b"%d %d %b%b" % (len(name), len(value), name, value))
    return digest.hexdigest()[:16]


def format_entry(entry: IndexEntry) -> bytes:
    """Return an entry's line."""
    return b"%b\t%b\t%o\t%d\t%d\t%b\t%b\t%d\t%d\t%b\t%b\t%b\t%b\n" % (
        entry.kind.encode(),
        entry.state.encode() or b"-",
        entry.mode,
        entry.uid,
        entry.gid,
        escaped(entry.user),
        escaped(entry.group),
        entry.size,
        entry.mtime_ns,
        (entry.sha256 or "-").encode(),
        entry.attributes.encode() or b"-",
        escaped(entry.target),
        escaped(entry.path),
    )


def parse_entry(line: bytes) -> IndexEntry:
    """Return the entry of a line (with or without its end); IndexDamaged for anything else."""
    fields = line.rstrip(b"\n").split(b"\t")
    if len(fields) != _FIELDS:
        raise IndexDamaged(f"{len(fields)} fields instead of {_FIELDS}")
    kind, state, mode, uid, gid, user, group, size, mtime, sha256, attributes, target, path = fields
    # Python takes more for a number than stands in any list: signs, blanks, underscores.
    if not (mode + uid + gid + size + mtime.removeprefix(b"-")).isdigit():
        raise IndexDamaged("a field is not as it should be: no number")
    try:
        return IndexEntry(
            _plain(path),
            _KINDS[kind],
            int(mode, 8),
            int(uid),
            int(gid),
            _plain(user),
            _plain(group),
            int(size),
            int(mtime),
            None if sha256 == b"-" else sha256.decode("ascii"),
            _plain(target),
            "" if attributes == b"-" else attributes.decode("ascii"),
            _STATES[state],
        )
    except (ValueError, KeyError) as error:
        raise IndexDamaged(f"a field is not as it should be: {error}") from None


def write_index(lines: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    """Write the lines of an index (``format_entry``'s, sorted; any number at once)."""
    for block in _blocks(_headed(lines)):
        write(block)


def write_sums(lines: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    """Write the list of sums of the lines of an index (any number of whole ones at once)."""
    for block in _blocks(lines):
        sums: list[bytes] = []
        odd = b"\\" in block or b"\r\n" in block
        for line in block.split(b"\n")[:-1]:
            head, _attributes, _target, path = line.rsplit(b"\t", 3)
            if head.endswith(b"\t-"):
                continue
            if odd and (b"\\" in path or path.endswith(b"\r")):
                sums.append(sums_line(line))
            else:
                sums.append(b"%b  %b\n" % (head[-64:], path))
        write(b"".join(sums))


def sums_line(line: bytes) -> bytes:
    """Return what ``sha256sum`` would print of an index's line; empty for what is no file.

    A carriage return at the end of a name is escaped, as coreutils 9 does: it would be cut off.
    """
    fields = line.split(b"\t")
    sha256 = fields[9]
    if sha256 == b"-":
        return b""
    path = fields[12].removesuffix(b"\n")
    plain = _plain(path)
    name = plain.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    if name.endswith(b"\r"):
        name = name[:-1] + b"\\r"
    mark = b"" if name == plain else b"\\"
    return b"%b%b  %b\n" % (mark, sha256, name)


def read_index(stream: ByteStream) -> Iterator[IndexEntry]:
    """Yield the entries of an index; IndexDamaged where it is not sorted or not one at all."""
    for _line, entry in read_lines(stream):
        yield entry


def read_lines(stream: ByteStream) -> Iterator[tuple[bytes, IndexEntry]]:
    """Yield the lines of an index with their entries; see ``read_index``."""
    lines = split_lines(stream)
    if next(lines, b"") != _HEADING:
        raise IndexDamaged("it does not begin as an index does")
    last: bytes | None = None
    for number, line in enumerate(lines, start=2):
        try:
            entry = parse_entry(line)
        except IndexDamaged as error:
            raise IndexDamaged(f"line {number}: {error}") from None
        key = order_key(entry.path)
        if last is not None and key <= last:
            raise IndexDamaged(f"line {number}: not in its order, or named twice")
        last = key
        yield line, entry


def read_sums(stream: ByteStream) -> Iterator[tuple[bytes, str]]:
    """Yield path and SHA-256 of each line of a list of sums."""
    for number, line in enumerate(split_lines(stream), start=1):
        is_escaped = line.startswith(b"\\")
        digest, blanks, name = line.removeprefix(b"\\").removesuffix(b"\n").partition(b"  ")
        if len(digest) != 64 or not blanks or not name or digest.strip(b"0123456789abcdef"):
            raise IndexDamaged(f"line {number} is no line of a sum")
        yield _unescaped(name) if is_escaped else name, digest.decode("ascii")


def merge_entries(
    old: Iterable[IndexEntry], new: Iterable[IndexEntry]
) -> Iterator[tuple[IndexEntry | None, IndexEntry | None]]:
    """Yield the entries of two lists side by side, path by path; None where one lacks it."""
    left, right = iter(old), iter(new)
    before, after = next(left, None), next(right, None)
    while before is not None or after is not None:
        if before is None or after is None:
            yield before, after
            before, after = next(left, None), next(right, None)
            continue
        if before.path == after.path:
            yield before, after
            before, after = next(left, None), next(right, None)
        elif order_key(before.path) < order_key(after.path):
            yield before, None
            before = next(left, None)
        else:
            yield None, after
            after = next(right, None)


def is_same_file(one: IndexEntry, other: IndexEntry) -> bool:
    """Whether two entries hold the same content: times, modes and owners don't count."""
    if one.is_file and other.is_file:
        return one.size == other.size and one.sha256 == other.sha256
    return one.kind == other.kind and one.target == other.target


def count_changes(old: ByteStream, new: Iterable[bytes]) -> tuple[int, int, int]:
    """Return how many files and links were added, removed and changed; directories don't count.

    ``old`` is a stored index, ``new`` the lines of another one. Lines are compared as they are,
    and looked into only where they differ: trees are large, and change little.
    """
    added = removed = changed = 0
    left, right = split_lines(old), iter(new)
    if next(left, b"") != _HEADING:
        raise IndexDamaged("it does not begin as an index does")
    before, after = next(left, b""), next(right, b"")
    while before or after:
        if before == after:
            before, after = next(left, b""), next(right, b"")
            continue
        was, is_now = _line_key(before), _line_key(after)
        if after and (not before or is_now < was):
            added += not after.startswith(b"directory\t")
            after = next(right, b"")
        elif before and (not after or was < is_now):
            removed += not before.startswith(b"directory\t")
            before = next(left, b"")
        else:
            changed += _differs(parse_entry(before), parse_entry(after))
            before, after = next(left, b""), next(right, b"")
    return added, removed, changed


def _line_key(line: bytes) -> bytes:
    return order_key(_plain(line[line.rfind(b"\t") + 1 : -1]))


def _differs(before: IndexEntry, after: IndexEntry) -> bool:
    if before.kind == "directory" and after.kind == "directory":
        return False
    return not is_same_file(before, after)


def split_lines(stream: ByteStream) -> Iterator[bytes]:
    """Yield the lines of a stream with their ends; IndexDamaged where the last has none."""
    rest = b""
    while block := stream.read(_READ):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > _LONGEST_LINE:
            raise IndexDamaged("a line of it is too long")
        for line in lines:
            yield line + b"\n"
    if rest:
        raise IndexDamaged("it is cut off")


def _headed(lines: Iterable[bytes]) -> Iterator[bytes]:
    yield _HEADING
    yield from lines


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines together, about a mebibyte at a time."""
    kept: list[bytes] = []
    size = 0
    for line in lines:
        kept.append(line)
        size += len(line)
        if size >= _READ:
            yield b"".join(kept)
            kept.clear()
            size = 0
    if kept:
        yield b"".join(kept)


def escaped(name: bytes) -> bytes:
    """Return a name as it stands in an index's line."""
    if b"\\" in name or b"\t" in name or b"\n" in name:
        return name.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")
    return name


def _plain(name: bytes) -> bytes:
    return _unescaped(name) if b"\\" in name else name


def _unescaped(name: bytes) -> bytes:
    pieces = name.split(b"\\\\")
    for place, piece in enumerate(pieces):
        pieces[place] = piece.replace(b"\\n", b"\n").replace(b"\\t", b"\t").replace(b"\\r", b"\r")
    return b"\\".join(pieces)
