"""A question of the site's own, answered as text by a transaction that can change nothing."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import words_of
from fsbackup_tui.engines.postgres.search_path import set_search_path

_CURSOR = "fsbackup_question"


@dataclass(frozen=True, slots=True)
class Answer:
    """The first rows, each value as PostgreSQL writes it (None: NULL), and whether there are more.

    Columns may bear the same name.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    more: bool


async def ask(
    connection: Connection, statement: str, *, search_path: str, at_most: int, seconds: float
) -> Answer:
    """Return what one reading statement answers; it is declared as a cursor, and rolled back.

    Raises:
        PostgresError: the server refuses it, or did not answer in time.
    """
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SET LOCAL transaction_read_only = on")
            await connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(
                    sql.Literal(max(1, round(seconds * 1000)))
                )
            )
            await set_search_path(connection, search_path)
            async with connection.cursor(name=_CURSOR) as declared:
                # The extended protocol takes one statement alone, and a cursor only what reads.
                await declared.execute(statement.encode())
                fetched = await connection.execute(
                    f"FETCH FORWARD {at_most + 1} FROM {_CURSOR}".encode()
                )
                return _answer(fetched, at_most)
    except psycopg.Error as error:
        if connection.broken:
            raise
        timed_out = isinstance(error, psycopg.errors.QueryCanceled)
        raise PostgresError(
            "NO ANSWER: the question of the configuration was not answered.",
            why=f"It took longer than {seconds:g} s." if timed_out else words_of(error),
            fix="Make it faster, or narrower."
            if timed_out
            else "Mend its SQL: it must be one statement that only reads.",
        ) from error


def _answer(fetched: psycopg.AsyncCursor[tuple[object, ...]], at_most: int) -> Answer:
    result = fetched.pgresult
    if result is None:
        return Answer((), (), more=False)
    columns = tuple(
        (result.fname(number) or b"").decode("utf-8", "replace") for number in range(result.nfields)
    )
    rows = tuple(
        tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
        for row in range(min(at_most, result.ntuples))
    )
    return Answer(columns, rows, more=result.ntuples > at_most)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
