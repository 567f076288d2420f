"""An emergency as its journal tells it: entries, and the state that they add up to. Pure.

Every entry says who wrote it, when (UTC), and under which leadership (epoch). What was meant to
be done is written before it is begun and again when it ended, so that after a crash a step
without an end is *unknown*: it is settled by looking, never assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from fsbackup_tui.domain.events import format_time, parse_time

Seen = Literal["rows", "structure", "errors", "files", "server", "config", "unknown"]
"""What a person sees when an incident is declared (design §7)."""

SEEN_TEXTS: Mapping[Seen, str] = {
    "rows": "rows gone or wrong",
    "structure": "a table or column gone",
    "errors": "errors, bad blocks",
    "files": "files gone",
    "server": "the server gone",
    "config": "wrong config or code",
    "unknown": "don't know",
}

StepStatus = Literal["open", "unknown", "done", "failed", "skipped", "undone"]
PHASES = ("stop", "preserve", "assess", "recover", "resume")
PHASE_TITLES: Mapping[str, str] = {
    "stop": "Stop the bleeding",
    "preserve": "Preserve",
    "assess": "Assess",
    "recover": "Recover",
    "resume": "Resume",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an incident's journal."""

    seq: int
    at: datetime
    operator: str
    host: str
    epoch: int
    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return the line's plain values."""
        return {
            "seq": self.seq,
            "at": format_time(self.at),
            "operator": self.operator,
            "host": self.host,
            "epoch": self.epoch,
            "entry": self.kind,
            **self.body,
        }


_OF_EVERY_ENTRY = frozenset({"seq", "at", "operator", "host", "epoch", "entry"})


def parse_entry(document: Mapping[str, Any]) -> Entry:
    """Return the entry that ``document`` wrote; KeyError, ValueError, TypeError for any other."""
    return Entry(
        seq=int(document["seq"]),
        at=parse_time(document["at"]),
        operator=str(document["operator"]),
        host=str(document["host"]),
        epoch=int(document["epoch"]),
        kind=str(document["entry"]),
        body={name: value for name, value in document.items() if name not in _OF_EVERY_ENTRY},
    )


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, from where, under which epoch, since when."""

    operator: str
    host: str
    epoch: int
    since: datetime


@dataclass(frozen=True, slots=True)
class StepState:
    """What is known of one step: by whom, when, with which job and result or reason.

    ``request`` is what was asked for, ``commands`` how it can be done by hand (its intent has
    both). ``status`` unknown: it was begun, and nobody wrote how it ended. ``warnings`` are its
    job's: what is done may not be all of it.
    """

    status: StepStatus
    at: datetime
    operator: str
    title: str = ""
    job: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    began: datetime | None = None
    undoing: bool = False
    answer: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long it took, from its intent to its end; None where one of them is not known."""
        if self.began is None or self.status not in ("done", "failed"):
            return None
        return (self.at - self.began).total_seconds()

    @property
    def settled(self) -> bool:
        """Whether what requires this step may go on."""
        return self.status in ("done", "skipped")


STOPPED = "stopped"
"""The grade of a process or timer that was stopped; its commands run in a shell (``SHELL``)."""

SHELL = "shell"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Something that is kept from writing, since when, and the stock commands that undo it.

    They run in a shell where ``place`` is ``shell``, in the database of that ``oid`` where it is
    ``live`` (that was called ``database`` then), else in the maintenance database, and mean what
    is called ``database``. ``kept_in`` names the database that has it still and is live no more:
    a swap put it aside.
    """

    what: str
    since: datetime
    undo: tuple[str, ...] = ()
    grade: str = ""
    cost: str = ""
    place: str = ""
    database: str = ""
    oid: int = 0
    kept_in: str = ""

    @property
    def keeps_writes_off(self) -> bool:
        """Whether somebody can't write because of it: autovacuum alone is nobody's writing.

        Nor is a script that was stopped: the application writes on.
        """
        return self.grade not in ("vacuum", STOPPED)

    def is_same(self, other: Freeze) -> bool:
        """Whether both are the same thing; a table of another database is another one."""
        apart = "live" in (self.place, other.place) and 0 not in (self.oid, other.oid)
        return self.what == other.what and not (apart and self.oid != other.oid)


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wanted to be remembered."""

    at: datetime
    operator: str
    text: str


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Somebody asks to lead: who, from where, since when; ``refused`` by the leader or not."""

    operator: str
    host: str
    at: datetime
    refused: str = ""


MENDING = (
    *("swap", "merge", "files-back", "files-exchange", "config-back", "code-back"),
    "host-database",
)
"""The steps that bring the data back: from then on live is right again."""


@dataclass(frozen=True, slots=True)
class DamageSpan:
    """The time in which live was not right; ``until`` None: it still is not."""

    since: datetime
    until: datetime | None = None

    def covers(self, created: datetime) -> bool | None:
        """Whether a point of that time may hold the damage; None: it is of what was recovered."""
        if created <= self.since:
            return False
        return None if self.until is not None and created > self.until else True


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as it stands after its last entry.

    ``last_right`` None: nobody knows yet when it was last right. ``parameters`` flow from step
    to step: the chosen point, the side database, the measured loss. ``go`` has for each step
    that was agreed to by somebody who watches, who that was.
    ``kept_freezes`` are left on in databases that are live no more; they count again when one
    of these is swapped back.
    """

    id: str
    site: str
    source: str
    opened: datetime
    opened_by: str
    seen: Seen
    last_right: datetime | None = None
    runbook: str = ""
    is_drill: bool = False
    leader: Leader | None = None
    steps: Mapping[str, StepState] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    freezes: tuple[Freeze, ...] = ()
    kept_freezes: tuple[Freeze, ...] = ()
    notes: tuple[Note, ...] = ()
    take_over: TakeOver | None = None
    go: Mapping[str, str] = field(default_factory=dict)
    closed: datetime | None = None
    closed_why: str = ""
    last_entry: datetime | None = None
    entries: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the present leadership; 0 where nobody ever led."""
        return self.leader.epoch if self.leader is not None else 0

    def step(self, name: str, now: datetime) -> StepState:
        """Return a step's state; one that was never begun is open."""
        return self.steps.get(name) or StepState("open", now, "")

    def elapsed(self, now: datetime) -> timedelta:
        """Return how long it has been going on: the clock of the recovery time (RTO)."""
        return (self.closed or now) - self.opened

    def frozen_for(self, now: datetime) -> timedelta | None:
        """Return how long writes have been kept off, or None where nobody is kept from any."""
        since = [freeze.since for freeze in self.freezes if freeze.keeps_writes_off]
        return now - min(since) if since else None

    @property
    def damage(self) -> DamageSpan | None:
        """While what was live was not right, as far as is known; None: nobody knows since when."""
        if self.last_right is None:
            return None
        mended = [
            state.at
            for name, state in self.steps.items()
            if name in MENDING and state.status == "done"
        ]
        return DamageSpan(self.last_right, min(mended, default=None))


def replay(id: str, entries: Iterable[Entry]) -> Incident | None:  # noqa: A002 - it is one
    """Return what the entries add up to; None before the incident was opened.

    Kinds and fields that this version does not know change nothing, so that an incident of
    another version opens.
    """
    incident: Incident | None = None
    for entry in entries:
        if incident is None:
            incident = _opened(id, entry) if entry.kind == "opened" else None
        else:
            incident = _after(incident, entry)
        if incident is not None:
            incident = replace(incident, last_entry=entry.at, entries=incident.entries + 1)
    return incident


def _opened(id: str, entry: Entry) -> Incident:  # noqa: A002
    body = entry.body
    return Incident(
        id=id,
        site=str(body.get("site", "")),
        source=str(body.get("source", "")),
        opened=entry.at,
        opened_by=entry.operator,
        seen=next((seen for seen in SEEN_TEXTS if seen == body.get("seen")), "unknown"),
        last_right=_moment(body.get("last_right")),
        runbook=str(body.get("runbook") or ""),
        is_drill=body.get("is_drill") is True,
        leader=Leader(entry.operator, entry.host, entry.epoch, entry.at),
    )


def _after(incident: Incident, entry: Entry) -> Incident:
    body = entry.body
    match entry.kind:
        case "led":
            leader = Leader(entry.operator, entry.host, entry.epoch, entry.at)
            return replace(incident, leader=leader, take_over=None, go={})
        case "take-over-asked":
            return replace(incident, take_over=TakeOver(entry.operator, entry.host, entry.at))
        case "take-over-refused" if incident.take_over is not None:
            why = str(body.get("why") or "no reason given")
            return replace(incident, take_over=replace(incident.take_over, refused=why))
        case "go":
            return replace(incident, go={**incident.go, str(body.get("step")): entry.operator})
        case "damage-time":
            return replace(incident, last_right=_moment(body.get("last_right")))
        case "runbook":
            return replace(incident, runbook=str(body.get("runbook") or ""))
        case "set":
            known = {**incident.parameters, str(body.get("name")): body.get("value")}
            return replace(incident, parameters=known)
        case "looked" if isinstance(body.get("facts"), Mapping):
            return replace(incident, parameters={**incident.parameters, **body["facts"]})
        case "note":
            note = Note(entry.at, entry.operator, str(body.get("text", "")))
            return replace(incident, notes=(*incident.notes, note))
        case "frozen":
            return _frozen(incident, entry)
        case "thawed":
            return _thawed(incident, entry)
        case "closed":
            return replace(incident, closed=entry.at, closed_why=str(body.get("why", "")))
        case "reopened":
            return replace(incident, closed=None, closed_why="")
        case _:
            return _after_step(incident, entry)


def _after_step(incident: Incident, entry: Entry) -> Incident:
    status = _STATUS_OF.get(entry.kind)
    name = entry.body.get("step")
    if status is None or not isinstance(name, str):
        return incident
    body = entry.body
    before = incident.steps.get(name) or StepState("open", entry.at, "")
    begins = entry.kind == "intent"
    if entry.kind == "done" and before.status != "unknown":
        # An answer alone, after an attempt that had a job: that one's time is not its own.
        before = replace(before, job="", began=None)
    result, commands = body.get("result"), body.get("commands")
    answer = body.get("answer")
    request, facts = body.get("request"), body.get("facts")
    warnings = body.get("warnings")
    state = StepState(
        status=status,
        at=entry.at,
        operator=entry.operator,
        title=str(body.get("title") or before.title),
        job=str(body.get("job") or ("" if begins else before.job)),
        request=request if isinstance(request, Mapping) else {} if begins else before.request,
        began=entry.at if begins else before.began,
        undoing=status == "unknown"
        and (body.get("undoing") is True or (not begins and before.undoing)),
        answer=answer if isinstance(answer, Mapping) else {} if begins else before.answer,
        commands=tuple(map(str, commands)) if isinstance(commands, list) else before.commands,
        result=result if isinstance(result, Mapping) else {},
        reason=str(body.get("reason", "")),
        warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
    )
    known = {**incident.parameters, **(facts if isinstance(facts, Mapping) else {})}
    return replace(incident, steps={**incident.steps, name: state}, parameters=known)


_STATUS_OF: Mapping[str, StepStatus] = {
    "intent": "unknown",
    "started": "unknown",
    "done": "done",
    "failed": "failed",
    "skipped": "skipped",
    "undone": "undone",
    "not-undone": "done",
    "not-done": "open",
}
"""What a step's entry makes of it; ``not-done``: looking showed that it never happened.

``started`` tells which job does what was intended. Their ``facts`` become parameters.
"""


def _frozen(incident: Incident, entry: Entry) -> Incident:
    freeze = _freeze(entry)
    # A freeze that is written again (its commands changed) still began when it began.
    before = (*incident.freezes, *incident.kept_freezes)
    since = next((other.since for other in before if other.is_same(freeze)), entry.at)
    freeze = replace(freeze, since=since)
    return replace(
        incident,
        freezes=(*_others(incident.freezes, freeze), freeze),
        kept_freezes=_others(incident.kept_freezes, freeze),
    )


def _thawed(incident: Incident, entry: Entry) -> Incident:
    """Let go of a freeze; one that says where it is kept is remembered apart."""
    freeze = _freeze(entry)
    kept = _others(incident.kept_freezes, freeze)
    if freeze.kept_in:
        found = next((other for other in incident.freezes if other.is_same(freeze)), None)
        if found is not None:
            kept = (*kept, replace(found, kept_in=freeze.kept_in))
    return replace(incident, freezes=_others(incident.freezes, freeze), kept_freezes=kept)


def _freeze(entry: Entry) -> Freeze:
    body = entry.body
    undo, oid = body.get("undo"), body.get("oid")
    texts = {name: str(body.get(name) or "") for name in _FREEZE_TEXTS}
    return Freeze(
        what=texts.pop("what"),
        since=entry.at,
        undo=tuple(map(str, undo)) if isinstance(undo, list | tuple) else (),
        oid=oid if isinstance(oid, int) else 0,
        **texts,
    )


_FREEZE_TEXTS = ("what", "grade", "cost", "place", "database", "kept_in")


def _others(freezes: tuple[Freeze, ...], freeze: Freeze) -> tuple[Freeze, ...]:
    return tuple(other for other in freezes if not other.is_same(freeze))


def _moment(value: object) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None
