"""What a job tells while it runs: typed events, and their form in the journal (design §3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Literal

from fsbackup_tui.domain.errors import Problem

Outcome = Literal["ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events."""

    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class JobStarted(Event):
    """The worker is up and holds its lock."""

    name: ClassVar[str] = "job-started"
    operation: str = ""
    site: str = ""
    pid: int = 0
    start_time: float = 0.0
    version: str = ""
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A stage of the job began."""

    name: ClassVar[str] = "stage-started"
    stage: str = ""


@dataclass(frozen=True, slots=True)
class CommandStarted(Event):
    """An external program was started; ``argv`` is redacted and can be pasted into a shell.

    ``start_time`` (seconds since boot; 0: not known) tells the process from a later one that
    was given the same pid.
    """

    name: ClassVar[str] = "command-started"
    argv: tuple[str, ...] = ()
    pid: int = 0
    start_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """How far the work is; ``total`` is None where nobody can know it.

    ``work`` tells of a restore's phases (data, index …) that go on side by side: how much is
    done of how much, and the seconds it took so far, all phases together as long as the clock.
    """

    name: ClassVar[str] = "progress"
    done: float = 0.0
    total: float | None = None
    unit: str = "bytes"
    detail: str = ""
    rate: float | None = None
    eta_seconds: float | None = None
    active: tuple[str, ...] = ()
    work: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remaining(Event):
    """How long all that is still to do will take, with its range; learned from earlier runs.

    ``seconds`` is None where nothing is known any more.
    """

    name: ClassVar[str] = "remaining"
    seconds: float | None = None
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, slots=True)
class TableDone(Event):
    """One table is finished; unknown numbers are None."""

    name: ClassVar[str] = "table-done"
    table: str = ""
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Log(Event):
    """A line worth keeping."""

    name: ClassVar[str] = "log"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something the operator should know, which does not stop the job."""

    name: ClassVar[str] = "warning"
    text: str = ""


@dataclass(frozen=True, slots=True)
class StageFinished(Event):
    """A stage ended."""

    name: ClassVar[str] = "stage-finished"
    stage: str = ""
    outcome: Outcome = "ok"
    seconds: float = 0.0
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class JobFinished(Event):
    """The last event of a job: its outcome, and its result document or its problem."""

    name: ClassVar[str] = "job-finished"
    outcome: Outcome = "ok"
    result: Mapping[str, object] = field(default_factory=dict)
    problem: Problem | None = None


Report = Callable[[Event], None]

EVENT_TYPES: Mapping[str, type[Event]] = {
    event_type.name: event_type
    for event_type in (
        JobStarted,
        StageStarted,
        CommandStarted,
        Progress,
        Remaining,
        TableDone,
        Log,
        Warned,
        StageFinished,
        JobFinished,
    )
}


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One event with its place in the journal: sequence number and time (UTC)."""

    seq: int
    at: datetime
    event: Event


def event_document(event: Event) -> dict[str, object]:
    """Return the event's fields as plain values, with its name under ``event``."""
    document: dict[str, object] = {"event": event.name}
    for item in dataclasses.fields(event):
        value = getattr(event, item.name)
        document[item.name] = dataclasses.asdict(value) if isinstance(value, Problem) else value
    return document


def parse_event(document: Mapping[str, object]) -> Event | None:
    """Return the event a journal line holds, or None for one this version does not know.

    Unknown fields are ignored and missing ones keep their defaults, so that a journal of
    another version stays readable.
    """
    event_type = EVENT_TYPES.get(str(document.get("event")))
    if event_type is None:
        return None
    values: dict[str, object] = {}
    for item in dataclasses.fields(event_type):
        if item.name not in document:
            continue
        value = document[item.name]
        if item.name == "problem" and isinstance(value, Mapping):
            value = Problem.from_mapping(value)
        elif isinstance(value, list):
            value = tuple(value)
        values[item.name] = value
    return event_type(**values)


def format_time(moment: datetime) -> str:
    """Return a moment as journals and manifests write it: UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the moment that ``format_time`` wrote; ValueError for anything else."""
    return datetime.fromisoformat(text)
