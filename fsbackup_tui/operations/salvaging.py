"""Reading a damaged database's tables in turn, so that none of them ends the work on the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import PostgresError, ServerUnreachable
from fsbackup_tui.domain.events import Progress, TableDone, Warned
from fsbackup_tui.domain.preserve import TableVerdict, Verdict
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.health import (
    TableToCheck,
    list_tables_to_check,
    prepare_session,
)
from fsbackup_tui.engines.postgres.health_reading import rows_by_index
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.managed import with_managed
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.salvage import (
    Heap,
    HeapRead,
    may_ignore_checksums,
    read_heaps,
    salvage_heap,
)
from fsbackup_tui.engines.postgres.salvage_sinks import Sink
from fsbackup_tui.operations.context import JobContext

_LOCK_SECONDS = 30.0
_BACK_SECONDS = 60.0
_RETRY_SECONDS = 0.5

OpenSink = Callable[[Heap], Awaitable[tuple[Sink, str]]]


@asynccontextmanager
async def reading_session(
    address: DatabaseAddress, context: JobContext
) -> AsyncIterator[Connection]:
    """Open a session that only reads, in one snapshot, and mends nothing while it does."""
    connection = await connect(
        address,
        application_name=context.application_name,
        lock_timeout_seconds=_LOCK_SECONDS,
    )
    async with connection:
        for finding in await prepare_session(connection):
            context.report(Warned(finding.what))
        async with connection.transaction(force_rollback=True):
            yield connection


async def tables_to_keep(source: Connection) -> tuple[TableInspection, ...]:
    """Return every table but the host's own, whatever the config leaves out of backups."""
    exclusions = await with_managed(source, Exclusions())
    return await list_tables(source, exclusions, exact_sizes=False)


@dataclass
class Salvaging:
    """The tables of a database while they are read.

    ``open_sink`` gives what takes a table's rows, and the name of the file that they are in.
    """

    context: JobContext
    address: DatabaseAddress
    open_sink: OpenSink
    verdicts: list[TableVerdict] = field(default_factory=list)

    async def read_all(self, wanted: Callable[[TableInspection], bool]) -> None:
        """Read all wanted tables; a server that dies of one of them is waited for."""
        names: list[str] | None = None
        done: set[str] = set()
        while names is None or set(names) - done:
            with plain_errors(self.address):
                async with reading_session(self.address, self.context) as source:
                    tables = [table for table in await tables_to_keep(source) if wanted(table)]
                    heaps = await read_heaps(source, tables)
                    names = names or [heap.qualified for heap in heaps]
                    left = [heap for heap in heaps if heap.qualified not in done]
                    done |= set(names) - {heap.qualified for heap in heaps}
                    await self._read(source, left, done)

    async def _read(self, source: Connection, heaps: Sequence[Heap], done: set[str]) -> None:
        checks = {table.oid: table for table in await list_tables_to_check(source)}
        unchecked = await may_ignore_checksums(source)
        total = float(sum(heap.blocks * heap.block_bytes for heap in heaps)) or 1.0
        before = 0.0
        for heap in heaps:
            done.add(heap.qualified)
            try:
                await self._read_one(source, heap, checks.get(heap.oid), unchecked, (before, total))
            except ServerUnreachable as lost:
                self._tell(heap, HeapRead(why=lost.what, lost=True), None, "", 0.0)
                self.context.report(Warned(f"{lost.what} {lost.why} It is not read again."))
                await self._wait_for_server()
                return
            before += heap.blocks * heap.block_bytes

    async def _read_one(
        self,
        source: Connection,
        heap: Heap,
        check: TableToCheck | None,
        unchecked: bool,
        progress: tuple[float, float],
    ) -> None:
        started = time.monotonic()
        before, total = progress

        def tell(block: int) -> None:
            done = before + block * heap.block_bytes
            self.context.report(Progress(done, total, "bytes", f"reading {heap.qualified}"))

        sink, file = await self.open_sink(heap)
        found = await salvage_heap(source, heap, sink, ignore_checksums=unchecked, on_block=tell)
        known = None if check is None else await rows_by_index(source, check)
        self._tell(heap, found, known, file, time.monotonic() - started)

    def _tell(
        self, heap: Heap, found: HeapRead, known: int | None, file: str, seconds: float
    ) -> None:
        verdict = judge(heap, found, known, file)
        self.verdicts.append(verdict)
        size = heap.blocks * heap.block_bytes
        self.context.report(TableDone(heap.qualified, found.rows, size, round(seconds, 3)))
        if verdict.verdict != "whole":
            self.context.report(Warned(f"{heap.qualified}: {verdict.why}"))

    async def _wait_for_server(self) -> None:
        """Wait until the server takes sessions again: it starts anew when one of its own died."""
        deadline = time.monotonic() + _BACK_SECONDS
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                async with await connect(
                    self.address, application_name=self.context.application_name
                ):
                    return
            except PostgresError:
                if time.monotonic() > deadline:
                    raise


def judge(heap: Heap, found: HeapRead, known: int | None, file: str) -> TableVerdict:
    """Return the verdict on a table that was read block by block."""
    lost: int | None = max(0, known - found.rows) if known is not None else None
    why = found.why
    if lost is None and found.lost and heap.estimated_rows is not None and not heap.condition:
        lost = max(0, heap.estimated_rows - found.rows)
        why = f"{why} (about {lost} rows are lost, by the server's estimate)"
    elif lost is None and not found.lost:
        lost = 0
    elif lost and not why:
        why = f"{lost} rows are gone: {found.rows} can be read, its index knows of {known}"
    verdict: Verdict = "whole"
    if found.lost or found.bad_blocks or lost:
        verdict = "part" if found.rows else "unreadable"
    return TableVerdict(
        table=heap.qualified,
        verdict=verdict,
        rows=found.rows,
        bad_blocks=tuple(found.bad_blocks),
        file=file,
        why=why,
        lost_rows=lost,
        notes=tuple(found.notes),
    )


def lost_rows(verdicts: Sequence[TableVerdict]) -> int | None:
    """Return how many rows are lost in all, None where that can't be told of some table."""
    counts = [verdict.lost_rows for verdict in verdicts]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
