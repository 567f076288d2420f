"""Who holds what a schema swap waits for: seen while it waits, and ended if that is asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_LOOK_EVERY_SECONDS = 0.03


@dataclass(slots=True)
class Blocking:
    """Who was seen holding what the swap waits for: pid to words."""

    seen: dict[int, str] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    has_background: bool = False


@asynccontextmanager
async def watching(
    watcher: Connection, pid: int, blocking: Blocking, *, end: bool
) -> AsyncIterator[None]:
    """See, all through the block, whom the session ``pid`` waits for, and end them if asked."""
    blocking.seen.clear()
    task = asyncio.create_task(_watch(watcher, pid, blocking, end=end))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, psycopg.Error):
            await task


async def _watch(watcher: Connection, pid: int, blocking: Blocking, *, end: bool) -> None:
    while True:
        rows = await fetch_all(
            watcher,
            "SELECT b.pid, coalesce(a.usename::text, a.backend_type, '-'),"
            " coalesce(nullif(a.application_name, ''), '-'), a.xact_start::text,"
            " a.usename IS NOT NULL"
            " FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%s)) AS b(pid)"
            " LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = b.pid WHERE b.pid <> 0",
            [pid],
        )
        for blocker, user, application, since, client in rows:
            words = f"{application} of {user}, pid {blocker}"
            blocking.seen[blocker] = words + (f", in a transaction since {since}" if since else "")
            blocking.has_background = blocking.has_background or not client
            if end and client:
                # One that may not be ended must not keep the others from being ended.
                with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                    await watcher.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [blocker])
                    blocking.ended.add(blocker)
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def prepared_transactions(watcher: Connection) -> list[str]:
    """Return the prepared transactions of the session's database, in words; none has a pid."""
    rows = await fetch_all(
        watcher,
        "SELECT gid, owner::text, prepared::text FROM pg_catalog.pg_prepared_xacts"
        " WHERE database = pg_catalog.current_database() ORDER BY prepared",
    )
    return [f"prepared transaction '{gid}' of {owner}, since {at}" for gid, owner, at in rows]


async def end_other_sessions(connection: Connection) -> tuple[int, tuple[str, ...]]:
    """End all other client sessions in the database; returns how many, and who may not be ended.

    fsbackup's own are left.
    """
    rows = await fetch_all(
        connection,
        "SELECT pid, usename::text, coalesce(nullif(application_name, ''), '-')"
        " FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()"
        " AND pid <> pg_catalog.pg_backend_pid() AND usename IS NOT NULL"
        " AND coalesce(backend_type, 'client backend') = 'client backend'"
        " AND application_name NOT LIKE 'fsbackup/%' ORDER BY pid",
    )
    ended, left = 0, []
    for pid, user, application in rows:
        try:
            await connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
            ended += 1
        except psycopg.errors.InsufficientPrivilege:
            left.append(f"{application} of {user}, pid {pid}")
    return ended, tuple(left)
