"""What leads through an incident: the site, its state, who sits there, and how jobs are begun."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError, RepositoryError
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.jobs.supervisor import operator_name, start_job
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.status import (
    gather_status,
    open_site_repository,
    site_zone,
    usable_for_comparison,
)
from fsbackup_tui.repository.incidents import Author
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.reader import PointReader


class StartJob(Protocol):
    """How a request becomes a job (``jobs.supervisor.start_job``)."""

    def __call__(
        self,
        request: Request,
        loaded: LoadedConfig,
        *,
        environ: Mapping[str, str],
        state: Path,
        operator: str,
        incident: str | None = None,
        epoch: int | None = None,
    ) -> Job:
        """Start it and return once its worker has given its first word."""
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _always(_: Request) -> None:
    """Let every job begin."""


@dataclass(frozen=True)
class Desk:
    """All that a recovery's leading needs of the site; nothing here touches a server.

    ``ready`` is called before a step's job is begun, and raises where it can't be yet: a face asks
    for the passphrase there that nothing else tells.
    """

    loaded: LoadedConfig
    environ: Mapping[str, str]
    state: Path
    author: Author
    zone: tzinfo
    repository: Repository | None = None
    start: StartJob = field(default=start_job)
    ready: Callable[[Request], None] = field(default=_always)

    @property
    def read_only(self) -> bool:
        """Whether incidents are only looked at here."""
        return self.loaded.config.read_only

    def require_writing(self) -> None:
        """Raise SafetyRefusal where incidents are only looked at."""
        refuse_if_read_only(self.loaded, "changes no incident")

    @property
    def now(self) -> Callable[[], datetime]:
        """The clock."""
        return self.author.now

    def captured_from(self, source: str) -> ServerIdentity | None:
        """Return the database that the newest point of a source came from; None where unknown."""
        with suppress(FsbackupError):
            for reader in self._fit_for_comparison(source):
                part = reader.part(source)
                if part is not None and part.postgres is not None:
                    return part.postgres.identity
        return None

    def captured_at(self, source: str) -> tuple[str, str] | None:
        """Return host and path that the newest point of a source came from; None where unknown.

        A configuration comes from many paths: of it no single one is told.
        """
        with suppress(FsbackupError):
            for reader in self._fit_for_comparison(source):
                part, manifest = reader.part(source), reader.manifest
                if manifest is None or (part.files is None and part.code is None):
                    return None
                path = part.files.root if part.files is not None else ""
                return manifest.host, path or (part.code.worktree if part.code else "")
        return None

    def _fit_for_comparison(self, source: str) -> Iterator[PointReader]:
        """Yield our own points that have the source, the newest first."""
        if self.repository is None:
            return
        status = gather_status(self.loaded, self.environ, self.now(), refresh=False)
        for point in status.newest:
            if not point.foreign and usable_for_comparison(point, source):
                yield PointReader(self.repository, point.id)


def open_desk(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    *,
    now: Callable[[], datetime] = _utc_now,
    ready: Callable[[Request], None] = _always,
) -> Desk:
    """Return the desk of a site; it works without the repository, too."""
    repository: Repository | None = None
    with suppress(RepositoryError):
        repository = open_site_repository(loaded, environ)
    author = Author(operator_name(environ), socket.gethostname(), now)
    state = site_state(loaded, environ, repository)
    return Desk(loaded, environ, state, author, site_zone(loaded), repository, ready=ready)
