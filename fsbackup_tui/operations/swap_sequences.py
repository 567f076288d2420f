"""Letting no key be given out twice by two databases of which one takes the other's place."""

from __future__ import annotations

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.sequences_apart import keep_sequences_apart
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.operations.context import JobContext

_LOCK_SECONDS = 2.0


async def keep_apart(
    context: JobContext,
    address: DatabaseAddress,
    copy: Database,
    live: Database,
    notes: list[str],
) -> int | None:
    """Move the copy's sequences on past live's, and return how many were.

    None where it can't be done: ``notes`` has what that means then.
    """
    try:
        with plain_errors(address):
            async with (
                await _open(context, address, live) as drawn,
                await _open(context, address, copy) as moved,
            ):
                count = await keep_sequences_apart(moved, drawn)
    except FsbackupError as error:
        notes.append(
            "The sequences are not moved on, so that new rows may get the keys of rows that only"
            f" the former database has, and keep them from being merged: {error.what}"
        )
        return None
    if count:
        context.report(Log(f"{count} sequences go on past those of the former database"))
    return count


async def _open(context: JobContext, address: DatabaseAddress, database: Database) -> Connection:
    return await connect(
        address.with_database(database.name),
        application_name=context.application_name,
        database_oid=database.oid,
        lock_timeout_seconds=_LOCK_SECONDS,
    )
