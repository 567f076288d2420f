"""The two databases of a merge: looked at through the maintenance database, then opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DatabaseMissing, IdentityMismatch, SafetyRefusal
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import RecoveryRequest
from fsbackup_tui.operations.target import (
    admin_address,
    check_target,
    source_address,
    target_text,
)


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """The server, and a session in the live database, with the rights of the maintenance role."""

    context: JobContext
    admin: Connection
    identity: ServerIdentity
    address: DatabaseAddress
    live: Connection
    live_oid: int

    async def open_live(self) -> Connection:
        """Open another session in live."""
        return await connect(
            self.address,
            application_name=self.context.application_name,
            database_oid=self.live_oid,
            lock_timeout_seconds=10,
        )

    @asynccontextmanager
    async def copy(self, name: str, oid: int) -> AsyncIterator[tuple[DatabaseAddress, Connection]]:
        """Open the copy, which must be the very database of that OID."""
        address = self.address.with_database(name)
        found = await _database(self.admin, name, oid, "the copy")
        with plain_errors(address):
            session = await connect(
                address,
                application_name=self.context.application_name,
                database_oid=found,
            )
            async with session:
                yield address, session


@asynccontextmanager
async def merge_target(
    request: RecoveryRequest, context: JobContext, *, live_oid: int, alone: bool
) -> AsyncIterator[MergeTarget]:
    """Open the live database of a request; ``alone``: under the lock of restores.

    Raises:
        IdentityMismatch: the server, or the live database, is not the one that was seen.
        SafetyRefusal: nobody is let into the database.
        LockHeld: a restore, a swap or another merge is under way.
    """
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    named = await source_address(
        loaded, environment, redactor, request.part, database=request.database
    )
    admin_place = await admin_address(loaded, environment, redactor, request.part)
    address = admin_place.with_database(named.database)
    async with AsyncExitStack() as stack:
        stack.enter_context(plain_errors(admin_place))
        admin = await connect(admin_place, application_name=context.application_name)
        await stack.enter_async_context(admin)
        identity = await read_identity(admin, admin_place)
        check_target(request.target, identity)
        context.report(Log(f"Target: {address.database}, {target_text(identity)}"))
        if alone:
            await stack.enter_async_context(restore_lock(admin, identity, context.application_name))
        oid = await _database(admin, address.database, live_oid, "the live database")
        stack.enter_context(plain_errors(address))
        live = await connect(address, application_name=context.application_name, database_oid=oid)
        await stack.enter_async_context(live)
        yield MergeTarget(context, admin, identity, address, live, oid)


async def _database(admin: Connection, name: str, oid: int, what: str) -> int:
    """Return the OID of the database of that name; ``oid`` 0 is not checked."""
    rows = await fetch_all(
        admin,
        "SELECT oid::int8, datallowconn FROM pg_catalog.pg_database WHERE datname = %s",
        [name],
    )
    if not rows:
        raise DatabaseMissing(
            f"DATABASE MISSING: there is no {name}. Nothing was done.",
            why=f"It was {what}; it was renamed or dropped.",
            fix="Look at the server's databases (psql -l), then start again.",
        )
    found, opened = rows[0]
    if oid and found != oid:
        raise IdentityMismatch(
            f"ANOTHER DATABASE: {name} is not the one it was. Nothing was done.",
            why=f"Its OID is {found}, expected was {oid}: it was renamed, or made anew.",
            fix="Look at the server's databases (psql -l), then start again.",
        )
    if not opened:
        raise SafetyRefusal(
            f"NOBODY IS LET IN: {name} takes no sessions, not even ours. Nothing was done.",
            why="It is frozen for everyone (ALLOW_CONNECTIONS false).",
            fix="Undo that freeze; a table or a role can stay frozen while rows are merged.",
        )
    return int(found)
