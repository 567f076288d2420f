"""What can be done with a place elsewhere: looking, sending, fetching. Nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fsbackup_tui.domain.events import Event, Report
from fsbackup_tui.domain.secret import Redactor

if TYPE_CHECKING:
    from fsbackup_tui.config.replicas import Replica

LARGEST_READ = 16 << 20


def quietly(_event: Event) -> None:
    """Report to nobody."""


def is_there(path: Path) -> bool:
    """Whether a file that was fetched has come."""
    return path.is_file()


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the far side lists it; ``path`` is relative to the replica, with ``/``.

    ``hashes`` are those that the far side tells (``md5`` of S3), in hexadecimal; often none.
    """

    path: str
    bytes: int
    modified: datetime | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


class Remote(Protocol):
    """A replica's place. Paths are relative to it, with ``/``; sizes are bytes.

    Every method raises ReplicaUnreachable, ReplicaRefused, ReplicaFull or another ReplicaError,
    and ToolMissing where the program is not installed; a cancelled call leaves no program
    running. What is stored is never removed, and never replaced unless ``put`` is told to.
    """

    @property
    def describe(self) -> str:
        """The place in words that people know, without any credentials."""
        ...

    async def probe(self) -> None:
        """Return when the place answers and may be listed; it need not exist yet over SSH."""
        ...

    async def list(
        self, prefix: str = "", *, recursive: bool = True, hashes: bool = False
    ) -> list[RemoteFile]:
        """Return the files below a directory, sorted by path; none where it does not exist.

        Listing the place itself finds out what ``probe`` does.
        """
        ...

    async def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        ...

    async def read(self, path: str, limit: int = LARGEST_READ) -> bytes:
        """Return a small file's bytes; ReplicaError when it is missing or larger."""
        ...

    async def read_hash(self, path: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of what the far side gives, read to the end."""
        ...

    async def fetch(self, path: str, to: Path, report: Report = quietly) -> None:
        """Bring one file to ``to``, which does not exist yet; its directory does."""
        ...

    async def fetch_all(self, paths: Sequence[str], root: Path, report: Report = quietly) -> None:
        """Bring files to the same paths below ``root``; which came is the caller's to see."""
        ...

    async def lock_of(self, path: str) -> str | None:
        """Return in words how long a file is locked there; None: not, or nobody tells."""
        ...

    async def put(
        self, root: Path, paths: Sequence[str], report: Report = quietly, *, replace: bool = False
    ) -> None:
        """Send files below ``root`` to the same paths there.

        Each appears whole or not at all where the far side can do that. A file that is there and
        differs is an error, unless ``replace`` is given: then the same name gets these bytes.
        """
        ...


async def open_remote(
    name: str,
    replica: Replica,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    *,
    where: str = "",
) -> Remote:
    """Return the way to a replica; its secrets are read here, and known to the redactor.

    ``environment`` is what secrets are read from, ``work`` a private directory for what needs
    one, ``where`` the ``file:line`` of the setting. SecretUnavailable, ToolMissing, UsageError.
    """
    if replica.rsync is not None:
        from fsbackup_tui.engines.remote.rsync import RsyncRemote, open_rsync

        return await open_rsync(name, replica, work, kind=RsyncRemote)
    from fsbackup_tui.engines.remote.rclone import RcloneRemote, open_rclone

    return await open_rclone(
        name, replica, environment, redactor, work, where=where, kind=RcloneRemote
    )
