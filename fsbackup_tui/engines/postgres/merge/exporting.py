"""The rows that only live has, written into CSV files before anything happens to them."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import words_of
from fsbackup_tui.engines.postgres.merge.catalogue import Schema
from fsbackup_tui.engines.postgres.merge.staging import StagedTable, Staging
from fsbackup_tui.engines.postgres.merge.work import (
    COMMA,
    ONLY_IN_LIVE,
    key_operators,
    match,
    names,
    numbered,
    rows_of,
)


async def export_only_live(
    live: Connection, schema: Schema, staging: Staging, staged: StagedTable, target: Path
) -> int:
    """Write the rows of a table that the copy has not into a CSV file; returns how many.

    The file (0600, with a line of names) is new, and on the disk when this returns. Rows that
    are gone since they were staged are not in it.

    Raises:
        PostgresError: the table is gone, has no key any more, or the server refuses.
    """
    table = schema.tables.get(staged.full_name)
    if table is None:
        raise PostgresError(
            f"NOT EXPORTED: {staged.schema}.{staged.name} is not in live any more.",
            fix="Stage the differences again.",
        )
    keys = numbered("k", len(staged.key))
    query = sql.SQL("SELECT {} FROM {} AS d JOIN {} ON {} WHERE d.class = {} ORDER BY d.id").format(
        COMMA.join(names([column.name for column in table.columns], "r")),
        staging.relation(staged.rows),
        rows_of(table, "r", staged.key, staged.columns, whole_rows=staged.whole_rows),
        match(
            key_operators(table, staged.key, whole_rows=staged.whole_rows),
            names(keys, "d"),
            names(staged.key, "r"),
        ),
        sql.Literal(ONLY_IN_LIVE),
    )
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(query)
    try:
        return await _write(live, statement, target)
    except psycopg.Error as error:
        if live.broken:
            raise
        raise PostgresError(
            f"NOT EXPORTED: {staged.schema}.{staged.name}.",
            why=words_of(error),
            fix="Mend what the server names, then export again.",
        ) from error


async def _write(live: Connection, statement: sql.Composed, target: Path) -> int:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        cursor = live.cursor()
        async with cursor.copy(statement) as rows:
            async for block in rows:
                file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return cursor.rowcount
