"""What can still be read of a corrupt database, in a new one beside it that can be swapped in.

Its definitions are dumped and made again; the rows come around the damage, each table by itself;
keys and indexes are made last, and those that lost rows keep from being made are told.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DiskFull, FsbackupError
from fsbackup_tui.domain.events import Warned, format_time
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.preserve import Salvaged
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import free_bytes, local_data_directory
from fsbackup_tui.engines.postgres.inspect_objects import (
    DatabaseProperties,
    list_sequences,
    read_large_objects,
    read_properties,
    read_sequences,
    read_settings,
)
from fsbackup_tui.engines.postgres.kept import kept_comment, kept_name
from fsbackup_tui.engines.postgres.preserve import dump_schema
from fsbackup_tui.engines.postgres.replay import (
    CreatedDatabase,
    Properties,
    check_name,
    finish_database,
    unreachable_roles,
)
from fsbackup_tui.engines.postgres.restore import Section, restore_archive
from fsbackup_tui.engines.postgres.salvage import Heap
from fsbackup_tui.engines.postgres.salvage_finish import (
    complete_objects,
    list_objects,
    refresh_views,
    set_sequences,
)
from fsbackup_tui.engines.postgres.salvage_sinks import TableSink
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.engines.postgres.side import find_database, restore_lock
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.trial_space import SPACE_SHARE, floor_bytes, space_guards
from fsbackup_tui.engines.postgres.vacuum import vacuum_analyze
from fsbackup_tui.operations.clients import client_for_server, job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.live_server import confirm_target, reading_address
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import SalvageRequest
from fsbackup_tui.operations.salvaging import Salvaging, lost_rows, reading_session
from fsbackup_tui.operations.side_database import SideDatabase
from fsbackup_tui.operations.status import site_repository_or_none
from fsbackup_tui.operations.target import admin_address
from fsbackup_tui.operations.wording import size_text


@dataclass
class _Salvage:
    """One salvage while it runs; ``beside`` is the name that the new database gets."""

    request: SalvageRequest
    context: JobContext
    live: DatabaseAddress
    admin: DatabaseAddress
    beside: str
    jobs: int
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Tell something that the person should know of the new database."""
        self.notes.append(text)
        self.context.report(Warned(text))


@dataclass(frozen=True, slots=True)
class _Side:
    """The new database, and what fills it."""

    created: CreatedDatabase
    address: DatabaseAddress
    client: ClientTools
    archive: Path
    entries: list[TocEntry]
    application_name: str

    async def connect(self) -> Connection:
        """Open a session in it; refused if it is not that very one any more."""
        return await connect(
            self.address,
            application_name=self.application_name,
            database_oid=self.created.oid,
        )


async def run(request: SalvageRequest, context: JobContext) -> dict[str, object]:
    """Make the new database of what can be read; returns ``Salvaged``.

    Raises:
        IdentityMismatch: the server is not the one that was seen; nothing was made.
        SafetyRefusal: the name is taken, or the configuration only looks.
        DiskFull: the copy would not fit, or the disk filled up; nothing is left of it.
        FsbackupError: not even the definitions can be read; nothing is left of the copy.
    """
    refuse_if_read_only(context.loaded, "salvages nothing")
    context.stage("schema")
    loaded, environment, redactor = context.loaded, context.environment, context.redactor
    live = await reading_address(context, request.part, request.database)
    admin_at = await admin_address(loaded, environment, redactor, request.part)
    tag = context.job.rpartition("-")[2]
    beside = request.beside or kept_name(live.database, "restore", tag)
    check_name(beside)
    jobs = min(max(2, os.cpu_count() or 1), 8)
    salvage = _Salvage(request, context, live, admin_at, beside, jobs)
    with plain_errors(admin_at):
        async with await connect(admin_at, application_name=context.application_name) as admin:
            identity = await confirm_target(admin, admin_at, request.target, context)
            async with restore_lock(admin, identity, context.application_name):
                result = await _salvage(salvage, admin, identity)
    return {"ok": True, **plain(result)}


async def _salvage(salvage: _Salvage, admin: Connection, identity: ServerIdentity) -> Salvaged:
    context = salvage.context
    _database, size = await find_database(admin, salvage.live.database)
    data_directory = await local_data_directory(admin, identity.system_identifier)
    _require_space(data_directory, size)
    properties = await read_properties(admin, salvage.live.database)
    client = await client_for_server(context, salvage.live, identity.server_version_num)
    archive = context.work / "definitions.dump"
    with job_environment(context, salvage.live) as variables:
        await dump_schema(
            client,
            variables,
            archive,
            archive=True,
            report=context.report,
            redactor=context.redactor,
        )
    _text, entries = await list_archive(client, archive)
    database = SideDatabase(
        context,
        salvage.admin,
        admin,
        salvage.beside,
        properties,
        site_repository_or_none(context.loaded, os.environ),
        salvage.notes,
    )
    async with database.unfinished() as created:
        side = _Side(
            created,
            salvage.admin.with_database(created.name),
            client,
            archive,
            entries,
            context.application_name,
        )
        guards = space_guards(data_directory, limit=None, what=f"the salvage of {salvage.beside}")
        salvaging = await guarded(_fill(salvage, side), *guards)
        with database.keeping_copy(FsbackupError):
            await _name(salvage, admin, created, properties)
    return Salvaged(
        salvage.beside,
        created.oid,
        tuple(sorted(salvaging.verdicts, key=lambda verdict: verdict.table)),
        tuple(salvage.failed),
        lost_rows(salvaging.verdicts),
        tuple(salvage.notes),
    )


@asynccontextmanager
async def _session(side: _Side) -> AsyncIterator[Connection]:
    connection = await side.connect()
    async with connection:
        yield connection


def _require_space(data_directory: Path | None, size: int | None) -> None:
    if data_directory is None:
        return
    room = free_bytes(data_directory) - floor_bytes(data_directory)
    needed = int((size or 0) * SPACE_SHARE)
    if room < needed:
        raise DiskFull(
            "NOT ENOUGH SPACE on the server. Nothing was created.",
            why=f"The new database takes about {size_text(needed)}; {size_text(max(0, room))} may "
            f"be used in {data_directory}.",
            fix="Free space on the server, or keep the tables as files: the step before this one.",
        )


async def _fill(salvage: _Salvage, side: _Side) -> Salvaging:
    context = salvage.context
    await _restore(salvage, side, "pre-data")
    context.stage("rows")
    async with AsyncExitStack() as stack:
        sinks: list[tuple[Heap, TableSink]] = []
        target = await stack.enter_async_context(_session(side))

        async def open_sink(heap: Heap) -> tuple[TableSink, str]:
            nonlocal target
            if target.closed:
                # The server died of a row, and is back.
                target = await stack.enter_async_context(_session(side))
            sink = TableSink(target, (heap.schema, heap.name))
            sinks.append((heap, sink))
            return sink, ""

        salvaging = Salvaging(context, salvage.live, open_sink)
        await salvaging.read_all(lambda table: table.dumps_rows)
        for heap, sink in sinks:
            salvage.failed.extend(
                f"NOT NULL of {heap.qualified}.{name}: given up, as it can't be read of some rows"
                for name in sink.nullable
            )
    context.stage("finish")
    await _restore(salvage, side, "post-data")
    await _complete(salvage, side)
    problems = await vacuum_analyze(side.connect, jobs=salvage.jobs, report=context.report)
    for problem in problems:
        salvage.note(problem)
    return salvaging


async def _restore(salvage: _Salvage, side: _Side, section: Section) -> None:
    """Restore a section of the definitions; its errors are reasons for what is missing later."""
    context = salvage.context
    owners = {entry.owner for entry in side.entries if entry.owner}
    async with _session(side) as target:
        missing, closed = await unreachable_roles(target, owners)
    no_owner = bool(missing or closed)
    if no_owner and section == "pre-data":
        salvage.note(
            f"The restoring role may not give objects to {', '.join((*missing, *closed))}: it "
            "owns all itself."
        )
    with job_environment(context, side.address) as variables:
        # One job alone: the errors of several come mixed up.
        ran = await restore_archive(
            side.client,
            variables,
            side.archive,
            entries=side.entries,
            work=context.work,
            jobs=1,
            no_owner=no_owner,
            section=section,
            report=context.report,
            redactor=context.redactor,
        )
    salvage.errors.extend(ran.errors)
    if section == "pre-data":
        for entry in ran.deferred:
            salvage.note(f"left out on purpose: {entry.label}")


async def _complete(salvage: _Salvage, side: _Side) -> None:
    async with (
        reading_session(salvage.live, salvage.context) as source,
        _session(side) as target,
    ):
        sequences = await read_sequences(
            source, await list_sequences(source, schemas=[], tables=[])
        )
        salvage.failed.extend(await set_sequences(target, sequences))
        wanted = await list_objects(source)
        salvage.failed.extend(await complete_objects(target, wanted, salvage.errors))
        role = side.address.user or ""
        path = database_search_path(await read_settings(source), role)
        salvage.failed.extend(await refresh_views(source, target, path))
        count, _bytes = await read_large_objects(source)
    if count:
        salvage.note(f"{count} large objects are not in it: they are not read by this salvage")
    for text in salvage.failed:
        salvage.context.report(Warned(text))


async def _name(
    salvage: _Salvage, admin: Connection, created: CreatedDatabase, like: DatabaseProperties
) -> None:
    """Give it what live has of its own, the mark, and its name."""
    context = salvage.context
    comment = kept_comment(
        "restore", salvage.live.database, format_time(context.now()), context.job
    )
    settings = await read_settings(admin, salvage.live.database)
    properties = Properties(like.owner, comment, like.connection_limit, settings, like.grants)
    for problem in await finish_database(admin, created.name, salvage.beside, properties):
        salvage.note(problem)
