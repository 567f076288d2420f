"""What live lost besides rows: found in the copy, and kept in staging until it is made again."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from psycopg import sql

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal
from fsbackup_tui.domain.merge import Drift
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.catalogue import Schema
from fsbackup_tui.engines.postgres.merge.column_definition import LostColumn
from fsbackup_tui.engines.postgres.merge.columns import stage_column
from fsbackup_tui.engines.postgres.merge.definitions import (
    Definition,
    DefinitionKey,
    lost_definitions,
    read_definitions,
)
from fsbackup_tui.engines.postgres.merge.staging import Staging
from fsbackup_tui.engines.postgres.merge.tables import describe_lost_table

_Kept = TypeVar("_Kept", LostColumn, Definition)


@dataclass(frozen=True, slots=True)
class Lost:
    """All that can be made again, as it was staged; ``tables`` are made from the copy itself."""

    tables: frozenset[TableName]
    columns: Mapping[tuple[TableName, str], LostColumn]
    definitions: Mapping[DefinitionKey, Definition]


async def stage_lost(
    copy: Connection,
    live: Connection,
    staging: Staging,
    schemas: tuple[Schema, Schema],
    drift: Iterable[Drift],
    wanted: Container[TableName],
) -> tuple[Drift, ...]:
    """Stage what live lost; return the drift with what is known of it, and of what hangs on it.

    ``schemas`` are the copy's and live's. Values of lost columns are brought over by key.
    """
    theirs, mine = schemas
    found: list[Drift] = []
    along: set[tuple[TableName, str]] = set()
    for item in drift:
        if item.lost and item.kind == "table":
            described = await describe_lost_table(copy, theirs.tables[item.table])
            along.update((child, name) for child, name, _definition in described.keys)
            names = tuple(f"{_label(child)}: {name}" for child, name, _text in described.keys)
            found.append(
                replace(item, rows=described.rows, comes_along=names, left=described.others)
            )
            await _keep(live, staging, "table", item.table, "", {})
        elif item.lost and item.kind == "column" and item.column is not None:
            told, column = await _stage_column(copy, live, staging, item, item.column)
            found.append(told)
            if column is not None:
                names = tuple(name for name, _text in (*column.indexes, *column.constraints))
                along.update((item.table, name) for name in names)
        else:
            found.append(item)
    there, here = await read_definitions(copy), await read_definitions(live)
    for definition in lost_definitions(there, here, mine, wanted):
        if (definition.table, definition.name) not in along:
            found.append(definition.drift())
            await _keep(
                live,
                staging,
                definition.kind,
                definition.table,
                definition.name,
                asdict(definition),
            )
    return tuple(found)


async def _stage_column(
    copy: Connection, live: Connection, staging: Staging, item: Drift, name: str
) -> tuple[Drift, LostColumn | None]:
    try:
        column = await stage_column(copy, live, staging, item.table, name)
    except (SafetyRefusal, PostgresError) as error:
        return replace(item, obstacle=" ".join(part for part in (error.what, error.why) if part)), (
            None
        )
    await _keep(live, staging, "column", item.table, name, asdict(column))
    told = replace(
        item,
        needs_value=column.needs_value,
        default=column.default,
        rows=column.filled,
        rows_since=column.born_since,
        comes_along=tuple(each for each, _text in (*column.indexes, *column.constraints)),
        left=column.others,
    )
    return told, column


def _label(table: TableName) -> str:
    return f"{table[0]}.{table[1]}"


async def _keep(
    live: Connection,
    staging: Staging,
    kind: str,
    table: TableName,
    item: str,
    document: dict[str, Any],
) -> None:
    await live.execute(
        sql.SQL("INSERT INTO {} (kind, schema, name, item, definition) VALUES ({})").format(
            staging.relation("lost"),
            sql.SQL(", ").join(
                map(sql.Literal, [kind, table[0], table[1], item, json.dumps(document)])
            ),
        )
    )


async def read_lost(live: Connection, staging: Staging) -> Lost:
    """Return what was staged of it."""
    cursor = await live.execute(
        sql.SQL("SELECT kind, schema, name, item, definition FROM {}").format(
            staging.relation("lost")
        )
    )
    tables: set[TableName] = set()
    columns: dict[tuple[TableName, str], LostColumn] = {}
    definitions: dict[DefinitionKey, Definition] = {}
    for kind, schema, name, item, document in await cursor.fetchall():
        if kind == "table":
            tables.add((schema, name))
        elif kind == "column":
            columns[(schema, name), item] = restored(LostColumn, document)
        else:
            definition = restored(Definition, document)
            definitions[definition.key] = definition
    return Lost(frozenset(tables), columns, definitions)


def restored(kind: type[_Kept], document: Mapping[str, Any]) -> _Kept:
    """Return a value as it was before it was written as JSON: sequences are tuples."""
    return kind(**{name: _tupled(value) for name, value in document.items()})


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value
