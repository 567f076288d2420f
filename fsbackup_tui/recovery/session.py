"""One incident being led or watched: what the faces call, and nothing they show is decided in them.

A session holds no server and no pipe. What it begins is a job; what is known is in the journal.
It may die at any moment: another one reads the same journal, and settles what nobody wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    FsbackupError,
    IdentityMismatch,
    RepositoryUnwritable,
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
from fsbackup_tui.operations.requests import request_document
from fsbackup_tui.recovery.actions.action import Action, Situation
from fsbackup_tui.recovery.actions.registry import ACTIONS, conditions
from fsbackup_tui.recovery.card import Card, card_of
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.ending import finish, settle, take_look, write_done
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
    stopped_words,
    taken_for_first,
)
from fsbackup_tui.recovery.presence import present
from fsbackup_tui.recovery.question import Answer, check_answer
from fsbackup_tui.recovery.rehearsing import with_rehearsal
from fsbackup_tui.recovery.runbook import Runbook, Step
from fsbackup_tui.recovery.running import JobWatch, find_job_of, last_seconds
from fsbackup_tui.recovery.written import Count
from fsbackup_tui.repository.holds import release_repository
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
        return present(self.journal.directory, "watcher")

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

    def _thawed_by(self, reading: Reading) -> str:
        """Return which steps let go of what is frozen, as a person would look for them."""
        names = [
            f"undo {placed.number} {placed.step.title.rstrip('?')}"
            for placed in reading.flow.steps
            if placed.step.do in ("keep-evidence", "freeze", "stop-deleting")
            and self.card(placed.step.id).can_undo
        ]
        lets = ("thaw", "let-go")
        thaw = next((each for each in reading.flow.steps if each.step.do in lets), None)
        if thaw is not None and thaw.can_run:
            names.insert(0, f"do {thaw.number} {thaw.step.title}")
        words = " or ".join(names) or "let writing go on"
        return f"First {words}."

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
        placed = self._runnable(step)
        action, situation = ACTIONS[placed.step.do], self.situation(step)
        given = answer or Answer()
        question = action.question(situation)
        if question is not None:
            given = check_answer(question, given)
        request = None
        if action.request is not None and not action.by_hand(situation):
            request = action.request(situation, given)
        if request is None:
            facts = {} if action.by_hand(situation) else action.learn(situation, given, {})
            write_done(self, placed.step, facts, {"answer": _told(given), "reason": given.reason})
            return
        situation = self._ready(request, step)
        if action.changes:
            self._require_target(situation)
        self._require_typed(placed.step, action.typed(situation), given)
        self._start(placed.step, action, request, situation, given)

    def undo(self, step: str, answer: Answer | None = None) -> None:
        """Take a step back by its job; the errors of ``begin``."""
        self.require_lead()
        placed = self.find(step)
        action, situation = ACTIONS[placed.step.do], self.situation(step)
        request = action.undo(situation) if action.undo is not None else None
        if request is None or not action.may_undo(placed.state.status):
            raise UsageError(
                f"NOTHING TO UNDO: {placed.number} {placed.step.title}.",
                why=placed.step.undo and f"It can be taken back by hand: {placed.step.undo}.",
            )
        situation = self._ready(request, step)
        if action.changes:
            self._require_target(situation)
        typed = action.undo_typed(situation)
        if typed and (answer is None or answer.typed != typed):
            raise _not_typed(typed)
        self._start(placed.step, action, request, situation, Answer(), undoing=True)

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
            raise _not_typed(wanted)
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
        self.journal.append("go", {"step": step}, self.desk.author, epoch=None)

    def close(self, why: str) -> None:
        """End the incident.

        Raises:
            SafetyRefusal: something is still frozen, or a step's outcome is not known.
        """
        self.require_lead()
        reading = self.read()
        if reading.incident.freezes:
            frozen = ", ".join(freeze.what for freeze in reading.incident.freezes)
            raise SafetyRefusal(
                "NOT CLOSED: it is still frozen.", why=frozen, fix=self._thawed_by(reading)
            )
        unknown = [placed for placed in reading.flow.steps if placed.state.status == "unknown"]
        if unknown:
            raise SafetyRefusal(
                f"NOT CLOSED: nobody knows how {unknown[0].number} {unknown[0].step.title} ended.",
                fix="Settle it first.",
            )
        self.append("closed", why=why.strip())
        if self.desk.repository is not None:
            # Where it can't be written, the next backup of its owner takes the hold away.
            with suppress(RepositoryUnwritable):
                release_repository(self.desk.repository, self.journal)

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

    def _runnable(self, step: str) -> Placed:
        reading = self.read()
        placed = reading.flow.find(step)
        if reading.incident.closed is not None:
            raise UsageError(f"CLOSED: incident {reading.incident.id} is over.")
        if placed is None:
            raise UsageError(f"NO SUCH STEP: {step}.")
        if placed.can_run:
            return placed
        waits = [reading.flow.find(each) for each in placed.waits_for]
        names = ", ".join(f"{each.number} {each.step.title}" for each in waits if each is not None)
        if names:
            raise SafetyRefusal(
                f"NOT YET: {placed.number} {placed.step.title}.", why=f"First: {names}."
            )
        why = {"unknown": "Nobody saw its end: settle it first."}.get(
            placed.state.status, f"It is {placed.state.status} already."
        )
        raise UsageError(f"NOT BEGUN: {placed.number} {placed.step.title}.", why=why)

    def _ready(self, request: Request, step: str) -> Situation:
        """Return how it stands once the request's job can begin; somebody may have been asked."""
        self.desk.ready(request)
        self.require_lead()
        return self.situation(step)

    def _require_target(self, situation: Situation) -> None:
        facts, what = situation.facts, "server" if situation.kind == "postgres" else "place"
        seen = facts.standing is not None or facts.place is not None
        if not seen or not self.look.is_fresh(situation.incident, situation.now):
            raise SafetyRefusal(f"NOT LOOKED YET: the {what} is looked at right before a change.")
        if facts.mismatch and not facts.accepts(self.target_word()):
            raise IdentityMismatch(
                stopped_words(situation.kind),
                why=facts.mismatch,
                fix=f"New {what} on purpose? Type {self.target_word()}.",
            )

    def _require_typed(self, step: Step, typed: str, answer: Answer) -> None:
        if step.destructive and typed and answer.typed != typed:
            raise _not_typed(typed)

    def _start(
        self,
        step: Step,
        action: Action,
        request: Request,
        situation: Situation,
        answer: Answer,
        *,
        undoing: bool = False,
    ) -> None:
        self.append(
            "intent",
            step=step.id,
            title=step.title,
            request=request_document(request),
            commands=list(action.runs(situation)),
            answer=_told(answer),
            undoing=undoing,
        )
        try:
            job = self.begin_job(request)
        except FsbackupError as error:
            kind = "not-undone" if undoing else "failed"
            self.append(kind, step=step.id, reason=error.what)
            raise
        self.append("started", step=step.id, job=job.id)
        self.watch = JobWatch(step.id, job)

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


def _told(answer: Answer) -> dict[str, str]:
    """Return what the journal keeps of an answer."""
    return {"value": answer.value, "reason": answer.reason}


def _not_typed(wanted: str) -> ConfirmationNeeded:
    return ConfirmationNeeded(
        f"NOT CONFIRMED: {wanted} was not typed. Nothing was done.",
        fix=f"Type {wanted} in full.",
    )
