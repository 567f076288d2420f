"""VACUUM (ANALYZE) of a whole copy, on several sessions, the largest tables first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.engines.postgres.connection import Connection

_TABLES = """
SELECT n.nspname::text, c.relname::text, c.relkind = 'p', pg_catalog.pg_table_size(c.oid)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_toast'
  AND NOT c.relisshared
  AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s::text[]))
ORDER BY 4 DESC, 1, 2
"""


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    partitioned: bool
    bytes: int


async def vacuum_analyze(
    open_connection: Callable[[], Awaitable[Connection]],
    *,
    jobs: int,
    report: Report | None = None,
    freeze: bool = False,
    schemas: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Vacuum and analyse every table, its database's catalogue too; returns what failed.

    ``open_connection`` gives autocommit sessions in the copy, which are closed here. Without
    statistics the first queries on a restored database take bad plans; without VACUUM they
    write every page they read. With ``freeze`` nothing is left for autovacuum to do, either.
    ``schemas`` narrows it.
    """
    connections = [await open_connection()]
    try:
        cursor = await connections[0].execute(
            _TABLES, {"schemas": None if schemas is None else list(schemas)}
        )
        tables = [_Table(*row) for row in await cursor.fetchall()]
        while len(connections) < min(max(1, jobs), len(tables)):
            connections.append(await open_connection())
        return await _vacuum_all(connections, tables, report, freeze=freeze)
    finally:
        for connection in connections:
            await connection.close()


async def _vacuum_all(
    connections: list[Connection], tables: list[_Table], report: Report | None, *, freeze: bool
) -> tuple[str, ...]:
    problems: list[str] = []
    waiting = iter(tables)
    total = float(sum(table.bytes for table in tables)) or 1.0
    done = 0.0
    options = "FREEZE, ANALYZE" if freeze else "ANALYZE"

    async def work(connection: Connection) -> None:
        nonlocal done
        for table in waiting:
            name = f"{table.schema}.{table.name}"
            # A partitioned table has no rows of its own: its partitions are vacuumed themselves.
            verb = sql.SQL("ANALYZE {}" if table.partitioned else f"VACUUM ({options}) {{}}")
            try:
                await connection.execute(verb.format(sql.Identifier(table.schema, table.name)))
            except psycopg.errors.InsufficientPrivilege:
                continue
            except psycopg.Error as error:
                problems.append(f"{name}: {str(error).strip().splitlines()[0]}")
            done += table.bytes
            if report is not None and table.bytes > total / 100:
                report(Progress(done, total, "bytes", f"VACUUM ({options}) {name}"))

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    return tuple(problems)
