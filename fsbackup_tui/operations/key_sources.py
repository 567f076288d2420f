"""The secrets that the configuration's ``encryption:`` describes, and where else they are found."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.protection import Encryption, FormerKey
from fsbackup_tui.config.values import SecretDescription, SecretFile
from fsbackup_tui.domain.errors import KeyUnavailable, SecretUnavailable
from fsbackup_tui.domain.events import Report, Warned
from fsbackup_tui.domain.key_question import VARIABLE
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.encryption.age import parse_identities, read_identity_file
from fsbackup_tui.engines.encryption.gpg import variables
from fsbackup_tui.engines.secrets import expands_to_nothing, read_secret
from fsbackup_tui.operations.context import JobContext

_ENCRYPTED = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")


@dataclass(frozen=True)
class KeySource:
    """What keys are made of: the configuration, and the environment its secrets are read from.

    ``work`` is a private directory that outlives the keys; ``environ`` is what gpg needs of ours.
    """

    loaded: LoadedConfig
    environment: Mapping[str, str] = field(repr=False)
    redactor: Redactor
    work: Path
    now: Callable[[], datetime]
    report: Report | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: variables(os.environ))

    @classmethod
    def of(cls, context: JobContext) -> KeySource:
        """Return what a job's keys are made of."""
        return cls(
            context.loaded,
            context.environment,
            context.redactor,
            context.work,
            context.now,
            context.report,
        )

    @property
    def settings(self) -> Encryption | None:
        """The configuration's ``encryption:``, None where there is none."""
        return self.loaded.config.encryption

    def place(self, *path: str | int) -> str:
        """Return file and line of a setting of ``encryption:``."""
        return self.loaded.place("encryption", *path)

    async def passphrase(self) -> Secret | None:
        """Return the passphrase in force, None where nothing gives one.

        SecretUnavailable where what the configuration names gives none, and the variable
        FSBACKUP_PASSPHRASE neither.
        """
        asked = self.told()
        description = self.settings.passphrase if self.settings else None
        if description is None or expands_to_nothing(description, self.environment):
            return asked
        try:
            return await self._read(description, "passphrase", self.place("passphrase"))
        except SecretUnavailable:
            if asked is None:
                raise
            return asked

    def told(self) -> Secret | None:
        """Return what the variable holds: what was typed, or what somebody put there."""
        told = self.environment.get(VARIABLE, "")
        return self.redactor.add(Secret(told)) if told else None

    async def passphrase_origin(self) -> str:
        """Return where the passphrase in force comes from, for people."""
        description = self.settings.passphrase if self.settings else None
        if description is not None and not expands_to_nothing(description, self.environment):
            place = self.place("passphrase")
            if await _or_none(self._read(description, "passphrase", place)) is not None:
                return f"the one in {self._origin(description, place)}"
        return f"the one in the variable {VARIABLE}"

    async def passphrases(self) -> list[Secret]:
        """Return every passphrase that may open a point: that in force first; none twice."""
        found = [await _or_none(self.passphrase())]
        for number, former in enumerate(self.settings.former if self.settings else ()):
            if former.passphrase is not None:
                found.append(
                    await self._former(former.passphrase, f"former passphrase {number + 1}")
                )
        return list(dict.fromkeys(secret for secret in found if secret is not None))

    async def identities(self) -> list[Secret]:
        """Return the texts of every age identity that may open a point, that in force first."""
        return [secret for _origin, secret in await self.identities_by_origin()]

    async def identities_by_origin(self, *, former: bool = True) -> list[tuple[str, Secret]]:
        """Return the identities that can be had, each with where it comes from, for people."""
        found = []
        for key, path in self._described() if former else self._described()[:1]:
            if key.identity is not None and self._has_identity(key):
                secret = await _or_none(self._identity(key, *path))
                if secret is not None:
                    origin = self._origin(key.identity, self.place(*path, "identity"))
                    found.append((origin, secret))
        return found

    async def has_locked_identity(self) -> bool:
        """Whether an identity's file is encrypted, and nothing that is known opens it."""
        for key, path in self._described():
            described = key.identity
            if (
                isinstance(described, SecretFile)
                and _encrypted(described.file)
                and await _or_none(self._identity(key, *path)) is None
            ):
                return True
        return False

    async def keyrings(self) -> list[tuple[Path | None, Secret | None]]:
        """Return gpg's home directories (None: the user's own) and what opens their keys."""
        settings = self.settings
        if settings is None:
            return [(None, None)]
        opener = settings.identity_passphrase
        described = await self._former(opener, "the private key's passphrase")
        found = [(settings.keyring, secret) for secret in _either(described, self.told())]
        for former in settings.former:
            if former.keyring is not None:
                secret = await self._former(former.identity_passphrase, "a former key's passphrase")
                found.append((former.keyring, secret))
        return found

    async def troubles(self) -> list[SecretUnavailable]:
        """Return what is wrong with the secrets and keyrings that are described, one by one.

        Whether they are those of any point can't be told from them.
        """
        if self.settings is None:
            return []
        found: list[SecretUnavailable] = []
        for key, path in self._described():
            for name in ("passphrase", "identity_passphrase"):
                description = getattr(key, name)
                if description is not None and not expands_to_nothing(
                    description, self.environment
                ):
                    what = name.replace("_", "'s ")
                    found += await _trouble(self._read(description, what, self.place(*path, name)))
            if self._has_identity(key):
                found += await _trouble(self._identity(key, *path))
            if key.keyring is not None and not _may_enter(key.keyring):
                place = self.place(*path, "keyring")
                found.append(
                    SecretUnavailable(
                        f"KEYRING NOT READABLE: {key.keyring}.",
                        why=f"{place} names it, and it is no directory that this user may read.",
                        fix="Name gpg's home directory, or run as the user whose it is.",
                    )
                )
        return found

    async def former_passphrases(self) -> list[tuple[str, Secret]]:
        """Return the former passphrases that can be read, each with where it comes from."""
        found = []
        for number, key in enumerate(self.settings.former if self.settings else ()):
            secret = await self._former(key.passphrase, "former passphrase")
            if secret is not None and key.passphrase is not None:
                place = self.place("former", number, "passphrase")
                found.append((self._origin(key.passphrase, place), secret))
        return found

    def _origin(self, description: SecretDescription, place: str) -> str:
        return (
            str(description.file) if isinstance(description, SecretFile) else f"what {place} gives"
        )

    def _described(self) -> list[tuple[Encryption | FormerKey, tuple[str | int, ...]]]:
        settings = self.settings
        if settings is None:
            return []
        former = [(key, ("former", number)) for number, key in enumerate(settings.former)]
        return [(settings, ()), *former]

    def _has_identity(self, key: Encryption | FormerKey) -> bool:
        identity = key.identity
        return identity is not None and not expands_to_nothing(identity, self.environment)

    async def _identity(self, key: Encryption | FormerKey, *path: str | int) -> Secret | None:
        """Return the identities in plain: an identity file may be encrypted with a passphrase.

        SecretUnavailable where it can't be had, or is none.
        """
        description, opener = key.identity, key.identity_passphrase
        if description is None:
            return None
        place = self.place(*path, "identity")
        origin = self._origin(description, place)
        if isinstance(description, SecretFile) and (data := _encrypted(description.file)):
            described = await self._former(opener, "the identity's passphrase")
            openers = _either(described, self.told())
            opened = (read_identity_file(data, passphrase) for passphrase in openers)
            text = next((each for each in opened if each is not None), None)
            if text is None:
                raise _not_opened(origin, place, given=described is not None)
        else:
            text = await self._read(description, "age identity", place)
        # The comment beside an identity names its public key, which is nobody's secret.
        for line in text.reveal().splitlines():
            if line.strip() and not line.startswith("#"):
                self.redactor.add(Secret(line.strip()))
        try:
            parse_identities(text)
        except KeyUnavailable as error:
            raise SecretUnavailable(
                f"NOT AN IDENTITY: {origin}.", why=f"{place} names it.", fix=error.fix
            ) from None
        return text

    async def _former(self, description: SecretDescription | None, what: str) -> Secret | None:
        if description is None or expands_to_nothing(description, self.environment):
            return None
        return await _or_none(self._read(description, what, self.place()))

    async def _read(self, description: SecretDescription, what: str, where: str) -> Secret:
        return await read_secret(
            description,
            self.environment,
            self.redactor,
            what=what,
            where=where,
            note=self._note,
        )

    def _note(self, text: str) -> None:
        if self.report is not None:
            self.report(Warned(text))


def _encrypted(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if data.startswith(_ENCRYPTED) else None


def _either(*secrets: Secret | None) -> list[Secret | None]:
    """Return those that there are, none twice; None alone where there is none."""
    return list(dict.fromkeys(secret for secret in secrets if secret is not None)) or [None]


async def _or_none(reading: Awaitable[Secret | None]) -> Secret | None:
    """Return the secret that is waited for, None where it is not to be had."""
    try:
        return await reading
    except SecretUnavailable:
        return None


async def _trouble(reading: Awaitable[Secret | None]) -> list[SecretUnavailable]:
    """Return why a secret is not to be had, if so."""
    try:
        await reading
    except SecretUnavailable as error:
        return [error]
    return []


def _may_enter(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.R_OK | os.X_OK)


def _not_opened(origin: str, place: str, *, given: bool) -> SecretUnavailable:
    why = "The one that identity_passphrase: gives does not open it."
    return SecretUnavailable(
        f"IDENTITY NOT OPENED: {origin} is encrypted with a passphrase.",
        why=why if given else f"{place} names it, and no identity_passphrase: can be read.",
        fix=f"Let identity_passphrase: beside it, or {VARIABLE}, give the right one. If it does, "
        "the file is damaged: put it back from a copy.",
    )
