"""Keeping a damaged database's tables: each dumped alone, else read around its damage."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DiskFull, FsbackupError
from fsbackup_tui.domain.events import Log, Progress, TableDone, Warned
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.preserve import TableVerdict
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.guards import free_bytes
from fsbackup_tui.engines.postgres.health import TableToCheck, list_tables_to_check
from fsbackup_tui.engines.postgres.health_reading import rows_by_index
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection
from fsbackup_tui.engines.postgres.preserve import (
    dump_schema,
    dump_table,
    export_snapshot,
    reason_of,
)
from fsbackup_tui.engines.postgres.salvage import Heap
from fsbackup_tui.engines.postgres.salvage_sinks import FileSink
from fsbackup_tui.engines.postgres.trial_space import floor_bytes, watch_floor
from fsbackup_tui.operations.clients import client_for_server, job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.salvaging import Salvaging, reading_session, tables_to_keep
from fsbackup_tui.operations.wording import size_text
from fsbackup_tui.repository.files import create_file, make_directory

_MOST_JOBS = 4
_LEAST_SHARE = 0.1  # what a compressed dump takes of the tables' size, at the very least
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")
_HOW_TO_USE = "HOW-TO-USE.txt"


@dataclass(frozen=True, slots=True)
class _Dumping:
    """What each dump needs."""

    client: ClientTools
    environment: Mapping[str, str]
    snapshot: str
    source: Connection
    checks: Mapping[int, TableToCheck]
    lock: asyncio.Lock


@dataclass
class TableKeeper:
    """The tables of a database while they are kept in the job's directory for evidence.

    ``damaged`` are dumped last: reading a table throws away what is left of its deleted rows.
    ``dumped`` and ``salvaged`` are the verdicts by either way; ``stopped`` says what ended the
    dumping before all tables were tried.
    """

    context: JobContext
    live: DatabaseAddress
    place: Callable[[], Path]
    damaged: frozenset[str] = frozenset()
    dumped: list[TableVerdict] = field(default_factory=list)
    salvaged: list[TableVerdict] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    stopped: str = ""
    tried: bool = False
    _columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _client: ClientTools | None = None

    @property
    def directory(self) -> Path:
        """Where the tables' files are."""
        return self.place() / "tables"

    def verdicts(self) -> tuple[TableVerdict, ...]:
        """Return the best that is known of each table, by name."""
        best = {verdict.table: verdict for verdict in self.dumped}
        best |= {verdict.table: verdict for verdict in self.salvaged}
        return tuple(best[name] for name in sorted(best))

    async def dump_tables(self, identity: ServerIdentity, size: int | None) -> None:
        """Dump the definitions, then every table alone; what fails is kept for the salvage.

        Raises:
            DiskFull: there is too little room to begin.
            FsbackupError: no session, no client, or not even the list of tables is to be had.
        """
        self._require_space(size)
        client = await client_for_server(self.context, self.live, identity.server_version_num)
        self._client = client
        make_directory(self.directory)
        with job_environment(self.context, self.live) as environment:
            async with reading_session(self.live, self.context) as source:
                tables = [table for table in await tables_to_keep(source) if table.dumps_rows]
                tables.sort(key=self._is_damaged)
                checks = {table.oid: table for table in await list_tables_to_check(source)}
                dumping = _Dumping(
                    client,
                    environment,
                    await export_snapshot(source),
                    source,
                    checks,
                    asyncio.Lock(),
                )
                self.tried = True
                await guarded(
                    self._dump_all(dumping, tables),
                    self._watch_space("the dump of the tables"),
                )

    def _is_damaged(self, table: TableInspection) -> bool:
        root = ".".join(table.partition_root) if table.partition_root else ""
        return not self.damaged.isdisjoint({table.qualified, root})

    def _require_space(self, size: int | None) -> None:
        parent = self.place()
        room = free_bytes(parent) - floor_bytes(parent)
        if size is not None and room < size * _LEAST_SHARE:
            raise DiskFull(
                "NOT ENOUGH SPACE for the tables.",
                why=f"the database has {size_text(size)}; {size_text(max(0, room))} may be used "
                f"in {parent}",
                fix="Name a roomier place under recovery: evidence in the config.",
            )

    async def _watch_space(self, what: str) -> None:
        """Give up, without an error, before the disk is full: what was kept stays."""
        parent = self.place()
        try:
            await watch_floor(parent, floor_bytes(parent), what=what)
        except DiskFull as error:
            self.stopped = reason_of(error)
            raise

    async def _dump_all(self, dumping: _Dumping, tables: Sequence[TableInspection]) -> None:
        schema = self.place() / "schema.sql"
        try:
            await dump_schema(
                dumping.client,
                dumping.environment,
                schema,
                snapshot=dumping.snapshot,
                report=self.context.report,
                redactor=self.context.redactor,
            )
        except FsbackupError as error:
            self.context.report(Warned(f"The definitions could not be dumped: {reason_of(error)}"))
        waiting = iter(enumerate(tables, 1))
        total = float(sum(table.bytes or 0 for table in tables)) or 1.0
        done = [0.0]

        async def work() -> None:
            for number, table in waiting:
                await self._dump(dumping, number, table)
                done[0] += table.bytes or 0
                self.context.report(Progress(done[0], total, "bytes", table.qualified))

        jobs = min(_MOST_JOBS, os.cpu_count() or 1, max(1, len(tables)))
        workers = [asyncio.create_task(work()) for _ in range(jobs)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _dump(self, dumping: _Dumping, number: int, table: TableInspection) -> None:
        started = time.monotonic()
        target = self.directory / f"{number:04d}-{_file_name(table.qualified)}.dump"
        try:
            rows = await dump_table(
                dumping.client,
                dumping.environment,
                (table.schema, table.name),
                target,
                work=self.context.work,
                snapshot=dumping.snapshot,
                report=self.context.report,
                redactor=self.context.redactor,
            )
        except DiskFull:
            raise
        except FsbackupError as error:
            self.failed.add(table.qualified)
            why = reason_of(error)
            self.dumped.append(TableVerdict(table.qualified, "unreadable", None, why=why))
            self.context.report(Warned(f"{table.qualified} could not be dumped: {why}"))
            return
        known = None
        check = dumping.checks.get(table.oid)
        if check is not None and not table.condition:
            # One session, one question at a time.
            async with dumping.lock:
                known = await rows_by_index(dumping.source, check)
        lost = None if known is None or rows is None else max(0, known - rows)
        self.dumped.append(
            TableVerdict(
                table.qualified,
                "part" if lost else "whole",
                rows,
                file=f"tables/{target.name}",
                why=f"{lost} rows are gone: {rows} can be read, its index knows of {known}"
                if lost
                else "",
                lost_rows=lost,
            )
        )
        seconds = round(time.monotonic() - started, 3)
        self.context.report(TableDone(table.qualified, rows, target.stat().st_size, seconds))

    async def salvage_tables(self) -> None:
        """Read what could not be dumped (all tables, where none was tried) around the damage."""
        make_directory(self.directory)
        with ExitStack() as stack:

            async def open_sink(heap: Heap) -> tuple[FileSink, str]:
                stack.close()
                number = len(self._columns) + 1
                path = self.directory / f"salvaged-{number:04d}-{_file_name(heap.qualified)}.copy"
                self._columns[heap.qualified] = tuple(column.name for column in heap.columns)
                create_file(path, b"")
                # Unbuffered: what is taken back must not be written later.
                file = stack.enter_context(path.open("r+b", buffering=0))
                return FileSink(path, file), f"tables/{path.name}"

            salvaging = Salvaging(self.context, self.live, open_sink)
            self.salvaged = salvaging.verdicts
            wanted: Callable[[TableInspection], bool] = (
                (lambda table: table.qualified in self.failed)
                if self.tried
                else (lambda table: table.dumps_rows)
            )
            self.tried = True
            await guarded(salvaging.read_all(wanted), self._watch_space("the salvage"))

    def write_how_to_use(self) -> None:
        """Write beside the files what each is, and the stock commands that use them."""
        text = "\n".join(self._how_to_use()) + "\n"
        path = self.place() / _HOW_TO_USE
        path.unlink(missing_ok=True)
        create_file(path, text.encode(errors="backslashreplace"))
        self.context.report(Log(f"What was kept, and how to use it: {path}"))

    def _how_to_use(self) -> Iterator[str]:
        yield f"What was kept of the database {self.live.database} by job {self.context.job}."
        yield ""
        yield "Into a new, empty database NEW, in this order:"
        yield "  psql -X -d NEW -f schema.sql     all definitions"
        yield "then of each table the command under its name."
        if self._client is not None:
            yield f"The .dump files need pg_restore {self._client.version} or newer, such as"
            yield self._client.tool("pg_restore")
        yield ""
        for verdict in self.verdicts():
            yield f"{verdict.table}: {verdict.verdict}, {_rows(verdict.rows)}"
            if verdict.why:
                yield f"  {verdict.why}"
            if verdict.bad_blocks:
                yield f"  blocks not read whole: {', '.join(map(str, verdict.bad_blocks))}"
            for note in verdict.notes:
                yield f"  {note}"
            if verdict.file.endswith(".dump"):
                yield f"  pg_restore --data-only -d NEW {verdict.file}"
            elif verdict.file:
                yield f"  psql -X -d NEW -c {shlex.quote(self._load(verdict))}"

    def _load(self, verdict: TableVerdict) -> str:
        schema, _, name = verdict.table.partition(".")
        columns = ", ".join(map(_quoted, self._columns.get(verdict.table, ())))
        return f"\\copy {_quoted(schema)}.{_quoted(name)} ({columns}) FROM {verdict.file}"


def _rows(count: int | None) -> str:
    return "rows not counted" if count is None else f"{count} rows"


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _file_name(qualified: str) -> str:
    return _PLAIN.sub("_", qualified)[:100]
