"""Reading what the rows of a column say of files: streamed, without a cast of anybody's making.

Values come as the server writes them, from a cursor in a transaction or savepoint of its own,
which only reads. A column that is an array, or JSON, names as many files as it has elements.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.links import LinkRule
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.search_path import DEFAULT_SEARCH_PATH, set_search_path

BATCH = 5000
"""Rows that are in memory at a time."""

_CURSOR = "fsbackup_links"
_READABLE = "rpvm"
_JSON = frozenset({"json", "jsonb"})

Values = Mapping[str, str | None]

# What a counting session has switched off would make a view slow; all rows are wanted.
_AS_USUAL = """
SET LOCAL transaction_read_only = on; SET LOCAL enable_indexscan = on;
SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on;
SET LOCAL cursor_tuple_fraction = 1
"""


class LinkUnreadable(FsbackupError):
    """The rows of a link can't be read; ``what`` says why, for a note.

    ``lost``: not for their own sake, but because the session was lost.
    """

    lost = False


@dataclass(frozen=True, slots=True)
class _Table:
    """The table of a link as it is: its name quoted, and the types of its columns."""

    name: sql.Composable
    types: Mapping[str, tuple[str, bool]]

    def holds(self, column: str) -> bool:
        return column in self.types


@asynccontextmanager
async def link_rows(
    connection: Connection, rule: LinkRule, *, search_path: str = DEFAULT_SEARCH_PATH
) -> AsyncIterator[AsyncIterator[list[Values]]]:
    """Give the rows in batches, by column name; ``size`` and ``sha256`` under these names.

    Raises:
        LinkUnreadable: no such table or column, or the server refuses to read it. In the block,
            too: nothing that was read before counts then.
    """
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(_AS_USUAL)
            await set_search_path(connection, search_path)
            table = await _find(connection, rule)
            statement, names = _statement(rule, table)
            async with connection.cursor(name=_CURSOR) as declared:
                await declared.execute(statement)
                yield _batches(connection, names)
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error).strip().splitlines()[0]
        unreadable = LinkUnreadable(text)
        unreadable.lost = connection.broken
        raise unreadable from error


async def _batches(connection: Connection, names: tuple[str, ...]) -> AsyncIterator[list[Values]]:
    fetch = f"FETCH FORWARD {BATCH} FROM {_CURSOR}".encode()
    while True:
        result = (await connection.execute(fetch)).pgresult
        if result is None or result.ntuples == 0:
            return
        yield [
            {
                name: None if (value := result.get_value(row, column)) is None else _text(value)
                for column, name in enumerate(names)
            }
            for row in range(result.ntuples)
        ]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


async def _find(connection: Connection, rule: LinkRule) -> _Table:
    """Return the table: ``name`` along the database's search_path, or ``schema.name``."""
    schema, _, name = rule.table.rpartition(".")
    spelled = ([f'"{_quoted(schema)}"."{_quoted(name)}"'] if schema else []) + [
        f'"{_quoted(rule.table)}"'
    ]
    for text in spelled:
        row = await _one(connection, _TABLE, [text])
        if row is not None:
            oid, found_schema, found_name, kind = row
            if str(kind) not in _READABLE:
                raise LinkUnreadable(f"{rule.table} is no table or view of this database")
            columns = await connection.execute(_COLUMNS, [oid])
            types = {str(c): (str(t), bool(a)) for c, t, a in await columns.fetchall()}
            return _Table(sql.Identifier(str(found_schema), str(found_name)), types)
    raise LinkUnreadable(f"there is no table {rule.table}")


def _quoted(name: str) -> str:
    return name.replace('"', '""')


async def _one(
    connection: Connection, statement: str, values: list[object]
) -> tuple[object, ...] | None:
    return await (await connection.execute(statement.encode(), values)).fetchone()


def _statement(rule: LinkRule, table: _Table) -> tuple[sql.Composed, tuple[str, ...]]:
    """Return the query, and the names of what it gives."""
    wanted = [name for name in rule.columns if table.holds(name)]
    missing = [name for name in rule.columns if not table.holds(name)]
    usable = [template for template in rule.templates if not set(template.columns) & set(missing)]
    if not usable or not table.holds(rule.column):
        absent = rule.column if not table.holds(rule.column) else missing[0]
        raise LinkUnreadable(f"{rule.table} has no column {absent}")
    items: list[sql.Composable] = [
        sql.SQL("e.said") if name == rule.column else sql.Identifier("r", name) for name in wanted
    ]
    names = list(wanted)
    for name, column in (("size", rule.size), ("sha256", rule.sha256)):
        if column is not None and (item := _told(column, table)) is not None:
            items.append(item)
            names.append(f":{name}")
    source: sql.Composable = table.name
    if rule.where:
        # In a query of its own: no name of ours can be taken for one of the table's.
        condition = sql.SQL(rule.where)
        source = sql.SQL("(SELECT * FROM {} WHERE ({}\n))").format(table.name, condition)
    elements = _elements(rule.column, table) if rule.column in wanted else sql.SQL("")
    query = sql.SQL("SELECT {} FROM {} AS r {}").format(sql.SQL(", ").join(items), source, elements)
    return query, tuple(names)


def _told(column: str, table: _Table) -> sql.Composable | None:
    """Return what a column tells of the file; ``column.key`` looks into JSON."""
    if table.holds(column):
        return sql.Identifier("r", column)
    name, _, key = column.partition(".")
    if key and table.types.get(name, ("", False))[0] in _JSON:
        return sql.SQL("r.{} OPERATOR(pg_catalog.->>) {}").format(
            sql.Identifier(name), sql.Literal(key)
        )
    raise LinkUnreadable(f"there is no column {column}")


def _elements(column: str, table: _Table) -> sql.Composable:
    """Return what stands for the column: its value, or each of its elements."""
    value = sql.Identifier("r", column)
    kind, is_array = table.types[column]
    if is_array:
        return sql.SQL("CROSS JOIN LATERAL pg_catalog.unnest({}) AS e(said)").format(value)
    if kind not in _JSON:
        return sql.SQL("CROSS JOIN LATERAL (SELECT {}) AS e(said)").format(value)
    json = sql.SQL("pg_catalog.to_jsonb({})").format(value)
    return sql.SQL(
        "CROSS JOIN LATERAL pg_catalog.jsonb_array_elements_text(CASE pg_catalog.jsonb_typeof({})"
        " WHEN 'array' THEN {} ELSE pg_catalog.jsonb_build_array({}) END) AS e(said)"
    ).format(json, json, json)


_TABLE = """
SELECT c.oid::pg_catalog.int8, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       c.relkind::pg_catalog.text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%s)
"""

_COLUMNS = """
SELECT a.attname::pg_catalog.text, t.typname::pg_catalog.text,
       t.typcategory = 'A' AND t.typelem <> 0
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type AS t ON t.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
