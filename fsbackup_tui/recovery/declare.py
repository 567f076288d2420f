"""Declaring an incident: two questions, then it is open, held, and its clock runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fsbackup_tui.domain.errors import RepositoryUnwritable, UsageError
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.operations.places import configured_path
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.kinds import KIND_WORDS, source_kinds
from fsbackup_tui.recovery.library import require_about, runbook_for
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.elsewhere import make_elsewhere, why_not_writable
from fsbackup_tui.repository.incidents import (
    IncidentJournal,
    find_open,
    open_incident,
    unreadable_incidents,
)


def recoverable_sources(desk: Desk) -> tuple[str, ...]:
    """Return the databases that can be recovered: those with data."""
    return tuple(name for name, kind in source_kinds(desk.loaded).items() if kind == "postgres")


def only_source(desk: Desk, wanted: str | None) -> str:
    """Return the database that is meant; UsageError where it has to be named."""
    names = recoverable_sources(desk)
    if wanted is not None:
        if wanted in names:
            return wanted
        raise UsageError(f"NO SUCH DATABASE: {wanted}.", why=f"There are: {', '.join(names)}.")
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError(
            "NOTHING TO RECOVER: the configuration names no database with data.",
            fix="Name one under sources:, or restore a file by hand (RECOVER.md).",
        )
    raise UsageError(
        "WHICH DATABASE?", why=f"There are: {', '.join(names)}.", fix="Name one with --part."
    )


def declare(
    desk: Desk,
    *,
    source: str,
    seen: Seen,
    last_right: datetime | None,
    runbook: str = "",
    point: str = "",
    is_drill: bool = False,
) -> RecoverySession:
    """Open an incident and lead it; a point that was chosen before is offered first.

    Where the state directory is full or can't be written, its journal and its jobs go elsewhere:
    ``desk`` of the session knows where, and a note says it.

    Raises:
        UsageError: the runbook is about another kind of source, or there is no drill of it.
        SafetyRefusal: one of this source is open already, or the site is only looked at.
        DiskFull, RepositoryUnwritable: its journal can't be written.
    """
    desk.require_writing()
    kind = source_kinds(desk.loaded).get(source, "postgres")
    name = runbook or runbook_for(seen, kind)
    require_about(name, kind, desk.loaded)
    if is_drill and kind == "config":
        raise UsageError(
            f"NO DRILL OF {KIND_WORDS[kind]}: {source} has no copy to practise on.",
            why="Settings are put back by their names: those of the live files are the only ones.",
            fix=f"fsbackup restore latest --part {source} --diff   shows what would come back\n"
            "fsbackup drill   restores every part of a point, timed, into a throw-away place",
        )
    desk, why = _where_it_can_be_written(desk, source, is_drill=is_drill)
    journal = open_incident(
        desk.state,
        desk.author,
        site=desk.loaded.config.site,
        source=source,
        seen=seen,
        last_right=last_right,
        zone=desk.zone,
        is_drill=is_drill,
    )
    session = RecoverySession(desk, journal, lead=True)
    hidden = unreadable_incidents(desk.state)
    if hidden:
        told = ", ".join(hidden)
        session.note(f"Whether one is open already is not known of what can't be read: {told}.")
    if why:
        session.note(why)
    if kind != "postgres":
        session.append("set", name="kind", value=kind)
        session.append("set", name="live_name", value=configured_path(desk.loaded, source))
    session.switch_runbook(name)
    if point:
        session.prefer_point(point)
    return session


def _where_it_can_be_written(desk: Desk, source: str, *, is_drill: bool) -> tuple[Desk, str]:
    """Return the desk with a state directory that takes an incident, and what is to be said."""
    why = why_not_writable(desk.state)
    if not why or find_open(desk.state, source=source, is_drill=is_drill) is not None:
        return desk, ""
    elsewhere = make_elsewhere(desk.state, desk.environ)
    if elsewhere is None:
        raise RepositoryUnwritable(
            "NOT DECLARED: there is no place for the incident's journal.",
            why=f"{desk.state} can't be written ({why}), nor can a place of this user's in /tmp.",
            fix="Free space there, or name another directory: state: in the config.",
        )
    told = (
        f"The state directory {desk.state} can't be written ({why}): this incident and its jobs"
        f" lie in {elsewhere}, for this user alone, until it is closed."
    )
    return replace(desk, state=elsewhere), told


def attach(desk: Desk, journal: IncidentJournal) -> RecoverySession:
    """Sit down at an incident: as its leader where it is one's own and nobody leads it now.

    Whoever led it from here before, and is gone, goes on as its leader of the next epoch.
    """
    session = RecoverySession(desk, journal, lead=False)
    incident = journal.read()
    leader = incident.leader if incident is not None else None
    mine = leader is not None and leader.operator == desk.author.operator
    goes_on = incident is not None and incident.closed is None and not desk.read_only
    if goes_on and mine and session.may_take_over():
        session.take_over("went on")
    return session
