"""Ending what jobs that vanished left on the server: sessions that would not notice by themselves.

A killed worker's sockets are closed, and its server processes see that within seconds. Behind a
pooler, a tunnel or a dead network they don't: there a session can keep its locks for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import session_name
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.leftover_sessions import EndedSessions, end_sessions_named
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import RecoveryRequest, SwapRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, LiveHealthRequest, RestoreBesideRequest
from fsbackup_tui.operations.target import admin_address, source_address

CONNECT_SECONDS = 5
_SECONDS = 12.0

ReadAddress = Callable[[LoadedConfig, Mapping[str, str], Redactor, str], Awaitable[DatabaseAddress]]


def postgres_sources(request: Request, context: JobContext) -> frozenset[str]:
    """Return the configured sources whose servers a request reaches; a verification needs none."""
    config = context.loaded.config
    match request:
        case BackupRequest():
            plan = config.plans.get(request.plan)
            names = request.sources or (plan.sources if plan is not None else ())
        case RestoreBesideRequest() | RecoveryRequest() | SwapRequest():
            names = (request.part,)
        case LiveHealthRequest():
            names = (request.source,)
        case _:
            names = ()
    return frozenset(name for name in names if isinstance(config.sources.get(name), PostgresSource))


async def end_leftover_sessions(context: JobContext, source: str, jobs: Collection[str]) -> bool:
    """End the sessions that lost jobs have on a source's server; whether none is left there.

    Tried as the administrator, and as the source's own role. It takes some seconds at most,
    raises nothing, and tells the journal what it did and what it could not do.
    """
    left: int | None = None
    try:
        async with asyncio.timeout(_SECONDS):
            for read_address in (admin_address, source_address):
                found = await _end_as(read_address, context, source, jobs)
                left = left if found is None else found.left
                if left == 0:
                    break
    except TimeoutError:
        context.report(Log(f"Looking for sessions of lost jobs on {source} took too long."))
    if left:
        context.report(
            Warned(
                f"{left} sessions of a lost job ({_text(jobs)}) are left on the server of "
                f"{source}, and no role of the configuration may end them. A superuser can: "
                "pg_stat_activity shows their application_name."
            )
        )
    return left == 0


async def _end_as(
    read_address: ReadAddress, context: JobContext, source: str, jobs: Collection[str]
) -> EndedSessions | None:
    """Return what was found and ended with the rights of that address; None if it can't be used."""
    try:
        address = await read_address(context.loaded, context.environment, context.redactor, source)
        found = await end_sessions_named(
            _impatient(address),
            [session_name(job) for job in jobs],
            application_name=context.application_name,
        )
    except FsbackupError as error:
        context.report(Log(f"Not looked for sessions of lost jobs on {source}: {error.what}"))
        return None
    if found.ended:
        context.report(
            Log(f"Ended {found.ended} sessions on the server of {source}, left by {_text(jobs)}.")
        )
    return found


def _text(jobs: Collection[str]) -> str:
    return ", ".join(sorted(jobs))


def _impatient(address: DatabaseAddress) -> DatabaseAddress:
    return replace(
        address, parameters={**address.parameters, "connect_timeout": str(CONNECT_SECONDS)}
    )
