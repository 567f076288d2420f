"""What recoveries left behind, on the server and beside it: listed, and dropped one by one.

Nothing of it goes by itself. What an open incident needs, or somebody uses, is not dropped.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import (
    FsbackupError,
    PostgresError,
    SafetyRefusal,
    ServerUnreachable,
    UsageError,
)
from fsbackup_tui.domain.events import Log, parse_time
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.leftovers import Leftover, LeftoverKind, Leftovers
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.kept import Kept, find_kept
from fsbackup_tui.engines.postgres.leftovers import (
    closed_to,
    drop_database,
    staged_since,
    uses_of,
)
from fsbackup_tui.engines.postgres.merge.staging import drop_staging, find_stagings
from fsbackup_tui.engines.postgres.side import find_unfinished, restore_lock
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.fences import Fence, find_fences, lift_fence
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
# In its own incident these may go before it is closed: they can be made again.
_REPLACEABLE = ("restore", "unfinished", "staging", "drill")


@dataclass
class _Looking:
    """One look at what is left; ``drops`` has, by kind and name, how each is dropped."""

    request: RecoveryRequest
    context: JobContext
    live: DatabaseAddress
    admin_at: DatabaseAddress
    state: Path
    is_alive: Callable[[str], bool]
    incidents: list[Incident]
    admin: Connection | None = None
    identity: ServerIdentity | None = None
    items: list[Leftover] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drops: dict[tuple[str, str], Callable[[], Awaitable[None]]] = field(default_factory=dict)

    def add(self, item: Leftover, drop: Callable[[], Awaitable[None]]) -> None:
        """Take an item, and how it is dropped."""
        held = item.held_by or self._held_by_incident(item)
        self.items.append(replace(item, held_by=held))
        self.drops[item.kind, item.name] = drop

    def incident_of(self, job: str) -> str:
        """Return the incident that a job belonged to, else the job itself."""
        for incident in self.incidents:
            if any(step.job == job for step in incident.steps.values()):
                return incident.id
        return job

    def is_dead(self, job: str) -> bool:
        """Whether a job of this site is known, and lives no more."""
        return (self.state / "jobs" / job).is_dir() and not self.is_alive(job)

    def is_ours(self, database: str) -> bool:
        """Whether it is the live database, or one that a drill played on in its place."""
        return database == self.live.database or database.startswith(
            f"{self.live.database}__drill_"
        )

    def _held_by_incident(self, item: Leftover) -> str:
        still_open = [incident for incident in self.incidents if incident.closed is None]
        own = next((incident for incident in still_open if incident.id == item.of), None)
        if own is None and item.kind == "before":
            # Swapped by hand while an incident goes on: it may be what that one goes back to.
            known = any(incident.id == item.of for incident in self.incidents)
            mine = [one for one in still_open if one.source == self.request.part]
            own = None if known or not mine else mine[0]
        if own is None:
            return ""
        here = self.context.incident
        if here is not None and here.name == own.id and item.kind in _REPLACEABLE:
            return ""
        return f"incident {own.id} is open: it may be needed to go back, or be looked at"

    def found(self) -> Leftovers:
        """Return all of them, the oldest first, those of unknown age last."""
        ordered = sorted(
            self.items,
            key=lambda item: (item.since is None, item.since and item.since.timestamp(), item.name),
        )
        return Leftovers(tuple(ordered), tuple(self.notes))


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


async def _drop(looking: _Looking, item: Leftover) -> None:
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
async def _look(request: RecoveryRequest, context: JobContext) -> AsyncIterator[_Looking]:
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
    looking = _Looking(
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
            await _look_at_databases(looking, admin)
            await _look_at_fences(looking, admin)
            await _look_at_stagings(looking)
        yield looking


def _look_at_evidence(looking: _Looking) -> None:
    configured = looking.context.loaded.config.recovery.evidence
    for evidence in find_evidence(looking.state, configured):
        if looking.is_ours(evidence.database):
            _add_evidence(looking, evidence)


def _add_evidence(looking: _Looking, evidence: Evidence) -> None:
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


async def _look_at_databases(looking: _Looking, admin: Connection) -> None:
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
                parse_time(found.at) if _is_time(found) else None,
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


def _is_time(kept: Kept) -> bool:
    try:
        parse_time(kept.at)
    except ValueError:
        return False
    return True


def _add_database(looking: _Looking, admin: Connection, item: Leftover, *, force: bool) -> None:
    async def drop() -> None:
        await drop_database(admin, item.name, item.oid, force=force)

    looking.add(item, drop)


async def _look_at_fences(looking: _Looking, admin: Connection) -> None:
    closed = await closed_to(admin, looking.live.database)
    for fence in find_fences(
        looking.incidents, looking.request.part, looking.live.database, closed
    ):
        _add_fence(looking, admin, fence)


def _add_fence(looking: _Looking, admin: Connection, fence: Fence) -> None:
    async def drop() -> None:
        await lift_fence(fence, looking.context, looking.state, admin, lambda: _in_live(looking))

    kind: LeftoverKind = "fence"
    looking.add(
        Leftover(kind, fence.name, 0, fence.of, fence.since, None, fence.what, fence.held_by), drop
    )


async def _in_live(looking: _Looking) -> Connection:
    """Open a session in live: as the administrator, who passes a fence, else as the source."""
    name = looking.context.application_name
    try:
        return await connect(
            looking.admin_at.with_database(looking.live.database), application_name=name
        )
    except PostgresError:
        return await connect(looking.live, application_name=name)


async def _look_at_stagings(looking: _Looking) -> None:
    try:
        async with await _in_live(looking) as live:
            for staging in await find_stagings(live):
                _add_staging(
                    looking,
                    Leftover(
                        "staging",
                        staging.schema,
                        0,
                        staging.incident,
                        await staged_since(live, staging.schema),
                        staging.bytes,
                        f"rows staged to merge in {looking.live.database}, and what undoes it",
                    ),
                )
    except FsbackupError as error:
        looking.notes.append(f"Schemas of merges in live can't be seen: {error.what}")


def _add_staging(looking: _Looking, item: Leftover) -> None:
    async def drop() -> None:
        async with await _in_live(looking) as live:
            await drop_staging(live, item.name)

    looking.add(item, drop)
