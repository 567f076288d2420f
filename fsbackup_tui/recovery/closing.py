"""How an incident is closed: nothing may be frozen any more, and no step's end be unknown."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import RepositoryUnwritable, SafetyRefusal
from fsbackup_tui.repository.holds import release_repository

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import Reading, RecoverySession


def close(session: RecoverySession, why: str) -> None:
    """End the incident, and let the repository go.

    Raises:
        SafetyRefusal: something is still frozen, or a step's outcome is not known.
    """
    reading = session.read()
    if reading.incident.freezes:
        frozen = ", ".join(freeze.what for freeze in reading.incident.freezes)
        raise SafetyRefusal(
            "NOT CLOSED: it is still frozen.", why=frozen, fix=_thawed_by(session, reading)
        )
    unknown = [placed for placed in reading.flow.steps if placed.state.status == "unknown"]
    if unknown:
        raise SafetyRefusal(
            f"NOT CLOSED: nobody knows how {unknown[0].number} {unknown[0].step.title} ended.",
            fix="Settle it first.",
        )
    session.append("closed", why=why.strip())
    if session.desk.repository is not None:
        # Where it can't be written, the next backup of its owner takes the hold away.
        with suppress(RepositoryUnwritable):
            release_repository(session.desk.repository, session.journal)


def _thawed_by(session: RecoverySession, reading: Reading) -> str:
    """Return which steps let go of what is frozen, as a person would look for them."""
    names = [
        f"undo {placed.number} {placed.step.title.rstrip('?')}"
        for placed in reading.flow.steps
        if placed.step.do in ("keep-evidence", "freeze", "stop-deleting")
        and session.card(placed.step.id).can_undo
    ]
    lets = ("thaw", "let-go")
    thaw = next((each for each in reading.flow.steps if each.step.do in lets), None)
    if thaw is not None and thaw.can_run:
        names.insert(0, f"do {thaw.number} {thaw.step.title}")
    words = " or ".join(names) or "let writing go on"
    return f"First {words}."
