"""Whether backups come: by each plan's schedule, by what was promised, and without failing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fsbackup_tui.config.model import Plan
from fsbackup_tui.domain.errors import LockHeld, NotProven
from fsbackup_tui.domain.expected import grace_of, runs_in_window
from fsbackup_tui.domain.finding import Finding, Severity
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.schedule import Schedule, runs_between
from fsbackup_tui.domain.text import age_text, plain_text, when_text
from fsbackup_tui.domain.trust import Trust, counted
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.probes.plans import (
    data_sources,
    good,
    holds_data,
    plan_since,
    schedule_of,
)

_UNSAID_RPO = timedelta(hours=26)
_COUNTED = 50


def plan_ages(ground: Ground) -> Iterator[Finding]:
    """Yield each scheduled plan whose newest run that had its time has no good point."""
    for name, plan in ground.loaded.config.plans.items():
        newest = ground.newest(lambda point: good(ground, point), name)
        if newest is not None:
            age = ground.age(newest.created).total_seconds()
            ground.number("fsbackup_backup_age_seconds", age, plan=name)
        schedule = schedule_of(plan)
        if schedule is not None:
            yield from _overdue(ground, name, plan, schedule, newest)


def _overdue(
    ground: Ground, name: str, plan: Plan, schedule: Schedule, newest: PointSummary | None
) -> Iterator[Finding]:
    now, zone = ground.now, ground.zone
    since = plan_since(ground, name, schedule)
    after = since if newest is None else max(since, newest.created + timedelta(minutes=5))
    if newest is None:
        after -= timedelta(minutes=5)
    end = now - grace_of(ground.points(name))
    missed: list[datetime] = []
    for run in runs_between(schedule, after, end, zone):
        missed.append(run)
        if len(missed) == _COUNTED:
            break
    rpo = ground.loaded.config.objectives.rpo
    late = rpo is not None and holds_data(ground, plan)
    late = late and (newest is None or ground.age(newest.created) > (rpo or timedelta()))
    if not missed or (len(missed) == 1 and not late and _is_running(ground, name)):
        return
    severity: Severity = "critical" if late or len(missed) > 1 else "warning"
    last = when_text(missed[-1], now, zone)
    if newest is None:
        had = "There never was one."
    else:
        ago = age_text(ground.age(newest.created).total_seconds())
        had = f"The newest good one is of {when_text(newest.created, now, zone)}, {ago} ago."
    many = "" if len(missed) == 1 else f", {len(missed)} runs in a row"
    yield Finding(
        f"backup-age:{name}",
        severity,
        missed[0],
        f"BACKUP OVERDUE: {name} was due {last} ({schedule}) and has no good point{many}.",
        f"{had} What was written since would be lost.",
        f"fsbackup backup {name}   and: fsbackup schedule show",
        subject=name,
    )


def _is_running(ground: Ground, plan: str) -> bool:
    return any(
        job.operation == "backup" and job.state == "running" and job.subject == plan
        for job in ground.jobs
    )


def runs_done(ground: Ground) -> Iterator[Finding]:
    """Yield each plan of whose runs in the last week one or more have no good point."""
    for name, plan in ground.loaded.config.plans.items():
        schedule = schedule_of(plan)
        if schedule is None:
            continue
        points = ground.points(name)
        runs = runs_in_window(
            schedule,
            [point.created for point in points if good(ground, point)],
            ground.now,
            ground.zone,
            since=plan_since(ground, name, schedule) - timedelta(minutes=5),
            grace=grace_of(points),
        )
        ground.number("fsbackup_runs_due", runs.due, plan=name)
        ground.number("fsbackup_runs_good", runs.done, plan=name)
        # The newest ones alone are told as overdue already.
        if len(runs.missed) <= runs.in_a_row:
            continue
        shown = ", ".join(when_text(run, ground.now, ground.zone) for run in runs.missed[:3])
        more = f" and {len(runs.missed) - 3} more" if len(runs.missed) > 3 else ""
        yield Finding(
            f"backup-count:{name}",
            "critical" if 2 * len(runs.missed) > runs.due else "warning",
            runs.missed[0],
            f"RUNS MISSED: {name} has {runs.done} good points of {runs.due} runs in 7 days.",
            f"No good point of: {shown}{more}. From that time nothing can be restored.",
            "fsbackup jobs   tells why they failed",
            subject=name,
        )


def promised_ages(ground: Ground) -> Iterator[Finding]:
    """Yield each source of data whose newest good backup is older than was promised."""
    for name in data_sources(ground):
        newest = ground.newest(lambda point, source=name: _has_good(point, source))  # type: ignore[misc]
        if newest is not None:
            age = ground.age(newest.created)
            ground.number("fsbackup_source_age_seconds", age.total_seconds(), source=name)
        yield from _promise(ground, name, newest)


def _has_good(point: PointSummary, source: str) -> bool:
    return (
        point.whole
        and not point.doubtful
        and any(
            part.source == source and counted(part.kind, part.trust) >= Trust.SEALED
            for part in point.parts
        )
    )


def _promise(ground: Ground, name: str, newest: PointSummary | None) -> Iterator[Finding]:
    config = ground.loaded.config
    plans = [plan for plan, one in config.plans.items() if name in one.sources]
    fix = f"fsbackup backup {plans[0]}"
    if newest is None:
        if not any(job.state == "running" and job.subject in plans for job in ground.jobs):
            yield Finding(
                f"rpo:{name}",
                "critical",
                None,
                f"NO GOOD BACKUP of {name}: there is no point to restore it from.",
                "If it is lost now, it is lost.",
                fix,
                subject=name,
            )
        return
    scheduled = any(schedule_of(config.plans[plan]) is not None for plan in plans)
    promised = config.objectives.rpo
    if promised is None and scheduled:
        return
    age = ground.age(newest.created)
    if age <= (promised or _UNSAID_RPO):
        return
    ago, limit = (age_text(span.total_seconds()) for span in (age, promised or _UNSAID_RPO))
    why = f"What was written in {name} since would be lost."
    if promised is None:
        why += " Nothing says how old it may be: 26 h is taken."
        fix += "   and say it with at: of the plan, or objectives: {rpo: 7d}"
    yield Finding(
        f"rpo:{name}",
        "warning" if promised is None else "critical",
        newest.created + (promised or _UNSAID_RPO),
        f"BACKUP TOO OLD: {name} has none that is good since {ago}; {limit} is the limit.",
        why,
        fix,
        subject=name,
    )


def last_runs(ground: Ground) -> Iterator[Finding]:
    """Yield each plan whose last run failed or was lost.

    A run that found its plan busy is none: the run that held the lock tells of that plan.
    """
    told: set[str] = set()
    for job in ground.jobs:
        problem = job.problem
        if job.operation != "backup" or job.state in ("running", "cancelled"):
            continue
        if job.subject in told or (problem is not None and problem.kind == LockHeld.kind):
            continue
        told.add(job.subject)
        if job.state not in ("failed", "lost") or problem is None:
            continue
        when = when_text(job.started, ground.now, ground.zone)
        what = f"BACKUP {job.state.upper()}: plan {job.subject}, {when}."
        why = "\n".join(filter(None, (problem.what, problem.why)))
        if problem.kind == NotProven.kind:
            # The backup itself is there.
            what, why = problem.what, problem.why
        fix = "\n".join(filter(None, (problem.fix, f"fsbackup attach {job.id}   tells all of it")))
        yield Finding(
            f"backup-failed:{job.subject}",
            "critical",
            job.finished or job.started,
            plain_text(what),
            why,
            fix,
            subject=job.subject,
        )
