"""Encrypted files are told apart and found to be cut off without their key."""

from __future__ import annotations

import base64
from datetime import UTC
from pathlib import Path

import pytest

from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.foreign.openpgp import ends_whole, recipient_kind

# Written by GnuPG 2.2 (--symmetric --cipher-algo AES256): passphrase "canary".
SYMMETRIC = base64.b64decode(
    "jA0ECQMCEXrt5Ltyyu3/0k0BGp8zgOko8Io3jCdgnRgbJtpQK57EBdDlpvj6XgqK5AdfDBJy+dkA4y6MEqegm9ECS7"
    "RE4MXMtaqLCG7OnKk1Q5MjiXfiiQsAOFyD4A=="
)


def test_a_message_is_recognised_by_its_first_packet() -> None:
    assert recipient_kind(SYMMETRIC) == "passphrase"
    # A session key for a public key: old and new form of the packet's head, version 3.
    assert recipient_kind(b"\x84\x5e\x03" + bytes(40)) == "key"
    assert recipient_kind(b"\x85\x01\x0c\x03" + bytes(40)) == "key"
    for other in (b"", b"SET x;", b"\x1f\x8b\x08\x00", b"\x8c\x0d\x63\x00", bytes(20)):
        assert recipient_kind(other) is None


def test_every_cut_of_a_message_is_found(tmp_path: Path) -> None:
    path = tmp_path / "backup.sql.gpg"
    path.write_bytes(SYMMETRIC)
    assert ends_whole(path)
    for size in range(1, len(SYMMETRIC)):
        path.write_bytes(SYMMETRIC[:size])
        assert not ends_whole(path), size


def test_a_message_in_pieces_is_followed_to_its_last(tmp_path: Path) -> None:
    """Partial body lengths (RFC 9580 §4.2.1.4), as gpg writes them for all that is long."""
    key, piece, last = SYMMETRIC[:15], bytes(512), bytes(100)
    whole = key + b"\xd2" + (b"\xe9" + piece) * 3 + bytes([len(last)]) + last
    path = tmp_path / "long.gpg"
    path.write_bytes(whole)
    assert ends_whole(path)
    for size in (len(whole) - 1, len(key) + 1 + 513 * 3, len(key) + 700, len(key) + 1):
        path.write_bytes(whole[:size])
        assert not ends_whole(path), size


def test_the_length_of_five_octets_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.gpg"
    body = bytes(70_000)
    path.write_bytes(SYMMETRIC[:15] + b"\xd2\xff" + len(body).to_bytes(4, "big") + body)
    assert ends_whole(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not ends_whole(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (SYMMETRIC, "encrypted (gpg, with a passphrase)"),
        (b"-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----\n", "encrypted (gpg)"),
        (b"age-encryption.org/v1\n-> X25519 abc\n", "encrypted (age)"),
        (b"Salted__" + bytes(range(64)), "encrypted (openssl)"),
    ],
)
def test_what_is_encrypted_is_said_to_be(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "backup.sql"
    path.write_bytes(content)
    file = examine(path, UTC).file
    assert (file.form, file.what, file.completeness, file.problems) == (
        "encrypted",
        what,
        "not known",
        (),
    )
    assert file.notes == ("what is in it can't be seen without its key",)


def test_armour_without_an_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "backup.sql.asc"
    path.write_bytes(b"-----BEGIN PGP MESSAGE-----\n\n" + b"jA0ECQMC\n" * 100)
    assert examine(path, UTC).file.completeness == "cut off"
