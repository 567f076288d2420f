"""Which migrations a database has, as Prisma's own table tells (``_prisma_migrations``)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

TABLE = "_prisma_migrations"


@dataclass(frozen=True, slots=True)
class Migrations:
    """Names, oldest first: ``applied`` to the end, or ``failed`` (begun, and never finished).

    ``table`` is empty where the database has none that can be read.
    """

    table: str = ""
    applied: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


async def read_migrations(connection: Connection, *, schema: str | None) -> Migrations:
    """Return the migrations of a database; ``schema`` is looked in first, then public, then any.

    What was rolled back by ``migrate resolve`` counts for neither.
    """
    rows = await fetch_all(
        connection,
        "SELECT n.nspname::text FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relname = %s AND c.relkind = 'r'"
        " AND pg_catalog.has_table_privilege(c.oid, 'SELECT')"
        " AND (SELECT count(*) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid"
        " AND a.attname = ANY('{migration_name,started_at,finished_at,rolled_back_at}')) = 4"
        " ORDER BY n.nspname <> %s, n.nspname <> 'public', 1 LIMIT 1",
        [TABLE, schema or "public"],
    )
    if not rows:
        return Migrations()
    found = await connection.execute(
        sql.SQL(
            "SELECT migration_name::text, finished_at IS NOT NULL FROM ONLY {}"
            " WHERE rolled_back_at IS NULL ORDER BY coalesce(finished_at, started_at),"
            " migration_name"
        ).format(sql.Identifier(rows[0][0], TABLE))
    )
    every = await found.fetchall()
    applied = tuple(dict.fromkeys(str(name) for name, finished in every if finished))
    failed = tuple(dict.fromkeys(str(name) for name, finished in every if not finished))
    # One that failed, was mended and run again has a row of either kind.
    failed = tuple(name for name in failed if name not in applied)
    return Migrations(f"{rows[0][0]}.{TABLE}", applied, failed)


def rolling_back(found: Migrations, name: str) -> tuple[str, ...]:
    """Return the commands that let Prisma count a migration as rolled back.

    ``migrate resolve --rolled-back`` refuses one that went through (P3012: "not in a failed
    state"), so that it is made to look failed first: what it would write is a date beside it.
    """
    resolve = shlex.join(("npx", "prisma", "migrate", "resolve", "--rolled-back", name))
    if name in found.failed:
        return (resolve,)
    failed = sql.SQL(
        "UPDATE {} SET finished_at = NULL WHERE migration_name = {} AND rolled_back_at IS NULL"
    ).format(sql.Identifier(found.table.removesuffix(f".{TABLE}"), TABLE), sql.Literal(name))
    return f'psql "$DATABASE_URL" -c {shlex.quote(failed.as_string(None))}', resolve
