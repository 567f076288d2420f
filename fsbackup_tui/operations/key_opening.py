"""What opens the keys of points: what is at hand is tried on each key's check."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.errors import KeyRefused, KeyUnavailable, PointDamaged, ToolMissing
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.key_question import VARIABLE
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.encryption import age
from fsbackup_tui.engines.encryption.age_passphrase import open_with_passphrase
from fsbackup_tui.engines.encryption.gpg_recipients import has_private_key
from fsbackup_tui.engines.encryption.gpg_stream import INSTALL_TO_READ, GpgReading
from fsbackup_tui.engines.encryption.keys import DecryptionKey, ReadingKeys
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.key_sources import KeySource
from fsbackup_tui.repository.keys import (
    CHECK_TEXT,
    IDENTITY_SUFFIX,
    StoredKey,
    stored_key,
    stored_keys,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

OpenedKey = GpgReading | age.AgeIdentities

_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
_CHECK = Artifact(
    "check",
    "also",
    0,
    "",
    plain_bytes=len(CHECK_TEXT),
    plain_sha256=hashlib.sha256(CHECK_TEXT).hexdigest(),
)


_HOW_TO_UNLOCK = (
    "Run it at a terminal, where the passphrase is asked for; or let "
    f"{VARIABLE} hold it; or describe it: encryption: {{identity_passphrase: {{file: /path}}}}"
)


def hint_words(hint: str) -> str:
    """Return where a key is kept, in brackets; empty where nobody wrote it."""
    return f" ({hint})" if hint else ""


async def reading_keys(
    context: JobContext | KeySource, of: Repository | PointReader
) -> ReadingKeys:
    """Return what opens a point, or new points of the repository, as far as it is known here.

    Nothing is raised for what is not here: reading raises KeyUnavailable then, with the words
    that say what is needed. A point that nothing encrypted needs none.
    """
    source = context if isinstance(context, KeySource) else KeySource.of(context)
    if isinstance(of, Repository):
        wanted = [key.facts for key in stored_keys(of)[-1:]]
        place, repository = None, of
    else:
        facts = (part.key for part in of.parts())
        wanted = list(dict.fromkeys(key for key in facts if key is not None))
        place, repository = of.directory, of.repository
    keys = ReadingKeys()
    for key in wanted:
        stored = _known(repository, key, place)
        try:
            found, shut = await _open(source, stored)
            if found is None and (copied := _copied(stored, place)) is not None:
                found, shut = await _open(source, copied)
            if not (found and found.proven) and isinstance(of, PointReader):
                found = await _open_point(source, stored, of, found)
        except ToolMissing:
            found, shut = None, _Shut("needs gpg, which is not installed here", fix=INSTALL_TO_READ)
        if found is None:
            fix = shut.fix or (_HOW_TO_UNLOCK if shut.locked else _how_to_give(stored))
            locked = keys.locked or shut.locked
            keys = replace(keys, reason=shut.reason, fix=fix, locked=locked)
        elif stored.method == "gpg":
            keys = replace(keys, gpg=found)
        else:
            keys = replace(keys, age=found)
    return keys


def _known(repository: Repository, key: KeyFacts, place: Path | None) -> StoredKey:
    """Return the key with its files; those that lie in the point serve where others are lost."""
    found: StoredKey | None = None
    try:
        found = stored_key(repository, key.id)
    except PointDamaged:
        found = None
    beside = _beside(key.id, place)
    if found is None:
        found = StoredKey(
            key.id,
            key.method,
            "recipients" if key.recipients else "passphrase",
            key.hint,
            key.recipients,
            created=_UNKNOWN,
            check=repository.root / "keys" / f"{key.id}.{key.method}",
            identity=beside if key.method == "age" and not key.recipients else None,
        )
    if found.identity is not None and not found.identity.is_file() and beside is not None:
        found = replace(found, identity=beside)
    return replace(
        found, hint=key.hint or found.hint, recipients=found.recipients or key.recipients
    )


def _beside(identifier: str, place: Path | None) -> Path | None:
    return None if place is None else place / f"{identifier}{IDENTITY_SUFFIX}"


def _copied(stored: StoredKey, place: Path | None) -> StoredKey | None:
    """Return the key with the identity that lies in the point, where it is not that one already."""
    beside = _beside(stored.id, place)
    if stored.identity is None or beside is None or stored.identity == beside:
        return None
    if _content(beside) in (b"", _content(stored.identity)):
        return None
    return replace(stored, identity=beside)


async def _open(source: KeySource, stored: StoredKey) -> tuple[OpenedKey | None, _Shut]:
    """Return what opens a key's check, or why nothing here does."""
    if stored.kind == "passphrase":
        candidates = await source.passphrases()
        found = await open_passphrase(source, stored, candidates)
        which = "another passphrase than is known here" if candidates else "the passphrase"
        reason = f"needs {which}: that of the key {stored.id}{hint_words(stored.hint)}"
        return found, _Shut(reason)
    names = ", ".join(stored.recipients)
    of = f"the private key of {names}{hint_words(stored.hint)}"
    if stored.method == "age":
        identities = tuple(await source.identities())
        opens = await _opens(age.AgeIdentities(identities), stored) if identities else False
        if opens is True:
            return age.AgeIdentities(identities, proven=True), _Shut()
        shut = await _shut(source, of, locked=await source.has_locked_identity())
        return (age.AgeIdentities(identities) if opens is None else None), shut
    locked = False
    for key, is_card in await gpg_readings(source, stored.recipients):
        opens = await _opens(key, stored)
        if opens is True:
            return replace(key, proven=True), _Shut()
        if opens is None:
            return key, await _shut(source, of, locked=False)
        locked = locked or not is_card
    return None, await _shut(source, of, locked=locked)


@dataclass(frozen=True, slots=True)
class _Shut:
    """Why nothing opens a key; ``locked``: its private key is here, what unlocks that is not."""

    reason: str = ""
    locked: bool = False
    fix: str = ""


async def _shut(source: KeySource, of: str, *, locked: bool) -> _Shut:
    if not locked:
        return _Shut(f"needs {of}")
    if any(passphrase for _keyring, passphrase in await source.keyrings()):
        return _Shut(f"needs another passphrase than is known here: that of {of}", locked)
    return _Shut(f"needs the passphrase of {of}", locked)


async def _open_point(
    source: KeySource, stored: StoredKey, point: PointReader, unproven: OpenedKey | None
) -> OpenedKey | None:
    """Return what opens a point though not its key's check: then that is what is damaged.

    Tried is the smallest of what the key encrypted. ``unproven`` is what may be the key, and is
    returned where the point does not tell, either.
    """
    sealed = [
        (artifact.bytes, artifact.path, part.source, artifact)
        for part in point.parts()
        if part.key is not None and part.key.id == stored.id
        for artifact in part.artifacts
        if artifact.encryption == stored.method
    ]
    if not sealed or not stored.check.is_file():
        return unproven
    _bytes, _name, part_name, artifact = min(sealed, key=lambda one: one[:3])
    tells = True
    for key in await _candidates(source, stored):
        keys = ReadingKeys(gpg=key, age=key)
        try:
            path = point.artifact_path(part_name, artifact)
            await read_artifact(path, artifact, keys, lambda stream: stream.read(1))
        except KeyUnavailable:
            continue
        except PointDamaged:
            tells = False
            continue
        if source.report is not None:
            text = f"{stored.check} is damaged: the key was tried on {point.id} itself"
            source.report(Warned(f"{text}; put it back from a copy of the repository"))
        return replace(key, proven=True)
    return None if tells else unproven


async def _candidates(source: KeySource, stored: StoredKey) -> list[OpenedKey]:
    """Return what is at hand, whether it opens the key's check or not."""
    if stored.method == "age":
        identities = tuple(await source.identities()) if stored.kind == "recipients" else ()
        return [age.AgeIdentities(identities)] if identities else []
    if stored.kind == "passphrase":
        passphrases = await source.passphrases()
        return [GpgReading(source.work, source.environ, one) for one in passphrases]
    return [key for key, _is_card in await gpg_readings(source, stored.recipients)]


async def gpg_readings(source: KeySource, names: Sequence[str]) -> list[tuple[GpgReading, bool]]:
    """Return what decrypts with the private key of one of the names; whether a card holds it.

    Three wrong PINs shut a card for good: what was told of no card in particular is not tried.
    """
    found = []
    for keyring, passphrase in await source.keyrings():
        if not await has_any(source, names, keyring):
            continue
        is_card = not await has_any(source, names, keyring, cards=False)
        told = None if is_card and passphrase == source.told() else passphrase
        found.append((GpgReading(source.work, source.environ, told, keyring), is_card))
    return found


async def has_any(
    source: KeySource, names: Sequence[str], keyring: Path | None, *, cards: bool = True
) -> bool:
    """Whether a keyring has the private key of one of the names."""
    try:
        for name in names:
            if await has_private_key(
                name, environ=source.environ, keyring=keyring, work=source.work, cards=cards
            ):
                return True
    except KeyRefused:
        return False
    return False


async def open_passphrase(
    source: KeySource, stored: StoredKey, candidates: Sequence[Secret]
) -> OpenedKey | None:
    """Return what opens a passphrase's key with the first of the candidates that does."""
    for passphrase in candidates:
        if stored.method == "gpg":
            key = GpgReading(source.work, source.environ, passphrase)
            opens = await _opens(key, stored)
            if opens is not False:
                return replace(key, proven=opens is True)
            continue
        sealed = b"" if stored.identity is None else _content(stored.identity)
        opened = open_with_passphrase(sealed, passphrase)
        if opened is not None:
            identity = source.redactor.add(Secret(_secret_line(opened.decode())))
            return age.AgeIdentities((identity,), proven=True)
    return None


def _secret_line(text: str) -> str:
    return next((line for line in text.splitlines() if not line.startswith("#")), "")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def opens_text(key: DecryptionKey, method: str, path: Path) -> bool:
    """Whether a key opens the known text in a file."""
    keys = ReadingKeys(gpg=key, age=key)
    check = replace(_CHECK, encryption=method)
    try:
        await read_artifact(path, check, keys, lambda stream: stream.read(1))
    except (KeyUnavailable, PointDamaged):
        return False
    return True


async def _opens(key: DecryptionKey, stored: StoredKey) -> bool | None:
    """Whether a key opens the check; None where that is lost or damaged and can't tell."""
    if not stored.check.is_file():
        return None
    keys = ReadingKeys(gpg=key, age=key)
    check = replace(_CHECK, encryption=stored.method)
    try:
        await read_artifact(stored.check, check, keys, lambda stream: stream.read(1))
    except KeyUnavailable:
        return False
    except PointDamaged:
        return None
    return True


def _how_to_give(stored: StoredKey) -> str:
    if stored.kind == "passphrase":
        told = f"Set {VARIABLE}, or describe it: encryption: {{former: [{{passphrase: …}}]}}"
        file = stored.identity if stored.method == "age" else stored.check
        if file is None or not file.is_file():
            return told
        return f"{told}. If it is right, {file} is damaged: put that back from a copy"
    if stored.method == "age":
        return "Describe it: encryption: {identity: {file: /path/key.txt}}"
    return "Import it (gpg --import), or name its home: encryption: {keyring: /path}"
