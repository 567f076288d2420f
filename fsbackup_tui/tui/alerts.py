"""What needs a person, from the state of the inventory and from the jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from fsbackup_tui.domain.errors import LockHeld, NotProven, Problem
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.operations.status import Status
from fsbackup_tui.operations.wording import blocked_words, when_text
from fsbackup_tui.tui.data import Alert

_LOOK = "3, then Enter on it, tells table by table"


def status_alerts(status: Status, problems: Sequence[Problem | None]) -> Iterator[Alert]:
    """Yield what is wrong with the site and its points; ``problems`` come first."""
    for problem in problems:
        if problem is not None:
            yield Alert(problem.what, problem.fix, why=problem.why)
    for text in status.foreign_problems:
        yield Alert(f"NOT ALL SEEN: {text}.", "adopt: in the configuration names it", severe=False)
    newest = next((point for point in status.newest if not point.running), None)
    for point in status.newest:
        yield from _point_alerts(point, newest=point is newest)
    if status.catalogue_in_memory:
        what = "CATALOGUE IN MEMORY: the state directory can't be written."
        yield Alert(what, "The start is slower; fsbackup doctor", severe=False)


def _point_alerts(point: PointSummary, *, newest: bool) -> Iterator[Alert]:
    if point.trust is Trust.DAMAGED:
        yield Alert(f"DAMAGED: {point.id}.", f"fsbackup show {point.id}")
        return
    if not newest:
        return
    if point.suspect:
        fix = f'Right after all? fsbackup clear {point.id} --reason "…"'
        yield Alert(f"SUSPECT: {point.id}: {point.suspect[0]}.", fix)
    if any(check.ok is False for check in point.levels.values()):
        why = point.problems[0] if point.problems else ""
        yield Alert(f"PROOF FAILED: {point.id}.", _LOOK, why=why)
    elif point.blocked:
        what = f"NOT TRIED: {point.id} {blocked_words(point.levels)}."
        yield Alert(what, _LOOK, severe=False, why=point.blocked[0])


def has_failed(job: Job) -> bool:
    """Whether a job ended badly, and it is known why."""
    return job.state in ("failed", "lost") and job.problem is not None


def failed_backups(jobs: Sequence[Job], now: datetime, zone: tzinfo) -> Iterator[Alert]:
    """Yield an alert for every plan whose last backup failed or was lost; newest job first.

    A run that found its plan busy is none: the run that held the lock tells of that plan.
    """
    told: set[str] = set()
    for job in jobs:
        plan, problem = getattr(job.request, "plan", None), job.problem
        if job.operation != "backup" or job.state in ("running", "cancelled") or plan is None:
            continue
        if plan in told or (problem is not None and problem.kind == LockHeld.kind):
            continue
        told.add(plan)
        if problem is None or not has_failed(job):
            continue
        when = when_text(job.started, now, zone)
        if problem.kind == NotProven.kind:
            # The backup itself is there.
            yield Alert(problem.what, problem.fix, why=problem.why)
            continue
        why = "\n".join(filter(None, (problem.what, problem.why)))
        yield Alert(f"BACKUP {job.state.upper()}: plan {plan}, {when}.", problem.fix, why=why)
