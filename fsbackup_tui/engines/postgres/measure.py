"""Reading a copy's tables again: rows and fingerprints, several sessions at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from fsbackup_tui.domain.comparison import Measured, TableName, add_fingerprints
from fsbackup_tui.domain.events import Progress, Report, TableDone
from fsbackup_tui.domain.point import PostgresFacts, TableFacts
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.fingerprint import (
    COUNTING_SETTINGS,
    FORMS,
    Blocks,
    fingerprint_table,
)
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection

SMALLEST_PIECE = 64 << 20
_PIECES_PER_SESSION = 4
# A table costs something even when it is empty.
_COST_OF_ANY_TABLE = 8192


@dataclass(frozen=True, slots=True)
class _Piece:
    """A table, or some blocks of a big one: what one session reads at a time."""

    captured: TableFacts
    table: TableInspection
    weight: int
    blocks: Blocks | None = None


@dataclass(slots=True)
class _Results:
    """What has been read so far of one table that is read in ``pieces``."""

    pieces: int = 0
    seconds: float = 0.0
    found: list[Measured] = field(default_factory=list)


async def measure_tables(
    open_session: Callable[[], Awaitable[Connection]],
    facts: PostgresFacts,
    here: Mapping[TableName, TableInspection],
    *,
    sessions: int,
    report: Report,
    smallest_piece: int = SMALLEST_PIECE,
) -> dict[TableName, Measured]:
    """Return what the captured tables hold in the copy; those that it lacks are not in it.

    Biggest first; a table that would keep one session busy after the others are done is read
    in pieces of at least ``smallest_piece`` bytes.

    Raises:
        psycopg.Error: a session was lost.
    """
    found: dict[TableName, Measured] = {}
    wanted: list[tuple[TableFacts, TableInspection]] = []
    for captured in facts.tables:
        name = (captured.schema, captured.name)
        table = here.get(name)
        if table is None:
            continue
        unread = _unread(captured, table, facts)
        if unread is not None:
            found[name] = unread
        else:
            wanted.append((captured, table))
    if not wanted:
        return found
    first = await open_session()
    async with first:
        pieces = await _pieces(first, wanted, sessions, smallest_piece)
        reading = _Reading(pieces, report)
        others = min(sessions, len(pieces)) - 1
        tasks = [asyncio.create_task(reading.work(first))]
        tasks += [asyncio.create_task(_beside(open_session, reading)) for _ in range(others)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return found | reading.measured()


async def _beside(open_session: Callable[[], Awaitable[Connection]], reading: _Reading) -> None:
    connection = await open_session()
    async with connection:
        await reading.work(connection)


def _unread(captured: TableFacts, table: TableInspection, facts: PostgresFacts) -> Measured | None:
    """Return the result for what is not read, or may not be, None for all other tables."""
    if facts.scope == "schema":
        return Measured(None)
    if captured.kind != table.kind and {captured.kind, table.kind} != {"table", "unlogged"}:
        return Measured(None, note=f"it is of another kind: {table.kind}, not {captured.kind}")
    if table.kind in ("partitioned", "foreign"):
        return Measured(None)
    if not table.readable or table.row_security:
        return Measured(None, note="the role here may not read all of it", blocked=True)
    return None


async def _pieces(
    connection: Connection,
    wanted: list[tuple[TableFacts, TableInspection]],
    sessions: int,
    smallest_piece: int,
) -> list[_Piece]:
    total = sum(table.bytes or 0 for _captured, table in wanted)
    share = max(smallest_piece, total // max(1, sessions * _PIECES_PER_SESSION))
    pieces: list[_Piece] = []
    for captured, table in wanted:
        size = table.bytes or 0
        divisible = sessions > 1 and not table.condition
        count = size // share if divisible else 1
        blocks = await _block_count(connection, table) if count > 1 else 0
        count = max(1, min(count, blocks))
        weight = size // count + _COST_OF_ANY_TABLE
        if count == 1:
            pieces.append(_Piece(captured, table, weight))
            continue
        starts = [blocks * number // count for number in range(count)]
        ends: list[int | None] = [*starts[1:], None]
        pieces += [
            _Piece(captured, table, weight, (start, end))
            for start, end in zip(starts, ends, strict=True)
        ]
    return sorted(pieces, key=lambda piece: piece.weight, reverse=True)


async def _block_count(connection: Connection, table: TableInspection) -> int:
    rows = await fetch_all(
        connection,
        "SELECT coalesce(pg_relation_size(%s::oid), 0) / current_setting('block_size')::int8",
        [table.oid],
    )
    return int(rows[0][0])


class _Reading:
    """The pieces that the sessions take one after the other, and what they found."""

    def __init__(self, pieces: list[_Piece], report: Report) -> None:
        self._waiting = iter(pieces)
        self._report = report
        self._total = float(sum(piece.weight for piece in pieces))
        self._done = 0.0
        self._results: dict[TableName, _Results] = {}
        for piece in pieces:
            self._of(piece).pieces += 1

    def _of(self, piece: _Piece) -> _Results:
        name = (piece.captured.schema, piece.captured.name)
        return self._results.setdefault(name, _Results())

    async def work(self, connection: Connection) -> None:
        """Read pieces until there are none left."""
        await connection.execute(COUNTING_SETTINGS)
        for piece in self._waiting:
            started = time.monotonic()
            captured = piece.captured.fingerprint
            form = FORMS.get(captured.method) if captured is not None else None
            rows, fingerprint, note = await fingerprint_table(
                connection,
                piece.table,
                method="counts" if form is None else "content",
                form=form,
                blocks=piece.blocks,
            )
            results = self._of(piece)
            results.found.append(Measured(rows, fingerprint, note))
            results.seconds += time.monotonic() - started
            self._tell(piece, results)

    def _tell(self, piece: _Piece, results: _Results) -> None:
        self._done += piece.weight
        name = piece.captured.qualified
        self._report(Progress(self._done, self._total, "bytes", f"comparing {name}"))
        if len(results.found) == results.pieces:
            rows = _together(results.found).rows
            self._report(TableDone(name, rows, None, results.seconds))

    def measured(self) -> dict[TableName, Measured]:
        """Return every table's result, its pieces put together."""
        return {name: _together(results.found) for name, results in self._results.items()}


def _together(pieces: list[Measured]) -> Measured:
    if len(pieces) == 1:
        return pieces[0]
    note = next((piece.note for piece in pieces if piece.note), "")
    rows = [piece.rows for piece in pieces if piece.rows is not None]
    fingerprints = [piece.fingerprint for piece in pieces if piece.fingerprint is not None]
    return Measured(
        sum(rows) if len(rows) == len(pieces) else None,
        add_fingerprints(fingerprints) if len(fingerprints) == len(pieces) else None,
        note,
    )
