"""What recoveries left behind, on the server and beside it: listed, and dropped one by one.

Nothing of it goes by itself. What an open incident needs, or somebody uses, is not dropped.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fsbackup_tui.domain.errors import (
    SafetyRefusal,
    ServerUnreachable,
    UsageError,
)
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.leftovers import Leftover, Leftovers
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.kept import Kept, find_kept
from fsbackup_tui.engines.postgres.leftovers import (
    drop_database,
    uses_of,
)
from fsbackup_tui.engines.postgres.side import find_unfinished, restore_lock
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.leftover_look import Looking, time_of
from fsbackup_tui.operations.leftovers_in_live import look_at_fences, look_into_live
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import (
    DropLeftoverRequest,
    LeftoversRequest,
    RecoveryRequest,
)
from fsbackup_tui.operations.status import job_liveness, site_repository_or_none
from fsbackup_tui.operations.target import admin_address, check_target, source_address
from fsbackup_tui.repository.evidence import Evidence, find_evidence, remove_evidence
from fsbackup_tui.repository.incidents import list_incidents
from fsbackup_tui.repository.layout import site_state

_WHAT: dict[str, str] = {
    "before": "{database} as it was before a swap",
    "after": "{database} as it was before a swap was undone",
    "restore": "a restored copy of {database}",
    "evidence": "the files of {database} as they were, copied inside the server",
    "drill": "a copy of {database} to practise on",
}


async def run(request: LeftoversRequest, context: JobContext) -> dict[str, object]:
    """List what is left; returns ``Leftovers``. What can't be looked at is in its notes."""
    context.stage("look")
    async with _look(request, context) as looking:
        return {"ok": True, **plain(looking.found())}


async def run_drop(request: DropLeftoverRequest, context: JobContext) -> dict[str, object]:
    """Drop one leftover, told by name and OID; returns ``{"dropped", "kind", "bytes"}``.

    Raises:
        UsageError: nothing of that name is left.
        SafetyRefusal: it is held, or another thing has its name by now; nothing was dropped.
    """
    refuse_if_read_only(context.loaded, "drops nothing")
    context.stage("check")
    async with _look(request, context) as looking:
        item = _named(looking.found(), request)
        if looking.admin is None or looking.identity is None:
            await _drop(looking, item)
        else:
            async with restore_lock(looking.admin, looking.identity, context.application_name):
                await _drop(looking, item)
    return {"ok": True, "dropped": item.name, "kind": item.kind, "bytes": item.size_bytes}


async def _drop(looking: Looking, item: Leftover) -> None:
    looking.context.stage("drop")
    with plain_errors(looking.admin_at):
        await looking.drops[item.kind, item.name]()
    looking.context.report(Log(f"Dropped: {item.name}, {item.what}."))


def _named(found: Leftovers, request: DropLeftoverRequest) -> Leftover:
    named = [item for item in found.items if item.name == request.name]
    if not named:
        raise UsageError(
            f"NO SUCH LEFTOVER: {request.name}.",
            why="\n".join(found.notes),
            fix="See what there is: fsbackup leftovers",
        )
    item = next((item for item in named if item.oid == request.oid), None)
    if item is None:
        raise SafetyRefusal(
            f"NOT DROPPED: {request.name} is not what it was.",
            why=f"Its OID is {named[0].oid}, expected was {request.oid}: it was made anew.",
            fix="Look again: fsbackup leftovers",
        )
    if item.held_by:
        raise SafetyRefusal(
            f"NOT DROPPED: {item.name} is held.",
            why=f"{item.held_by}.",
            fix="Let go of it there first, then drop it again.",
        )
    return item


@asynccontextmanager
async def _look(request: RecoveryRequest, context: JobContext) -> AsyncIterator[Looking]:
    """Look at everything that can be looked at; the session stays open inside the block."""
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    repository = site_repository_or_none(loaded, os.environ)
    state = site_state(loaded, os.environ, repository)
    live = await source_address(
        loaded, environment, redactor, request.part, database=request.database
    )
    admin_at = await admin_address(loaded, environment, redactor, request.part)
    journals = [journal.read() for journal in list_incidents(state)]
    incidents = [incident for incident in journals if incident is not None]
    looking = Looking(
        request,
        context,
        live,
        admin_at,
        state,
        job_liveness(loaded, os.environ, repository),
        incidents,
    )
    _look_at_evidence(looking)
    try:
        admin = await connect(admin_at, application_name=context.application_name)
    except ServerUnreachable as error:
        looking.notes.append(f"{error.what} What is left on it can't be seen.")
        yield looking
        return
    async with admin:
        with plain_errors(admin_at):
            looking.admin = admin
            looking.identity = await read_identity(admin, admin_at)
            check_target(request.target, looking.identity)
            kept = await _look_at_databases(looking, admin)
            await look_at_fences(looking, admin, kept)
            await look_into_live(looking)
        yield looking


def _look_at_evidence(looking: Looking) -> None:
    configured = looking.context.loaded.config.recovery.evidence
    for evidence in find_evidence(looking.state, configured):
        if looking.is_ours(evidence.database):
            _add_evidence(looking, evidence)


def _add_evidence(looking: Looking, evidence: Evidence) -> None:
    async def drop() -> None:
        remove_evidence(evidence)

    writing = looking.is_alive(evidence.job)
    looking.add(
        Leftover(
            "evidence",
            evidence.name,
            0,
            evidence.of,
            evidence.since,
            evidence.bytes,
            f"what was kept of {evidence.database}, in {evidence.directory}",
            f"the job {evidence.job} is writing it" if writing else "",
        ),
        drop,
    )


async def _look_at_databases(looking: Looking, admin: Connection) -> list[Kept]:
    """List the databases that were left; returns those that bear our mark."""
    kept = [found for found in await find_kept(admin) if looking.is_ours(found.database)]
    unfinished = await find_unfinished(admin)
    oids = [*(found.oid for found in kept), *(found.oid for found in unfinished)]
    uses = await uses_of(admin, oids)
    for found in kept:
        held = uses[found.oid].words(looking.is_dead)
        _add_database(
            looking,
            admin,
            Leftover(
                found.kind,
                found.name,
                found.oid,
                looking.incident_of(found.job),
                time_of(found.at),
                found.size_bytes,
                _WHAT[found.kind].format(database=found.database),
                held,
            ),
            force=bool(uses[found.oid].jobs),
        )
    for one in unfinished:
        held = uses[one.oid].words(looking.is_dead)
        if looking.is_alive(one.job):
            held = f"the job {one.job} is filling it"
        _add_database(
            looking,
            admin,
            Leftover(
                "unfinished",
                one.name,
                one.oid,
                looking.incident_of(one.job),
                None,
                one.size_bytes,
                "a restore that never ended",
                held,
            ),
            force=bool(uses[one.oid].jobs),
        )
    return kept


def _add_database(looking: Looking, admin: Connection, item: Leftover, *, force: bool) -> None:
    async def drop() -> None:
        await drop_database(admin, item.name, item.oid, force=force)

    looking.add(item, drop)
