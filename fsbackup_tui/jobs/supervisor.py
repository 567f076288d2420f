"""What faces do with jobs: start, list, find, follow and cancel them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import (
    FsbackupError,
    JobError,
    JobLost,
    JobNotFound,
    Problem,
    UsageError,
)
from fsbackup_tui.domain.events import JobFinished, JournalLine, format_time
from fsbackup_tui.jobs.auditing import audit_job, problem_words
from fsbackup_tui.jobs.job import Job, JobState, load_job, lost_problem
from fsbackup_tui.jobs.journal import JournalTail, utc_now
from fsbackup_tui.jobs.launch import (
    await_first_line,
    job_names,
    jobs_directory,
    launch_worker,
    make_job_directory,
    reap_ended_workers,
)
from fsbackup_tui.jobs.layout import CANCEL, CONTROL, JOURNAL, open_private
from fsbackup_tui.jobs.leftovers import prune_jobs, reap_lost
from fsbackup_tui.jobs.liveness import is_same_process, lock_is_held
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.repository.audit import append_audit
from fsbackup_tui.repository.origin import acting_operator, acting_origin, user_name

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.operations.request import Request

__all__ = [
    "Follower",
    "Job",
    "JobState",
    "cancel_job",
    "find_job",
    "follow",
    "list_jobs",
    "operator_name",
    "prune_jobs",
    "reap_lost",
    "start_job",
]

LIST_LIMIT = 1000
_FOLLOW_POLL_SECONDS = 0.1
_LOST_CHECK_SECONDS = 0.5


def start_job(
    request: Request,
    loaded: LoadedConfig,
    *,
    environ: Mapping[str, str],
    state: Path,
    operator: str,
    incident: str | None = None,
    epoch: int | None = None,
) -> Job:
    """Start a job in its own process; returns when its worker has given its first word.

    Blocks for as long as the worker imports (about a second, at most 20): faces call it in a
    thread. ``state`` is the site's state directory. Ends what lost jobs left behind first, and
    removes the directories of old ones. Raises JobError when the worker doesn't come up,
    RepositoryUnwritable or DiskFull when the job can't be written down, and SafetyRefusal when it
    would change what is only to be looked at.
    """
    reap_ended_workers()
    if not request.is_allowed_read_only():
        refuse_if_read_only(loaded, "changes nothing")
    if not loaded.config.read_only:
        reap_lost(state)
        prune_jobs(state)
    directory, job_request = make_job_directory(
        request, loaded, state=state, operator=operator, incident=incident, epoch=epoch
    )
    process = launch_worker(directory, environ)
    try:
        await_first_line(process, directory, job_request)
    except JobError as error:
        audit_job(state, job_request, "failed", error.problem())
        raise
    return load_job(directory)


def operator_name(environ: Mapping[str, str]) -> str:
    """Return who is asking: the user behind sudo where there is one, else the process's user."""
    behind_sudo = environ.get("SUDO_USER", "")
    user = user_name()
    return behind_sudo if behind_sudo and user == "root" else user


def list_jobs(state: Path, *, limit: int = LIST_LIMIT) -> list[Job]:
    """Return the newest jobs, newest first; unreadable directories are left out.

    Past jobs cost one small file each; running ones a look at their lock.
    """
    reap_ended_workers()
    now = utc_now()
    jobs: list[Job] = []
    for name in _job_names(state):
        if len(jobs) >= limit:
            break
        try:
            jobs.append(load_job(jobs_directory(state) / name, now=now))
        except UsageError:
            continue
    return jobs


def find_job(state: Path, text: str) -> Job:
    """Return the job of that id, unambiguous prefix or tag; ``last`` is the newest.

    Raises JobNotFound, which lists the candidates when there are several.
    """
    names = _job_names(state)
    if text == "last":
        found = names[:1]
    elif text in names:
        found = [text]
    else:
        found = [name for name in names if text and name.startswith(text)]
        found = found or [name for name in names if name.rpartition("-")[2] == text]
    if len(found) == 1:
        return load_job(jobs_directory(state) / found[0])
    if found:
        raise JobNotFound(
            f"WHICH JOB? {len(found)} jobs begin with {text}.",
            why="\n".join(found[:5]),
            fix="Give more of the id.",
        )
    raise JobNotFound(
        f"NO SUCH JOB: {text}." if names else "NO JOB YET: nothing has run here.",
        fix="fsbackup jobs lists them.",
    )


def cancel_job(job: Job, *, operator: str = "") -> None:
    """Ask a running job to end: its children are terminated, it cleans up, then `cancelled`.

    The request is a file, so that another user of the group may cancel too; a signal, where it
    is allowed, only hurries it. Raises UsageError for a job that doesn't run.
    """
    job = load_job(job.directory)
    if not job.running:
        raise UsageError(f"NOTHING TO CANCEL: {job.id} has ended ({job.state}).")
    try:
        _ask_to_end(job, operator)
    except JobError as error:
        _audit_cancel(job, operator, error.problem())
        raise
    _audit_cancel(job, operator, None)


def _audit_cancel(job: Job, operator: str, problem: Problem | None) -> None:
    append_audit(
        job.directory.parent.parent,
        "cancel",
        operator=operator or acting_operator(),
        origin=acting_origin(),
        result="ok" if problem is None else "failed",
        now=utc_now(),
        subject=job.id,
        detail=problem_words(problem),
    )


def _ask_to_end(job: Job, operator: str) -> None:
    words = {"operator": operator, "pid": os.getpid(), "at": format_time(utc_now())}
    try:
        descriptor = open_private(job.directory / CONTROL / CANCEL, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(words, file)
    except PermissionError as error:
        raise JobError(
            Problem(
                "job-failed",
                f"NOT CANCELLED: {job.id} runs on.",
                f"It belongs to {job.operator or 'another user'}: {error.strerror}.",
                f"As that user: fsbackup cancel {job.id}",
            )
        ) from error
    except OSError as error:
        # On a full disk the signal alone has to do.
        if not _hurry(job):
            raise JobError(
                Problem("job-failed", f"NOT CANCELLED: {job.id} runs on.", str(error))
            ) from error
        return
    _hurry(job)


def _hurry(job: Job) -> bool:
    if job.pid is None or not is_same_process(job.pid, job.start_time):
        return False
    try:
        os.kill(job.pid, signal.SIGTERM)
    except OSError:
        return False
    return True


class Follower:
    """Reads one job's journal to its end; ask ``poll`` as often as the face wants to show."""

    def __init__(self, job: Job, *, from_start: bool = True) -> None:
        self.job = job
        self.finished: JobFinished | None = None
        self._tail = JournalTail(job.directory / JOURNAL)
        self._seq = 0
        self._next_check = 0.0
        if not from_start:
            self._skip()

    def poll(self) -> list[JournalLine]:
        """Return the new lines, the last of all being job-finished; JobLost for a lost worker."""
        if self.finished is not None:
            return []
        lines = self._take(self._tail.read_new())
        if not lines and time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + _LOST_CHECK_SECONDS
            reap_ended_workers()
            if lock_is_held(self.job.directory) is False:
                lines = self._take(self._tail.read_new()) or self._last_word()
        return lines

    def _skip(self) -> None:
        while lines := self._tail.read_new():
            self._seq = lines[-1].seq
            if isinstance(lines[-1].event, JobFinished):
                # Whoever comes after the end still wants to know how it ended.
                self._tail = JournalTail(self.job.directory / JOURNAL)
                self._seq -= 1
                return

    def _take(self, lines: list[JournalLine]) -> list[JournalLine]:
        taken: list[JournalLine] = []
        for line in lines:
            if line.seq <= self._seq:
                continue
            self._seq = line.seq
            taken.append(line)
            if isinstance(line.event, JobFinished):
                self.finished = line.event
                break
        return taken

    def _last_word(self) -> list[JournalLine]:
        """Return the end that only the state tells (its journal's disk was full), or raise."""
        job = load_job(self.job.directory)
        if job.state == "running":
            return []
        if job.state == "lost":
            raise JobLost(job.problem or lost_problem(job))
        self.finished = JobFinished(job.state, job.result, job.problem)
        return [JournalLine(self._seq + 1, job.finished or utc_now(), self.finished)]


async def follow(job: Job, *, from_start: bool = True) -> AsyncIterator[JournalLine]:
    """Yield a job's journal as it is written, and end after its job-finished line.

    ``from_start=False`` leaves out what was written before. Raises JobLost within about a second
    when the worker vanishes.
    """
    follower = Follower(job, from_start=from_start)
    while follower.finished is None:
        lines = follower.poll()
        for line in lines:
            yield line
        if not lines:
            await asyncio.sleep(_FOLLOW_POLL_SECONDS)


def _job_names(state: Path) -> list[str]:
    """Return the names of the jobs' directories, newest first."""
    try:
        return job_names(state)
    except OSError as error:
        raise FsbackupError(
            "JOBS NOT READABLE: the state directory can't be read.",
            why=f"{error.filename}: {error.strerror}",
            fix="Run fsbackup as the user it belongs to.",
        ) from error
