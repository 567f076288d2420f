"""Jobs of an incident that run in a process of their own, and are killed where the test says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import JobStarted
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.journal import JournalWriter
from fsbackup_tui.jobs.launch import make_job_directory
from fsbackup_tui.operations.request import Request
from fsbackup_tui.repository.incidents import INCIDENTS
from tests.support.in_process import InProcessJobs
from tests.support.killed_work import run_until_killed


@dataclass
class DyingJobs(InProcessJobs):
    """The next job after ``kill_next`` dies at one of its moments; ``killed`` tells whether."""

    killed: bool = False
    _gates: Sequence[str] = ()
    _moment: int | None = None

    def kill_next(self, gates: Sequence[str], moment: int) -> None:
        """Let the next job be killed before the nth call of the gates, or behind the last."""
        self._gates, self._moment, self.killed = gates, moment, False

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
        """Run it whole, or leave what a killed worker leaves."""
        more: dict[str, Any] = {"state": state, "operator": operator}
        more |= {"incident": incident, "epoch": epoch}
        if self._moment is None:
            return super().__call__(request, loaded, environ=environ, **more)
        moment, self._moment = self._moment, None
        of_incident = state / INCIDENTS / incident if incident else None
        outcome = loaded.path.parent / "outcome.json"

        def work() -> None:
            result = self._run(request, loaded, environ, of_incident, epoch)
            failed = isinstance(result, Problem)
            document = result.document() if isinstance(result, Problem) else dict(result)
            outcome.write_text(json.dumps([failed, document]))

        self.killed = run_until_killed(work, self._gates, moment)
        if self.killed:
            return self._leave(request, loaded, more)
        failed, document = json.loads(outcome.read_text())
        self.replies[request.operation] = Problem.from_mapping(document) if failed else document
        try:
            return super().__call__(request, loaded, environ=environ, **more)
        finally:
            del self.replies[request.operation]

    def _leave(self, request: Request, loaded: LoadedConfig, more: Mapping[str, Any]) -> Job:
        self.requests.append(request)
        directory, _told = make_job_directory(request, loaded, **more)
        writer = JournalWriter(directory, Redactor(), now=self.clock)
        site = loaded.config.site
        planned = request.planned()
        writer.write(JobStarted(request.operation, site, 1, 0.0, "test", planned))
        writer.close()
        return load_job(directory)
