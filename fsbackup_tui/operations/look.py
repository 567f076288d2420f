"""Looking at what stands on the server around the live database, from outside of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.standing import Standing, environment_named
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.standing import (
    ENVIRONMENT_SETTING,
    environment_set,
    list_sessions,
    list_standbys,
    list_standing,
    may_rename,
)
from fsbackup_tui.engines.postgres.swap import Database, find_obstacles
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_server import confirm_target
from fsbackup_tui.operations.merge_settled import merges_in_force
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.recovery_requests import LookRequest
from fsbackup_tui.operations.target import admin_address, source_address

_SESSIONS_SHOWN = 50


async def run(request: LookRequest, context: JobContext) -> dict[str, object]:
    """Return ``Standing``: databases, sessions and what hangs on them, by catalogues alone.

    Raises:
        IdentityMismatch: the server is not the one that was seen.
        PostgresError: the maintenance database can't be reached.
    """
    context.stage("look")
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    live = await source_address(
        loaded, environment, redactor, request.part, database=request.database
    )
    address = await admin_address(loaded, environment, redactor, request.part)
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            await confirm_target(admin, address, request.target, context)
            standing = await look_around(admin, address, live, now=context.now())
    if request.staging:
        standing = replace(standing, merged=await merges_in_force(request, context))
    return {"ok": True, **plain(standing)}


async def look_around(
    admin: Connection, address: DatabaseAddress, live: DatabaseAddress, *, now: datetime
) -> Standing:
    """Return what stands on the server; ``admin`` is a session of ``address``."""
    name = live.database
    here, others = await list_standing(admin, name)
    obstacles = await find_obstacles(admin, Database(name, here.oid if here else 0))
    sessions, more, hidden = (
        ((), 0, 0)
        if here is None
        else await list_sessions(admin, here.oid, at_most=_SESSIONS_SHOWN)
    )
    renaming = await may_rename(admin, name)
    environment, sign = await _environment(admin, address, live)
    notes = []
    if here is None:
        notes.append(f"There is no database {name} on this server.")
    elif not here.open:
        notes.append(f"{name} lets nobody in.")
    if not renaming.allowed:
        notes.append(f"This role can't rename {name}: {renaming.why}.")
    if hidden:
        notes.append(
            f"Of {hidden} sessions this role may not see what they do: GRANT pg_read_all_stats."
        )
    return Standing(
        at=now,
        server=await read_identity(admin, address),
        live_name=name,
        live=here,
        databases=others,
        sessions=sessions,
        sessions_more=more,
        prepared=obstacles.prepared,
        slots=obstacles.slots,
        subscriptions=obstacles.subscriptions,
        standbys=await list_standbys(admin),
        environment=environment,
        environment_from=sign,
        can_rename=renaming.allowed,
        notes=tuple(notes),
    )


async def _environment(
    admin: Connection, address: DatabaseAddress, live: DatabaseAddress
) -> tuple[str, str]:
    """Return what the connection itself says of the environment, and by what sign."""
    if said := await environment_set(admin, live.database):
        return said, f"the database's setting {ENVIRONMENT_SETTING}"
    named = environment_named(live.host, live.database)
    return named if named[0] else environment_named(address.host, live.database)
