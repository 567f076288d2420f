"""The two databases of a merge: looked at through the maintenance database, then opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DatabaseMissing, IdentityMismatch, SafetyRefusal
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_server import LiveServer, find_live_server
from fsbackup_tui.operations.recovery_requests import RecoveryRequest
from fsbackup_tui.operations.target import server_text

_CLEAN_UP_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """The server, and the administrator's session in the live database."""

    server: LiveServer
    admin: Connection
    live: Connection
    live_oid: int

    async def open_live(self) -> Connection:
        """Open another session in live, to clean up: it does not wait for ever."""
        return await connect(
            self.server.live(),
            application_name=self.server.context.application_name,
            database_oid=self.live_oid,
            lock_timeout_seconds=_CLEAN_UP_LOCK_SECONDS,
        )

    @asynccontextmanager
    async def copy(self, name: str, oid: int) -> AsyncIterator[tuple[DatabaseAddress, Connection]]:
        """Open the copy, which must be the very database of that OID."""
        found = await _database(self.admin, name, oid, "the copy")
        async with self.server.in_live(name, oid=found) as session:
            yield self.server.live(name), session


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
    server = await find_live_server(request, context)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(server.in_maintenance())
        identity = await read_identity(admin, server.admin)
        context.report(Log(f"Target: {server.live_name} on {server_text(identity)}"))
        if alone:
            await stack.enter_async_context(restore_lock(admin, identity, context.application_name))
        oid = await _database(admin, server.live_name, live_oid, "the live database")
        live = await stack.enter_async_context(server.in_live(oid=oid))
        yield MergeTarget(server, admin, live, oid)


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
            why="ALLOW_CONNECTIONS is false for it.",
            fix=f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true; then start again.',
        )
    return int(found)
