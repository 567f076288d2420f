"""What encrypts artifacts and what decrypts them, whichever method does the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from fsbackup_tui.domain.errors import KeyUnavailable
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.site_parts import KeyFacts

Method = Literal["gpg", "age"]
SUFFIXES: dict[str, str] = {"gpg": ".gpg", "age": ".age"}


class Outlet(Protocol):
    """The end of a chain: what is written comes to lie in a new file (0600).

    ``write`` and ``finish`` belong to a thread; ``run`` returns when the file is complete, and
    raises why it can't become so; ``stop`` makes all of them end soon.
    """

    def write(self, data: bytes, /) -> object:
        """Take all of the data."""
        ...

    def finish(self) -> None:
        """Tell that nothing comes after."""
        ...

    def stop(self) -> None:
        """Give up."""
        ...

    async def run(self) -> None:
        """Return when the file is complete."""
        ...

    def close(self) -> None:
        """Let go of what is open; nothing works with it any more."""
        ...


class Inlet(Protocol):
    """The beginning of a way back: a stored file's decrypted bytes.

    ``read`` belongs to a thread. ``run`` returns when all was given out and its authentication
    held; it raises KeyUnavailable or PointDamaged.
    """

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        ...

    def stop(self) -> None:
        """Give up: nobody reads any further."""
        ...

    async def run(self) -> None:
        """Return when all was given out, and was what had been encrypted."""
        ...

    def close(self) -> None:
        """Let go of what is open; nothing works with it any more."""
        ...


class EncryptionKey(Protocol):
    """What encrypts; ``recipients`` are those an artifact's manifest names."""

    @property
    def facts(self) -> KeyFacts:
        """Which key it is, as a manifest tells it."""
        ...

    @property
    def recipients(self) -> tuple[str, ...]:
        """Who can decrypt; empty for a passphrase."""
        ...

    def outlet(self, path: Path, report: Report | None) -> Outlet:
        """Return what encrypts into a new file."""
        ...


class DecryptionKey(Protocol):
    """What decrypts."""

    def inlet(self, path: Path, report: Report | None) -> Inlet:
        """Return what decrypts a stored file."""
        ...


@dataclass(frozen=True, slots=True)
class ReadingKeys:
    """What decrypts a point here, or why nothing does.

    ``reason`` says so in the middle of a sentence ("needs the private key …"). ``locked``: a
    private key is here, and its passphrase is not.
    """

    gpg: DecryptionKey | None = None
    age: DecryptionKey | None = None
    reason: str = "needs a key that is not here"
    fix: str = ""
    locked: bool = False

    def of(self, method: str) -> DecryptionKey:
        """Return what decrypts an artifact of the method; KeyUnavailable where nothing does."""
        key = {"gpg": self.gpg, "age": self.age}.get(method)
        if key is None:
            raise KeyUnavailable(
                self.reason,
                what=f"KEY NOT HERE: it {self.reason}.",
                why="What is encrypted can't be read without it; it is none the worse for that.",
                fix=self.fix,
            )
        return key
