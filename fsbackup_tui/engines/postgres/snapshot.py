"""One snapshot of a database, shared by pg_dump and by the sessions that count beside it.

The order is what makes it trustworthy. A TRUNCATE or a rewriting ALTER that commits between a
snapshot and the lock on its table shows the table *empty* in that snapshot, and pg_dump, which
locks after its snapshot, then dumps no rows and exits 0. So the holder locks every table first
and takes its snapshot afterwards, and looks in it whether the list was still right. Counting
sessions take all their locks at once, without waiting, before the dump begins: later an ALTER
in the queue would make them wait for it, and it for us.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg
from psycopg import sql

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import PostgresError, TableLocked
from fsbackup_tui.domain.events import Log, Report, Warned
from fsbackup_tui.engines.postgres.connection import Connection, classify, connect
from fsbackup_tui.engines.postgres.fingerprint import COUNTING_SETTINGS
from fsbackup_tui.engines.postgres.inspect import DatabaseInspection, inspect_database
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.locking import (
    BlockedSession,
    LockBudget,
    blocked_by_us,
    blocked_sessions,
    held_tables,
    lock_tables,
    read_budget,
    who_locks,
)
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.rights import require_backup_rights

__all__ = [
    "BlockedSession",
    "Counter",
    "SharedSnapshot",
    "blocked_by_us",
    "blocked_sessions",
    "shared_snapshot",
]

_ATTEMPTS = 8
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

StageHook = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Counter:
    """A session in the snapshot and the tables that it has locked and is to count."""

    connection: Connection
    tables: tuple[TableInspection, ...]


@dataclass(frozen=True, slots=True)
class SharedSnapshot:
    """An exported snapshot, alive while its context is open.

    ``at`` is the server's clock when it was taken; ``lsn`` the WAL position (on a standby the one
    replayed). ``counters`` is empty where nothing can or shall be counted; ``count_note`` then
    says why. ``parallel_dump_fits`` says whether the server has room for pg_dump's own locks
    with more than one job.
    """

    snapshot_id: str
    at: datetime
    lsn: str | None
    inspection: DatabaseInspection
    holder: Connection
    counters: tuple[Counter, ...]
    count_note: str
    parallel_dump_fits: bool


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The arguments of ``shared_snapshot`` that its steps need."""

    address: DatabaseAddress
    application_name: str
    exclusions: Exclusions
    lock_timeout_seconds: float
    counting_connections: int
    dump_jobs: int
    with_rows: bool
    report: Report
    stage: StageHook


@dataclass(frozen=True, slots=True)
class _Exported:
    snapshot_id: str
    at: datetime
    lsn: str | None
    tables: tuple[TableInspection, ...]
    budget: LockBudget


@asynccontextmanager
async def shared_snapshot(
    address: DatabaseAddress,
    *,
    application_name: str,
    exclusions: Exclusions,
    lock_timeout_seconds: float,
    counting_connections: int,
    report: Report,
    dump_jobs: int = 1,
    with_rows: bool = True,
    on_stage: StageHook | None = None,
) -> AsyncIterator[SharedSnapshot]:
    """Open a snapshot in which every table to be dumped is locked ACCESS SHARE.

    ``counting_connections`` is how many sessions count at most, the holder being the first of
    them; fewer where locks or connections are short. ``on_stage`` is awaited at ``listed``,
    ``locked``, ``exported`` and ``ready``. ``with_rows`` False is for a dump of the definitions
    alone, which asks for fewer rights.

    Raises:
        RightsMissing: the role can't read everything; names what, and the GRANT.
        TableLocked: a table stayed locked for longer than ``lock_timeout_seconds``.
        PostgresError: as ``classify`` tells.
    """

    async def stage(name: str) -> None:
        if on_stage is not None:
            await on_stage(name)

    wishes = _Wishes(
        address,
        application_name,
        exclusions,
        lock_timeout_seconds,
        counting_connections,
        dump_jobs,
        with_rows,
        report,
        stage,
    )
    async with AsyncExitStack() as stack:
        try:
            snapshot = await _open(stack, wishes)
        except psycopg.Error as error:
            raise classify(error, address) from error
        await stage("ready")
        yield snapshot


async def _open(stack: AsyncExitStack, wishes: _Wishes) -> SharedSnapshot:
    async def open_session() -> Connection:
        connection = await connect(
            wishes.address,
            application_name=wishes.application_name,
            lock_timeout_seconds=wishes.lock_timeout_seconds,
        )
        stack.push_async_callback(connection.close)
        await connection.execute(COUNTING_SETTINGS)
        return connection

    holder = await open_session()
    exported = await _export(holder, wishes)
    inspection = await inspect_database(
        holder,
        wishes.address,
        exclusions=wishes.exclusions,
        tables=exported.tables,
    )
    await wishes.stage("exported")
    sessions = exported.budget.counting_sessions(wishes.counting_connections)
    counters = await _counters(holder, exported, sessions, open_session, wishes.report)
    return SharedSnapshot(
        exported.snapshot_id,
        exported.at,
        exported.lsn,
        inspection,
        holder,
        counters,
        _count_note(exported.budget, sessions, wishes),
        exported.budget.parallel_dump_fits,
    )


def _count_note(budget: LockBudget, sessions: int, wishes: _Wishes) -> str:
    if wishes.counting_connections < 1:
        return "not counted: counting is switched off"
    if sessions < 1:
        wishes.report(Warned(f"Tables are {budget.note}."))
        return budget.note
    if sessions < wishes.counting_connections:
        wishes.report(
            Log(f"{sessions} session(s) count: the server's lock table has no room for more.")
        )
    return ""


async def _export(holder: Connection, wishes: _Wishes) -> _Exported:
    """List, lock, take the snapshot, list again in it; from the start when the lists differ."""
    for attempt in range(_ATTEMPTS):
        listed = await list_tables(holder, wishes.exclusions, exact_sizes=False)
        await require_backup_rights(holder, listed, wishes.exclusions, with_rows=wishes.with_rows)
        budget = await read_budget(holder, listed, dump_jobs=wishes.dump_jobs)
        await wishes.stage("listed")
        exported = await _try_export(holder, wishes, listed, budget, last=attempt == _ATTEMPTS - 1)
        if exported is not None:
            return exported
        await holder.execute("ROLLBACK")
    raise PostgresError(
        "TABLES KEEP CHANGING: no snapshot could be taken with every table locked.",
        why=f"Tables were dropped or renamed during each of {_ATTEMPTS} attempts.",
        fix="Leave the tables that come and go out (exclude_tables), or run again later.",
    )


async def _try_export(
    holder: Connection,
    wishes: _Wishes,
    listed: Sequence[TableInspection],
    budget: LockBudget,
    *,
    last: bool,
) -> _Exported | None:
    lockable = [table for table in listed if table.lockable] if budget.holder_fits else []
    await holder.execute(_BEGIN)
    try:
        await lock_tables(holder, lockable)
    except psycopg.errors.UndefinedTable:
        return None
    except psycopg.errors.LockNotAvailable as error:
        await holder.execute("ROLLBACK")
        raise await _table_locked(holder, lockable) from error
    await wishes.stage("locked")
    rows = await fetch_all(
        holder,
        "SELECT pg_export_snapshot(), clock_timestamp(), CASE WHEN pg_is_in_recovery()"
        " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text",
    )
    tables = await list_tables(holder, wishes.exclusions, exact_sizes=budget.holder_fits)
    if budget.holder_fits:
        held = await held_tables(holder)
        seen = {table.identity for table in listed}
        now = {table.identity for table in tables}
        unlocked = {
            table.oid
            for table in tables
            if table.lockable and (table.oid not in held or table.identity not in seen)
        }
        if (unlocked or not seen <= now) and not last:
            return None
        tables = tuple(_uncounted(table) if table.oid in unlocked else table for table in tables)
    snapshot_id, at, lsn = rows[0]
    return _Exported(snapshot_id, at, lsn, tables, budget)


def _uncounted(table: TableInspection) -> TableInspection:
    note = table.note or "not counted: it appeared while the snapshot was taken"
    return replace(table, dumps_rows=False, note=note)


async def _table_locked(connection: Connection, tables: Sequence[TableInspection]) -> TableLocked:
    found = await who_locks(connection, tables)
    table, who = found or ("a table", "Whoever had it locked has gone since.")
    return TableLocked(
        f"TABLE LOCKED: {table} stayed locked for longer than lock_timeout allows.",
        why=who,
        fix="Wait for the migration to end, or raise lock_timeout; then run it again.",
    )


async def _counters(
    holder: Connection,
    exported: _Exported,
    sessions: int,
    open_session: Callable[[], Awaitable[Connection]],
    report: Report,
) -> tuple[Counter, ...]:
    """Divide the tables between the sessions; what another can't lock at once, the holder counts.

    Each table is locked by the holder and by the one session that counts it: a lock table fills
    with the number of sessions otherwise.
    """
    if sessions < 1:
        return ()
    shares = _shares([table for table in exported.tables if table.dumps_rows], sessions)
    mine = list(shares[0])
    counters: list[Counter] = []
    for share in filter(None, shares[1:]):
        try:
            connection = await open_session()
            await _join(connection, exported.snapshot_id, share)
        except (psycopg.Error, PostgresError) as error:
            reason = str(error).splitlines()[0]
            report(Log(f"One session fewer counts ({reason})."))
            mine.extend(share)
        else:
            counters.append(Counter(connection, tuple(share)))
    return (Counter(holder, tuple(mine)), *counters)


async def _join(
    connection: Connection, snapshot_id: str, tables: Sequence[TableInspection]
) -> None:
    await connection.execute(_BEGIN)
    await connection.execute(
        sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot_id))
    )
    try:
        await lock_tables(connection, tables, nowait=True)
    except psycopg.Error:
        # Not only of no use: with its transaction open it would hold on to some of the locks.
        await connection.close()
        raise


def _shares(tables: Sequence[TableInspection], count: int) -> list[list[TableInspection]]:
    """Divide the tables into shares of about equal size, the biggest tables first."""
    shares: list[list[TableInspection]] = [[] for _ in range(count)]
    loads = [0] * count
    for table in sorted(tables, key=lambda table: table.bytes or 0, reverse=True):
        lightest = loads.index(min(loads))
        shares[lightest].append(table)
        # A table costs something even when it is empty.
        loads[lightest] += (table.bytes or 0) + 8192
    return shares
