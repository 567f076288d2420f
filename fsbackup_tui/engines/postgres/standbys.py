"""Sessions on a hot standby that stay in a database which gave its name away on the primary.

A standby replays the renames without ending anybody: readers that are connected go on reading
the old database under its new name, and only newcomers meet the new one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psycopg

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.swap import Database

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class StandbyEnded:
    """What became of the sessions on one standby; ``note`` says why some may be left."""

    ended: int
    left: int
    replayed: bool
    note: str = ""


async def end_sessions_on_standby(
    standby: Connection, kept: Database, *, limit_seconds: float
) -> StandbyEnded:
    """Wait until the standby has replayed the renames, then end who is in the kept database.

    ``standby`` is a session in its maintenance database.

    Raises:
        psycopg.Error: the standby was lost.
    """
    if not (await fetch_all(standby, "SELECT pg_catalog.pg_is_in_recovery()"))[0][0]:
        return StandbyEnded(0, 0, False, "it is no standby: nobody was ended there")
    deadline = time.monotonic() + limit_seconds
    while not await _replayed(standby, kept):
        if time.monotonic() >= deadline:
            note = f"it had not replayed the swap after {limit_seconds:g} s: end its sessions later"
            return StandbyEnded(0, await _sessions(standby, kept), False, note)
        await asyncio.sleep(_LOOK_SECONDS)
    ended: set[int] = set()
    refused: set[int] = set()
    while True:
        present = [pid for (pid,) in await fetch_all(standby, _PRESENT, [kept.oid])]
        if set(present) <= refused or time.monotonic() >= deadline:
            break
        for pid in present:
            try:
                await standby.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
                ended.add(pid)
            except psycopg.errors.InsufficientPrivilege:
                refused.add(pid)
        await asyncio.sleep(_LOOK_SECONDS)
    left = await _sessions(standby, kept)
    note = f"{left} sessions still read {kept.name}: this role may not end them" if left else ""
    return StandbyEnded(len(ended - refused), left, True, note)


_PRESENT = (
    "SELECT pid FROM pg_catalog.pg_stat_activity WHERE datid::int8 = %s"
    " AND pid <> pg_catalog.pg_backend_pid()"
)


async def _replayed(standby: Connection, kept: Database) -> bool:
    rows = await fetch_all(
        standby,
        "SELECT datname::text FROM pg_catalog.pg_database WHERE oid::int8 = %s",
        [kept.oid],
    )
    return bool(rows) and rows[0][0] == kept.name


async def _sessions(standby: Connection, kept: Database) -> int:
    return len(await fetch_all(standby, _PRESENT, [kept.oid]))
