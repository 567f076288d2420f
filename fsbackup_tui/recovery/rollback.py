"""Undoing a swap without the walkthrough: which incident's, what was written since, and back."""

from __future__ import annotations

from typing import Any

from fsbackup_tui.domain.errors import JobError, SafetyRefusal, UsageError
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.recovery.actions.words import put_back_command
from fsbackup_tui.recovery.card import Card
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.driving import Wait, look, require_status, wait_quietly
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import IncidentJournal, find_incident, list_incidents


def find_swapped(desk: Desk, wanted: str | None, part: str | None) -> IncidentJournal:
    """Return the incident whose swap, or files, are undone; one that is over only where named.

    Raises:
        UsageError: there is none, or it has no swap that could be undone. SafetyRefusal: it is
        over, and was not named.
    """
    if wanted is not None:
        journal = find_incident(desk.state, wanted)
        if _is_swapped(journal):
            return journal
        raise UsageError(
            f"NOTHING TO ROLL BACK: incident {journal.id} has no swap that stands.",
            fix=f"fsbackup incidents show {journal.id}",
        )
    over: IncidentJournal | None = None
    for journal in list_incidents(desk.state):
        incident = journal.read()
        if incident is None or incident.is_drill or part not in (None, incident.source):
            continue
        if not _is_swapped(journal):
            continue
        if incident.closed is None:
            return journal
        over = over or journal
    if over is not None:
        raise SafetyRefusal(
            f"IT IS OVER: incident {over.id} was closed.",
            why="Live may have been written to since, and a rollback sets that aside.",
            fix=f"fsbackup rollback --incident {over.id}",
        )
    raise UsageError("NOTHING TO ROLL BACK: no swap stands that fsbackup made.")


def _is_swapped(journal: IncidentJournal) -> bool:
    incident = journal.read()
    known = incident.parameters if incident is not None else {}
    swapped, exchanged, back = (known.get(n) for n in ("swapped", "exchanged", "put_back"))
    return (
        (isinstance(swapped, dict) and bool(swapped.get("kept_as") or swapped.get("schemas")))
        or (isinstance(exchanged, dict) and bool(exchanged.get("kept_as")))
        or (isinstance(back, dict) and bool(back.get("undo")))
    )


def prepare_rollback(session: RecoverySession, wait: Wait = wait_quietly) -> Card:
    """Look, and count what was written since; returns the card of the swap.

    Raises:
        SafetyRefusal: live is not the database that the swap brought.
        JobError: the server can't be seen, or what was written since can't be counted.
    """
    look(session, wait)
    facts = session.read().facts
    standing = facts.standing
    swapped = facts.document("swapped")
    live = standing.live if standing is not None else None
    brought = swapped.get("database_oid")
    if live is None or (brought and live.oid != brought):
        found = "there is none" if live is None else f"it has OID {live.oid}"
        raise SafetyRefusal(
            "NOT ROLLED BACK: live is not the database that this swap brought.",
            why=f"{facts.live_name}: {found}, the swap brought OID {brought}.",
            fix="See what stands: fsbackup incidents, fsbackup leftovers",
        )
    kept, oid = str(swapped.get("kept_as")), int(swapped.get("kept_oid") or 0)
    if standing is not None and oid and standing.database(kept, oid) is None:
        raise SafetyRefusal(
            f"NOT ROLLED BACK: {kept} is not there any more.",
            why="The former database was dropped or renamed.",
            fix="See what stands: fsbackup leftovers",
        )
    session.count_written()
    wait(session)
    if session.count.problem is not None:
        raise JobError(session.count.problem)
    return session.card("swap")


def roll_back(session: RecoverySession, typed: str, wait: Wait = wait_quietly) -> dict[str, Any]:
    """Undo the swap and return the document of it; the incident stays as open as it is.

    Raises:
        ConfirmationNeeded: the name was not typed. JobError: it failed.
    """
    before = session.read()
    written = before.facts.written
    swapped_at = before.incident.step("swap", before.now).at
    session.undo("swap", Answer(typed=typed))
    wait(session)
    require_status(session, "swap", "undone")
    reading = session.read()
    back = reading.facts.document("rolled_back")
    return {
        "ok": True,
        "incident": reading.incident.id,
        "database": back.get("database"),
        "kept_as": back.get("kept_as"),
        "age_seconds": round((before.now - swapped_at).total_seconds(), 3),
        "merge": put_back_command(str(back.get("kept_as") or ""), written) or None,
        "written": None if written is None else plain(written),
        "rolled_back": plain(back),
    }
