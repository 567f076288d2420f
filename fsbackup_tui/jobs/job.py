"""A job as others see it: ``state.json``, the lock, and in need the journal."""

from __future__ import annotations

import dataclasses
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from fsbackup_tui.domain.errors import Problem, UsageError
from fsbackup_tui.domain.events import (
    Progress,
    event_document,
    format_time,
    parse_event,
    parse_time,
)
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.journal import JournalTail, utc_now
from fsbackup_tui.jobs.layout import (
    JOURNAL,
    STATE,
    JobRequest,
    output_tail,
    read_json,
    read_request,
)
from fsbackup_tui.jobs.liveness import boot_id, lock_is_held
from fsbackup_tui.operations.owed import told_owed
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import parse_request, request_document

JobState = Literal["running", "ok", "failed", "cancelled", "lost"]
STATE_FORMAT = 1
STARTING = timedelta(seconds=30)
HEARTBEAT = timedelta(seconds=30)
_FOREIGN_SILENCE = 4 * HEARTBEAT
_ENDED: tuple[JobState, ...] = ("ok", "failed", "cancelled", "lost")
_WARNINGS_KEPT = 20


@dataclass(frozen=True, slots=True)
class UnknownRequest(Request):
    """The request of an operation that this version doesn't know; it can be shown, not run."""

    operation: ClassVar[str] = "unknown"
    runner: ClassVar[str] = ""
    stages: ClassVar[tuple[str, ...]] = ()
    name: str = ""


@dataclass(slots=True)
class Job:
    """One job, running or past; ``problem`` says why it failed, was cancelled or lost."""

    id: str
    directory: Path
    operation: str
    state: JobState
    pid: int | None
    started: datetime
    finished: datetime | None
    stage: str | None
    progress: Progress | None
    problem: Problem | None
    result: Mapping[str, object]
    request: Request
    site: str = ""
    operator: str = ""
    host: str = ""
    incident: str | None = None
    updated: datetime | None = None
    start_time: float = 0.0
    boot: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def running(self) -> bool:
        """Whether its worker lives (or is just coming up)."""
        return self.state == "running"

    def document(self) -> dict[str, object]:
        """Return the job's entry in ``fsbackup jobs --json`` (design §9)."""
        return {
            "id": self.id,
            "operation": self.operation,
            "state": self.state,
            "pid": self.pid,
            "started": format_time(self.started),
            "finished": None if self.finished is None else format_time(self.finished),
            "stage": self.stage,
            "progress": _progress_document(self.progress if self.running else None),
            "site": self.site,
            "operator": self.operator,
            "error": None if self.problem is None else self.problem.document(),
        }


def state_document(
    request: JobRequest, feed: JobFeed, *, now: datetime, boot: str = ""
) -> dict[str, object]:
    """Return the full snapshot that ``state.json`` holds."""
    progress = feed.progress
    if progress is not None:
        progress = dataclasses.replace(progress, rate=feed.rate, eta_seconds=feed.eta_seconds)
    return {
        "format": STATE_FORMAT,
        "job": request.job,
        **request_document(request.request),
        "site": request.site,
        "operator": request.operator,
        "host": request.host,
        "incident": request.incident,
        "requested": format_time(request.requested),
        "state": feed.outcome or "running",
        "pid": feed.pid,
        "start_time": feed.start_time,
        "boot": boot,
        "started": _time_text(feed.started),
        "finished": _time_text(feed.finished),
        "updated": format_time(now),
        "seq": feed.seq,
        "stage": feed.stage,
        "stages": [
            {
                "name": stage.name,
                "started": _time_text(stage.started),
                "outcome": stage.outcome,
                "seconds": stage.seconds,
            }
            for stage in feed.stages
        ],
        "progress": _progress_document(progress),
        "tables_done": feed.tables_done,
        "warnings": [line.text for line in list(feed.warnings)[-_WARNINGS_KEPT:]],
        "result": dict(feed.result),
        "problem": None if feed.problem is None else dataclasses.asdict(feed.problem),
    }


def load_job(directory: Path, *, now: datetime | None = None) -> Job:
    """Return a job from its directory; UsageError where neither state nor request is readable.

    An ended job is told by ``state.json`` alone. For a running one the lock decides; when it is
    free, the journal's last word, and without one the job is *lost*.
    """
    document = read_json(directory / STATE)
    if document is None or (document.get("state") == "running" and not document.get("pid")):
        # Torn, or the worker has just given its first word.
        document = _document_from_journal(directory)
    if document.get("state") in _ENDED:
        return _job(directory, document)
    if lock_is_held(directory) is not False:
        return _job(directory, document)
    # It may have ended between the look at its state and the look at its lock.
    again = read_json(directory / STATE)
    if again is not None and again.get("state") in _ENDED:
        return _job(directory, again)
    told = _document_from_journal(directory)
    if told["state"] in _ENDED:
        return _job(directory, told)
    job = _job(directory, document)
    moment = now or utc_now()
    if told["seq"] == 0 and moment - job.started < STARTING:
        return job
    if job.host != socket.gethostname() and moment - (job.updated or job.started) < (
        _FOREIGN_SILENCE
    ):
        return job
    return mark_lost(job)


def mark_lost(job: Job) -> Job:
    """Return the job as lost, with what is known and what to do."""
    job.state = "lost"
    job.problem = lost_problem(job)
    job.finished = job.updated
    return job


def lost_problem(job: Job) -> Problem:
    """Return what is known of a worker that vanished, and what to do (design §3)."""
    known = [f"Worker {job.pid or '-'} on {job.host or '-'} is gone"]
    if job.boot and job.host == socket.gethostname() and job.boot != boot_id():
        known.append(": the machine was restarted since")
    else:
        known.append(" (killed, or out of memory)")
    if job.updated is not None:
        known.append(f". Last seen {format_time(job.updated)}")
    known.append(f" in stage {job.stage}" if job.stage else " before its first stage")
    if job.progress is not None and job.progress.total:
        known.append(f", {job.progress.done / job.progress.total:.0%}")
    if job.progress is not None and job.progress.detail:
        known.append(f" ({job.progress.detail})")
    tail = output_tail(job.directory)
    undone = "".join(f"{words}\n" for words in told_owed(job.directory))
    return Problem(
        "job-lost",
        f"JOB LOST: {job.id} ended without a last word.",
        "".join(known) + "." + (f"\nIts output.log ends with:\n{tail}" if tail else ""),
        f"{undone}Nothing half-made counts as done. {again_text(job.request)}\n"
        f"Its journal: {job.directory / JOURNAL}",
        1,
    )


def again_text(request: Request) -> str:
    """Return how to do a lost or failed job once more."""
    match getattr(request, "operation", ""):
        case "backup":
            command = f"fsbackup backup {getattr(request, 'plan', 'PLAN')}"
        case "verify":
            # A backup file may be named here, too.
            command = f"fsbackup verify {shlex.quote(getattr(request, 'point', 'POINT'))}"
            if getattr(request, "keep_spare", False):
                command += " --keep-spare"
            elif (level := getattr(request, "level", "readable")) != "readable":
                command += f" --level {level}"
        case "verify-due":
            command = "fsbackup verify --due"
            if (budget := getattr(request, "budget_seconds", None)) is not None:
                command += f" --budget {budget:.0f}s"
        case "drill":
            command = "fsbackup drill"
            if getattr(request, "choice", "") == "random":
                command += " --random"
            elif point := getattr(request, "point", ""):
                command += f" {point}"
            if copy := getattr(request, "copy", ""):
                command += f" --copy {shlex.quote(copy)}"
        case "verify-live":
            command = f"fsbackup verify --live --source {getattr(request, 'source', 'SOURCE')}"
        case "restore":
            point, beside = getattr(request, "point", "POINT"), getattr(request, "beside", "NAME")
            return (
                f"Once more: fsbackup restore {point} --beside {shlex.quote(beside)}\n"
                "It first drops what is left of the unfinished copy, which bears a mark."
            )
        case _:
            return "Start it again."
    return f"Once more: {command}"


def _document_from_journal(directory: Path) -> dict[str, object]:
    request = read_request(directory)
    feed = JobFeed()
    tail = JournalTail(directory / JOURNAL)
    while lines := tail.read_new():
        feed.feed_all(lines)
    return state_document(request, feed, now=feed.updated or request.requested)


def _job(directory: Path, document: Mapping[str, Any]) -> Job:
    progress = document.get("progress")
    problem = document.get("problem")
    requested = _time(document.get("requested"))
    started = _time(document.get("started")) or requested
    if started is None:
        raise UsageError("JOB NOT READABLE: its state has no time.", why=str(directory))
    event = parse_event({"event": "progress", **progress}) if isinstance(progress, dict) else None
    result = document.get("result")
    return Job(
        id=directory.name,
        directory=directory,
        operation=str(document.get("operation", "")),
        state=next((word for word in _ENDED if word == document.get("state")), "running"),
        pid=document.get("pid"),
        started=started,
        finished=_time(document.get("finished")),
        stage=document.get("stage"),
        progress=event if isinstance(event, Progress) else None,
        problem=Problem.from_mapping(problem) if isinstance(problem, dict) else None,
        result=result if isinstance(result, dict) else {},
        request=_request(document),
        site=str(document.get("site", "")),
        operator=str(document.get("operator", "")),
        host=str(document.get("host", "")),
        incident=document.get("incident"),
        updated=_time(document.get("updated")),
        start_time=float(document.get("start_time") or 0.0),
        boot=str(document.get("boot", "")),
        warnings=tuple(map(str, document.get("warnings") or ())),
    )


def _request(document: Mapping[str, object]) -> Request:
    try:
        return parse_request(document)
    except (UsageError, TypeError):
        return UnknownRequest(str(document.get("operation", "")))


def _progress_document(progress: Progress | None) -> dict[str, object] | None:
    if progress is None:
        return None
    document = event_document(progress)
    del document["event"]
    return document


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_time(value)
    except ValueError:
        return None


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
