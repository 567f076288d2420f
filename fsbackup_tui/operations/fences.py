"""Freezes that outlived their incident, and databases that are closed and nobody says why."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.incident import Freeze, Incident
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.freeze import undo_measure
from fsbackup_tui.engines.postgres.kept import Kept
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.freezes import freeze_body
from fsbackup_tui.operations.live_server import database_name
from fsbackup_tui.repository.incidents import Author, find_incident

_OF_DATABASES = re.compile(r"(ALTER DATABASE|(GRANT|REVOKE) .* ON DATABASE) ", re.DOTALL)
_NOT_ALLOWED = "ALLOW_CONNECTIONS false"
_SQL = re.compile(r"(ALTER|GRANT|REVOKE) ")


@dataclass(frozen=True, slots=True)
class Fence:
    """Something that is kept from writing still, and the SQL that undoes it."""

    name: str
    of: str
    since: datetime | None
    what: str
    undo: tuple[str, ...]
    freeze: Freeze | None = None
    held_by: str = ""


def find_fences(
    incidents: Sequence[Incident],
    source: str,
    live: str,
    closed: Mapping[str, str],
    kept: Iterable[Kept],
) -> Iterator[Fence]:
    """Yield the freezes that no incident undid, and the databases that let nobody in.

    ``closed`` are databases that are closed to everybody, as ``closed_databases`` tells it;
    ``kept`` are those that recoveries left. A copy of the files is closed on purpose.
    """
    told = False
    for incident in incidents:
        if incident.source != source:
            continue
        for freeze in incident.freezes:
            told = told or any("DATABASE" in text and live in text for text in freeze.undo)
            yield _of_incident(incident, freeze, f"still frozen: {freeze.what}")
        for freeze in incident.kept_freezes:
            where = f"still frozen in {freeze.kept_in}, which was put aside: {freeze.what}"
            yield _of_incident(incident, freeze, where, f" in {freeze.kept_in}")
    if live in closed and not told:
        yield _closed_live(live, closed[live])
    for database in kept:
        if database.name in closed and database.kind != "evidence":
            yield _closed_kept(database, closed[database.name])


def _of_incident(incident: Incident, freeze: Freeze, what: str, apart: str = "") -> Fence:
    by_hand = [text for text in freeze.undo if not _is_ours(text)]
    return Fence(
        name=f"{incident.id}/{freeze.what}{apart}",
        of=incident.id,
        since=freeze.since,
        what=what,
        undo=freeze.undo,
        freeze=freeze,
        held_by=f"undo it by hand: {by_hand[0]}" if by_hand else "",
    )


def _closed_live(live: str, how: str) -> Fence:
    known = how == _NOT_ALLOWED
    return Fence(
        name=f"{live} is closed",
        of="-",
        since=None,
        what=f"{live} lets nobody in ({how}); no incident here says why",
        undo=(_alter(live, "ALLOW_CONNECTIONS true"),) if known else (),
        held_by=""
        if known
        else f"its former limit is not known: {_alter(live, 'CONNECTION LIMIT …')} (-1 is none)",
    )


def _closed_kept(database: Kept, how: str) -> Fence:
    opens = "ALLOW_CONNECTIONS true" if how == _NOT_ALLOWED else "CONNECTION LIMIT -1"
    return Fence(
        name=f"{database.name} is closed",
        of=database.job,
        since=None,
        what=f"{database.name} lets nobody in ({how}): {opens} lets everybody in who may",
        undo=(_alter(database.name, opens),),
    )


def _alter(database: str, how: str) -> str:
    quoted = '"{}"'.format(database.replace('"', '""'))
    return f"ALTER DATABASE {quoted} {how};"


def _is_ours(statement: str) -> bool:
    return statement.startswith("--") or _SQL.match(statement) is not None


async def lift_fence(
    fence: Fence,
    context: JobContext,
    state: Path,
    admin: Connection,
    open_database: Callable[[str], Awaitable[Connection]],
) -> None:
    """Undo a freeze by its own SQL, and write that into its incident's journal.

    ``open_database`` opens a session in the database of that name; the empty one is live. A
    freeze is undone where it was made, whatever that database is called by now.

    Raises:
        SafetyRefusal: there is nothing that undoes it.
        RightsMissing, PostgresError: the server refuses; it is as frozen as it was.
    """
    if not fence.undo:
        raise SafetyRefusal(f"NOT UNDONE: {fence.what}.", why="Nothing tells what undoes it.")
    await undo_measure(admin, [text for text in fence.undo if _OF_DATABASES.match(text)])
    inside = [text for text in fence.undo if not _OF_DATABASES.match(text)]
    freeze, why = fence.freeze, f"by job {context.job}"
    if any(not text.startswith("--") for text in inside):
        oid = freeze.oid if freeze is not None and freeze.place == "live" else 0
        name = await database_name(admin, oid) if oid else ""
        if name is None:
            why = f"its database is gone; {why}"
        else:
            async with await open_database(name) as session:
                await undo_measure(session, inside)
    if freeze is not None:
        journal = find_incident(state, fence.of)
        author = Author(context.operator, context.host, context.now)
        journal.append("thawed", {**freeze_body(freeze), "why": why}, author, epoch=None)
