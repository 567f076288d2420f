"""Jobs of an incident that run in a process of their own, and are killed where the test says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import JobStarted
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.journal import JournalWriter
from tests.support.in_process import InProcessJobs
from tests.support.killed_work import run_until_killed
from tests.support.starting import Asked


@dataclass
class DyingJobs(InProcessJobs):
    """The next job after ``kill_next`` dies at one of its moments; ``killed`` tells whether."""

    killed: bool = False
    _gates: Sequence[str] = ()
    _moment: int | None = None

    def kill_next(self, gates: Sequence[str], moment: int) -> None:
        """Let the next job be killed before the nth call of the gates, or behind the last."""
        self._gates, self._moment, self.killed = gates, moment, False

    def begin(self, asked: Asked) -> Job:
        """Run it whole, or leave what a killed worker leaves."""
        if self._moment is None:
            return super().begin(asked)
        moment, self._moment = self._moment, None
        outcome = asked.loaded.path.parent / "outcome.json"

        def work() -> None:
            result = self._run_asked(asked)
            failed = isinstance(result, Problem)
            document = result.document() if isinstance(result, Problem) else dict(result)
            outcome.write_text(json.dumps([failed, document]))

        self.killed = run_until_killed(work, self._gates, moment)
        if self.killed:
            return self._leave(asked)
        failed, document = json.loads(outcome.read_text())
        operation = asked.request.operation
        self.replies[operation] = Problem.from_mapping(document) if failed else document
        try:
            return super().begin(asked)
        finally:
            del self.replies[operation]

    def _leave(self, asked: Asked) -> Job:
        request = asked.request
        self.requests.append(request)
        directory, _told = asked.make_directory()
        writer = JournalWriter(directory, Redactor(), now=self.clock)
        site = asked.loaded.config.site
        planned = request.planned()
        writer.write(JobStarted(request.operation, site, 1, 0.0, "test", planned))
        writer.close()
        return load_job(directory)
