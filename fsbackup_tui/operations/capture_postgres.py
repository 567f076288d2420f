"""Capturing a PostgreSQL database: one snapshot, dumped and counted, giving way to others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.anomaly import suspect_reasons
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import PostgresError, TableLocked
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import (
    Artifact,
    CountMethod,
    PartManifest,
    PostgresFacts,
    ServerIdentity,
)
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.dump import DumpPlan, DumpResult, plan_dump, write_schema
from fsbackup_tui.engines.postgres.dump_encrypted import encrypted_plan
from fsbackup_tui.engines.postgres.guards import RATE_SECONDS, Throttle, watch_snapshot_age
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.managed import unreadable_warning, with_managed
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.progress import (
    REPORT_SECONDS,
    Item,
    TransferProgress,
    dump_items,
)
from fsbackup_tui.engines.postgres.snapshot import SharedSnapshot, shared_snapshot
from fsbackup_tui.operations.capture import CaptureRun, empty_directory, store_also, weights_of
from fsbackup_tui.operations.capture_content import CapturedContent, read_content
from fsbackup_tui.operations.capture_dump import capture_globals, run_dump, stored_artifact
from fsbackup_tui.operations.clients import client_for_server, job_environment
from fsbackup_tui.operations.guard import (
    GaveWay,
    all_of,
    give_way_when_blocking,
    guarded,
    pause_seconds,
    watch_repository_space,
)
from fsbackup_tui.operations.rebuilt import is_rebuilt
from fsbackup_tui.operations.target import (
    postgres_source,
    source_address,
    source_exclusions,
    target_text,
)

_ATTEMPTS = 4
_COUNTING_SESSIONS = 2
_MANY_TABLES = 1_000_000
ONE_STREAM = "an encrypted dump is one stream, so format: directory becomes custom"


@dataclass(frozen=True, slots=True)
class _Target:
    """What every attempt is about."""

    run: CaptureRun
    source: PostgresSource
    address: DatabaseAddress
    identity: ServerIdentity
    client: ClientTools
    exclusions: Exclusions


@dataclass(frozen=True, slots=True)
class _Sessions:
    """How many sessions an attempt may use: fewer after it had to give way."""

    parallel_dump: bool
    counting: int


@dataclass(frozen=True, slots=True)
class _Captured:
    """What one attempt brought, its files in the part's directory."""

    dump: DumpResult
    artifacts: tuple[Artifact, ...]
    facts: PostgresFacts
    warnings: tuple[str, ...]


async def capture_postgres(run: CaptureRun) -> PartManifest:
    """Dump and count the source's database in one snapshot; returns its part, not yet hashed.

    Where a session of ours keeps somebody else waiting for longer than ``yield_after`` the
    attempt is given up, and made again later with fewer sessions.

    Raises:
        TableLocked: every attempt had to give way, or a table stayed locked.
        PostgresError, ToolError, SecretUnavailable, DiskFull: as their messages tell.
    """
    started = run.context.now()
    target = await _look(run)
    with plain_errors(target.address):
        return _part(target, await _captured(target), started)


async def _captured(target: _Target) -> _Captured:
    """Try until an attempt is through; the last one's GaveWay comes out as TableLocked."""
    run = target.run
    if target.source.format == "directory" and run.chain.key is not None:
        run.context.report(Log(f"{run.source}: {ONE_STREAM}"))
    for attempt in range(_ATTEMPTS):
        try:
            return await _attempt(target, _sessions(target.source, attempt))
        except GaveWay as gave_way:
            if attempt == _ATTEMPTS - 1:
                raise gave_way.as_error(_ATTEMPTS) from None
            pause = pause_seconds(attempt)
            run.context.report(
                Warned(f"Gave way, tries again in {pause:.0f} s. Kept waiting: {gave_way.who}")
            )
            empty_directory(run.directory)
            await asyncio.sleep(pause)
    raise TableLocked(f"NOT CAPTURED: {run.source}.")


async def _look(run: CaptureRun) -> _Target:
    context = run.context
    source = postgres_source(context.loaded, run.source)
    with run.phase("connect"):
        address = await source_address(
            context.loaded, context.environment, context.redactor, run.source
        )
        for note in address.notes:
            context.report(Log(note))
        connection = await connect(address, application_name=context.application_name)
        async with connection:
            with plain_errors(address):
                identity = await read_identity(connection, address)
                exclusions = await with_managed(connection, source_exclusions(source))
        client = await client_for_server(context, address, identity.server_version_num)
    context.report(Log(f"{run.source}: {target_text(identity)}"))
    return _Target(run, source, address, identity, client, exclusions)


def _sessions(source: PostgresSource, attempt: int) -> _Sessions:
    """Two attempts are whole, the third dumps in one session, the fourth does not count either."""
    counting = (_COUNTING_SESSIONS, _COUNTING_SESSIONS, 1, 0)[attempt]
    return _Sessions(attempt < 2, 0 if source.scope == "schema" else counting)


async def _attempt(target: _Target, sessions: _Sessions) -> _Captured:
    name = target.run.context.application_name
    monitor = await connect(target.address, application_name=name)
    async with monitor:
        return await guarded(
            _capture(target, sessions, monitor),
            give_way_when_blocking(
                monitor,
                application_name=name,
                longer_than_seconds=target.source.yield_after.total_seconds(),
            ),
        )


async def _capture(target: _Target, sessions: _Sessions, monitor: Connection) -> _Captured:
    run, context = target.run, target.run.context
    wished = _plan(target, sessions, tables=_MANY_TABLES)
    async with AsyncExitStack() as stack:
        with run.phase("snapshot"):
            snapshot = await stack.enter_async_context(
                shared_snapshot(
                    target.address,
                    application_name=context.application_name,
                    exclusions=target.exclusions,
                    lock_timeout_seconds=target.source.lock_timeout.total_seconds(),
                    counting_connections=sessions.counting,
                    dump_jobs=wished.jobs,
                    with_rows=target.source.scope != "schema",
                    report=context.report,
                )
            )
        plan = _plan(target, sessions, tables=len(snapshot.inspection.tables))
        if not snapshot.parallel_dump_fits:
            plan = replace(plan, jobs=1)
        environment = stack.enter_context(job_environment(context, target.address))
        # The snapshot is as old as the slowest of dumping and counting makes it.
        return await guarded(
            _dump_and_count(target, snapshot, plan, environment, monitor),
            watch_snapshot_age(_seconds(context.loaded.config.limits.snapshot_age)),
        )


def _plan(target: _Target, sessions: _Sessions, *, tables: int) -> DumpPlan:
    chain = target.run.chain
    source = target.source
    if chain.key is not None:
        # The stream is compressed behind pg_dump, whatever its client can.
        source = source.model_copy(update={"compression": "none"})
    plan = plan_dump(
        source,
        target.run.context.loaded.config.limits,
        target.client,
        size_bytes=target.identity.size_bytes,
        tables=tables,
        cpu_count=os.cpu_count() or 1,
        exclusions=target.exclusions,
    )
    if chain.key is not None:
        return encrypted_plan(plan, chain)
    return plan if sessions.parallel_dump else replace(plan, jobs=1)


async def _dump_and_count(
    target: _Target,
    snapshot: SharedSnapshot,
    plan: DumpPlan,
    environment: Mapping[str, str],
    monitor: Connection,
) -> _Captured:
    run, context = target.run, target.run.context
    with run.phase("dump"):
        dump, content, (globals_artifact, globals_problem) = await all_of(
            _dump(target, snapshot, plan, environment, monitor),
            read_content(run, target.source, snapshot),
            _globals(target, environment),
        )
    artifacts = [stored_artifact(run, dump, name, role) for name, role in dump.artifacts]
    schema_sha256 = dump.schema_sha256
    if run.chain.key is None:
        with run.phase("schema"):
            schema = await write_schema(
                plan,
                target.client,
                environment,
                snapshot_id=snapshot.snapshot_id,
                directory=run.directory,
                report=context.report,
                redactor=context.redactor,
            )
        if schema is not None:
            schema_sha256 = schema[1]
            artifacts.append(stored_artifact(run, dump, schema[0], "schema"))
    artifacts += [globals_artifact] if globals_artifact is not None else []
    artifacts += await store_also(run, target.source.also)
    unreadable = unreadable_warning(target.exclusions, target.identity.role)
    warnings = [*dump.warnings, *filter(None, (globals_problem, unreadable))]
    return _Captured(
        dump=dump,
        artifacts=tuple(artifacts),
        facts=_facts(target, snapshot, plan, dump, content, schema_sha256),
        warnings=tuple(warnings),
    )


async def _dump(
    target: _Target,
    snapshot: SharedSnapshot,
    plan: DumpPlan,
    environment: Mapping[str, str],
    monitor: Connection,
) -> DumpResult:
    context, limits = target.run.context, target.run.context.loaded.config.limits
    progress = TransferProgress(
        _items(target, snapshot),
        context.report,
        connection=monitor,
        application_name=context.application_name,
    )
    throttle = Throttle(
        connection=monitor,
        lag_limit_seconds=_seconds(limits.replication_lag),
        bytes_per_second=target.source.max_rate,
        copied_bytes=lambda: progress.copied_bytes,
        report=context.report,
    )
    try:
        result = await guarded(
            run_dump(
                target.run,
                target.client,
                snapshot.snapshot_id,
                plan,
                environment,
                on_started=throttle.attach,
                on_log=progress.on_log,
            ),
            # A rate is kept only as closely as it is looked at.
            progress.run(REPORT_SECONDS if target.source.max_rate is None else RATE_SECONDS),
            throttle.run(),
            watch_repository_space(target.run.directory),
        )
    except TableLocked as error:
        # An exclusive lock queued behind ours keeps pg_dump's workers from theirs: the same
        # case as being waited for, seen from the other side.
        raise GaveWay(error.why or error.what) from error
    except PostgresError as error:
        if type(error) is PostgresError:
            # A parallel dump's leader may know no more than that a worker of its died: where
            # the server has gone, the monitor's session tells.
            with plain_errors(target.address):
                await monitor.execute("SELECT 1")
        raise
    progress.finish()
    return result


def _items(target: _Target, snapshot: SharedSnapshot) -> dict[str, Item]:
    """Weigh each table as the last good point measured it, else by its size now."""
    measured = weights_of(target.run.last_good)
    return dump_items(
        (table.qualified, round(measured.get(table.qualified, table.bytes or 0)), None)
        for table in snapshot.inspection.tables
        if table.dumps_rows
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


async def _globals(
    target: _Target, environment: Mapping[str, str]
) -> tuple[Artifact | None, str | None]:
    if target.source.scope == "data":
        return None, None
    return await capture_globals(target.run, target.client, target.address.database, environment)


def _facts(
    target: _Target,
    snapshot: SharedSnapshot,
    plan: DumpPlan,
    dump: DumpResult,
    content: CapturedContent,
    schema_sha256: str | None,
) -> PostgresFacts:
    counts = content.counts
    counted = any(count.rows is not None for count in counts)
    method: CountMethod = target.source.fingerprints if counted or not counts else "absent"
    if not snapshot.counters:
        method = "absent"
    return snapshot.inspection.to_facts(
        client_version=target.client.version,
        scope=plan.scope,
        format=plan.format,
        toc_entries=dump.toc_entries,
        schema_sha256=schema_sha256,
        snapshot_at=snapshot.at,
        snapshot_lsn=snapshot.lsn,
        counts={count.table.oid: count for count in counts},
        count_method=method,
        count_note=snapshot.count_note,
        integrity=content.integrity,
        large_object_fingerprint=content.large_objects,
    )


def _part(target: _Target, captured: _Captured, started: datetime) -> PartManifest:
    run = target.run
    part = PartManifest(
        source=run.source,
        kind="postgres",
        started=started,
        finished=run.context.now(),
        artifacts=captured.artifacts,
        restore_commands=(),
        phases=dict(run.phases),
        warnings=captured.warnings,
        postgres=captured.facts,
    )
    moved = is_rebuilt(run.context)
    reasons = suspect_reasons(part, run.last_good, fall=target.source.suspect_fall, moved=moved)
    for reason in reasons:
        run.context.report(Warned(f"SUSPECT: {reason}"))
    return replace(part, suspect=reasons)
