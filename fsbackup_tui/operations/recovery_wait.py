"""A backup waits for a restore, swap or merge that runs on the server of its database."""

from __future__ import annotations

import asyncio

from fsbackup_tui.domain.errors import FsbackupError, LockHeld
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.side import who_restores
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.target import admin_address

RESTORE_WAIT_SECONDS = 3600.0
_LOOK_SECONDS = 1.0


async def wait_for_restores(
    context: JobContext, source: str, limit_seconds: float, *, look_seconds: float = _LOOK_SECONDS
) -> None:
    """Return when nobody restores, swaps or merges on the source's server.

    Where that can't be seen (the maintenance database is out of reach) nobody is waited for, and
    the journal says so: a backup that could be taken must be.

    Raises:
        LockHeld: somebody still does after the limit.
    """
    try:
        await _wait(context, source, limit_seconds, look_seconds)
    except LockHeld:
        raise
    except FsbackupError as error:
        context.report(Log(f"Not looked for restores on the server of {source}: {error.what}"))


async def _wait(
    context: JobContext, source: str, limit_seconds: float, look_seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_seconds
    address = await admin_address(context.loaded, context.environment, context.redactor, source)
    told = ""
    with plain_errors(address):
        connection = await connect(address, application_name=context.application_name)
        async with connection:
            identity = await read_identity(connection, address)
            while who := await who_restores(connection, identity, context.application_name):
                if who != told:
                    context.report(Log(f"Waiting: a restore runs on this server: {who}."))
                    told = who
                if loop.time() >= deadline:
                    raise _gave_up(who, limit_seconds)
                await asyncio.sleep(look_seconds)


def _gave_up(who: str, limit_seconds: float) -> LockHeld:
    return LockHeld(
        "NOT BACKED UP: a restore, swap or merge on this server runs on and on.",
        why=f"After {limit_seconds:.0f} s still: {who}.",
        fix="Back up once it has ended (fsbackup jobs), or wait longer: --wait SECONDS",
    )
