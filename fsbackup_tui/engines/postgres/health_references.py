"""Rows whose foreign key points at no row: what is left when rows vanish beneath the server."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.live_health import HealthFinding
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import judged
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One pair of columns; ``collation`` is the parent's (schema, name) where the two differ.

    ``equality`` is the schema of the ``=`` that the constraint itself uses, None where it uses
    another operator.
    """

    child: str
    parent: str
    equality: str | None
    collation: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key as declared; on partitioned tables the whole tables are meant.

    ``believed`` is False for NOT VALID and NOT ENFORCED ones: orphans are no sign of damage.
    ``over_time`` is for one with PERIOD (PostgreSQL 18), in its last column.
    """

    name: str
    child_oid: int
    child: tuple[str, str]
    child_only: bool
    parent: tuple[str, str]
    parent_only: bool
    match_full: bool
    believed: bool
    over_time: bool
    columns: tuple[KeyColumn, ...]
    readable: bool

    @property
    def child_name(self) -> str:
        """The referencing table as people read it."""
        return ".".join(self.child)

    @property
    def parent_name(self) -> str:
        """The referenced table as people read it."""
        return ".".join(self.parent)


async def list_foreign_keys(connection: Connection) -> tuple[ForeignKey, ...]:
    """Return every foreign key, those of partitions as their partitioned table's."""
    rows = await fetch_all(connection, _FOREIGN_KEYS)
    return tuple(
        ForeignKey(
            name,
            child_oid,
            (child_schema, child),
            child_kind == "r",
            (parent_schema, parent),
            parent_kind == "r",
            match_full,
            believed,
            over_time,
            tuple(
                KeyColumn(
                    column["child"],
                    column["parent"],
                    column["equality"],
                    (column["collation"][0], column["collation"][1])
                    if column["collation"]
                    else None,
                )
                for column in columns
            ),
            readable,
        )
        for (
            name, child_oid, child_schema, child, child_kind, parent_schema, parent, parent_kind,
            match_full, believed, over_time, columns, readable,
        ) in rows
    )  # fmt: skip


_FOREIGN_KEYS = """
SELECT k.conname::text, k.conrelid::int8, cn.nspname::text, c.relname::text, c.relkind::text,
       pn.nspname::text, p.relname::text, p.relkind::text, k.confmatchtype = 'f',
       k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true),
       coalesce((to_jsonb(k) ->> 'conperiod')::bool, false),
       (SELECT jsonb_agg(jsonb_build_object(
                'child', ca.attname, 'parent', pa.attname,
                'equality', CASE WHEN o.oprname = '=' THEN os.nspname END,
                'collation', CASE WHEN pa.attcollation <> ca.attcollation AND pa.attcollation <> 0
                                  THEN jsonb_build_array(ls.nspname, l.collname) END)
                ORDER BY u.position)
        FROM unnest(k.conkey, k.confkey, k.conpfeqop)
             WITH ORDINALITY AS u(child, parent, operator, position)
        JOIN pg_attribute AS ca ON ca.attrelid = k.conrelid AND ca.attnum = u.child
        JOIN pg_attribute AS pa ON pa.attrelid = k.confrelid AND pa.attnum = u.parent
        JOIN pg_operator AS o ON o.oid = u.operator
        JOIN pg_namespace AS os ON os.oid = o.oprnamespace
        LEFT JOIN pg_collation AS l ON l.oid = pa.attcollation
        LEFT JOIN pg_namespace AS ls ON ls.oid = l.collnamespace),
       coalesce(has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(cn.oid, 'USAGE')
                AND has_table_privilege(p.oid, 'SELECT')
                AND has_schema_privilege(pn.oid, 'USAGE')
                AND NOT row_security_active(c.oid) AND NOT row_security_active(p.oid), true)
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid
JOIN pg_namespace AS cn ON cn.oid = c.relnamespace
JOIN pg_class AS p ON p.oid = k.confrelid
JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
  AND c.relkind IN ('r', 'p') AND p.relkind IN ('r', 'p')
  AND NOT (pg_is_in_recovery() AND (c.relpersistence = 'u' OR p.relpersistence = 'u'))
ORDER BY 3, 4, 1
"""


async def count_orphans(connection: Connection, key: ForeignKey) -> int | None:
    """Return how many rows the key should not let be; None where it can't be asked in SQL.

    Both tables are read from their heaps (the session's settings): an index would vouch for a
    parent that is gone, or miss one that is there.

    Raises:
        TableGone, NotNow, CannotCheck, PostgresError: as ``judged`` tells.
    """
    query = _orphans(key)
    if query is None:
        return None
    async with judged(connection, key.child_oid, *key.child, while_="looking for the parents of"):
        if not key.over_time:
            return await _count(connection, query)
        # Every child asks for its parents by itself: without an index that never ends.
        await connection.execute(_WITH_INDEXES)
        try:
            return await _count(connection, query)
        finally:
            if not connection.broken:
                await connection.execute(_WITHOUT_INDEXES)


_WITH_INDEXES = "SET enable_indexscan = on; SET enable_bitmapscan = on"
_WITHOUT_INDEXES = "SET enable_indexscan = off; SET enable_bitmapscan = off"


async def _count(connection: Connection, query: sql.Composed) -> int:
    row = await (await connection.execute(query)).fetchone()
    return int(row[0]) if row else 0


def orphan_finding(key: ForeignKey, count: int) -> HealthFinding:
    """Return the finding that so many rows have no parent."""
    return HealthFinding(
        "foreign keys",
        key.child_name,
        f"{count} rows have no row in {key.parent_name} ({key.name}): either rows of"
        f" {key.parent_name} are gone, or a load passed by the constraint",
    )


def _orphans(key: ForeignKey) -> sql.Composed | None:
    plain = key.columns[:-1] if key.over_time else key.columns
    if any(column.equality is None for column in plain):
        return None
    child = [sql.Identifier("c", column.child) for column in key.columns]
    condition = sql.SQL(" AND ").join(
        sql.SQL("{} IS NOT NULL").format(identifier) for identifier in child
    )
    same = [_same(column) for column in plain]
    parent = _table(key.parent, only=key.parent_only)
    if key.over_time:
        last = key.columns[-1]
        present, wanted = sql.Identifier("p", last.parent), sql.Identifier("c", last.child)
        same.append(sql.SQL("{} OPERATOR(pg_catalog.&&) {}").format(present, wanted))
        found = sql.SQL(
            "coalesce((SELECT {} OPERATOR(pg_catalog.<@) pg_catalog.range_agg({})"
            " FROM {} AS p WHERE {}), false)"
        ).format(wanted, present, parent, sql.SQL(" AND ").join(same))
    else:
        found = sql.SQL("EXISTS (SELECT FROM {} AS p WHERE {})").format(
            parent, sql.SQL(" AND ").join(same)
        )
    source = _table(key.child, only=key.child_only)
    orphans = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS c WHERE {} AND NOT {}").format(
        source, condition, found
    )
    if not key.match_full:
        return orphans
    # Counted apart: an OR would keep the planner from joining.
    some = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(item) for item in child)
    return sql.SQL(
        "SELECT ({}) OPERATOR(pg_catalog.+)"
        " (SELECT pg_catalog.count(*) FROM {} AS c WHERE ({}) AND NOT ({}))"
    ).format(orphans, source, some, condition)


def _same(column: KeyColumn) -> sql.Composed:
    child: sql.Composable = sql.Identifier("c", column.child)
    if column.collation is not None:
        child = sql.SQL("{} COLLATE {}").format(child, sql.Identifier(*column.collation))
    return sql.SQL("{} OPERATOR({}.=) {}").format(
        sql.Identifier("p", column.parent), sql.Identifier(column.equality or ""), child
    )


def _table(name: tuple[str, str], *, only: bool) -> sql.Composed:
    return sql.SQL("ONLY {}" if only else "{}").format(sql.Identifier(*name))
