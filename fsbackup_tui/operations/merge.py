"""Rows of a restored copy put back into live: planned, foretold, done, undone (design §6)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.merge import Merged, MergePreview, Proposed, TableChoice
from fsbackup_tui.domain.merge_proposal import propose
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.merge.lost import read_lost
from fsbackup_tui.engines.postgres.merge.merging import (
    apply_merge,
    preview_merge,
    preview_undo,
    undo_merge,
)
from fsbackup_tui.engines.postgres.merge.planning import COPY_SET, find_tables, narrow, plan_merge
from fsbackup_tui.engines.postgres.merge.recreating import Source, choose
from fsbackup_tui.engines.postgres.merge.samples import with_samples
from fsbackup_tui.engines.postgres.merge.settling import analyze_tables
from fsbackup_tui.engines.postgres.merge.staging import Staging, open_staging, read_sets
from fsbackup_tui.engines.postgres.merge.stagings import abandon_staging, begin_staging
from fsbackup_tui.engines.postgres.merge.tables import read_lost_tables
from fsbackup_tui.engines.postgres.migrations import read_migrations, rolling_back
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.clients import client_for_server, job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.merge_documents import (
    digest_of,
    merged_by,
    note_text,
    parse_choices,
    parse_expected,
)
from fsbackup_tui.operations.merge_requests import (
    MergePlanRequest,
    MergePreviewRequest,
    MergeRequest,
    MergeUndoRequest,
)
from fsbackup_tui.operations.merge_settled import notes_in_force
from fsbackup_tui.operations.merge_target import MergeTarget, merge_target
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only


async def run_plan(request: MergePlanRequest, context: JobContext) -> dict[str, object]:
    """Stage what differs, and return the plan, what it proposes, and what that comes to.

    Raises:
        UsageError: a table or the condition is not understood.
        LockHeld: another plan is being made in this database.
        IdentityMismatch, SafetyRefusal, RightsMissing, PostgresError: nothing was staged.
    """
    refuse_if_read_only(context.loaded, "merges nothing")
    if request.where and len(request.named) != 1:
        raise UsageError(
            "WHICH TABLE: a condition is about the rows of one table.",
            why=f"{len(request.named)} tables were named.",
            fix="Name the one that it is about.",
        )
    context.stage("stage")
    async with merge_target(request, context, live_oid=request.live_oid, alone=False) as target:
        incident = context.incident.name if context.incident is not None else context.job
        staging, swept = await begin_staging(target.live, incident, context.job)
        for schema in swept:
            context.report(Log(f"Dropped the staging schema of a former plan: {schema}"))
        try:
            document = await _plan(request, context, target, staging)
        except BaseException:
            await target.live.close()
            await undisturbed(abandon_staging(target.open_live, staging.schema))
            raise
    return {"ok": True, "staging": staging.schema, "live_oid": target.live_oid, **document}


async def _plan(
    request: MergePlanRequest, context: JobContext, target: MergeTarget, staging: Staging
) -> dict[str, object]:
    live = target.live
    async with target.copy(request.copy, request.copy_oid) as (_address, copy):
        named = await find_tables(copy, live, request.named)
        context.stage("compare")
        note = {"copy": request.copy, "copy_oid": request.copy_oid, "job": context.job}
        plan = await plan_merge(
            copy, live, staging, tables=named, note=json.dumps(note), report=context.report
        )
        if request.where:
            meeting = await narrow(copy, live, staging, named[0], request.where)
            tables = tuple(
                replace(table, filtered=meeting) if table.table == named[0] else table
                for table in plan.tables
            )
            plan = replace(plan, tables=tables)
        applied = await read_migrations(live, schema=target.server.source.schema)
        before = await read_migrations(copy, schema=target.server.source.schema)
        known = {*before.applied, *before.failed}
        since = [name for name in (*applied.failed, *applied.applied[::-1]) if name not in known]
    plan = await with_samples(live, staging, plan)
    context.stage("propose")
    proposed = propose(plan, named)
    preview, problem = await _foretell(live, staging, proposed)
    commands: tuple[str, ...] = ()
    if since and any(drift.lost for drift in plan.drift):
        commands = tuple(line for name in since for line in rolling_back(applied, name))
        plan = replace(plan, notes=(*plan.notes, _migration_note(since)))
    return {
        "plan": plain(plan),
        "proposed": plain(proposed),
        "preview": plain(preview),
        "problem": problem,
        "resolve": list(commands),
    }


async def _foretell(
    live: Connection, staging: Staging, proposed: Sequence[Proposed]
) -> tuple[MergePreview | None, str]:
    """Return what is proposed comes to; or why it can't be told before a person has answered."""
    try:
        return await preview_merge(live, staging, [each.choice for each in proposed]), ""
    except UsageError as error:
        return None, f"{error.what} {error.fix}"


def _migration_note(since: Sequence[str]) -> str:
    return (
        f"migrations that live has and the copy has not: {', '.join(since)}. If one of them took "
        "away what is made again, take it out of the code first (the next deploy would run it "
        "again), then tell Prisma, by the commands for that one alone"
    )


async def run_preview(request: MergePreviewRequest, context: JobContext) -> dict[str, object]:
    """Return what the choices come to now.

    Raises:
        UsageError: a choice can't be done, say for want of a value.
    """
    refuse_if_read_only(context.loaded, "merges nothing")
    context.stage("preview")
    choices = parse_choices(request.choices)
    async with merge_target(request, context, live_oid=request.live_oid, alone=False) as target:
        staging = await open_staging(target.live, request.staging)
        preview = await preview_merge(target.live, staging, choices)
    return {"ok": True, "staging": staging.schema, "preview": plain(preview)}


async def run(request: MergeRequest, context: JobContext) -> dict[str, object]:
    """Do what was foretold of the choices, in one transaction; done already is done, too.

    Raises:
        SafetyRefusal: live changed since the preview, or it would not do what was foretold.
        LockHeld, TableLocked, IdentityMismatch, RightsMissing, PostgresError: nothing changed.
    """
    refuse_if_read_only(context.loaded, "merges nothing")
    context.stage("check")
    choices, expected = parse_choices(request.choices), parse_expected(request.expected)
    asked = digest_of(request)
    async with merge_target(request, context, live_oid=request.live_oid, alone=True) as target:
        staging = await open_staging(target.live, request.staging)
        merged = await _done_already(target.live, staging, asked)
        if merged is None:
            async with _source(target, staging, choices) as source:
                context.stage("merge")
                merged = await apply_merge(
                    target.live,
                    staging,
                    choices,
                    expected,
                    source=source,
                    note=lambda done: note_text(asked, done),
                )
            _tell(context, merged)
        else:
            context.report(Log("It is done already: live has these rows."))
        context.stage("settle")
        await _settle(target, merged)
    return {"ok": True, "staging": staging.schema, "merged": plain(merged)}


async def run_undo(request: MergeUndoRequest, context: JobContext) -> dict[str, object]:
    """Undo a merge, or only tell what that would do and leave; done already is done, too.

    Raises:
        SafetyRefusal: it was undone by another request already.
        LockHeld, TableLocked, IdentityMismatch, RightsMissing, PostgresError: nothing changed.
    """
    refuse_if_read_only(context.loaded, "merges nothing")
    context.stage("check")
    asked = digest_of(request)
    moved = request.including_moved
    alone = not request.preview_only
    async with merge_target(request, context, live_oid=request.live_oid, alone=alone) as target:
        live = target.live
        staging = await open_staging(live, request.staging)
        merged = await _done_already(live, staging, asked)
        preview = None
        if merged is None:
            preview = await preview_undo(live, staging, request.set_number, including_moved=moved)
            if alone:
                context.stage("undo")
                merged = await undo_merge(
                    live,
                    staging,
                    request.set_number,
                    preview,
                    including_moved=moved,
                    note=lambda done: note_text(asked, done),
                )
                _tell(context, merged)
        if merged is not None:
            await _settle(target, merged)
    left = merged.left_out if merged is not None else preview.left_out if preview else ()
    return {
        "ok": True,
        "staging": staging.schema,
        "merged": plain(merged),
        "left": plain(left),
        "preview": plain(preview),
    }


@asynccontextmanager
async def _source(
    target: MergeTarget, staging: Staging, choices: Sequence[TableChoice]
) -> AsyncIterator[Source | None]:
    """Open the copy where tables or views are to be made again: they come out of it."""
    if not any(choice.recreate for choice in choices):
        yield None
        return
    wanted = choose(await read_lost(target.live, staging), choices)
    name, oid = await _copy_of(target.live, staging)
    context = target.server.context
    async with target.copy(name, oid) as (address, copy):
        client = await client_for_server(context, address, copy.info.server_version)
        with job_environment(context, address) as environment:
            lost = await read_lost_tables(
                copy,
                target.live,
                wanted.tables,
                views=wanted.views,
                client=client,
                environment=environment,
                directory=context.work,
            )
        yield Source(copy, lost)


async def _copy_of(live: Connection, staging: Staging) -> tuple[str, int]:
    for found in await read_sets(live, staging):
        if found.number == COPY_SET and found.note:
            note: dict[str, Any] = json.loads(found.note)
            return str(note["copy"]), int(note["copy_oid"])
    raise SafetyRefusal(
        f"COPY UNKNOWN: {staging.schema} does not say which database it came from.",
        why="A crash of the server emptied it, or the plan did not come to its end.",
        fix="Plan the merge anew.",
    )


async def _done_already(live: Connection, staging: Staging, asked: str) -> Merged | None:
    """Return what this very request did, if it came to its commit before its job was lost."""
    return merged_by(asked, await notes_in_force(live, staging))


def _tell(context: JobContext, merged: Merged) -> None:
    inserted = sum(effect.inserted for effect in merged.effects)
    overwritten = sum(effect.overwritten for effect in merged.effects)
    deleted = sum(effect.deleted for effect in merged.effects)
    context.report(
        Log(
            f"{inserted} rows put in, {overwritten} set back, {deleted} taken out, in one "
            f"transaction; writers waited {merged.locked_seconds:.2f} s. Undo: set "
            f"{merged.set_number}."
        )
    )
    lacking = [line for each in merged.recreated for line in each.lacking]
    for line in lacking:
        context.report(Warned(f"Not made again: {line}"))


async def _settle(target: MergeTarget, merged: Merged) -> None:
    """Let the planner know of the rows, and say which materialised views are behind."""
    context = target.server.context
    tables = [effect.table for effect in merged.effects]
    tables += [each.table for each in merged.recreated if each.kind == "column"]
    for problem in await analyze_tables(target.live, tables):
        context.report(Warned(f"Not analyzed: {problem}"))
    for schema, name in merged.stale:
        context.report(
            Warned(f"{schema}.{name} shows the former rows until REFRESH MATERIALIZED VIEW.")
        )
