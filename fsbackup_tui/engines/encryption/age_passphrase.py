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
import secrets

import pyrage

from fsbackup_tui.domain.errors import KeyRefused
from fsbackup_tui.domain.secret import Secret

WORK_FACTOR = 16
"""log2 of scrypt's N: 64 MiB, about 0.3 s."""

_LONGEST = 1 << 16


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
    body = _base64(_encrypt(wrap_key, bytes(12), file_key))
    stanza = f"-> scrypt {_base64(salt)} {WORK_FACTOR}\n{body}\n"
    header = f"age-encryption.org/v1\n{stanza}---".encode()
    mac = hmac.new(_derive(file_key, b"", b"header"), header, hashlib.sha256).digest()
    nonce = secrets.token_bytes(16)
    last = bytes(11) + b"\x01"
    content = _encrypt(_derive(file_key, nonce, b"payload"), last, plain)
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
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=salt or None, info=info).derive(secret)


def _encrypt(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key).encrypt(nonce, plain, None)
