"""Walking through an incident with real jobs, as a person does: step after step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import Desk, open_desk
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import JOURNAL
from tests.support.sites import Site
from tests.support.waiting import wait_until

STEP_SECONDS = 120.0


def desk_of(site: Site) -> Desk:
    """Return the desk of a real site."""
    environ = site.environ()
    return open_desk(load_config(site.config, environ), {**os.environ, **environ})


def declare_at(
    site: Site, seen: Seen, *, runbook: str = "", minutes: float = 0.0, **more: Any
) -> RecoverySession:
    """Declare an incident: right until so many minutes ago."""
    desk = desk_of(site)
    last_right = desk.now() - timedelta(minutes=minutes)
    return declare(desk, source="db", seen=seen, last_right=last_right, runbook=runbook, **more)


def look(session: RecoverySession) -> None:
    """Look at the server, and wait for what is seen."""
    session.look_now()
    assert session.look.problem is None, session.look.problem

    def seen() -> bool:
        session.poll()
        assert session.look.problem is None, session.look.problem
        return not session.look.is_under_way

    wait_until(seen, timeout=STEP_SECONDS)


def finish(session: RecoverySession, step: str) -> None:
    """Wait until a step's job has ended and was written down."""

    def ended() -> bool:
        session.poll()
        return session.read().incident.step(step, session.desk.now()).status != "unknown"

    wait_until(ended, timeout=STEP_SECONDS)


def do(session: RecoverySession, step: str, answer: Answer | None = None) -> None:
    """Do one step to its end; it must succeed."""
    card = session.card(step)
    if card.needs_look:
        look(session)
    typed = session.card(step).typed
    given = answer or Answer()
    session.begin(step, Answer(given.value, given.reason, typed))
    finish(session, step)
    state = session.read().incident.steps[step]
    assert state.status == "done", (step, state.reason, state.result)


def undo(session: RecoverySession, step: str) -> None:
    """Take a step back to its end; it must succeed."""
    look(session)
    typed = session.card(step).undo_typed
    session.undo(step, Answer(typed=typed))
    finish(session, step)
    assert session.read().incident.steps[step].status == "undone"


def walk(
    session: RecoverySession,
    answers: Mapping[str, Answer | str] | None = None,
    *,
    until: str = "",
) -> None:
    """Go on from where it stands: to the end, or to before the step ``until``."""
    known = answers or {}
    for _ in range(40):
        current = session.read().flow.current()
        if current is None or current.step.id == until:
            return
        given = known.get(current.step.id)
        answer = Answer(given) if isinstance(given, str) else given
        do(session, current.step.id, answer)
    raise AssertionError("it does not come to an end")


def read_journal(session: RecoverySession) -> str:
    """Return the incident's journal, for a test that failed."""
    path = session.journal.directory / JOURNAL
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[:2000] for line in lines)
