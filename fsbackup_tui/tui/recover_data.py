"""What mode 4 shows, as values, and the seat it acts from. Imported and called in threads only.

``recovery`` decides everything; here it is made safe to be called from several threads, and
asked again only where something is another than before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from fsbackup_tui.domain.errors import FsbackupError, Problem, UsageError
from fsbackup_tui.domain.incident import Incident, Seen
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.jobs.supervisor import find_job
from fsbackup_tui.recovery.card import Card
from fsbackup_tui.recovery.declare import attach, declare
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.handover import handover_text
from fsbackup_tui.recovery.kinds import drilled_sources, source_kinds
from fsbackup_tui.recovery.library import find_runbook, runbooks_about
from fsbackup_tui.recovery.reading import read_incident
from fsbackup_tui.recovery.report import report_markdown
from fsbackup_tui.recovery.session import Reading, RecoverySession
from fsbackup_tui.repository.incidents import find_incident, list_incidents
from fsbackup_tui.tui.data import JobRow
from fsbackup_tui.tui.job_data import job_row

_INCIDENTS_LISTED = 200
_LOG_LINES = 40


@dataclass(frozen=True, slots=True)
class Listed:
    """One incident, open or past, as the start screen lists it."""

    incident: Incident
    leader: str

    @property
    def open(self) -> bool:
        """Whether it is open."""
        return self.incident.closed is None


@dataclass(frozen=True, slots=True)
class Running:
    """The job of a step, as far as the step's screen tells of it; ``over``: it has ended."""

    step: str
    job: str
    operation: str
    stage: str
    done: float | None
    total: float | None
    unit: str
    detail: str
    rate: float | None
    eta_seconds: float | None
    eta_range: tuple[float, float] | None
    log: tuple[str, ...]
    over: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The incident and one of its steps at one moment.

    ``card`` None: all steps are behind. ``unsure`` says that a person has to tell whether the
    step happened. ``is_counting``: what was written since a swap. ``failure`` is why the step's
    job failed, in full. ``may_take``: the lead is free to be taken. ``found`` is what the check
    found that was shown before and is done now. ``watch`` is how long one looks on before it is
    closed.
    """

    reading: Reading
    card: Card | None
    leads: bool
    watchers: tuple[str, ...] = ()
    is_looking: bool = False
    is_counting: bool = False
    count_problem: Problem | None = None
    look_problem: Problem | None = None
    running: Running | None = None
    unsure: Problem | None = None
    failure: Problem | None = None
    may_take: bool = False
    found: str = ""
    runbooks: tuple[str, ...] = ()
    me: str = ""
    zone: tzinfo | None = None
    watch: timedelta = timedelta()

    @property
    def leader(self) -> str:
        """Who leads."""
        leader = self.reading.incident.leader
        return leader.operator if leader is not None else "nobody"

    @property
    def last_done(self) -> datetime:
        """When the last step was settled."""
        incident = self.reading.incident
        return max((state.at for state in incident.steps.values()), default=incident.opened)


class Seat:
    """A seat at one incident; every method may block, one at a time."""

    def __init__(self, desk: Desk, session: RecoverySession) -> None:
        self.desk = desk
        self._session = session
        self._guard = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self._view: View | None = None
        self._unsure: Problem | None = None
        self._looked_for: tuple[object, ...] = ()
        self._last: Running | None = None

    @property
    def id(self) -> str:
        """The incident's id."""
        return self._session.journal.id

    def leave(self) -> None:
        """Get up; jobs and freezes stay as they are."""
        with self._guard:
            self._session.leave()

    def act(self, do: Callable[[RecoverySession], None]) -> None:
        """Let the session do something; FsbackupError where it can't be."""
        with self._guard:
            try:
                do(self._session)
            finally:
                self._seen = ()

    def view(self, step: str | None = None, *, anew: bool = False) -> View:
        """Return the incident with that step (None: the one a person is at).

        The same object as before where nothing but the time is another, unless ``anew``.
        """
        with self._guard:
            self._poll()
            session = self._session
            reading = session.read()
            current = reading.flow.current()
            shown = reading.flow.find(step) if step is not None else None
            placed = shown or current
            name = placed.step.id if placed is not None else None
            known, seen = self._view, self._signature(reading, name)
            if known is not None and not anew and seen == self._seen:
                return known
            view = self._made(reading, name)
            if self._look_first(view):
                reading = session.read()
                seen = self._signature(reading, name)
                view = self._made(reading, name)
            if known is not None and known.card is not None and known.card.id != name:
                view = replace(view, found=self._found(reading, known.card))
            # As it was before the view was made: what changed meanwhile shows the next time.
            self._view, self._seen = view, seen
            return view

    def _found(self, reading: Reading, before: Card) -> str:
        """Return in a line what a check found that has just been done; empty of other steps."""
        placed = reading.flow.find(before.id)
        if placed is None or placed.step.kind != "check" or before.status == "done":
            return ""
        if placed.state.status != "done":
            return ""
        shows = self._session.card(before.id).shows
        telling = next((text.strip() for text in shows if not text.endswith(":")), "")
        return f"{placed.number} found: {telling}" if telling else ""

    def _poll(self) -> None:
        session = self._session
        self._unsure = None
        try:
            session.poll()
            if session.leads and session.watch is None:
                for placed in session.read().flow.steps:
                    if placed.state.status == "unknown":
                        session.settle(placed.step.id)
        except UsageError as error:
            self._unsure = error.problem()

    def _look_first(self, view: View) -> bool:
        """Begin a look at the server, once, where a step that changes it comes up."""
        card, incident = view.card, view.reading.incident
        if card is None or not card.needs_look or not view.leads or view.is_looking:
            return False
        ended = tuple((name, state.status, state.at) for name, state in incident.steps.items())
        if incident.closed is not None or (card.id, ended) == self._looked_for:
            return False
        self._looked_for = (card.id, ended)
        self._session.look_now()
        return True

    def _signature(self, reading: Reading, step: str | None) -> tuple[object, ...]:
        session, incident = self._session, reading.incident
        feed = session.feed
        asked = incident.take_over
        return (
            step,
            incident.entries,
            session.leads,
            session.watchers,
            session.look.is_under_way,
            session.look.problem,
            self._unsure,
            (feed.seq, round(feed.eta_seconds or 0)) if feed is not None else None,
            session.may_take_over() if asked is not None and not session.leads else None,
            session.look.is_fresh(incident, reading.now),
            session.count.is_under_way,
            session.count.problem,
        )

    def _made(self, reading: Reading, step: str | None) -> View:
        session = self._session
        card = session.card(step) if step is not None else None
        return View(
            reading=reading,
            card=card,
            leads=session.leads,
            watchers=self._others(),
            is_looking=session.look.is_under_way,
            is_counting=session.count.is_under_way,
            count_problem=session.count.problem,
            look_problem=session.look.problem,
            running=self._running(),
            unsure=self._unsure,
            failure=self._failure(reading.incident, step),
            may_take=not session.leads and session.may_take_over(),
            runbooks=runbooks_about(session.read().facts.kind, self.desk.loaded),
            me=self.desk.author.operator,
            zone=self.desk.zone,
            watch=self.desk.loaded.config.recovery.watch,
        )

    def _others(self) -> tuple[str, ...]:
        """Return who watches beside this seat."""
        watchers = list(self._session.watchers)
        if not self._session.leads and self.desk.author.operator in watchers:
            watchers.remove(self.desk.author.operator)
        return tuple(watchers)

    def _running(self) -> Running | None:
        watch = self._session.watch
        if watch is not None:
            self._last = _running(watch.step, watch.job, watch.feed)
        elif self._last is not None:
            self._last = replace(self._last, over=True)
        return self._last

    def _failure(self, incident: Incident, step: str | None) -> Problem | None:
        state = incident.steps.get(step or "")
        if state is None or state.status != "failed":
            return None
        try:
            found = find_job(self.desk.state, state.job).problem if state.job else None
        except FsbackupError:
            found = None
        return found or Problem("failed", state.reason)

    def job(self, step: str) -> JobRow:
        """Return the job of a step, running or ended; UsageError where none was begun."""
        with self._guard:
            watch = self._session.watch
            if watch is not None and watch.step == step:
                return job_row(watch.job)
            state = self._session.read().incident.steps.get(step)
            if state is None or not state.job:
                raise UsageError("NO OUTPUT: no job has run at this step.")
            return job_row(find_job(self.desk.state, state.job))

    def hand_over(self) -> str:
        """Return the text that hands the incident over."""
        with self._guard:
            return handover_text(self._session.read())


def _running(step: str, job: Job, feed: JobFeed) -> Running:
    progress = feed.progress
    return Running(
        step=step,
        job=job_row(job).label,
        operation=job.operation,
        stage=feed.stage or "",
        done=progress.done if progress is not None else None,
        total=progress.total if progress is not None else None,
        unit=progress.unit if progress is not None else "",
        detail=progress.detail if progress is not None else "",
        rate=feed.rate,
        eta_seconds=feed.eta_seconds,
        eta_range=feed.eta_range,
        # Its commands are behind O: what it says is what tells how it goes on.
        log=tuple(each.text for each in feed.log if each.kind != "command")[-_LOG_LINES:],
        over=not job.running,
    )


def sit_down(desk: Desk, incident: str) -> Seat:
    """Sit down at an incident, as its leader where it is one's own."""
    return Seat(desk, attach(desk, find_incident(desk.state, incident)))


def declare_here(
    desk: Desk,
    *,
    source: str,
    seen: Seen,
    last_right: datetime | None,
    runbook: str = "",
    point: str = "",
    is_drill: bool = False,
) -> Seat:
    """Open an incident and sit down at it as its leader; the errors of ``declare``."""
    session = declare(
        desk,
        source=source,
        seen=seen,
        last_right=last_right,
        runbook=runbook,
        point=point,
        is_drill=is_drill,
    )
    return Seat(session.desk, session)


def drill_here(desk: Desk, runbook: str) -> Seat:
    """Open a drill of a runbook, on the only source that it could be of."""
    found = find_runbook(runbook, desk.loaded)
    seen: Seen = next(iter(found.seen), "unknown")
    sources = drilled_sources(desk.loaded, found.about)
    if len(sources) != 1:
        raise UsageError(
            "WHICH SOURCE? A drill is of one.",
            why=f"There are: {', '.join(sources) or 'none'}.",
            fix=f"fsbackup recover {runbook} --drill --part NAME",
        )
    return declare_here(
        desk, source=sources[0], seen=seen, last_right=None, runbook=runbook, is_drill=True
    )


def runbooks_of(desk: Desk) -> Sequence[str]:
    """Return the runbooks that can be practised, on a copy of what the site has."""
    kinds = dict.fromkeys(kind for kind in source_kinds(desk.loaded).values() if kind != "config")
    found = (name for kind in kinds for name in runbooks_about(kind, desk.loaded))
    return tuple(dict.fromkeys(found))


def report_of(desk: Desk, incident: str) -> str:
    """Return an incident's report in Markdown."""
    journal = find_incident(desk.state, incident)
    return report_markdown(read_incident(desk, journal), journal.entries())


def incidents_of(desk: Desk) -> Sequence[Listed]:
    """Return the incidents, open ones first, then the newest first."""
    found: list[Listed] = []
    for journal in list_incidents(desk.state)[:_INCIDENTS_LISTED]:
        incident = journal.read()
        if incident is not None:
            leader = incident.leader.operator if incident.leader is not None else "-"
            found.append(Listed(incident, leader))
    return sorted(found, key=lambda each: not each.open)


def reading_of(desk: Desk, incident: str) -> Reading:
    """Return where an incident stands or ended, without sitting down at it."""
    return read_incident(desk, find_incident(desk.state, incident))
