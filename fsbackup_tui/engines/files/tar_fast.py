"""The headers of plain files and directories, read the short way.

By far the most members of a tree are files and directories with a short name, whose extended
header has nothing but their time in it: as ``tar --format=posix`` writes them. They are read here
with as few steps as Python allows (a tree may have millions). Everything else, and everything that
looks wrong, is left to ``tar_stream``, which looks closely and says what it is.
"""

from __future__ import annotations

import struct
import zlib

from fsbackup_tui.engines.files.tar_headers import BLOCK, number, text_field
from fsbackup_tui.engines.files.tar_member import Kind, Member

_HEADER = struct.Struct("100s24s12s12s8sc100s8s64s16s155s")
_CACHED = 1024
_ADLER = 65521
_KINDS: dict[bytes, Kind] = {b"0": "file", b"5": "directory"}
_SCALES: list[int] = [10 ** (9 - digits) for digits in range(10)]
_USTAR = b"ustar\x0000"
_NO_PREFIX = bytes(155)
_SLASH, _NEWLINE, _EXTENDED = ord("/"), ord("\n"), ord("x")
_OCTAL = b"01234567"
_SHORTEST = len(b"10 mtime=")

Owner = tuple[int, int, int, bytes, bytes]


class FastHeaders:
    """Reads headers out of a buffer; what many have in common is read once."""

    def __init__(self) -> None:
        self._owners: dict[tuple[bytes, bytes], Owner] = {}
        self._checks: dict[bytes, int] = {}

    def member(self, buffer: bytes, position: int) -> tuple[Member, int] | None:
        """Return the member whose headers begin there, and where they end.

        None: it is no plain one, not all of it is in the buffer, or something is wrong with it.
        """
        header = position + 2 * BLOCK
        if header + BLOCK > len(buffer) or buffer[position + 156] != _EXTENDED:
            return None
        mtime_ns = self._time(buffer, position)
        if mtime_ns is None:
            return None
        block = buffer[header : header + BLOCK]
        name, owner, size, _time, check, kind, _target, magic, names, _device, prefix = (
            _HEADER.unpack_from(block)
        )
        told = _KINDS.get(kind)
        if (
            told is None
            or magic != _USTAR
            or zlib.adler32(block) & 0xFFFF != (self._checks.get(check) or self._check(check))
            or size[11]
            or size[:11].strip(_OCTAL)
        ):
            return None
        path = name.rstrip(b"\0")
        if prefix != _NO_PREFIX:
            path = prefix.rstrip(b"\0") + b"/" + path
        if kind == b"5":
            path = path.rstrip(b"/")
        if not path or path[:2] == b"./" or b"\0" in path or path[-1] == _SLASH:
            return None  # a name that needs a closer look
        mode, uid, gid, user, group = self._owners.get((owner, names)) or self.owner(owner, names)
        length = int(size[:11] or b"0", 8)
        if length and kind == b"5":
            return None
        return (
            Member(
                path, told, mode, uid, gid, user, group, length, mtime_ns, b"", length, None, ()
            ),
            header + BLOCK,
        )

    def owner(self, numbers: bytes, names: bytes) -> Owner:
        """Return mode, ids and names of two pieces of a header; TarDamaged."""
        found = self._owners.get((numbers, names))
        if found is None:
            if len(self._owners) >= _CACHED:
                self._owners.clear()
            found = (
                number(numbers[:8]) & 0o7777,
                number(numbers[8:16]),
                number(numbers[16:24]),
                text_field(names[:32]),
                text_field(names[32:]),
            )
            self._owners[(numbers, names)] = found
        return found

    def _time(self, buffer: bytes, position: int) -> int | None:
        """Return the time in an extended header that has nothing else, in nanoseconds."""
        block = buffer[position : position + BLOCK]
        check = block[148:156]
        size = block[124:135]
        if zlib.adler32(block) & 0xFFFF != (self._checks.get(check) or self._check(check)):
            return None
        begin = position + BLOCK
        length = int(size, 8) if size[:8] == b"00000000" and not size.strip(_OCTAL) else 0
        if not _SHORTEST < length < BLOCK:
            return None
        space, end = begin + 2, begin + length - 1
        if buffer[begin:space] != b"%d" % length or buffer[end] != _NEWLINE:
            return None
        key, _, value = buffer[space:end].partition(b"=")
        whole, _, fraction = value.partition(b".")
        scale: int = _SCALES[len(fraction)] if len(fraction) < 10 else 0
        if key != b" mtime" or not whole.isdigit() or len(whole) > 12 or not scale:
            return None
        if not fraction:
            return int(whole) * 10**9
        if not fraction.isdigit():
            return None
        return int(whole) * 10**9 + int(fraction) * scale

    def _check(self, field: bytes) -> int:
        """Return what Adler-32's lower half is of a header with that checksum; -1 for none."""
        if len(self._checks) >= _CACHED:
            self._checks.clear()
        digits = field.rstrip(b" \0")
        try:
            told = int(digits, 8) if digits.isdigit() else -1
        except ValueError:
            told = -1
        found = (told - 8 * 32 + sum(field) + 1) % _ADLER if told >= 0 else -1
        self._checks[field] = found
        return found
