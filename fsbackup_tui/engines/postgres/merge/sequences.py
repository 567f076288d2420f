"""Sequences moved beyond the numbers that were put back: forward only, as they count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.work import MISSING, Work


@dataclass(frozen=True, slots=True)
class _Feeding:
    """A sequence that numbers a column."""

    schema: str
    name: str
    increment: int
    least: int
    most: int
    column: str


async def move_sequences(connection: Connection, works: Sequence[Work]) -> dict[TableName, int]:
    """Move the sequences of the columns that rows were put back into; return those that moved.

    One that must move is locked till the commit, so that it can't go back behind a number that
    somebody draws meanwhile; its move is undone with the transaction.
    """
    moved: dict[TableName, int] = {}
    for work in works:
        if MISSING not in work.classes:
            continue
        for feeding in await _feeding(connection, work.table.oid):
            if feeding.column not in work.inserted_columns:
                continue
            reached = await _reached(connection, work, feeding)
            if reached is None or not await _behind(connection, feeding, reached):
                continue
            position = await _move(connection, feeding, reached)
            if position is not None:
                moved[feeding.schema, feeding.name] = position
    return moved


async def _feeding(connection: Connection, table: int) -> list[_Feeding]:
    rows = await fetch_all(connection, _FEEDING, [table] * 3)
    return [_Feeding(*row) for row in rows]


async def _reached(connection: Connection, work: Work, feeding: _Feeding) -> int | None:
    """Return the last number, in the sequence's direction, among the rows put back."""
    statement = sql.SQL("SELECT {}({}) FROM {} AS i WHERE {} BETWEEN {} AND {}").format(
        sql.SQL("pg_catalog.max" if feeding.increment > 0 else "pg_catalog.min"),
        sql.Identifier("i", feeding.column),
        work.image(MISSING),
        sql.Identifier("i", feeding.column),
        sql.Literal(feeding.least),
        sql.Literal(feeding.most),
    )
    row = await (await connection.execute(statement)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


async def _behind(connection: Connection, feeding: _Feeding, reached: int) -> bool:
    statement = sql.SQL("SELECT last_value, is_called FROM {}").format(
        sql.Identifier(feeding.schema, feeding.name)
    )
    row = await (await connection.execute(statement)).fetchone()
    if row is None:
        return False
    position, called = row
    ahead = reached > position if feeding.increment > 0 else reached < position
    return ahead or (reached == position and not called)


async def _move(connection: Connection, feeding: _Feeding, reached: int) -> int | None:
    name = sql.Identifier(feeding.schema, feeding.name)
    # setval alone locks nobody out; this changes nothing, and waits for who draws from it.
    await connection.execute(
        sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}").format(name, sql.Literal(feeding.increment))
    )
    if not await _behind(connection, feeding, reached):
        return None
    quoted = name.as_string(connection)
    await connection.execute(
        sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {})").format(
            sql.Literal(quoted), sql.Literal(reached)
        )
    )
    return reached


# Owned by a column (serial, identity), or named in its default.
_FEEDING = """
SELECT DISTINCT n.nspname::text, c.relname::text, s.seqincrement, s.seqmin, s.seqmax,
       a.attname::text
FROM (
    SELECT d.objid AS sequence, d.refobjsubid AS attnum
    FROM pg_depend AS d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid::int8 = %s AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    UNION
    SELECT d.refobjid, f.adnum
    FROM pg_attrdef AS f
    JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
         AND d.refclassid = 'pg_class'::regclass
    WHERE f.adrelid::int8 = %s
) AS fed
JOIN pg_sequence AS s ON s.seqrelid = fed.sequence
JOIN pg_class AS c ON c.oid = s.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid::int8 = %s AND a.attnum = fed.attnum
     AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
ORDER BY 1, 2
"""
