"""A lost machine's database on the new server, under its own name; files are fetched meanwhile."""

from __future__ import annotations

import asyncio
import os

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.operations import restore
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.host_requests import HostDatabaseRequest
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.target import source_address


async def run(request: HostDatabaseRequest, context: JobContext) -> dict[str, object]:
    """Restore the database first; what else the point has comes while it is restored.

    What can't be fetched then is told, and fetched when it is placed: the database is not held
    up by it. Raises as ``restore_beside`` does; a database of that name is never touched.
    """
    repository = open_site_repository(context.loaded, os.environ)
    await bring_here(context, repository, request.point, part=request.part)
    live = await source_address(
        context.loaded,
        context.environment,
        context.redactor,
        request.part,
        database=request.database,
    )
    fetching = asyncio.create_task(bring_here(context, repository, request.point))
    try:
        document = await restore.run(
            RestoreBesideRequest(
                point=request.point,
                part=request.part,
                beside=live.database,
                target=request.target,
                reason_unsigned=request.reason_unsigned,
            ),
            context,
        )
        context.stage("fetch")
        fetched: tuple[str, ...] = ()
        try:
            fetched = await fetching
        except FsbackupError as error:
            context.report(Warned(f"Not all was fetched yet: {error.what}"))
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
    return {**document, "fetched": list(fetched)}
