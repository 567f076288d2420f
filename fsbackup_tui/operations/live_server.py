"""The server of the live database as a recovery's jobs meet it: gone into as its administrator.

While the application's role, or everybody, is kept out, the source's own role may be, too: it is
often the application's. The administrator always gets in (engines/postgres/freeze.py), so what
works on live in an incident goes in as it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import (
    DatabaseMissing,
    FsbackupError,
    PostgresError,
    SecretUnavailable,
    UsageError,
)
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import RecoveryRequest
from fsbackup_tui.operations.target import admin_address, check_target, source_address, target_text


@dataclass(frozen=True, slots=True)
class LiveServer:
    """Where live is and how to get in; ``source`` is the source's own way, which may be shut."""

    context: JobContext
    admin: DatabaseAddress
    source: DatabaseAddress

    @property
    def live_name(self) -> str:
        """The name of the database that is live, or of the copy that a drill plays on."""
        return self.source.database

    def live(self, database: str | None = None) -> DatabaseAddress:
        """Return how the administrator reaches the live database, or another one there."""
        return self.admin.with_database(database or self.live_name)

    def app_role(self) -> str:
        """Return whom the application connects as; UsageError where nobody said."""
        role = self.context.loaded.config.recovery.app_role or self.source.user
        if not role:
            raise UsageError(
                "APPLICATION'S ROLE UNKNOWN: the source's address names no user.",
                fix="Name it in the config: recovery: {app_role: NAME}",
            )
        return role

    @asynccontextmanager
    async def in_maintenance(self) -> AsyncIterator[Connection]:
        """Give a session in the maintenance database; its errors come out as ours."""
        async with self._session(self.admin) as connection:
            yield connection

    @asynccontextmanager
    async def in_live(
        self, database: str | None = None, *, oid: int | None = None
    ) -> AsyncIterator[Connection]:
        """Give the administrator's session in live, or in the other database of that name."""
        async with self._session(self.live(database), oid) as connection:
            yield connection

    @asynccontextmanager
    async def in_live_as_source(
        self, database: str, *, oid: int | None = None
    ) -> AsyncIterator[Connection]:
        """Give a session there of the source's own role: it may own what the administrator not."""
        async with self._session(self.source.with_database(database), oid) as connection:
            yield connection

    @asynccontextmanager
    async def _session(
        self, address: DatabaseAddress, oid: int | None = None
    ) -> AsyncIterator[Connection]:
        with plain_errors(address):
            connection = await connect(
                address, application_name=self.context.application_name, database_oid=oid
            )
            async with connection:
                yield connection


async def find_live_server(request: RecoveryRequest, context: JobContext) -> LiveServer:
    """Return the server that a request is about.

    Raises:
        IdentityMismatch: it is not the one that the person saw.
        PostgresError, SecretUnavailable, UsageError: it can't be reached.
    """
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    admin = await admin_address(loaded, environment, redactor, request.part)
    source = await source_address(
        loaded, environment, redactor, request.part, database=request.database
    )
    server = LiveServer(context, admin, source)
    async with server.in_maintenance() as connection:
        check_target(request.target, await read_identity(connection, admin))
    return server


async def confirm_target(
    admin: Connection,
    address: DatabaseAddress,
    confirmed: ServerIdentity | None,
    context: JobContext,
) -> ServerIdentity:
    """Return which database it is, told in the job's journal.

    Raises:
        IdentityMismatch: it is not the one that was confirmed.
    """
    identity = await read_identity(admin, address)
    check_target(confirmed, identity)
    context.report(Log(f"Target: {target_text(identity)}"))
    return identity


async def reading_address(context: JobContext, part: str, database: str = "") -> DatabaseAddress:
    """Return as whom live is read in an incident, be it frozen or not; ``database`` as ever.

    It is the administrator where that is a superuser. One that is none may not read all that the
    source's own role may: it stands in for it only while that role is kept out. Raises nothing for
    a server that can't be reached: whoever uses the address is told.
    """
    arguments = (context.loaded, context.environment, context.redactor, part)
    source = await source_address(*arguments, database=database)
    try:
        admin = await admin_address(*arguments)
    except (SecretUnavailable, UsageError):
        return source
    # Where Prisma's migrations are, only the source's own URL tells.
    as_admin = replace(admin.with_database(source.database), schema=source.schema)
    if (admin.host, admin.port, admin.user) == (source.host, source.port, source.user):
        return source
    try:
        if await _is_superuser(context, as_admin):
            return as_admin
    except DatabaseMissing:
        return as_admin
    except FsbackupError:
        return source
    return source if await _gets_in(context, source) else as_admin


async def _is_superuser(context: JobContext, address: DatabaseAddress) -> bool:
    with plain_errors(address):
        async with await connect(address, application_name=context.application_name) as session:
            rows = await fetch_all(
                session,
                "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user",
            )
    return bool(rows and rows[0][0])


async def _gets_in(context: JobContext, address: DatabaseAddress) -> bool:
    try:
        session = await connect(address, application_name=context.application_name)
    except PostgresError:
        return False
    await session.close()
    return True


async def database_oid(admin: Connection, name: str) -> int | None:
    """Return the OID of the database of that name, or None where there is none."""
    rows = await fetch_all(
        admin, "SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = %s", [name]
    )
    return int(rows[0][0]) if rows else None


async def database_name(admin: Connection, oid: int) -> str | None:
    """Return what the database of that OID is called now, or None where it is gone."""
    rows = await fetch_all(
        admin, "SELECT datname::text FROM pg_catalog.pg_database WHERE oid::int8 = %s", [oid]
    )
    return str(rows[0][0]) if rows else None


def live_missing(name: str) -> DatabaseMissing:
    """Return the error for a live database that is not there."""
    return DatabaseMissing(
        f"DATABASE MISSING: there is no {name} on the server.",
        why="It may be what was lost.",
        fix="There is nothing to freeze in it. Go on: what is restored takes its name.",
    )
