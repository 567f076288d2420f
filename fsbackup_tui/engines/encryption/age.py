"""age by pyrage: X25519 recipients and identities, streams through threads of ours.

The format is https://age-encryption.org/v1: ``age -d`` reads what is written here, and pyrage
what ``age`` wrote. pyrage authenticates every 64 KiB before it gives them out and tells a file
that was cut off from a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage

from fsbackup_tui.domain.errors import KeyRefused, KeyUnavailable, PointDamaged
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain_files import FileInlet, FileOutlet
from fsbackup_tui.engines.chain_stages import BlockQueue, Gathered
from fsbackup_tui.engines.encryption.age_passphrase import open_with_passphrase
from fsbackup_tui.engines.process_channel import ChannelStopped, in_thread

_MOST_IN_MEMORY = 256 << 20
_NO_MATCH = "No matching keys found"
_NOT_UNWRAPPED = "Decryption failed"
_HEADERS = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")


@dataclass(frozen=True, slots=True)
class AgeKey:
    """Encrypts to age recipients (``age1…`` or ssh public keys)."""

    facts: KeyFacts
    recipients: tuple[str, ...]

    def outlet(self, path: Path, report: Report | None) -> _AgeOutlet:
        """Return what encrypts into a new file."""
        return _AgeOutlet(path, [_recipient(text) for text in self.recipients])


@dataclass(frozen=True, slots=True)
class AgeIdentities:
    """Decrypts with identities (``AGE-SECRET-KEY-1…`` or ssh private keys).

    ``proven`` means that they open the key's check: what they don't open then is damaged.
    """

    identities: tuple[Secret, ...]
    proven: bool = False

    def inlet(self, path: Path, report: Report | None) -> _AgeInlet:
        """Return what decrypts a stored file."""
        keys = [key for secret in self.identities for key in parse_identities(secret)]
        return _AgeInlet(path, keys, proven=self.proven)


@dataclass(frozen=True, slots=True)
class AgePassphrase:
    """Decrypts a file that ``age -p`` made; in memory, since pyrage streams none of these."""

    passphrase: Secret

    def inlet(self, path: Path, report: Report | None) -> _PassphraseInlet:
        """Return what decrypts a stored file of at most 256 MiB."""
        if path.stat().st_size > _MOST_IN_MEMORY:
            raise KeyUnavailable(
                "is too large to be decrypted with a passphrase here",
                what=f"TOO LARGE: {path.name} was encrypted with a passphrase.",
                why="Such a file is decrypted in memory, at most 256 MiB of it.",
                fix=f"age -d -o FILE {path.name}",
            )
        return _PassphraseInlet(path, self.passphrase)


def _recipient(text: str) -> Any:
    """Return pyrage's recipient; KeyRefused where the text is none."""
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise KeyRefused(
            f"NOT A RECIPIENT: {text}.",
            why=f"age says: {error}.",
            fix="Write the public key that age-keygen printed: age1… (or an ssh-ed25519 key).",
        ) from error


def check_recipients(recipients: Sequence[str]) -> None:
    """Raise KeyRefused where a text is no recipient."""
    for text in recipients:
        _recipient(text)


def parse_identities(text: Secret) -> list[Any]:
    """Return the identities in the text of an identity file; KeyUnavailable where it has none."""
    value = text.reveal()
    try:
        if "PRIVATE KEY-----" in value:
            return [pyrage.ssh.Identity.from_buffer(value.encode())]
        lines = [line.strip() for line in value.splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        found = [pyrage.x25519.Identity.from_str(line) for line in wanted]
    except pyrage.IdentityError as error:
        raise _no_identity() from error
    if not found:
        raise _no_identity()
    return found


def _no_identity() -> KeyUnavailable:
    return KeyUnavailable(
        "needs an age identity, and what the configuration gives as one is none",
        what="NOT AN IDENTITY: what encryption: identity: gives.",
        fix="It is the file that age-keygen wrote: a line AGE-SECRET-KEY-1…",
    )


def public_of(identity: Secret) -> tuple[str, ...]:
    """Return the recipients that identities belong to; none for ssh keys."""
    found = (getattr(key, "to_public", None) for key in parse_identities(identity))
    return tuple(str(public()) for public in found if public is not None)


def new_identity() -> tuple[Secret, str]:
    """Return a new X25519 identity and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    return Secret(str(identity)), str(identity.to_public())


def encrypt_text(text: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt something short in memory."""
    encrypted: bytes = pyrage.encrypt(text, [_recipient(name) for name in recipients])
    return encrypted


def decrypt_text(data: bytes, identities: Sequence[Secret]) -> bytes | None:
    """Decrypt something short in memory; None where no identity opens it."""
    keys = [key for secret in identities for key in parse_identities(secret)]
    try:
        plain: bytes = pyrage.decrypt(data, keys)
    except pyrage.DecryptError:
        return None
    return plain


def read_identity_file(data: bytes, passphrase: Secret | None) -> Secret | None:
    """Return the identities of a file, which may be encrypted with a passphrase.

    None: it needs a passphrase, and it is another one than this.
    """
    if not data.startswith(_HEADERS):
        return Secret(data.decode("utf-8", errors="replace"))
    if passphrase is None:
        return None
    plain = open_with_passphrase(data, passphrase)
    return None if plain is None else Secret(plain.decode("utf-8", errors="replace"))


class _AgeOutlet:
    def __init__(self, path: Path, recipients: list[Any]) -> None:
        self._file = FileOutlet(path)
        self._queue = BlockQueue()
        self._recipients = recipients
        self._sink = _Remembering(self._file)

    def write(self, data: bytes, /) -> int:
        return self._queue.write(bytes(data))

    def finish(self) -> None:
        self._queue.finish()

    def stop(self) -> None:
        self._queue.stop()

    async def run(self) -> None:
        await in_thread(self._encrypt, stop=self.stop)

    def _encrypt(self) -> None:
        source = _Remembering(self._queue)
        gathered = Gathered(self._sink.write)
        try:
            pyrage.encrypt_io(source, gathered, self._recipients)
            gathered.flush()
        except (pyrage.EncryptError, OSError) as error:
            self.stop()
            raise source.error or self._sink.error or error from error

    def close(self) -> None:
        self._file.close()


class _AgeInlet:
    def __init__(self, path: Path, identities: list[Any], *, proven: bool) -> None:
        self._name = path.name
        self._file = FileInlet(path)
        self._queue = BlockQueue()
        self._identities = identities
        self._proven = proven

    def read(self, size: int = -1, /) -> bytes:
        return self._queue.read(size)

    def stop(self) -> None:
        self._queue.stop()

    async def run(self) -> None:
        await in_thread(self._decrypt, stop=self.stop)

    def _decrypt(self) -> None:
        source = _Remembering(self._file)
        sink = _Remembering(self._queue)
        gathered = Gathered(sink.write)
        try:
            pyrage.decrypt_io(source, gathered, self._identities)
            gathered.flush()
        except (pyrage.DecryptError, OSError) as error:
            failure = source.error or sink.error or self._verdict(error)
            if not isinstance(failure, ChannelStopped):
                self._queue.finish()
            raise failure from error
        self._queue.finish()

    def _verdict(self, error: Exception) -> Exception:
        if _NO_MATCH in str(error) and not self._proven:
            return KeyUnavailable(
                "needs the private key of another age recipient than those known here",
                what=f"KEY NOT HERE: {self._name} was encrypted for somebody else.",
                fix="Name its identity in the configuration: encryption: identity:",
            )
        return _damaged(self._name, error)

    def close(self) -> None:
        self._file.close()


def _damaged(name: str, error: Exception) -> PointDamaged:
    return PointDamaged(
        f"NOT READABLE: {name} can't be decrypted to its end.",
        why=f"It is damaged or cut off: age says {_said(error)!r}.",
        fix="Take another copy of this point, or another point.",
    )


def _said(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


class _PassphraseInlet:
    def __init__(self, path: Path, passphrase: Secret) -> None:
        self._path = path
        self._passphrase = passphrase
        self._queue = BlockQueue()

    def read(self, size: int = -1, /) -> bytes:
        return self._queue.read(size)

    def stop(self) -> None:
        self._queue.stop()

    async def run(self) -> None:
        await in_thread(self._decrypt, stop=self.stop)

    def _decrypt(self) -> None:
        plain = b""
        try:
            plain = pyrage.passphrase.decrypt(self._path.read_bytes(), self._passphrase.reveal())
        except pyrage.DecryptError as error:
            self._queue.finish()
            if _NOT_UNWRAPPED not in str(error):
                raise _damaged(self._path.name, error) from error
            raise KeyUnavailable(
                "needs another passphrase, or is damaged",
                what=f"NOT OPENED: {self._path.name}.",
                why=f"Its passphrase is another one, or its first bytes are damaged: age says "
                f"{_said(error)!r}.",
                fix="Try the passphrase once more; then another copy of the file.",
            ) from error
        self._queue.write(plain)
        self._queue.finish()

    def close(self) -> None:
        pass


class _Remembering:
    """Keeps what its stream raised: pyrage turns every error into one of its own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except BaseException as error:
            self.error = error
            raise
        return data

    def write(self, data: bytes, /) -> int:
        try:
            self._stream.write(data)
        except BaseException as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Do nothing: streams here hold nothing back."""
