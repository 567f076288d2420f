"""A column that live lost, made again as the copy has it and filled by key, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal, UsageError
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.catalogue import Table, read_schema
from fsbackup_tui.engines.postgres.merge.changing import begin_change
from fsbackup_tui.engines.postgres.merge.column_definition import LostColumn, read_definition
from fsbackup_tui.engines.postgres.merge.pairs import Pair, pair_tables
from fsbackup_tui.engines.postgres.merge.refusals import refused
from fsbackup_tui.engines.postgres.merge.staging import Staging
from fsbackup_tui.engines.postgres.merge.switches import find_triggers, switch_off, switch_on
from fsbackup_tui.engines.postgres.merge.transfer import stream
from fsbackup_tui.engines.postgres.merge.work import COMMA, key_operators, match, names, numbered


@dataclass(frozen=True, slots=True)
class ForNewRows:
    """What rows that the copy has not get in the column: a value as text, or its default."""

    value: str | None = None
    by_default: bool = False


@dataclass(frozen=True, slots=True)
class RestoredColumn:
    """What making a column again did: rows with the copy's value, rows without, seconds locked."""

    filled: int
    born_since: int
    locked_seconds: float


async def stage_column(
    copy: Connection, live: Connection, staging: Staging, table: TableName, column: str
) -> LostColumn:
    """Read a lost column's definition from the copy and bring its values over, by key.

    Raises:
        UsageError: the copy has no such column, or live has it.
        SafetyRefusal: the rows can't be told apart by a key, or the column numbers itself.
    """
    theirs, mine = (await read_schema(copy)).tables, (await read_schema(live)).tables
    there, here = theirs.get(table), mine.get(table)
    if there is None or here is None or there.column(column) is None or here.column(column):
        raise UsageError(
            f"NOT LOST: {table[0]}.{table[1]}.{column} is not a column that live lacks.",
            fix="Name a column that the plan lists as drift.",
        )
    pair = pair_tables(there, here)
    if isinstance(pair, str):
        raise SafetyRefusal(
            f"NO KEY: the values of {table[0]}.{table[1]}.{column} can't be brought to their rows.",
            why=pair,
            fix="Bring the column back by hand, from the copy.",
        )
    definition = await read_definition(copy, there, column)
    name = await _free_relation(live, staging)
    await live.execute("SET default_transaction_read_only TO off")
    if definition["generated"] is None:
        await _stage_values(copy, live, staging.relation(name), pair, column, definition)
    filled, born = await _count(live, staging.relation(name), pair, definition)
    return LostColumn(
        table=table,
        column=column,
        key=pair.key,
        staged_in=name,
        filled=filled,
        born_since=born,
        **definition,
    )


async def _free_relation(live: Connection, staging: Staging) -> str:
    rows = await fetch_all(
        live,
        "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname ~ '^column_[0-9]+$'",
        [staging.schema],
    )
    return f"column_{rows[0][0] + 1}"


async def _stage_values(
    copy: Connection,
    live: Connection,
    staged: sql.Identifier,
    pair: Pair,
    column: str,
    definition: dict[str, Any],
) -> None:
    keys = numbered("k", len(pair.key))
    typed = COMMA.join(
        sql.SQL("{} AS {}").format(sql.Identifier("r", name), sql.Identifier(key))
        for name, key in zip(pair.key, keys, strict=True)
    )
    try:
        async with live.transaction():
            await live.execute(
                sql.SQL("CREATE UNLOGGED TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                    staged, typed, pair.live.from_clause("r")
                )
            )
            await live.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN value {}").format(
                    staged, _typed(definition["type"], definition["collation"])
                )
            )
            await stream(
                copy,
                sql.SQL("SELECT {}, {} FROM {}").format(
                    COMMA.join(names(pair.key, "r")),
                    sql.Identifier("r", column),
                    pair.copy.from_clause("r"),
                ),
                live,
                staged,
                binary=False,
                what=f"values of {pair.label}.{column}",
            )
            await live.execute(
                sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(staged, COMMA.join(names(keys)))
            )
            await live.execute(sql.SQL("ANALYZE {}").format(staged))
    except psycopg.errors.UndefinedObject as error:
        raise PostgresError(
            f"TYPE MISSING: live has no type {definition['type']} any more.",
            why=str(error).strip().splitlines()[0],
            fix="Make the type as the copy has it, then bring the column back.",
        ) from error


def _typed(kind: str, collation: tuple[str, str] | None) -> sql.Composable:
    if collation is None:
        return sql.SQL(kind)
    return sql.SQL("{} COLLATE {}").format(sql.SQL(kind), sql.Identifier(*collation))


async def _count(
    live: Connection, staged: sql.Identifier, pair: Pair, definition: dict[str, Any]
) -> tuple[int, int]:
    rows = pair.live.from_clause("r")
    if definition["generated"] is not None:
        cursor = await live.execute(sql.SQL("SELECT pg_catalog.count(*), 0 FROM {}").format(rows))
    else:
        cursor = await live.execute(
            sql.SQL(
                "SELECT pg_catalog.count(d.k1), pg_catalog.count(*) - pg_catalog.count(d.k1)"
                " FROM {} LEFT JOIN {} AS d ON {}"
            ).format(rows, staged, _same_key(pair.live, pair.key))
        )
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _same_key(table: Table, key: tuple[str, ...]) -> sql.Composable:
    return match(key_operators(table, key), names(numbered("k", len(key)), "d"), names(key, "r"))


async def restore_column(
    live: Connection,
    staging: Staging,
    lost: LostColumn,
    *,
    for_new_rows: ForNewRows | None = None,
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> RestoredColumn:
    """Make the column again: type, values, default, NOT NULL, constraints, indexes; or nothing.

    Nobody reads or writes the table meanwhile. ``for_new_rows``: what rows get that the copy has
    not; without it they have NULL, which a NOT NULL column refuses.

    Raises:
        UsageError: there are such rows, and no value for them.
        LockHeld, TableLocked, PostgresError, RightsMissing: nothing was changed.
    """
    try:
        async with live.transaction():
            await begin_change(live)
            restored = await ColumnMaking(live, staging, lost, for_new_rows).run()
            if on_ready is not None:
                await on_ready()
        return restored
    except psycopg.Error as error:
        raise refused(error, staging.schema) from error


class ColumnMaking:
    """A column on its way back, inside the caller's transaction.

    ``add`` brings its values, ``dress`` what it had of its own, ``refer`` its foreign keys: other
    things that come back may have to be there before each.
    """

    def __init__(
        self, live: Connection, staging: Staging, lost: LostColumn, for_new: ForNewRows | None
    ) -> None:
        self._live = live
        self._lost = lost
        self._for_new = for_new
        self._staged = staging.relation(lost.staged_in)
        self._name = sql.Identifier(*lost.table)
        self._column = sql.Identifier(lost.column)

    async def run(self) -> RestoredColumn:
        """Do all three."""
        started = time.monotonic()
        restored = await self.add()
        await self.dress()
        await self.refer()
        return replace(restored, locked_seconds=time.monotonic() - started)

    async def add(self) -> RestoredColumn:
        """Add the column and fill it, the table's triggers off meanwhile."""
        lost = self._lost
        started = time.monotonic()
        await self._live.execute(
            sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(self._name)
        )
        table = (await read_schema(self._live)).tables.get(lost.table)
        if table is None:
            raise PostgresError(
                f"TABLE GONE: {lost.table[0]}.{lost.table[1]} is not there any more."
            )
        triggers = await find_triggers(self._live, [table.oid])
        await switch_off(self._live, triggers)
        typed = _typed(lost.type, lost.collation)
        if lost.generated is not None:
            typed = sql.SQL("{} GENERATED ALWAYS AS {}").format(typed, sql.SQL(lost.generated))
        await self._alter(sql.SQL("ADD COLUMN {} {}").format(self._column, typed))
        filled, born = lost.filled, 0
        if lost.generated is None:
            filled, born = await self._fill(table)
        await self._live.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await switch_on(self._live, triggers, [table.oid])
        return RestoredColumn(filled, born, time.monotonic() - started)

    async def _alter(self, what: sql.Composable) -> None:
        await self._live.execute(sql.SQL("ALTER TABLE {} {}").format(self._name, what))

    async def _fill(self, table: Table) -> tuple[int, int]:
        """Give the rows their values; return how many have the copy's, and how many none."""
        lost = self._lost
        same = _same_key(table, lost.key)
        rows = table.from_clause("r")
        counted = await self._live.execute(
            sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(self._staged)
        )
        if (await counted.fetchone() or (0,))[0] < lost.filled:
            raise PostgresError(
                f"STAGED VALUES LOST: {lost.label} has not all that was staged.",
                why="A crash of the server empties unlogged tables.",
                fix="Stage the column again.",
            )
        filled = await self._live.execute(
            sql.SQL("UPDATE {} SET {} = d.value FROM {} AS d WHERE {}").format(
                rows, self._column, self._staged, same
            )
        )
        born = sql.SQL("NOT EXISTS (SELECT FROM {} AS d WHERE {})").format(self._staged, same)
        cursor = await self._live.execute(
            sql.SQL("SELECT pg_catalog.count(*) FROM {} WHERE {}").format(rows, born)
        )
        row = await cursor.fetchone()
        count = int(row[0]) if row else 0
        value = self._value_for_new()
        if count and value is None and lost.not_null:
            raise UsageError(
                f"VALUE NEEDED: {count} rows of {lost.table[0]}.{lost.table[1]} came since, and "
                f"{lost.column} is NOT NULL.",
                why="The copy has no value for rows that it has not.",
                fix="Give the value that these rows shall have, or choose its default.",
            )
        if count and value is not None:
            await self._live.execute(
                sql.SQL("UPDATE {} SET {} = {} WHERE {}").format(rows, self._column, value, born)
            )
        return filled.rowcount, count

    def _value_for_new(self) -> sql.Composable | None:
        if self._for_new is None:
            return None
        if self._for_new.by_default:
            return None if self._lost.default is None else sql.SQL(self._lost.default)
        return None if self._for_new.value is None else sql.Literal(self._for_new.value)

    async def dress(self) -> None:
        """Add what the column had beside its values, but for foreign keys."""
        lost = self._lost
        if lost.default is not None:
            default = sql.SQL(lost.default)
            await self._alter(
                sql.SQL("ALTER COLUMN {} SET DEFAULT {}").format(self._column, default)
            )
        if lost.not_null:
            await self._alter(sql.SQL("ALTER COLUMN {} SET NOT NULL").format(self._column))
        for name, definition in lost.constraints:
            if not _is_foreign_key(definition):
                await self._constrain(name, definition)
        for _name, index in lost.indexes:
            await self._live.execute(sql.SQL(index))
        if lost.comment is not None:
            await self._live.execute(
                sql.SQL("COMMENT ON COLUMN {} IS {}").format(
                    sql.Identifier(*lost.table, lost.column), sql.Literal(lost.comment)
                )
            )

    async def refer(self) -> None:
        """Add the column's foreign keys."""
        for name, definition in self._lost.constraints:
            if _is_foreign_key(definition):
                await self._constrain(name, definition)

    async def _constrain(self, name: str, definition: str) -> None:
        await self._alter(
            sql.SQL("ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(definition))
        )


def _is_foreign_key(definition: str) -> bool:
    return definition.startswith("FOREIGN KEY")


async def drop_column(live: Connection, staging: Staging, lost: LostColumn) -> int:
    """Undo ``restore_column``: keep all the column's values in the staging schema, and drop it.

    Returns how many rows had one. Nothing goes with it but what was made with it: if anything
    else uses the column by now, the server refuses.

    Raises:
        LockHeld, TableLocked, PostgresError, RightsMissing: nothing was changed.
    """
    try:
        async with live.transaction():
            await begin_change(live)
            return await take_column_away(live, staging, lost)
    except psycopg.Error as error:
        raise refused(error, staging.schema) from error


async def take_column_away(live: Connection, staging: Staging, lost: LostColumn) -> int:
    """Do what ``drop_column`` does, inside the caller's transaction."""
    name, column = sql.Identifier(*lost.table), sql.Identifier(lost.column)
    kept = staging.relation(await _free_relation(live, staging))
    persistence = sql.SQL("" if staging.crash_safe else "UNLOGGED")
    await live.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
    table = (await read_schema(live)).tables.get(lost.table)
    rows = table.from_clause("r") if table is not None else name
    columns = COMMA.join(
        sql.SQL("{} AS {}").format(sql.Identifier("r", key), sql.Identifier(new))
        for key, new in zip(lost.key, numbered("k", len(lost.key)), strict=True)
    )
    cursor = await live.execute(
        sql.SQL("CREATE {} TABLE {} AS SELECT {}, {} AS value FROM {}").format(
            persistence, kept, columns, sql.Identifier("r", lost.column), rows
        )
    )
    await live.execute(sql.SQL("ALTER TABLE {} DROP COLUMN {} RESTRICT").format(name, column))
    return cursor.rowcount
