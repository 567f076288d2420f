"""The new server of a lost machine: is it there and fit, and the roles that it needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import datetime

from fsbackup_tui.domain.errors import FsbackupError, PointDamaged
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.point import PointSummary, ServerIdentity
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.globals import Globals
from fsbackup_tui.engines.postgres.host_roles import make_host_roles
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.standing import list_standing
from fsbackup_tui.engines.postgres.trial_roles import read_globals
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.clients import client_for_restore
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.host_requests import HostRolesRequest, HostServerRequest
from fsbackup_tui.operations.live_server import confirm_target
from fsbackup_tui.operations.opened import opened
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.signatures import demand_signature
from fsbackup_tui.operations.status import open_catalogue, open_site_repository
from fsbackup_tui.operations.target import admin_address, source_address
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.not_here import FILE_SCHEME, points_not_here
from fsbackup_tui.repository.points import capture_order, usable
from fsbackup_tui.repository.reader import PointReader

_MAJOR = 10000
_SHOWN = 9


async def run(request: HostServerRequest, context: JobContext) -> dict[str, object]:
    """Look at the server and at the points; what is missing is told, with what mends it.

    Raises:
        PostgresError, SecretUnavailable: the server can't be reached, or nothing says where it is.
    """
    context.stage("server")
    address = await admin_address(
        context.loaded, context.environment, context.redactor, request.part
    )
    live = await source_address(
        context.loaded,
        context.environment,
        context.redactor,
        request.part,
        database=request.database,
    )
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            identity = await read_identity(admin, address)
            here, _others = await list_standing(admin, live.database)
    context.stage("points")
    repository = open_site_repository(context.loaded, os.environ)
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        points = [
            point
            for point in sorted(catalogue.points(own=True), key=capture_order, reverse=True)
            if point.whole and any(part.source == request.part for part in point.parts)
        ]
    right = parse_time(request.last_right) if request.last_right else None
    candidates = list(_candidates(repository, points[:_SHOWN], request.part, right))
    problems, notes = list[str](), list[str]()
    if here is not None:
        problems.append(
            f"A DATABASE {live.database} IS THERE ALREADY: this is no new server. Go back to"
            " data-loss (w), or correct the address."
        )
    if not candidates:
        problems.append(f"NO POINT HAS {request.part}: fsbackup list")
    else:
        await _try_clients(request, context, repository, points[0], identity, problems, notes)
    return {
        "ok": True,
        "usable": not problems,
        "server": plain(identity),
        "live_name": live.database,
        "live_there": here is not None,
        "problems": problems,
        "notes": notes,
        "candidates": candidates,
    }


async def _try_clients(
    request: HostServerRequest,
    context: JobContext,
    repository: Repository,
    point: PointSummary,
    identity: ServerIdentity,
    problems: list[str],
    notes: list[str],
) -> None:
    try:
        facts = PointReader(repository, point.id).part(request.part).postgres
    except PointDamaged as error:
        problems.append(error.what)
        return
    if facts is None:
        return
    captured = facts.identity.server_version_num
    if identity.server_version_num // _MAJOR < captured // _MAJOR:
        problems.append(
            f"THE SERVER IS TOO OLD: PostgreSQL {identity.server_version}, and the point is of"
            f" {facts.identity.server_version}. Install that major."
        )
    address = await admin_address(
        context.loaded, context.environment, context.redactor, request.part
    )
    try:
        client = await client_for_restore(context, address, identity.server_version_num, facts)
        notes.append(f"clients: {client.version}")
    except FsbackupError as error:
        problems.append(f"{error.what} {error.fix}".strip())


def _candidates(
    repository: Repository, points: list[PointSummary], part: str, right: datetime | None
) -> Iterator[dict[str, object]]:
    elsewhere = points_not_here(repository)
    for point in points:
        doubt = ""
        if not usable(point, part):
            doubt = "it is suspect, damaged, or was taken in an incident"
        elif right is not None and point.created > right:
            doubt = "it was taken after the damage"
        lacking = elsewhere.get(point.id)
        yield {
            "point": point.id,
            "at": format_time(point.created),
            "trust": point.trust.word,
            "doubt": doubt,
            "bytes": point.bytes,
            "from": "" if lacking is None else lacking.origin.removeprefix(FILE_SCHEME),
        }


async def run_roles(request: HostRolesRequest, context: JobContext) -> dict[str, object]:
    """Make what the point's database needs of roles; none that is there is changed.

    Raises:
        IdentityMismatch: another server than the one that was seen. PostgresError, PointDamaged.
    """
    refuse_if_read_only(context.loaded, "makes no roles")
    context.stage("fetch")
    repository = open_site_repository(context.loaded, os.environ)
    await bring_here(context, repository, request.point, part=request.part)
    reader = PointReader(repository, request.point)
    await demand_signature(context, reader, reason=request.reason_unsigned)
    part = reader.part(request.part)
    facts = part.postgres
    context.stage("roles")
    told, notes = Globals(), list[str]()
    async with opened(context, reader, [part]) as plain_reader:
        for artifact in part.artifacts:
            if artifact.role == "globals":
                path = plain_reader.path_inside(part.source, artifact.path)
                told = await asyncio.to_thread(read_globals, path)
    names = [name for name in (*facts.roles, facts.owner) if name] if facts is not None else []
    address = await admin_address(
        context.loaded, context.environment, context.redactor, request.part
    )
    live = await source_address(context.loaded, context.environment, context.redactor, request.part)
    login = (live.user, live.password) if live.user and live.password is not None else None
    if login is not None and not request.database:
        names.append(login[0])
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            await confirm_target(admin, address, request.target, context)
            roles = await make_host_roles(admin, dict.fromkeys(names), told, login)
    return {
        "ok": True,
        "made": list(roles.made),
        "there": list(roles.there),
        "login": login[0] if login is not None else "",
        "notes": [*notes, *roles.notes],
    }
