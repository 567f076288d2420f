"""Doing an incident's steps from a program, one after the other: each to its end, or raised."""

from __future__ import annotations

import time
from collections.abc import Callable

from fsbackup_tui.domain.errors import FsbackupError, JobError, Problem
from fsbackup_tui.domain.incident import StepStatus
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import IncidentJournal

Wait = Callable[[RecoverySession], None]
_POLL_SECONDS = 0.1


def wait_quietly(session: RecoverySession) -> None:
    """Wait until nothing of the session's is under way any more."""
    while True:
        session.poll()
        busy = session.watch, session.look.is_under_way, session.count.is_under_way
        if not any(busy) and not session.look.is_wanted:
            return
        if session.look.problem is not None and not any(busy):
            return
        time.sleep(_POLL_SECONDS)


def look(session: RecoverySession, wait: Wait = wait_quietly) -> None:
    """Look at the server, whatever was seen before; JobError with why it can't be seen."""
    session.look_now()
    wait(session)
    problem = session.look.problem
    if problem is not None:
        raise JobError(problem)


def do_step(session: RecoverySession, step: str, answer: Answer, wait: Wait) -> None:
    """Do a step to its end; JobError with why it did not come about."""
    if session.card(step).needs_look:
        look(session, wait)
    session.begin(step, answer)
    wait(session)
    require_status(session, step, "done")


def do_if_needed(session: RecoverySession, step: str, wait: Wait) -> None:
    """Do a step where this recovery has it."""
    placed = session.read().flow.find(step)
    if placed is not None and placed.applies:
        do_step(session, step, Answer(), wait)


def require_status(session: RecoverySession, step: str, status: StepStatus) -> None:
    """Raise JobError, with why, where a step has another status."""
    state = session.read().incident.step(step, session.desk.now())
    if state.status == status:
        return
    raise JobError(last_problem(session.journal, step) or Problem("failed", f"NOT DONE: {step}."))


def last_problem(journal: IncidentJournal, step: str) -> Problem | None:
    """Return why a step last went wrong, in full; None where nothing was written of it."""
    reason = ""
    for entry in reversed(journal.entries()):
        if entry.body.get("step") != step:
            continue
        told = entry.body.get("problem")
        if isinstance(told, dict):
            return Problem.from_mapping(told)
        # One that failed and is to be done again failed for its first reason.
        reason = str(entry.body.get("reason") or "") or reason
        if entry.kind != "not-done":
            break
    return Problem("failed", reason) if reason else None


def still_open(error: FsbackupError, session: RecoverySession) -> Problem:
    """Return an error of the express way, with how it is gone on with where it stays open."""
    problem = error.problem()
    incident = session.read().incident
    if incident.closed is not None:
        return problem
    go_on = f"Incident {incident.id} stays open: fsbackup recover --resume {incident.id}"
    frozen = ""
    if incident.freezes:
        what = ", ".join(freeze.what for freeze in incident.freezes)
        frozen = f"WRITES STAY FROZEN ({what}) until it is gone on with."
    fix = "\n".join(text for text in (problem.fix, frozen, go_on) if text)
    return Problem(problem.kind, problem.what, problem.why, fix, problem.exit_code)
