"""Looking at the live database for damage, without changing or blocking anything.

Cheap checks come first. What one check finds ends none of the others: the more is known of the
damage, the better is chosen what to recover and how. Statement by statement, giving way.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import replace

from fsbackup_tui.domain.anomaly import losses_by_table
from fsbackup_tui.domain.errors import RepositoryError
from fsbackup_tui.domain.events import Log, Progress, TableDone
from fsbackup_tui.domain.live_health import HealthFinding, Unchecked
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.health import (
    TableToCheck,
    count_foreign_tables,
    list_tables_to_check,
    prepare_session,
)
from fsbackup_tui.engines.postgres.health_amcheck import check_table, find_amcheck
from fsbackup_tui.engines.postgres.health_checksums import check_checksums
from fsbackup_tui.engines.postgres.health_collations import check_collations
from fsbackup_tui.engines.postgres.health_reading import read_table
from fsbackup_tui.engines.postgres.health_references import (
    ForeignKey,
    count_orphans,
    list_foreign_keys,
    orphan_finding,
)
from fsbackup_tui.engines.postgres.inspect import TableCount, read_identity, table_facts
from fsbackup_tui.engines.postgres.inspect_objects import read_settings
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.integrity import (
    judge_integrity,
    queries_about,
    run_integrity_query,
)
from fsbackup_tui.engines.postgres.managed import with_managed
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.operations.backup import last_good_parts
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.live_look import LiveLook, SnapshotTooOld
from fsbackup_tui.operations.live_server import reading_address
from fsbackup_tui.operations.requests import LiveHealthRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.target import (
    postgres_source,
    source_address,
    source_exclusions,
    target_text,
)


async def run(request: LiveHealthRequest, context: JobContext) -> dict[str, object]:
    """Look at a source's live database; returns the document of ``fsbackup verify --live``.

    Damage found is a result, not an error: the document's ``ok`` says whether everything that
    could be looked at is sound, and all that should be could be.
    """
    started = time.monotonic()
    source = postgres_source(context.loaded, request.source)
    address = as_source = await source_address(
        context.loaded,
        context.environment,
        context.redactor,
        request.source,
        database=request.database,
    )
    if context.incident is not None:
        # Live may be frozen, and the source's own role kept out of it.
        address = await reading_address(context, request.source, request.database)
    name = context.application_name
    lock_timeout = source.lock_timeout.total_seconds()
    with plain_errors(address):
        context.stage("checksums")
        async with (
            await connect(
                address, application_name=name, lock_timeout_seconds=lock_timeout
            ) as connection,
            await connect(address, application_name=name) as monitor,
        ):
            settings = await prepare_session(connection)
            exclusions = await with_managed(connection, source_exclusions(source))
            identity = await read_identity(connection, address)
            backed_up = await list_tables(connection, exclusions, exact_sizes=False)
            look = LiveLook(
                context=context,
                source_name=request.source,
                source=source,
                connection=connection,
                monitor=monitor,
                identity=identity,
                asks_as=identity.role if address == as_source else as_source.user or "",
                tables=await list_tables_to_check(connection),
                backed_up=frozenset(table.oid for table in backed_up),
                amcheck=await find_amcheck(connection),
                foreign_tables=await count_foreign_tables(connection),
                started=started,
                findings=list(settings),
            )
            context.report(Log(f"{request.source}: {target_text(look.identity)}"))
            await _look_at_everything(look)
    return look.document()


async def _look_at_everything(look: LiveLook) -> None:
    look.data_checksums, failures = await check_checksums(look.connection)
    look.findings.extend(failures)
    for stage, check in (
        ("collations", _check_collations),
        ("amcheck", _run_amcheck),
        ("tables", _read_tables),
        ("foreign keys", _check_references),
        ("integrity", _ask_integrity),
        ("last point", _compare_with_last_point),
    ):
        look.context.stage(stage)
        await check(look)


async def _check_collations(look: LiveLook) -> None:
    look.collation_known, differing = await check_collations(look.connection)
    look.findings.extend(differing)


async def _run_amcheck(look: LiveLook) -> None:
    amcheck = look.amcheck
    if not (amcheck.heap or amcheck.index_arguments):
        return
    for table in look.with_progress("amcheck"):
        found = await look.politely(
            "amcheck",
            table.qualified,
            lambda table=table: check_table(look.connection, amcheck, table),  # type: ignore[misc]
        )
        if found is not None:
            look.findings.extend(found[0])
            look.refused.extend(found[1])


async def _read_tables(look: LiveLook) -> None:
    every_index = not look.amcheck.index_arguments
    for table in look.with_progress("reading"):
        if not table.readable or table.row_security:
            _say_unreadable(look, table)
            continue
        started = time.monotonic()
        found = await look.politely(
            "read",
            table.qualified,
            lambda table=table: read_table(  # type: ignore[misc]
                look.connection, table, every_index=every_index
            ),
        )
        if found is None:
            continue
        health, findings = found
        look.findings.extend(findings)
        look.seconds[table.oid] = round(time.monotonic() - started, 3)
        if health is not None:
            look.health[table.oid] = health
        if not table.system:
            rows = None if health is None else health.rows
            done = TableDone(table.qualified, rows, table.bytes, look.seconds[table.oid])
            look.context.report(done)


def _say_unreadable(look: LiveLook, table: TableToCheck) -> None:
    if table.oid not in look.backed_up:
        look.unlisted += 1
        return
    if not table.readable:
        why, fix = "the role may not read it", f"GRANT SELECT on it to {look.identity.role}."
    else:
        why = "row-level security hides rows of it"
        fix = f"As a superuser: ALTER ROLE {look.identity.role} BYPASSRLS;"
    look.unchecked.append(Unchecked("read", table.qualified, why, fix))


async def _check_references(look: LiveLook) -> None:
    for key in await list_foreign_keys(look.connection):
        if not key.readable or look.unreadable() & {key.child_name, key.parent_name}:
            look.notes.append(f"Foreign key {key.name} of {key.child_name} not checked.")
            continue
        look.context.report(Progress(0, None, "rows", f"{key.name} of {key.child_name}"))
        orphans = await look.politely(
            "foreign keys",
            key.child_name,
            lambda key=key: count_orphans(look.connection, key),  # type: ignore[misc]
        )
        _judge_orphans(look, key, orphans)


def _judge_orphans(look: LiveLook, key: ForeignKey, orphans: int | None) -> None:
    if not orphans:
        return
    if key.believed:
        look.findings.append(orphan_finding(key, orphans))
    else:
        look.notes.append(
            f"{orphans} rows of {key.child_name} have no row in {key.parent_name}; {key.name} is"
            " NOT VALID or NOT ENFORCED, so that is allowed."
        )


async def _ask_integrity(look: LiveLook) -> None:
    """Ask the site's own queries; what is the same as at capture only a copy can tell."""
    queries = [
        query
        for query in queries_about(look.context.loaded.config.integrity, look.source_name)
        if query.expect.kind != "same as at capture"
    ]
    if not queries:
        return
    search_path = database_search_path(await read_settings(look.connection), look.asks_as)
    for query in queries:
        try:
            answer = await guarded(
                run_integrity_query(look.connection, query, search_path=search_path),
                look.within_snapshot_age(),
            )
        except SnapshotTooOld as old:
            look.notes.append(f"Integrity query '{query.name}' not answered: {old}")
            continue
        check = judge_integrity(query, None, answer)
        if check.failed:
            fix = "Look at what the query finds. A point from before it: fsbackup list"
            finding = HealthFinding("integrity", None, f"{query.name}: {check.note}", fix)
            look.findings.append(finding)
        elif check.verdict == "blocked":
            look.notes.append(f"Integrity query '{query.name}' not answered: {check.note}")


async def _compare_with_last_point(look: LiveLook) -> None:
    try:
        good = await asyncio.to_thread(_last_good, look)
    except RepositoryError as error:
        look.no_last_point = f"There is nothing to compare with: {error.what}"
        return
    if good is None or good.postgres is None:
        look.no_last_point = "There is no good point of this source to compare with."
        return
    look.captured = {
        table.qualified: table.rows
        for table in good.postgres.tables
        if table.counted and table.rows is not None
    }
    if not look.captured:
        look.no_last_point = "The last good point holds no counts."
    listed = await list_tables(look.connection, Exclusions(), exact_sizes=False)
    now = replace(good, postgres=_as_captured(look, good.postgres, listed))
    taken = good.postgres.snapshot_at.strftime("%Y-%m-%d %H:%M UTC")
    for table, what in losses_by_table(now, good, fall=look.source.suspect_fall):
        look.findings.append(
            HealthFinding("last point", table, f"{what} since {taken}", _RESTORE_BESIDE)
        )


_RESTORE_BESIDE = (
    "If nobody did that on purpose: stop what writes to it, then restore the point beside it and"
    " compare."
)


def _last_good(look: LiveLook) -> PartManifest | None:
    repository = open_site_repository(look.context.loaded, os.environ)
    return last_good_parts(look.context, repository, [look.source_name])[look.source_name]


def _as_captured(
    look: LiveLook, good: PostgresFacts, listed: Iterable[TableInspection]
) -> PostgresFacts:
    """Return the live tables as if captured now with the good part's own settings.

    Sizes are left out: those known without a lock are of the last ANALYZE.
    """
    tables = []
    for table in listed:
        health = look.health.get(table.oid)
        count = TableCount(table, None if health is None else health.rows, None, "", 0.0)
        tables.append(replace(table_facts(table, count), bytes=None))
    return replace(good, tables=tuple(tables))
