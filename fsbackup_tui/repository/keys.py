"""The keys that a repository's points are encrypted with: what they are, never what opens them.

Beside ``keys/ID.json`` lies the key's check, a known text that it encrypted (``ID.gpg`` or
``ID.age``), by which one learns at once whether a key that is at hand is that one. The identity of
an age passphrase, encrypted with it, is ``ID.identity.age``: what ``age -d -i`` takes. Nothing
here is ever changed.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.repository.files import create_file, create_whole, make_directory, writing
from fsbackup_tui.repository.layout import Repository

KEYS = "keys"
KEY_FORMAT = 1
IDENTITY_SUFFIX = ".identity.age"
CHECK_TEXT = b"fsbackup: this key is the right one.\n"
"""What every key's check says when it is decrypted."""

_ID = re.compile(r"[a-z0-9]{4,40}")
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_LENGTH = 8
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the repository knows it.

    ``recipients`` are public keys; of an age passphrase, that of the identity it protects.
    ``check`` is the file that the key encrypted, ``identity`` the protected identity or None.
    ``is_damaged``: its own file can't be read, and this is what the others beside it tell.
    """

    id: str
    method: Literal["gpg", "age"]
    kind: Literal["passphrase", "recipients"]
    hint: str
    recipients: tuple[str, ...]
    created: datetime
    check: Path
    identity: Path | None = None
    is_damaged: bool = False

    @property
    def facts(self) -> KeyFacts:
        """What a manifest tells of it."""
        recipients = self.recipients if self.kind == "recipients" else ()
        return KeyFacts(self.method, self.id, self.hint, recipients)


def keys_directory(repository: Repository) -> Path:
    """Return where the keys lie; it need not exist."""
    return repository.root / KEYS


def new_key_id() -> str:
    """Return a new id for a passphrase: nothing of the passphrase is in it."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def stored_keys(repository: Repository) -> list[StoredKey]:
    """Return the repository's keys, oldest first.

    None is left out for damage: a passphrase that opens no key any more would begin a new one,
    mistyped or not.
    """
    found = []
    for path in sorted(keys_directory(repository).glob("*.json")):
        with suppress(PointDamaged):
            found.append(_read(path))
    return sorted(found, key=lambda key: (key.created, key.id))


def stored_key(repository: Repository, identifier: str) -> StoredKey | None:
    """Return one key, None where it is not there; PointDamaged where it can't be read."""
    if not _ID.fullmatch(identifier):
        return None
    path = keys_directory(repository) / f"{identifier}.json"
    return _read(path) if path.is_file() else None


def _read(path: Path) -> StoredKey:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST:
            raise ValueError("not a plain small file")
        document = json.loads(path.read_bytes())
        identifier, method, kind = document["id"], document["method"], document["kind"]
        recipients = document["recipients"]
        usable = (
            document["format"] == KEY_FORMAT
            and identifier == path.stem
            and _ID.fullmatch(identifier)
            and method in ("gpg", "age")
            and kind in ("passphrase", "recipients")
            and isinstance(recipients, list)
            and all(isinstance(name, str) for name in recipients)
        )
        if not usable:
            raise ValueError("not what fsbackup wrote")
        identity = path.with_name(f"{identifier}{IDENTITY_SUFFIX}")
        return StoredKey(
            identifier,
            cast(Literal["gpg", "age"], method),
            cast(Literal["passphrase", "recipients"], kind),
            str(document["hint"]),
            tuple(recipients),
            parse_time(str(document["created"])),
            path.with_name(f"{identifier}.{method}"),
            identity if (method, kind) == ("age", "passphrase") else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if (rest := _rest_of(path)) is not None:
            return rest
        raise PointDamaged(
            f"KEY NOT READABLE: {path}.",
            why=f"It is damaged: {error}. The points that it encrypted may be whole.",
            fix="Put it back from a copy of the repository.",
        ) from error


def _rest_of(path: Path) -> StoredKey | None:
    """Return a key as the files beside its own tell it; None where those are lost, too."""
    identifier, identity = path.stem, path.with_name(f"{path.stem}{IDENTITY_SUFFIX}")
    found = [name for name in ("gpg", "age") if path.with_suffix(f".{name}").is_file()]
    if identity.is_file():
        found = ["age"]
    if not found or not _ID.fullmatch(identifier):
        return None
    method = cast(Literal["gpg", "age"], found[0])
    by_passphrase = len(identifier) == _ID_LENGTH
    return StoredKey(
        identifier,
        method,
        "passphrase" if by_passphrase else "recipients",
        "",
        (),
        datetime.fromtimestamp(path.lstat().st_mtime, UTC),
        path.with_name(f"{identifier}.{method}"),
        identity if by_passphrase and method == "age" else None,
        is_damaged=True,
    )


def store_key(
    repository: Repository,
    key: KeyFacts,
    *,
    kind: Literal["passphrase", "recipients"],
    recipients: tuple[str, ...],
    check: bytes,
    identity: bytes | None,
    now: datetime,
) -> StoredKey:
    """Write a new key; another one of its id that was written meanwhile stays as it is.

    Raises:
        RepositoryUnwritable, DiskFull: it can't be written.
    """
    directory = keys_directory(repository)
    path = directory / f"{key.id}.json"
    document = {
        "format": KEY_FORMAT,
        "id": key.id,
        "method": key.method,
        "kind": kind,
        "hint": key.hint,
        "recipients": list(recipients),
        "created": format_time(now),
    }
    with writing(directory):
        make_directory(directory)
        for name, content in (
            (f"{key.id}.{key.method}", check),
            (f"{key.id}{IDENTITY_SUFFIX}", identity),
        ):
            if content is not None:
                with suppress(FileExistsError):
                    create_file(directory / name, content)
        # Last: its presence is what makes it a key.
        with suppress(FileExistsError):
            create_whole(path, (json.dumps(document, indent=1) + "\n").encode())
    return _read(path)
