"""Restoring beside: a new database made as the old one was, filled by the stock tools."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Literal

from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.compression import PositionFile
from fsbackup_tui.engines.own_program import own_program
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.newer_client import (
    KNOWS_ALL_VERSION_NUM,
    counted_unknown_settings,
    is_unknown_setting,
)
from fsbackup_tui.engines.postgres.plain import PlainScan, check_harmless, scan_plain
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure, split_entry
from fsbackup_tui.engines.process import (
    Command,
    Completed,
    RunningChild,
    ToolFailed,
    failure,
    run,
    run_pipeline,
)

_OF_TRANSACTIONS = re.compile(r"there is (already a|no) transaction in progress")
# Extensions that work in one database of a server alone (their background worker is told its
# name), so a copy beside the live one can't have them; and the schemas they bring.
SINGLE_DATABASE_EXTENSIONS: Mapping[str, tuple[str, ...]] = {"pg_cron": ("cron",)}


Section = Literal["pre-data", "data", "post-data"]


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """How the stock tool ended: its exit status and every error it told, one line each.

    ``errors_counted`` is the tool's own number of them; with several ``jobs`` the lines of one
    may stand between those of another, and be told wrongly or not at all. With ``older_server``
    it does not know what this client sets: said by the tool each time, and left out here.
    """

    exit_status: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    no_owner: bool = False
    no_owner_reason: str = ""
    errors_not_kept: int = 0
    deferred: tuple[TocEntry, ...] = ()
    rows: Mapping[int, int] = field(default_factory=dict)
    jobs: int = 1
    errors_counted: int = 0
    older_server: bool = False

    @property
    def garbled(self) -> bool:
        """Whether errors were told by several jobs at once."""
        return self.jobs > 1 and self.exit_status != 0

    def then(self, later: RestoreRun) -> RestoreRun:
        """Return both runs as one: the same archive restored in two steps."""
        return replace(
            later,
            exit_status=self.exit_status or later.exit_status,
            errors=self.errors + later.errors,
            warnings=self.warnings + later.warnings,
            seconds=self.seconds + later.seconds,
            errors_not_kept=self.errors_not_kept + later.errors_not_kept,
            errors_counted=self.errors_counted + later.errors_counted,
            older_server=self.older_server or later.older_server,
        )


def deferred_entries(entries: Sequence[TocEntry]) -> list[TocEntry]:
    """Return the entries that must not come to life in a copy (design §6).

    Subscriptions (a copy would steal the production slot) and extensions that serve a single
    database of the server, with all that belongs to either.
    """
    extensions = {
        entry.name
        for entry in entries
        if entry.kind == "EXTENSION" and entry.name in SINGLE_DATABASE_EXTENSIONS
    }
    schemas = {schema for name in extensions for schema in SINGLE_DATABASE_EXTENSIONS[name]}
    ids = {
        entry.dump_id
        for entry in entries
        if entry.kind in {"SUBSCRIPTION", "SUBSCRIPTION TABLE"}
        or (entry.kind == "EXTENSION" and entry.name in extensions)
        or (entry.schema is not None and entry.schema in schemas)
        or (entry.kind == "SCHEMA" and entry.name in schemas)
        or (
            entry.schema is None
            and entry.kind in {"COMMENT", "ACL", "SECURITY LABEL"}
            and (
                entry.name.startswith("SUBSCRIPTION ")
                or any(entry.name == f"EXTENSION {name}" for name in extensions)
                or any(entry.name == f"SCHEMA {name}" for name in schemas)
            )
        )
    }
    return [entry for entry in entries if entry.dump_id in ids]


def write_restore_list(path: Path, entries: Sequence[TocEntry], left_out: Collection[int]) -> Path:
    """Write a list for ``pg_restore --use-list``: the archive's lines but those left out."""
    lines = [
        f"{';' if entry.dump_id in left_out else ''}{entry.raw}\n" for entry in entries if entry.raw
    ]
    path.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
    return path


async def restore_archive(
    client: ClientTools,
    environment: Mapping[str, str],
    archive: Path,
    *,
    entries: Sequence[TocEntry],
    work: Path,
    jobs: int,
    no_owner: bool = False,
    no_owner_reason: str = "",
    data_only: bool = False,
    section: Section | None = None,
    deferred: Sequence[TocEntry] | None = None,
    report: Report | None = None,
    redactor: Redactor | None = None,
    on_started: Callable[[RunningChild], None] | None = None,
    on_log: Callable[[str], None] | None = None,
) -> RestoreRun:
    """Fill the database that the environment names from a custom or directory archive.

    ``entries`` come from ``list_archive``; those of ``deferred`` (default: what
    ``deferred_entries`` finds) are left out by a list file in ``work``. An exit status other
    than 0 is returned, not raised, when pg_restore went through to its end ("errors ignored on
    restore"): the accounting then says what is lost. A run that broke off raises, as the tool's
    words tell. ``data_only`` is for data points, which are loaded into an existing schema;
    ``section`` restores that section of the archive alone.
    """
    left_out = list(deferred_entries(entries) if deferred is None else deferred)
    options = ["--verbose", f"--jobs={max(1, jobs)}"]
    options += ["--no-owner"] if no_owner else []
    options += ["--data-only"] if data_only else []
    options += [f"--section={section}"] if section is not None else []
    if left_out:
        ids = {entry.dump_id for entry in left_out}
        list_file = write_restore_list(work / "restore-without-deferred.list", entries, ids)
        options.append(f"--use-list={list_file}")
    log = ToolLog("pg_restore", redactor, on_log)
    completed = await _pg_restore(
        client, environment, archive, options, log, report, redactor, on_started
    )
    return replace(
        _without_unknown_settings(_ended(completed, log, max(1, jobs))),
        no_owner=no_owner,
        no_owner_reason=no_owner_reason,
        deferred=tuple(left_out),
    )


def _without_unknown_settings(run_result: RestoreRun) -> RestoreRun:
    """Return a run without what an older server said of this client's settings, if it did.

    The leader hears it first, before there is any other process whose words it could be mixed
    with. Once the tool counts nothing else, whatever else was heard is the same, torn by jobs.
    """
    if not run_result.errors or not is_unknown_setting(run_result.errors[0]):
        return run_result
    counted = run_result.errors_counted - counted_unknown_settings(run_result.jobs)
    errors = tuple(error for error in run_result.errors if not is_unknown_setting(error))
    if counted <= 0 and run_result.jobs > 1:
        errors = ()
    return replace(
        run_result,
        exit_status=run_result.exit_status if counted > 0 or errors else 0,
        errors=errors,
        errors_counted=max(0, counted),
        older_server=True,
    )


def _ended(completed: Completed, log: ToolLog, jobs: int) -> RestoreRun:
    """Return how pg_restore went through to its end; raises when it broke off."""
    if completed.exit_status != 0 and log.errors_ignored is None:
        error = failure(completed)
        if isinstance(error, ToolFailed):
            raise explain_failure(error, log, what="RESTORE BROKE OFF")
        raise error
    return RestoreRun(
        completed.exit_status,
        tuple(log.errors),
        tuple(log.warnings),
        completed.seconds,
        errors_not_kept=log.dropped,
        jobs=jobs,
        errors_counted=log.errors_ignored or 0,
    )


async def try_entry(
    client: ClientTools,
    environment: Mapping[str, str],
    archive: Path,
    entry: TocEntry,
    *,
    undo: TocEntry | None = None,
    work: Path,
    no_owner: bool = False,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> str | None:
    """Restore one entry alone, in one transaction; returns its error, None when there was none.

    What fails changes nothing. With ``undo``, an entry whose object is there already, nothing is
    changed either way: its failure takes all back. Without it, only for an entry whose object is
    not there at all: anything else might come twice.
    """
    list_file = work / "restore-one-entry.list"
    steps = [entry] if undo is None else [entry, undo]
    options = [
        "--verbose",  # else it does not name the entry that an error is about
        "--single-transaction",
        "--exit-on-error",
        f"--use-list={write_restore_list(list_file, steps, ())}",
        *(["--no-owner"] if no_owner else []),
    ]
    log = ToolLog("pg_restore", redactor)
    try:
        completed = await _pg_restore(client, environment, archive, options, log, report, redactor)
    finally:
        list_file.unlink(missing_ok=True)
    if completed.exit_status == 0:
        return None
    reason = log.reason()
    return None if undo is not None and split_entry(reason)[1] == undo.dump_id else reason


async def _pg_restore(
    client: ClientTools,
    environment: Mapping[str, str],
    archive: Path,
    options: Sequence[str],
    log: ToolLog,
    report: Report | None,
    redactor: Redactor | None,
    on_started: Callable[[RunningChild], None] | None = None,
) -> Completed:
    """Run pg_restore into the environment's database and return how it ended, whichever way."""
    program = client.tool("pg_restore")
    argv = (program, "--no-password", "--dbname=service=fsbackup", *options, str(archive))
    return await run(
        Command(argv, env={**client.env, **environment}),
        report=report,
        redactor=redactor,
        check=False,
        on_stderr_line=log.add,
        on_started=on_started,
    )


async def scan_for_restore(path: Path, *, report: Report | None = None) -> PlainScan:
    """Read a plain dump to its end and refuse what psql must not be given.

    Raises PointDamaged when it is damaged or torn, SafetyRefusal when it holds commands for
    psql itself.
    """

    def tell(done: int) -> None:
        if report is not None and done % (64 << 20) < (1 << 20):
            report(Progress(float(done), None, "bytes", f"reading {path.name}"))

    scan = await asyncio.to_thread(scan_plain, path, on_bytes=tell)
    check_harmless(path, scan)
    return scan


async def restore_plain(
    client: ClientTools,
    environment: Mapping[str, str],
    dump: Path,
    *,
    scan: PlainScan,
    work: Path,
    server_version_num: int = KNOWS_ALL_VERSION_NUM,
    fed: PositionFile | None = None,
    report: Report | None = None,
    redactor: Redactor | None = None,
    on_started: Callable[[RunningChild], None] | None = None,
    on_log: Callable[[str], None] | None = None,
) -> RestoreRun:
    """Fill the database from a plain dump; ``scan`` is what ``scan_for_restore`` found in it.

    ``work`` takes small temporary files; ``fed`` tells how much of the text psql was given.

    The text comes to psql from fsbackup's own decompressor, whose exit status counts as much as
    psql's, without the parts of ``deferred_entries`` and what an older server does not know that
    the dump sets. psql stops at the first error; it is
    asked for one transaction, but a dump with large objects commits in its midst.
    """
    left_out = deferred_entries(scan.entries)
    check_harmless(dump, scan)
    started = monotonic()
    log = ToolLog("psql", redactor, on_log)
    arguments = [str(dump), *([fed.option] if fed is not None else [])]
    older_server = server_version_num < KNOWS_ALL_VERSION_NUM
    parts = scan.ranges_of(left_out, settings=older_server)
    arguments += [f"{part.start}:{part.stop}" for part in parts]
    feeder = own_program("fsbackup_tui.engines.compression", *arguments, work=work)
    try:
        with feeder as (argv, variables):
            await run_pipeline(
                (Command(argv, env=variables), _loader(client, environment)),
                report=report,
                redactor=redactor,
                on_stderr_line=log.add,
                on_started=on_started,
            )
    except ToolFailed as error:
        raise explain_failure(error, log, what="RESTORE BROKE OFF") from error
    return RestoreRun(
        0,
        tuple(log.errors),
        tuple(warning for warning in log.warnings if not _OF_TRANSACTIONS.match(warning)),
        monotonic() - started,
        deferred=tuple(left_out),
        rows=scan.rows,
    )


def _loader(client: ClientTools, environment: Mapping[str, str]) -> Command:
    """Return the psql that loads what it reads, all of it or nothing."""
    argv = (
        client.tool("psql"),
        "--no-psqlrc",
        "--no-password",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--single-transaction",
        "--output=/dev/null",
        "--dbname=service=fsbackup",
        "--file=-",
    )
    return Command(argv, env={**client.env, **environment})
