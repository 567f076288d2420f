"""How every transaction begins that changes live: patient for seconds, alone, durable."""

from __future__ import annotations

import hashlib

from fsbackup_tui.domain.errors import LockHeld
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

LOCK_SECONDS = 5


async def begin_change(live: Connection) -> None:
    """Make the transaction at hand one that changes live: patient for seconds, alone, durable.

    Raises:
        LockHeld: another one is under way in this database.
    """
    await live.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
    await live.execute(f"SET LOCAL lock_timeout TO '{LOCK_SECONDS}s'")
    # An undo that a crash takes back, while the application was told of the rows, is none.
    await live.execute("SET LOCAL synchronous_commit TO on")
    rows = await fetch_all(live, "SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", [_lock_key()])
    if not rows[0][0]:
        raise LockHeld(
            "MERGE RUNNING: another merge into this database is under way. Nothing was done.",
            fix="Wait for it (fsbackup jobs), then start this one again.",
        )


def _lock_key() -> int:
    digest = hashlib.sha256(b"fsbackup merge").digest()
    return int.from_bytes(digest[:8], "big", signed=True)
