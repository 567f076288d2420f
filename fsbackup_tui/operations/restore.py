"""Restoring a postgres part beside the live database: checked, filled, accounted for, named."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import DiskFull, FsbackupError, RestoreIncomplete, UsageError
from fsbackup_tui.domain.events import Log, Warned, format_time
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import free_bytes, local_data_directory, watch_free_space
from fsbackup_tui.engines.postgres.kept import kept_comment
from fsbackup_tui.engines.postgres.replay import (
    CreatedDatabase,
    Properties,
    check_name,
    finish_database,
)
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.engines.postgres.vacuum import vacuum_analyze
from fsbackup_tui.operations.clients import client_for_restore, client_major
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import NO_ENTRIES, Dump, Filling, dump_name, fill_and_account
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.live_server import confirm_target
from fsbackup_tui.operations.one_job import ONCE_MORE, by_one_job_at_last
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_view import borrowing
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.operations.restore_from import (
    RestoreSource,
    check_seals,
    in_use,
    open_source,
    opened_source,
)
from fsbackup_tui.operations.side_database import SideDatabase
from fsbackup_tui.operations.target import admin_address
from fsbackup_tui.repository.reader import PointReader

Dress = Callable[[PostgresFacts], PostgresFacts | Properties]

_SPACE_SHARE = 1.3
_FLOOR_SHARE = 0.02
_LEAST_FLOOR_BYTES = 64 * 10**6


@dataclass
class _Restore:
    """One restore while it runs."""

    request: RestoreBesideRequest
    context: JobContext
    source: RestoreSource
    dress: Dress
    notes: list[str] = field(default_factory=list)
    copy_oid: int = 0


async def run(request: RestoreBesideRequest, context: JobContext) -> dict[str, object]:
    """Restore as ``restore_beside`` does, and give the copy what was captured with it.

    A recovery's copy bears its mark in place of the captured comment, until it is swapped in.
    """

    def dress(facts: PostgresFacts) -> PostgresFacts:
        if not request.copy_of:
            return facts
        at = format_time(context.now())
        return replace(facts, comment=kept_comment("restore", request.copy_of, at, context.job))

    return await restore_beside(request, context, dress=dress)


async def restore_beside(
    request: RestoreBesideRequest, context: JobContext, *, dress: Dress
) -> dict[str, object]:
    """Restore a part, or a backup file, into the new database ``beside`` (design §9).

    The copy has another name, and nobody else may connect to it, until every entry of the
    archive is accounted for. Where it fails or is cancelled before that, it is dropped; where
    entries are lost it is kept under its unfinished name, for a person to look at. ``dress``
    says what it gets of its own (grants, settings, comment) together with its name.

    Raises:
        PointDamaged: what would be used does not match its seal, or is no whole backup file;
            nothing was created.
        IdentityMismatch, SafetyRefusal, RestoreIncomplete, PostgresError, DiskFull.
    """
    started = time.monotonic()
    refuse_if_read_only(context.loaded, "restores nothing")
    check_name(request.beside)
    context.stage("check")
    context = await borrowing(context, request.replica, request.point)
    source = await open_source(request, context)
    restore = _Restore(request, context, source, dress, [*source.notes])
    async with in_use(source, context):
        await check_seals(source, context, reason_unsigned=request.reason_unsigned)
        address = await admin_address(
            context.loaded, context.environment, context.redactor, request.part
        )
        async with opened_source(source, context) as restore.source:
            with plain_errors(address):
                admin = await connect(address, application_name=context.application_name)
                async with admin:
                    accounting = await _restore_beside(restore, address, admin)
    return _document(restore, accounting, time.monotonic() - started)


async def _restore_beside(
    restore: _Restore, address: DatabaseAddress, admin: Connection
) -> Accounting:
    context, request = restore.context, restore.request
    identity = await confirm_target(admin, address, request.target, context)
    newest = max(restore.source.facts, restore.source.created_from, key=client_major)
    client = await client_for_restore(context, address, identity.server_version_num, newest)
    data_directory = await local_data_directory(admin, identity.system_identifier)
    _check_space(restore, data_directory)

    async def attempt(jobs: int) -> Accounting:
        context.stage("create")
        side = SideDatabase(
            context,
            address,
            admin,
            request.beside,
            restore.source.created_from,
            restore.source.repository,
            restore.notes,
        )
        async with side.unfinished() as created:
            restore.copy_oid = created.oid
            context.stage("restore")
            filling = Filling(
                context=context,
                address=address.with_database(created.name),
                client=client,
                database_oid=created.oid,
                jobs=jobs,
            )
            accounting = await guarded(
                _fill(restore, filling), *_space_guards(restore, data_directory)
            )
            restore.source.check_unchanged()
            context.stage("finish")
            await _finish(restore, side, filling, created, accounting)
        if jobs != wanted:
            restore.notes.append(ONCE_MORE)
        return accounting

    wanted = request.jobs or _automatic_jobs()
    async with restore_lock(admin, identity, context.application_name):
        return await by_one_job_at_last(context, wanted, attempt)


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
    side: SideDatabase,
    filling: Filling,
    created: CreatedDatabase,
    accounting: Accounting,
) -> None:
    """Refuse what is not whole, else gather statistics, replay properties, give the name.

    What is not whole, and what is whole but can't be named, is kept under its unfinished name.
    """
    with side.keeping_copy(RestoreIncomplete):
        accounting.require_whole(created.name)
    if not any(accounting.counts().values()):
        restore.notes.append(NO_ENTRIES)
    problems = await vacuum_analyze(
        filling.connect, jobs=filling.jobs, report=restore.context.report
    )
    with side.keeping_copy(FsbackupError):
        replayed = await finish_database(
            side.admin, created.name, side.name, restore.dress(restore.source.created_from)
        )
    for note in (*accounting.notes, *problems, *replayed):
        restore.notes.append(note)
        restore.context.report(Warned(note))


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
