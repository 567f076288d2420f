"""Filling a side database from a part with the stock tools, and accounting for every entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.engines.compression import PositionFile
from fsbackup_tui.engines.postgres.accounting import Accounting, account
from fsbackup_tui.engines.postgres.archive import archive_rows, list_archive
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.plain_progress import PlainProgress
from fsbackup_tui.engines.postgres.progress import TransferProgress, restore_items
from fsbackup_tui.engines.postgres.replay import unreachable_roles
from fsbackup_tui.engines.postgres.restore import (
    RestoreRun,
    Section,
    deferred_entries,
    restore_archive,
    restore_plain,
    scan_for_restore,
)
from fsbackup_tui.engines.postgres.toc import TocEntry, UnknownArchive, read_archive_header
from fsbackup_tui.operations.clients import job_environment
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.one_job import ErrorsTorn


@dataclass(frozen=True, slots=True)
class Filling:
    """The side database that is filled, and with what.

    ``deferred`` tells which of an archive's entries are left out. ``schemas`` are those that it
    goes into, where the database is not the copy's own.
    """

    context: JobContext
    address: DatabaseAddress
    client: ClientTools
    database_oid: int
    jobs: int
    deferred: Callable[[Sequence[TocEntry]], list[TocEntry]] = deferred_entries
    schemas: tuple[str, ...] = ()

    async def connect(self) -> Connection:
        """Open a session in the side database; refused if it is not that very one any more."""
        return await connect(
            self.address,
            application_name=self.context.application_name,
            database_oid=self.database_oid,
        )


_JOBS_OF_A_PIPE = 2
NO_ENTRIES = "the dump doesn't tell of its entries, so that none could be looked for in the copy"


@dataclass(frozen=True, slots=True)
class Dump:
    """A stored dump to fill from: where it lies, and what was captured with it."""

    path: Path
    facts: PostgresFacts


def dump_name(part: PartManifest) -> str:
    """Return the file or directory of a postgres part that the stock tools are given."""
    names = [artifact.path for artifact in part.artifacts if artifact.role == "dump"]
    if not names:
        raise FsbackupError(f"NO DUMP: {part.source} holds no dump.")
    return names[0].partition("/")[0]


async def fill_and_account(filling: Filling, dump: Dump, schema: Dump | None = None) -> Accounting:
    """Fill the side database and look for every entry of the dump in it.

    A dump of data alone needs ``schema``, an archive: its tables are made first, the rows
    loaded, and the indexes, keys and triggers made last, so that no order of rows offends them.

    Raises:
        ErrorsTorn: several jobs wrote their errors over each other; see ``by_one_job_at_last``.
    """
    accounting = await _fill_and_account(filling, dump, schema)
    if accounting.torn:
        raise ErrorsTorn("RESTORE NOT TOLD.", why="\n".join(accounting.problems()))
    return accounting


async def _fill_and_account(filling: Filling, dump: Dump, schema: Dump | None) -> Accounting:
    context = filling.context
    with job_environment(context, filling.address) as environment:
        connection = await filling.connect()
        async with connection:
            if schema is not None:
                return await _data_into_schema(filling, dump, schema, environment, connection)
            if dump.facts.format == "plain":
                return await _from_plain(filling, dump, environment, connection)
            return await _from_archive(filling, dump, environment, connection)


async def account_again(filling: Filling, dump: Dump) -> Accounting:
    """Look in a copy that was filled before for what the dump defines, and for its schema digest.

    Rows, sequences and large objects are not looked at: a comparison reads all of them.
    """
    context = filling.context
    with job_environment(context, filling.address) as environment:
        async with await filling.connect() as connection:
            if dump.facts.format == "plain":
                scan = await scan_for_restore(dump.path, report=context.report)
                entries: Sequence[TocEntry] = scan.entries
            else:
                _text, entries = await list_archive(filling.client, dump.path)
            reason = await _owners_not_given(connection, entries)
            run = RestoreRun(
                0,
                (),
                (),
                0.0,
                no_owner=bool(reason),
                no_owner_reason=reason,
                deferred=tuple(filling.deferred(entries)),
            )
            structure = [entry for entry in entries if not entry.holds_data]
            return await _account(
                filling, structure, run, dump, environment, connection, {}, listed=len(entries)
            )


async def _owners_not_given(connection: Connection, entries: Sequence[TocEntry]) -> str:
    missing, closed = await unreachable_roles(
        connection, {entry.owner for entry in entries if entry.owner}
    )
    return _no_owner_reason(missing, closed)


async def _from_plain(
    filling: Filling, dump: Dump, environment: Mapping[str, str], connection: Connection
) -> Accounting:
    entries, run = await _load_plain(filling, dump, environment, connection)
    return await _account(filling, entries, run, dump, environment, connection, run.rows)


async def _load_plain(
    filling: Filling, dump: Dump, environment: Mapping[str, str], connection: Connection
) -> tuple[Sequence[TocEntry], RestoreRun]:
    """Load plain SQL, which stops at its first error; returns the entries it tells of, too."""
    context = filling.context
    scan = await scan_for_restore(dump.path, report=context.report)
    progress = PlainProgress(scan, context.report)
    fed = PositionFile(context.work / "restore-position")
    run = await guarded(
        restore_plain(
            filling.client,
            environment,
            dump.path,
            scan=scan,
            work=context.work,
            server_version_num=connection.info.server_version,
            fed=fed,
            report=context.report,
            redactor=context.redactor,
        ),
        progress.run(fed, connection, context.application_name),
    )
    progress.finish()
    return scan.entries, run


async def _from_archive(
    filling: Filling, dump: Dump, environment: Mapping[str, str], connection: Connection
) -> Accounting:
    _text, entries = await list_archive(filling.client, dump.path)
    run = await _load(filling, dump, entries, environment, connection)
    rows = await _rows_not_counted(filling, dump, entries)
    return await _account(filling, entries, run, dump, environment, connection, rows)


async def _data_into_schema(
    filling: Filling,
    dump: Dump,
    schema: Dump,
    environment: Mapping[str, str],
    connection: Connection,
) -> Accounting:
    _text, definitions = await list_archive(filling.client, schema.path)
    before = await _load(filling, schema, definitions, environment, connection, "pre-data")
    entries: Sequence[TocEntry]
    if dump.facts.format == "plain":
        entries, loaded = await _load_plain(filling, dump, environment, connection)
        rows = loaded.rows
    else:
        _text, entries = await list_archive(filling.client, dump.path)
        loaded = await _load(filling, dump, entries, environment, connection, data_only=True)
        rows = await _rows_not_counted(filling, dump, entries)
    after = await _load(filling, schema, definitions, environment, connection, "post-data")
    structure = [entry for entry in definitions if not entry.holds_data]
    first = await _account(
        filling,
        structure,
        before.then(after),
        schema,
        environment,
        connection,
        {},
        listed=len(definitions),
    )
    second = await _account(filling, entries, loaded, dump, environment, connection, rows)
    return first.together(second)


async def _load(
    filling: Filling,
    dump: Dump,
    entries: Sequence[TocEntry],
    environment: Mapping[str, str],
    connection: Connection,
    section: Section | None = None,
    *,
    data_only: bool = False,
) -> RestoreRun:
    context = filling.context
    reason = await _owners_not_given(connection, entries)
    if reason:
        context.report(Log(reason))
    progress = TransferProgress(
        restore_items(
            entries,
            {table.qualified: (table.bytes, table.rows) for table in dump.facts.tables},
        ),
        context.report,
        connection=connection,
        application_name=context.application_name,
        parallel=filling.jobs > 1,
    )
    run = await guarded(
        restore_archive(
            filling.client,
            environment,
            dump.path,
            entries=entries,
            work=context.work,
            jobs=await asyncio.to_thread(_useful_jobs, dump.path, filling.jobs),
            no_owner=bool(reason),
            no_owner_reason=reason,
            data_only=data_only,
            section=section,
            deferred=filling.deferred(entries),
            report=context.report,
            redactor=context.redactor,
            on_log=progress.on_log,
        ),
        progress.run(),
    )
    progress.finish()
    return run


def _useful_jobs(archive: Path, jobs: int) -> int:
    """Return how many jobs an archive can feed: of one that came by a pipe no more than two."""
    try:
        piped = read_archive_header(archive).piped
    except (UnknownArchive, OSError):
        return jobs
    return min(jobs, _JOBS_OF_A_PIPE) if piped else jobs


def _no_owner_reason(missing: Sequence[str], closed: Sequence[str]) -> str:
    if missing:
        return f"the roles {', '.join(missing)} don't exist here: the restoring role owns all"
    if closed:
        return f"the restoring role may not give objects to {', '.join(closed)}: it owns all itself"
    return ""


async def _rows_not_counted(
    filling: Filling, dump: Dump, entries: Sequence[TocEntry]
) -> dict[int, int]:
    """Return the rows in the archive of the tables that were not counted at capture."""
    counted = {table.qualified for table in dump.facts.tables if table.counted}
    wanted = [
        entry
        for entry in entries
        if entry.kind == "TABLE DATA" and f"{entry.schema}.{entry.name}" not in counted
    ]
    return await archive_rows(filling.client, dump.path, wanted, filling.context.work)


async def _account(
    filling: Filling,
    entries: Sequence[TocEntry],
    run: RestoreRun,
    dump: Dump,
    environment: Mapping[str, str],
    connection: Connection,
    rows: Mapping[int, int],
    *,
    listed: int | None = None,
) -> Accounting:
    """Look for the entries; ``listed`` is the number of all that the dump has, if these are not."""
    accounting = await account(
        connection,
        entries,
        run,
        dump.facts,
        client=filling.client,
        environment=environment,
        work=filling.context.work,
        archive=dump.path,
        archive_rows=rows,
        report=filling.context.report,
        redactor=filling.context.redactor,
        schemas=filling.schemas,
    )
    captured, found = dump.facts.toc_entries, len(entries) if listed is None else listed
    if found < captured:
        # All that is in it may have come back, and nothing that was captured.
        missing = f"the dump holds {found} entries, {captured} were captured"
        accounting = replace(accounting, unexplained=(*accounting.unexplained, missing))
    if not run.no_owner_reason:
        return accounting
    note = f"Owners were not restored: {run.no_owner_reason}."
    return replace(accounting, notes=(note, *accounting.notes))
