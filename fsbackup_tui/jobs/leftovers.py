"""What lost jobs left behind, and the directories of jobs long past."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import CommandStarted, format_time
from fsbackup_tui.domain.point import point_time, session_name
from fsbackup_tui.engines.postgres.scratch_room import sweep_linked_rooms
from fsbackup_tui.jobs.auditing import audit_job
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.journal import JournalTail, utc_now
from fsbackup_tui.jobs.launch import job_names, jobs_directory
from fsbackup_tui.jobs.layout import (
    JOURNAL,
    RESERVE,
    STATE,
    WORK,
    read_json,
    read_request,
    replace_json,
)
from fsbackup_tui.jobs.liveness import (
    ProcessFacts,
    all_processes,
    is_same_process,
    process_environment,
)

JOBS_KEPT = 200
KEPT_AT_LEAST = timedelta(days=30)
_PRUNED_AT_ONCE = 50
_TERMINATE_SECONDS = 5.0
_POLL_SECONDS = 0.05


def reap_lost(state: Path, *, now: datetime | None = None) -> list[Job]:
    """End what the workers that vanished left, and settle their jobs as lost; return those.

    Children are told by pid and start time, and by PGAPPNAME in their environment: a pid that was
    given to something else is left alone. What is left on servers is for ``lost_with_sessions``.
    Jobs that can't be read or written are left as they are.
    """
    settled: list[Job] = []
    for directory in _job_directories(state):
        document = read_json(directory / STATE)
        if document is not None and document.get("state") != "running":
            continue
        try:
            job = load_job(directory, now=now)
        except UsageError:
            continue
        if job.state != "lost":
            continue
        end_children(job)
        if _settle(job):
            settled.append(job)
            _audit_lost(state, job)
    return settled


def lost_with_sessions(state: Path, *, host: str) -> list[Job]:
    """Return the settled lost jobs of this machine whose server sessions nobody has seen to."""
    found: list[Job] = []
    for directory in _job_directories(state):
        document = read_json(directory / STATE)
        if document is None or document.get("state") != "lost" or document.get("sessions_ended"):
            continue
        with contextlib.suppress(UsageError):
            job = load_job(directory)
            if job.host == host:
                found.append(job)
    return found


def sessions_seen_to(job: Job) -> None:
    """Note that a lost job has no session left on any server."""
    document = read_json(job.directory / STATE)
    if document is not None:
        with contextlib.suppress(OSError):
            replace_json(job.directory / STATE, {**document, "sessions_ended": True}, sync=False)


def end_children(job: Job) -> None:
    """Terminate the processes that a job's worker left; the stubborn ones are killed."""
    left = leftover_processes(job)
    _signal_all(left, signal.SIGTERM)
    deadline = time.monotonic() + _TERMINATE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = [facts for facts in left if is_same_process(facts.pid, facts.start_time)]
    _signal_all(left, signal.SIGKILL)


def leftover_processes(job: Job) -> list[ProcessFacts]:
    """Return the living processes that a job started, this machine's since its boot."""
    commands = _commands(job)
    if not commands:
        return []
    started = {command.pid: command.start_time for command in commands}
    name = session_name(job.id)
    return [
        facts
        for facts in all_processes()
        if facts.pid != os.getpid()
        and (
            (facts.pid in started and abs(started[facts.pid] - facts.start_time) < 0.02)
            or (facts.group in started and process_environment(facts.pid).get("PGAPPNAME") == name)
        )
    ]


def prune_jobs(state: Path, *, now: datetime | None = None) -> list[str]:
    """Remove the directories of past jobs beyond the newest 200 that are older than 30 days.

    Running jobs and those of an incident stay, whatever their age. A few dozen at a time, so
    that no start is delayed; returns the ids removed.
    """
    moment = now or utc_now()
    removed: list[str] = []
    for directory in _job_directories(state)[JOBS_KEPT:]:
        created = point_time(directory.name)
        if created is None or moment - created < KEPT_AT_LEAST:
            continue
        document = read_json(directory / STATE)
        if document is None or document.get("state") == "running" or document.get("incident"):
            continue
        shutil.rmtree(directory, ignore_errors=True)
        removed.append(directory.name)
        if len(removed) == _PRUNED_AT_ONCE:
            break
    return removed


def _audit_lost(state: Path, job: Job) -> None:
    with contextlib.suppress(UsageError):
        audit_job(state, read_request(job.directory), "lost", job.problem)


def _settle(job: Job) -> bool:
    sweep_linked_rooms(job.directory / WORK)
    shutil.rmtree(job.directory / WORK, ignore_errors=True)
    with contextlib.suppress(OSError):
        (job.directory / RESERVE).unlink(missing_ok=True)
    document = read_json(job.directory / STATE)
    if document is None or document.get("state") == job.state or job.problem is None:
        return False
    document["state"] = job.state
    document["sessions_ended"] = False
    document["problem"] = asdict(job.problem)
    document["finished"] = None if job.finished is None else format_time(job.finished)
    try:
        replace_json(job.directory / STATE, document, sync=True)
    except OSError:
        return False
    return True


def _commands(job: Job) -> list[CommandStarted]:
    tail = JournalTail(job.directory / JOURNAL)
    found: list[CommandStarted] = []
    while lines := tail.read_new():
        found.extend(line.event for line in lines if isinstance(line.event, CommandStarted))
    return [command for command in found if command.pid > 1]


def _signal_all(processes: Iterable[ProcessFacts], number: signal.Signals) -> None:
    for facts in processes:
        if is_same_process(facts.pid, facts.start_time):
            with contextlib.suppress(OSError):
                os.kill(facts.pid, number)


def _job_directories(state: Path) -> list[Path]:
    """Return the jobs' directories, newest first; none where they can't be listed."""
    try:
        names = job_names(state)
    except OSError:
        return []
    return [jobs_directory(state) / name for name in names]
