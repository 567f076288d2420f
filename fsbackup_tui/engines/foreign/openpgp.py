"""Whether an encrypted file is whole, told without its key from the frames of its packets.

RFC 9580 §4.2: each packet says its length, or comes in pieces that do; a file that was cut off
ends within one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal

ARMOUR = b"-----BEGIN PGP MESSAGE-----"
_ARMOUR_END = b"-----END PGP MESSAGE-----"
_WITH_PUBLIC_KEY, _WITH_PASSPHRASE = 1, 3
_ENCRYPTED_DATA = frozenset({9, 18, 20})


def recipient_kind(head: bytes) -> Literal["passphrase", "key"] | None:
    """Return how an OpenPGP message is locked; None where it is no encrypted message.

    The first packet must have a tag and a version that encrypted messages begin with.
    """
    if len(head) < 4 or not head[0] & 0x80:
        return None
    new = bool(head[0] & 0x40)
    tag = head[0] & 0x3F if new else (head[0] >> 2) & 0x0F
    size = 1 if new and head[1] < 192 else 2 if new else {0: 1, 1: 2}.get(head[0] & 3, 0)
    version = head[1 + size] if size and len(head) > 1 + size else 0
    if tag == _WITH_PASSPHRASE and version in (4, 5, 6):
        return "passphrase"
    if tag == _WITH_PUBLIC_KEY and version in (3, 6):
        return "key"
    return None


def ends_whole(path: Path) -> bool:
    """Whether every packet of the message is there to its last byte; OSError where unreadable."""
    with path.open("rb") as file:
        if file.read(len(ARMOUR)) == ARMOUR:
            file.seek(max(0, path.stat().st_size - 4096))
            return _ARMOUR_END in file.read()
        file.seek(0)
        return _walk(file, os.fstat(file.fileno()).st_size)


def _walk(file: BinaryIO, size: int) -> bool:
    seen_data = False
    while first := file.read(1):
        tag_byte = first[0]
        if not tag_byte & 0x80:
            return False
        if tag_byte & 0x40:
            tag, whole = tag_byte & 0x3F, _skip_new(file, size)
        else:
            tag, whole = (tag_byte >> 2) & 0x0F, _skip_old(file, tag_byte & 3, size)
        if not whole:
            return False
        seen_data = seen_data or tag in _ENCRYPTED_DATA
    return seen_data


def _skip_new(file: BinaryIO, size: int) -> bool:
    while True:
        first = file.read(1)
        if not first:
            return False
        length, last = first[0], True
        if 192 <= length < 224:
            second = file.read(1)
            if not second:
                return False
            length = ((length - 192) << 8) + second[0] + 192
        elif length == 255:
            rest = file.read(4)
            if len(rest) < 4:
                return False
            length = int.from_bytes(rest, "big")
        elif length >= 224:
            length, last = 1 << (length & 0x1F), False
        if file.tell() + length > size:
            return False
        file.seek(length, os.SEEK_CUR)
        if last:
            return True


def _skip_old(file: BinaryIO, kind: int, size: int) -> bool:
    if kind == 3:  # up to the end of the file: nothing tells whether that is the end
        file.seek(size)
        return True
    count = 1 << kind
    octets = file.read(count)
    if len(octets) < count:
        return False
    length = int.from_bytes(octets, "big")
    if file.tell() + length > size:
        return False
    file.seek(length, os.SEEK_CUR)
    return True
