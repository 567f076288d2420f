"""Reading every value of a table, and asking its indexes in the same snapshot for their count.

A table is read as a backup reads it, from its heap, with every value written out (so TOAST is
read and decompressed too). An index-only scan doesn't look at a page that the visibility map
calls all-visible: so it still counts rows whose page was zeroed, and on a sound table, in one
snapshot, both counts are equal whatever others write. Nothing else sees a zeroed page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import sql

from fsbackup_tui.domain.live_health import HealthFinding, IndexCount, TableHealth
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.fingerprint import choose_form, fingerprint_query
from fsbackup_tui.engines.postgres.health import (
    IndexToCheck,
    TableGone,
    TableToCheck,
    is_gone,
    judged,
    means_damage,
    words_of,
)

SMALL_PAGES = 10_000
"""Below this an index-only scan that has to look at the heap for every row is still quick."""

_LEAST_VISIBLE = 0.5
_INDEX_ONLY = (
    "SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on;"
    " SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
    " SET LOCAL enable_sort = off"
)


async def read_table(
    connection: Connection, table: TableToCheck, *, every_index: bool
) -> tuple[TableHealth | None, list[HealthFinding]]:
    """Read the table and compare it with its indexes; None where it could not be read whole.

    ``every_index`` asks each index that can answer, where amcheck doesn't compare them; one is
    enough otherwise. A damage is reported only if it is found twice: what others have just
    changed reads well the second time.

    Raises:
        TableGone, NotNow, CannotCheck, PostgresError: as ``judged`` tells.
    """
    async with judged(connection, table.oid, table.schema, table.name, while_="reading"):
        try:
            health = await _read(connection, table, every_index=every_index)
            if not _differing(health):
                return health, []
        except psycopg.Error as error:
            if connection.broken or not means_damage(error):
                raise
        try:
            health = await _read(connection, table, every_index=every_index)
        except psycopg.Error as error:
            if connection.broken or not means_damage(error):
                raise
            if await is_gone(connection, table.oid, table.schema, table.name):
                raise TableGone from error
            what = f"it can't be read: {words_of(error)}"
            return None, [HealthFinding("read", table.qualified, what)]
    return health, [_count_finding(health, count) for count in _differing(health)]


async def rows_by_index(connection: Connection, table: TableToCheck) -> int | None:
    """Return how many rows an index knows of in the transaction at hand; None if none can tell.

    The heap's pages are not read where they are all-visible: so it counts rows that are gone.
    """
    if not table.indexes or _needs_heap(table):
        return None
    try:
        async with connection.transaction(force_rollback=True):
            counts = await _index_counts(connection, table, every_index=False)
    except psycopg.Error:
        if connection.broken:
            raise
        return None
    return counts[0].rows if counts else None


def _differing(health: TableHealth) -> list[IndexCount]:
    return [count for count in health.counted_by if count.rows != health.rows]


def _count_finding(health: TableHealth, count: IndexCount) -> HealthFinding:
    missing = count.rows - health.rows
    if missing > 0:
        what = (
            f"{missing} rows are gone: {health.rows} can be read, but its index {count.index}"
            f" knows of {count.rows}"
        )
    else:
        what = (
            f"its index {count.index} has lost {-missing} entries: it knows of {count.rows} rows,"
            f" {health.rows} can be read"
        )
    return HealthFinding("counts", health.table, what)


async def _read(connection: Connection, table: TableToCheck, *, every_index: bool) -> TableHealth:
    async with _snapshot(connection, table):
        rows = await _read_values(connection, table)
        if not table.indexes:
            return TableHealth(table.qualified, rows, note="it has no index that counts rows")
        if _needs_heap(table):
            return TableHealth(
                table.qualified, rows, note="too much of it is not all-visible: VACUUM it"
            )
        counts = await _index_counts(connection, table, every_index=every_index)
    note = "" if counts else "none of its indexes can count its rows by itself"
    return TableHealth(table.qualified, rows, tuple(counts), note)


@asynccontextmanager
async def _snapshot(connection: Connection, table: TableToCheck) -> AsyncIterator[None]:
    """Open a snapshot in which the table is neither emptied nor rewritten.

    The lock comes first: a TRUNCATE that commits between the two would show it empty.
    """
    async with connection.transaction(force_rollback=True):
        if table.kind == "r" and not table.system:
            await connection.execute(
                sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(_name(table))
            )
        yield


async def _read_values(connection: Connection, table: TableToCheck) -> int:
    if not table.columns:
        statement = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {} AS r").format(_name(table))
    else:
        statement = fingerprint_query(
            table.schema, table.name, table.columns, choose_form(table.columns)
        )
    row = await (await connection.execute(statement)).fetchone()
    return int(row[0]) if row else 0


def _needs_heap(table: TableToCheck) -> bool:
    """Whether an index-only scan would mostly fetch single pages of a big table."""
    return table.pages > SMALL_PAGES and table.visible_pages < _LEAST_VISIBLE * table.pages


async def _index_counts(
    connection: Connection, table: TableToCheck, *, every_index: bool
) -> list[IndexCount]:
    await connection.execute(_INDEX_ONLY)
    known = {index.name for index in table.indexes}
    counts: dict[str, IndexCount] = {}
    for index in table.indexes:
        if not index.order or index.name in counts:
            continue
        query = _count_in_order(table, index)
        used = await _index_used(connection, query)
        if used is None or used not in known or used in counts:
            continue
        row = await (await connection.execute(query)).fetchone()
        counts[used] = IndexCount(used, int(row[0]) if row else 0)
        if not every_index:
            break
    return list(counts.values())


def _count_in_order(table: TableToCheck, index: IndexToCheck) -> sql.Composed:
    """Return a count whose rows must come in the index's order: so the planner takes it."""
    names = [sql.Identifier("r", name) for name, _, _ in index.order]
    order = [
        sql.SQL("{} {} NULLS {}").format(
            sql.Identifier("r", name),
            sql.SQL("DESC" if descending else "ASC"),
            sql.SQL("FIRST" if nulls_first else "LAST"),
        )
        for name, descending, nulls_first in index.order
    ]
    return sql.SQL(
        "SELECT pg_catalog.count(*) FROM (SELECT {} FROM ONLY {} AS r ORDER BY {}) AS s"
    ).format(sql.SQL(", ").join(names), _name(table), sql.SQL(", ").join(order))


async def _index_used(connection: Connection, query: sql.Composed) -> str | None:
    """Return the index that the query reads alone; None where it reads anything else."""
    cursor = await connection.execute(sql.SQL("EXPLAIN (FORMAT JSON, COSTS OFF) {}").format(query))
    row = await cursor.fetchone()
    node: dict[str, Any] = row[0][0]["Plan"] if row else {}
    while node.get("Plans"):
        if len(node["Plans"]) > 1:
            return None
        node = node["Plans"][0]
    return str(node["Index Name"]) if node.get("Node Type") == "Index Only Scan" else None


def _name(table: TableToCheck) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)
