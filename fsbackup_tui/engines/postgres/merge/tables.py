"""Tables that live lost, made again as the copy has them, with all their rows, or not at all."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, UsageError
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.catalogue import Table, read_schema
from fsbackup_tui.engines.postgres.merge.changing import begin_change
from fsbackup_tui.engines.postgres.merge.refusals import refused
from fsbackup_tui.engines.postgres.merge.staging import Staging
from fsbackup_tui.engines.postgres.merge.transfer import stream
from fsbackup_tui.engines.postgres.merge.work import COMMA, names
from fsbackup_tui.engines.process import Command, run

_FIRST_ENTRY = "--\n-- Name: "
_END = "\n--\n-- PostgreSQL database dump complete"
_SESSION_SETTING = re.compile(r"^SET (?=default_)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LostTables:
    """The definitions of lost tables and views, as pg_dump writes them, to be made again together.

    ``before`` and ``after`` are the tables' own entries, before and after their rows;
    ``views`` and ``after_views`` those of the views. ``keys`` are the foreign keys by which others
    referred to the tables (table, name, definition); ``sequences`` those that they own (name, last
    value, whether it was given out); ``others`` used them, went with them, and are left to a
    person.
    """

    tables: tuple[TableName, ...]
    before: str
    after: str
    keys: tuple[tuple[TableName, str, str], ...]
    sequences: tuple[tuple[TableName, int, bool], ...]
    others: tuple[str, ...]
    view_names: tuple[TableName, ...] = ()
    views: str = ""
    after_views: str = ""


@dataclass(frozen=True, slots=True)
class RestoredTables:
    """What making tables again did: rows by table; ``keys_lacking`` could not be made, and why."""

    rows: Mapping[TableName, int]
    keys: tuple[str, ...]
    keys_lacking: tuple[tuple[str, str], ...]
    seconds: float


async def read_lost_tables(
    copy: Connection,
    live: Connection,
    tables: Sequence[TableName],
    *,
    views: Sequence[TableName] = (),
    client: ClientTools,
    environment: Mapping[str, str],
    directory: Path,
) -> LostTables:
    """Read how the copy defines tables and views that live has not, partitions included.

    ``environment`` lets the client reach the copy (``client_environment``); files are written
    into ``directory`` and removed.

    Raises:
        UsageError: the copy has no such table, or live has one.
        ToolError: pg_dump failed.
    """
    theirs, mine = (await read_schema(copy)).tables, (await read_schema(live)).tables
    for table in tables:
        if table not in theirs or table in mine:
            raise UsageError(
                f"NOT LOST: {table[0]}.{table[1]} is not a table that live lacks.",
                fix="Name a table that the plan lists as drift.",
            )
    oids, dumped = await _with_partitions(copy, [theirs[table].oid for table in tables])
    dump = partial(_dump, client, environment, directory)
    sequences: list[tuple[TableName, int, bool]] = []
    for schema, name in await fetch_all(copy, _SEQUENCES, [oids]):
        statement = sql.SQL("SELECT last_value, is_called FROM {}")
        cursor = await copy.execute(statement.format(sql.Identifier(schema, name)))
        for position, called in await cursor.fetchall():
            sequences.append(((schema, name), position, called))
    return LostTables(
        tuple(tables),
        await dump("pre-data", dumped),
        await dump("post-data", dumped),
        await _keys_to(copy, oids),
        tuple(sequences),
        tuple(row[0] for row in await fetch_all(copy, _OTHERS, [oids])),
        tuple(views),
        await dump("pre-data", views),
        await dump("post-data", views),
    )


@dataclass(frozen=True, slots=True)
class DescribedTable:
    """What can be told of a lost table: its rows, who referred to it, what else used it."""

    rows: int
    keys: tuple[tuple[TableName, str, str], ...]
    others: tuple[str, ...]


async def describe_lost_table(copy: Connection, table: Table) -> DescribedTable:
    """Return what the copy's catalogue and a count tell of a table."""
    oids, _names = await _with_partitions(copy, [table.oid])
    statement = sql.SQL("SELECT pg_catalog.count(*) FROM {}")
    row = await (await copy.execute(statement.format(table.from_clause("r")))).fetchone()
    return DescribedTable(
        int(row[0]) if row else 0,
        await _keys_to(copy, oids),
        tuple(each[0] for each in await fetch_all(copy, _OTHERS, [oids])),
    )


async def _keys_to(
    connection: Connection, oids: Sequence[int]
) -> tuple[tuple[TableName, str, str], ...]:
    """Return the foreign keys of other tables that refer to these."""
    found = await fetch_all(connection, _KEYS, [oids, oids])
    return tuple(((schema, child), name, text) for schema, child, name, text in found)


async def _with_partitions(
    connection: Connection, oids: Sequence[int]
) -> tuple[list[int], list[TableName]]:
    """Return the tables and their partitions, each after what it is a part of."""
    rows = await fetch_all(connection, _TREE, [list(oids), list(oids)])
    return [oid for oid, _schema, _name in rows], [(schema, name) for _oid, schema, name in rows]


async def _dump(
    client: ClientTools,
    environment: Mapping[str, str],
    directory: Path,
    section: str,
    tables: Sequence[TableName],
) -> str:
    """Return the entries of a section, without what pg_dump sets for its own session."""
    if not tables:
        return ""
    target = directory / f"{section}.sql"
    argv = [client.tool("pg_dump"), "--no-password", "--no-sync", f"--section={section}"]
    argv += [f"--table={_quoted(schema)}.{_quoted(name)}" for schema, name in tables]
    try:
        await run(Command((*argv, f"--file={target}"), env={**client.env, **environment}))
        text = target.read_text(encoding="utf-8")
    finally:
        target.unlink(missing_ok=True)
    start, end = text.find(_FIRST_ENTRY), text.rfind(_END)
    return "" if start < 0 else _SESSION_SETTING.sub("SET LOCAL ", text[start:end])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def restore_tables(
    copy: Connection,
    live: Connection,
    staging: Staging,
    lost: LostTables,
    *,
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> RestoredTables:
    """Make the tables in live as they were: definitions, rows, indexes, triggers, sequences.

    Foreign keys of others that don't hold any more are not made, and listed. All in one
    transaction.

    Raises:
        LockHeld, TableLocked, PostgresError, RightsMissing: nothing was changed.
    """
    started = time.monotonic()
    try:
        async with live.transaction():
            await begin_change(live)
            making = TableMaking(copy, live, lost)
            rows = await making.fill()
            await making.dress()
            made, lacking = await making.be_referred_to()
            if on_ready is not None:
                await on_ready()
    except psycopg.Error as error:
        raise refused(error, staging.schema) from error
    return RestoredTables(rows, made, lacking, time.monotonic() - started)


class TableMaking:
    """Tables and views on their way back, inside the caller's transaction.

    ``fill`` makes them with their rows, ``dress`` adds keys, indexes, triggers, the views,
    ``be_referred_to`` the foreign keys of others: other things that come back may have to be there
    before each.
    """

    def __init__(self, copy: Connection, live: Connection, lost: LostTables) -> None:
        self._copy = copy
        self._live = live
        self._lost = lost

    async def fill(self) -> dict[TableName, int]:
        """Make the tables, and bring their rows; return how many."""
        await self._execute(self._lost.before)
        theirs = (await read_schema(self._copy)).tables
        rows = {name: await self._fill(theirs[name]) for name in self._lost.tables}
        for name, position, called in self._lost.sequences:
            await self._set_sequence(name, position, called=called)
        return rows

    async def dress(self) -> None:
        """Add what stands after the rows in a dump; and the views."""
        for script in (self._lost.after, self._lost.views, self._lost.after_views):
            await self._execute(script)
        for name in self._lost.tables:
            await self._live.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*name)))

    async def _execute(self, script: str) -> None:
        if script:
            await self._live.execute(script.encode())

    async def _fill(self, table: Table) -> int:
        columns = [column.name for column in table.stored]
        name = sql.Identifier(table.schema, table.name)
        return await stream(
            self._copy,
            sql.SQL("SELECT {} FROM {}").format(
                COMMA.join(names(columns, "r")), table.from_clause("r")
            ),
            self._live,
            sql.SQL("{} ({})").format(name, COMMA.join(names(columns))),
            binary=False,
            what=f"rows of {table.schema}.{table.name}",
        )

    async def _set_sequence(self, name: TableName, position: int, *, called: bool) -> None:
        quoted = sql.Literal(sql.Identifier(*name).as_string(self._live))
        await self._live.execute(
            sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {}, {})").format(
                quoted, sql.Literal(position), sql.Literal(called)
            )
        )

    async def be_referred_to(self) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """Add the foreign keys of others; return those made, and those that don't hold any more."""
        made: list[str] = []
        lacking: list[tuple[str, str]] = []
        for child, name, definition in self._lost.keys:
            label = f"{child[0]}.{child[1]}: {name}"
            if await self._is_there(child, name):
                continue  # it came with its own column or table
            try:
                async with self._live.transaction():
                    await self._live.execute(
                        sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                            sql.Identifier(*child), sql.Identifier(name), sql.SQL(definition)
                        )
                    )
            except (psycopg.IntegrityError, psycopg.ProgrammingError) as error:
                lacking.append((label, str(error).strip().splitlines()[0]))
            else:
                made.append(label)
        return tuple(made), tuple(lacking)

    async def _is_there(self, table: TableName, constraint: str) -> bool:
        rows = await fetch_all(self._live, _CONSTRAINT, [*table, constraint])
        return bool(rows)


async def remove_restored_tables(
    live: Connection, staging: Staging, tables: Sequence[TableName]
) -> None:
    """Undo ``restore_tables``: move the tables, with all their rows, into the staging schema.

    The foreign keys that refer to them are dropped; nothing else.

    Raises:
        LockHeld, TableLocked, PostgresError, RightsMissing: nothing was changed.
    """
    try:
        async with live.transaction():
            await begin_change(live)
            await take_tables_away(live, staging, tables)
    except psycopg.Error as error:
        raise refused(error, staging.schema) from error


async def take_tables_away(live: Connection, staging: Staging, tables: Sequence[TableName]) -> None:
    """Do what ``remove_restored_tables`` does, inside the caller's transaction."""
    there = (await read_schema(live)).tables
    for table in tables:
        if table not in there:
            raise PostgresError(f"TABLE GONE: {table[0]}.{table[1]} is not there any more.")
    oids, moving = await _with_partitions(live, [there[table].oid for table in tables])
    for child, key, _definition in await _keys_to(live, oids):
        await live.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                sql.Identifier(*child), sql.Identifier(key)
            )
        )
    for table in moving:
        await live.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                sql.Identifier(*table), sql.Identifier(staging.schema)
            )
        )


_TREE = """
SELECT c.oid::int8, n.nspname::text, c.relname::text
FROM (SELECT t.relid, t.level FROM unnest(%s::int8[]) AS o, pg_partition_tree(o::oid::regclass) AS t
      UNION SELECT o::oid::regclass, 0 FROM unnest(%s::int8[]) AS o) AS t
JOIN pg_class AS c ON c.oid = t.relid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
GROUP BY 1, 2, 3
ORDER BY min(t.level), 1
"""
_CONSTRAINT = """
SELECT 1 FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND k.conname = %s
"""
_KEYS = """
SELECT n.nspname::text, r.relname::text, c.conname::text, pg_get_constraintdef(c.oid)
FROM pg_constraint AS c
JOIN pg_class AS r ON r.oid = c.conrelid
JOIN pg_namespace AS n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid::int8 = ANY (%s)
  AND NOT c.conrelid::int8 = ANY (%s)
ORDER BY 1, 2, 3
"""
_SEQUENCES = """
SELECT n.nspname::text, c.relname::text
FROM pg_depend AS d
JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid::int8 = ANY (%s) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
ORDER BY 1, 2
"""
_OTHERS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_depend AS d
JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid::int8 = ANY (%s)
  AND NOT w.ev_class = d.refobjid
ORDER BY 1
"""
