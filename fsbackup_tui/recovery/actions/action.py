"""One action: what a step asks, what it requests, what is learnt from it, how it is taken back.

Actions touch no server: all that happens, happens in the job of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Literal

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.incident import Incident, StepStatus
from fsbackup_tui.domain.place import PlaceStanding, SourceKind
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.facts import IncidentFacts
from fsbackup_tui.recovery.question import Answer, Question
from fsbackup_tui.recovery.runbook import StepKind

Settling = Literal["again", "look", "ask"]
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Situation:
    """Where an incident stands when a step is looked at: all that an action may know.

    ``step`` is the id of the step in question.
    """

    loaded: LoadedConfig
    incident: Incident
    facts: IncidentFacts
    now: datetime
    zone: tzinfo
    step: str = ""

    @property
    def part(self) -> str:
        """The source that it is about."""
        return self.incident.source

    @property
    def kind(self) -> SourceKind:
        """What kind of source it is about."""
        return self.facts.kind


def _no_lines(_: Situation) -> tuple[str, ...]:
    return ()


def _no_question(_: Situation) -> Question | None:
    return None


def _no_word(_: Situation) -> str:
    return ""


def _good(_s: Situation, _result: Mapping[str, Any]) -> str:
    return ""


def _nothing_learnt(_: Situation, _answer: Answer, _result: Mapping[str, Any]) -> Facts:
    return {}


def _learnt_by_failing(_: Situation, _kind: str) -> Facts:
    return {}


@dataclass(frozen=True)
class Action:
    """What a step does.

    ``request`` None, or for this answer None: nothing runs; the answer is all. ``by_hand`` gives
    words where a person has to do it, for want of a command: the request is not made then.
    ``changes`` tells that it changes the server or the site: the target is looked at right
    before. ``typed`` is the name to type for what can hurt. ``settling`` says how an unknown
    outcome is settled: done again without harm, looked at (``settled``, or ``settled_at`` of what
    is no database, returns what is learnt, or None: not done), or asked. ``finds`` tells that a
    job that ends with findings did what it was asked for; ``fails`` says of a result why it is no
    good all the same (empty: it is).
    ``undo_failed``: one that failed may have done a part, and that can be taken back as well;
    ``lost_failed``: so may one whose end nobody saw, which has failed then.
    ``learn_failed`` returns what is learnt from a kind of problem;
    ``reopens`` names for a kind of problem the step that has to be done again first, and
    ``undo_reopens`` the one that has to be once this is taken back.
    """

    name: str
    kind: StepKind
    request: Callable[[Situation, Answer], Request | None] | None = None
    question: Callable[[Situation], Question | None] = _no_question
    by_hand: Callable[[Situation], str] = _no_word
    runs: Callable[[Situation], tuple[str, ...]] = _no_lines
    shows: Callable[[Situation], tuple[str, ...]] = _no_lines
    learn: Callable[[Situation, Answer, Mapping[str, Any]], Facts] = _nothing_learnt
    changes: bool = False
    finds: bool = False
    fails: Callable[[Situation, Mapping[str, Any]], str] = _good
    typed: Callable[[Situation], str] = _no_word
    settling: Settling = "again"
    settled: Callable[[Situation, Standing], Facts | None] | None = None
    undo: Callable[[Situation], Request | None] | None = None
    undo_failed: bool = False
    lost_failed: bool = False
    undo_typed: Callable[[Situation], str] = _no_word
    undo_learn: Callable[[Situation, Mapping[str, Any]], Facts] | None = None
    undo_settled: Callable[[Situation, Standing], Facts | None] | None = None
    settled_at: Callable[[Situation, PlaceStanding], Facts | None] | None = None
    undo_settled_at: Callable[[Situation, PlaceStanding], Facts | None] | None = None
    forget: tuple[str, ...] = ()
    learn_failed: Callable[[Situation, str], Facts] = _learnt_by_failing
    reopens: Mapping[str, str] = field(default_factory=dict)
    undo_reopens: str = ""

    def settles_by_looking(self, *, undoing: bool) -> bool:
        """Whether a look tells that it happened, or that its undo did."""
        if undoing:
            return self.undo_settled is not None or self.undo_settled_at is not None
        return self.settled is not None or self.settled_at is not None

    def settle(
        self, situation: Situation, seen: Standing | PlaceStanding, *, undoing: bool
    ) -> Facts | None:
        """Return what is learnt of a step whose end nobody saw; None: it did not happen."""
        if isinstance(seen, PlaceStanding):
            at_place = self.undo_settled_at if undoing else self.settled_at
            return at_place(situation, seen) if at_place is not None else None
        settled = self.undo_settled if undoing else self.settled
        return settled(situation, seen) if settled is not None else None

    def may_undo(self, status: StepStatus) -> bool:
        """Whether a step in that state may be taken back, if there is anything to take back."""
        return status == "done" or (self.undo_failed and status == "failed")
