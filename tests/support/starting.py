"""Ways of a test to start jobs: what each is asked to start, told in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.jobs.launch import make_job_directory
from fsbackup_tui.jobs.layout import JobRequest
from fsbackup_tui.jobs.supervisor import start_job
from fsbackup_tui.operations.request import Request
from fsbackup_tui.repository.incidents import INCIDENTS


@dataclass(frozen=True)
class Asked:
    """What ``recovery.desk.StartJob`` is called with."""

    request: Request
    loaded: LoadedConfig
    environ: Mapping[str, str]
    state: Path
    operator: str
    incident: str | None
    epoch: int | None

    @property
    def incident_directory(self) -> Path | None:
        """Where the incident lies that the job belongs to."""
        return self.state / INCIDENTS / self.incident if self.incident else None

    def make_directory(self) -> tuple[Path, JobRequest]:
        """Make the job's directory, and start nothing."""
        return make_job_directory(
            self.request,
            self.loaded,
            state=self.state,
            operator=self.operator,
            incident=self.incident,
            epoch=self.epoch,
        )

    def start(self) -> Job:
        """Start it in a process of its own, as the desk does."""
        return start_job(
            self.request,
            self.loaded,
            environ=self.environ,
            state=self.state,
            operator=self.operator,
            incident=self.incident,
            epoch=self.epoch,
        )


class Starts:
    """A ``recovery.desk.StartJob``; how it starts a job, its classes say in ``begin``."""

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
        return self.begin(Asked(request, loaded, environ, state, operator, incident, epoch))

    def begin(self, asked: Asked) -> Job:
        """Start the job and return it as it is then."""
        raise NotImplementedError
