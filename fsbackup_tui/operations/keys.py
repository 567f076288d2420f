"""Which key encrypts new points, and what opens those that are there: found and tried early.

A repository keeps, for every key, a known text that it encrypted. Whether a key at hand is that
one takes less than a second to learn, and is learned before anything is captured or restored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from fsbackup_tui.domain.errors import (
    KeyRefused,
    SecretUnavailable,
    ToolMissing,
)
from fsbackup_tui.domain.key_question import VARIABLE
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.encryption import age
from fsbackup_tui.engines.encryption.age_passphrase import (
    seal_with_passphrase,
)
from fsbackup_tui.engines.encryption.gpg_recipients import find_public_keys
from fsbackup_tui.engines.encryption.gpg_stream import (
    GpgKey,
    GpgReading,
    encryption_failed,
    no_gpg,
)
from fsbackup_tui.engines.encryption.keys import DecryptionKey, EncryptionKey
from fsbackup_tui.engines.process import ToolFailed, run
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.key_opening import (
    hint_words,
    open_passphrase,
    opens_text,
    reading_keys,
)
from fsbackup_tui.operations.key_sources import KeySource
from fsbackup_tui.repository.keys import (
    CHECK_TEXT,
    StoredKey,
    new_key_id,
    store_key,
    stored_key,
    stored_keys,
)
from fsbackup_tui.repository.layout import Repository

__all__ = [
    "begins_key",
    "encrypted_check",
    "encryption_key",
    "fits",
    "needs_to_be_asked",
    "opens_text",
    "passphrase_keys",
    "passphrase_missing",
    "reading_keys",
    "recipients_key",
]
_ID_LENGTH = 16


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
    stored = passphrase_keys(source, repository)
    opened = await open_passphrase(source, stored[-1], [passphrase]) if stored else None
    if stored and opened is None and not renew:
        raise await _wrong(source, stored, passphrase)
    if opened is None:
        return await _new_passphrase_key(source, repository, settings.method, passphrase, hint)
    return _encrypting(source, stored[-1], opened, hint)


async def begins_key(context: JobContext, repository: Repository) -> bool:
    """Whether ``encryption_key`` with ``renew`` would write a key that is not there yet.

    Raises as ``encryption_key`` does, about the public keys; nothing is written.
    """
    source = KeySource.of(context)
    if source.settings is None:
        return False
    if source.settings.recipients:
        return stored_key(repository, (await recipients_key(source)).facts.id) is None
    passphrase = await source.passphrase()
    return passphrase is not None and not await fits(source, repository, passphrase)


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
    present = passphrase_keys(source, repository)
    if not present:
        return None
    return await open_passphrase(source, present[-1], [passphrase]) is not None


def passphrase_keys(source: KeySource, repository: Repository) -> list[StoredKey]:
    """Return the repository's keys of the configured method that are passphrases, oldest first."""
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
        "it: encryption: {passphrase: {file: /etc/fsbackup/passphrase}}",
    )


async def _wrong(source: KeySource, stored: Sequence[StoredKey], passphrase: Secret) -> KeyRefused:
    present = stored[-1]
    for former in reversed(stored[:-1]):
        if await open_passphrase(source, former, [passphrase]) is not None:
            return KeyRefused(
                f"KEY WRONG: the passphrase is that of the former key {former.id}.",
                why=f"The present key is {present.id}{hint_words(present.hint)}.",
                fix="Use the present passphrase; to begin a new key: fsbackup rekey",
            )
    return KeyRefused(
        f"KEY WRONG: the passphrase is not that of the key {present.id}{hint_words(present.hint)}.",
        why="The known text that the key encrypted does not open with it. Nothing was begun.",
        fix="Correct the passphrase. If it was changed on purpose: fsbackup rekey --all. If it is "
        f"right, {present.identity or present.check} is damaged: put that back from a copy.",
    )


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
        check = await encrypted_check(key)
        stored = store_key(
            repository,
            facts,
            kind="passphrase",
            recipients=(),
            check=check,
            identity=None,
            now=source.now(),
        )
        opened = await open_passphrase(source, stored, [passphrase])
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
        opened = await open_passphrase(source, stored, [passphrase])
    if opened is None:
        raise KeyRefused(
            f"KEY NOT MADE: the check of {stored.id} does not open with its own passphrase.",
            why="What was just written can't be read back.",
            fix="Look at the disk of the repository, then try again.",
        )
    return _encrypting(source, stored, opened, hint)


def _identity_text(identity: Secret, recipient: str) -> bytes:
    return f"# public key: {recipient}\n{identity.reveal()}\n".encode()


async def encrypted_check(key: EncryptionKey) -> bytes:
    """Return the known text, encrypted; KeyRefused where that fails."""
    if isinstance(key, age.AgeKey):
        return age.encrypt_text(CHECK_TEXT, key.recipients)
    if not isinstance(key, GpgKey):
        raise KeyRefused(f"KEY NOT KNOWN: {key.facts.id}.")
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
    key = await recipients_key(source, hint)
    if stored_key(repository, key.facts.id) is None:
        store_key(
            repository,
            key.facts,
            kind="recipients",
            recipients=key.recipients,
            check=await encrypted_check(key),
            identity=None,
            now=source.now(),
        )
    return key


async def recipients_key(source: KeySource, hint: str = "") -> EncryptionKey:
    """Return what encrypts to the public keys that are configured, found usable.

    Raises:
        KeyRefused: one is missing, ambiguous, expired, revoked, or none; no gpg.
    """
    settings = source.settings
    if settings is None:
        raise KeyRefused("NO KEY: the configuration encrypts nothing.")
    if settings.method == "age":
        age.check_recipients(settings.recipients)
        names = tuple(settings.recipients)
        return age.AgeKey(KeyFacts("age", _recipients_id("age", names), hint, names), names)
    found = await find_public_keys(
        settings.recipients,
        environ=source.environ,
        keyring=settings.keyring,
        work=source.work,
        now=source.now(),
    )
    names = tuple(public.fingerprint for public in found)
    facts = KeyFacts("gpg", _recipients_id("gpg", names), hint, names)
    return GpgKey(facts, source.work, source.environ, recipients=names, keyring=settings.keyring)


def _recipients_id(method: str, names: Sequence[str]) -> str:
    text = "\n".join([method, *sorted(names)])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]
