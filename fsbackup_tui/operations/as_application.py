"""Trying a restored copy as the application's own role: what it could in live it can there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fsbackup_tui.domain.copy_check import CheckState, CopyFinding
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.role_rights import (
    RightsKey,
    become,
    may_connect,
    read_rights,
    readable_tables,
    rights_lost,
    role_exists,
    unreadable,
)
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.target import admin_address, source_address

_SORT = "role"


@dataclass
class AsApplication:
    """The application's role, and what trying the copy as it showed."""

    context: JobContext
    admin: DatabaseAddress
    login: DatabaseAddress
    role: str
    findings: list[CopyFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tried: int = 0

    def find(self, state: CheckState, name: str, detail: str) -> None:
        """Keep something that is not as it should be."""
        self.findings.append(CopyFinding(_SORT, name, state, detail))

    @property
    def is_login(self) -> bool:
        """Whether the source's own URL logs in as the role."""
        return self.login.user == self.role


async def application_of(context: JobContext, part: str, database: str) -> AsApplication:
    """Return whom the application connects as: as configured, else the source's own user."""
    environment, redactor = context.environment, context.redactor
    login = await source_address(context.loaded, environment, redactor, part, database=database)
    admin = await admin_address(context.loaded, environment, redactor, part)
    role = context.loaded.config.recovery.app_role or login.user or admin.user or ""
    return AsApplication(context, admin, login, role)


async def try_fenced(
    app: AsApplication, admin: Connection, copy: Database, live: Database | None
) -> None:
    """Look at a closed copy from outside: whether the role may connect once it is opened."""
    if await _may_connect(app, admin, copy, live):
        app.notes.append(
            f"not tried as {app.role}: the copy is closed to everybody until it is swapped in; "
            "its grants are those that were proven"
        )


async def try_copy(
    app: AsApplication,
    admin: Connection,
    copy: Database,
    live: Database | None,
    *,
    grants_as_captured: bool,
) -> None:
    """Connect, compare the role's rights with those in live, and select from all it may read.

    ``live`` is None where it is gone or lets nobody in: the archive's grants are then all there
    is to compare with, and ``grants_as_captured`` tells that the copy's definitions, with all
    grants, equal them.
    """
    if not await _may_connect(app, admin, copy, live):
        return
    async with _open(app, copy) as connection:
        now = await read_rights(connection, app.role)
    before = await _rights_in_live(app, live)
    if before is not None:
        for sort, name, lost in rights_lost(before, now):
            app.find("different", f"{sort} {name}", f"{app.role} lacks {', '.join(lost)} in it")
    elif grants_as_captured:
        app.notes.append("live's grants can't be seen; the copy's are those of the archive")
    else:
        app.find("blocked", "grants", "live can't be looked into, to compare its grants with")
    await _select(app, copy, live)


async def _may_connect(
    app: AsApplication, admin: Connection, copy: Database, live: Database | None
) -> bool:
    if not await role_exists(admin, app.role):
        app.find("different", app.role, "the server has no role of that name")
        return False
    if await may_connect(admin, app.role, copy.oid):
        return True
    if live is not None and not await may_connect(admin, app.role, live.oid):
        app.notes.append(f"{app.role} may not connect to live either: it is kept out, or frozen")
        return True
    app.find("different", "CONNECT", f"{app.role} may not connect to {copy.name}")
    return False


async def live_database(admin: Connection, name: str) -> tuple[Database | None, bool]:
    """Return the live database, None where there is none, and whether it lets sessions in."""
    rows = await fetch_all(
        admin,
        "SELECT oid::int8, datallowconn FROM pg_catalog.pg_database WHERE datname = %s",
        [name],
    )
    return (Database(name, rows[0][0]), bool(rows[0][1])) if rows else (None, False)


async def _rights_in_live(
    app: AsApplication, live: Database | None
) -> Mapping[RightsKey, frozenset[str]] | None:
    if live is None:
        return None
    try:
        async with _open(app, live) as connection:
            return await read_rights(connection, app.role)
    except FsbackupError as error:
        app.notes.append(f"live can't be looked into: {error.what}")
        return None


@asynccontextmanager
async def _open(app: AsApplication, database: Database) -> AsyncIterator[Connection]:
    """Open a session in the database with the rights of an administrator."""
    address = app.admin.with_database(database.name)
    with plain_errors(address):
        connection = await connect(
            address,
            application_name=app.context.application_name,
            database_oid=database.oid,
        )
        async with connection:
            yield connection


async def _select(app: AsApplication, copy: Database, live: Database | None) -> None:
    """Select from every table as the role; what is refused in live, too, is no difference."""
    try:
        async with _session(app, copy) as connection:
            tables = await readable_tables(connection)
            refused = await unreadable(connection, tables)
    except FsbackupError as error:
        app.find("blocked", app.role, f"no session as it: {error.what}")
        return
    app.tried = len(tables)
    also = await _refused_in_live(app, live, list(refused))
    for table, why in refused.items():
        name = ".".join(table)
        if table in also:
            app.notes.append(f"{name} can't be read by {app.role}, in live neither: {why}")
        else:
            app.find("different", f"table {name}", f"{app.role} can't read it: {why}")


async def _refused_in_live(
    app: AsApplication, live: Database | None, tables: list[tuple[str, str]]
) -> set[tuple[str, str]]:
    if live is None or not tables:
        return set()
    try:
        async with _session(app, live) as connection:
            return set(await unreadable(connection, tables))
    except FsbackupError:
        return set()


@asynccontextmanager
async def _session(app: AsApplication, database: Database) -> AsyncIterator[Connection]:
    """Open a session as the role: by its own login, else by taking its place.

    A login fails through a pooler that does not know the copy, or for a role that is frozen.
    """
    connection: Connection | None = None
    if app.is_login:
        try:
            connection = await connect(
                app.login.with_database(database.name),
                application_name=app.context.application_name,
                database_oid=database.oid,
            )
        except FsbackupError as error:
            app.notes.append(f"{app.role} was not logged in but impersonated: {error.what}")
    if connection is not None:
        with plain_errors(app.login):
            async with connection:
                yield connection
        return
    async with _open(app, database) as connection:
        await become(connection, app.role)
        yield connection
