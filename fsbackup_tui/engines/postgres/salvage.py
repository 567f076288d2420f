"""Reading what can still be read of a damaged table: ranges of blocks, then row by row.

A sequential scan ends at the first block that can't be read. Ranges of ctids leave that one out
(reference/ops.md i): a range that fails is halved until a block is left, and that one's rows are
read one by one; of a row whose TOAST is damaged, the columns that fail are left NULL. Whatever
was read of a range that failed is taken back, so that no row comes twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, ServerUnreachable
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.health import words_of
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection
from fsbackup_tui.engines.postgres.salvage_sinks import Sink

RANGE_BLOCKS = 4096
_MOST_NOTES = 20
_BATCH_BYTES = 1 << 16
_PAGE_HEADER = 24
_LEAST_ROW = 28  # a tuple's header, aligned, and its line pointer (MaxHeapTuplesPerPage)
# Appendix A: what is wrong with the data, where they are read (22, 54, 58, XX) or taken (22, 23);
# 53200: a spoilt length asks for more memory than there is.
_DATA_CLASSES = ("22", "23", "54", "58", "XX")
_OF_A_WHOLE_BLOCK = re.compile(r"invalid page in block|could not read blocks?\b")
_CONDITION = re.compile(r"\s*where\b(?P<condition>.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class HeapColumn:
    """A stored column that is no result of others; ``toasted``: it may lie outside of its row."""

    name: str
    toasted: bool


@dataclass(frozen=True, slots=True)
class Heap:
    """A table's own rows; ``condition``: all of them, or some.

    ``blocks`` is how many the last VACUUM or ANALYZE saw: to know more takes a lock.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[HeapColumn, ...]
    blocks: int
    block_bytes: int
    estimated_rows: int | None
    condition: str = ""

    @property
    def qualified(self) -> str:
        """The name as people read it."""
        return f"{self.schema}.{self.name}"


@dataclass(slots=True)
class HeapRead:
    """What could be read: rows, blocks that could not be read whole, and what is worth knowing.

    ``why`` is the first error; ``lost`` says that rows are known to be missing.
    """

    rows: int = 0
    bad_blocks: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    why: str = ""
    lost: bool = False

    def note(self, text: str) -> None:
        """Keep a note, within bounds."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)
        elif len(self.notes) == _MOST_NOTES:
            self.notes.append("and more of the kind")

    def failed(self, error: psycopg.Error) -> None:
        """Keep the first reason."""
        self.why = self.why or words_of(error)


async def read_heaps(source: Connection, tables: Sequence[TableInspection]) -> tuple[Heap, ...]:
    """Return the storage of the tables whose rows a dump would hold, in their order."""
    wanted = {table.oid: table for table in tables if table.dumps_rows}
    rows = await fetch_all(source, _HEAPS, [list(wanted)])
    found = {row[0]: row[1:] for row in rows}
    return tuple(
        Heap(
            oid=oid,
            schema=table.schema,
            name=table.name,
            columns=tuple(HeapColumn(name, toasted) for name, toasted in found[oid][0] or ()),
            blocks=found[oid][1],
            block_bytes=found[oid][2],
            estimated_rows=table.estimated_rows,
            condition=_bare(table.condition),
        )
        for oid, table in wanted.items()
        if oid in found
    )


_HEAPS = """
SELECT c.oid::int8,
       (SELECT jsonb_agg(jsonb_build_array(a.attname, a.attlen = -1 AND a.attstorage <> 'p')
                         ORDER BY a.attnum)
        FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
       c.relpages,
       current_setting('block_size')::int8
FROM pg_class AS c WHERE c.oid = ANY (%s::oid[])
"""


def _bare(condition: str) -> str:
    match = _CONDITION.fullmatch(condition)
    return match["condition"].strip() if match is not None else ""


async def may_ignore_checksums(source: Connection) -> bool:
    """Whether wrong checksums show here, and the role may read such blocks all the same."""
    rows = await fetch_all(
        source,
        "SELECT current_setting('data_checksums') = 'on' AND rolsuper FROM pg_roles"
        " WHERE rolname = current_user",
    )
    return bool(rows and rows[0][0])


async def salvage_heap(
    source: Connection,
    heap: Heap,
    sink: Sink,
    *,
    ignore_checksums: bool = False,
    on_block: Callable[[int], None] | None = None,
) -> HeapRead:
    """Give the sink every row of the heap that can be read, in the open transaction's snapshot.

    ``ignore_checksums``: of a block whose checksum is wrong its rows are read all the same, and
    noted; only superusers may. ``on_block`` is told how far it is.

    Raises:
        ServerUnreachable: the session was lost; a damaged row can crash a server.
        DiskFull: there is no room for the rows.
    """
    reading = _Reading(source, heap, sink, ignore_checksums=ignore_checksums)
    try:
        blocks = await reading.count_blocks()
        for first in range(0, blocks, RANGE_BLOCKS):
            last = min(first + RANGE_BLOCKS, blocks)
            await reading.read_range(first, last)
            if on_block is not None:
                on_block(last)
    except psycopg.Error as error:
        if source.broken:
            raise _lost(heap, error) from error
        reading.found.failed(error)
        reading.found.lost = True
    return reading.found


class _Reading:
    """One heap while it is read."""

    def __init__(
        self, source: Connection, heap: Heap, sink: Sink, *, ignore_checksums: bool
    ) -> None:
        self.found = HeapRead()
        self._source = source
        self._heap = heap
        self._sink = sink
        self._ignore_checksums = ignore_checksums
        self._names = tuple(column.name for column in heap.columns)

    async def count_blocks(self) -> int:
        """Return how many blocks it has now; psycopg.Error where somebody keeps it locked."""
        async with self._source.transaction():
            rows = await fetch_all(
                self._source, "SELECT pg_relation_size(%s::int8::oid)", [self._heap.oid]
            )
        return int(rows[0][0] or 0) // self._heap.block_bytes

    async def read_range(self, first: int, last: int) -> None:
        """Read the blocks from ``first`` up to ``last``, which is not among them."""
        try:
            self.found.rows += await self._copy(_blocks(first, last))
        except psycopg.Error as error:
            if not self._is_of_the_data(error):
                raise
            if last - first == 1:
                self.found.failed(error)
                await self._read_block(first)
                return
            middle = (first + last) // 2
            await self.read_range(first, middle)
            await self.read_range(middle, last)

    async def _read_block(self, block: int) -> None:
        self.found.bad_blocks.append(block)
        if await self._block_fails(block):
            if not await self._read_unchecked(_blocks(block, block + 1), f"block {block}"):
                self.found.lost = True
            return
        most = (self._heap.block_bytes - _PAGE_HEADER) // _LEAST_ROW
        for number in range(1, most + 1):
            await self._read_row(f"({block},{number})")

    async def _block_fails(self, block: int) -> bool:
        """Whether nothing of a block can be read: counting its rows reads no TOAST."""
        query = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {} WHERE {}").format(
            self._table, _blocks(block, block + 1)
        )
        try:
            async with self._source.transaction():
                await self._source.execute(query)
        except psycopg.Error as error:
            if not self._is_of_the_data(error):
                raise
            return _OF_A_WHOLE_BLOCK.search(str(error)) is not None
        return False

    async def _read_unchecked(self, where: sql.Composable, what: str) -> bool:
        """Read what a wrong checksum keeps from being read; whether that could be done."""
        if not self._ignore_checksums:
            return False
        try:
            async with self._source.transaction():
                await self._source.execute("SET LOCAL ignore_checksum_failure = on")
                rows = await self._copy(where)
                await self._source.execute("SET LOCAL ignore_checksum_failure = off")
        except psycopg.Error as error:
            if not self._is_of_the_data(error):
                raise
            return False
        self.found.rows += rows
        if rows:
            self.found.note(
                f"{what}: its checksum is wrong; {rows} rows were read in spite of it"
                " (ignore_checksum_failure, in this session alone): look at them first"
            )
        return True

    async def _read_row(self, ctid: str) -> None:
        where = sql.SQL("ctid = {}").format(sql.Literal(ctid))
        try:
            self.found.rows += await self._copy(where)
        except psycopg.Error as error:
            if not self._is_of_the_data(error):
                raise
            if not await self._read_unchecked(where, f"row {ctid}"):
                await self._read_without(ctid, where, error)

    async def _read_without(self, ctid: str, where: sql.Composable, error: psycopg.Error) -> None:
        """Read a row without the columns that can't be read."""
        failing = [
            column.name
            for column in self._heap.columns
            if column.toasted and not await self._column_reads(column.name, where)
        ]
        try:
            if failing:
                await self._sink.let_be_null(failing)
                rows = await self._copy(where, left_null=failing)
                self.found.rows += rows
                if rows:
                    self.found.note(
                        f"row {ctid}: {', '.join(failing)} can't be read and is NULL: "
                        f"{words_of(error)}"
                    )
                return
        except psycopg.Error as second:
            if not self._is_of_the_data(second):
                raise
            error = second
        self.found.lost = True
        self.found.note(f"row {ctid}: {words_of(error)}")

    async def _column_reads(self, name: str, where: sql.Composable) -> bool:
        query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(
            sql.Identifier(name), self._table, where
        )
        try:
            async with self._source.transaction(), self._source.cursor().copy(query) as rows:
                async for _row in rows:
                    pass
        except psycopg.Error as error:
            if not self._is_of_the_data(error):
                raise
            return False
        return True

    async def _copy(self, where: sql.Composable, *, left_null: Sequence[str] = ()) -> int:
        """Copy the rows into the sink, all or none; return how many there were."""
        selected = sql.SQL(", ").join(
            sql.SQL("NULL") if name in left_null else sql.Identifier(name) for name in self._names
        )
        query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(
            selected, self._table, self._with_condition(where)
        )
        cursor = self._source.cursor()
        async with (
            self._source.transaction(),
            self._sink.taking(self._names) as write,
            cursor.copy(query) as rows,
        ):
            batch = bytearray()
            async for row in rows:
                batch += row
                if len(batch) >= _BATCH_BYTES:
                    await write(bytes(batch))
                    batch.clear()
            if batch:
                await write(bytes(batch))
        return max(0, cursor.rowcount)

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self._heap.schema, self._heap.name)

    def _with_condition(self, where: sql.Composable) -> sql.Composable:
        if not self._heap.condition:
            return where
        # It is an extension's own text, as pg_dump takes it.
        return sql.SQL("{} AND ({})").format(where, sql.SQL(self._heap.condition))

    def _is_of_the_data(self, error: psycopg.Error) -> bool:
        if self._source.broken:
            return False
        state = error.sqlstate or ""
        return state[:2] in _DATA_CLASSES or state == "53200"


def _blocks(first: int, last: int) -> sql.Composed:
    return sql.SQL("ctid >= {} AND ctid < {}").format(
        sql.Literal(f"({first},0)"), sql.Literal(f"({last},0)")
    )


def _lost(heap: Heap, error: psycopg.Error) -> PostgresError:
    return ServerUnreachable(
        f"SERVER LOST while reading {heap.qualified}.",
        why=f"{words_of(error)}\nIf nobody stopped it, its log says what it died of.",
        fix="Don't look there again: stop the server and copy its files first.",
    )
