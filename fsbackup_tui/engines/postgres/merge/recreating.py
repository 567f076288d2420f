"""Definitions made again in a merge, beside the rows that are put back, and taken away again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, UsageError
from fsbackup_tui.domain.merge import Recreated, TableChoice
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.catalogue import Schema, Table
from fsbackup_tui.engines.postgres.merge.column_definition import LostColumn
from fsbackup_tui.engines.postgres.merge.columns import (
    ColumnMaking,
    ForNewRows,
    take_column_away,
)
from fsbackup_tui.engines.postgres.merge.definitions import Definition, read_definitions
from fsbackup_tui.engines.postgres.merge.lost import Lost, restored
from fsbackup_tui.engines.postgres.merge.staging import Staging
from fsbackup_tui.engines.postgres.merge.tables import LostTables, TableMaking, take_tables_away


@dataclass(frozen=True, slots=True)
class Source:
    """Where lost tables and views come from: the copy, and how it defines them."""

    copy: Connection
    lost: LostTables


@dataclass(frozen=True, slots=True)
class Recreating:
    """What is made again; ``definitions`` are indexes, constraints, triggers, policies, views."""

    tables: tuple[TableName, ...] = ()
    columns: tuple[tuple[LostColumn, ForNewRows], ...] = ()
    definitions: tuple[Definition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.definitions)

    @property
    def views(self) -> tuple[TableName, ...]:
        """The views among them."""
        return tuple(d.table for d in self.definitions if d.kind == "view")

    @property
    def altered(self) -> frozenset[TableName]:
        """The tables whose own definition changes, so that nobody may read them meanwhile."""
        return frozenset(column.table for column, _value in self.columns)

    def foretell(self) -> tuple[Recreated, ...]:
        """Return it as a preview tells it."""
        return (
            *(Recreated("table", table, None) for table in self.tables),
            *(
                Recreated("column", c.table, c.column, filled=c.filled, rows_since=c.born_since)
                for c, _value in self.columns
            ),
            *(
                Recreated(d.kind, d.table, None if d.kind == "view" else d.name)
                for d in self.definitions
            ),
        )

    def document(self) -> dict[str, Any]:
        """Return it as a set of changes keeps it, for the undo."""
        return {
            "tables": [list(table) for table in self.tables],
            "columns": [asdict(column) for column, _value in self.columns],
            "definitions": [asdict(definition) for definition in self.definitions],
        }


NOTHING = Recreating()


def kept_recreating(document: Mapping[str, Any]) -> Recreating:
    """Return what a set of changes made again."""
    return Recreating(
        tuple((schema, name) for schema, name in document.get("tables", ())),
        tuple((restored(LostColumn, each), ForNewRows()) for each in document.get("columns", ())),
        tuple(restored(Definition, each) for each in document.get("definitions", ())),
    )


def choose(lost: Lost, choices: Iterable[TableChoice]) -> Recreating:
    """Return what the choices want to have made again.

    Raises:
        UsageError: it was not lost, can't be made again, or wants a value.
    """
    tables: list[TableName] = []
    columns: list[tuple[LostColumn, ForNewRows]] = []
    definitions: list[Definition] = []
    for choice in choices:
        if choice.recreate:
            view = lost.definitions.get(("view", choice.table, choice.table[1]))
            if view is not None:
                definitions.append(view)
            elif choice.table in lost.tables:
                tables.append(choice.table)
            else:
                raise _not_lost(choice.table, "")
        for name in choice.columns:
            column = lost.columns.get((choice.table, name))
            if column is None:
                raise _not_lost(choice.table, f".{name}")
            columns.append((column, _for_new_rows(column, choice)))
        for name in choice.objects:
            found = [
                d
                for d in lost.definitions.values()
                if d.table == choice.table and d.name == name and d.kind != "view"
            ]
            if not found:
                raise _not_lost(choice.table, f": {name}")
            definitions += found
    order = ("constraint", "index", "view", "trigger", "policy")
    definitions.sort(key=lambda d: (d.refers_to is not None, order.index(d.kind)))
    return Recreating(tuple(tables), tuple(columns), tuple(definitions))


def _not_lost(table: TableName, what: str) -> UsageError:
    return UsageError(
        f"NOT LOST: {table[0]}.{table[1]}{what} is nothing that can be made again.",
        why="The plan does not list it as lost, or tells what is in the way.",
        fix="Choose among what the plan lists as lost.",
    )


def _for_new_rows(column: LostColumn, choice: TableChoice) -> ForNewRows:
    if column.column in choice.by_default:
        if column.default is None:
            raise UsageError(
                f"NO DEFAULT: {column.label} had none.",
                fix="Give the value that rows born since shall have.",
            )
        return ForNewRows(by_default=True)
    value = choice.values.get(column.column)
    if column.needs_value and value is None:
        raise UsageError(
            f"VALUE NEEDED: {column.born_since} rows of {column.table[0]}.{column.table[1]} came "
            f"since, and {column.column} is NOT NULL.",
            why="The copy has no value for rows that it has not.",
            fix="Give the value that these rows shall have"
            + ("." if column.default is None else f", or choose its default: {column.default}"),
        )
    return ForNewRows(value)


def rows_alone(choice: TableChoice) -> TableChoice:
    """Return a choice without what it says of lost columns: that is none of the rows' matter."""
    values = {name: v for name, v in choice.values.items() if name not in choice.columns}
    return replace(choice, values=values)


async def recreate(
    live: Connection, staging: Staging, wanted: Recreating, source: Source | None
) -> tuple[Recreated, ...]:
    """Make it all again, after the rows were put back; return what was done.

    Tables and columns come with their rows first, then what hangs on them, foreign keys last.
    """
    if not wanted:
        return ()
    tables = None
    if wanted.tables or wanted.views:
        if source is None:
            raise PostgresError(
                "NO COPY: lost tables and views are made again out of it.",
                why="It was not opened.",
                fix="Restore the point beside once more, and plan the merge anew.",
            )
        tables = TableMaking(source.copy, live, source.lost)
    rows = {} if tables is None else await tables.fill()
    makings = [ColumnMaking(live, staging, column, value) for column, value in wanted.columns]
    filled = [await making.add() for making in makings]
    for making in makings:
        await making.dress()
    if tables is not None:
        await tables.dress()
    for making in makings:
        await making.refer()
    lacking = () if tables is None else (await tables.be_referred_to())[1]
    for definition in wanted.definitions:
        await _make(live, definition)
    notes = tuple(f"{label}: {why}" for label, why in lacking)
    return (
        *(
            Recreated("table", table, None, filled=rows[table], lacking=() if number else notes)
            for number, table in enumerate(wanted.tables)
        ),
        *(
            Recreated("column", c.table, c.column, filled=done.filled, rows_since=done.born_since)
            for (c, _value), done in zip(wanted.columns, filled, strict=True)
        ),
        *(each for each in wanted.foretell() if each.kind not in ("table", "column")),
    )


async def _make(live: Connection, definition: Definition) -> None:
    """Make it, unless it came with what it hangs on."""
    if definition.kind == "view" or definition.key in await read_definitions(live):
        return
    for statement in definition.make:
        await live.execute(statement.encode())


async def take_away(live: Connection, staging: Staging, made: Recreating) -> tuple[Recreated, ...]:
    """Undo ``recreate``: drop definitions, keep the content of tables and columns in staging.

    Nothing goes with it: if anything else uses it by now, the server refuses.
    """
    there = await read_definitions(live)
    for definition in reversed(made.definitions):
        if definition.key in there:
            await live.execute(definition.drop.encode())
    if made.tables:
        await take_tables_away(live, staging, made.tables)
    for column, _value in reversed(made.columns):
        if await _is_there(live, column):
            await take_column_away(live, staging, column)
    return made.foretell()


async def _is_there(live: Connection, column: LostColumn) -> bool:
    rows = await fetch_all(
        live,
        "SELECT 1 FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s"
        " AND c.relname = %s AND a.attname = %s AND NOT a.attisdropped",
        [*column.table, column.column],
    )
    return bool(rows)


def without(schema: Schema, made: Recreating) -> Schema:
    """Return the schema as it is once this was taken away."""
    if not made:
        return schema
    gone: dict[TableName, set[str]] = {}
    names: set[tuple[TableName, str]] = {(d.table, d.name) for d in made.definitions}
    for column, _value in made.columns:
        gone.setdefault(column.table, set()).add(column.column)
        names |= {(column.table, name) for name, _t in (*column.indexes, *column.constraints)}
    tables = {
        name: _table_without(table, gone.get(name, set()), names)
        for name, table in schema.tables.items()
        if name not in made.tables
    }
    links = tuple(
        link
        for link in schema.links
        if {link.key.table, link.key.parent} <= tables.keys()
        and (link.key.table, link.key.name) not in names
        and not gone.get(link.key.table, set()) & set(link.key.columns)
        and not gone.get(link.key.parent, set()) & set(link.key.parent_columns)
    )
    return replace(schema, tables=tables, links=links)


def _table_without(table: Table, columns: set[str], names: set[tuple[TableName, str]]) -> Table:
    def stays(index: str, about: Sequence[str]) -> bool:
        return (table.full_name, index) not in names and not columns & set(about)

    return replace(
        table,
        columns=tuple(column for column in table.columns if column.name not in columns),
        indexes=tuple(i for i in table.indexes if stays(i.name, i.columns)),
    )
