"""Bringing to life in the restored database what no copy may have: subscriptions, cron jobs.

A subscription stays with the database that gave its name away, and its slot at the publisher with
it. Moving it loses nothing of what the publisher keeps: it goes on where the slot stands. What it
brought between the point and then is in the kept database alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

# How pg_dump ends a subscription's definition: without reaching the publisher it would come to be
# without its tables, and changes that arrive for those unknown ones are thrown away.
_WITHOUT_PUBLISHER = " WITH (connect = false, "
_DISABLED = " WITH (enabled = false, create_slot = false, copy_data = false, "
_MOST_JOBS = 200


@dataclass(frozen=True, slots=True)
class _Subscription:
    enabled: bool
    slot: str | None


@contextmanager
def _said_of(what: str) -> Iterator[None]:
    """Raise what a server says as ours."""
    try:
        yield
    except psycopg.Error as error:
        raise _not_armed(what, str(error).strip().splitlines()[0]) from error


def _not_armed(what: str, why: str) -> PostgresError:
    return PostgresError(f"NOT ARMED: {what}.", why=why)


async def move_subscription(
    kept: Connection | None, live: Connection, name: str, definition: str, comment: str = ""
) -> str:
    """Let the subscription go on in ``live``, which ``kept`` has now; returns what was done.

    Each step leaves it in a state from which this goes on when it is called again: it is made,
    disabled, before it is stopped where it was, and lets go of its slot there before it takes it.
    ``definition`` and ``comment`` are the archive's statements.

    Raises:
        PostgresError: it is nowhere, was disabled before, the archive has no definition of it, or
            the server or the publisher refuses.
    """
    with _said_of(f"subscription {name}"):
        return await _move(kept, live, name, definition, comment)


async def _move(
    kept: Connection | None, live: Connection, name: str, definition: str, comment: str
) -> str:
    identifier = sql.Identifier(name)
    there = None if kept is None else await _find(kept, name)
    here = await _find(live, name)
    if here is None:
        if there is None:
            raise _not_armed(f"subscription {name}", "no database has it any more")
        if there.slot is None:
            raise _not_armed(f"subscription {name}", "it has no slot at the publisher any more")
        if not there.enabled:
            raise _not_armed(f"subscription {name}", "it was disabled before")
        head, found, options = definition.rpartition(_WITHOUT_PUBLISHER)
        if not found:
            raise _not_armed(f"subscription {name}", "the archive does not hold its definition")
        # Foreign text as a whole: the archive's own definition, run as pg_restore would run it.
        await live.execute((head + _DISABLED + options).encode())
        if comment:
            await live.execute(comment.encode())
    elif here.enabled and (there is None or there.slot is None):
        return "it goes on there already"
    if kept is not None and there is not None:
        if there.enabled:
            await kept.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(identifier))
        if there.slot is not None:
            await _give_slot(kept, name, None)
    await live.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(identifier))
    return "it goes on where its slot stands"


async def move_subscription_back(kept: Connection, live: Connection, name: str) -> str:
    """Undo ``move_subscription``: it goes on in ``kept``, and ``live`` has none any more."""
    with _said_of(f"subscription {name}"):
        return await _move_back(kept, live, name)


async def _move_back(kept: Connection, live: Connection, name: str) -> str:
    identifier = sql.Identifier(name)
    there, here = await _find(kept, name), await _find(live, name)
    if there is None:
        raise _not_armed(f"subscription {name}", "the kept database has it no more")
    if here is not None:
        slot = here.slot or name
        if here.enabled:
            await live.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(identifier))
        if there.slot is None:
            await _give_slot(kept, name, slot)
        if here.slot is not None:
            await _give_slot(live, name, None)
        await live.execute(sql.SQL("DROP SUBSCRIPTION {}").format(identifier))
    await kept.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(identifier))
    return "it goes on in the kept database"


async def _give_slot(connection: Connection, name: str, slot: str | None) -> None:
    value = sql.SQL("NONE") if slot is None else sql.Literal(slot)
    await connection.execute(
        sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = {})").format(sql.Identifier(name), value)
    )


async def _find(connection: Connection, name: str) -> _Subscription | None:
    rows = await fetch_all(
        connection,
        "SELECT s.subenabled, s.subslotname::text FROM pg_catalog.pg_subscription AS s"
        " JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid"
        " WHERE s.subname = %s AND d.datname = pg_catalog.current_database()",
        [name],
    )
    return _Subscription(*rows[0]) if rows else None


async def cron_jobs(live: Connection) -> tuple[str, ...] | None:
    """Return the jobs of pg_cron in a database, in words; None where it has no pg_cron."""
    with _said_of("pg_cron"):
        return await _jobs(live)


async def drop_cron(live: Connection) -> None:
    """Take pg_cron and its jobs out of a database again."""
    with _said_of("pg_cron"):
        await live.execute("DROP EXTENSION IF EXISTS pg_cron")


async def _jobs(live: Connection) -> tuple[str, ...] | None:
    rows = await fetch_all(live, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'pg_cron'")
    if not rows:
        return None
    jobs = await fetch_all(
        live,
        "SELECT jobid::text, schedule::text, command::text, active FROM cron.job"
        " ORDER BY jobid LIMIT %s",
        [_MOST_JOBS],
    )
    return tuple(
        f"{number}  {schedule}  {' '.join(command.split())}" + ("" if active else "  (inactive)")
        for number, schedule, command, active in jobs
    )
