"""One file in a hurry: what a lost session leaves, what a full disk says, what is asked for."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from fsbackup_tui.domain.errors import DiskFull, FsbackupError, KeyUnavailable, PointDamaged
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.encryption.age import encrypt_text, new_identity
from fsbackup_tui.engines.encryption.age_passphrase import seal_with_passphrase
from fsbackup_tui.operations import new_content
from fsbackup_tui.operations.decrypt_file import decrypt_file, look_at

IDENTITY, RECIPIENT = new_identity()
CONTENT = b"a canary in plain\n" * 20_000
PASSPHRASE = Secret("right horse")


def private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return private(tmp_path / "key.txt", IDENTITY.reveal().encode())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the encrypted file lies alone, and its content will."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "dump.age").write_bytes(encrypt_text(CONTENT, [RECIPIENT]))
    return place


async def decrypt(place: Path, key: Path | None, passphrase: Secret | None = None) -> Path:
    work = place.parent / "work"
    work.mkdir(exist_ok=True, mode=0o700)
    target = place / "dump"
    locked = look_at(place / "dump.age", key)
    await decrypt_file(locked, target, passphrase=passphrase, environ={}, work=work)
    return target


def names_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def nothing_nameless(_directory: Path) -> None:
    """As on a file system where every file has a name."""


@pytest.mark.parametrize("nameless", [True, False])
async def test_a_file_has_no_name_before_it_is_whole(
    place: Path, key: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    """A session that is lost in the middle would leave plain content under it."""
    if not nameless:
        monkeypatch.setattr(new_content, "open_nameless", nothing_nameless)
    seen: set[str] = set()
    write = new_content.NewContent.write

    def watched(self: new_content.NewContent, data: bytes) -> None:
        write(self, data)
        seen.update(names_in(place))

    monkeypatch.setattr(new_content.NewContent, "write", watched)
    target = await decrypt(place, key)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o600
    hidden = seen - {"dump.age"}
    assert len(hidden) == (0 if nameless else 1)
    assert all(name.startswith(".dump.") for name in hidden)
    assert names_in(place) == ["dump", "dump.age"]


@pytest.mark.parametrize("nameless", [True, False])
async def test_a_full_disk_names_the_file_and_nothing_is_left(
    place: Path, key: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        monkeypatch.setattr(new_content, "open_nameless", nothing_nameless)

    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fsbackup_tui.operations.new_content.os.write", full)
        with pytest.raises(DiskFull) as raised:
            await decrypt(place, key)
    assert raised.value.what == f"DISK FULL: no space left for {place / 'dump'}."
    assert "--output" in raised.value.fix
    assert names_in(place) == ["dump.age"]


async def test_what_came_there_meanwhile_stays(
    place: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = new_content.NewContent.write

    def somebody(self: new_content.NewContent, data: bytes) -> None:
        write(self, data)
        self.target.write_bytes(b"of somebody else")

    monkeypatch.setattr(new_content.NewContent, "write", somebody)
    with pytest.raises(FsbackupError, match="FILE EXISTS"):
        await decrypt(place, key)
    assert (place / "dump").read_bytes() == b"of somebody else"


def test_an_identity_in_plain_asks_for_no_passphrase(place: Path, key: Path) -> None:
    assert not look_at(place / "dump.age", key).needs_passphrase
    sealed = seal_with_passphrase(IDENTITY.reveal().encode(), PASSPHRASE)
    locked = private(place.parent / "key.age", sealed)
    assert look_at(place / "dump.age", locked).needs_passphrase


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


def altered(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("harm", [cut_off, altered])
async def test_a_damaged_file_is_no_wrong_passphrase(
    place: Path, harm: Callable[[bytes], bytes]
) -> None:
    whole = pyrage.passphrase.encrypt(CONTENT, PASSPHRASE.reveal())
    (place / "dump.age").write_bytes(whole)
    with pytest.raises(KeyUnavailable) as raised:
        await decrypt(place, None, Secret("another"))
    assert "passphrase is another one" in raised.value.why
    assert "once more" in raised.value.fix
    (place / "dump.age").write_bytes(harm(whole))
    with pytest.raises(PointDamaged, match="NOT READABLE"):
        await decrypt(place, None, PASSPHRASE)
    assert names_in(place) == ["dump.age"]
