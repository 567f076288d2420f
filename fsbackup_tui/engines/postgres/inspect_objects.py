"""What a database holds beside its tables: sequences, large objects, roles, properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from fsbackup_tui.domain.point import DatabaseSetting, ExtensionFacts, SequenceFacts
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection

_BATCH = 100


@dataclass(frozen=True, slots=True)
class SequenceInspection:
    """One sequence of the catalogue, its position not read yet."""

    oid: int
    schema: str
    name: str
    increment: int
    owned_by: str | None
    readable: bool


@dataclass(frozen=True, slots=True)
class DatabaseProperties:
    """What pg_database has of the database, in words (``libc``, ``icu``, ``builtin``)."""

    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    locale: str | None
    icu_rules: str | None
    collation_version: str | None
    owner: str
    tablespace: str
    connection_limit: int
    comment: str | None
    grants: tuple[str, ...]


async def fetch_all(
    connection: Connection,
    statement: str,
    parameters: Sequence[object] | Mapping[str, object] | None = None,
) -> list[tuple[Any, ...]]:
    """Run a statement and return all its rows."""
    return await (await connection.execute(statement, parameters)).fetchall()


async def read_properties(
    connection: Connection, database: str | None = None
) -> DatabaseProperties:
    """Return a database's own properties; what the server's version lacks is None.

    ``database`` None is the one that the session is in.
    """
    rows = await fetch_all(
        connection,
        "SELECT to_jsonb(d), pg_encoding_to_char(d.encoding), pg_get_userbyid(d.datdba)::text,"
        " t.spcname::text, shobj_description(d.oid, 'pg_database'), d.datacl::text[]"
        " FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace"
        " WHERE d.datname = coalesce(%s, current_database())",
        [database],
    )
    row, encoding, owner, tablespace, comment, grants = rows[0]
    provider = {"i": "icu", "b": "builtin"}.get(row.get("datlocprovider"), "libc")
    return DatabaseProperties(
        encoding,
        row["datcollate"],
        row["datctype"],
        provider,
        row.get("datlocale") or row.get("daticulocale"),
        row.get("daticurules"),
        row.get("datcollversion"),
        owner,
        tablespace,
        row["datconnlimit"],
        comment,
        tuple(grants or ()),
    )


async def read_settings(
    connection: Connection, database: str | None = None
) -> tuple[DatabaseSetting, ...]:
    """Return a database's settings, those of single roles in it too; None: the session's own."""
    rows = await fetch_all(
        connection,
        "SELECT r.rolname::text, split_part(item, '=', 1),"
        " substr(item, strpos(item, '=') + 1)"
        " FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS item"
        " LEFT JOIN pg_roles AS r ON r.oid = s.setrole"
        " WHERE s.setdatabase = (SELECT oid FROM pg_database"
        " WHERE datname = coalesce(%s, current_database()))"
        " ORDER BY r.rolname NULLS FIRST, item",
        [database],
    )
    return tuple(DatabaseSetting(*row) for row in rows)


async def read_roles(connection: Connection, *, owners_alone: bool = False) -> tuple[str, ...]:
    """Return every role that the database's objects, grants, policies and settings name.

    pg_shdepend knows them all but the bootstrap superuser, who is pinned; it counts when it owns
    something that is not part of the system. ``owners_alone`` leaves out who owns nothing.
    """
    kinds = ["o"] if owners_alone else ["o", "a", "r"]
    rows = await fetch_all(connection, _ROLES, {"kinds": kinds, "settings": not owners_alone})
    return tuple(row[0] for row in rows)


_ROLES = """
WITH here AS (SELECT oid, datdba FROM pg_database WHERE datname = current_database())
SELECT DISTINCT r.rolname::text FROM pg_roles AS r, here
WHERE r.oid = here.datdba
   OR r.oid IN (SELECT s.refobjid FROM pg_shdepend AS s
                WHERE s.refclassid = 'pg_authid'::regclass
                  AND s.deptype::text = ANY (%(kinds)s::text[])
                  AND (s.dbid = here.oid
                       OR s.dbid = 0 AND s.classid = 'pg_database'::regclass
                          AND s.objid = here.oid))
   OR %(settings)s
      AND r.oid IN (SELECT setrole FROM pg_db_role_setting WHERE setdatabase = here.oid)
   OR r.oid = 10 AND (EXISTS (SELECT FROM pg_class WHERE relowner = 10 AND oid >= 16384)
                      OR EXISTS (SELECT FROM pg_namespace WHERE nspowner = 10 AND oid >= 16384)
                      OR EXISTS (SELECT FROM pg_proc WHERE proowner = 10 AND oid >= 16384))
ORDER BY 1
"""


async def read_extensions(connection: Connection) -> tuple[ExtensionFacts, ...]:
    """Return the extensions installed in the database."""
    rows = await fetch_all(
        connection,
        "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension AS e"
        " JOIN pg_namespace AS n ON n.oid = e.extnamespace ORDER BY e.extname",
    )
    return tuple(ExtensionFacts(*row) for row in rows)


async def read_names(connection: Connection, what: str) -> tuple[str, ...]:
    """Return the names of the database's subscriptions, prepared transactions or slots."""
    return tuple(row[0] for row in await fetch_all(connection, _NAMES[what]))


_NAMES = {
    "subscriptions": (
        "SELECT subname::text FROM pg_subscription WHERE subdbid ="
        " (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
    ),
    "prepared transactions": (
        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 1"
    ),
    "replication slots": (
        "SELECT slot_name::text FROM pg_replication_slots"
        " WHERE database = current_database() ORDER BY 1"
    ),
}


async def read_large_objects(connection: Connection) -> tuple[int, int]:
    """Return how many large objects there are, and the bytes of the table that stores them all."""
    rows = await fetch_all(
        connection,
        "SELECT count(*), pg_relation_size('pg_catalog.pg_largeobject')"
        " FROM pg_largeobject_metadata",
    )
    return rows[0][0], rows[0][1]


async def list_sequences(
    connection: Connection, *, schemas: Sequence[int], tables: Sequence[int]
) -> tuple[SequenceInspection, ...]:
    """Return the sequences a dump holds that leaves out ``schemas`` and ``tables`` (OIDs).

    As pg_dump decides (getOwnedSeqs): an identity column's sequence goes with its table alone; a
    serial column's is dumped with its table, and also when only the table is left out.
    """
    rows = await fetch_all(
        connection, _SEQUENCES, {"schemas": list(schemas), "tables": list(tables)}
    )
    return tuple(SequenceInspection(*row) for row in rows)


_SEQUENCES = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, s.seqincrement,
       on_schema.nspname || '.' || on_table.relname || '.' || a.attname,
       coalesce(has_sequence_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
                true)
FROM pg_sequence AS s
JOIN pg_class AS c ON c.oid = s.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class AS on_table ON on_table.oid = d.refobjid
LEFT JOIN pg_namespace AS on_schema ON on_schema.oid = on_table.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (coalesce(NOT on_table.relnamespace = ANY (%(schemas)s::oid[])
                AND NOT on_table.oid = ANY (%(tables)s::oid[]), false)
       OR d.deptype IS DISTINCT FROM 'i'
          AND NOT c.relnamespace = ANY (%(schemas)s::oid[])
          AND NOT c.oid = ANY (%(tables)s::oid[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""


async def read_sequences(
    connection: Connection, sequences: Sequence[SequenceInspection]
) -> tuple[SequenceFacts, ...]:
    """Return the sequences with their positions, as pg_dump reads them.

    Sequences are outside every snapshot. Each batch is rolled back, so that the locks on them
    don't pile up in a transaction at hand. What can't be read has ``last_value`` None.
    """
    facts: list[SequenceFacts] = []
    for start in range(0, len(sequences), _BATCH):
        batch = sequences[start : start + _BATCH]
        positions = await _positions(connection, [item for item in batch if item.readable])
        for item in batch:
            value, called = positions.get(item.oid, (None, False))
            facts.append(
                SequenceFacts(item.schema, item.name, value, called, item.increment, item.owned_by)
            )
    return tuple(facts)


async def _positions(
    connection: Connection, batch: Sequence[SequenceInspection]
) -> dict[int, tuple[int | None, bool]]:
    if not batch:
        return {}
    statement = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::int8, last_value, is_called FROM {}").format(
            item.oid, sql.Identifier(item.schema, item.name)
        )
        for item in batch
    )
    try:
        async with connection.transaction(force_rollback=True):
            rows = await (await connection.execute(statement)).fetchall()
    except psycopg.errors.Error:
        # One was dropped, locked or moved since it was listed: the others still can be read.
        if len(batch) == 1 or connection.broken:
            return {}
        half = len(batch) // 2
        return await _positions(connection, batch[:half]) | await _positions(
            connection, batch[half:]
        )
    return {oid: (value, called) for oid, value, called in rows}


async def read_migration_head(
    connection: Connection, tables: Sequence[TableInspection], *, schema: str | None
) -> str | None:
    """Return the name of the last migration that Prisma finished; None where there is none.

    ``schema`` is looked in first, then public, then any other.
    """
    found = [
        table
        for table in tables
        if table.name == "_prisma_migrations"
        and table.kind == "table"
        and table.readable
        and not table.row_security
    ]
    found.sort(key=lambda table: (table.schema != schema, table.schema != "public", table.schema))
    for table in found:
        types = {column.name: column.type_oid for column in table.columns}
        if types.get("migration_name") not in (25, 1043) or types.get("finished_at") not in (
            1114,
            1184,
        ):
            continue
        rolled_back = "AND rolled_back_at IS NULL" if "rolled_back_at" in types else ""
        statement = sql.SQL(
            "SELECT migration_name FROM ONLY {} WHERE finished_at IS NOT NULL {}"
            " ORDER BY finished_at DESC, migration_name DESC LIMIT 1"
        ).format(sql.Identifier(table.schema, table.name), sql.SQL(rolled_back))
        row = await (await connection.execute(statement)).fetchone()
        return str(row[0]) if row else None
    return None
