"""A table that live lost, made again as the copy has it, with all its rows, or not at all."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, UsageError
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.applying import begin_change
from fsbackup_tui.engines.postgres.merge.catalogue import Table, read_schema
from fsbackup_tui.engines.postgres.merge.refusals import refused
from fsbackup_tui.engines.postgres.merge.staging import Staging
from fsbackup_tui.engines.postgres.merge.transfer import stream
from fsbackup_tui.engines.postgres.merge.work import COMMA, names
from fsbackup_tui.engines.process import Command, run

_FIRST_ENTRY = "--\n-- Name: "
_END = "\n--\n-- PostgreSQL database dump complete"
_SESSION_SETTING = re.compile(r"^SET (?=default_)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LostTable:
    """A table's definition in the copy, as pg_dump writes it, before and after its rows.

    ``keys`` are the foreign keys by which others referred to it (table, name, definition);
    ``sequences`` those that it owns (name, last value, whether it was given out); ``others`` used
    it, went with it, and are left to a person.
    """

    table: TableName
    definition: Table
    before: str
    after: str
    keys: tuple[tuple[TableName, str, str], ...]
    sequences: tuple[tuple[TableName, int, bool], ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoredTable:
    """What making a table again did; ``keys_lacking`` could not be made again, and why."""

    rows: int
    keys: tuple[str, ...]
    keys_lacking: tuple[tuple[str, str], ...]
    seconds: float


async def read_lost_table(
    copy: Connection,
    live: Connection,
    table: TableName,
    *,
    client: ClientTools,
    environment: Mapping[str, str],
    directory: Path,
) -> LostTable:
    """Read how the copy defines a table that live has not, its partitions included.

    ``environment`` lets the client reach the copy (``client_environment``); two files are written
    into ``directory`` and removed.

    Raises:
        UsageError: the copy has no such table, or live has one.
        ToolError: pg_dump failed.
    """
    theirs = (await read_schema(copy)).tables
    if table not in theirs or table in (await read_schema(live)).tables:
        raise UsageError(
            f"NOT LOST: {table[0]}.{table[1]} is not a table that live lacks.",
            fix="Name a table that the plan lists as drift.",
        )
    definition = theirs[table]
    tree = await fetch_all(copy, _TREE, [definition.oid, definition.oid])
    parts = [
        await _dump(client, environment, directory, section, [(s, t) for _oid, s, t in tree])
        for section in ("pre-data", "post-data")
    ]
    oids = [oid for oid, _schema, _name in tree]
    keys = await fetch_all(copy, _KEYS, [oids, oids])
    sequences: list[tuple[TableName, int, bool]] = []
    for schema, name in await fetch_all(copy, _SEQUENCES, [oids]):
        statement = sql.SQL("SELECT last_value, is_called FROM {}")
        cursor = await copy.execute(statement.format(sql.Identifier(schema, name)))
        for position, called in await cursor.fetchall():
            sequences.append(((schema, name), position, called))
    return LostTable(
        table,
        definition,
        parts[0],
        parts[1],
        tuple(((schema, child), name, text) for schema, child, name, text in keys),
        tuple(sequences),
        tuple(row[0] for row in await fetch_all(copy, _OTHERS, [oids])),
    )


async def _dump(
    client: ClientTools,
    environment: Mapping[str, str],
    directory: Path,
    section: str,
    tables: Sequence[TableName],
) -> str:
    """Return the entries of a section, without what pg_dump sets for its own session."""
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


async def restore_table(
    copy: Connection,
    live: Connection,
    staging: Staging,
    lost: LostTable,
    *,
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> RestoredTable:
    """Make the table in live as it was: definition, rows, indexes, triggers, sequences' positions.

    Foreign keys of others that don't hold any more are not made, and listed. All in one
    transaction.

    Raises:
        LockHeld, TableLocked, PostgresError, RightsMissing: nothing was changed.
    """
    started = time.monotonic()
    try:
        async with live.transaction():
            await begin_change(live)
            await _execute(live, lost.before)
            rows = await _fill(copy, live, lost.definition)
            for name, position, called in lost.sequences:
                await _set_sequence(live, name, position, called=called)
            await _execute(live, lost.after)
            made, lacking = await _refer_again(live, lost)
            await live.execute(
                sql.SQL("ANALYZE {}").format(sql.Identifier(*lost.definition.full_name))
            )
            if on_ready is not None:
                await on_ready()
    except psycopg.Error as error:
        raise refused(error, staging.schema) from error
    return RestoredTable(rows, made, lacking, time.monotonic() - started)


async def _execute(live: Connection, script: str) -> None:
    if script:
        await live.execute(script.encode())


async def _fill(copy: Connection, live: Connection, table: Table) -> int:
    columns = [column.name for column in table.stored]
    name = sql.Identifier(table.schema, table.name)
    return await stream(
        copy,
        sql.SQL("SELECT {} FROM {}").format(
            COMMA.join(names(columns, "r")), table.from_clause("r")
        ),
        live,
        sql.SQL("{} ({})").format(name, COMMA.join(names(columns))),
        binary=False,
        what=f"rows of {table.schema}.{table.name}",
    )


async def _set_sequence(live: Connection, name: TableName, position: int, *, called: bool) -> None:
    quoted = sql.Literal(sql.Identifier(*name).as_string(live))
    await live.execute(
        sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {}, {})").format(
            quoted, sql.Literal(position), sql.Literal(called)
        )
    )


async def _refer_again(
    live: Connection, lost: LostTable
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    made: list[str] = []
    lacking: list[tuple[str, str]] = []
    for child, name, definition in lost.keys:
        label = f"{child[0]}.{child[1]}: {name}"
        try:
            async with live.transaction():
                await live.execute(
                    sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                        sql.Identifier(*child), sql.Identifier(name), sql.SQL(definition)
                    )
                )
        except (psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            lacking.append((label, str(error).strip().splitlines()[0]))
        else:
            made.append(label)
    return tuple(made), tuple(lacking)


async def remove_restored_table(live: Connection, staging: Staging, lost: LostTable) -> None:
    """Undo ``restore_table``: move the table, with all its rows, into the staging schema.

    The foreign keys that were made again are dropped; nothing else.

    Raises:
        LockHeld, TableLocked, PostgresError, RightsMissing: nothing was changed.
    """
    table = (await read_schema(live)).tables.get(lost.table)
    if table is None:
        raise PostgresError(f"TABLE GONE: {lost.table[0]}.{lost.table[1]} is not there any more.")
    name = sql.Identifier(*lost.table)
    try:
        async with live.transaction():
            await begin_change(live)
            for schema, child, key, _definition in await fetch_all(
                live, _KEYS, [[table.oid], [table.oid]]
            ):
                await live.execute(
                    sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                        sql.Identifier(schema, child), sql.Identifier(key)
                    )
                )
            await live.execute(
                sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(name, sql.Identifier(staging.schema))
            )
    except psycopg.Error as error:
        raise refused(error, staging.schema) from error


_TREE = """
SELECT c.oid::int8, n.nspname::text, c.relname::text
FROM (SELECT relid FROM pg_partition_tree(%s::int8::oid::regclass)
      UNION SELECT %s::int8::oid::regclass) AS t
JOIN pg_class AS c ON c.oid = t.relid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY 1
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
