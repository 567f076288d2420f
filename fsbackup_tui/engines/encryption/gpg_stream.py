"""Encrypting and decrypting streams with the stock ``gpg``.

Symmetric encryption never touches the user's keyring: it has a home directory of its own. Its
options are those of gpg(1): AES-256, the passphrase mixed as slowly as OpenPGP can (SHA-512,
65 011 712 octets), nothing compressed, nothing asked of an agent or kept in one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.domain.errors import (
    KeyRefused,
    KeyUnavailable,
    NotDecryptable,
    PointDamaged,
    ToolMissing,
)
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.encryption.gpg import (
    HOW_TO_TELL,
    decrypt,
    home_option,
    private_home,
    variables,
)
from fsbackup_tui.engines.process import HANDED_OVER, Command, ToolFailed, run
from fsbackup_tui.engines.process_channel import Channel

_OPTIONS = (
    *("--batch", "--no-tty", "--no-options", "--no-auto-key-locate", "--status-fd", "2"),
    *("-z", "0", "--cipher-algo", "AES256", "--no-symkey-cache", "--no-autostart"),
)
_STRETCHING = (
    *("--s2k-mode", "3", "--s2k-cipher-algo", "AES256"),
    *("--s2k-digest-algo", "SHA512", "--s2k-count", "65011712"),
)
_INVALID_RECIPIENT = re.compile(r"INV_RECP (?P<reason>\d+) (?P<who>.*)")
INSTALL_TO_READ = "Install it (Debian and Ubuntu: apt-get install gnupg)."
HOW_TO_GIVE = "Set FSBACKUP_PASSPHRASE, or see that gpg's agent or keyring has what opens it."
INSTALL = "Install it (Debian and Ubuntu: apt-get install gnupg), or use method: age."


@dataclass(frozen=True, slots=True)
class GpgKey:
    """Encrypts with a passphrase, or to the public keys with the fingerprints ``recipients``.

    ``work`` is a private directory that outlives the key's use.
    """

    facts: KeyFacts
    work: Path
    environ: Mapping[str, str]
    passphrase: Secret | None = None
    recipients: tuple[str, ...] = ()
    keyring: Path | None = None

    def outlet(self, path: Path, report: Report | None) -> _GpgOutlet:
        """Return what encrypts into a new file."""
        return _GpgOutlet(self, path, report)

    def command(self) -> Command:
        """Return the command that encrypts from standard input to standard output."""
        if self.passphrase is not None:
            return Command(
                (
                    *("gpg", *_OPTIONS, "--homedir", str(private_home(self.work))),
                    *("--pinentry-mode", "loopback", "--passphrase-fd", HANDED_OVER),
                    *(*_STRETCHING, "--symmetric"),
                ),
                env=variables(self.environ),
                secret=self.passphrase.reveal().encode(),
            )
        named = (word for name in self.recipients for word in ("--recipient", name))
        home = home_option(self.environ, self.keyring, self.work)
        return Command(
            ("gpg", *_OPTIONS, *home, "--trust-model", "always", *named, "--encrypt"),
            env=variables(self.environ),
        )


@dataclass(frozen=True, slots=True)
class GpgReading:
    """Decrypts with a passphrase, or with the private keys of a keyring.

    With a keyring ``passphrase`` opens its private key; without one, gpg's agent may.
    ``proven`` means that it opens the key's check: what it does not open then is damaged.
    """

    work: Path
    environ: Mapping[str, str]
    passphrase: Secret | None = None
    keyring: Path | None = None
    proven: bool = False

    def inlet(self, path: Path, report: Report | None) -> _GpgInlet:
        """Return what decrypts a stored file."""
        return _GpgInlet(self, path, report)


class _GpgOutlet:
    def __init__(self, key: GpgKey, path: Path, report: Report | None) -> None:
        self._channel = Channel("writes")
        self._command = replace(key.command(), stdin=self._channel, stdout=path)
        self._report = report
        secrets = [key.passphrase] if key.passphrase else []
        self._redactor = Redactor(secrets)

    def write(self, data: bytes, /) -> int:
        return self._channel.write(data)

    def finish(self) -> None:
        self._channel.finish()

    def stop(self) -> None:
        self._channel.stop()

    async def run(self) -> None:
        try:
            await run(self._command, report=self._report, redactor=self._redactor)
        except ToolMissing as error:
            raise no_gpg() from error
        except ToolFailed as error:
            raise encryption_failed(error) from error

    def close(self) -> None:
        self._channel.close()


class _GpgInlet:
    def __init__(self, key: GpgReading, path: Path, report: Report | None) -> None:
        self._channel = Channel("reads")
        self._key = key
        self._path = path
        self._report = report

    def read(self, size: int = -1, /) -> bytes:
        return self._channel.read(size if size >= 0 else 1 << 20)

    def stop(self) -> None:
        self._channel.stop()

    async def run(self) -> None:
        try:
            await decrypt(
                self._path,
                self._channel,
                passphrase=self._key.passphrase,
                environ=self._key.environ,
                work=self._key.work,
                check_space=lambda _size: None,
                report=self._report,
                keyring=self._key.keyring,
            )
        except NotDecryptable as error:
            if isinstance(error.__cause__, ToolMissing):
                raise ToolMissing(
                    "NO GPG: it is not installed here.",
                    why=f"{self._path.name} was encrypted with it.",
                    fix=INSTALL_TO_READ,
                ) from error
            raise self._verdict(error) from error

    def _verdict(self, error: NotDecryptable) -> PointDamaged | KeyUnavailable:
        if self._key.proven:
            return PointDamaged(
                f"NOT READABLE: {self._path.name} can't be decrypted.",
                why=f"Its key is the right one, so its first bytes are damaged: {error.reason}.",
                fix="Take another copy of this point, or another point.",
            )
        return KeyUnavailable(
            f"needs another key than is here: {error.reason}",
            what=f"KEY NOT HERE: {self._path.name} can't be opened.",
            why=f"{error.reason[:1].upper()}{error.reason[1:]}.",
            fix=HOW_TO_GIVE if error.fix == HOW_TO_TELL else error.fix,
        )

    def close(self) -> None:
        self._channel.close()


def no_gpg() -> KeyRefused:
    """Return the error for a machine without gpg."""
    return KeyRefused(
        "NO GPG: the configuration encrypts with it, and it is not installed here.",
        why="Nothing is written unencrypted instead.",
        fix=INSTALL,
    )


def encryption_failed(error: ToolFailed) -> KeyRefused | ToolFailed:
    """Return what gpg's failure to encrypt means: about a key, or as it is."""
    match = _INVALID_RECIPIENT.search(error.completed.stderr)
    if match is None:
        return error
    return KeyRefused(
        f"KEY NOT USABLE: gpg does not encrypt to {match['who'].strip()}.",
        why=error.why,
        fix="fsbackup doctor says what is wrong with it.",
    )
