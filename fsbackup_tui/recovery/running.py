"""The job of the step that is under way: found again after a restart, and followed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.incident import Incident, StepState
from fsbackup_tui.jobs.feed import JobFeed, JournalTail
from fsbackup_tui.jobs.job import Job, load_job, lost_problem
from fsbackup_tui.jobs.layout import JOURNAL
from fsbackup_tui.jobs.supervisor import find_job, list_jobs
from fsbackup_tui.operations.requests import request_document
from fsbackup_tui.repository.incidents import list_incidents

_LOOKED_THROUGH = 50
_CLOCK_SLACK = timedelta(seconds=1)


class JobWatch:
    """A step's job as it goes on; ``feed`` is what faces show of it."""

    def __init__(self, step: str, job: Job) -> None:
        self.step = step
        self.job = job
        self.feed = JobFeed()
        self._tail = JournalTail(job.directory / JOURNAL)

    def read(self) -> None:
        """Take what its journal says by now."""
        self.feed.feed_all(self._tail.read_new())
        self.job = load_job(self.job.directory)

    @property
    def went_beyond_first_stage(self) -> bool:
        """Whether it came to more than its first stage, in which nothing is changed."""
        return sum(stage.started is not None for stage in self.feed.stages) > 1

    @property
    def ended(self) -> bool:
        """Whether its worker has ended, well or not."""
        return not self.job.running


def find_job_of(directory: Path, incident: Incident, state: StepState) -> Job | None:
    """Return the job that a step began, also where a crash came before its id was written.

    ``directory`` is the site's state directory. None: no job was ever begun.
    """
    if state.job:
        try:
            return find_job(directory, state.job)
        except FsbackupError:
            return None
    began = state.began or state.at
    for job in list_jobs(directory, limit=_LOOKED_THROUGH):
        if (
            job.incident == incident.id
            and job.started >= began - _CLOCK_SLACK
            and request_document(job.request)["operation"] == state.request.get("operation")
        ):
            return job
    return None


def problem_of(job: Job) -> Problem:
    """Return why a job did not end well."""
    if job.problem is not None:
        return job.problem
    if job.state == "lost":
        return lost_problem(job)
    return Problem("job-failed", f"{job.operation} ended: {job.state}.")


def last_seconds(directory: Path, incident: str, step: str) -> float | None:
    """Return how long a step took in the newest other incident in which it was done."""
    for journal in list_incidents(directory):
        other = journal.read() if journal.id != incident else None
        state = other.steps.get(step) if other is not None else None
        if state is not None and state.status == "done" and state.job:
            return state.seconds
    return None
