"""Which merges are in force in live: what settles one whose end nobody saw."""

from __future__ import annotations

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.staging import Staging, open_staging, read_sets
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.merge_target import merge_target
from fsbackup_tui.operations.recovery_requests import LookRequest


async def merges_in_force(request: LookRequest, context: JobContext) -> tuple[str, ...]:
    """Return what the merges from a staging schema noted that nobody undid; none without it.

    Raises:
        SafetyRefusal: the live database lets nobody in. PostgresError: it can't be reached.
    """
    async with merge_target(request, context, live_oid=0, alone=False) as target:
        try:
            staging = await open_staging(target.live, request.staging)
        except SafetyRefusal:
            return ()
        return await notes_in_force(target.live, staging)


async def notes_in_force(live: Connection, staging: Staging) -> tuple[str, ...]:
    """Return the notes of the merges, and undoings, that were not taken back since."""
    return tuple(
        found.note
        for found in await read_sets(live, staging)
        if found.applied_by is None and found.undoes is not None and found.note
    )
