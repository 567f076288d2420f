"""The tables of a database as a dump will treat them: sizes, columns, keys, rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.patterns import Exclusions, matching_schemas, matching_tables

TableKind = Literal["table", "partitioned", "materialised view", "foreign", "unlogged"]

# bool, bytea, int8, int2, int4, text, varchar, date, time, timestamp, timestamptz, uuid: the
# types whose hash is the same on every server version and sees every difference of value.
RAW_HASH_TYPES = frozenset({16, 17, 20, 21, 23, 25, 1043, 1082, 1083, 1114, 1184, 2950})


@dataclass(frozen=True, slots=True)
class ColumnInspection:
    """A stored column; ``raw`` says that its value can be hashed without being written as text."""

    name: str
    type_oid: int
    raw: bool


@dataclass(frozen=True, slots=True)
class TableInspection:
    """One table as the catalogue has it; sizes in bytes, heap and TOAST together.

    ``dumps_rows`` says that a dump holds its rows under this very name: then they can be counted;
    all of them, or those that ``condition`` (a WHERE clause) leaves, where the table is one of
    an extension's that makes the others itself. ``readable`` and ``row_security`` are about the
    inspecting role.
    """

    oid: int
    schema: str
    name: str
    kind: TableKind
    estimated_rows: int | None
    bytes: int | None
    columns: tuple[ColumnInspection, ...]
    primary_key: tuple[str, ...]
    dumps_rows: bool
    data_excluded: bool
    note: str
    readable: bool
    row_security: bool
    partition_root: tuple[str, str] | None = None
    extension: str | None = None
    condition: str = ""

    @property
    def qualified(self) -> str:
        """The name as people read it, ``schema.table``; not quoted for SQL."""
        return f"{self.schema}.{self.name}"

    @property
    def lockable(self) -> bool:
        """Whether pg_dump locks it, and so do we: plain and partitioned tables."""
        return self.kind in ("table", "unlogged", "partitioned")

    @property
    def identity(self) -> tuple[int, str, str, TableKind]:
        """What must be the same in two listings for them to tell of the same table."""
        return self.oid, self.schema, self.name, self.kind


async def list_tables(
    connection: Connection, exclusions: Exclusions, *, exact_sizes: bool
) -> tuple[TableInspection, ...]:
    """Return every table that a dump with these exclusions holds, sorted by schema and name.

    ``exact_sizes`` asks for the files' sizes, which needs a moment's lock on each table: only for
    a session that holds these locks already. Otherwise sizes are those of the last ANALYZE.
    """
    schemas = await matching_schemas(connection, exclusions.all_schemas)
    tables = await matching_tables(connection, exclusions.all_tables)
    data = await matching_tables(connection, exclusions.table_data)
    managed = await matching_tables(connection, exclusions.managed_table_data)
    parameters = {"schemas": list(schemas), "tables": list(tables), "raw": list(RAW_HASH_TYPES)}
    rows = None
    if exact_sizes:
        try:
            async with connection.transaction():
                cursor = await connection.execute(_TABLES + _EXACT_SIZES + _WHERE, parameters)
                rows = await cursor.fetchall()
        except psycopg.errors.LockNotAvailable:
            rows = None
    if rows is None:
        cursor = await connection.execute(_TABLES + _KNOWN_SIZES + _WHERE, parameters)
        rows = await cursor.fetchall()
    standby = await _is_standby(connection)
    return tuple(_table(row, data, managed, standby) for row in rows)


async def _is_standby(connection: Connection) -> bool:
    row = await (await connection.execute("SELECT pg_catalog.pg_is_in_recovery()")).fetchone()
    return bool(row and row[0])


def _table(
    row: tuple[Any, ...], data: set[int], managed: set[int], standby: bool
) -> TableInspection:
    (oid, schema, name, relkind, persistence, estimate, key, extension, condition) = row[:9]
    (readable, row_security, names, types, raws, root_schema, root_name, size) = row[9:]
    kind = _kind(relkind, persistence)
    excluded = oid in data or oid in managed
    note = _note(kind, excluded=excluded, standby=standby)
    if oid in managed and oid not in data and note == _LEFT_OUT:
        note = _LEFT_OUT_AS_MANAGED
    some = f"of the extension {extension}, which dumps only some of its rows" if condition else ""
    columns = zip(names or (), types or (), raws or (), strict=True)
    return TableInspection(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        estimated_rows=estimate,
        bytes=size,
        columns=tuple(ColumnInspection(*column) for column in columns),
        primary_key=tuple(key or ()),
        dumps_rows=not note,
        data_excluded=excluded or (kind == "unlogged" and standby),
        note=note or some,
        readable=readable,
        row_security=row_security,
        partition_root=None if root_name is None else (root_schema, root_name),
        extension=extension,
        condition=condition or "",
    )


def _kind(relkind: str, persistence: str) -> TableKind:
    if relkind == "r":
        return "unlogged" if persistence == "u" else "table"
    if relkind == "p":
        return "partitioned"
    return "materialised view" if relkind == "m" else "foreign"


_LEFT_OUT = "its rows are left out by the configuration"
_LEFT_OUT_AS_MANAGED = "its rows are the host's own, and left out"


def _note(kind: TableKind, *, excluded: bool, standby: bool) -> str:
    if excluded and kind in ("table", "unlogged"):
        return _LEFT_OUT
    if kind == "partitioned":
        return "its rows are in its partitions"
    if kind == "materialised view":
        return "computed anew by a restore"
    if kind == "foreign":
        return "its rows are on another server"
    if kind == "unlogged" and standby:
        return "unlogged: a standby has no rows of it"
    return ""


_TABLES = """
WITH members AS (
    SELECT d.objid AS oid, e.extname, e.extconfig, e.extcondition
    FROM pg_depend AS d
    JOIN pg_extension AS e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
      AND d.deptype = 'e'
), columns AS (
    SELECT a.attrelid,
           array_agg(a.attname::text ORDER BY a.attnum) AS names,
           array_agg(a.atttypid::int8 ORDER BY a.attnum) AS types,
           array_agg(a.atttypid = ANY (%(raw)s::oid[])
                     AND coalesce(l.collisdeterministic, true) ORDER BY a.attnum) AS raws
    FROM pg_attribute AS a
    LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v' AND a.attrelid >= 16384
    GROUP BY a.attrelid
), keys AS (
    SELECT i.indrelid, array_agg(a.attname::text ORDER BY k.position) AS names
    FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, position)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indisprimary AND i.indrelid >= 16384
    GROUP BY i.indrelid
)
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::int8 END,
       keys.names,
       members.extname::text,
       members.extcondition[array_position(members.extconfig, c.oid)],
       coalesce(has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
                true),
       row_security_active(c.oid),
       columns.names, columns.types, columns.raws,
       root_schema.nspname::text, root.relname::text,
"""
# A table that neither VACUUM nor ANALYZE has seen has relpages 0, which is no size of anything.
_KNOWN_SIZES = """
       CASE WHEN c.relkind IN ('r', 'm') AND c.reltuples >= 0
            THEN (c.relpages::int8 + coalesce(toast.relpages, 0))
                 * current_setting('block_size')::int8 END
"""
_EXACT_SIZES = """
       CASE c.relkind
            WHEN 'r' THEN coalesce(pg_relation_size(c.oid), 0)
                 + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0)
            WHEN 'm' THEN CASE WHEN c.reltuples >= 0
                 THEN (c.relpages::int8 + coalesce(toast.relpages, 0))
                      * current_setting('block_size')::int8 END END
"""
_WHERE = """
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid AND c.reltoastrelid <> 0
LEFT JOIN columns ON columns.attrelid = c.oid
LEFT JOIN keys ON keys.indrelid = c.oid
LEFT JOIN members ON members.oid = c.oid
LEFT JOIN pg_class AS root ON c.relispartition AND root.oid = pg_partition_root(c.oid)
LEFT JOIN pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (members.oid IS NULL OR c.oid = ANY (members.extconfig))
  AND NOT c.relnamespace = ANY (%(schemas)s::oid[])
  AND NOT c.oid = ANY (%(tables)s::oid[])
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
