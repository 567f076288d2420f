"""How many rows a damaged database has, by reading alone, and what the server's counters tell.

A table that must not be read (one look prunes rows that were just deleted) is estimated by the
counters; so is one whose counting would take too long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from fsbackup_tui.domain.damage import SequenceGap
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.live_health import HealthFinding
from fsbackup_tui.domain.point import SequenceFacts
from fsbackup_tui.engines.postgres.compare_objects import OWNED_SEQUENCES
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.fingerprint import rows_of
from fsbackup_tui.engines.postgres.health import (
    lost_while,
    means_damage,
    prepare_session,
    words_of,
)
from fsbackup_tui.engines.postgres.inspect_objects import (
    fetch_all,
    list_sequences,
    read_sequences,
)
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection

_NAMED = 3
_INDEX_WAYS = ("indexscan", "indexonlyscan", "bitmapscan")
_TIMESTAMPTZ, _TIMES = 1184, frozenset({1082, 1114, 1184})
# Without underscores, the best first.
_NAMES = (
    *("createdat", "insertedat", "created", "inserted", "createdon", "creationdate"),
    *("createddate", "datecreated", "timecreated", "createtime", "addedat", "occurredat"),
    *("updatedat", "modifiedat", "changedat", "updated", "modified", "changed", "timestamp", "ts"),
)


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server itself counted of a table; ``estimate`` None: it does not know."""

    inserted: int
    updated: int
    deleted: int
    estimate: int | None


@dataclass(frozen=True, slots=True)
class Counted:
    """A table's rows and the newest one's time; ``rows`` None: not counted, as ``note`` says.

    Without a note it took too long. ``corrupt``: what was read can't be right.
    """

    rows: int | None
    newest: str = ""
    note: str = ""
    corrupt: bool = False


async def begin_reading(connection: Connection) -> tuple[HealthFinding, ...]:
    """Make the session one that only reads and mends nothing; in haste, and the catalogue too.

    Raises:
        SafetyRefusal: the server would mend by reading, and the role may not switch that off.
    """
    findings = await prepare_session(connection)
    reset = [*(f"enable_{way}" for way in _INDEX_WAYS), "max_parallel_workers_per_gather"]
    await connection.execute("; ".join(f"RESET {name}" for name in reset).encode())
    return findings


async def read_counters(connection: Connection) -> tuple[dict[int, Counters], datetime | None]:
    """Return the counters of all tables by OID, and since when they count (None: always)."""
    rows = await fetch_all(connection, _COUNTERS)
    ((since,),) = await fetch_all(
        connection,
        "SELECT stats_reset FROM pg_stat_database WHERE datname = pg_catalog.current_database()",
    )
    return {oid: Counters(*counts) for oid, *counts in rows}, since


# n_live_tup alone starts anew with the counters; reltuples is of the last VACUUM or ANALYZE, and
# unknown (-1) for a table that was emptied or never looked at.
_COUNTERS = """
SELECT s.relid::int8, s.n_tup_ins, s.n_tup_upd, s.n_tup_del,
       CASE WHEN c.reltuples < 0 AND s.n_live_tup + s.n_tup_ins + s.n_tup_del = 0
                 AND c.relpages > 0 THEN NULL
            ELSE greatest(s.n_live_tup, c.reltuples::int8 - s.n_tup_del, 0) END
FROM pg_stat_all_tables AS s JOIN pg_class AS c ON c.oid = s.relid
WHERE s.schemaname !~ '^pg_' AND s.schemaname <> 'information_schema'
"""


def newest_column(table: TableInspection) -> str:
    """Return the column whose highest value is the newest row's time; empty: none tells."""
    times = {c.name: c.type_oid for c in table.columns if c.type_oid in _TIMES}
    plain = {name: name.lower().replace("_", "") for name in times}
    for wanted in _NAMES:
        for name, said in plain.items():
            if said == wanted:
                return name
    zoned = [name for name, oid in times.items() if oid == _TIMESTAMPTZ]
    return zoned[0] if len(zoned) == 1 else ""


async def count_rows(
    connection: Connection, tables: Sequence[tuple[TableInspection, str]], *, seconds: float
) -> dict[int, Counted]:
    """Count tables' own rows, and find the newest one's time by a column, in one pass over each.

    One statement counts them all, so that a far server is not asked thousands of times; where it
    fails, the half that is not to blame is counted again. By OID. Runs in a savepoint that is
    rolled back, so that no lock outlasts it.

    Raises:
        PostgresError: the session was lost; a damaged page can crash a server.
    """
    if not tables:
        return {}
    statement = sql.SQL(" UNION ALL ").join(_counting(table, column) for table, column in tables)
    try:
        rows = await _rows(connection, statement, seconds)
    except psycopg.Error as error:
        if connection.broken:
            names = ", ".join(table.qualified for table, _column in tables[:_NAMED])
            raise lost_while(f"while counting {names}", error) from error
        if len(tables) == 1:
            return {tables[0][0].oid: _not_counted(error)}
        half = len(tables) // 2
        first = await count_rows(connection, tables[:half], seconds=seconds)
        return first | await count_rows(connection, tables[half:], seconds=seconds)
    return {oid: Counted(count, _moment(newest)) for oid, count, newest in rows}


def _counting(table: TableInspection, column: str) -> sql.Composed:
    newest = (
        sql.SQL("pg_catalog.max({})::pg_catalog.text").format(sql.Identifier("r", column))
        if column
        else sql.SQL("NULL::pg_catalog.text")
    )
    return sql.SQL("SELECT {}::pg_catalog.int8, pg_catalog.count(*), {} {}").format(
        sql.Literal(table.oid), newest, rows_of(table)
    )


def _not_counted(error: psycopg.Error) -> Counted:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Counted(None)
    corrupt = means_damage(error)
    words = "it can't be read" if corrupt else "not counted"
    return Counted(None, note=f"{words}: {words_of(error)}", corrupt=corrupt)


async def newest_by_index(
    connection: Connection, table: TableInspection, column: str, *, seconds: float
) -> str:
    """Return the newest row's time where an index leads with the column; empty: none does."""
    indexed = await fetch_all(
        connection,
        "SELECT 1 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indrelid::int8 = %s AND a.attname = %s AND i.indisvalid AND i.indpred IS NULL"
        " AND c.relam = 403",
        [table.oid, column],
    )
    if not indexed:
        return ""
    statement = sql.SQL("SELECT pg_catalog.max({})::pg_catalog.text FROM ONLY {} AS r").format(
        sql.Identifier("r", column), sql.Identifier(table.schema, table.name)
    )
    try:
        row = await _one_row(connection, statement, seconds)
    except psycopg.Error as error:
        if connection.broken:
            raise lost_while(f"while looking at {table.qualified}", error) from error
        return ""
    return _moment(row[0])


async def _one_row(
    connection: Connection, statement: sql.Composed, seconds: float
) -> tuple[Any, ...]:
    rows = await _rows(connection, statement, seconds, by_index=True)
    return rows[0] if rows else (None,)


async def _rows(
    connection: Connection, statement: sql.Composed, seconds: float, *, by_index: bool = False
) -> list[tuple[Any, ...]]:
    settings = [f"statement_timeout = {max(1, round(seconds * 1000))}"]
    # A count must see the table itself, not an index that may disagree with it.
    settings += [] if by_index else [f"enable_{way} = off" for way in _INDEX_WAYS]
    async with connection.transaction(force_rollback=True):
        await connection.execute("; ".join(f"SET LOCAL {item}" for item in settings).encode())
        return await (await connection.execute(statement)).fetchall()


def _moment(value: object) -> str:
    """Return the server's text of a time: UTC where it has a zone, as it is where it has none."""
    if not isinstance(value, str):
        return ""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:  # infinity, or a year beyond 9999
        return value
    return value if moment.tzinfo is None else format_time(moment.astimezone(UTC))


async def read_gaps(
    connection: Connection,
    captured: Iterable[SequenceFacts],
    *,
    unread: Collection[str],
    seconds: float,
) -> tuple[tuple[SequenceGap, ...], tuple[str, ...]]:
    """Return how far sequences went since capture and how many rows of that stayed; and notes.

    Of tables in ``unread`` (schema.name) no row is read.
    """
    listed = await list_sequences(connection, schemas=[], tables=[])
    here = {(found.schema, found.name): found for found in await read_sequences(connection, listed)}
    owned = {(row[0], row[1]): row for row in await fetch_all(connection, OWNED_SEQUENCES)}
    gaps: list[SequenceGap] = []
    notes: list[str] = []
    for was in captured:
        now, name = here.get((was.schema, was.name)), f"{was.schema}.{was.name}"
        if now is None or was.last_value is None or now.last_value is None:
            continue
        first, following = _next(was, was.last_value), _next(now, now.last_value)
        given = (following - first) // now.increment
        if given < 0:
            notes.append(f"The sequence {name} was set back: what it gave since can't be told.")
        if given <= 0:
            continue
        table, kept = (was.owned_by or "").rpartition(".")[0], None
        if (owner := owned.get((was.schema, was.name))) is not None:
            table = f"{owner[3]}.{owner[4]}"
            if table not in unread:
                kept = await _kept(connection, owner, first, seconds)
        gaps.append(SequenceGap(name, table, given, kept))
    return tuple(gaps), tuple(notes)


def _next(sequence: SequenceFacts, last_value: int) -> int:
    return last_value + sequence.increment if sequence.is_called else last_value


async def _kept(
    connection: Connection, owner: Sequence[object], first: int, seconds: float
) -> int | None:
    _schema, _name, increment, table_schema, table, column = owner
    statement = sql.SQL("SELECT pg_catalog.count(*) FROM {} AS r WHERE {} {} {}").format(
        sql.Identifier(str(table_schema), str(table)),
        sql.Identifier("r", str(column)),
        sql.SQL(">=" if int(str(increment)) > 0 else "<="),
        sql.Literal(first),
    )
    try:
        row = await _one_row(connection, statement, seconds)
    except psycopg.Error as error:
        if connection.broken:
            raise lost_while(f"while looking at {table_schema}.{table}", error) from error
        return None
    return int(str(row[0]))


async def invalid_indexes(connection: Connection) -> tuple[str, ...]:
    """Return the indexes that the server does not use as they were not finished, or failed."""
    rows = await fetch_all(
        connection,
        "SELECT n.nspname || '.' || c.relname FROM pg_index AS i"
        " JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid ="
        " c.relnamespace WHERE NOT (i.indisvalid AND i.indisready) AND c.relkind = 'i'"
        " AND n.nspname !~ '^pg_toast' ORDER BY 1",
    )
    return tuple(name for (name,) in rows)
