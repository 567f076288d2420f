"""Row counts and content fingerprints of tables (design §5, "Fingerprint of a table").

A fingerprint is the exact sum, over all rows, of one 64-bit hash per row that mixes: the order
of the rows doesn't matter, a row lost, doubled or altered does, and so does a value that moved
from one row to another. Two forms, both equal on PostgreSQL 14 to 18 for equal content:

``fsb1-text``   ``hashtextextended(ROW(columns)::text, 0)``
``fsb1-mixed``  ``hashint8extended(hash_record_extended(ROW(raw…, ROW(others)::text), 0), 0)``,
                where the raw columns are those of the types in ``RAW_HASH_TYPES`` (text only with
                a deterministic collation); faster, as these are not written as text first.

Columns are sorted by name, each group by itself. Values become text through ``ROW()`` alone,
which calls the types' own output functions: ``column::text`` would run a cast that any user may
have made, with the rights of the backup. Stored generated columns are in it (they are data, and
a restore that computes them otherwise has not brought back what was there); virtual ones are
not, as reading them runs the users' expressions. What text depends on is pinned in the session
(``connection.py``); -0, 1.00 and an enum's label stay visible because their types go as text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg import sql

from fsbackup_tui.domain.events import Report, TableDone
from fsbackup_tui.domain.point import Fingerprint
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect import TableCount
from fsbackup_tui.engines.postgres.inspect_tables import ColumnInspection, TableInspection

if TYPE_CHECKING:
    from fsbackup_tui.engines.postgres.snapshot import SharedSnapshot

Form = Literal["fsb1-text", "fsb1-mixed"]
Method = Literal["content", "counts"]
Blocks = tuple[int, int | None]
"""Some of a table's blocks: the first, and the first one no longer meant; None: to the end."""

FORMS: Mapping[str, Form] = {"fsb1-text": "fsb1-text", "fsb1-mixed": "fsb1-mixed"}
"""The forms that this version can take, by the method's name in a manifest."""

# A count must see the heap that the dump reads, not an index that may disagree with it; and it
# takes one process each, beside the dump.
COUNTING_SETTINGS = (
    "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;"
    " SET max_parallel_workers_per_gather = 0; SET jit = off"
)


def choose_form(columns: Sequence[ColumnInspection]) -> Form:
    """Return the faster form that is right for these columns."""
    return "fsb1-mixed" if any(column.raw for column in columns) else "fsb1-text"


def _column_list(columns: Sequence[ColumnInspection]) -> list[sql.Composable]:
    # Qualified by the alias: a bare name could be taken for the table's whole row.
    return [
        sql.Identifier("r", column.name)
        for column in sorted(columns, key=lambda column: column.name)
    ]


def rows_of(table: TableInspection, blocks: Blocks | None = None) -> sql.Composable:
    """Return the FROM clause for the rows that a dump holds, under the alias ``r``.

    ``blocks`` are read by a TID range scan.
    """
    name = sql.Identifier(table.schema, table.name)
    if table.condition:
        # As pg_dump asks: the extension's own clause, which may name the table.
        condition = sql.SQL(table.condition)
        return sql.SQL("FROM (SELECT * FROM {} {}) AS r").format(name, condition)
    source = sql.SQL("FROM ONLY {} AS r").format(name)
    if blocks is None:
        return source
    first, end = blocks
    source += sql.SQL(" WHERE r.ctid >= {}::pg_catalog.tid").format(sql.Literal(f"({first},0)"))
    if end is not None:
        source += sql.SQL(" AND r.ctid < {}::pg_catalog.tid").format(sql.Literal(f"({end},0)"))
    return source


def row_hash(columns: Sequence[ColumnInspection], form: Form) -> sql.Composable:
    """Return the expression that hashes one row of the alias ``r`` to 64 bits."""
    if form == "fsb1-text":
        row = sql.SQL("ROW({})::pg_catalog.text").format(sql.SQL(", ").join(_column_list(columns)))
        return sql.SQL("pg_catalog.hashtextextended({}, 0)").format(row)
    items = _column_list([column for column in columns if column.raw])
    others = _column_list([column for column in columns if not column.raw])
    if others:
        items.append(sql.SQL("ROW({})::pg_catalog.text").format(sql.SQL(", ").join(others)))
    return sql.SQL(
        "pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW({}), 0), 0)"
    ).format(sql.SQL(", ").join(items))


def fingerprint_query(
    schema: str,
    name: str,
    columns: Sequence[ColumnInspection],
    form: Form,
    source: sql.Composable | None = None,
) -> sql.Composed:
    """Return the statement that gives a table's count and the sum of its rows' hashes, as text.

    ``source`` is a FROM clause of the alias ``r``; by default all of the table's own rows.
    """
    if source is None:
        source = sql.SQL("FROM ONLY {} AS r").format(sql.Identifier(schema, name))
    value = row_hash(columns, form)
    return sql.SQL(
        "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum({}), 0)::pg_catalog.text {}"
    ).format(value, source)


async def fingerprint_table(
    connection: Connection,
    table: TableInspection,
    columns: Sequence[ColumnInspection] | None = None,
    *,
    method: Method,
    form: Form | None = None,
    blocks: Blocks | None = None,
) -> tuple[int | None, Fingerprint | None, str]:
    """Return a table's exact count, its fingerprint, and why one of them is absent.

    Only the table's own rows: partitions and inheriting tables have their own. ``form`` is the
    one to compare with; by default the faster one. ``blocks`` narrows it to some of a table
    that nobody changes: the sums of all its blocks add up to the table's own. Runs in a
    savepoint that is rolled back, so that the locks on the table's indexes, which planning
    takes, don't pile up.

    Raises:
        psycopg.OperationalError: the session was lost.
    """
    columns = table.columns if columns is None else columns
    note = ""
    if method == "content":
        chosen = form or choose_form(columns)
        statement = fingerprint_query(
            table.schema, table.name, columns, chosen, rows_of(table, blocks)
        )
        try:
            rows, value = await _one_row(connection, statement)
        except psycopg.Error as error:
            if connection.broken or isinstance(error, psycopg.errors.QueryCanceled):
                raise
            note = f"no fingerprint: {_first_line(error)}"
        else:
            return int(str(rows)), Fingerprint(chosen, str(value)), ""
    count = sql.SQL("SELECT pg_catalog.count(*) {}").format(rows_of(table, blocks))
    try:
        (rows,) = await _one_row(connection, count)
    except psycopg.Error as error:
        if connection.broken or isinstance(error, psycopg.errors.QueryCanceled):
            raise
        return None, None, f"not counted: {_first_line(error)}"
    return int(str(rows)), None, note


async def _one_row(connection: Connection, statement: sql.Composed) -> tuple[object, ...]:
    async with connection.transaction(force_rollback=True):
        row = await (await connection.execute(statement)).fetchone()
    return row or ()


def _first_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).splitlines()[0]


async def fingerprint_tables(
    snapshot: SharedSnapshot,
    tables: Sequence[TableInspection] | None = None,
    *,
    method: Method,
    report: Report,
    weights: Mapping[str, float] | None = None,
) -> list[TableCount]:
    """Count every table that the snapshot's counting sessions hold locks on, all beside the dump.

    Each session does its own share, biggest first: by ``weights`` (qualified name to any measure
    of work, say the seconds of last time), else by size. ``tables`` narrows it. A session that
    is lost leaves its tables uncounted, with a note; it never fails the backup.
    """
    wanted = None if tables is None else {table.oid for table in tables}

    def weight(table: TableInspection) -> float:
        known = weights.get(table.qualified) if weights else None
        return known if known is not None else float(table.bytes or 0)

    async def work(connection: Connection, share: Sequence[TableInspection]) -> list[TableCount]:
        chosen = [table for table in share if wanted is None or table.oid in wanted]
        chosen.sort(key=weight, reverse=True)
        return [await _count(connection, table, method, report) for table in chosen]

    tasks = [
        asyncio.create_task(work(counter.connection, counter.tables))
        for counter in snapshot.counters
    ]
    try:
        shares = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    counts = [count for share in shares for count in share]
    return sorted(counts, key=lambda count: (count.table.schema, count.table.name))


async def _count(
    connection: Connection, table: TableInspection, method: Method, report: Report
) -> TableCount:
    started = time.monotonic()
    try:
        rows, fingerprint, note = await fingerprint_table(connection, table, method=method)
    except psycopg.Error as error:
        rows, fingerprint, note = None, None, f"not counted: {_first_line(error)}"
    seconds = time.monotonic() - started
    if rows is not None:
        report(TableDone(table=table.qualified, rows=rows, bytes=None, seconds=seconds))
    return TableCount(table, rows, fingerprint, note, seconds)
