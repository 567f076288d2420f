"""How steps end: what their jobs came to is written down; what nobody saw is settled by looking."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.incident import MENDING, StepState
from fsbackup_tui.domain.place import PlaceStanding
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.recovery.actions.action import Facts
from fsbackup_tui.recovery.actions.registry import ACTIONS
from fsbackup_tui.recovery.flow import Placed
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.runbook import Step
from fsbackup_tui.recovery.running import JobWatch, find_job_of, problem_of

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import RecoverySession

_RESULT_KEPT = 4000
_WARNINGS_KEPT = 8


def finish(session: RecoverySession, watch: JobWatch) -> None:
    """Write down how a step's job ended; of a lost one nobody knows, and it is looked at."""
    placed = session.read().flow.find(watch.step)
    if placed is None:
        return
    session.watch = None
    job, state = watch.job, placed.state
    action = ACTIONS[placed.step.do]
    found = action.finds and job.state == "failed" and bool(job.result)
    if job.state == "ok" or found:
        warnings = [line.text for line in watch.feed.warnings][:_WARNINGS_KEPT]
        _came_to_its_end(session, placed, job, {"warnings": warnings} if warnings else {})
        return
    if job.state == "lost":
        # Where only a person can tell, a face asks: nobody does the step any more.
        with suppress(UsageError):
            session.settle(watch.step)
        return
    by_looking = action.settles_by_looking(undoing=state.undoing)
    if by_looking and watch.went_beyond_first_stage:
        # What failed after the deed is done: the server lost at its commit, say.
        session.look.want(watch.step)
        return
    _failed(session, placed, job)


def settle(session: RecoverySession, placed: Placed, happened: bool | None) -> None:
    """Find out how a step ended whose end nobody saw; ``happened`` is a person's answer.

    Raises:
        UsageError: a person has to say whether it happened.
    """
    action = ACTIONS[placed.step.do]
    if action.settling == "look" and action.settles_by_looking(undoing=False):
        session.look.want(placed.step.id)
    elif action.settling == "again":
        if _undone_all(session, placed):
            _write_undone(session, placed, reason="there is nothing left to undo")
            return
        if action.lost_failed and not placed.state.undoing:
            why = "its end is not known: what it did can be taken back, and it can be done again"
            session.append("failed", step=placed.step.id, reason=why)
            return
        _not_done(session, placed, "its end is not known; it can be done again without harm")
    elif happened is None:
        raise UsageError(
            f"DID IT HAPPEN? Nobody saw the end of {placed.number} {placed.step.title}.",
            why="\n".join(placed.state.commands),
            fix="Look, then answer yes or no.",
        )
    elif happened:
        write_done(session, placed.step, {}, {"reason": "a person saw that it happened"})
    else:
        _not_done(session, placed, "a person saw that it did not happen")


def take_look(session: RecoverySession) -> None:
    """Take a look that has come back: what stands, and what it settles."""
    standing = session.look.take(session)
    if standing is None:
        return
    for step in session.look.settles():
        placed = session.find(step)
        if placed.state.status != "unknown":
            continue
        action = ACTIONS[placed.step.do]
        undoing = placed.state.undoing
        facts = action.settle(session.situation(step), standing, undoing=undoing)
        if facts is None:
            _not_happened(session, placed, _shower(standing))
        elif undoing:
            _write_undone(session, placed, facts=dict(facts))
        else:
            why = {"reason": f"{_shower(standing)} shows that it happened"}
            write_done(session, placed.step, facts, why)


def write_done(session: RecoverySession, step: Step, facts: Facts, more: Mapping[str, Any]) -> None:
    """Write down that a step is done; where it chose another runbook, that one leads on."""
    forgotten = dict.fromkeys(ACTIONS[step.do].forget)
    session.append(
        "done", step=step.id, title=step.title, facts={**forgotten, **facts}, **dict(more)
    )
    runbook = facts.get("runbook")
    if isinstance(runbook, str) and runbook and runbook != session.read().incident.runbook:
        session.switch_runbook(runbook)


def _write_undone(session: RecoverySession, placed: Placed, **more: Any) -> None:
    """Write down that a step was taken back; what was done on the ground of it is open again."""
    session.append("undone", step=placed.step.id, **more)
    reading = session.read()
    brought_back = placed.step.destructive or placed.step.id in MENDING
    if not brought_back or reading.incident.closed is not None:
        return
    for each in reading.flow.based_on(placed.step.id):
        if each.state.status in ("done", "skipped", "failed"):
            why = f"{placed.number} {placed.step.title} was taken back"
            session.append("not-done", step=each.step.id, reason=why)
    earlier = ACTIONS[placed.step.do].undo_reopens
    if earlier and reading.flow.find(earlier) is not None:
        session.again(earlier)


def _came_to_its_end(
    session: RecoverySession, placed: Placed, job: Job, warned: Mapping[str, list[str]]
) -> None:
    step, state = placed.step, placed.state
    action, situation = ACTIONS[step.do], session.situation(step.id)
    why = action.fails(situation, job.result)
    if why:
        facts = action.learn(situation, _answer_of(state), job.result)
        session.append("failed", step=step.id, job=job.id, reason=why, facts=dict(facts))
    elif state.undoing:
        learn = action.undo_learn
        facts = learn(situation, job.result) if learn is not None else {}
        _write_undone(session, placed, job=job.id, facts=dict(facts), **warned)
    else:
        facts = action.learn(situation, _answer_of(state), job.result)
        more = {"job": job.id, "result": _bounded(job.result), **warned}
        write_done(session, step, facts, more)


def _failed(session: RecoverySession, placed: Placed, job: Job) -> None:
    step, state, problem = placed.step.id, placed.state, problem_of(job)
    if _undone_all(session, placed):
        _write_undone(session, placed, job=job.id, reason=problem.what)
        return
    action = ACTIONS[placed.step.do]
    learnt = {} if state.undoing else action.learn_failed(session.situation(step), problem.kind)
    session.append(
        "not-undone" if state.undoing else "failed",
        facts=dict(learnt),
        step=step,
        job=job.id,
        reason=problem.what,
        problem={"what": problem.what, "why": problem.why, "fix": problem.fix},
    )
    earlier = action.reopens.get(problem.kind)
    if earlier is not None and not state.undoing:
        session.again(earlier)


def _undone_all(session: RecoverySession, placed: Placed) -> bool:
    """Whether a step was to be taken back, and by the journal nothing of it is left."""
    action = ACTIONS[placed.step.do]
    if not placed.state.undoing or action.undo is None or action.settling != "again":
        return False
    return action.undo(session.situation(placed.step.id)) is None


def _shower(seen: Standing | PlaceStanding) -> str:
    return "the disk" if isinstance(seen, PlaceStanding) else "the server"


def _not_happened(session: RecoverySession, placed: Placed, shower: str) -> None:
    job = find_job_of(session.desk.state, session.read().incident, placed.state)
    if job is not None and job.state in ("failed", "cancelled"):
        _failed(session, placed, job)
    else:
        _not_done(session, placed, f"{shower} shows that it did not happen")


def _not_done(session: RecoverySession, placed: Placed, why: str) -> None:
    kind = "not-undone" if placed.state.undoing else "not-done"
    session.append(kind, step=placed.step.id, reason=why)


def _answer_of(state: StepState) -> Answer:
    return Answer(str(state.answer.get("value", "")), str(state.answer.get("reason", "")))


def _bounded(result: Mapping[str, object]) -> dict[str, object]:
    """Return a result without what would make the journal long; the job's own has it whole."""
    kept = {}
    for name, value in result.items():
        kept[name] = value if len(str(value)) <= _RESULT_KEPT else "in the job's journal"
    return kept
