"""What jobs and incidents left undone: stuck, lost, owed, still open, still frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.glance import IDLE_LIMIT, minutes_text
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.text import age_text, plain_text
from fsbackup_tui.operations.probes.ground import Ground, JobFacts
from fsbackup_tui.repository.holds import incident_of
from fsbackup_tui.repository.incidents import list_incidents, unreadable_incidents

_LEAST_STALL = timedelta(minutes=10)
_CHANGES_LIVE = frozenset(
    {"code-back", "files-carry", "files-exchange", "files-put-back", "freeze", "merge",
     "merge-undo", "restore-config", "schema-swap", "swap", "thaw"}
)  # fmt: skip
_TOLD_FOR = timedelta(days=7)


def stuck_jobs(ground: Ground) -> Iterator[Finding]:
    """Yield each running job that does not get on; one that seems to run for ever is no backup."""
    limit = max(ground.loaded.config.stall_after, _LEAST_STALL)
    ground.number("fsbackup_jobs_running", sum(job.state == "running" for job in ground.jobs))
    for job in ground.jobs:
        quiet = ground.age(job.quiet_since)
        if job.state != "running" or quiet <= limit:
            continue
        where = f" in stage {job.stage}" if job.stage else ""
        yield Finding(
            f"job-stuck:{job.id}",
            "critical" if quiet > 6 * limit else "warning",
            job.quiet_since,
            f"JOB STUCK: {job.operation} {job.subject or job.id}, nothing moved for "
            f"{age_text(quiet.total_seconds())}{where}.",
            "It keeps its plan from running again, and what it makes is not there.",
            f"fsbackup attach {job.id}   shows what it waits for; fsbackup cancel {job.id}",
            subject=job.id,
        )


def lost_jobs(ground: Ground) -> Iterator[Finding]:
    """Yield each job whose worker vanished and that was not done again, and what it owes."""
    again: set[tuple[str, str]] = set()
    told: set[tuple[str, str]] = set()
    for job in ground.jobs:
        key = (job.operation, job.subject)
        if job.state == "ok":
            again.add(key)
        if key in again or key in told or job.state == "running":
            continue
        told.add(key)
        yield from _owing(job)
        # A lost backup is told with those that failed.
        fresh = ground.age(job.started) < _TOLD_FOR
        if job.state == "lost" and job.operation != "backup" and fresh:
            yield _lost(job)


def _owing(job: JobFacts) -> Iterator[Finding]:
    for words in job.owed:
        yield Finding(
            f"owed:{job.id}",
            "critical",
            job.finished or job.started,
            plain_text(f"LEFT UNDONE: {job.operation} {job.subject} ended before it put back "
                       "what it had paused."),
            "What keeps the site tidy stays stopped until somebody starts it.",
            plain_text(words),
            subject=job.id,
        )  # fmt: skip


def _lost(job: JobFacts) -> Finding:
    problem = job.problem
    return Finding(
        f"job-lost:{job.operation}:{job.subject}",
        "critical" if job.operation in _CHANGES_LIVE else "warning",
        job.finished or job.started,
        plain_text(f"JOB LOST: {job.operation} {job.subject} ended without a last word."),
        plain_text(problem.why.partition("\n")[0] if problem else "Its worker vanished."),
        problem.fix if problem else f"fsbackup attach {job.id}",
        subject=job.id,
    )


def incidents(ground: Ground) -> Iterator[Finding]:
    """Yield each open incident, worse if forgotten, and what it keeps frozen."""
    for name in unreadable_incidents(ground.state):
        yield Finding(
            f"incident-unreadable:{name.partition(' ')[0]}",
            "unknown",
            None,
            f"INCIDENT NOT READABLE: {name}.",
            "It may be open, and keep writes off.",
            "Run it as its owner, or name the group of both as group: in the configuration",
            subject=name.partition(" ")[0],
        )
    found = [journal.read() for journal in list_incidents(ground.state)]
    still = [one for one in found if one is not None and one.closed is None]
    ground.number("fsbackup_incidents_open", sum(not one.is_drill for one in still))
    for incident in still:
        if not incident.is_drill:
            yield from _open(ground, incident)
        yield from _frozen(ground, incident)
    yield from _holds(ground, found)


def _open(ground: Ground, incident: Incident) -> Iterator[Finding]:
    idle = ground.age(incident.last_entry or incident.opened)
    forgotten = idle >= IDLE_LIMIT
    told = f", nothing done for {minutes_text(idle.total_seconds())}" if forgotten else ""
    leader = incident.leader.operator if incident.leader is not None else "nobody"
    yield Finding(
        f"incident-open:{incident.id}",
        "critical" if forgotten else "warning",
        incident.opened,
        plain_text(f"INCIDENT OPEN: {incident.id} of {incident.source}, {leader} leads{told}."),
        "Retention stops, backups are tagged, and the way back is kept until it is closed.",
        f"fsbackup recover --resume {incident.id}",
        subject=incident.id,
    )


def _frozen(ground: Ground, incident: Incident) -> Iterator[Finding]:
    frozen = incident.frozen_for(ground.now)
    if frozen is None:
        return
    what = ", ".join(one.what for one in incident.freezes if one.keeps_writes_off)
    yield Finding(
        f"frozen:{incident.id}",
        "critical",
        ground.now - frozen,
        plain_text(f"WRITES FROZEN {minutes_text(frozen.total_seconds())}: {what}."),
        "The application can't write.",
        f"fsbackup recover --resume {incident.id}   thaws it when it is right",
        subject=incident.id,
    )


def _holds(ground: Ground, found: Sequence[Incident | None]) -> Iterator[Finding]:
    """Yield holds that no incident here explains: another host's, or forgotten ones."""
    if ground.repository is None:
        return
    known = {one.id for one in found if one is not None and one.closed is None}
    for hold in ground.repository.holds_open():
        since = ground.now.fromtimestamp(hold.stat().st_mtime, tz=ground.now.tzinfo)
        of = incident_of(hold)
        if ground.age(since) < IDLE_LIMIT or of in known:
            continue
        yield Finding(
            f"hold:{of}",
            "warning",
            since,
            f"HELD: {hold.name} stops retention, and no incident here is open under that name.",
            "Nothing is ever removed while it stands; the disk fills.",
            f"fsbackup incidents   on the host that opened it; close {of} there",
            subject=of,
        )
