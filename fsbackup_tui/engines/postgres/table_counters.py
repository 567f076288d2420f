"""What the server counted of each table's rows: how much was written since, and how sure that is.

The counters belong to the database, whatever it is called, and survive its renaming. A crash of
the server sets all of them back (pgstat_reset_after_failure), which shows by the time that the
shared counters were reset at. A session tells what it wrote at the end of a transaction, but not
more often than once a second, and what is left when it has been idle for ten (pgstat_report_stat,
from 15 on); one that ends tells all.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg import sql

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_POLL_SECONDS = 0.4
_SAME_READINGS = 3
_IDLE_SECONDS = 11
_NEVER_SECONDS = 10**9


@dataclass(frozen=True, slots=True)
class TableCount:
    """One table's counters: rows inserted, updated, deleted; ``rows`` is the server's estimate."""

    name: str
    inserted: int
    updated: int
    deleted: int
    rows: int


@dataclass(frozen=True, slots=True)
class TableCounters:
    """All tables' counters by the tables' OIDs, at one moment (UTC, as text).

    ``resets`` are when the database's own and the server's shared counters were last reset, as
    the server's text: where they differ between two readings, these can't be compared.
    """

    database_oid: int
    at: str
    resets: tuple[str, str]
    tables: Mapping[int, TableCount] = field(default_factory=dict)

    def text(self) -> str:
        """Return the counters as one line of JSON."""
        tables = [[oid, *asdict(table).values()] for oid, table in sorted(self.tables.items())]
        return json.dumps(
            {
                "database_oid": self.database_oid,
                "at": self.at,
                "resets": list(self.resets),
                "tables": tables,
            },
            separators=(",", ":"),
        )


def parse_table_counters(text: str) -> TableCounters:
    """Return what ``TableCounters.text`` wrote; ValueError for anything else."""
    try:
        document: dict[str, Any] = json.loads(text)
        first, second = document["resets"]
        return TableCounters(
            int(document["database_oid"]),
            str(document["at"]),
            (str(first), str(second)),
            {
                int(oid): TableCount(str(name), int(ins), int(upd), int(gone), int(rows))
                for oid, name, ins, upd, gone, rows in document["tables"]
            },
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not counters: {error}") from error


async def read_table_counters(connection: Connection, at: str) -> TableCounters:
    """Return the counters of the session's database as they are told at this moment."""
    (oid, *resets), *_ = await fetch_all(connection, _RESETS)
    rows = await fetch_all(connection, _TABLES)
    return TableCounters(
        oid, at, (resets[0], resets[1]), {number: TableCount(*rest) for number, *rest in rows}
    )


_RESETS = """
SELECT d.oid::int8, coalesce(s.stats_reset::text, ''), coalesce(b.stats_reset::text, '')
FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_stat_database AS s ON s.datid = d.oid
CROSS JOIN pg_catalog.pg_stat_bgwriter AS b
WHERE d.datname = pg_catalog.current_database()
"""
_TABLES = """
SELECT relid::int8, schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del, n_live_tup
FROM pg_catalog.pg_stat_user_tables
WHERE schemaname !~ '^pg_' AND n_tup_ins + n_tup_upd + n_tup_del + n_live_tup > 0
"""


async def settled_table_counters(
    connection: Connection, at: str, *, limit_seconds: float
) -> tuple[TableCounters, int]:
    """Return the counters once all other sessions have told theirs, and how many have not.

    Sessions that are at work tell what they wrote at the end of their transactions; after
    ``limit_seconds`` it is not waited for them any more.
    """
    deadline = time.monotonic() + limit_seconds
    same, before = 0, await read_table_counters(connection, at)
    while True:
        (pending,) = (await fetch_all(connection, _PENDING, [_tells_when_idle(connection)]))[0]
        if not pending and same >= _SAME_READINGS - 1:
            return before, 0
        if time.monotonic() >= deadline:
            return before, int(pending)
        await asyncio.sleep(_POLL_SECONDS)
        now = await read_table_counters(connection, at)
        same = same + 1 if now == before else 0
        before = now


def _tells_when_idle(connection: Connection) -> int:
    """Return after how many idle seconds a session has told all; before 15 it may never have."""
    return _IDLE_SECONDS if connection.info.server_version >= 150000 else _NEVER_SECONDS


_PENDING = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
WHERE datid = (SELECT oid FROM pg_catalog.pg_database
               WHERE datname = pg_catalog.current_database())
  AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
  AND (state IS DISTINCT FROM 'idle'
       OR state_change > pg_catalog.clock_timestamp() - %s * interval '1 second')
"""


async def exact_rows(connection: Connection, oid: int, *, most_bytes: int) -> int | None:
    """Return how many rows a table has now; None where it is gone, or too big to be read."""
    rows = await fetch_all(
        connection,
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.oid = %s::oid AND pg_catalog.pg_relation_size(c.oid) <= %s",
        [oid, most_bytes],
    )
    if not rows:
        return None
    cursor = await connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*rows[0]))
    )
    counted = await cursor.fetchone()
    return None if counted is None else int(counted[0])
