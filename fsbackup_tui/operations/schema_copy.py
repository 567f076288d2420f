"""Bringing restored schemas from their side database beside the live ones, and proving them.

Where databases can't be renamed the point is restored into a side *database* all the same; from
there each schema comes under another name into the live database, so that taking its place is a
rename (design §6, reference/ops.md n). What it has to do with other schemas' tables, foreign keys
that would delete rows or keep others from being deleted, it gets when it is live.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.guards import local_data_directory, watch_free_space
from fsbackup_tui.engines.postgres.schema_dump import dump_schemas
from fsbackup_tui.engines.postgres.schema_marks import (
    check_tag,
    find_marked,
    schema_oids,
    set_comment,
)
from fsbackup_tui.engines.postgres.schema_side import (
    create_beside,
    drop_beside,
    give_own,
    held_back,
    rename_back,
    rename_out,
)
from fsbackup_tui.engines.postgres.schema_ties import Ties, find_ties
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.engines.postgres.trial_space import floor_bytes
from fsbackup_tui.engines.postgres.vacuum import vacuum_analyze
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.clients import client_for_server, job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import Dump, Filling, fill_and_account
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.live_server import confirm_target
from fsbackup_tui.operations.one_job import by_one_job_at_last
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import SchemaCopyRequest
from fsbackup_tui.operations.schema_copying import Copying, expected_facts, look
from fsbackup_tui.operations.schema_prove import prove
from fsbackup_tui.operations.target import admin_address, source_address


async def run(request: SchemaCopyRequest, context: JobContext) -> dict[str, object]:
    """Copy, account for every entry, prove; what can't be proven is dropped again.

    Raises:
        IdentityMismatch: the server, or the side database, is not the one that was seen.
        SafetyRefusal: the live schemas could not be swapped afterwards, or a name is taken.
        RestoreIncomplete, PostgresError, DiskFull: nothing is left beside the live schemas.
    """
    started = time.monotonic()
    refuse_if_read_only(context.loaded, "copies no schema")
    check_tag(request.tag)
    context.stage("check")
    arguments = (context.loaded, context.environment, context.redactor, request.part)
    live = await source_address(*arguments, database=request.database)
    address = await admin_address(*arguments)
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            identity = await confirm_target(admin, address, request.target, context)
            copying = Copying(
                request,
                context,
                address.with_database(live.database),
                address.with_database(request.copy),
                identity,
                await client_for_server(context, address, identity.server_version_num),
            )
            async with restore_lock(admin, identity, context.application_name):
                data = await local_data_directory(admin, identity.system_identifier)
                places = [context.work, *([data] if data is not None else [])]
                return await guarded(
                    _copy(copying, started),
                    *(
                        watch_free_space(place, floor_bytes(place), what="the copy of the schema")
                        for place in places
                    ),
                )


async def _copy(copying: Copying, started: float) -> dict[str, object]:
    async with await copying.open_live() as live:
        copy = await copying.open_copy()
        async with copy:
            # What a killed job left renamed has its own name back before anything is read.
            await look(copying, copy, live)
        facts = await expected_facts(copying, live)
        if await _stands_already(copying, live):
            accounting = None
        else:
            accounting = await _make(copying, live, facts)
        return await _document(copying, live, accounting, time.monotonic() - started)


async def _stands_already(copying: Copying, live: Connection) -> bool:
    """Whether all of them are there, finished; what a dead job left unfinished is dropped."""
    marked = {item.name: item.mark for item in await find_marked(live)}
    present = await schema_oids(live, copying.beside)
    finished = [name for name in present if name in marked and marked[name].kind == "restored"]
    if len(finished) == len(copying.names):
        copying.context.report(Log("The schemas are there already, proven; nothing to be done."))
        return True
    for name in present:
        if name in marked and marked[name].kind in ("before", "after"):
            raise SafetyRefusal(
                f"NAME TAKEN: {name} is what a swap kept.", fix="Choose another tag for the copy."
            )
        await drop_beside(live, name)
        copying.context.report(Log(f"Dropped {name}, which an earlier job had not finished."))
    return False


async def _make(copying: Copying, live: Connection, facts: PostgresFacts) -> Accounting:
    context = copying.context
    context.stage("dump")
    archive = context.work / "schemas"
    try:
        await _dump(copying)

        async def attempt(jobs: int) -> Accounting:
            context.stage("restore")
            await create_beside(live, copying.marks("unfinished"))
            try:
                accounting = await _restore(copying, facts, jobs)
                context.stage("prove")
                await prove(copying, facts, accounting)
                context.stage("settle")
                await _settle(copying, live)
            except BaseException:
                await undisturbed(_take_back(copying))
                raise
            return accounting

        return await by_one_job_at_last(context, copying.jobs, attempt)
    finally:
        _remove(archive)


def _remove(archive: Path) -> None:
    if archive.is_dir():
        shutil.rmtree(archive, ignore_errors=True)
    else:
        archive.unlink(missing_ok=True)


async def _dump(copying: Copying) -> None:
    """Dump the schemas under their other names; they have their own again at the end."""
    context = copying.context
    with job_environment(context, copying.copy) as environment:
        async with await copying.open_copy() as copy:
            try:
                await rename_out(copy, copying.names)
                await dump_schemas(
                    copying.client,
                    environment,
                    copying.beside,
                    context.work / "schemas",
                    jobs=copying.jobs,
                    report=context.report,
                    redactor=context.redactor,
                )
            finally:
                await undisturbed(_name_again(copying))


async def _name_again(copying: Copying) -> None:
    """Give the side database's schemas their names back, in a session that surely lives."""
    try:
        with plain_errors(copying.copy):
            async with await copying.open_copy() as copy:
                await rename_back(copy, copying.names)
    except FsbackupError as error:
        copying.note(
            f"{copying.request.copy} still has its schemas under other names "
            f"({', '.join(copying.beside)}); the next copy gives them back. {error.what}"
        )


async def _restore(copying: Copying, facts: PostgresFacts, jobs: int) -> Accounting:
    keys: dict[str, list[tuple[str, str]]] = {}
    for tie in copying.side_ties.ties:
        if tie.kind == "constraint":
            keys.setdefault(copying.names[tie.schema], []).append((tie.table, tie.name))
    filling = Filling(
        context=copying.context,
        address=copying.live,
        client=copying.client,
        database_oid=facts.identity.database_oid,
        jobs=jobs,
        deferred=lambda entries: held_back(entries, keys),
        schemas=copying.beside,
    )
    dump = Dump(copying.context.work / "schemas", facts)
    accounting = await fill_and_account(filling, dump)
    accounting.require_whole(copying.live.database)
    for note in accounting.notes:
        copying.note(note)
    return accounting


async def _settle(copying: Copying, live: Connection) -> None:
    """Gather statistics, give owner and grants, and say of them that they are finished."""
    for problem in await vacuum_analyze(
        copying.open_live,
        jobs=copying.jobs,
        report=copying.context.report,
        schemas=copying.beside,
    ):
        copying.note(problem)
    for schema, beside in copying.names.items():
        for problem in await give_own(live, beside, copying.own[schema]):
            copying.note(problem)
    async with live.transaction():
        for name, mark in copying.marks("restored").items():
            await set_comment(live, name, mark.comment())


async def _take_back(copying: Copying) -> None:
    """Drop what was made; the next copy does it where that fails."""
    try:
        with plain_errors(copying.live):
            async with await copying.open_live() as live:
                for name in await schema_oids(live, copying.beside):
                    await drop_beside(live, name)
    except FsbackupError as error:
        copying.note(f"LEFT OVER: {', '.join(copying.beside)}; dropped next time. {error.what}")


async def _document(
    copying: Copying, live: Connection, accounting: Accounting | None, seconds: float
) -> dict[str, object]:
    oids = await schema_oids(live, copying.beside)
    ties = await find_ties(live, list(copying.live_oids.values()))
    return {
        "ok": True,
        "tag": copying.request.tag,
        "schemas": [
            {
                "schema": schema,
                "beside": beside,
                "oid": oids[beside],
                "live_oid": copying.live_oids.get(schema, 0),
            }
            for schema, beside in copying.names.items()
        ],
        "entries": None if accounting is None else accounting.counts(),
        "tables": len(copying.captured),
        "repoints": _repoints(ties),
        "notes": list(copying.notes),
        "seconds": round(seconds, 3),
    }


def _repoints(ties: Ties) -> Sequence[str]:
    return [
        *(item.what for item in ties.repoints),
        *(f"extension {item.name}" for item in ties.extensions),
        *(f"publication {item.publication}" for item in ties.published),
        *(f"{tie.kind} {tie.name} of {tie.schema}.{tie.table}" for tie in ties.ties),
    ]
