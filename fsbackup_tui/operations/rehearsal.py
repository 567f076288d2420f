"""Making the database that a drill plays on: a point restored beside live, then damaged."""

from __future__ import annotations

import os

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError, UsageError
from fsbackup_tui.domain.events import Warned, format_time
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.kept import kept_comment, kept_name
from fsbackup_tui.engines.postgres.leftovers import drop_database
from fsbackup_tui.engines.postgres.rehearsal import SCENARIOS, damage_copy
from fsbackup_tui.engines.postgres.replay import Properties, connect_grant, parse_database_grant
from fsbackup_tui.engines.postgres.side import find_database
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import RehearsalRequest
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.operations.restore import restore_beside
from fsbackup_tui.operations.status import find_point, job_liveness, site_catalogue, site_zone
from fsbackup_tui.operations.target import admin_address, source_address


async def run(request: RehearsalRequest, context: JobContext) -> dict[str, object]:
    """Restore the point as ``NAME__drill_TAG`` and damage it as the scenario says.

    Returns ``{"database", "oid", "damage"}``; what was done is for the report at the end. The
    copy is marked, and only its owner, the application's role and those who were granted the
    right by name may connect to it.

    Raises:
        UsageError: there is no such scenario.
        all that a restore beside raises; nothing is left then.
    """
    if request.scenario not in SCENARIOS:
        raise UsageError(
            f"NO SUCH DRILL: {request.scenario or 'none named'}.",
            why=f"There are: {', '.join(SCENARIOS)}.",
        )
    point = request.point or newest_good(request.part, context)
    live = await source_address(context.loaded, context.environment, context.redactor, request.part)
    admin_at = await admin_address(
        context.loaded, context.environment, context.redactor, request.part
    )
    name = kept_name(live.database, "drill", context.job.rpartition("-")[2])
    comment = kept_comment("drill", live.database, format_time(context.now()), context.job)
    role = context.loaded.config.recovery.app_role or live.user

    def dress(facts: PostgresFacts) -> Properties:
        grants = [item for item in facts.grants if _is_of_a_role(item)]
        if role is not None and role != facts.owner:
            grants.append(connect_grant(role, facts.owner))
        grants.append(connect_grant(facts.owner, facts.owner, everything=True))
        return Properties(
            facts.owner, comment, facts.connection_limit, facts.settings, tuple(grants)
        )

    await restore_beside(
        RestoreBesideRequest(point, request.part, name, request.target),
        context,
        dress=dress,
    )
    context.stage("damage")
    try:
        oid, damage = await _damage(request, point, context, admin_at, name)
    except BaseException:
        await undisturbed(_take_back(context, admin_at, name))
        raise
    return {"ok": True, "database": name, "oid": oid, "damage": damage}


def _is_of_a_role(item: str) -> bool:
    parsed = parse_database_grant(item)
    return parsed is not None and parsed[0] != ""


def newest_good(part: str, context: JobContext) -> str:
    """Return the point that a real recovery would begin with; PointNotFound without any."""
    loaded = context.loaded
    with site_catalogue(loaded, os.environ) as (catalogue, repository, _error, _where):
        catalogue.refresh(running=job_liveness(loaded, os.environ, repository))
        return find_point(catalogue, "latest", zone=site_zone(loaded), part=part).id


async def _damage(
    request: RehearsalRequest,
    point: str,
    context: JobContext,
    admin_at: DatabaseAddress,
    name: str,
) -> tuple[int, str]:
    with plain_errors(admin_at):
        async with await connect(admin_at, application_name=context.application_name) as admin:
            database, _size = await find_database(admin, name)
        async with await connect(
            admin_at.with_database(name),
            application_name=context.application_name,
            database_oid=database.oid,
        ) as copy:
            seed = f"{point} {context.job}"
            return database.oid, await damage_copy(copy, request.scenario, seed)


async def _take_back(context: JobContext, admin_at: DatabaseAddress, name: str) -> None:
    try:
        with plain_errors(admin_at):
            async with await connect(admin_at, application_name=context.application_name) as admin:
                database, _size = await find_database(admin, name)
                await drop_database(admin, name, database.oid, force=True)
    except FsbackupError as error:
        context.report(Warned(f"LEFT OVER: {name}. {error.what} fsbackup leftovers lists it."))
