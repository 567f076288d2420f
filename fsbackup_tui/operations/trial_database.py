"""The database that a trial restore fills: made, marked, and gone when the trial is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from fsbackup_tui.domain.errors import FsbackupError, LockHeld, ServerUnreachable
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.lacks import speak_english
from fsbackup_tui.engines.postgres.replay import (
    FILLING_SETTINGS,
    CreatedDatabase,
    create_database,
)
from fsbackup_tui.engines.postgres.side import (
    drop_unfinished,
    newborn_name,
    restore_lock,
    sweep_newborn,
    unfinished_comment,
)
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.one_job import ErrorsTorn
from fsbackup_tui.operations.scratch_look import ScratchPlace

_LOCK_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.5


@dataclass
class TrialDatabase:
    """An empty database like the captured one; with ``kept`` it stays when the trial is over.

    ``admin`` is a session in the maintenance database, open as long as the trial: by it other
    hosts see that the trial lives.
    """

    created: CreatedDatabase
    admin: Connection
    kept: bool = False

    @property
    def name(self) -> str:
        """The database's name."""
        return self.created.name


@asynccontextmanager
async def trial_database(
    context: JobContext,
    place: ScratchPlace,
    facts: PostgresFacts,
    *,
    is_alive: Callable[[str], bool],
) -> AsyncIterator[TrialDatabase]:
    """Make a database for the job on the place, for the block; what dead jobs left goes first.

    The lock around restores into a server is held while the database is made, and no longer: a
    trial of hours keeps nobody from restoring.

    Raises:
        LockHeld: a restore into the live server is under way, which comes first.
        PostgresError: the database can't be made.
    """
    with plain_errors(place.address):
        admin = await connect(place.address, application_name=context.application_name)
        async with admin:
            created = await _make(context, place, admin, facts, is_alive)
            database = TrialDatabase(created, admin)
            for note in created.notes:
                context.report(Log(note))
            again = False
            try:
                yield database
            except ErrorsTorn:
                again = True
                raise
            finally:
                if not database.kept and (again or place.kind != "own"):
                    await undisturbed(_drop(context, place, admin, created))


async def _make(
    context: JobContext,
    place: ScratchPlace,
    admin: Connection,
    facts: PostgresFacts,
    is_alive: Callable[[str], bool],
) -> CreatedDatabase:
    async with AsyncExitStack() as stack:
        if place.kind != "own":
            await _enter_lock(stack, context, place, admin)
            for job in await sweep_newborn(admin, is_alive):
                context.report(Log(f"Dropped the unfinished copy that the dead job {job} left."))
        try:
            return await create_database(
                admin,
                newborn_name(context.job),
                facts,
                comment=unfinished_comment(context.job),
                filling_settings=await _settings(admin),
            )
        except BaseException:
            if not admin.closed and place.kind != "own":
                await undisturbed(_drop_newborn(context, admin))
            raise


async def _settings(admin: Connection) -> tuple[tuple[str, str], ...]:
    """Return the settings for loading; what the server says is to be understood, where we may."""
    in_english = await speak_english(admin)
    return (*FILLING_SETTINGS, ("lc_messages", "C")) if in_english else FILLING_SETTINGS


async def _enter_lock(
    stack: AsyncExitStack, context: JobContext, place: ScratchPlace, admin: Connection
) -> None:
    """Take the lock; on a scratch server another trial has it for a moment only."""
    deadline = time.monotonic() + (_LOCK_SECONDS if place.kind == "server" else 0.0)
    while True:
        try:
            await stack.enter_async_context(
                restore_lock(admin, place.identity, context.application_name)
            )
        except LockHeld:
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        else:
            return


async def _drop_newborn(context: JobContext, admin: Connection) -> None:
    """Drop what a creation that was cut short may have made."""
    try:
        await sweep_newborn(admin, lambda job: job != context.job)
    except FsbackupError as problem:
        context.report(Warned(problem.what))


async def _drop(
    context: JobContext, place: ScratchPlace, admin: Connection, created: CreatedDatabase
) -> None:
    """Drop the database; where that fails, say so: the next trial there drops it first."""
    try:
        if not admin.closed:
            with suppress(ServerUnreachable), plain_errors(place.address):
                await drop_unfinished(admin, created.name, created.oid)
                return
        # The session was lost; its server may well be there.
        with plain_errors(place.address):
            again = await connect(place.address, application_name=context.application_name)
            async with again:
                await drop_unfinished(again, created.name, created.oid)
    except FsbackupError as problem:
        context.report(
            Warned(
                f"LEFT OVER: {created.name} on {place.text}. {problem.what} The next trial or "
                "restore there drops it."
            )
        )
