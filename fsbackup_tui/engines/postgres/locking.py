"""The locks a backup takes: how many the server has room for, and who waits because of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection

_BATCH = 1000
_SHARE_WE_MAY_FILL = 0.9


@dataclass(frozen=True, slots=True)
class LockBudget:
    """What is left of the server's lock table, and what the dump alone will take of it.

    ``objects`` counts things locked, ``holders`` pairs of a session and a thing: PostgreSQL sizes
    the table for max_locks_per_transaction × (max_connections + max_prepared_transactions)
    things with two holders each (src/backend/storage/lmgr/lock.c), and a full one makes every
    session's next lock fail, the application's too.
    """

    size: int
    objects: int
    holders: int
    tables: int
    dumped_objects: int
    dump_jobs: int

    @property
    def parallel_dump_fits(self) -> bool:
        """Whether pg_dump -jN has room: each table is locked by its leader and by one worker."""
        return self.tables * 2 <= self.holders and self.dumped_objects <= self.objects

    @property
    def holder_fits(self) -> bool:
        """Whether one session of ours may lock every table beside the dump."""
        return self.dumped_objects <= self.objects and self._free_for_counting >= 0

    @property
    def _free_for_counting(self) -> int:
        dump = self.dumped_objects + (self.tables if self.dump_jobs > 1 else 0)
        return self.holders - dump - self.tables

    def counting_sessions(self, wanted: int) -> int:
        """Return how many sessions, the holder being the first, may share the counting."""
        if not self.holder_fits or wanted < 1:
            return 0
        sessions = wanted
        while sessions > 1 and self.tables * (sessions - 1) // sessions > self._free_for_counting:
            sessions -= 1
        return sessions

    @property
    def note(self) -> str:
        """Why nothing is counted, in words for the manifest."""
        return (
            f"not counted: {self.tables} tables are more than the server's lock table has room"
            f" for beside the dump ({self.size} locks; raise max_locks_per_transaction)"
        )


async def read_budget(
    connection: Connection, tables: Sequence[TableInspection], *, dump_jobs: int
) -> LockBudget:
    """Return the budget for these tables as the server stands now."""
    rows = await fetch_all(connection, _BUDGET)
    size, objects, holders, others = rows[0]
    lockable = sum(table.lockable for table in tables)
    usable = int(size * _SHARE_WE_MAY_FILL)
    return LockBudget(
        size, usable - objects, 2 * usable - holders, lockable, lockable + others, dump_jobs
    )


# pg_dump locks, besides the tables, the sequences it reads and the views it has deparsed.
_BUDGET = """
SELECT current_setting('max_locks_per_transaction')::int8
       * (current_setting('max_connections')::int8
          + current_setting('max_prepared_transactions')::int8),
       (SELECT count(DISTINCT (locktype, database, relation, page, tuple, transactionid::text,
                               classid, objid, objsubid)) FROM pg_locks WHERE NOT fastpath),
       (SELECT count(*) FROM pg_locks WHERE NOT fastpath),
       (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('S', 'v', 'm') AND n.nspname !~ '^pg_'
          AND n.nspname <> 'information_schema')
"""


async def lock_tables(
    connection: Connection, tables: Sequence[TableInspection], *, nowait: bool = False
) -> None:
    """Lock each table, not what inherits from it, ACCESS SHARE in the transaction at hand.

    Raises:
        psycopg.errors.LockNotAvailable: not within the session's lock_timeout, or not at once.
        psycopg.errors.UndefinedTable: one of them is gone.
    """
    for start in range(0, len(tables), _BATCH):
        names = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier(table.schema, table.name))
            for table in tables[start : start + _BATCH]
        )
        await connection.execute(
            sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE{}").format(
                names, sql.SQL(" NOWAIT" if nowait else "")
            )
        )


async def held_tables(connection: Connection) -> set[int]:
    """Return the OIDs of the relations on which the session holds ACCESS SHARE."""
    rows = await fetch_all(
        connection,
        "SELECT relation::int8 FROM pg_locks WHERE pid = pg_backend_pid() AND granted"
        " AND locktype = 'relation' AND mode = 'AccessShareLock'",
    )
    return {row[0] for row in rows}


@dataclass(frozen=True, slots=True)
class BlockedSession:
    """A session that waits for a lock because of a session of ours."""

    pid: int
    role: str
    application: str
    statement: str
    table: str
    waiting_seconds: float

    def text(self) -> str:
        """Return who waits, for how long, for what, in words; never more of a statement."""
        who = f"{self.role or '-'} ({self.application or '-'}, pid {self.pid})"
        return f"{who} waits {self.waiting_seconds:.0f} s for {self.table}: {self.statement}"


async def blocked_sessions(
    monitor_connection: Connection, application_name: str
) -> list[BlockedSession]:
    """Return the sessions that wait for one of ours, those waiting longest first.

    Ours are those of that application_name; the monitoring session is in the same database.
    Of the statement only its first two words are told, ``-`` where the role may not see it.
    """
    rows = await fetch_all(monitor_connection, _BLOCKED, [application_name, application_name])
    return [
        BlockedSession(
            pid,
            role or "",
            app or "",
            " ".join(word for word in words or ["-"] if word),
            table or "-",
            seconds,
        )
        for pid, role, app, words, table, seconds in rows
    ]


_BLOCKED = r"""
SELECT DISTINCT ON (waiting.pid)
       waiting.pid, activity.usename::text, activity.application_name,
       CASE WHEN activity.query ~ '^\s*[A-Za-z]'
            THEN (regexp_match(upper(activity.query), '^\s*([A-Z]+)(?:\s+([A-Z]+))?')) END,
       waiting.relation::regclass::text,
       greatest(0, extract(epoch FROM clock_timestamp()
                           - coalesce(waiting.waitstart, clock_timestamp())))::float8
FROM pg_locks AS waiting
JOIN pg_stat_activity AS activity ON activity.pid = waiting.pid
WHERE NOT waiting.granted
  AND activity.application_name IS DISTINCT FROM %s
  AND EXISTS (SELECT FROM pg_stat_activity AS ours
              WHERE ours.pid = ANY (pg_blocking_pids(waiting.pid))
                AND ours.application_name = %s)
ORDER BY waiting.pid, waiting.waitstart
"""


async def blocked_by_us(
    monitor_connection: Connection, application_name: str, *, longer_than_seconds: float = 0
) -> list[str]:
    """Return, in words, who has waited longer than that because of a session of ours."""
    sessions = await blocked_sessions(monitor_connection, application_name)
    sessions.sort(key=lambda session: session.waiting_seconds, reverse=True)
    return [
        session.text() for session in sessions if session.waiting_seconds >= longer_than_seconds
    ]


async def who_locks(
    connection: Connection, tables: Sequence[TableInspection]
) -> tuple[str, str] | None:
    """Return one of these tables that somebody locks exclusively, and who does, in words."""
    rows = await fetch_all(connection, _WHO_LOCKS, [[table.oid for table in tables]])
    if not rows:
        return None
    table, mode, pid, role, application, seconds = rows[0]
    since = "" if seconds is None else f", in a transaction of {seconds:.0f} s"
    return table, f"{role or '-'} ({application or '-'}, pid {pid}{since}) has {mode} on it."


_WHO_LOCKS = """
SELECT l.relation::regclass::text, l.mode, l.pid, a.usename::text, a.application_name,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.relation = ANY (%s::oid[])
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.granted DESC, a.xact_start LIMIT 1
"""
