"""One encrypted file on its own, for a person in a hurry: no repository, no configuration.

It is decrypted into a new file that gets its name when all of it was read and checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    KeyUnavailable,
    UsageError,
)
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import BLOCK, ByteStream, compression_of
from fsbackup_tui.engines.encryption.age import AgeIdentities, AgePassphrase, read_identity_file
from fsbackup_tui.engines.encryption.gpg import variables
from fsbackup_tui.engines.encryption.gpg_stream import GpgReading
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.foreign.openpgp import ARMOUR, recipient_kind
from fsbackup_tui.operations.new_content import new_content, there_already
from fsbackup_tui.repository.files import free_bytes
from fsbackup_tui.repository.keys import IDENTITY_SUFFIX, KEYS
from fsbackup_tui.repository.manifest import PART_NAME, read_part

_AGE = (b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")
_SUFFIXES = (".gpg", ".pgp", ".asc", ".age")
_HEAD = 512
HOW_TO_GIVE = (
    "Run it at a terminal, where it is asked for; or set FSBACKUP_PASSPHRASE, or name "
    "--passphrase-file FILE"
)


@dataclass(frozen=True, slots=True)
class Locked:
    """An encrypted file, and what is known of it.

    ``part`` and ``artifact`` are what lies beside it says, where it is one of ours. ``opened_by``
    is what a stock tool would ask for; ``identity`` a file with a private key that a passphrase
    protects.
    """

    path: Path
    method: Literal["gpg", "age"]
    opened_by: Literal["passphrase", "key"]
    key: KeyFacts | None = None
    artifact: Artifact | None = None
    identity: Path | None = None

    @property
    def plain_name(self) -> str:
        """Its name without what encryption put behind it."""
        name = self.path.name
        for suffix in _SUFFIXES:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                return name[: -len(suffix)]
        return f"{name}.decrypted"

    @property
    def needs_passphrase(self) -> bool:
        """Whether it takes a passphrase to open it, whatever else is at hand."""
        return self.opened_by == "passphrase" or self.is_identity_locked

    @property
    def is_identity_locked(self) -> bool:
        """Whether the file with the private key is encrypted itself."""
        if self.identity is None:
            return False
        try:
            return self.identity.read_bytes().startswith(_AGE)
        except OSError:
            return False


def look_at(path: Path, identity: Path | None = None) -> Locked:
    """Return what a file is locked with; UsageError where it is not encrypted, or not there."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise UsageError(f"NOT READABLE: {path}.", why=f"{error.strerror}.") from error
    part, artifact = _described(path)
    key = part.key if part is not None else None
    if head.startswith(_AGE):
        beside = identity or _identity_beside(path, key)
        by_passphrase = b"\n-> scrypt " in head
        return Locked(path, "age", "passphrase" if by_passphrase else "key", key, artifact, beside)
    kind = recipient_kind(head)
    if kind is None and not head.startswith(ARMOUR):
        raise UsageError(
            f"NOT ENCRYPTED: {path} is no file of gpg or age.",
            why="Its first bytes are those of something else; or it is damaged there.",
            fix="file PATH says what it is.",
        )
    return Locked(path, "gpg", kind or "key", key, artifact)


def _described(path: Path) -> tuple[PartManifest | None, Artifact | None]:
    """Return what a part.json above the file says of it; nothing where there is none."""
    for directory in list(path.absolute().parents)[:2]:
        with suppress(FsbackupError, OSError):
            if (directory / PART_NAME).is_file():
                part = read_part(directory / PART_NAME)
                name = path.absolute().relative_to(directory).as_posix()
                return part, next((a for a in part.artifacts if a.path == name), None)
    return None, None


def _identity_beside(path: Path, key: KeyFacts | None) -> Path | None:
    """Return the identity that an age passphrase protects, where the point or repository has it."""
    if key is None or key.recipients:
        return None
    name = f"{key.id}{IDENTITY_SUFFIX}"
    for directory in list(path.absolute().parents)[:5]:
        for candidate in (directory / name, directory / KEYS / name):
            if candidate.is_file():
                return candidate
    return None


async def decrypt_file(
    locked: Locked,
    target: Path,
    *,
    passphrase: Secret | None,
    environ: Mapping[str, str],
    work: Path,
    decompress: bool = False,
    keyring: Path | None = None,
) -> dict[str, object]:
    """Write the decrypted content into ``target``, which must not be there; returns what it is.

    ``work`` is a private directory that the caller removes. With ``decompress`` the content is
    unpacked, too, and compared with the hash that a part.json beside it tells.

    Raises:
        UsageError: the target is there already.
        KeyUnavailable: no key, or another one; nothing was written.
        PointDamaged: it is altered or cut off; nothing is left of it.
        DiskFull, RepositoryUnwritable: it can't be written.
    """
    _refuse_taken(target)
    compression = compression_of(Path(locked.plain_name)) if decompress else None
    told = locked.artifact
    artifact = Artifact(
        locked.path.name,
        "also",
        _size(locked.path),
        "",
        compression=compression,
        encryption=locked.method,
    )
    as_told = told is not None and (compression is not None) == (told.compression is not None)
    if told is not None and as_told:
        artifact = replace(artifact, plain_bytes=told.plain_bytes, plain_sha256=told.plain_sha256)
    keys = _keys(locked, passphrase, environ, work, keyring)
    _room(target, artifact.bytes if artifact.plain_bytes is None else artifact.plain_bytes)
    with new_content(target) as content:

        def copy(stream: ByteStream) -> None:
            while block := stream.read(BLOCK):
                content.write(block)

        await read_artifact(locked.path, artifact, keys, copy)
        content.appear()
    return {
        "ok": True,
        "file": str(locked.path),
        "output": str(target),
        "method": locked.method,
        "bytes": _size(target),
        "decompressed": compression,
        "checked": "hash" if artifact.plain_sha256 else "authentication",
        "key": None if locked.key is None else locked.key.id,
    }


def _size(path: Path) -> int:
    return path.stat().st_size


def _refuse_taken(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise there_already(target)


def _keys(
    locked: Locked,
    passphrase: Secret | None,
    environ: Mapping[str, str],
    work: Path,
    keyring: Path | None,
) -> ReadingKeys:
    if locked.method == "gpg":
        return ReadingKeys(gpg=GpgReading(work, variables(environ), passphrase, keyring))
    if locked.identity is not None:
        content = locked.identity.read_bytes()
        identity = read_identity_file(content, passphrase)
        if identity is None:
            raise KeyUnavailable(
                "needs the passphrase of its identity"
                if passphrase is None
                else "needs another passphrase than this",
                what=f"PASSPHRASE WRONG: it does not open {locked.identity.name}."
                if passphrase is not None
                else f"PASSPHRASE MISSING: {locked.identity.name} is protected with one.",
                fix=HOW_TO_GIVE,
            )
        return ReadingKeys(age=AgeIdentities((identity,)))
    if locked.opened_by == "passphrase":
        if passphrase is None:
            raise KeyUnavailable(
                "needs its passphrase",
                what=f"PASSPHRASE MISSING: {locked.path.name} is encrypted with one.",
                fix=HOW_TO_GIVE,
            )
        return ReadingKeys(age=AgePassphrase(passphrase))
    raise KeyUnavailable(
        "needs the private key",
        what=f"KEY MISSING: {locked.path.name} is encrypted to a public key.",
        why=_whose(locked),
        fix="Name the file with the private key: --identity FILE",
    )


def _whose(locked: Locked) -> str:
    key = locked.key
    if key is None:
        return "Only the private key that belongs to it opens it."
    hint = f" ({key.hint})" if key.hint else ""
    return f"It is the key {key.id}{hint} of {', '.join(key.recipients) or 'a passphrase'}."


def _room(target: Path, size: int) -> None:
    free = free_bytes(target.parent)
    if free < size:
        raise DiskFull(
            f"NOT ENOUGH SPACE for {target.name}.",
            why=f"It takes {size // 10**6} MB; {target.parent} has {free // 10**6} MB free.",
            fix="Name a roomier place: --output FILE",
        )
