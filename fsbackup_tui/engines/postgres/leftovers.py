"""Databases that recoveries left: who uses them still, and dropping one that nobody does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_OURS = "fsbackup/"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Use:
    """Who keeps a database in use: sessions by application, role and pid, and what holds it."""

    sessions: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    prepared: tuple[str, ...] = ()

    def words(self, is_dead: Callable[[str], bool]) -> str:
        """Return why it can't be dropped, or nothing; what dead jobs left keeps nobody from it."""
        jobs = [job for job in self.jobs if not is_dead(job)]
        parts = []
        if self.slots:
            parts.append(f"the replication slot {_some(self.slots)} reads from it")
        if self.subscriptions:
            parts.append(f"the subscription {_some(self.subscriptions)} writes to it")
        if self.prepared:
            parts.append(f"the prepared transaction {_some(self.prepared)} is open in it")
        if self.sessions:
            parts.append(f"{_some(self.sessions)} is in it")
        if jobs:
            parts.append(f"the job {_some(jobs)} is in it")
        return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


async def uses_of(admin: Connection, oids: Sequence[int]) -> dict[int, Use]:
    """Return who uses the databases of these OIDs; autovacuum is nobody."""
    rows = await fetch_all(admin, _USES, {"oids": list(oids)})
    found: dict[int, dict[str, list[str]]] = {oid: {} for oid in oids}
    for oid, kind, name in rows:
        if kind == "session" and name.startswith(_OURS):
            kind, name = "job", name.removeprefix(_OURS).partition(" ")[0]
        found[oid].setdefault(kind, []).append(name)
    return {
        oid: Use(
            sessions=tuple(of.get("session", ())),
            jobs=tuple(dict.fromkeys(of.get("job", ()))),
            slots=tuple(of.get("slot", ())),
            subscriptions=tuple(of.get("subscription", ())),
            prepared=tuple(of.get("prepared", ())),
        )
        for oid, of in found.items()
    }


_USES = """
SELECT a.datid::int8, 'session', coalesce(nullif(a.application_name, ''), a.backend_type, '-')
       || ' of ' || coalesce(a.usename::text, '-') || ', pid ' || a.pid
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datid::int8 = ANY (%(oids)s) AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
  AND a.pid <> pg_catalog.pg_backend_pid()
UNION ALL
SELECT d.oid::int8, 'slot', s.slot_name::text
FROM pg_catalog.pg_replication_slots AS s
JOIN pg_catalog.pg_database AS d ON d.datname = s.database WHERE d.oid::int8 = ANY (%(oids)s)
UNION ALL
SELECT s.subdbid::int8, 'subscription', s.subname::text
FROM pg_catalog.pg_subscription AS s WHERE s.subdbid::int8 = ANY (%(oids)s)
UNION ALL
SELECT d.oid::int8, 'prepared', p.gid
FROM pg_catalog.pg_prepared_xacts AS p
JOIN pg_catalog.pg_database AS d ON d.datname = p.database WHERE d.oid::int8 = ANY (%(oids)s)
ORDER BY 1, 2, 3
"""


async def drop_database(admin: Connection, name: str, oid: int, *, force: bool) -> None:
    """Drop the database of this name and OID; ``force`` ends the sessions that are in it.

    Raises:
        SafetyRefusal: it is another one by now, or somebody came into it meanwhile.
        RightsMissing, PostgresError: the server refuses; it is as it was.
    """
    rows = await fetch_all(
        admin, "SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = %s", [name]
    )
    if not rows or rows[0][0] != oid:
        raise SafetyRefusal(
            f"NOT DROPPED: {name} is not the database that it was.",
            why="It was renamed, dropped or made anew since it was looked at.",
            fix="Look again: fsbackup leftovers",
        )
    options = sql.SQL(" WITH (FORCE)" if force else "")
    try:
        await admin.execute(sql.SQL("DROP DATABASE {}{}").format(sql.Identifier(name), options))
    except psycopg.Error as error:
        if admin.broken:
            raise
        raise _not_dropped(name, error) from error


def _not_dropped(name: str, error: psycopg.Error) -> Exception:
    what = f"NOT DROPPED: {name} is as it was."
    why = str(error).strip().splitlines()[0]
    if isinstance(error, psycopg.errors.ObjectInUse):
        return SafetyRefusal(what, why=why, fix="See who is in it: fsbackup leftovers")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RightsMissing(
            what, why=why, fix="Give 'admin: url' in the config its owner, or a superuser."
        )
    return PostgresError(what, why=why, fix="Mend what the server names, then drop it again.")


async def closed_databases(admin: Connection, names: Sequence[str]) -> dict[str, str]:
    """Return those of the databases that are closed to everybody, with the SQL that closed them."""
    rows = await fetch_all(
        admin,
        "SELECT datname::text, CASE WHEN datallowconn THEN 'CONNECTION LIMIT 0'"
        " ELSE 'ALLOW_CONNECTIONS false' END FROM pg_catalog.pg_database"
        " WHERE datname = ANY (%s) AND (NOT datallowconn OR datconnlimit = 0)",
        [list(names)],
    )
    return dict(rows)


async def schema_bytes(live: Connection, oids: Sequence[int]) -> dict[int, int]:
    """Return what the tables of each of these schemas take, with their indexes."""
    rows = await fetch_all(
        live,
        "SELECT relnamespace::int8, pg_catalog.sum(pg_catalog.pg_total_relation_size(oid))::int8"
        " FROM pg_catalog.pg_class WHERE relnamespace::int8 = ANY (%s) AND relkind IN ('r', 'm')"
        " GROUP BY 1",
        [list(oids)],
    )
    return dict(rows)


async def staged_since(live: Connection, schema: str) -> datetime | None:
    """Return when the first rows were staged in a schema; None where that can't be read."""
    try:
        async with live.transaction():
            cursor = await live.execute(
                sql.SQL("SELECT min(made) FROM {}").format(sql.Identifier(schema, "sets"))
            )
            row = await cursor.fetchone()
    except psycopg.Error:
        if live.broken:
            raise
        return None
    return None if row is None else row[0]
