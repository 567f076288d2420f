"""What one role may do in a database, and whether what it may read can be read.

Rights are compared by name, live against a restored copy: a right that was granted after the
backup is not in the copy, and a dump that was restored without owners and grants has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import RightsMissing
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.soundness import READS_FOREIGN

RightsKey = tuple[str, str]
"""The sort of an object (schema, table, sequence, function), and its name as people read it."""

_READ_SECONDS = 30


async def role_exists(connection: Connection, role: str) -> bool:
    """Whether the server has a role of that name."""
    return bool(
        await fetch_all(connection, "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", [role])
    )


async def may_connect(admin: Connection, role: str, database_oid: int) -> bool:
    """Whether the role has the right to connect to a database, be it open or not."""
    rows = await fetch_all(
        admin,
        "SELECT pg_catalog.has_database_privilege(%s::name, %s::oid, 'CONNECT')",
        [role, database_oid],
    )
    return bool(rows[0][0])


async def read_rights(connection: Connection, role: str) -> Mapping[RightsKey, frozenset[str]]:
    """Return what the role may do with each object of the session's database.

    An object in a schema that the role may not use is left with no right at all.
    """
    rows = await fetch_all(connection, _RIGHTS, {"role": role})
    return {(sort, name): frozenset(rights) for sort, name, rights in rows}


_RIGHTS = """
WITH spaces AS (
    SELECT n.oid, n.nspname::text AS name,
           pg_catalog.has_schema_privilege(%(role)s::name, n.oid, 'USAGE') AS usable
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT 'schema', s.name, array(
    SELECT p FROM unnest('{USAGE,CREATE}'::text[]) AS p
    WHERE pg_catalog.has_schema_privilege(%(role)s::name, s.oid, p))
FROM spaces AS s
UNION ALL
SELECT 'table', s.name || '.' || c.relname, array(
    SELECT p FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) AS p
    WHERE s.usable AND pg_catalog.has_any_column_privilege(%(role)s::name, c.oid, p)
    UNION ALL
    SELECT p FROM unnest('{DELETE,TRUNCATE}'::text[]) AS p
    WHERE s.usable AND pg_catalog.has_table_privilege(%(role)s::name, c.oid, p))
FROM pg_catalog.pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'sequence', s.name || '.' || c.relname, array(
    SELECT p FROM unnest('{USAGE,SELECT,UPDATE}'::text[]) AS p
    WHERE s.usable AND pg_catalog.has_sequence_privilege(%(role)s::name, c.oid, p))
FROM pg_catalog.pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
WHERE c.relkind = 'S'
UNION ALL
SELECT 'function',
       s.name || '.' || f.proname || '(' || pg_catalog.pg_get_function_identity_arguments(f.oid)
       || ')',
       CASE WHEN s.usable AND pg_catalog.has_function_privilege(%(role)s::name, f.oid, 'EXECUTE')
            THEN '{EXECUTE}'::text[] ELSE '{}' END
FROM pg_catalog.pg_proc AS f JOIN spaces AS s ON s.oid = f.pronamespace
ORDER BY 1, 2
"""


def rights_lost(
    before: Mapping[RightsKey, frozenset[str]], now: Mapping[RightsKey, frozenset[str]]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (sort, name, rights) of what could be done before and can't now, where both have it.

    What is not there at all is another finding than a missing right.
    """
    return [
        (*key, tuple(sorted(lost)))
        for key, rights in sorted(before.items())
        if key in now and (lost := rights - now[key])
    ]


async def become(connection: Connection, role: str) -> None:
    """Look through the role's eyes from here on, as far as a session of another's can.

    Raises:
        RightsMissing: the session's role is no member of it.
    """
    try:
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise RightsMissing(
            f"NOT TRIED: {connection.info.user} may not act as {role}.",
            why=str(error).strip().splitlines()[0],
            fix=f'Make it a member: GRANT "{role}" TO "{connection.info.user}"',
        ) from error


async def readable_tables(connection: Connection) -> list[tuple[str, str]]:
    """Return the tables and views that the session's role may read, but what asks other servers."""
    return [(schema, name) for schema, name in await fetch_all(connection, _READABLE)]


_READABLE = "\n".join(
    (
        READS_FOREIGN,
        """
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
  AND (c.relkind <> 'm' OR c.relispopulated)
  AND c.oid NOT IN (SELECT relation FROM far)
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
""",
    )
)


async def unreadable(
    connection: Connection, tables: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Select no row from each table as the session's role; return what refused, and with what.

    No row is read and no page touched, while rights, policies and views are all gone through.

    Raises:
        psycopg.OperationalError: the session was lost.
    """
    # Pinned for dumps; the application lives with policies and with its own search_path.
    await connection.execute("SET row_security = on")
    await connection.execute("RESET search_path")
    await connection.execute("SET default_transaction_read_only = on")
    await connection.execute(f"SET statement_timeout = '{_READ_SECONDS}s'".encode())
    await connection.execute(f"SET lock_timeout = '{_READ_SECONDS}s'".encode())
    refused: dict[tuple[str, str], str] = {}
    for table in tables:
        try:
            await connection.execute(
                sql.SQL("SELECT 1 FROM {} LIMIT 0").format(sql.Identifier(*table))
            )
        except psycopg.Error as error:
            if connection.broken:
                raise
            refused[table] = error.diag.message_primary or str(error).strip().splitlines()[0]
    return refused
