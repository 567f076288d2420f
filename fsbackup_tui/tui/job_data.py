"""Jobs as the screens show them, from the supervisor's and the journal's own values."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fsbackup_tui.domain.events import CommandStarted, TableDone
from fsbackup_tui.jobs.feed import FeedStage, JobFeed
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.journal import JournalTail
from fsbackup_tui.jobs.layout import JOURNAL, OUTPUT
from fsbackup_tui.tui.data import JobRow, JobView, StageState, StageView, TableView

_LOG_SHOWN = 300
# The state of the worker (alive, lost) is asked for once in so many looks at the journal.
_LOOKS_PER_STATE = 4


def jobs_order(jobs: Iterable[Job]) -> Sequence[JobRow]:
    """Return the rows of the jobs, running ones first; the order is kept otherwise."""
    return sorted((job_row(job) for job in jobs), key=lambda row: row.state != "running")


def job_row(job: Job) -> JobRow:
    """Return a job's row."""
    progress = job.progress if job.running else None
    return JobRow(
        id=job.id,
        operation=job.operation,
        subject=_subject(job),
        state=job.state,
        started=job.started,
        finished=job.finished,
        stage=(job.stage or "") if job.running else "",
        done=None if progress is None else progress.done,
        total=None if progress is None else progress.total,
        unit="bytes" if progress is None else progress.unit,
        what="" if job.problem is None or job.running else job.problem.what,
        problem=None if job.running else job.problem,
    )


def _subject(job: Job) -> str:
    """Return what the job is about: the plan, the point, the point and the new database."""
    request = job.request
    texts = [
        str(value)
        for name in ("plan", "point", "beside")
        if (value := getattr(request, name, None))
    ]
    return " beside as ".join(texts) if job.operation == "restore" else " ".join(texts)


class LiveWatch:
    """Follows one job by its journal; the journal is read on, never from the start again."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tail = JournalTail(job.directory / JOURNAL)
        self._feed = JobFeed()
        self._logged = 0
        self._looks = 0

    def read(self) -> JobView:
        """Read what is new and return the job as it is now."""
        while lines := self._tail.read_new():
            self._feed.feed_all(lines)
            self._logged += sum(line.event.name in ("log", "warning") for line in lines)
        if self._feed.outcome is not None or self._looks % _LOOKS_PER_STATE == 0:
            self._job = load_job(self._job.directory)
        self._looks += 1
        return self._view()

    def _view(self) -> JobView:
        feed, job = self._feed, self._job
        row = job_row(job)
        progress = feed.progress
        if row.state == "running" and progress is not None:
            row = replace(
                row,
                stage=feed.stage or "",
                done=progress.done,
                total=progress.total,
                unit=progress.unit,
            )
        log = [
            f"WARN  {line.text}" if line.kind == "warning" else line.text
            for line in feed.log
            if line.kind != "command"
        ]
        return JobView(
            row=row,
            stages=tuple(_stage(stage, feed, job) for stage in feed.stages),
            detail="" if progress is None else progress.detail,
            active=() if progress is None else tuple(progress.active),
            rate=feed.rate,
            eta_seconds=feed.eta_seconds,
            eta_range=feed.eta_range,
            tables=_tables(feed.tables),
            tables_skipped=feed.tables_done - len(feed.tables),
            log=tuple(log[-_LOG_SHOWN:]),
            log_skipped=max(0, self._logged - len(log[-_LOG_SHOWN:])),
            warnings=tuple(line.text for line in feed.warnings),
            commands=tuple(_command(command) for command in feed.commands),
            result=job.result,
            problem=None if row.state == "running" else job.problem,
            output_log=str(job.directory / OUTPUT),
        )


def _tables(events: Iterable[TableDone]) -> tuple[TableView, ...]:
    """Return one row per table: it is told of once when counted and once when dumped."""
    merged: dict[str, TableView] = {}
    for event in events:
        before = merged.pop(event.table, TableView(event.table))
        seconds = [value for value in (before.seconds, event.seconds) if value is not None]
        merged[event.table] = TableView(
            event.table,
            before.rows if event.rows is None else event.rows,
            before.bytes if event.bytes is None else event.bytes,
            max(seconds, default=None),
        )
    return tuple(merged.values())


def _stage(stage: FeedStage, feed: JobFeed, job: Job) -> StageView:
    if stage.outcome is not None:
        return StageView(stage.name, stage.outcome, stage.seconds)
    if stage.started is None:
        return StageView(stage.name, "waiting")
    if feed.outcome is not None:
        return StageView(stage.name, "failed" if feed.outcome == "failed" else "cancelled")
    until = feed.updated or stage.started
    state: StageState = "lost" if job.state == "lost" else "running"
    return StageView(stage.name, state, (until - stage.started).total_seconds())


def _command(command: CommandStarted) -> str:
    return shlex.join(command.argv)
