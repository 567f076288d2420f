"""Reading a damaged live database: one session, one snapshot, nothing changed.

What must not be read, or would take too long, is estimated. A database that is gone, or lets
nobody in, is a result.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fsbackup_tui.domain.damage import SequenceGap, TableDamage
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import (
    AuthenticationFailed,
    DatabaseMissing,
    PostgresError,
    ServerUnreachable,
)
from fsbackup_tui.domain.events import Log, Progress, TableDone, Warned
from fsbackup_tui.domain.point import PostgresFacts, TableFacts
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.health_checksums import check_checksums
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import read_extensions, read_migration_head
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.live_rows import (
    Counted,
    Counters,
    begin_reading,
    count_rows,
    invalid_indexes,
    newest_by_index,
    newest_column,
    read_counters,
    read_gaps,
)
from fsbackup_tui.engines.postgres.managed import with_managed
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.damage_definitions import Live
from fsbackup_tui.operations.damage_points import LiveRows
from fsbackup_tui.operations.recovery_requests import DamageRequest
from fsbackup_tui.operations.target import (
    check_server,
    postgres_source,
    source_exclusions,
    target_text,
)

_ONE_TABLE_SECONDS = 60.0
_ALL_TABLES_SECONDS = 180.0
_A_LOOK_SECONDS = 5.0
_LOCK_TIMEOUT_SECONDS = 5.0
_BATCH_TABLES, _BATCH_BYTES = 100, 64 * 2**20
_STAGED = "fsbackup_merge_"


@dataclass
class LiveFound:
    """What was seen of live; ``live`` None: it is ``gone``, or could not be read."""

    live: Live | None = None
    tables: list[TableDamage] = field(default_factory=list)
    sequences: tuple[SequenceGap, ...] = ()
    size: int | None = None
    counters_since: datetime | None = None
    migration_head: str = ""
    health: list[str] = field(default_factory=list)
    corrupt: bool = False
    gone: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> LiveRows | None:
        """Every table of live with its rows; empty where it is gone, None where not known."""
        if self.live is None:
            return {} if self.gone else None
        return {(t.schema, t.name): t.live_rows for t in self.tables if not t.is_gone}


async def look_at_live(
    request: DamageRequest,
    context: JobContext,
    address: DatabaseAddress,
    facts: PostgresFacts | None,
) -> LiveFound:
    """Return what live holds; one that is gone or closed has nothing, and the notes say it."""
    try:
        connection = await connect(
            address,
            application_name=context.application_name,
            lock_timeout_seconds=_LOCK_TIMEOUT_SECONDS,
        )
    except DatabaseMissing as error:
        found = LiveFound(gone=True, notes=[f"{error.what} All of it is gone."])
        found.tables = _without_live(facts, missing=True, note="")
        return found
    except (ServerUnreachable, AuthenticationFailed) as error:
        if not error.what.startswith("DATABASE CLOSED"):
            raise
        return _unreadable(error, facts)
    except PostgresError as error:
        return _unreadable(error, facts)
    with plain_errors(address):
        async with connection:
            return await _read(request, context, address, connection, facts)


def _unreadable(error: PostgresError, facts: PostgresFacts | None) -> LiveFound:
    said = " ".join(f"{error.what} {error.why}".split())
    found = LiveFound(notes=[f"Live could not be read: {said}"])
    found.tables = _without_live(facts, missing=False, note="live could not be read")
    return found


def _without_live(facts: PostgresFacts | None, *, missing: bool, note: str) -> list[TableDamage]:
    return [
        TableDamage(
            table.schema,
            table.name,
            table.rows,
            None,
            counted=False,
            point_bytes=table.bytes,
            note=note,
            missing=missing,
        )
        for table in (facts.tables if facts is not None else ())
        if has_rows(table.kind) and not table.data_excluded
    ]


def has_rows(kind: str) -> bool:
    """Whether a table of that kind has rows of its own that a dump holds."""
    return kind in ("table", "unlogged")


async def _read(
    request: DamageRequest,
    context: JobContext,
    address: DatabaseAddress,
    connection: Connection,
    facts: PostgresFacts | None,
) -> LiveFound:
    found = LiveFound()
    identity = await read_identity(connection, address)
    check_server(request.target, identity)
    context.report(Log(f"Live: {target_text(identity)}"))
    found.health += [finding.what for finding in await begin_reading(connection)]
    exclusions = await with_managed(connection, _exclusions(request, context, facts))
    # Sizes need a moment's lock on each table, which shall not last as long as the counting.
    listed = await list_tables(connection, exclusions, exact_sizes=True)
    tables = [table for table in listed if not table.schema.startswith(_STAGED)]
    found.size = identity.size_bytes
    async with connection.transaction():
        found.live = Live(
            address,
            identity.server_version_num,
            await read_extensions(connection),
            exclusions,
        )
        counters, found.counters_since = await read_counters(connection)
        reading = _Reading(request, context, connection, counters)
        seen = await reading.look_at([table for table in tables if has_rows(table.kind)])
        live = {(table.schema, table.name): table for table in seen}
        found.tables = _side_by_side(facts, live)
        if facts is not None:
            spared = set(request.spare_tables)
            unread = {table.qualified for table in found.tables if table.corrupt}
            for table in tables:
                if table.qualified in spared | unread:
                    unread |= _names(table)
            found.sequences, notes = await read_gaps(
                connection,
                facts.sequences,
                unread=unread | spared,
                seconds=_A_LOOK_SECONDS,
            )
            found.notes += notes
        if not any(name.endswith("._prisma_migrations") for name in request.spare_tables):
            found.migration_head = await _migration_head(connection, address, tables)
        await _health(connection, found)
    return found


async def _migration_head(
    connection: Connection, address: DatabaseAddress, tables: Sequence[TableInspection]
) -> str:
    """Return the last migration's name; empty where there is none, or it can't be read."""
    try:
        with plain_errors(address):
            async with connection.transaction(force_rollback=True):
                head = await read_migration_head(connection, tables, schema=address.schema)
    except PostgresError:
        return ""
    return head or ""


def _exclusions(
    request: DamageRequest, context: JobContext, facts: PostgresFacts | None
) -> Exclusions:
    """Return what the point left out, so that it is not taken for added since."""
    if facts is None:
        return source_exclusions(postgres_source(context.loaded, request.part))
    return Exclusions(facts.excluded_schemas, facts.excluded_tables, facts.excluded_table_data)


@dataclass
class _Reading:
    """The counting of live's tables, the small ones first, as long as there is time."""

    request: DamageRequest
    context: JobContext
    connection: Connection
    counters: Mapping[int, Counters]
    until: float = field(default_factory=lambda: time.monotonic() + _ALL_TABLES_SECONDS)

    async def look_at(self, tables: Sequence[TableInspection]) -> Iterable[TableDamage]:
        """Return what live has of each table; what the point has of it is not known here."""
        columns = {table.oid: newest_column(table) for table in tables}
        read = [
            table
            for table in sorted(tables, key=lambda table: table.bytes or 0)
            if not self._why_not_read(table)
        ]
        counted: dict[int, Counted] = {}
        for batch in _batches(read):
            counted |= await self._count([(table, columns[table.oid]) for table in batch])
        newest = {oid: found.newest for oid, found in counted.items()}
        for table in read:
            column = columns[table.oid]
            if column and counted.get(table.oid, Counted(None)) == Counted(None):
                newest[table.oid] = await self._newest(table, column)
        return [
            self._damage(table, counted.get(table.oid), newest.get(table.oid, ""), columns)
            for table in tables
        ]

    def _why_not_read(self, table: TableInspection) -> str:
        if not _names(table).isdisjoint(self.request.spare_tables):
            return "not read, so that no evidence is lost"
        if not table.readable:
            return "not counted: the role may not read it"
        return "not counted: row security hides rows" if table.row_security else ""

    async def _count(self, batch: Sequence[tuple[TableInspection, str]]) -> dict[int, Counted]:
        seconds = min(_ONE_TABLE_SECONDS, self.until - time.monotonic())
        if seconds <= 0:
            return {}
        names = batch[0][0].qualified + (f" and {len(batch) - 1} more" if len(batch) > 1 else "")
        self.context.report(Progress(0, None, "tables", f"counting {names}"))
        started = time.monotonic()
        counted = await count_rows(self.connection, batch, seconds=seconds)
        took = round((time.monotonic() - started) / len(batch), 3)
        for table, _column in batch:
            found = counted[table.oid]
            if found.note:
                self.context.report(Warned(f"{table.qualified}: {found.note}"))
            else:
                done = TableDone(table.qualified, found.rows, table.bytes, took)
                self.context.report(done)
        return counted

    async def _newest(self, table: TableInspection, column: str) -> str:
        if time.monotonic() > self.until + _ONE_TABLE_SECONDS:
            return ""
        return await newest_by_index(self.connection, table, column, seconds=_A_LOOK_SECONDS)

    def _damage(
        self,
        table: TableInspection,
        counted: Counted | None,
        newest: str,
        columns: Mapping[int, str],
    ) -> TableDamage:
        found = counted or Counted(None, note=self._why_not_read(table))
        counters = self.counters.get(table.oid)
        estimate = table.estimated_rows if counters is None else counters.estimate
        return TableDamage(
            table.schema,
            table.name,
            None,
            found.rows if found.rows is not None else None if found.corrupt else estimate,
            counted=found.rows is not None,
            newest=newest,
            newest_column=columns[table.oid] if newest else "",
            inserted=None if counters is None else counters.inserted,
            updated=None if counters is None else counters.updated,
            deleted=None if counters is None else counters.deleted,
            live_bytes=table.bytes,
            note=found.note,
            corrupt=found.corrupt,
        )


def _names(table: TableInspection) -> set[str]:
    """Return by which names a table is meant: its own, and that of what it is a partition of."""
    root = table.partition_root
    return {table.qualified} | ({f"{root[0]}.{root[1]}"} if root is not None else set())


def _batches(tables: Iterable[TableInspection]) -> Iterator[list[TableInspection]]:
    """Give small tables together, large ones by themselves."""
    batch: list[TableInspection] = []
    size = 0
    for table in tables:
        if batch and (len(batch) >= _BATCH_TABLES or size + (table.bytes or 0) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(table)
        size += table.bytes or 0
    if batch:
        yield batch


def _side_by_side(
    facts: PostgresFacts | None, live: Mapping[tuple[str, str], TableDamage]
) -> list[TableDamage]:
    captured = {(table.schema, table.name): table for table in facts.tables} if facts else {}
    names = live.keys() | {name for name, table in captured.items() if has_rows(table.kind)}
    return [_joined(name, captured.get(name), live.get(name)) for name in sorted(names)]


def _joined(
    name: tuple[str, str], captured: TableFacts | None, live: TableDamage | None
) -> TableDamage:
    if captured is None or captured.data_excluded:
        table = live or TableDamage(*name, None, None, missing=True)
        said = table.note or captured.note if captured is not None else table.note
        return replace(table, note=said)
    if live is None:
        return TableDamage(
            *name,
            captured.rows,
            None,
            counted=False,
            point_bytes=captured.bytes,
            missing=True,
        )
    return replace(live, point_rows=captured.rows, point_bytes=captured.bytes)


async def _health(connection: Connection, found: LiveFound) -> None:
    """Take what the server knows of its own health, without looking at a page."""
    _on, failures = await check_checksums(connection)
    found.health += [failure.what for failure in failures]
    found.health += [f"{t.qualified}: {t.note}" for t in found.tables if t.corrupt]
    found.corrupt = bool(failures) or any(table.corrupt for table in found.tables)
    found.health += [
        f"The index {name} is invalid: nothing is found by it."
        for name in await invalid_indexes(connection)
    ]
