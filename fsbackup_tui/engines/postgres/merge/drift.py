"""What the definitions of a copy's and live's tables have become different in."""

from __future__ import annotations

from collections.abc import Container

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import Drift
from fsbackup_tui.engines.postgres.merge.catalogue import Column, Schema, Table


def find_drift(copy: Schema, live: Schema, wanted: Container[TableName]) -> tuple[Drift, ...]:
    """Return the differences that matter to rows: tables, columns, their types, keys."""
    found: list[Drift] = []
    for name in sorted(copy.tables.keys() | live.tables.keys()):
        if name not in wanted:
            continue
        theirs, mine = copy.tables.get(name), live.tables.get(name)
        if theirs is None or mine is None:
            here = "a table"
            found.append(
                Drift("table", name, None, here if theirs else None, here if mine else None)
            )
        else:
            found += _columns(theirs, mine)
            found += _key(theirs, mine)
    return tuple(found)


def _columns(copy: Table, live: Table) -> list[Drift]:
    found: list[Drift] = []
    for column in copy.columns:
        other = live.column(column.name)
        if other is None:
            found.append(Drift("column", live.full_name, column.name, _text(column), None))
        elif other.type != column.type:
            found.append(Drift("type", live.full_name, column.name, column.type, other.type))
    for column in live.columns:
        if copy.column(column.name) is None:
            needed = column.not_null and not column.has_default and column.generated is None
            found.append(
                Drift(
                    "column", live.full_name, column.name, None, _text(column), needs_value=needed
                )
            )
    return found


def _key(copy: Table, live: Table) -> list[Drift]:
    theirs = ", ".join(copy.key.columns) if copy.key else None
    mine = ", ".join(live.key.columns) if live.key else None
    return [] if theirs == mine else [Drift("key", live.full_name, None, theirs, mine)]


def _text(column: Column) -> str:
    return f"{column.type} NOT NULL" if column.not_null else column.type
