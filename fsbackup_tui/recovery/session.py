"""One incident being led or watched: what the faces call, and nothing they show is decided in them.

A session holds no server and no pipe. What it begins is a job; what is known is in the journal.
It may die at any moment: another one reads the same journal, and settles what nobody wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from fsbackup_tui.domain.errors import (
    SafetyRefusal,
    UsageError,
)
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.place import PlaceStanding
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Situation
from fsbackup_tui.recovery.actions.registry import conditions
from fsbackup_tui.recovery.beginning import begin, not_typed, undo
from fsbackup_tui.recovery.card import Card, card_of
from fsbackup_tui.recovery.closing import close
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.ending import finish, settle, take_look
from fsbackup_tui.recovery.facts import IncidentFacts
from fsbackup_tui.recovery.flow import Flow, Placed, place_steps
from fsbackup_tui.recovery.lead import Lead, read_incident
from fsbackup_tui.recovery.library import find_runbook, require_about
from fsbackup_tui.recovery.look import Look, mismatch_words, standing_facts
from fsbackup_tui.recovery.place import (
    first_seen,
    place_facts,
    place_mismatch,
    place_word,
    taken_for_first,
)
from fsbackup_tui.recovery.presence import present
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.rehearsing import with_rehearsal
from fsbackup_tui.recovery.runbook import Runbook
from fsbackup_tui.recovery.running import JobWatch, find_job_of, last_seconds
from fsbackup_tui.recovery.written import Count
from fsbackup_tui.repository.incidents import IncidentJournal


@dataclass(frozen=True)
class Reading:
    """The incident at one moment, with its flow: what a face paints from, times in ``zone``."""

    incident: Incident
    runbook: Runbook
    flow: Flow
    facts: IncidentFacts
    now: datetime
    zone: tzinfo = UTC


class RecoverySession:
    """One process's seat at an incident. Blocking: faces with a loop call it in a thread."""

    def __init__(self, desk: Desk, journal: IncidentJournal, *, lead: bool) -> None:
        self.desk = desk
        self.journal = journal
        self.watch: JobWatch | None = None
        self.look = Look()
        self.count = Count()
        self._runbook: Runbook | None = None
        self._took: dict[str, float | None] = {}
        self._lead = Lead(desk, journal, lead=lead)

    def leave(self) -> None:
        """Get up; jobs and freezes stay as they are."""
        self._lead.leave()

    @property
    def epoch(self) -> int:
        """What this session's requests carry; 0 where it never led."""
        return self._lead.epoch

    @property
    def leads(self) -> bool:
        """Whether this session leads by what the journal says now."""
        return self._lead.is_held

    def require_lead(self) -> None:
        """Raise StaleLeader where somebody else leads."""
        self._lead.require()

    @property
    def watchers(self) -> tuple[str, ...]:
        """Who else looks on."""
        return present(self.journal.directory, "watcher", sweeps=not self.desk.read_only)

    def ask_take_over(self) -> None:
        """Ask the leader for the lead; a leader that is gone need not be asked."""
        self._lead.ask()

    def refuse_take_over(self, why: str) -> None:
        """Keep the lead."""
        self.append("take-over-refused", why=why)

    def may_take_over(self) -> bool:
        """Whether the lead is free: its leader is gone, or was asked 20 s ago and said nothing."""
        return self._lead.is_free()

    def take_over(self, why: str = "") -> None:
        """Lead from now on; requests of the former leader are refused.

        Raises:
            SafetyRefusal: the leader is there and was not asked, or refused. StaleLeader.
        """
        self._lead.take(why)

    def reopen(self, why: str) -> None:
        """Lead an incident that was over, once more.

        Raises:
            SafetyRefusal: another one of the source is open, or somebody sits at this one.
        """
        self._lead.reopen(why)

    def read(self) -> Reading:
        """Return where the incident stands now."""
        incident = self._incident()
        facts = IncidentFacts(incident)
        now = self.desk.now()
        runbook = self._runbook_of(incident)
        known = conditions(self._situation(incident))
        flow = place_steps(runbook, incident, known, now)
        return Reading(incident, runbook, flow, facts, now, self.desk.zone)

    def situation(self, step: str = "") -> Situation:
        """Return what actions may know, about one step."""
        return self._situation(self._incident(), step)

    def poll(self) -> None:
        """Take what jobs have come to; only the leader writes it down."""
        incident = self._incident()
        self._follow(incident)
        watch = self.watch
        if watch is not None:
            watch.read()
        if not self.leads:
            self._lead.step_down()
            return
        take_look(self)
        self._take_count()
        if watch is not None and watch.ended:
            finish(self, watch)

    def card(self, step: str) -> Card:
        """Return a step as faces show it."""
        reading = self.read()
        placed = reading.flow.find(step)
        if placed is None:
            raise UsageError(f"NO SUCH STEP: {step}.")
        facts = reading.facts
        word = self.target_word()
        return card_of(
            reading.flow,
            placed,
            self.situation(step),
            looked=self.look.is_fresh(reading.incident, reading.now),
            accepted=facts.accepts(word),
            target_word=word,
            took=self._took_last(step),
        )

    def _took_last(self, step: str) -> float | None:
        if step not in self._took:
            self._took[step] = last_seconds(self.desk.state, self.journal.id, step)
        return self._took[step]

    def begin(self, step: str, answer: Answer | None = None) -> None:
        """Begin a step, or take its answer; returns once its job has started.

        Raises:
            StaleLeader: somebody else leads. UsageError: the step or the answer can't be taken.
            PassphraseNeeded: one has to be asked for first; nothing was begun.
            ConfirmationNeeded: the target's name was not typed. IdentityMismatch: the server is
            not the one the points came from. FsbackupError: the job did not start.
        """
        self.require_lead()
        begin(self, step, answer or Answer())

    def undo(self, step: str, answer: Answer | None = None) -> None:
        """Take a step back by its job; the errors of ``begin``."""
        self.require_lead()
        undo(self, step, answer or Answer())

    def skip(self, step: str, reason: str) -> None:
        """Go past a step; a guard wants a written reason."""
        self.require_lead()
        placed = self.find(step)
        if placed.is_behind or placed.state.status == "unknown":
            raise UsageError(f"NOT SKIPPED: {placed.number} is {placed.state.status} already.")
        if not reason.strip():
            raise UsageError(
                f"A REASON IS NEEDED to skip {placed.number} {placed.step.title}.",
                why=placed.step.why,
                fix="Write in a few words why it can be left out.",
            )
        self.append("skipped", step=step, title=placed.step.title, reason=reason.strip())

    def again(self, step: str) -> None:
        """Open a step again, and with it all that were based on it.

        Raises:
            SafetyRefusal: something that was based on it changed the server; undo that first.
        """
        self.require_lead()
        reading = self.read()
        based = (self.find(step), *reading.flow.based_on(step))
        for placed in based:
            if placed.step.destructive and placed.state.status == "done":
                raise SafetyRefusal(
                    f"NOT OPENED AGAIN: {placed.number} {placed.step.title} was based on it.",
                    fix=f"Undo {placed.number} first.",
                )
        for placed in based:
            if placed.state.status in ("done", "skipped", "failed"):
                self.append("not-done", step=placed.step.id, reason=f"{step} is done again")

    def settle(self, step: str, happened: bool | None = None) -> None:
        """Find out how a step ended that nobody saw the end of.

        ``happened`` is a person's answer where only they can tell. What is looked at is settled
        by ``poll`` once the look is there.

        Raises:
            UsageError: a person has to say whether it happened.
        """
        self.require_lead()
        placed = self.find(step)
        if placed.state.status == "unknown" and not (self.watch and self.watch.step == step):
            settle(self, placed, happened)

    def look_now(self) -> None:
        """Look at the server; ``poll`` takes what was seen."""
        self.require_lead()
        self.look.start(self)

    def count_written(self) -> None:
        """Count what was written since the swap, or the exchange; ``poll`` takes it.

        ``facts.written`` has it then, or ``facts.written_files``.
        """
        self.require_lead()
        self.count.start(self)

    def note(self, text: str) -> None:
        """Write down what somebody wants to be remembered; watchers may, too."""
        self.desk.require_writing()
        epoch = self.epoch if self.leads else None
        self.journal.append("note", {"text": text.strip()}, self.desk.author, epoch=epoch)

    def set_damage_time(self, last_right: datetime | None) -> None:
        """Correct when it was last right; what was measured by it is measured again."""
        value = None if last_right is None else format_time(last_right)
        self.append("damage-time", last_right=value)
        if self._incident().step("damage", self.desk.now()).settled:
            self.again("damage")

    def switch_runbook(self, name: str) -> None:
        """Go on with another runbook; steps done in both stay done.

        Raises:
            UsageError: it brings back another kind of source.
            SafetyRefusal: a step is under way that the other one does not have.
        """
        require_about(name, self._situation(self._incident()).kind, self.desk.loaded)
        steps = {step.id for step in find_runbook(name, self.desk.loaded).steps()}
        for placed in self.read().flow.steps:
            if placed.state.status == "unknown" and placed.step.id not in steps:
                raise SafetyRefusal(
                    f"NOT CHANGED: nobody knows how {placed.number} {placed.step.title} ended.",
                    why=f"{name} has no such step: it would be lost from sight.",
                    fix="Let it end, or settle it, first.",
                )
        self.append("runbook", runbook=name)
        self._runbook = None

    def narrow(self, tables: Iterable[str], where: str = "") -> None:
        """Remember which tables it is about, and a condition on the rows of the one named."""
        named = [name if "." in name else f"public.{name}" for name in tables]
        self.append("set", name="tables", value=named)
        if where:
            self.append("set", name="where", value=where)

    def take_kept(self, name: str, oid: int) -> None:
        """Take the rows from a database that an earlier recovery kept: no point is chosen."""
        known = {"copy": name, "copy_oid": oid, "copy_is_kept": True, "way": "merge"}
        for what, value in known.items():
            self.append("set", name=what, value=value)
        for step in ("damage", "choose-point", "choose-way", "check-copy"):
            self.skip(step, f"the rows come from {name}, which is kept on the server")

    def prefer_point(self, point: str) -> None:
        """Remember a point that was chosen before the incident was declared."""
        self.append("set", name="preferred_point", value=point)

    def accept_target(self, typed: str) -> None:
        """Take a server for the target that is not the one the points came from."""
        wanted = self.target_word()
        if typed.strip() != wanted:
            raise not_typed(wanted)
        facts = self.read().facts
        self.append("set", name="accepted_target", value=wanted)
        self.append("set", name="accepted_mismatch", value=facts.mismatch)
        if facts.place is not None:
            for name, value in taken_for_first(facts.place.here).items():
                self.append("set", name=name, value=value)

    def target_word(self) -> str:
        """Return what has to be typed to accept another target: host/database, host:path."""
        facts = self.read().facts
        if facts.kind != "postgres":
            return place_word(facts.place)
        host = facts.server.host if facts.server is not None else ""
        return f"{host}/{facts.live_name}"

    def say_go(self, step: str) -> None:
        """Agree, as somebody who watches, to a step that can hurt."""
        self.desk.require_writing()
        self.journal.append("go", {"step": step}, self.desk.author, epoch=None)

    def close(self, why: str) -> None:
        """End the incident.

        Raises:
            SafetyRefusal: something is still frozen, or a step's outcome is not known.
        """
        self.require_lead()
        close(self, why)

    def begin_job(self, request: Request) -> Job:
        """Begin a job of this incident, under this session's leadership."""
        desk = self.desk
        return desk.start(
            request,
            desk.loaded,
            environ=desk.environ,
            state=desk.state,
            operator=desk.author.operator,
            incident=self.journal.id,
            epoch=self.epoch,
        )

    def take_standing(self, standing: Standing | PlaceStanding) -> None:
        """Remember what a look saw, and whether it is where the points came from."""
        incident = self._incident()
        environment = self.desk.loaded.config.environment
        if isinstance(standing, PlaceStanding):
            first = first_seen(incident, standing.here)
            # A drill's tree is of this very host, and no point came from it.
            place = None if incident.is_drill else self.desk.captured_at(incident.source)
            doubts = place_mismatch(standing, first, place, environment)
            self.append("looked", facts=place_facts(incident, standing, doubts))
            return
        captured = self.desk.captured_from(incident.source)
        mismatch = mismatch_words(standing, captured, environment, is_drill=incident.is_drill)
        self.append("looked", facts=standing_facts(standing, mismatch))

    def _incident(self) -> Incident:
        return read_incident(self.journal)

    def _situation(self, incident: Incident, step: str = "") -> Situation:
        desk = self.desk
        return Situation(
            desk.loaded, incident, IncidentFacts(incident), desk.now(), desk.zone, step
        )

    def _runbook_of(self, incident: Incident) -> Runbook:
        name = incident.runbook or "data-loss"
        if self._runbook is None or self._runbook.id != name:
            found = find_runbook(name, self.desk.loaded)
            self._runbook = with_rehearsal(found) if incident.is_drill else found
        return self._runbook

    def find(self, step: str) -> Placed:
        """Return a step where it stands now; UsageError where there is none of that name."""
        placed = self.read().flow.find(step)
        if placed is None:
            raise UsageError(f"NO SUCH STEP: {step}.")
        return placed

    def _follow(self, incident: Incident) -> None:
        """Take up the job of the step that is under way, after a restart, too."""
        running = next(
            ((name, state) for name, state in incident.steps.items() if state.status == "unknown"),
            None,
        )
        if running is None:
            self.watch = None
            return
        name, state = running
        watch = self.watch
        if watch is not None and watch.step == name and state.job in ("", watch.job.id):
            return
        found = find_job_of(self.desk.state, incident, state)
        self.watch = JobWatch(name, found) if found is not None else None

    def _take_count(self) -> None:
        counted = self.count.take()
        if counted is not None:
            self.append("looked", facts=dict(counted))

    def append(self, kind: str, /, **body: Any) -> None:
        """Write an entry, as the one who leads."""
        self.journal.append(kind, body, self.desk.author, epoch=self.epoch or None)

    @property
    def feed(self) -> JobFeed | None:
        """The live state of the job that runs; None without one."""
        return self.watch.feed if self.watch is not None else None
