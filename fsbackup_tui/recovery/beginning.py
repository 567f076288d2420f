"""How steps begin: what has to be so before, and what is written before their jobs start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    FsbackupError,
    IdentityMismatch,
    SafetyRefusal,
    UsageError,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import request_document
from fsbackup_tui.recovery.actions.action import Action, Situation
from fsbackup_tui.recovery.actions.registry import ACTIONS
from fsbackup_tui.recovery.ending import write_done
from fsbackup_tui.recovery.flow import Placed
from fsbackup_tui.recovery.place import stopped_words
from fsbackup_tui.recovery.question import Answer, check_answer
from fsbackup_tui.recovery.runbook import Step
from fsbackup_tui.recovery.running import JobWatch

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import RecoverySession


def begin(session: RecoverySession, step: str, answer: Answer) -> None:
    """Begin a step, or take its answer; the errors of ``RecoverySession.begin``."""
    placed = _runnable(session, step)
    action, situation = ACTIONS[placed.step.do], session.situation(step)
    question = action.question(situation)
    if question is not None:
        answer = check_answer(question, answer)
    request = None
    if action.request is not None and not action.by_hand(situation):
        request = action.request(situation, answer)
    if request is None:
        facts = {} if action.by_hand(situation) else action.learn(situation, answer, {})
        told = {"answer": _told(answer), "reason": answer.reason}
        write_done(session, placed.step, facts, told)
        return
    situation = _ready(session, request, step)
    if action.changes:
        _require_target(session, situation)
    typed = action.typed(situation)
    if placed.step.destructive and typed and answer.typed != typed:
        raise not_typed(typed)
    _start(session, placed.step, action, request, situation, answer)


def undo(session: RecoverySession, step: str, answer: Answer) -> None:
    """Take a step back by its job; the errors of ``begin``."""
    placed = session.find(step)
    action, situation = ACTIONS[placed.step.do], session.situation(step)
    request = action.undo(situation) if action.undo is not None else None
    if request is None or not action.may_undo(placed.state.status):
        raise UsageError(
            f"NOTHING TO UNDO: {placed.number} {placed.step.title}.",
            why=placed.step.undo and f"It can be taken back by hand: {placed.step.undo}.",
        )
    situation = _ready(session, request, step)
    if action.changes:
        _require_target(session, situation)
    typed = action.undo_typed(situation)
    if typed and answer.typed != typed:
        raise not_typed(typed)
    _start(session, placed.step, action, request, situation, Answer(), undoing=True)


def not_typed(wanted: str) -> ConfirmationNeeded:
    """Return the error of a name that was to be typed and was not."""
    return ConfirmationNeeded(
        f"NOT CONFIRMED: {wanted} was not typed. Nothing was done.",
        fix=f"Type {wanted} in full.",
    )


def _runnable(session: RecoverySession, step: str) -> Placed:
    reading = session.read()
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


def _ready(session: RecoverySession, request: Request, step: str) -> Situation:
    """Return how it stands once the request's job can begin; somebody may have been asked."""
    session.desk.ready(request)
    session.require_lead()
    return session.situation(step)


def _require_target(session: RecoverySession, situation: Situation) -> None:
    facts, what = situation.facts, "server" if situation.kind == "postgres" else "place"
    seen = facts.standing is not None or facts.place is not None
    if not seen or not session.look.is_fresh(situation.incident, situation.now):
        raise SafetyRefusal(f"NOT LOOKED YET: the {what} is looked at right before a change.")
    if facts.mismatch and not facts.accepts(session.target_word()):
        raise IdentityMismatch(
            stopped_words(situation.kind),
            why=facts.mismatch,
            fix=f"New {what} on purpose? Type {session.target_word()}.",
        )


def _start(
    session: RecoverySession,
    step: Step,
    action: Action,
    request: Request,
    situation: Situation,
    answer: Answer,
    *,
    undoing: bool = False,
) -> None:
    session.append(
        "intent",
        step=step.id,
        title=step.title,
        request=request_document(request),
        commands=list(action.runs(situation)),
        answer=_told(answer),
        undoing=undoing,
    )
    try:
        job = session.begin_job(request)
    except FsbackupError as error:
        kind = "not-undone" if undoing else "failed"
        session.append(kind, step=step.id, reason=error.what)
        raise
    session.append("started", step=step.id, job=job.id)
    session.watch = JobWatch(step.id, job)


def _told(answer: Answer) -> dict[str, str]:
    """Return what the journal keeps of an answer."""
    return {"value": answer.value, "reason": answer.reason}
