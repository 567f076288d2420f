"""What a face shows of a job: the journal folded into bounded live state, without any toolkit.

The same fold makes the worker's ``state.json``. Only the times in the journal are used, so that
replaying a recorded journal gives the same state as watching it live.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import (
    CommandStarted,
    JobFinished,
    JobStarted,
    JournalLine,
    Log,
    Outcome,
    Progress,
    Remaining,
    StageFinished,
    StageStarted,
    TableDone,
    Warned,
)
from fsbackup_tui.jobs.journal import JournalTail

__all__ = ["FeedLine", "FeedStage", "JobFeed", "JournalTail"]

TABLES_KEPT = 200
LOG_KEPT = 500
WARNINGS_KEPT = 100
COMMANDS_KEPT = 100
RATE_WINDOW_SECONDS = 60.0
_SAMPLES_KEPT = 600


@dataclass(frozen=True, slots=True)
class FeedStage:
    """A stage of the job: not begun (no ``started``), running (no ``outcome``) or ended."""

    name: str
    started: datetime | None = None
    outcome: Outcome | None = None
    seconds: float | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class FeedLine:
    """A line for the log: when, of which sort, and its text (foreign text: never markup)."""

    at: datetime
    kind: Literal["log", "warning", "command"]
    text: str


class JobFeed:
    """The state of one job as its journal tells; give it every line in order."""

    def __init__(self) -> None:
        self.operation = ""
        self.site = ""
        self.version = ""
        self.pid: int | None = None
        self.start_time = 0.0
        self.seq = 0
        self.started: datetime | None = None
        self.updated: datetime | None = None
        self.finished: datetime | None = None
        self.stage: str | None = None
        self.stages: list[FeedStage] = []
        self.progress: Progress | None = None
        self.remaining: Remaining | None = None
        self.remaining_at: datetime | None = None
        self.tables: deque[TableDone] = deque(maxlen=TABLES_KEPT)
        self.tables_done = 0
        self.log: deque[FeedLine] = deque(maxlen=LOG_KEPT)
        self.warnings: deque[FeedLine] = deque(maxlen=WARNINGS_KEPT)
        self.warning_count = 0
        self.commands: deque[CommandStarted] = deque(maxlen=COMMANDS_KEPT)
        self.outcome: Outcome | None = None
        self.result: Mapping[str, object] = {}
        self.problem: Problem | None = None
        self._samples: deque[tuple[datetime, float]] = deque(maxlen=_SAMPLES_KEPT)

    @property
    def rate(self) -> float | None:
        """Units per second: what the worker measured, else over the last 60 s; None: unknown."""
        if self.progress is None:
            return None
        if self.progress.rate is not None:
            return self.progress.rate
        if len(self._samples) < 2:
            return None
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        seconds = (last_at - first_at).total_seconds()
        return (last - first) / seconds if seconds > 0 and last >= first else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the work is done, None where nobody can tell.

        All that is still to do where earlier runs tell how long it takes, else the stage's.
        """
        if self.remaining is not None and self.remaining.seconds is not None:
            return max(0.0, self.remaining.seconds - self._since_told())
        if self.progress is None:
            return None
        if self.progress.eta_seconds is not None:
            return self.progress.eta_seconds
        rate, total = self.rate, self.progress.total
        if total is None or not rate or self.outcome is not None:
            return None
        return max(0.0, total - self.progress.done) / rate

    @property
    def eta_range(self) -> tuple[float, float] | None:
        """The seconds between which the end is expected; None where no earlier run tells."""
        if self.remaining is None:
            return None
        passed = self._since_told()
        return max(0.0, self.remaining.low - passed), max(0.0, self.remaining.high - passed)

    def _since_told(self) -> float:
        if self.updated is None or self.remaining_at is None:
            return 0.0
        return max(0.0, (self.updated - self.remaining_at).total_seconds())

    @property
    def fraction(self) -> float | None:
        """How far the stage's work is, between 0 and 1; None where the total is unknown."""
        if self.progress is None or not self.progress.total:
            return None
        return min(1.0, max(0.0, self.progress.done / self.progress.total))

    def feed_all(self, lines: Iterable[JournalLine]) -> None:
        """Take several lines in order."""
        for line in lines:
            self.feed(line)

    def feed(self, line: JournalLine) -> None:
        """Take the next line; one that was seen before is ignored."""
        if line.seq <= self.seq:
            return
        self.seq = line.seq
        self.updated = line.at
        match line.event:
            case Progress() as progress:
                self._take_progress(line.at, progress)
            case Remaining() as remaining:
                self.remaining = None if remaining.seconds is None else remaining
                self.remaining_at = line.at
            case TableDone() as table:
                self.tables.append(table)
                self.tables_done += 1
            case Log(text=text):
                self.log.append(FeedLine(line.at, "log", text))
            case Warned(text=text):
                warning = FeedLine(line.at, "warning", text)
                self.log.append(warning)
                self.warnings.append(warning)
                self.warning_count += 1
            case CommandStarted(argv=argv) as command:
                self.commands.append(command)
                self.log.append(FeedLine(line.at, "command", " ".join(argv)))
            case StageStarted(stage=stage):
                self._start_stage(line.at, stage)
            case StageFinished() as stage_finished:
                self._finish_stage(stage_finished)
            case JobStarted() as job_started:
                self._start(line.at, job_started)
            case JobFinished() as job_finished:
                self.outcome = job_finished.outcome
                self.result = job_finished.result
                self.problem = job_finished.problem
                self.finished = line.at
                self.stage = self.remaining = None
            case _:
                pass

    def _start(self, at: datetime, event: JobStarted) -> None:
        self.operation, self.site, self.version = event.operation, event.site, event.version
        self.pid, self.start_time, self.started = event.pid, event.start_time, at
        self.stages = [FeedStage(name) for name in event.stages]

    def _start_stage(self, at: datetime, name: str) -> None:
        self.stage = name
        self.progress = None
        self._samples.clear()
        self._put_stage(FeedStage(name, started=at))

    def _finish_stage(self, event: StageFinished) -> None:
        begun = next((stage for stage in self.stages if stage.name == event.stage), None)
        self._put_stage(
            replace(
                begun or FeedStage(event.stage),
                outcome=event.outcome,
                seconds=event.seconds,
                problem=event.problem,
            )
        )

    def _put_stage(self, stage: FeedStage) -> None:
        for index, known in enumerate(self.stages):
            if known.name == stage.name:
                self.stages[index] = stage
                return
        self.stages.append(stage)

    def _take_progress(self, at: datetime, progress: Progress) -> None:
        previous = self.progress
        if previous is not None and (
            previous.unit != progress.unit or previous.done > progress.done
        ):
            self._samples.clear()
        self.progress = progress
        if self._samples and at < self._samples[-1][0]:
            self._samples.clear()
        self._samples.append((at, progress.done))
        while (at - self._samples[0][0]).total_seconds() > RATE_WINDOW_SECONDS:
            self._samples.popleft()
