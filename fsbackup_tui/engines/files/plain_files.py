"""Plain files as tar archives them, taken out of its stream many at a time.

Of a million files nearly all are small, have one name, a short path, no attributes, and are when
tar reads them what they were when the walk saw them. For those nothing needs to be built, asked
or guessed: the header is compared with what the walk saw, the content hashed, the line of the
index written. Whatever is not just so is left where it is, for ``tar_stream`` and ``capture`` to
look at closely.

The headers' checksums are not looked at: these bytes come from tar through a pipe, and name, size,
time, mode and owner are known. Who reads what was stored checks them.
"""

from __future__ import annotations

import hashlib
import stat
from collections import deque
from collections.abc import Callable
from struct import Struct

from fsbackup_tui.engines.files.entry_lines import owner_fields
from fsbackup_tui.engines.files.index import escaped
from fsbackup_tui.engines.files.tar_headers import BLOCK, TarDamaged, number, text_field
from fsbackup_tui.engines.files.tar_stream import TarStream
from fsbackup_tui.engines.files.walk import Entry

# An extended header with its records' size and its type, its records (one: the time), and the
# file's own header: name, mode and owner, size, type, magic, owner's names, prefix.
_HEADERS = Struct("124x12s20xc355x30s482x 100s24s12s20xc100x8s64s16x155s12x")
_LARGEST = 1 << 16
_LEAST = 1 << 13
_CACHED = 1024
_USTAR = b"ustar\x0000"
_NO_PREFIX = bytes(155)
# "30 mtime=1700000000.123456789" and a newline; with fewer digits it is shorter.
_WHOLE = b"%011o\0" % 30
_TIME_RECORD = {b"%011o\0" % size: (b"%d mtime=" % size, size - 1) for size in range(19, 31)}

_NEWLINE = ord("\n")
_LENGTH_AT = 2 * BLOCK + 124

Owner = tuple[int, int, int, bytes]
_NOBODY: Owner = (-1, -1, -1, b"")


class PlainFiles:
    """Takes plain files out of one archive.

    ``add`` is given lines of the index with their ends, ``enter`` the directory whose entries
    come next, ``advance`` (or None) files, bytes and the path at work.
    """

    def __init__(
        self,
        add: Callable[[bytes], object],
        enter: Callable[[Entry | None], object],
        advance: Callable[[int, int, bytes], object] | None,
    ) -> None:
        self._add = add
        self._enter = enter
        self._advance = advance
        self._owners: dict[tuple[bytes, bytes], Owner] = {}

    def take(self, reader: TarStream, expected: deque[Entry]) -> tuple[int, int]:
        """Take all that come next; returns how many they were, and their bytes."""
        files = size = 0
        wanted = _LEAST
        while True:
            buffer, position = reader.ahead(wanted)
            taken, count, following = self._take(buffer, position, expected)
            reader.took(taken, following)
            files, size = files + taken, size + count
            asked, wanted = wanted, _wanted(buffer, following)
            is_there = wanted <= len(buffer) - following
            if is_there or (not taken and wanted <= asked):
                return files, size  # it is none of these, or the archive ends

    def _take(self, buffer: bytes, position: int, expected: deque[Entry]) -> tuple[int, int, int]:
        """Return how many files were taken, their bytes, and where the next member begins."""
        unpack, size_of_headers, end = _HEADERS.unpack_from, _HEADERS.size, len(buffer)
        sha256, owners, next_one = hashlib.sha256, self._owners, expected.popleft
        lines: list[bytes] = []
        total = 0
        path = b""
        directory: Entry | None = None
        while expected and position + size_of_headers <= end:
            entry = expected[0]
            status = entry.status
            (records, kind, record, name, numbers, length, form, magic, names, prefix) = unpack(
                buffer, position
            )
            if (
                kind != b"x"
                or form != b"0"
                or magic != _USTAR
                or status.st_nlink != 1
                or entry.fresh
            ):
                break
            path = entry.path
            if prefix == _NO_PREFIX:
                if name.rstrip(b"\0") != path:
                    break
            elif prefix.rstrip(b"\0") + b"/" + name.rstrip(b"\0") != path:
                break
            mode, uid, gid, owner = owners.get((numbers, names)) or self._owner(numbers, names)
            size = status.st_size
            time = status.st_mtime_ns
            if (
                length != b"%011o\0" % size
                or not (
                    (records == _WHOLE and record == b"30 mtime=%d.%09d\n" % divmod(time, 10**9))
                    or _tells(time, records, record)
                )
                or mode != status.st_mode
                or uid != status.st_uid
                or gid != status.st_gid
            ):
                break
            begin = position + size_of_headers
            after = begin + size + (-size & (BLOCK - 1))
            if after > end:
                break
            next_one()
            if entry.parent is not directory:
                directory = entry.parent
                self._enter(directory)
            if b"\\" in path or b"\t" in path or b"\n" in path:
                path = escaped(path)
            digest = sha256(buffer[begin : begin + size]).hexdigest().encode()
            lines.append(b"file\t-\t%b\t%d\t%d\t%b\t-\t\t%b\n" % (owner, size, time, digest, path))
            position = after
            total += size
        if lines:
            self._add(b"".join(lines))
            if self._advance is not None:
                self._advance(len(lines), total, path)
        return len(lines), total, position

    def _owner(self, numbers: bytes, names: bytes) -> Owner:
        """Return mode (of a file), owner, group and their fields in a line of the index."""
        if len(self._owners) >= _CACHED:
            self._owners.clear()
        try:
            mode = number(numbers[:8]) & 0o7777
            uid, gid = number(numbers[8:16]), number(numbers[16:24])
        except TarDamaged:
            return _NOBODY
        fields = owner_fields(mode, uid, gid, text_field(names[:32]), text_field(names[32:]))
        found = self._owners[(numbers, names)] = (mode | stat.S_IFREG, uid, gid, fields)
        return found


def _tells(time: int, size: bytes, record: bytes) -> bool:
    """Whether an extended record tells of this time, in nanoseconds, and of nothing else."""
    told = _TIME_RECORD.get(size)
    if told is None or record[:9] != told[0]:
        return False
    end = told[1]
    whole, _point, part = record[9:end].partition(b".")
    digits = whole + (part if end == 29 else part.ljust(9, b"0"))
    return record[end] == _NEWLINE and digits.isdigit() and int(digits) == time and len(part) < 10


def _wanted(buffer: bytes, position: int) -> int:
    """Return how much must be there for the next one to be taken; 0 where it is none of these."""
    there = len(buffer) - position
    if there < _HEADERS.size:
        return _HEADERS.size
    length = buffer[position + _LENGTH_AT : position + _LENGTH_AT + 11]
    if not length.isdigit():
        return 0
    size = int(length, 8) if not length.strip(b"01234567") else _LARGEST
    whole = _HEADERS.size + size + (-size & (BLOCK - 1))
    return whole if whole <= _LARGEST else 0
