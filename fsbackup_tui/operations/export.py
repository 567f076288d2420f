"""Exporting the rows that are only in live: what a swap would lose is kept with the incident."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import Log, TableDone
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.live_rows import begin_reading
from fsbackup_tui.engines.postgres.merge.catalogue import read_schema
from fsbackup_tui.engines.postgres.merge.exporting import export_only_live
from fsbackup_tui.engines.postgres.merge.staging import StagedTable, open_staging, read_set
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_server import reading_address
from fsbackup_tui.operations.merge_requests import ExportRequest
from fsbackup_tui.operations.target import check_server
from fsbackup_tui.repository.files import make_directory, sync_directory, writing

EVIDENCE = "evidence"
_ONLY_IN_LIVE = "only-in-live"
_PARTIAL = ".partial"
_LONGEST_NAME = 120


async def run(request: ExportRequest, context: JobContext) -> dict[str, object]:
    """Write one CSV file (0600) for each table that has rows which the copy has not.

    They go into the incident's ``evidence/only-in-live``; an earlier export stays as it is.

    Raises:
        UsageError: the job belongs to no incident.
        SafetyRefusal: the schema is not one that a merge was staged in.
        PostgresError, DiskFull: as they say; no file is left that is not whole.
    """
    context.stage("export")
    if context.incident is None:
        raise UsageError(
            "NOT EXPORTED: this job belongs to no incident.",
            why="The rows are kept with the incident.",
            fix="Declare one: fsbackup recover",
        )
    evidence = make_directory(context.incident / EVIDENCE)
    directory = make_directory(evidence / _ONLY_IN_LIVE)
    address = await reading_address(context, request.part, request.database)
    written: list[dict[str, object]] = []
    with plain_errors(address):
        async with await connect(address, application_name=context.application_name) as live:
            check_server(request.target, await read_identity(live, address))
            await begin_reading(live)
            async with live.transaction():
                staging = await open_staging(live, request.staging)
                staged = (await read_set(live, staging, 0)).tables
                schema = await read_schema(live)
                for table in staged:
                    if not table.only_in_live:
                        continue
                    partial = directory / f"{_file_name(table)}{_PARTIAL}"
                    with writing(partial):
                        partial.unlink(missing_ok=True)
                        rows = await export_only_live(live, schema, staging, table, partial)
                        file = _put_in_place(partial, directory / _file_name(table))
                    name = f"{table.schema}.{table.name}"
                    context.report(TableDone(name, rows, file.stat().st_size, 0.0))
                    written.append({"table": name, "rows": rows, "file": str(file)})
    sync_directory(directory)
    context.report(Log(f"Rows that are only in live: {len(written)} files in {directory}"))
    return {"ok": True, "directory": str(directory), "tables": written}


def _file_name(table: StagedTable) -> str:
    """Return a file's name for a table; what no file system takes everywhere becomes ``_``."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{table.schema}.{table.name}").lstrip(".")
    return plain[:_LONGEST_NAME]


def _put_in_place(partial: Path, base: Path) -> Path:
    """Give a whole file its name, or the next one that is free: nothing is overwritten."""
    numbers = itertools.count(2)
    target = base.with_name(f"{base.name}.csv")
    while not _linked(partial, target):
        target = base.with_name(f"{base.name}-{next(numbers)}.csv")
    partial.unlink()
    return target


def _linked(partial: Path, target: Path) -> bool:
    """Give the file a second name, which no other file has; whether that went."""
    try:
        target.hardlink_to(partial)
    except FileExistsError:
        return False
    return True
