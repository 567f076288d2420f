"""PgBouncer's admin console: clients wait while a database changes, and are let on again.

PAUSE waits for running transactions and then keeps every client waiting, without an error,
until RESUME (pgbouncer(1), "Admin console"). A pooler that stays paused is an outage of its own:
whoever pauses one here resumes it on every way out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.connection import classify, connection_parameters
from fsbackup_tui.engines.process_group import undisturbed

ADMIN_DATABASE = "pgbouncer"
_CONNECT_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class PooledDatabase:
    """A database as a pooler knows it: the name that clients use, and where it leads."""

    name: str
    database: str
    is_paused: bool


async def pooled_databases(pooler: DatabaseAddress, database: str) -> tuple[PooledDatabase, ...]:
    """Return the pooler's entries that lead to a database of that name on its server.

    Raises:
        PostgresError: the console can't be reached, or is none.
    """
    async with _console(pooler) as console:
        cursor = await console.execute("SHOW DATABASES")
        columns = [column.name for column in cursor.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in await cursor.fetchall()]
    return tuple(
        PooledDatabase(str(row["name"]), str(row["database"]), str(row.get("paused", "0")) == "1")
        for row in rows
        if row["database"] == database and row["name"] != ADMIN_DATABASE
    )


@asynccontextmanager
async def paused(
    poolers: Sequence[DatabaseAddress], database: str, *, limit_seconds: float
) -> AsyncIterator[tuple[str, ...]]:
    """Keep the clients of a database waiting at every pooler inside the block.

    Gives the names under which it was paused. They are resumed on every way out, in vain only
    where the pooler itself is gone: then clients can't get in through it anyway. An entry that
    was paused before is left so.

    Raises:
        PostgresError: a pooler could not pause it within ``limit_seconds`` (a transaction goes
            on); all are resumed.
    """
    done: list[tuple[DatabaseAddress, str]] = []
    try:
        for pooler in poolers:
            for entry in await pooled_databases(pooler, database):
                if not entry.is_paused:
                    done.append((pooler, entry.name))
                    await _pause(pooler, entry.name, limit_seconds)
        yield tuple(name for _pooler, name in done)
    finally:
        await undisturbed(_resume_all(done))


async def _pause(pooler: DatabaseAddress, name: str, limit_seconds: float) -> None:
    try:
        async with asyncio.timeout(limit_seconds), _console(pooler) as console:
            await console.execute(sql.SQL("PAUSE {}").format(sql.Identifier(name)))
    except TimeoutError as error:
        raise PostgresError(
            f"POOLER NOT PAUSED: {name} at {pooler.display()}.",
            why=f"A client's transaction was not over after {limit_seconds:g} s.",
            fix="Find it in SHOW CLIENTS; or go on without pausing: clients get errors instead.",
        ) from error


async def _resume_all(done: Sequence[tuple[DatabaseAddress, str]]) -> None:
    for pooler, name in done:
        with suppress(PostgresError):
            await resume(pooler, name)


async def resume(pooler: DatabaseAddress, name: str) -> None:
    """Let the clients of an entry on again; one that is not paused is no error.

    Raises:
        PostgresError: the console can't be reached.
    """
    try:
        async with _console(pooler) as console:
            await console.execute(sql.SQL("RESUME {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        # "database … is not paused" has no SQLSTATE of its own.
        if "not paused" not in str(error):
            raise classify(error, pooler) from error


def resume_command(pooler: DatabaseAddress, name: str) -> str:
    """Return the stock command that resumes an entry without fsbackup."""
    quoted = name.replace('"', '""')
    return (
        f"psql -h {pooler.host} -p {pooler.port} -U {pooler.user or 'pgbouncer'}"
        f" -d {ADMIN_DATABASE} -c 'RESUME \"{quoted}\"'"
    )


@asynccontextmanager
async def _console(pooler: DatabaseAddress) -> AsyncIterator[psycopg.AsyncConnection]:
    """Open the admin console: it knows neither SET nor the extended protocol."""
    parameters = connection_parameters(pooler, database=ADMIN_DATABASE)
    password = pooler.password.reveal() if pooler.password else None
    try:
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo(**parameters, connect_timeout=_CONNECT_SECONDS),
            password=password,
            autocommit=True,
        )
    except psycopg.Error as error:
        raise classify(error, pooler) from error
    try:
        yield connection
    finally:
        await connection.close()
