"""Numbers that neither of two swapped databases gives twice: what one has can be merged then."""

from __future__ import annotations

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.numbers import numbers_to_set, read_numbers, set_numbers
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.operations.context import JobContext

MARGIN = 10_000
"""So many numbers may be drawn from the one that leaves until the swap, or the rollback."""

_LOCK_SECONDS = 2.0


async def move_numbers(
    context: JobContext,
    address: DatabaseAddress,
    *,
    of: Database,
    beyond: Database,
    margin: int = 0,
) -> str:
    """Move the sequences ``of`` one database beyond those of the other; returns why not.

    Rows born in both get numbers of their own by it: those of the database that is kept can be
    merged into the one that is live without a clash, and a number that was told to somebody means
    one thing only. So also at a rollback, whose rows are exactly as they were.
    """
    try:
        with plain_errors(address):
            async with await _open(context, address, beyond) as connection:
                reached = await read_numbers(connection)
            async with await _open(context, address, of) as connection:
                wanted = numbers_to_set(await read_numbers(connection), reached, margin=margin)
                await set_numbers(connection, wanted)
    except FsbackupError as error:
        return f"rows born in {of.name} may get numbers that {beyond.name} gave: {error.what}"
    if wanted:
        context.report(Log(f"{len(wanted)} sequences go on beyond those of {beyond.name}"))
    return ""


async def _open(context: JobContext, address: DatabaseAddress, database: Database) -> Connection:
    return await connect(
        address.with_database(database.name),
        application_name=context.application_name,
        database_oid=database.oid,
        lock_timeout_seconds=_LOCK_SECONDS,
    )
