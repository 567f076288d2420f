"""Who is connected to a database, who of them writes, and ending them; never our own sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg

from fsbackup_tui.domain.standing import ClientSession
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.swap import MAY_END, ROLES_OF_SESSIONS

_GONE_SECONDS = 5.0
_POLL_SECONDS = 0.05

# A role that may not see another's backend_type sees null; its application_name is seen by all.
_CLIENTS = (
    f" FROM pg_catalog.pg_stat_activity AS a{ROLES_OF_SESSIONS}"
    " WHERE a.datid::int8 = %(oid)s AND a.pid <> pg_catalog.pg_backend_pid()"
    " AND coalesce(a.backend_type, 'client backend') = 'client backend'"
)
_READ = (
    "SELECT a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),"
    " coalesce(pg_catalog.host(a.client_addr), ''), coalesce(a.state, ''), a.backend_start,"
    f" a.backend_xid IS NOT NULL, {MAY_END},"
    " coalesce(a.application_name, '') LIKE 'fsbackup/%%'" + _CLIENTS + " ORDER BY 7 DESC, a.pid"
)
# Looked at and ended in one statement: the pid can't have become somebody else's in between.
_END = (
    "SELECT pg_catalog.pg_terminate_backend(a.pid)"
    + _CLIENTS
    + " AND a.pid = %(pid)s AND coalesce(a.application_name, '') NOT LIKE 'fsbackup/%%'"
)


@dataclass(frozen=True, slots=True)
class NotEnded:
    """A session that goes on, and why."""

    pid: int
    why: str


@dataclass(frozen=True, slots=True)
class EndedClients:
    """Sessions that were ended, as they were, and those that go on."""

    ended: tuple[ClientSession, ...]
    left: tuple[NotEnded, ...]


async def read_clients(
    admin: Connection, oid: int, *, roles: Collection[str] | None = None
) -> tuple[ClientSession, ...]:
    """Return who is connected to the database of that OID, those that write first; none of ours.

    ``roles`` narrows it to theirs.
    """
    return tuple(
        session
        for session, ours in await _read(admin, oid)
        if not ours and (roles is None or session.role in roles)
    )


async def writers_of(live: Connection, relations: Sequence[int]) -> frozenset[int]:
    """Return the pids that hold a writer's lock on one of the relations (OIDs) right now."""
    rows = await fetch_all(
        live,
        "SELECT DISTINCT l.pid FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_database AS d"
        " ON d.oid = l.database AND d.datname = pg_catalog.current_database()"
        " WHERE l.locktype = 'relation' AND l.relation::int8 = ANY(%s) AND l.granted"
        " AND l.mode = ANY('{RowExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,"
        "AccessExclusiveLock}')",
        [list(relations)],
    )
    return frozenset(int(pid) for (pid,) in rows)


async def end_clients(
    admin: Connection, oid: int, pids: Collection[int] | None = None
) -> EndedClients:
    """End sessions in the database of that OID: those of the pids, or all; returns when gone.

    Each is looked at again in the very statement that ends it. Of a pid that has no session there
    (any more), is our own, or may not be ended, it is told why it was left.
    """
    there = {session.pid: (session, ours) for session, ours in await _read(admin, oid)}
    wanted = [pid for pid, (_session, ours) in there.items() if not ours] if pids is None else pids
    left: list[NotEnded] = []
    told: set[int] = set()
    for pid in dict.fromkeys(wanted):
        why = _why_not(there.get(pid))
        if not why and not await _end(admin, oid, pid):
            why = "it has ended by itself, or this role may not end it"
        if why:
            left.append(NotEnded(pid, why))
        else:
            told.add(pid)
    for pid in sorted(await _still_there(admin, oid, told)):
        left.append(NotEnded(pid, "it was told to end and goes on; it may be writing to a disk"))
        told.discard(pid)
    return EndedClients(tuple(there[pid][0] for pid in sorted(told)), tuple(left))


async def _read(admin: Connection, oid: int) -> list[tuple[ClientSession, bool]]:
    rows = await fetch_all(admin, _READ, {"oid": oid})
    return [(ClientSession(*row[:8]), bool(row[8])) for row in rows]


def _why_not(found: tuple[ClientSession, bool] | None) -> str:
    if found is None:
        return "no session of this database has that pid now"
    session, ours = found
    if ours:
        return f"it is fsbackup's own ({session.application})"
    return "" if session.can_be_ended else f"this role may not end a session of {session.role}"


async def _end(admin: Connection, oid: int, pid: int) -> bool:
    try:
        rows = await fetch_all(admin, _END, {"oid": oid, "pid": pid})
    except psycopg.errors.InsufficientPrivilege:
        return False
    return bool(rows) and bool(rows[0][0])


async def _still_there(admin: Connection, oid: int, pids: set[int]) -> set[int]:
    """Return which of the sessions are still there after some seconds at most."""
    deadline = time.monotonic() + _GONE_SECONDS
    left = set(pids)
    while left:
        left &= {session.pid for session, _ours in await _read(admin, oid)}
        if not left or time.monotonic() > deadline:
            break
        await asyncio.sleep(_POLL_SECONDS)
    return left
