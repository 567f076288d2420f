"""Looking at a live database for damage: what there is to look at, and what an error means.

Nothing here writes, and nothing takes more than ACCESS SHARE. Reading has one side effect that
can't be switched off: the server prunes rows that were deleted just before from the pages it
reads, so after an accidental DELETE the files are to be copied first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal
from fsbackup_tui.domain.live_health import HealthFinding
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.fingerprint import COUNTING_SETTINGS
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.inspect_tables import RAW_HASH_TYPES, ColumnInspection

# Both make a read "repair" what it should report; the first loses the page for good.
_REPAIRING_SETTINGS = ("zero_damaged_pages", "ignore_checksum_failure")
# Appendix A: XX internal, corrupted data or index; 58 the server's files can't be read.
_DAMAGE_CLASSES = ("XX", "58")


@dataclass(frozen=True, slots=True)
class IndexToCheck:
    """A valid b-tree.

    ``order`` has each key column with whether it is descending and whether nulls come first;
    it is empty for an index that is partial or has expressions.
    """

    oid: int
    name: str
    order: tuple[tuple[str, bool, bool], ...]


@dataclass(frozen=True, slots=True)
class TableToCheck:
    """A table, partition or filled materialised view, with its own rows only.

    ``toast`` is the OID of its TOAST table, 0 without; ``indexes`` are those of both.
    ``pages`` and ``visible_pages`` are as of the last VACUUM or ANALYZE. ``system`` marks what
    PostgreSQL itself keeps its books in.
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[ColumnInspection, ...]
    toast: int
    indexes: tuple[IndexToCheck, ...]
    toast_indexes: tuple[int, ...]
    heap: bool
    bytes: int
    pages: int
    visible_pages: int
    readable: bool
    row_security: bool
    system: bool

    @property
    def qualified(self) -> str:
        """The name as people read it."""
        return f"{self.schema}.{self.name}"


class TableGone(Exception):
    """The table was dropped, or is in another form by now: there is nothing to say of it."""


class NotNow(Exception):
    """Others are in the way (a lock, a standby's replay); later it may well work."""


class CannotCheck(Exception):
    """The server refuses for a reason that says nothing of the table's health."""


async def prepare_session(connection: Connection) -> tuple[HealthFinding, ...]:
    """Make the session one that only reads, and reports what is wrong instead of mending it.

    Raises:
        SafetyRefusal: the server would mend by reading, and the role may not switch that off.
    """
    await connection.execute(
        f"SET default_transaction_read_only = on; {COUNTING_SETTINGS}".encode()
    )
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await connection.set_read_only(True)
    findings = []
    for name in _REPAIRING_SETTINGS:
        ((value,),) = await fetch_all(
            connection, "SELECT coalesce(pg_catalog.current_setting(%s, true), 'off')", [name]
        )
        if value == "off":
            continue
        findings.append(
            HealthFinding(
                "settings",
                None,
                f"{name} is {value}: whoever reads a damaged page hides the damage, or loses it.",
                f"Set it to off for the server, this database and its roles: {name} = off",
            )
        )
        try:
            await connection.execute(sql.SQL("SET {} = off").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise SafetyRefusal(
                f"NOT READ: {name} is {value} here.",
                why="Reading a damaged page would destroy it, and this role can't switch it off.",
                fix=f"As a superuser: ALTER SYSTEM SET {name} = off; SELECT pg_reload_conf();",
            ) from error
    return tuple(findings)


async def list_tables_to_check(connection: Connection) -> tuple[TableToCheck, ...]:
    """Return every table with storage of its own, the system's too, small ones first."""
    rows = await fetch_all(connection, _TABLES, {"raw": list(RAW_HASH_TYPES)})
    return tuple(
        TableToCheck(
            oid=oid,
            schema=schema,
            name=name,
            kind=kind,
            columns=tuple(
                ColumnInspection(*column)
                for column in zip(names or (), types or (), raws or (), strict=True)
            ),
            toast=toast,
            indexes=tuple(
                IndexToCheck(
                    index["oid"],
                    index["name"],
                    tuple((key[0], key[1], key[2]) for key in index["key"] or ()),
                )
                for index in indexes or ()
            ),
            toast_indexes=tuple(toast_indexes or ()),
            heap=heap,
            bytes=size,
            pages=pages,
            visible_pages=visible,
            readable=readable,
            row_security=row_security,
            system=system,
        )
        for (
            oid, schema, name, kind, names, types, raws, toast, indexes, toast_indexes,
            heap, size, pages, visible, readable, row_security, system,
        ) in rows
    )  # fmt: skip


# A key column that is an expression, or sorted by another operator class than its type's own,
# gives no order that a query could name: then the index has no key here. Of a table dropped
# meanwhile no privilege is known: that it is gone shows when it is read.
_TABLES = """
WITH columns AS (
    SELECT a.attrelid,
           array_agg(a.attname::text ORDER BY a.attnum) AS names,
           array_agg(a.atttypid::int8 ORDER BY a.attnum) AS types,
           array_agg(a.atttypid = ANY (%(raw)s::oid[])
                     AND coalesce(l.collisdeterministic, true) ORDER BY a.attnum) AS raws
    FROM pg_attribute AS a
    LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
    GROUP BY a.attrelid
), keys AS (
    SELECT i.indexrelid,
           CASE WHEN i.indpred IS NULL AND i.indexprs IS NULL
                     AND bool_and(o.opcdefault AND k.coll = a.attcollation)
                THEN jsonb_agg(jsonb_build_array(a.attname, k.option & 1 <> 0, k.option & 2 <> 0)
                               ORDER BY k.position) END AS key
    FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]::int2[], i.indclass::oid[],
                              i.indcollation::oid[], i.indoption::int2[])
         WITH ORDINALITY AS k(attnum, opclass, coll, option, position)
    LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    LEFT JOIN pg_opclass AS o ON o.oid = k.opclass
    GROUP BY i.indexrelid, i.indpred IS NULL, i.indexprs IS NULL
), indexes AS (
    SELECT i.indrelid,
           jsonb_agg(jsonb_build_object('oid', c.oid::int8, 'name', c.relname,
                                        'key', keys.key)
                     ORDER BY NOT i.indisprimary, c.relpages, c.relname) AS members,
           array_agg(c.oid::int8 ORDER BY c.relname) AS oids
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_am AS m ON m.oid = c.relam
    LEFT JOIN keys ON keys.indexrelid = i.indexrelid
    WHERE m.amname = 'btree' AND i.indisvalid AND i.indisready AND i.indislive
      AND c.relkind = 'i'
    GROUP BY i.indrelid
)
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
       columns.names, columns.types, columns.raws,
       c.reltoastrelid::int8, indexes.members, on_toast.oids,
       c.relam = 2,
       (c.relpages::int8 + coalesce(toast.relpages, 0)) * current_setting('block_size')::int8,
       c.relpages, c.relallvisible,
       coalesce(has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
                true),
       row_security_active(c.oid),
       n.nspname IN ('pg_catalog', 'information_schema')
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid AND c.reltoastrelid <> 0
LEFT JOIN columns ON columns.attrelid = c.oid
LEFT JOIN indexes ON indexes.indrelid = c.oid
LEFT JOIN indexes AS on_toast ON on_toast.indrelid = toast.oid
WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated)
  AND c.relpersistence <> 't'
  AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
ORDER BY 12, n.nspname COLLATE "C", c.relname COLLATE "C"
"""


async def count_foreign_tables(connection: Connection) -> int:
    """Return how many tables have their rows on another server."""
    ((count,),) = await fetch_all(connection, "SELECT count(*) FROM pg_class WHERE relkind = 'f'")
    return int(count)


@asynccontextmanager
async def judged(
    connection: Connection, oid: int, schema: str, name: str, *, while_: str
) -> AsyncIterator[None]:
    """Turn what the server refuses inside the block into what it means for a check.

    Raises:
        TableGone, NotNow, CannotCheck: as they say.
        PostgresError: the session was lost; a damaged page can crash a server.
        psycopg.errors.QueryCanceled: somebody cancelled the statement.
    """
    try:
        yield
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error as error:
        if connection.broken:
            raise lost_while(f"while {while_} {schema}.{name}", error) from error
        if isinstance(error, _LATER):
            raise NotNow(words_of(error)) from error
        if await is_gone(connection, oid, schema, name):
            raise TableGone from error
        raise CannotCheck(words_of(error)) from error


_LATER = (psycopg.errors.LockNotAvailable, psycopg.errors.SerializationFailure)


def means_damage(error: psycopg.Error) -> bool:
    """Whether the server says that what it read can't be right, not that it may not or won't."""
    return (error.sqlstate or "")[:2] in _DAMAGE_CLASSES


async def is_gone(connection: Connection, oid: int, schema: str, name: str) -> bool:
    """Whether there is no such relation any more under this OID and name."""
    rows = await fetch_all(
        connection,
        "SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.oid = %s::int8::oid AND n.nspname = %s AND c.relname = %s",
        [oid, schema, name],
    )
    return not rows


def words_of(error: psycopg.Error) -> str:
    """Return what the server said, in one line."""
    return error.diag.message_primary or str(error).splitlines()[0]


def lost_while(when: str, error: psycopg.Error) -> PostgresError:
    """Return the error of a session that was lost while it read: the server may have died of it."""
    return PostgresError(
        f"SERVER LOST {when}.",
        why=f"{words_of(error)}\nIf nobody stopped it, its log says what it died of.",
        fix="Don't look there again: stop the server and copy its files first.",
    )
