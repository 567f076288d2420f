"""What stands in the headers of tar archives: numbers, names, extended records, sparse maps.

The forms are those of POSIX.1-2001 (ustar, pax) and of the GNU tar manual, "Tar Internals".
Every field is checked; what can't be is refused rather than guessed.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

BLOCK = 512
ZEROS = bytes(BLOCK)
LARGEST_FILE = 1 << 46
"""Most bytes that a member may claim (64 TiB): more is no file, but an attack on the reader."""

CAPABILITY = b"SCHILY.xattr.security.capability"
_ADLER = 65521
_NANOSECONDS = 10**9


class TarDamaged(ValueError):
    """An archive is cut off, altered, or made to harm its reader; says where and how."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it takes memory: an archive may be made by somebody else.

    ``extended`` is the most bytes of one member's extended records, ``name`` of a path or link
    target, ``segments`` the most pieces of a sparse file, ``members`` of entries in all.
    """

    extended: int = 8 << 20
    name: int = 1 << 16
    segments: int = 1 << 20
    members: int = 200_000_000
    file: int = LARGEST_FILE


def check_sum(block: bytes) -> bool:
    """Whether a header's checksum holds, in its unsigned form.

    Adler-32's lower half is the sum of all bytes, plus one, modulo a prime: the fast way to it.
    """
    try:
        told = int(block[148:156].rstrip(b" \0") or b"-", 8)
    except ValueError:
        return False
    found = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 256
    return 0 <= told <= BLOCK * 255 and (found - told) % _ADLER == 0


def number(field: bytes) -> int:
    """Return a number field: octal, or GNU's base-256; TarDamaged for anything else."""
    first = field[0]
    if first & 0x80:
        if first not in (0x80, 0xFF):
            raise TarDamaged("a number in a header is out of any range")
        return int.from_bytes(field[1:], "big", signed=False) - (
            0 if first == 0x80 else 1 << (8 * (len(field) - 1))
        )
    text = field.rstrip(b" \0")
    if not text:
        return 0
    try:
        value = int(text, 8)
    except ValueError:
        raise TarDamaged("a number in a header is none") from None
    if value < 0:
        raise TarDamaged("a number in a header is negative")
    return value


def text_field(field: bytes) -> bytes:
    """Return a text field up to its first NUL."""
    end = field.find(0)
    return field if end < 0 else field[:end]


def decimal(value: bytes, what: str, most: int = LARGEST_FILE) -> int:
    """Return a decimal number of an extended record, at most ``most``."""
    if not value.isdigit() or len(value) > 20 or int(value) > most:
        raise TarDamaged(f"its {what} is {_shown(value)}")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """Return a time of an extended record (seconds, with a fraction) in nanoseconds."""
    sign = -1 if value.startswith(b"-") else 1
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 19 or (fraction and not fraction.isdigit()):
        raise TarDamaged(f"its time is {_shown(value)}")
    return sign * (int(whole) * _NANOSECONDS + int(fraction[:9].ljust(9, b"0") or b"0"))


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header, a later one of a key over an earlier.

    Sparse maps of the form 0.0, which repeat their keys, come as one of the form 0.1.
    """
    records: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        space = data.find(b" ", position, position + 20)
        if space < 0 or not data[position:space].isdigit():
            raise TarDamaged("an extended record has no length")
        stop = position + int(data[position:space])
        if stop > end or stop <= space + 1 or data[stop - 1] != 10:
            raise TarDamaged("an extended record is longer than its header")
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if not equals or not key:
            raise TarDamaged("an extended record has no name")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pieces.append(value)
        records[key] = value
        position = stop
    if pieces:
        records[b"GNU.sparse.map"] = b",".join(pieces)
    return records


def sparse_map(numbers: list[bytes], size: int, stored: int, limits: Limits) -> array[int]:
    """Return offsets and lengths of a sparse file's pieces, checked against its sizes."""
    if len(numbers) % 2 or len(numbers) // 2 > limits.segments:
        raise TarDamaged("its sparse map is no list of pieces, or too long a one")
    pieces = array("q", (decimal(value, "sparse map", limits.file) for value in numbers))
    check_pieces(pieces, size, stored)
    return pieces


def check_pieces(pieces: array[int], size: int, stored: int) -> None:
    """Refuse a sparse map whose pieces overlap, leave the file, or aren't what is stored."""
    end = total = 0
    for place in range(0, len(pieces), 2):
        offset, length = pieces[place], pieces[place + 1]
        if offset < end or offset + length > size:
            raise TarDamaged("the pieces of its sparse map overlap, or leave the file")
        end = offset + length
        total += length
    if total != stored:
        raise TarDamaged(f"its sparse map tells of {total} bytes, {stored} are stored")


def gnu_sparse_map(block: bytes, extensions: list[bytes]) -> tuple[list[tuple[int, int]], int]:
    """Return the pieces and the real size of GNU's old form of sparse files (type ``S``)."""
    fields = [block[386 + 24 * place : 410 + 24 * place] for place in range(4)]
    for extension in extensions:
        fields += [extension[24 * place : 24 * place + 24] for place in range(21)]
    pieces = [(number(field[:12]), number(field[12:])) for field in fields if field[:1] != b"\0"]
    return pieces, number(block[483:495])


def without_capability(data: bytes) -> bytes:
    """Return the records of a pax header, as long as they were, with no capabilities in them.

    A record of these becomes a comment, which every tar passes over.
    """
    pieces: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.index(b" ", position)
        stop = position + int(data[position:space])
        record = data[position:stop]
        if record[space - position + 1 :].startswith(CAPABILITY + b"="):
            head = data[position : space + 1] + b"comment="
            record = head + b"-" * (len(record) - len(head) - 1) + b"\n"
        pieces.append(record)
        position = stop
    return b"".join(pieces)


def with_mode(block: bytes, mode: int) -> bytes:
    """Return a header with another mode."""
    changed = block[:100] + b"%07o\0" % mode + block[108:148] + b" " * 8 + block[156:]
    return changed[:148] + b"%06o\0 " % sum(changed) + changed[156:]


def attributes_of(records: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes and access lists among the records, sorted by name."""
    return tuple(
        sorted(
            item
            for item in records.items()
            if item[0].startswith((b"SCHILY.xattr.", b"SCHILY.acl.", b"RHT.security.selinux"))
        )
    )


def _shown(value: bytes) -> str:
    return ascii(value[:40].decode("utf-8", "replace"))
