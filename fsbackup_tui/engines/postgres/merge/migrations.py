"""Prisma's migrations that live has and the copy has not: what may have changed definitions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Schema, read_schema

_TABLE = "_prisma_migrations"
_COLUMNS = {"migration_name", "finished_at", "rolled_back_at", "started_at"}


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration by its name, and the table that knows of it; ``finished``: it went through."""

    table: TableName
    name: str
    finished: bool


async def migrations_since(copy: Connection, live: Connection) -> tuple[Migration, ...]:
    """Return those applied to live and not to the copy, the newest first."""
    theirs, mine = await read_schema(copy), await read_schema(live)
    found: list[Migration] = []
    for name in _tables(mine):
        known = {m.name for m in await _read(copy, name)} if name in _tables(theirs) else set()
        found += [m for m in await _read(live, name) if m.name not in known]
    return tuple(found)


def _tables(schema: Schema) -> list[TableName]:
    return [
        name
        for name, table in schema.tables.items()
        if name[1] == _TABLE
        and not table.unfit
        and {column.name for column in table.columns} >= _COLUMNS
    ]


async def _read(connection: Connection, table: TableName) -> list[Migration]:
    cursor = await connection.execute(
        sql.SQL(
            "SELECT migration_name::text, finished_at IS NOT NULL FROM ONLY {}"
            " WHERE rolled_back_at IS NULL ORDER BY started_at DESC, migration_name DESC"
        ).format(sql.Identifier(*table))
    )
    return [Migration(table, name, finished) for name, finished in await cursor.fetchall()]


def resolving_commands(migration: Migration) -> tuple[str, ...]:
    """Return the commands that let Prisma count a migration as rolled back.

    ``migrate resolve --rolled-back`` refuses one that went through (P3012: "not in a failed
    state"), so that it is made to look failed first: what it would write is a date beside it.
    """
    resolve = f"npx prisma migrate resolve --rolled-back {shlex.quote(migration.name)}"
    if not migration.finished:
        return (resolve,)
    failed = sql.SQL(
        "UPDATE {} SET finished_at = NULL WHERE migration_name = {} AND rolled_back_at IS NULL"
    ).format(sql.Identifier(*migration.table), sql.Literal(migration.name))
    return f'psql "$DATABASE_URL" -c {shlex.quote(failed.as_string(None))}', resolve
