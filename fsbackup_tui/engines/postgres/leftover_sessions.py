"""Ending sessions by their application_name."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.engines.postgres.connection import Connection, classify, connect

_GONE_SECONDS = 3.0
_POLL_SECONDS = 0.1
# Every role may see another's application_name, but not its backend_type (null then).
_SESSIONS = (
    "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = ANY (%s)"
    " AND backend_type IS DISTINCT FROM 'parallel worker' AND pid <> pg_catalog.pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class EndedSessions:
    """How many sessions were ended, and how many are left that could not be."""

    ended: int
    left: int


async def end_sessions_named(
    address: DatabaseAddress, names: Collection[str], *, application_name: str
) -> EndedSessions:
    """End the server's sessions that carry one of the names, in whatever database.

    What this role may not end (another's session, without pg_signal_backend) is left. PostgresError
    where the server can't be reached or asked.
    """
    connection = await connect(address, application_name=application_name)
    async with connection:
        try:
            found = await _sessions(connection, names)
            told = {pid for pid in found if await _terminate(connection, pid)}
            stubborn = await _wait_until_gone(connection, names, told)
        except psycopg.Error as error:
            raise classify(error, address) from error
    return EndedSessions(len(told - stubborn), len(found - told | stubborn))


async def _sessions(connection: Connection, names: Collection[str]) -> set[int]:
    cursor = await connection.execute(_SESSIONS, [list(names)])
    return {int(row[0]) for row in await cursor.fetchall()}


async def _terminate(connection: Connection, pid: int) -> bool:
    try:
        await connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


async def _wait_until_gone(
    connection: Connection, names: Collection[str], told: set[int]
) -> set[int]:
    """Return which of the sessions that were told to end are still there after some seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _GONE_SECONDS
    left = set(told)
    while left and loop.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        left &= await _sessions(connection, names)
    return left
