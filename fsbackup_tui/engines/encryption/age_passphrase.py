"""Small age files that a passphrase opens: what an identity is kept in.

They are opened by pyrage, and by ``age -d``. They are *made* here because pyrage chooses the
work factor by a short measurement of its own: 2^20 on the machine where it was tried, which takes
a gigabyte of memory and more than three seconds each time the passphrase is checked. The format
is https://github.com/C2SP/C2SP/blob/main/age.md; what was made is opened by pyrage before it is
returned.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyrage

from fsbackup_tui.domain.errors import KeyRefused
from fsbackup_tui.domain.secret import Secret

WORK_FACTOR = 16
"""log2 of scrypt's N: 64 MiB, about 0.3 s."""

_CHUNK = 1 << 16


def seal_with_passphrase(plain: bytes, passphrase: Secret) -> bytes:
    """Return the age file (binary) that holds ``plain`` under a passphrase.

    Raises:
        ValueError: more than 64 KiB are not for this.
    """
    if len(plain) >= _CHUNK:
        raise ValueError("only what is shorter than 64 KiB is sealed here")
    file_key = secrets.token_bytes(16)
    sealed = _header(file_key, passphrase) + b"".join(_payload(file_key, io.BytesIO(plain)))
    if open_with_passphrase(sealed, passphrase) != plain:
        raise _not_made()
    return sealed


def seal_file_with_passphrase(source: Path, target: Path, passphrase: Secret) -> None:
    """Write a file's content into a new age file (0600) under a passphrase; any length."""
    file_key = secrets.token_bytes(16)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as plain, os.fdopen(descriptor, "wb") as sealed:
        sealed.write(_header(file_key, passphrase))
        for chunk in _payload(file_key, plain):
            sealed.write(chunk)


def _header(file_key: bytes, passphrase: Secret) -> bytes:
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
    body = _base64(_encrypt(wrap_key, bytes(12), file_key))
    stanza = f"-> scrypt {_base64(salt)} {WORK_FACTOR}\n{body}\n"
    header = f"age-encryption.org/v1\n{stanza}---".encode()
    mac = hmac.new(_derive(file_key, b"", b"header"), header, hashlib.sha256).digest()
    return header + f" {_base64(mac)}\n".encode()


def _payload(file_key: bytes, plain: BinaryIO) -> Iterator[bytes]:
    """Return the encrypted content in its chunks; the last one says that it is the last."""
    nonce = secrets.token_bytes(16)
    yield nonce
    key = _derive(file_key, nonce, b"payload")
    number, chunk = 0, plain.read(_CHUNK)
    while True:
        following = plain.read(_CHUNK)
        flag = b"\x00" if following else b"\x01"
        yield _encrypt(key, number.to_bytes(11, "big") + flag, chunk)
        if not following:
            return
        number, chunk = number + 1, following


def _not_made() -> KeyRefused:
    return KeyRefused(
        "KEY NOT MADE: what was sealed with the passphrase does not open with it.",
        why="That is a fault of this program or of a library it uses.",
        fix="Use method: gpg, and tell the makers of fsbackup.",
    )


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
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=salt or None, info=info).derive(secret)


def _encrypt(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key).encrypt(nonce, plain, None)
