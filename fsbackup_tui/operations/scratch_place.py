"""Where a trial restore runs: an own server, a configured one, or beside the live database."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import (
    PostgresError,
    ScratchUnavailable,
    SecretUnavailable,
    ToolError,
)
from fsbackup_tui.domain.events import CommandStarted, Log
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.domain.proof import Blocker
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.clients import find_clients
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.globals import Globals
from fsbackup_tui.engines.postgres.guards import free_bytes
from fsbackup_tui.engines.postgres.lacks import sort_accounting
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.trial_roles import (
    make_roles,
    make_tablespaces,
    names_text,
    read_globals,
)
from fsbackup_tui.engines.postgres.trial_server import (
    TrialServer,
    choose_server,
    preloaded_libraries,
    runs_as_another_user,
    start_trial_server,
    trial_settings,
)
from fsbackup_tui.engines.postgres.trial_space import (
    SERVER_BYTES,
    check_limit,
    choose_data_place,
    needed_bytes,
    when_full,
)
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.engines.secrets import expands_to_nothing, read_secret
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.scratch_look import (
    PlaceKind,
    ScratchPlace,
    look_at,
    unavailable,
)
from fsbackup_tui.operations.target import admin_address

__all__ = ["ScratchPlace", "ScratchWhere", "prepare_roles", "scratch_place", "sort_losses"]

ScratchWhere = Literal["auto", "own", "server", "live"]

ROOM_LINK = "scratch-room"
"""The name of a link, in a job's work directory, to the room in which its server's data lie."""

_MOST_JOBS = 8
_JOBS_ON_LIVE = 2


@asynccontextmanager
async def scratch_place(
    context: JobContext,
    part: PartManifest,
    *,
    where: ScratchWhere | None = None,
    archive: Path | None = None,
) -> AsyncIterator[ScratchPlace]:
    """Give a place for the part's trial restore inside the block; an own server goes with it.

    ``where`` overrides ``scratch: on`` of the config; ``archive`` is the dump, which the place's
    client must be able to decompress.

    Raises:
        ScratchUnavailable: there is none, with what is lacking; nothing was created.
    """
    facts = part.postgres
    if facts is None:
        raise ScratchUnavailable(f"NOT A DATABASE: {part.source} is of kind {part.kind}.")
    kind = _kind(context, where or context.loaded.config.scratch.on)
    if kind == "own":
        async with _own_server(context, facts, archive) as place:
            yield place
    elif kind == "server":
        yield await _configured_server(context, facts, archive)
    else:
        yield await _beside_live(context, part.source, facts, archive)


def _kind(context: JobContext, where: ScratchWhere) -> PlaceKind:
    if where != "auto":
        return where
    url = context.loaded.config.scratch.url
    named = url is not None and not expands_to_nothing(url, context.environment)
    return "server" if named else "own"


@asynccontextmanager
async def _own_server(
    context: JobContext, facts: PostgresFacts, archive: Path | None
) -> AsyncIterator[ScratchPlace]:
    started = time.monotonic()
    config = context.loaded.config
    programs = choose_server(
        await find_clients(config.clients, os.environ), facts.identity.server_version_num
    )
    if programs.note:
        context.report(Log(programs.note))
    needed = needed_bytes(facts) + SERVER_BYTES
    check_limit(config.scratch.disk, needed)
    parent = await asyncio.to_thread(_data_place, context, needed)
    jobs = config.scratch.jobs or _automatic_jobs()
    settings = trial_settings(
        facts,
        major=programs.client.major,
        memory=config.scratch.memory,
        disk=config.scratch.disk or free_bytes(parent),
        jobs=jobs,
    )
    settings |= preloaded_libraries(facts, programs.client.directory)
    try:
        trial = await start_trial_server(
            parent,
            programs.client,
            settings,
            manners=_manners(context),
            on_room=lambda room: (context.work / ROOM_LINK).symlink_to(room),
        )
    except (PostgresError, ToolError) as error:
        raise when_full(parent, needed, error) from error
    try:
        try:
            place = await _own_place(context, facts, archive, trial.server, jobs, started)
        except PostgresError as error:
            # A server whose disk was filled since takes no connection.
            raise when_full(parent, needed, error) from error
        yield place
    finally:
        await undisturbed(_remove(context, trial))


def _data_place(context: JobContext, needed: int) -> Path:
    return choose_data_place(
        context.loaded.config.scratch.directory,
        context.work,
        other_user=runs_as_another_user(),
        needed=needed,
    )


async def _own_place(
    context: JobContext,
    facts: PostgresFacts,
    archive: Path | None,
    server: ScratchServer,
    jobs: int,
    started: float,
) -> ScratchPlace:
    context.report(CommandStarted(server.command, server.pid or 0))
    address = parse_database_url(server.url())
    version = f"{server.version_num // 10_000}.{server.version_num % 10_000}"
    place = await look_at(
        context,
        facts,
        address,
        kind="own",
        text=f"own server {version}",
        jobs=jobs,
        archive=archive,
        data_directory=server.data_directory,
        disk=context.loaded.config.scratch.disk,
        offline=server.is_offline,
        started=started,
    )
    context.report(Log(f"Trial restore on {place.text}, ready in {place.start_seconds:.1f} s"))
    return place


async def _remove(context: JobContext, trial: TrialServer) -> None:
    await asyncio.to_thread(trial.remove)
    (context.work / ROOM_LINK).unlink(missing_ok=True)


def _manners(context: JobContext) -> tuple[str, ...]:
    """Return the command in front of the server that makes it give way to everybody else."""
    nice = context.loaded.config.limits.nice - os.getpriority(os.PRIO_PROCESS, 0)
    words: list[str] = []
    if shutil.which("choom") is not None:
        words += ["choom", "-n", "500", "--"]  # short of memory, the kernel ends it first
    if nice > 0:
        words += ["nice", "-n", str(nice)]
    return tuple(words)


def _automatic_jobs() -> int:
    return min(max(2, os.cpu_count() or 1), _MOST_JOBS)


async def _configured_server(
    context: JobContext, facts: PostgresFacts, archive: Path | None
) -> ScratchPlace:
    started = time.monotonic()
    config = context.loaded.config
    try:
        address = await _configured_address(context)
    except SecretUnavailable as error:
        fix = error.fix or "Set it, or use an own server: scratch: {on: own}"
        raise unavailable(error.what, error.why, fix) from error
    try:
        place = await look_at(
            context,
            facts,
            address,
            kind="server",
            text=f"scratch server {address.host or 'localhost'}:{address.port}",
            jobs=config.scratch.jobs or _automatic_jobs(),
            archive=archive,
            disk=config.scratch.disk,
            started=started,
        )
    except ScratchUnavailable:
        raise
    except PostgresError as error:
        raise unavailable(error.what, error.why, error.fix) from error
    _refuse_live_server(place, facts)
    return place


async def _configured_address(context: JobContext) -> DatabaseAddress:
    description = context.loaded.config.scratch.url
    if description is None or expands_to_nothing(description, context.environment):
        raise unavailable(
            "NO SCRATCH SERVER: the config names none.",
            "scratch: {on: server} needs its address.",
            "Set scratch: url in the config, or use an own server: scratch: {on: own}",
        )
    secret = await read_secret(
        description,
        context.environment,
        context.redactor,
        what="scratch server's address",
        where=context.loaded.place("scratch", "url"),
    )
    address = parse_database_url(secret.reveal())
    if address.password is not None:
        context.redactor.add(address.password)
    return address


def _refuse_live_server(place: ScratchPlace, facts: PostgresFacts) -> None:
    identifier = facts.identity.system_identifier
    if identifier is not None and place.identity.system_identifier == identifier:
        raise unavailable(
            "NOT A SCRATCH SERVER: scratch: url leads to the server that was backed up.",
            f"Its system identifier is {identifier}, the captured server's. Roles would be made "
            "there.",
            "Name another server, or prove beside live: scratch: {on: live}",
        )


async def _beside_live(
    context: JobContext, source: str, facts: PostgresFacts, archive: Path | None
) -> ScratchPlace:
    started = time.monotonic()
    config = context.loaded.config
    address = await admin_address(context.loaded, context.environment, context.redactor, source)
    return await look_at(
        context,
        facts,
        address,
        kind="live",
        text=f"the live server {address.host or 'localhost'}",
        jobs=config.scratch.jobs or config.limits.jobs or _JOBS_ON_LIVE,
        archive=archive,
        started=started,
    )


async def prepare_roles(
    place: ScratchPlace,
    context: JobContext,
    facts: PostgresFacts,
    globals_path: Path | None,
    *,
    owners: Collection[str] = (),
) -> list[str]:
    """Make the roles that the archive names, before it is restored; returns notes for the record.

    They are those of the facts, the ``owners`` in the archive's list and, on an own server, all
    of ``globals.sql`` with their attributes, memberships and tablespaces (no passwords). On a
    configured server the missing ones are made, unable to log in, and nothing else is changed;
    beside live nothing is made at all.
    """
    if place.kind == "live":
        return []
    notes: list[str] = []
    told = Globals()
    if globals_path is not None:
        try:
            told = await asyncio.to_thread(read_globals, globals_path)
        except OSError as error:
            notes.append(f"{globals_path.name} could not be read: {error.strerror}")
    names = [name for name in (*facts.roles, *owners, facts.owner) if name]
    with plain_errors(place.address):
        admin = await connect(place.address, application_name=context.application_name)
        async with admin:
            made, problems = await make_roles(admin, names, told, own=place.kind == "own")
            if place.kind == "own":
                problems += await make_tablespaces(admin, told)
    if place.kind == "server" and made:
        notes.append(f"roles made on {place.text}, where they stay: {names_text(made)}")
    return [*notes, *problems]


def sort_losses(
    accounting: Accounting, place: ScratchPlace, entries: Sequence[TocEntry] = ()
) -> tuple[tuple[Blocker, ...], tuple[str, ...]]:
    """Return what the scratch server lacked, and one line for all that is really lost.

    ``entries`` is the archive's whole list, by which consequences are told from causes. What is
    not explained by a lack of the server's is lost.
    """
    return sort_accounting(accounting, entries=entries, offline=place.offline)
