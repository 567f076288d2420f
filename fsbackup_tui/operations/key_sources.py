"""The secrets that the configuration's ``encryption:`` describes, and where else they are found."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.protection import Encryption
from fsbackup_tui.config.values import SecretDescription, SecretFile
from fsbackup_tui.domain.errors import SecretUnavailable
from fsbackup_tui.domain.events import Report, Warned
from fsbackup_tui.domain.key_question import VARIABLE
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.encryption.age import read_identity_file
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

    def place(self, *path: str) -> str:
        """Return file and line of a setting of ``encryption:``."""
        return self.loaded.place("encryption", *path)

    async def passphrase(self) -> Secret | None:
        """Return the passphrase in force, None where nothing gives one.

        SecretUnavailable where what the configuration names gives none, and the variable
        FSBACKUP_PASSPHRASE neither.
        """
        told = self.environment.get(VARIABLE, "")
        asked = self.redactor.add(Secret(told)) if told else None
        description = self.settings.passphrase if self.settings else None
        if description is None or expands_to_nothing(description, self.environment):
            return asked
        try:
            return await self._read(description, "passphrase", self.place("passphrase"))
        except SecretUnavailable:
            if asked is None:
                raise
            return asked

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
        settings = self.settings
        if settings is None:
            return []
        pairs = [(settings.identity, settings.identity_passphrase)]
        pairs += [(former.identity, former.identity_passphrase) for former in settings.former]
        found = []
        for identity, passphrase in pairs:
            if identity is not None and not expands_to_nothing(identity, self.environment):
                found.append(await _or_none(self._identity(identity, passphrase)))
        return [secret for secret in found if secret is not None]

    async def keyrings(self) -> list[tuple[Path | None, Secret | None]]:
        """Return gpg's home directories (None: the user's own) and what opens their keys."""
        settings = self.settings
        if settings is None:
            return [(None, None)]
        opener = settings.identity_passphrase
        found = [(settings.keyring, await self._former(opener, "the private key's passphrase"))]
        for former in settings.former:
            if former.keyring is not None:
                secret = await self._former(former.identity_passphrase, "a former key's passphrase")
                found.append((former.keyring, secret))
        return found

    async def _identity(
        self, description: SecretDescription, opener: SecretDescription | None
    ) -> Secret | None:
        """Return the identities in plain: an identity file may be encrypted with a passphrase."""
        if isinstance(description, SecretFile) and (data := _encrypted(description.file)):
            passphrase = await self._former(opener, "the identity's passphrase")
            secret = read_identity_file(data, passphrase)
            if secret is not None:
                for line in secret.reveal().split():
                    self.redactor.add(Secret(line))
            return secret
        text = await self._read(description, "age identity", self.place("identity"))
        # The comment beside an identity names its public key, which is nobody's secret.
        for line in text.reveal().splitlines():
            if line.strip() and not line.startswith("#"):
                self.redactor.add(Secret(line.strip()))
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


async def _or_none(reading: Awaitable[Secret | None]) -> Secret | None:
    """Return the secret that is waited for, None where it is not to be had."""
    try:
        return await reading
    except SecretUnavailable:
        return None
