"""Counting what was written to the restored database since it became live: what a rollback parks.

The server counts rows by table; where its statistics were lost since (a crash does that), the
tables that are small enough are counted themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import Log, format_time, parse_time
from fsbackup_tui.domain.written import TableWritten, WrittenSince
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.table_counters import (
    TableCount,
    TableCounters,
    exact_rows,
    parse_table_counters,
    settled_table_counters,
)
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.recovery_requests import WrittenSinceRequest
from fsbackup_tui.operations.target import admin_address, check_target, source_address

_SETTLE_SECONDS = 13.0  # a session that goes idle tells the last it wrote after ten
_COUNTED_BYTES = 64 * 10**6


async def run(request: WrittenSinceRequest, context: JobContext) -> dict[str, object]:
    """Return the document of a WrittenSince: rows by table since ``counters`` were taken.

    Raises:
        UsageError: the swap told no counters.
        IdentityMismatch: the server, or the live database, is another now.
        PostgresError: nobody can get in, as everybody is frozen out.
    """
    context.stage("count")
    try:
        before = parse_table_counters(request.counters)
    except ValueError as error:
        raise UsageError(
            "NOT COUNTED: the swap told no counters to compare with.",
            why=str(error),
            fix="Compare the rows themselves: fsbackup recover offers them for a merge.",
        ) from error
    admin = await admin_address(context.loaded, context.environment, context.redactor, request.part)
    live = await source_address(
        context.loaded,
        context.environment,
        context.redactor,
        request.part,
        database=request.database,
    )
    with plain_errors(admin):
        async with await connect(admin, application_name=context.application_name) as maintenance:
            check_target(request.target, await read_identity(maintenance, admin))
        connection = await connect(
            admin.with_database(live.database),
            application_name=context.application_name,
            database_oid=request.live_oid or before.database_oid,
        )
        async with connection:
            now, pending = await settled_table_counters(
                connection, format_time(context.now()), limit_seconds=_SETTLE_SECONDS
            )
            at = context.now()  # busy sessions are waited for, and counted meanwhile
            if request.schemas:
                now = replace(now, tables=_of_schemas(now.tables, request.schemas))
            tables, notes = await _written(connection, before, now)
    if pending:
        notes.append(f"{pending} sessions are at work: what they wrote last may not be counted yet")
    written = WrittenSince(parse_time(before.at), at, tuple(tables), "; ".join(notes))
    context.report(Log(f"{written.rows} rows written in {len(tables)} tables since {before.at}"))
    return {"ok": True, **plain(written), "rows": written.rows}


def _of_schemas(tables: Mapping[int, TableCount], schemas: Sequence[str]) -> dict[int, TableCount]:
    starts = tuple(f"{schema}." for schema in schemas)
    return {oid: table for oid, table in tables.items() if table.name.startswith(starts)}


async def _written(
    connection: Connection, before: TableCounters, now: TableCounters
) -> tuple[list[TableWritten], list[str]]:
    lost = now.resets != before.resets or any(
        _fell(table, now.tables[oid]) for oid, table in before.tables.items() if oid in now.tables
    )
    if lost:
        return await _by_counting(connection, before, now)
    tables = [
        TableWritten(
            table.name,
            table.inserted - _then(before, oid).inserted,
            table.updated - _then(before, oid).updated,
            table.deleted - _then(before, oid).deleted,
        )
        for oid, table in now.tables.items()
    ]
    gone = [table.name for oid, table in before.tables.items() if oid not in now.tables]
    notes = [f"dropped since, or made anew: {', '.join(sorted(gone))}"] if gone else []
    tables += [TableWritten(name, None, None, None) for name in gone]
    return _that_changed(tables), notes


async def _by_counting(
    connection: Connection, before: TableCounters, now: TableCounters
) -> tuple[list[TableWritten], list[str]]:
    """Tell by how many rows each table grew or shrank, since nothing tells what was written."""
    tables = []
    for oid in sorted(before.tables.keys() | now.tables.keys()):
        table = now.tables.get(oid) or before.tables[oid]
        rows = await exact_rows(connection, oid, most_bytes=_COUNTED_BYTES)
        if rows is None:
            tables.append(TableWritten(table.name, None, None, None))
            continue
        more = rows - _then(before, oid).rows
        tables.append(TableWritten(table.name, max(0, more), None, max(0, -more)))
    note = (
        "the server's statistics were lost since (a crash or a reset): rows are the difference in "
        "number to what each table held, updates are not known, nor are tables beyond "
        f"{_COUNTED_BYTES // 10**6} MB"
    )
    return _that_changed(tables), [note]


def _that_changed(tables: list[TableWritten]) -> list[TableWritten]:
    kept = [
        table
        for table in tables
        if table.inserted is None or table.inserted or table.updated or table.deleted
    ]
    return sorted(kept, key=lambda table: table.table)


def _then(before: TableCounters, oid: int) -> TableCount:
    return before.tables.get(oid) or TableCount("", 0, 0, 0, 0)


def _fell(then: TableCount, now: TableCount) -> bool:
    return now.inserted < then.inserted or now.updated < then.updated or now.deleted < then.deleted
