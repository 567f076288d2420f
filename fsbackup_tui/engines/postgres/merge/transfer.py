"""Rows streamed out of one database into another, with the count checked on both sides."""

from __future__ import annotations

from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.connection import Connection

_BATCH_BYTES = 1 << 16

# Types whose binary form is the same on every server and carries no OID of a database: bool,
# bytea, the integers, text, json, floats, inet, cidr, bpchar, varchar, date, time, timestamps,
# interval, timetz, numeric, uuid, jsonb, and arrays of int4, int8, text, uuid.
BINARY_TYPES = frozenset(
    {16, 17, 20, 21, 23, 25, 114, 650, 700, 701, 869, 1007, 1009, 1016, 1042, 1043}
    | {1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950, 2951, 3802}
)


async def stream(
    source: Connection,
    query: sql.Composable,
    target: Connection,
    table: sql.Composable,
    *,
    binary: bool,
    what: str,
) -> int:
    """Copy the rows of ``query`` into ``table``, in bounded memory; return how many there were.

    ``table`` may carry a column list. ``what`` names the rows in the error.

    Raises:
        PostgresError: not as many rows arrived as were sent.
    """
    form = sql.SQL("(FORMAT binary)" if binary else "(FORMAT text)")
    reading, writing = source.cursor(), target.cursor()
    async with (
        reading.copy(sql.SQL("COPY ({}) TO STDOUT {}").format(query, form)) as rows,
        writing.copy(sql.SQL("COPY {} FROM STDIN {}").format(table, form)) as sink,
    ):
        batch = bytearray()
        async for row in rows:
            # Row by row takes nearly twice as long.
            batch += row
            if len(batch) >= _BATCH_BYTES:
                await sink.write(bytes(batch))
                batch.clear()
        if batch:
            await sink.write(bytes(batch))
    if reading.rowcount != writing.rowcount:
        raise PostgresError(
            f"ROWS LOST ON THE WAY: {what}: {reading.rowcount} were sent, "
            f"{writing.rowcount} arrived.",
            fix="Stage the differences again.",
        )
    return writing.rowcount
