"""Ending client sessions in the live database; never our own."""

from __future__ import annotations

from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.postgres.client_sessions import end_clients
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_server import database_oid, find_live_server, live_missing
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import EndSessionsRequest


async def run(request: EndSessionsRequest, context: JobContext) -> dict[str, object]:
    """End the sessions that are named, or all; who may come back does so unless it is frozen.

    ``ended`` are ClientSessions as they were, ``left`` has ``pid`` and ``why``.

    Raises:
        DatabaseMissing: there is no live database.
        PostgresError: the server can't be reached.
    """
    refuse_if_read_only(context.loaded, "ends no sessions")
    context.stage("end")
    server = await find_live_server(request, context)
    async with server.in_maintenance() as admin:
        oid = await database_oid(admin, server.live_name)
        if oid is None:
            raise live_missing(server.live_name)
        found = await end_clients(admin, oid, request.pids or None)
    context.report(Log(f"{len(found.ended)} sessions ended, {len(found.left)} left."))
    return {"ok": True, "ended": plain(found.ended), "left": plain(found.left)}
