"""Logical replication slots of a database that gave its name away: what they hold, what to do.

A slot belongs to the database it was made in, whatever that is called (reference/ops.md n). Its
subscriber, which connects by name, meets the other database and is refused ("was not created in
this database"), so that nothing is lost while it waits; and all WAL since is kept for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.kept_name import is_kept_name
from fsbackup_tui.domain.rearming import subscription_lines
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

_BUILT_IN = "pgoutput"


@dataclass(frozen=True, slots=True)
class LogicalSlot:
    """One slot; ``retained_bytes`` of WAL are kept for it (None: it holds none, or not known)."""

    name: str
    plugin: str
    active: bool
    retained_bytes: int | None


async def find_slots(admin: Connection, database: str) -> tuple[LogicalSlot, ...]:
    """Return the lasting logical slots of the database of that name."""
    rows = await fetch_all(
        admin,
        "SELECT slot_name::text, plugin::text, active, pg_catalog.pg_wal_lsn_diff("
        " CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"
        " ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::int8"
        " FROM pg_catalog.pg_replication_slots"
        " WHERE database = %s AND slot_type = 'logical' AND NOT temporary ORDER BY 1",
        [database],
    )
    return tuple(LogicalSlot(*row) for row in rows)


@dataclass(frozen=True, slots=True)
class KeptSlot:
    """A slot of a database that a recovery put aside, and the WAL that is kept for it."""

    name: str
    database: str
    retained_bytes: int | None


async def kept_slots(connection: Connection) -> tuple[KeptSlot, ...]:
    """Return the lasting slots of all databases that recoveries put aside, by any session."""
    rows = await fetch_all(
        connection,
        "SELECT slot_name::text, database::text, pg_catalog.pg_wal_lsn_diff("
        " CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"
        " ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::int8"
        " FROM pg_catalog.pg_replication_slots"
        " WHERE slot_type = 'logical' AND NOT temporary ORDER BY 1",
    )
    return tuple(KeptSlot(*row) for row in rows if is_kept_name(row[1]))


def follow_up(slot: LogicalSlot, live: str, kept: str) -> tuple[str, ...]:
    """Return what to run for a slot once nobody will roll back, as lines; SQL ends in ``;``.

    Each line of SQL is led by the place where it runs: the subscriber, or a database here. The
    subscription is taken to be called as its slot, which is what CREATE SUBSCRIPTION does.
    """
    drop = sql.SQL("SELECT pg_drop_replication_slot({});").format(sql.Literal(slot.name))
    make = sql.SQL("SELECT pg_create_logical_replication_slot({}, {});").format(
        sql.Literal(slot.name), sql.Literal(slot.plugin)
    )
    first = (
        f"Slot {slot.name} ({slot.plugin}) stayed with {kept}: its subscriber waits, and the "
        "server keeps all WAL since, until its disk is full.",
        "While you may still roll back, leave it: after a rollback its subscriber goes on by "
        "itself, and has missed nothing. Else:",
    )
    if slot.plugin != _BUILT_IN:
        return (
            *first,
            f"  {kept}: {_text(drop)}",
            f"  {live}: {_text(make)}",
            "  Its consumer needs a new snapshot: what was restored never passed through a slot.",
        )
    subscription = sql.Identifier(slot.name)

    def alter(what: str) -> str:
        statement = sql.SQL("ALTER SUBSCRIPTION {} ").format(subscription)
        return f"  subscriber: {_text(statement)}{what};"

    return (
        *first,
        alter("DISABLE"),
        alter("SET (slot_name = NONE)"),
        f"  {kept}: {_text(drop)}",
        f"  {live}: {_text(make)}",
        alter(f"SET (slot_name = {_text(sql.Literal(slot.name))})"),
        alter("ENABLE"),
        alter("REFRESH PUBLICATION WITH (copy_data = true)"),
        "From then on it gets what is written. Rows that it has and the restored database has "
        "not stay in it: to have all copied anew, TRUNCATE its tables, then DROP and CREATE the "
        "subscription instead of the last four lines.",
    )


def subscription_follow_up(name: str, live: str, kept: str) -> tuple[str, ...]:
    """Return what to run for a subscription that went on into the database that was kept."""
    return (
        f"Subscription {name} stayed with {kept} and goes on writing there. The step that "
        "starts the jobs again lets it go on in the live database; by hand:",
        *subscription_lines(name, live, kept),
        f"What it brought between the point and then is in {kept} alone.",
    )


def _text(statement: sql.Composable) -> str:
    return statement.as_string(None)
