"""A staging schema begun for a plan, after what dead plans left was swept; and abandoned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
from psycopg import sql

from fsbackup_tui.domain.errors import FsbackupError, LockHeld
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.merge.staging import (
    Staging,
    create_staging,
    drop_staging,
    find_stagings,
    open_staging,
    read_sets,
    staging_name,
)

# What a plan alone leaves; anything else is what a merge needs to be undone.
_OF_A_PLAN = re.compile(r"sets|lost|s0_\w+|column_\d+")


async def begin_staging(live: Connection, incident: str, job: str) -> tuple[Staging, list[str]]:
    """Make a staging schema for a plan; return it, and the schemas that were swept before.

    Swept are those of plans that never came to their end, and the one of the same incident that
    nothing was merged from. Until the session ends, no other plan begins in this database.

    Raises:
        LockHeld: another plan is being made here.
        RightsMissing: the role may not make schemas in this database.
    """
    rows = await fetch_all(live, "SELECT pg_catalog.pg_try_advisory_lock(%s)", [_lock_key()])
    if not rows[0][0]:
        raise LockHeld(
            "PLAN RUNNING: another merge into this database is being planned. Nothing was done.",
            fix="Wait for it (fsbackup jobs), then start this one again.",
        )
    swept: list[str] = []
    for left in await find_stagings(live):
        if await _swept(live, left.schema, same_incident=left.incident == incident):
            swept.append(left.schema)
    taken = {name for (name,) in await fetch_all(live, "SELECT nspname::text FROM pg_namespace")}
    number = 1
    while staging_name(incident, number) in taken:
        number += 1
    return await create_staging(live, incident, job=job, number=number), swept


async def _swept(live: Connection, schema: str, *, same_incident: bool) -> bool:
    """Drop the schema if nothing in it is worth keeping; whether it was."""
    staging = await open_staging(live, schema)
    with suppress(psycopg.Error, FsbackupError):
        async with live.transaction():
            await live.execute("SET TRANSACTION READ WRITE")
            await live.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT").format(
                    staging.relation("sets")
                )
            )
            sets = await read_sets(live, staging)
            relations = await fetch_all(
                live,
                "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n"
                " ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind IN ('r', 'p')",
                [schema],
            )
            worthless = all(_OF_A_PLAN.fullmatch(name) for (name,) in relations)
            if not worthless or len(sets) > 1 or (sets and not same_incident):
                return False
            await drop_staging(live, schema)
        return True
    return False


async def abandon_staging(open_live: Callable[[], Awaitable[Connection]], schema: str) -> None:
    """Drop the staging schema of a plan that failed, over a session of its own, if that can be.

    What is left then is swept by the next plan.
    """
    with suppress(psycopg.Error, FsbackupError):
        async with await open_live() as live:
            await drop_staging(live, schema)


def _lock_key() -> int:
    digest = hashlib.sha256(b"fsbackup merge plan").digest()
    return int.from_bytes(digest[:8], "big", signed=True)
