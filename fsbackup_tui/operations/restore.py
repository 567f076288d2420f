"""Restoring a postgres part beside the live database: checked, filled, accounted for, named."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    RestoreIncomplete,
    SafetyRefusal,
    ServerUnreachable,
    UsageError,
)
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import (
    free_bytes,
    local_data_directory,
    watch_free_space,
)
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.replay import (
    CreatedDatabase,
    check_name,
    create_database,
    finish_database,
    unfinished_name,
)
from fsbackup_tui.engines.postgres.side import (
    database_exists,
    drop_unfinished,
    name_unfinished,
    newborn_name,
    restore_lock,
    sweep_newborn,
    sweep_unfinished,
    unfinished_comment,
)
from fsbackup_tui.engines.postgres.vacuum import vacuum_analyze
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.clients import client_for_restore, client_major
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import (
    NO_ENTRIES,
    Dump,
    Filling,
    dump_name,
    fill_and_account,
)
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.operations.restore_from import RestoreSource, check_seals, in_use, open_source
from fsbackup_tui.operations.status import job_liveness
from fsbackup_tui.operations.target import admin_address, check_target, target_text
from fsbackup_tui.repository.reader import PointReader

_SPACE_SHARE = 1.3
_FLOOR_SHARE = 0.02
_LEAST_FLOOR_BYTES = 64 * 10**6


@dataclass
class _Restore:
    """One restore while it runs."""

    request: RestoreBesideRequest
    context: JobContext
    source: RestoreSource
    notes: list[str] = field(default_factory=list)
    keeps_copy: bool = False
    copy_oid: int = 0


async def run(request: RestoreBesideRequest, context: JobContext) -> dict[str, object]:
    """Restore a part, or a backup file, into the new database ``beside`` (design §9).

    The copy has another name, and nobody else may connect to it, until every entry of the
    archive is accounted for. Where it fails or is cancelled before that, it is dropped; where
    entries are lost it is kept under its unfinished name, for a person to look at.

    Raises:
        PointDamaged: what would be used does not match its seal, or is no whole backup file;
            nothing was created.
        IdentityMismatch, SafetyRefusal, RestoreIncomplete, PostgresError, DiskFull.
    """
    started = time.monotonic()
    refuse_if_read_only(context.loaded, "restores nothing")
    check_name(request.beside)
    context.stage("check")
    source = await open_source(request, context)
    restore = _Restore(request, context, source, [*source.notes])
    async with in_use(source, context):
        await check_seals(source, context)
        address = await admin_address(
            context.loaded, context.environment, context.redactor, request.part
        )
        with plain_errors(address):
            admin = await connect(address, application_name=context.application_name)
            async with admin:
                accounting = await _restore_beside(restore, address, admin)
    return _document(restore, accounting, time.monotonic() - started)


async def _restore_beside(
    restore: _Restore, address: DatabaseAddress, admin: Connection
) -> Accounting:
    context, request = restore.context, restore.request
    identity = await read_identity(admin, address)
    check_target(request.target, identity)
    context.report(Log(f"Target: {target_text(identity)}"))
    newest = max(restore.source.facts, restore.source.created_from, key=client_major)
    client = await client_for_restore(context, address, identity.server_version_num, newest)
    data_directory = await local_data_directory(admin, identity.system_identifier)
    _check_space(restore, data_directory)
    async with restore_lock(admin, identity, context.application_name):
        context.stage("create")
        async with _unfinished_database(restore, address, admin) as created:
            restore.copy_oid = created.oid
            context.stage("restore")
            filling = Filling(
                context=context,
                address=address.with_database(created.name),
                client=client,
                database_oid=created.oid,
                jobs=request.jobs or _automatic_jobs(),
            )
            accounting = await guarded(
                _fill(restore, filling), *_space_guards(restore, data_directory)
            )
            restore.source.check_unchanged()
            context.stage("finish")
            await _finish(restore, admin, filling, created, accounting)
    return accounting


def _automatic_jobs() -> int:
    return min(max(2, os.cpu_count() or 1), 8)


def _check_space(restore: _Restore, data_directory: Path | None) -> None:
    size = restore.source.facts.identity.size_bytes
    if data_directory is None:
        restore.context.report(
            Log("The server's disk can't be seen from here: look at its free space yourself.")
        )
        return
    if size is None:
        restore.context.report(
            Log("How large the copy becomes is not known: the server's disk is watched.")
        )
    needed = int((size or 0) * _SPACE_SHARE)
    free = free_bytes(data_directory)
    if free < needed:
        raise DiskFull(
            "NOT ENOUGH SPACE on the server. Nothing was created.",
            why=f"{data_directory} has {free // 10**6} MB free; the copy takes about "
            f"{needed // 10**6} MB.",
            fix="Free space on the server, or restore on another machine.",
        )


def _space_guards(
    restore: _Restore, data_directory: Path | None
) -> list[Coroutine[object, object, None]]:
    if data_directory is None:
        return []
    floor = max(_LEAST_FLOOR_BYTES, int(shutil.disk_usage(data_directory).total * _FLOOR_SHARE))
    floor = min(floor, free_bytes(data_directory) // 4)
    return [
        watch_free_space(data_directory, floor, what=f"the restore into {restore.request.beside}")
    ]


@asynccontextmanager
async def _unfinished_database(
    restore: _Restore, address: DatabaseAddress, admin: Connection
) -> AsyncIterator[CreatedDatabase]:
    """Make the side database under its unfinished name; drop it when the block fails.

    ``keeps_copy`` is the exception: then a person may want to look at what is there.
    """
    context, request = restore.context, restore.request
    await _refuse_taken(admin, request.beside)
    created = await _make_copy(restore, address, admin, unfinished_name(request.beside))
    for note in created.notes:
        restore.notes.append(note)
        context.report(Warned(note))
    try:
        yield created
    except BaseException as error:
        if not restore.keeps_copy:
            # A cancel that comes now must not leave half a database behind.
            await undisturbed(_take_back(restore, address, admin, created, error))
        raise


async def _make_copy(
    restore: _Restore, address: DatabaseAddress, admin: Connection, name: str
) -> CreatedDatabase:
    """Make the side database, after dropping what a dead job left; a cancel leaves nothing."""
    context = restore.context
    alive = job_liveness(context.loaded, os.environ, restore.source.repository)
    dead_jobs = await sweep_newborn(admin, alive)
    if (dead_job := await sweep_unfinished(admin, name, alive)) is not None:
        dead_jobs.append(dead_job)
    for job in dead_jobs:
        context.report(Log(f"Dropped the unfinished copy that the dead job {job} had left."))

    async def drop() -> None:
        try:
            with plain_errors(address):
                await sweep_newborn(admin, lambda job: job != context.job)
                with suppress(SafetyRefusal):
                    await sweep_unfinished(admin, name, lambda job: job != context.job)
        except FsbackupError as problem:
            # The next restore into this server sweeps it away.
            context.report(Warned(problem.what))

    try:
        newborn = await create_database(
            admin,
            newborn_name(context.job),
            restore.source.created_from,
            comment=unfinished_comment(context.job),
        )
        return await name_unfinished(admin, newborn, name)
    except BaseException:
        if not admin.closed:
            await undisturbed(drop())
        raise


async def _take_back(
    restore: _Restore,
    address: DatabaseAddress,
    admin: Connection,
    created: CreatedDatabase,
    error: BaseException,
) -> None:
    """Drop the side database; where that fails, say so with what made the restore fail."""
    try:
        with plain_errors(address):
            if not admin.closed:
                with suppress(ServerUnreachable), plain_errors(address):
                    await drop_unfinished(admin, created.name, created.oid)
                    return
            # The session was lost; its server may well be there.
            name = restore.context.application_name
            async with await connect(address, application_name=name) as another:
                await drop_unfinished(another, created.name, created.oid)
    except FsbackupError as problem:
        left = f"LEFT OVER: {created.name}. The next restore of that name drops it first."
        restore.context.report(Warned(f"{left} {problem.what}"))
        if isinstance(error, FsbackupError):
            error.fix = f"{error.fix}\n{left}".strip()


async def _refuse_taken(admin: Connection, name: str) -> None:
    if await database_exists(admin, name):
        raise SafetyRefusal(
            f"NAME TAKEN: a database {name} exists already. Nothing was done.",
            why="A restore never writes into a database that is there.",
            fix="Choose another name with --beside.",
        )


async def _fill(restore: _Restore, filling: Filling) -> Accounting:
    schema: Dump | None = None
    source = restore.source
    if source.schema is not None:
        schema = _dump_of(*source.schema)
    return await fill_and_account(filling, _dump_of(source.part, source.reader), schema)


def _dump_of(part: PartManifest, reader: PointReader) -> Dump:
    if part.postgres is None:
        raise UsageError(f"NOT A DATABASE: {part.source} is of kind {part.kind}.")
    return Dump(reader.path_inside(part.source, dump_name(part)), part.postgres)


async def _finish(
    restore: _Restore,
    admin: Connection,
    filling: Filling,
    created: CreatedDatabase,
    accounting: Accounting,
) -> None:
    """Refuse what is not whole, else gather statistics, replay properties, give the name.

    What is not whole, and what is whole but can't be named, is kept under its unfinished name.
    """
    with _keeping_copy(restore, RestoreIncomplete):
        accounting.require_whole(created.name)
    if not any(accounting.counts().values()):
        restore.notes.append(NO_ENTRIES)
    problems = await vacuum_analyze(
        filling.connect, jobs=filling.jobs, report=restore.context.report
    )
    with _keeping_copy(restore, FsbackupError):
        replayed = await finish_database(
            admin, created.name, restore.request.beside, restore.source.created_from
        )
    for note in (*accounting.notes, *problems, *replayed):
        restore.notes.append(note)
        restore.context.report(Warned(note))


@contextmanager
def _keeping_copy(restore: _Restore, kind: type[FsbackupError]) -> Iterator[None]:
    try:
        yield
    except kind:
        restore.keeps_copy = True
        raise


def _document(restore: _Restore, accounting: Accounting, seconds: float) -> dict[str, object]:
    return {
        "ok": True,
        "point": restore.request.point,
        "part": restore.request.part,
        "target": restore.request.beside,
        "target_oid": restore.copy_oid,
        "entries": accounting.counts(),
        "benign": [{"entry": entry.label, "reason": reason} for entry, reason in accounting.benign],
        "deferred": [entry.label for entry in accounting.deferred],
        "seconds": round(seconds, 3),
        "problems": [{"what": note} for note in restore.notes],
    }
