"""Freezes that outlived their incident, and a live database that is closed and nobody says why."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.incident import Freeze, Incident
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.freeze import undo_measure
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.incidents import INCIDENTS, Author, IncidentJournal

_OF_DATABASES = re.compile(r"(ALTER DATABASE|(GRANT|REVOKE) .* ON DATABASE) ", re.DOTALL)
_SQL = re.compile(r"(ALTER|GRANT|REVOKE) ")


@dataclass(frozen=True, slots=True)
class Fence:
    """Something that is kept from writing still, and the SQL that undoes it."""

    name: str
    of: str
    since: datetime | None
    what: str
    undo: tuple[str, ...]
    freeze: str = ""
    held_by: str = ""


def find_fences(
    incidents: Sequence[Incident], source: str, live: str, closed: str
) -> Iterator[Fence]:
    """Yield the freezes that no incident undid, and a closing of live that none knows of.

    ``closed`` is how live is closed to everybody, as ``closed_to`` tells it.
    """
    told = False
    for incident in incidents:
        if incident.source != source:
            continue
        for freeze in incident.freezes:
            told = told or any("DATABASE" in text and live in text for text in freeze.undo)
            yield _of_incident(incident, freeze)
    if closed and not told:
        known = closed.startswith("ALLOW_CONNECTIONS")
        quoted = '"{}"'.format(live.replace('"', '""'))
        yield Fence(
            name=f"{live} is closed",
            of="-",
            since=None,
            what=f"{live} lets nobody in ({closed}); no incident here says why",
            undo=(f"ALTER DATABASE {quoted} ALLOW_CONNECTIONS true;",) if known else (),
            held_by=""
            if known
            else f"its former limit is not known: ALTER DATABASE {quoted} CONNECTION LIMIT … "
            "(-1 is none)",
        )


def _of_incident(incident: Incident, freeze: Freeze) -> Fence:
    by_hand = [text for text in freeze.undo if not _is_ours(text)]
    return Fence(
        name=f"{incident.id}/{freeze.what}",
        of=incident.id,
        since=freeze.since,
        what=f"still frozen: {freeze.what}",
        undo=freeze.undo,
        freeze=freeze.what,
        held_by=f"undo it by hand: {by_hand[0]}" if by_hand else "",
    )


def _is_ours(statement: str) -> bool:
    return statement.startswith("--") or _SQL.match(statement) is not None


async def lift_fence(
    fence: Fence,
    context: JobContext,
    state: Path,
    admin: Connection,
    open_live: Callable[[], Awaitable[Connection]],
) -> None:
    """Undo a freeze by its own SQL, and write that into its incident's journal.

    Raises:
        SafetyRefusal: there is nothing that undoes it.
        RightsMissing, PostgresError: the server refuses; it is as frozen as it was.
    """
    if not fence.undo:
        raise SafetyRefusal(f"NOT UNDONE: {fence.what}.", why="Nothing tells what undoes it.")
    await undo_measure(admin, [text for text in fence.undo if _OF_DATABASES.match(text)])
    in_live = [text for text in fence.undo if not _OF_DATABASES.match(text)]
    if any(not text.startswith("--") for text in in_live):
        async with await open_live() as live:
            await undo_measure(live, in_live)
    if fence.freeze:
        journal = IncidentJournal(state / INCIDENTS / fence.of)
        author = Author(context.operator, context.host, context.now)
        journal.append(
            "thawed", {"what": fence.freeze, "why": f"by job {context.job}"}, author, epoch=None
        )
