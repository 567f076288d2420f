"""Dumping one database with the stock tools: the plan, pg_dump, the schema, the globals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from fsbackup_tui.config.model import Limits
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import ClientUnsuitable, DiskFull, ToolError
from fsbackup_tui.domain.events import Report, Warned
from fsbackup_tui.domain.point import ArtifactRole, DumpFormat, Scope
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.chain import Written
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.plain import check_harmless, scan_plain
from fsbackup_tui.engines.postgres.schema import DUMP_ENVIRONMENT, schema_digest
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure
from fsbackup_tui.engines.process import Command, RunningChild, ToolDiskFull, ToolFailed, run
from fsbackup_tui.engines.process_result import ran_out_of_space

DIRECTORY_ABOVE_BYTES = 100_000_000
"""From this database size on the directory format's parallel jobs pay for their start-up."""

MOST_AUTOMATIC_JOBS = 8
_NAMES: Mapping[DumpFormat, str] = {
    "custom": "database.dump",
    "directory": "database",
    "plain": "database.sql",
}
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}


@dataclass(frozen=True, slots=True)
class DumpPlan:
    """How a database is dumped; the exclusions are patterns as pg_dump reads them.

    ``compression`` is ``zstd:LEVEL``, ``gzip:LEVEL`` or ``none``; ``name`` is the file or
    directory that the dump becomes.
    """

    format: DumpFormat
    compression: str
    jobs: int
    scope: Scope
    exclude_schemas: tuple[str, ...]
    exclude_tables: tuple[str, ...]
    exclude_table_data: tuple[str, ...]
    lock_timeout_seconds: float
    name: str


@dataclass(frozen=True, slots=True)
class DumpResult:
    """What pg_dump left: files (paths relative to the directory) and what it said.

    Of files that went through a chain ``written`` tells the plain content, by name; the schema is
    among them then, with its digest.
    """

    artifacts: tuple[tuple[str, ArtifactRole], ...]
    toc_entries: int
    warnings: tuple[str, ...]
    seconds: float
    rows: Mapping[int, int] = field(default_factory=dict)
    written: Mapping[str, Written] = field(default_factory=dict)
    schema_sha256: str | None = None


def plan_dump(
    source: PostgresSource,
    limits: Limits,
    client: ClientTools,
    *,
    size_bytes: int | None,
    tables: int,
    cpu_count: int,
    lock_slots: int | None = None,
    locks_taken: int = 0,
    exclusions: Exclusions | None = None,
) -> DumpPlan:
    """Choose format, compression and jobs for a source.

    ``lock_slots`` is what the server's lock table holds (max_locks_per_transaction ×
    (max_connections + max_prepared_transactions)), ``locks_taken`` what fsbackup's own sessions
    hold of it: each parallel worker keeps a second lock on every table it dumped, so jobs are
    given up where that would not fit. ``exclusions`` replace those of the configuration (they
    also know the host's own schemas). Raises ClientUnsuitable when the configuration wants zstd
    and the client has none.
    """
    if exclusions is None:
        exclusions = Exclusions(
            source.exclude_schemas, source.exclude_tables, source.exclude_table_data
        )
    compression = _compression(source.compression, client)
    jobs = source.jobs if source.jobs != "auto" else min(max(2, cpu_count), MOST_AUTOMATIC_JOBS)
    if limits.jobs is not None:
        jobs = min(jobs, limits.jobs)
    if lock_slots is not None and locks_taken + 2 * tables > lock_slots:
        jobs = 1
    large = size_bytes is not None and size_bytes >= DIRECTORY_ABOVE_BYTES
    chosen: DumpFormat
    if source.format == "auto":
        chosen = "directory" if large and jobs > 1 and source.scope != "schema" else "custom"
    else:
        chosen = source.format
    if chosen != "directory":
        jobs = 1
    name = _NAMES[chosen]
    if chosen == "plain":
        name += _SUFFIXES[compression.partition(":")[0]]
    return DumpPlan(
        format=chosen,
        compression=compression,
        jobs=max(1, min(jobs, max(1, tables))),
        scope=source.scope,
        exclude_schemas=exclusions.all_schemas,
        exclude_tables=exclusions.all_tables,
        exclude_table_data=exclusions.all_table_data,
        lock_timeout_seconds=source.lock_timeout.total_seconds(),
        name=name,
    )


def _compression(wish: str, client: ClientTools) -> str:
    if wish == "auto":
        return "zstd:1" if client.zstd else "gzip:1"
    method, _colon, level = wish.partition(":")
    if method == "none":
        return "none"
    if method == "zstd" and not client.zstd:
        # pg_dump 14 takes --compress=zstd for 0 and dumps uncompressed, with exit code 0.
        raise ClientUnsuitable(
            f"NO ZSTD: pg_dump {client.version} in {client.directory} can't compress with it.",
            why="zstd needs pg_dump 16 or newer, built with it; the configuration asks for it.",
            fix="Write 'compression: auto' for the source, or install a client that has zstd.",
        )
    return f"{method}:{level or 1}"


def _compression_option(compression: str, client: ClientTools) -> str:
    if client.major >= 16:
        return f"--compress={compression}"
    method, _colon, level = compression.partition(":")
    return "--compress=0" if method == "none" else f"--compress={level}"


def _selection(plan: DumpPlan) -> Iterator[str]:
    for schema in plan.exclude_schemas:
        yield f"--exclude-schema={schema}"
    for table in plan.exclude_tables:
        yield f"--exclude-table={table}"
    for table in plan.exclude_table_data:
        yield f"--exclude-table-data={table}"


def dump_arguments(
    plan: DumpPlan, client: ClientTools, snapshot_id: str, target: Path | None
) -> list[str]:
    """Return pg_dump's command line; where the database is comes by the environment alone.

    Without a target it writes to standard output.
    """
    arguments = [
        client.tool("pg_dump"),
        "--no-password",
        "--verbose",
        "--no-sync",
        f"--format={plan.format}",
        _compression_option(plan.compression, client),
        f"--snapshot={snapshot_id}",
        f"--lock-wait-timeout={max(1, round(plan.lock_timeout_seconds * 1000))}",
        *([] if target is None else [f"--file={target}"]),
    ]
    if plan.format == "directory":
        arguments.append(f"--jobs={plan.jobs}")
    if plan.scope != "full":
        arguments.append(f"--{plan.scope}-only")
    return [*arguments, *_selection(plan)]


async def dump_database(
    plan: DumpPlan,
    client: ClientTools,
    environment: Mapping[str, str],
    *,
    snapshot_id: str,
    directory: Path,
    report: Report | None = None,
    redactor: Redactor | None = None,
    on_started: Callable[[RunningChild], None] | None = None,
    on_log: Callable[[str], None] | None = None,
) -> DumpResult:
    """Run pg_dump in an exported snapshot and check what it left.

    Files are not fsynced here: whoever commits them does that. ``on_log`` gets every line of
    pg_dump's log. The archive's listing is stored beside it as ``restore.list``.

    Raises TableLocked, RightsMissing, ServerUnreachable, DiskFull, PostgresError or ToolError,
    as pg_dump's words tell; PointDamaged when it ended well and left no readable dump.
    """
    started = monotonic()
    target = directory / plan.name
    log = ToolLog("pg_dump", redactor, on_log)
    command = Command(
        tuple(dump_arguments(plan, client, snapshot_id, target)),
        env={**client.env, **environment, **DUMP_ENVIRONMENT},
    )
    try:
        await run(
            command,
            report=report,
            redactor=redactor,
            on_stderr_line=log.add,
            on_started=on_started,
        )
    except ToolFailed as error:
        raise explain_failure(error, log, what="DUMP FAILED") from error
    except ToolDiskFull as error:
        raise disk_full(error, log, target) from error
    tell_warnings(log, report)
    files = _files_of(target, directory)
    artifacts: list[tuple[str, ArtifactRole]] = [(name, "dump") for name in files]
    if plan.format == "plain":
        scan = await asyncio.to_thread(scan_plain, target)
        check_harmless(target, scan)
        entries, rows = len(scan.entries), scan.rows
    else:
        text, listed = await list_archive(client, target)
        (directory / "restore.list").write_text(text, encoding="utf-8", errors="surrogateescape")
        artifacts.append(("restore.list", "list"))
        entries, rows = len(listed), {}
    return DumpResult(tuple(artifacts), entries, tuple(log.warnings), monotonic() - started, rows)


def tell_warnings(log: ToolLog, report: Report | None) -> None:
    """Report what the tool warned of."""
    for warning in log.warnings:
        if report is not None:
            report(Warned(warning))


def disk_full(error: ToolDiskFull, log: ToolLog, target: Path) -> DiskFull:
    """Return the error for a dump that had no space left."""
    return DiskFull(
        f"DISK FULL: pg_dump had no space left for {target}.",
        why=f"{_space_words(error, log)}. What it had written is taken back.",
        fix="Free space there (fsbackup list shows the sizes), then run it again.",
    )


def _space_words(error: ToolDiskFull, log: ToolLog) -> str:
    """Return what was said of the space: workers' lines may run into each other's."""
    if ran_out_of_space(reason := log.reason()):
        return reason
    lines = error.completed.stderr.splitlines()
    return next((line.strip() for line in lines if ran_out_of_space(line)), reason)


def _files_of(target: Path, directory: Path) -> list[str]:
    files = sorted(target.iterdir()) if target.is_dir() else [target]
    if not files or not any(file.stat().st_size for file in files):
        raise ToolError(
            f"DUMP EMPTY: pg_dump ended well, but {target.name} holds nothing.",
            why="The file system may have lost it, or pg_dump is not what it seems.",
            fix="Run the tool by hand (its command line is in the job's log).",
        )
    return [file.relative_to(directory).as_posix() for file in files]


def schema_arguments(plan: DumpPlan, client: ClientTools, snapshot_id: str) -> tuple[str, ...]:
    """Return the command line that prints the schema of what a plan dumps."""
    return (
        client.tool("pg_dump"),
        "--no-password",
        "--schema-only",
        "--no-sync",
        f"--snapshot={snapshot_id}",
        f"--lock-wait-timeout={max(1, round(plan.lock_timeout_seconds * 1000))}",
        *_selection(plan),
    )


async def write_schema(
    plan: DumpPlan,
    client: ClientTools,
    environment: Mapping[str, str],
    *,
    snapshot_id: str,
    directory: Path,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> tuple[str, str] | None:
    """Write ``schema.sql`` and return its name and digest; None for scope ``data``.

    It is taken out of the archive where there is one: the same snapshot by construction, and no
    load on the server. A plain dump can't be divided, so pg_dump is asked once more, in the
    same snapshot.
    """
    if plan.scope == "data":
        return None
    target = directory / "schema.sql"
    if plan.format == "plain":
        argv = (*schema_arguments(plan, client, snapshot_id), f"--file={target}")
    else:
        argv = (
            client.tool("pg_restore"),
            "--schema-only",
            f"--file={target}",
            str(directory / plan.name),
        )
    log = ToolLog(Path(argv[0]).name, redactor)
    try:
        await run(
            Command(argv, env={**client.env, **environment, **DUMP_ENVIRONMENT}),
            report=report,
            redactor=redactor,
            on_stderr_line=log.add,
        )
    except ToolFailed as error:
        raise explain_failure(error, log, what="SCHEMA NOT WRITTEN") from error
    return target.name, await asyncio.to_thread(schema_digest, target)


def globals_arguments(
    client: ClientTools, database: str, *, passwords: bool = False
) -> tuple[str, ...]:
    """Return the command line that prints roles and tablespaces.

    ``passwords``: with the hashes of the roles' passwords, which only a superuser may read.
    """
    return (
        client.tool("pg_dumpall"),
        "--no-password",
        "--globals-only",
        *(() if passwords else ("--no-role-passwords",)),
        f"--database={database}",
    )


async def dump_globals(
    client: ClientTools,
    environment: Mapping[str, str],
    *,
    database: str,
    directory: Path,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> tuple[str | None, str]:
    """Write ``globals.sql`` (roles, tablespaces; no password hashes); returns (name, why not).

    A role that may not read what pg_dumpall needs gets no file and the reason: the dump itself
    is none the worse.
    """
    target = directory / "globals.sql"
    argv = (*globals_arguments(client, database), f"--file={target}")
    log = ToolLog("pg_dumpall", redactor)
    try:
        await run(
            Command(argv, env={**client.env, **environment}),
            report=report,
            redactor=redactor,
            on_stderr_line=log.add,
        )
    except ToolFailed:
        target.unlink(missing_ok=True)
        return None, f"roles and tablespaces were not captured: {log.reason()}"
    return target.name, ""
