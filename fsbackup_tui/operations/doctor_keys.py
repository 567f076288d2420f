"""Whether the site's points can be encrypted here, and read again: both are tried for real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.protection import Encryption
from fsbackup_tui.domain.errors import FsbackupError, KeyRefused, SecretUnavailable
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.encryption import age
from fsbackup_tui.engines.encryption.age import public_of
from fsbackup_tui.engines.encryption.age_passphrase import (
    open_with_passphrase,
    seal_with_passphrase,
)
from fsbackup_tui.engines.encryption.gpg_recipients import find_public_keys
from fsbackup_tui.engines.encryption.gpg_stream import GpgKey, GpgReading
from fsbackup_tui.engines.encryption.keys import DecryptionKey
from fsbackup_tui.operations.doctor import Finding, failure
from fsbackup_tui.operations.key_opening import gpg_readings, open_passphrase
from fsbackup_tui.operations.key_sources import KeySource
from fsbackup_tui.operations.keys import (
    encrypted_check,
    fits,
    opens_text,
    passphrase_missing,
    recipients_key,
)
from fsbackup_tui.operations.private_work import private_work
from fsbackup_tui.repository.keys import stored_keys
from fsbackup_tui.repository.layout import Repository

_ID = "encryption"
_SOON = timedelta(days=30)


async def check_encryption(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    repository: Repository | None,
) -> list[Finding]:
    """Encrypt a text as a backup would, and open it as a restore would; nothing is kept.

    ``repository`` is None where it can't be opened: then a passphrase is not compared with its
    key.
    """
    settings = loaded.config.encryption
    if settings is None:
        return []
    with private_work() as work:
        source = KeySource(loaded, environment, redactor, work, lambda: datetime.now(UTC))
        try:
            if settings.recipients:
                found = await _try_recipients(source, settings)
            else:
                found = await _try_passphrase(source, settings, repository)
        except FsbackupError as error:
            found = [failure(_ID, error)]
        told = {finding.what for finding in found}
        wrong = [each for each in await source.troubles() if each.what not in told]
        wrong += await _opening_nothing(source, repository)
        return [
            *(failure(_ID, each, severity="warning") for each in wrong),
            *found,
            *_damaged(repository),
        ]


async def _opening_nothing(
    source: KeySource, repository: Repository | None
) -> list[SecretUnavailable]:
    """Return what is wrong with former passphrases that can be read, and open no key."""
    keys = [] if repository is None else stored_keys(repository)
    keys = [key for key in keys if key.kind == "passphrase"]
    return [
        SecretUnavailable(
            f"FORMER PASSPHRASE OPENS NO KEY: {origin}.",
            why=f"{source.place('former')} names it; none of the repository's keys opens with it.",
            fix="Correct it; or leave it out, where no point is left that it opened.",
        )
        for origin, passphrase in (await source.former_passphrases() if keys else ())
        if not any([await open_passphrase(source, key, [passphrase]) for key in keys])
    ]


def _damaged(repository: Repository | None) -> list[Finding]:
    keys = [] if repository is None else stored_keys(repository)
    return [
        Finding(
            _ID,
            "warning",
            f"KEY FILE DAMAGED: {key.check.with_name(f'{key.id}.json')}.",
            "What it tells of the key is taken from the files beside it.",
            "Put it back from a copy of the repository.",
        )
        for key in keys
        if key.is_damaged
    ]


async def _try_recipients(source: KeySource, settings: Encryption) -> list[Finding]:
    key = await recipients_key(source)
    check = source.work / f"check.{settings.method}"
    check.write_bytes(await encrypted_check(key))
    findings = []
    if settings.method == "gpg":
        findings += await _ending(source, settings)
    readers = await _readers(source, settings)
    opened = [reader for reader in readers if await opens_text(reader, settings.method, check)]
    names = ", ".join(key.recipients)
    if opened:
        what = f"encryption: {settings.method}, to {names}; read back here"
        return [*findings, Finding(_ID, "ok", what)]
    where = f" ({settings.hint})" if settings.hint else ""
    return [
        *findings,
        *await _shut(source, settings),
        Finding(
            _ID,
            "warning",
            "THIS MACHINE CAN'T READ ITS OWN BACKUPS: no private key opens them here.",
            f"They are encrypted with {settings.method} to {names}{where}. Verification ends at "
            "'sealed' here; whether they can be restored is shown where the key is.",
            "Take that for right with accept_blocked:, and run a drill where the key is: "
            "fsbackup drill",
        ),
    ]


async def _shut(source: KeySource, settings: Encryption) -> list[Finding]:
    """Return which private key is here, and why it does not read what was encrypted."""
    if settings.method == "gpg":
        return [
            Finding(
                _ID,
                "warning",
                f"PRIVATE KEY NOT OPENED: it is in {key.keyring or 'the keyring of this user'}.",
                "It seems to have a passphrase, and identity_passphrase: "
                + ("gives another." if key.passphrase else "gives none."),
                "Where somebody sits there it is asked for; for what runs by the clock let "
                "identity_passphrase: describe it, or gpg-agent know it.",
            )
            for key, is_card in await gpg_readings(source, settings.recipients)
            if not is_card
        ]
    found = []
    for origin, identity in await source.identities_by_origin(former=False):
        opens = public_of(identity)
        if opens and not set(opens) & set(settings.recipients):
            found.append(
                Finding(
                    _ID,
                    "warning",
                    f"IDENTITY OF ANOTHER KEY: {origin}.",
                    f"It opens {', '.join(opens)}; new points are encrypted to "
                    f"{', '.join(settings.recipients)}.",
                    "Name the private key of one of these with identity:.",
                )
            )
    return found


async def _ending(source: KeySource, settings: Encryption) -> list[Finding]:
    now = source.now()
    keys = await find_public_keys(
        settings.recipients,
        environ=source.environ,
        keyring=settings.keyring,
        work=source.work,
        now=now,
    )
    return [
        Finding(
            _ID,
            "warning",
            f"KEY EXPIRES SOON: {key.fingerprint} ({key.user}).",
            f"On {ends:%Y-%m-%d} backups will fail.",
            "Have its owner prolong it (gpg --quick-set-expire) and import it again.",
        )
        for key in keys
        if (ends := key.last_day()) is not None and ends - now < _SOON
    ]


async def _readers(source: KeySource, settings: Encryption) -> list[DecryptionKey]:
    if settings.method == "age":
        identities = tuple(await source.identities())
        return [age.AgeIdentities(identities)] if identities else []
    return [key for key, _is_card in await gpg_readings(source, settings.recipients)]


async def _try_passphrase(
    source: KeySource, settings: Encryption, repository: Repository | None
) -> list[Finding]:
    passphrase = await source.passphrase()
    if passphrase is None:
        error = passphrase_missing(source)
        return [
            Finding(
                _ID,
                "warning",
                "PASSPHRASE ASKED FOR: nothing here tells it.",
                "At a terminal fsbackup asks for it; what runs by the clock fails without it.",
                error.fix,
            )
        ]
    right = await fits(source, repository, passphrase) if repository is not None else None
    if right is False:
        raise KeyRefused(
            "KEY WRONG: the passphrase does not open the repository's key.",
            why=f"It is {await source.passphrase_origin()}.",
            fix="Correct it. If it was changed on purpose: fsbackup rekey --all",
        )
    if not await _round_trip(source, settings, passphrase, source.work):
        raise KeyRefused(
            "ENCRYPTION DOES NOT WORK: what was encrypted could not be read back.",
            fix="Look at what gpg --version says, or use method: age.",
        )
    known = "the repository's key" if right else "no key yet: the first backup makes one"
    return [Finding(_ID, "ok", f"encryption: {settings.method} with a passphrase, {known}")]


async def _round_trip(
    source: KeySource, settings: Encryption, passphrase: Secret, work: Path
) -> bool:
    check = work / f"check.{settings.method}"
    reader: DecryptionKey
    if settings.method == "gpg":
        key = GpgKey(KeyFacts("gpg", "check"), work, source.environ, passphrase=passphrase)
        check.write_bytes(await encrypted_check(key))
        reader = GpgReading(work, source.environ, passphrase)
    else:
        identity, recipient = age.new_identity()
        sealed = seal_with_passphrase(identity.reveal().encode(), passphrase)
        opened = open_with_passphrase(sealed, passphrase)
        anew = age.AgeKey(KeyFacts("age", "check"), (recipient,))
        check.write_bytes(await encrypted_check(anew))
        reader = age.AgeIdentities((Secret((opened or b"").decode()),))
    return await opens_text(reader, settings.method, check)
