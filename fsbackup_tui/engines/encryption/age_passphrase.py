"""Small age files that a passphrase opens: what an identity is kept in.

They are opened by pyrage, and by ``age -d``. They are *made* here because pyrage chooses the
work factor by a short measurement of its own: 2^20 on the machine where it was tried, which takes
a gigabyte of memory and more than three seconds each time the passphrase is checked. The format
is https://github.com/C2SP/C2SP/blob/main/age.md: scrypt and HMAC are the standard library's,
ChaCha20-Poly1305 (RFC 8439) is written out below, for the two hundred bytes of one file. What
was made is opened by pyrage before it is returned.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct

import pyrage

from fsbackup_tui.domain.errors import KeyRefused
from fsbackup_tui.domain.secret import Secret

WORK_FACTOR = 16
"""log2 of scrypt's N: 64 MiB, about 0.3 s."""

_LONGEST = 1 << 16
_MASK = 0xFFFFFFFF
_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
_PRIME = (1 << 130) - 5
_CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


def seal_with_passphrase(plain: bytes, passphrase: Secret) -> bytes:
    """Return the age file (binary) that holds ``plain`` under a passphrase.

    Raises:
        ValueError: more than 64 KiB are not for this.
    """
    if len(plain) >= _LONGEST:
        raise ValueError("only what is shorter than 64 KiB is sealed here")
    file_key = secrets.token_bytes(16)
    salt = secrets.token_bytes(16)
    wrap_key = hashlib.scrypt(
        passphrase.reveal().encode(),
        salt=b"age-encryption.org/v1/scrypt" + salt,
        n=1 << WORK_FACTOR,
        r=8,
        p=1,
        maxmem=(128 * 8 << WORK_FACTOR) * 2,
        dklen=32,
    )
    body = _base64(chacha20_poly1305(wrap_key, bytes(12), file_key))
    stanza = f"-> scrypt {_base64(salt)} {WORK_FACTOR}\n{body}\n"
    header = f"age-encryption.org/v1\n{stanza}---".encode()
    mac = hmac.new(_derive(file_key, b"", b"header"), header, hashlib.sha256).digest()
    nonce = secrets.token_bytes(16)
    last = bytes(11) + b"\x01"
    content = chacha20_poly1305(_derive(file_key, nonce, b"payload"), last, plain)
    sealed = header + f" {_base64(mac)}\n".encode() + nonce + content
    if open_with_passphrase(sealed, passphrase) != plain:
        raise KeyRefused(
            "KEY NOT MADE: what was sealed with the passphrase does not open with it.",
            why="That is a fault of this program or of a library it uses.",
            fix="Use method: gpg, and tell the makers of fsbackup.",
        )
    return sealed


def open_with_passphrase(data: bytes, passphrase: Secret) -> bytes | None:
    """Return what an age file holds that a passphrase opens; None where it is another one."""
    try:
        plain: bytes = pyrage.passphrase.decrypt(data, passphrase.reveal())
    except pyrage.DecryptError:
        return None
    return plain


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869) for 32 bytes."""
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def chacha20_poly1305(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    """Return the ciphertext with its tag behind it, without further data (RFC 8439, 2.8)."""
    encrypted = bytearray()
    for start in range(0, len(plain), 64):
        stream = _chacha20_block(key, 1 + start // 64, nonce)
        piece = plain[start : start + 64]
        encrypted += bytes(a ^ b for a, b in zip(piece, stream, strict=False))
    padded = bytes(encrypted) + bytes(-len(encrypted) % 16)
    lengths = struct.pack("<QQ", 0, len(encrypted))
    return bytes(encrypted) + _poly1305(_chacha20_block(key, 0, nonce)[:32], padded + lengths)


def _chacha20_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    start = [*_CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    state = list(start)
    for _round in range(10):
        for a, b, c, d in (
            *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
            *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
        ):
            _quarter_round(state, a, b, c, d)
    return struct.pack("<16I", *((x + y) & _MASK for x, y in zip(state, start, strict=True)))


def _quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for first, second, third, distance in (
        (a, b, d, 16),
        (c, d, b, 12),
        (a, b, d, 8),
        (c, d, b, 7),
    ):
        state[first] = (state[first] + state[second]) & _MASK
        mixed = state[third] ^ state[first]
        state[third] = ((mixed << distance) | (mixed >> (32 - distance))) & _MASK


def _poly1305(key: bytes, message: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & _CLAMP
    s = int.from_bytes(key[16:], "little")
    total = 0
    for start in range(0, len(message), 16):
        block = int.from_bytes(message[start : start + 16] + b"\x01", "little")
        total = (total + block) * r % _PRIME
    return ((total + s) & ((1 << 128) - 1)).to_bytes(16, "little")
