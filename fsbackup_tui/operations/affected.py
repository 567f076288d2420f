"""Whom a loss concerns: the site's own SQL, asked of a restored copy, which it only reads."""

from __future__ import annotations

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.engines.postgres.asking import ask
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.inspect_objects import read_settings
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import AffectedRequest
from fsbackup_tui.operations.target import admin_address, source_address

_ROWS = 1000
_SECONDS = 60.0


async def run(request: AffectedRequest, context: JobContext) -> dict[str, object]:
    """Return the first rows of ``recovery.affected_users`` in the copy, as text, and if more are.

    Raises:
        UsageError: the configuration has no such SQL, or no copy is named.
        PostgresError: the copy can't be reached, or the server refuses the SQL.
    """
    context.stage("ask")
    statement = context.loaded.config.recovery.affected_users
    if statement is None:
        raise UsageError(
            "NOT ASKED: nothing says whom a loss concerns.",
            fix="Give recovery: affected_users in the configuration: SQL that lists them.",
        )
    if not request.copy:
        raise UsageError(
            "NOT ASKED: no restored copy is named.",
            why="The question reads a copy, never the live database.",
            fix="Restore a point beside first.",
        )
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    live = await source_address(loaded, environment, redactor, request.part)
    admin = await admin_address(loaded, environment, redactor, request.part)
    address = admin.with_database(request.copy)
    with plain_errors(address):
        async with await connect(address, application_name=context.application_name) as copy:
            path = database_search_path(await read_settings(copy), live.user or admin.user or "")
            answer = await ask(copy, statement, search_path=path, at_most=_ROWS, seconds=_SECONDS)
    return {
        "ok": True,
        "columns": list(answer.columns),
        "rows": [list(row) for row in answer.rows],
        "more": answer.more,
    }
