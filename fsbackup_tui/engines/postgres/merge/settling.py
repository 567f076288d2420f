"""What follows a merge outside of its transaction: the planner learns of the rows."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.engines.postgres.connection import Connection


async def analyze_tables(live: Connection, tables: Iterable[TableName]) -> tuple[str, ...]:
    """ANALYZE the tables; return what the server had against it, a line for each."""
    problems: list[str] = []
    for table in sorted(set(tables)):
        try:
            await live.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))
        except psycopg.Error as error:
            problems.append(f"{table[0]}.{table[1]}: {str(error).strip().splitlines()[0]}")
    return tuple(problems)
