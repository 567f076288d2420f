"""``fsbackup jobs``, ``attach JOB`` and ``cancel JOB``: running and past jobs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fsbackup_tui.cli.numbers import positive_count

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.jobs.job import Job

_LISTED = 20
# The id holds the operation; a column of its own would not fit 80 columns.
_HEADINGS = ("JOB", "STATE", "STARTED", "AGE", "STAGE", "DONE")


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    listing = subparsers.add_parser("jobs", parents=parents, help="running and past jobs")
    listing.add_argument(
        "--limit",
        type=positive_count,
        default=_LISTED,
        metavar="N",
        help="the newest N (default: 20)",
    )
    listing.set_defaults(run=run_jobs)
    attach = subparsers.add_parser(
        "attach", parents=parents, help="follow a job; ctrl-c detaches and the job goes on"
    )
    attach.add_argument("job", metavar="JOB", help="an id, a prefix or tag of it, or last")
    attach.set_defaults(run=run_attach)
    cancel = subparsers.add_parser("cancel", parents=parents, help="end a running job cleanly")
    cancel.add_argument("job", metavar="JOB", help="an id, a prefix or tag of it, or last")
    cancel.set_defaults(run=run_cancel)


def run_jobs(arguments: argparse.Namespace, context: CliContext) -> int:
    """List the jobs, running ones first, then the newest first."""
    from fsbackup_tui.jobs.supervisor import list_jobs, reap_lost
    from fsbackup_tui.operations.status import site_zone

    state = context.state()
    if not context.load().config.read_only:
        reap_lost(state)
    jobs = list_jobs(state, limit=arguments.limit)
    jobs.sort(key=lambda job: not job.running)

    def human() -> None:
        if not jobs:
            context.say("No job has run yet.")
        for line in _table(jobs, context.now(), site_zone(context.load())):
            context.say(line)

    context.emit({"jobs": [job.document() for job in jobs]}, human)
    return 0


def run_attach(arguments: argparse.Namespace, context: CliContext) -> int:
    """Follow a running job, or tell how a past one ended; exit code as the job's."""
    from fsbackup_tui.cli.follow import attach_to
    from fsbackup_tui.jobs.supervisor import find_job

    job = find_job(context.state(), arguments.job)
    return attach_to(job, context, summary=lambda result: _ending(job, result))


def run_cancel(arguments: argparse.Namespace, context: CliContext) -> int:
    """Ask a job to end, and wait until it has; exit code 0 once it has ended."""
    from fsbackup_tui.jobs.supervisor import Follower, cancel_job, find_job, operator_name

    job = find_job(context.state(), arguments.job)
    cancel_job(job, operator=operator_name(context.environ))
    if not context.json:
        context.tell("Cancelling; waiting until it has cleaned up (ctrl-c stops the waiting).")
    finished = _wait_for_end(Follower(job))
    document = {"ok": True, "job": job.id, "state": finished}
    context.emit(document, lambda: context.say(f"{job.id}: {finished}"))
    return 0


def _wait_for_end(follower: Any) -> str:
    import time

    from fsbackup_tui.domain.errors import JobLost

    try:
        while follower.finished is None:
            if not follower.poll():
                time.sleep(0.1)
    except JobLost:
        return "lost"
    return str(follower.finished.outcome)


def _ending(job: Job, result: Mapping[str, Any]) -> list[str]:
    """Return how a job ended, in the words in which its own command says it."""
    from fsbackup_tui.cli import (
        adopt,
        backup,
        drill,
        health_text,
        leftovers,
        restore,
        retain,
        retain_replica,
        verify,
    )

    summaries = {
        "adopt": adopt.summary,
        "backup": backup.summary,
        "drill": drill.summary,
        "verify": verify.summary,
        "verify-due": verify.due_summary,
        "verify-live": health_text.health_lines,
        "restore": restore.summary,
        "drop-leftover": leftovers.summary,
        "retain": retain.applied,
        "take-back": retain.taken_back,
        "retain-replica": retain_replica.applied,
        "empty-trash": retain.freed,
    }
    head = f"{job.id}: {'ok' if result.get('ok') else 'failed'}"
    try:
        return [head, *summaries[job.operation](result)]
    except KeyError:
        # An operation, or the result, of another version of fsbackup.
        return [head, *_raw(result)]


def _raw(result: Mapping[str, Any]) -> list[str]:
    return [
        f"  {key}: {value}"
        for key, value in result.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]


def _table(jobs: Sequence[Job], now: datetime, zone: tzinfo) -> list[str]:
    from fsbackup_tui.operations.wording import age_text, when_text

    rows = [
        (
            job.id,
            job.state,
            when_text(job.started, now, zone),
            age_text((now - job.started).total_seconds()),
            (job.stage if job.running else None) or "-",
            _done_text(job),
        )
        for job in jobs
    ]
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_HEADINGS, *rows)
    ]


def _done_text(job: Job) -> str:
    progress = job.progress
    if not job.running or progress is None or not progress.total:
        return "-"
    return f"{int(100 * min(1.0, progress.done / progress.total))} %"
