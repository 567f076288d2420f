"""Which key encrypts new points, and what opens those that are there: found and tried early.

A repository keeps, for every key, a known text that it encrypted. Whether a key at hand is that
one takes less than a second to learn, and is learned before anything is captured or restored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.errors import (
    KeyRefused,
    KeyUnavailable,
    PointDamaged,
    SecretUnavailable,
    ToolMissing,
)
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.encryption import age
from fsbackup_tui.engines.encryption.age_passphrase import (
    open_with_passphrase,
    seal_with_passphrase,
)
from fsbackup_tui.engines.encryption.gpg_recipients import find_public_keys, has_private_key
from fsbackup_tui.engines.encryption.gpg_stream import (
    GpgKey,
    GpgReading,
    encryption_failed,
    no_gpg,
)
from fsbackup_tui.engines.encryption.keys import DecryptionKey, EncryptionKey, ReadingKeys
from fsbackup_tui.engines.process import ToolFailed, run
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.key_sources import VARIABLE, KeySource
from fsbackup_tui.repository.keys import (
    CHECK_TEXT,
    IDENTITY_SUFFIX,
    StoredKey,
    new_key_id,
    store_key,
    stored_key,
    stored_keys,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_ID_LENGTH = 16
_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
_CHECK = Artifact(
    "check",
    "also",
    0,
    "",
    plain_bytes=len(CHECK_TEXT),
    plain_sha256=hashlib.sha256(CHECK_TEXT).hexdigest(),
)


async def encryption_key(
    context: JobContext | KeySource, repository: Repository, *, renew: bool = False
) -> EncryptionKey | None:
    """Return what encrypts new points, checked; None where the configuration encrypts nothing.

    The first use of a key writes its check into the repository. ``renew`` lets a passphrase
    that is not the present key's begin a new key.

    Raises:
        KeyRefused: the passphrase is wrong; a public key is missing, expired, revoked; no gpg.
        SecretUnavailable: nothing gives the passphrase.
    """
    source = context if isinstance(context, KeySource) else KeySource.of(context)
    settings = source.settings
    if settings is None:
        return None
    hint = settings.hint or ""
    if settings.recipients:
        return await _for_recipients(source, repository, hint)
    passphrase = await source.passphrase()
    if passphrase is None:
        raise passphrase_missing(source)
    stored = _passphrase_keys(source, repository)
    opened = await _open_passphrase(source, stored[-1], [passphrase]) if stored else None
    if stored and opened is None and not renew:
        raise await _wrong(source, stored, passphrase)
    if opened is None:
        return await _new_passphrase_key(source, repository, settings.method, passphrase, hint)
    return _encrypting(source, stored[-1], opened, hint)


async def needs_to_be_asked(source: KeySource) -> bool:
    """Whether the key is a passphrase, and nothing but a person can tell it."""
    settings = source.settings
    if settings is None or settings.recipients:
        return False
    try:
        return await source.passphrase() is None
    except SecretUnavailable:
        return True


async def fits(source: KeySource, repository: Repository, passphrase: Secret) -> bool | None:
    """Whether a passphrase opens the present key; None where there is none yet."""
    present = _passphrase_keys(source, repository)
    if not present:
        return None
    return await _open_passphrase(source, present[-1], [passphrase]) is not None


def _passphrase_keys(source: KeySource, repository: Repository) -> list[StoredKey]:
    method = source.settings.method if source.settings else ""
    return [
        key for key in stored_keys(repository) if (key.method, key.kind) == (method, "passphrase")
    ]


def passphrase_missing(source: KeySource) -> KeyRefused:
    """Return the error for a passphrase that nobody gave."""
    return KeyRefused(
        "PASSPHRASE MISSING: the points of this site are encrypted with one.",
        why=f"{source.place()} names no passphrase, and {VARIABLE} is not set.",
        fix=f"Run it at a terminal, where it is asked for; or let {VARIABLE} hold it; or describe "
        "it: encryption: {passphrase: {file: /root/fsbackup.passphrase}}",
    )


async def _wrong(source: KeySource, stored: Sequence[StoredKey], passphrase: Secret) -> KeyRefused:
    present = stored[-1]
    for former in reversed(stored[:-1]):
        if await _open_passphrase(source, former, [passphrase]) is not None:
            return KeyRefused(
                f"KEY WRONG: the passphrase is that of the former key {former.id}.",
                why=f"The present key is {present.id}{_hint(present.hint)}.",
                fix="Use the present passphrase; to begin a new key: fsbackup rekey",
            )
    return KeyRefused(
        f"KEY WRONG: the passphrase is not that of the key {present.id}{_hint(present.hint)}.",
        why="The known text that the key encrypted does not open with it. Nothing was begun.",
        fix="Correct the passphrase. If it was changed on purpose: fsbackup rekey",
    )


def _hint(hint: str) -> str:
    return f" ({hint})" if hint else ""


async def _new_passphrase_key(
    source: KeySource,
    repository: Repository,
    method: Literal["gpg", "age"],
    passphrase: Secret,
    hint: str,
) -> EncryptionKey:
    facts = KeyFacts(method, new_key_id(), hint)
    if method == "gpg":
        key = GpgKey(facts, source.work, source.environ, passphrase=passphrase)
        check = await _encrypt_check(key)
        stored = store_key(
            repository,
            facts,
            kind="passphrase",
            recipients=(),
            check=check,
            identity=None,
            now=source.now(),
        )
        opened = await _open_passphrase(source, stored, [passphrase])
    else:
        identity, recipient = age.new_identity()
        source.redactor.add(identity)
        stored = store_key(
            repository,
            facts,
            kind="passphrase",
            recipients=(recipient,),
            check=age.encrypt_text(CHECK_TEXT, [recipient]),
            identity=seal_with_passphrase(_identity_text(identity, recipient), passphrase),
            now=source.now(),
        )
        opened = await _open_passphrase(source, stored, [passphrase])
    if opened is None:
        raise KeyRefused(
            f"KEY NOT MADE: the check of {stored.id} does not open with its own passphrase.",
            why="What was just written can't be read back.",
            fix="Look at the disk of the repository, then try again.",
        )
    return _encrypting(source, stored, opened, hint)


def _identity_text(identity: Secret, recipient: str) -> bytes:
    return f"# public key: {recipient}\n{identity.reveal()}\n".encode()


async def _encrypt_check(key: GpgKey) -> bytes:
    command = replace(key.command(), stdin=CHECK_TEXT)
    try:
        return (await run(command)).stdout
    except ToolMissing as error:
        raise no_gpg() from error
    except ToolFailed as error:
        raise encryption_failed(error) from error


def _encrypting(
    source: KeySource, stored: StoredKey, opened: DecryptionKey, hint: str
) -> EncryptionKey:
    """Return what encrypts with a passphrase's key, by what was found in the opened key.

    The recipient is that of the identity which the passphrase opened, not the one that lies
    readable beside it: who can write there could put his own.
    """
    facts = replace(stored.facts, hint=hint or stored.hint)
    if isinstance(opened, age.AgeIdentities):
        recipients = tuple(name for secret in opened.identities for name in age.public_of(secret))
        return age.AgeKey(facts, recipients)
    if isinstance(opened, GpgReading):
        if not opened.proven:
            raise KeyRefused(
                f"KEY NOT CHECKED: {stored.check} is lost or damaged.",
                why="It is what tells whether a passphrase is the right one.",
                fix="Put it back from a copy of the repository; or begin a new key: fsbackup rekey",
            )
        return GpgKey(facts, source.work, source.environ, passphrase=opened.passphrase)
    raise KeyRefused(f"KEY NOT KNOWN: {stored.id}.")


async def _for_recipients(source: KeySource, repository: Repository, hint: str) -> EncryptionKey:
    settings = source.settings
    if settings is None:
        raise KeyRefused("NO KEY: the configuration encrypts nothing.")
    key: EncryptionKey
    if settings.method == "age":
        age.check_recipients(settings.recipients)
        names = tuple(settings.recipients)
        facts = KeyFacts("age", _recipients_id("age", names), hint, names)
        key = age.AgeKey(facts, names)
    else:
        found = await find_public_keys(
            settings.recipients,
            environ=source.environ,
            keyring=settings.keyring,
            work=source.work,
            now=source.now(),
        )
        names = tuple(public.fingerprint for public in found)
        facts = KeyFacts("gpg", _recipients_id("gpg", names), hint, names)
        key = GpgKey(facts, source.work, source.environ, recipients=names, keyring=settings.keyring)
    if stored_key(repository, facts.id) is None:
        check = (
            age.encrypt_text(CHECK_TEXT, names)
            if isinstance(key, age.AgeKey)
            else await _encrypt_check(key)
        )
        store_key(
            repository,
            facts,
            kind="recipients",
            recipients=names,
            check=check,
            identity=None,
            now=source.now(),
        )
    return key


def _recipients_id(method: str, names: Sequence[str]) -> str:
    text = "\n".join([method, *sorted(names)])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


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
        found, reason = await _open(source, stored)
        if found is None:
            fix = _how_to_give(stored)
            keys = replace(keys, reason=reason, fix=fix)
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
    beside = None if place is None else place / f"{key.id}{IDENTITY_SUFFIX}"
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
    return replace(found, hint=key.hint or found.hint)


async def _open(source: KeySource, stored: StoredKey) -> tuple[DecryptionKey | None, str]:
    """Return what opens a key's check, or why nothing here does."""
    if stored.kind == "passphrase":
        candidates = await source.passphrases()
        found = await _open_passphrase(source, stored, candidates)
        which = "another passphrase than is known here" if candidates else "the passphrase"
        return found, f"needs {which}: that of the key {stored.id}{_hint(stored.hint)}"
    names = ", ".join(stored.recipients)
    reason = f"needs the private key of {names}{_hint(stored.hint)}"
    if stored.method == "age":
        identities = tuple(await source.identities())
        opens = await _opens(age.AgeIdentities(identities), stored) if identities else False
        if opens is False:
            return None, reason
        return age.AgeIdentities(identities, proven=opens is True), ""
    for keyring, passphrase in await source.keyrings():
        if await _has_any(source, stored.recipients, keyring):
            key = GpgReading(source.work, source.environ, passphrase, keyring)
            opens = await _opens(key, stored)
            if opens is not False:
                return replace(key, proven=opens is True), ""
            reason = f"needs what opens the private key of {names}{_hint(stored.hint)}"
    return None, reason


async def _has_any(source: KeySource, names: Sequence[str], keyring: Path | None) -> bool:
    try:
        for name in names:
            if await has_private_key(
                name, environ=source.environ, keyring=keyring, work=source.work
            ):
                return True
    except KeyRefused:
        return False
    return False


async def _open_passphrase(
    source: KeySource, stored: StoredKey, candidates: Sequence[Secret]
) -> DecryptionKey | None:
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
        return f"Set {VARIABLE}, or describe it: encryption: {{former: [{{passphrase: …}}]}}"
    if stored.method == "age":
        return "Describe it: encryption: {identity: {file: /path/key.txt}}"
    return "Import it (gpg --import), or name its home: encryption: {keyring: /path}"
