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
from fsbackup_tui.engines.own_program import own_program
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.plain import PlainScan, check_harmless, scan_plain
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure
from fsbackup_tui.engines.process import (
    Command,
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
    """How the stock tool ended: its exit status and every error it told, one line each."""

    exit_status: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    no_owner: bool = False
    no_owner_reason: str = ""
    errors_not_kept: int = 0
    deferred: tuple[TocEntry, ...] = ()
    rows: Mapping[int, int] = field(default_factory=dict)

    def then(self, later: RestoreRun) -> RestoreRun:
        """Return both runs as one: the same archive restored in two steps."""
        return replace(
            later,
            exit_status=self.exit_status or later.exit_status,
            errors=self.errors + later.errors,
            warnings=self.warnings + later.warnings,
            seconds=self.seconds + later.seconds,
            errors_not_kept=self.errors_not_kept + later.errors_not_kept,
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
    started = monotonic()
    log = ToolLog("pg_restore", redactor, on_log)
    arguments = [
        client.tool("pg_restore"),
        "--no-password",
        "--verbose",
        f"--jobs={max(1, jobs)}",
        "--dbname=service=fsbackup",
    ]
    if no_owner:
        arguments.append("--no-owner")
    if data_only:
        arguments.append("--data-only")
    if section is not None:
        arguments.append(f"--section={section}")
    if left_out:
        ids = {entry.dump_id for entry in left_out}
        list_file = write_restore_list(work / "restore-without-deferred.list", entries, ids)
        arguments.append(f"--use-list={list_file}")
    command = Command((*arguments, str(archive)), env={**client.env, **environment})
    completed = await run(
        command,
        report=report,
        redactor=redactor,
        check=False,
        on_stderr_line=log.add,
        on_started=on_started,
    )
    finished = any("errors ignored on restore" in warning for warning in log.warnings)
    if completed.exit_status != 0 and not finished:
        error = failure(completed)
        if isinstance(error, ToolFailed):
            raise explain_failure(error, log, what="RESTORE BROKE OFF")
        raise error
    return RestoreRun(
        completed.exit_status,
        tuple(log.errors),
        tuple(log.warnings),
        monotonic() - started,
        no_owner,
        no_owner_reason,
        log.dropped,
        tuple(left_out),
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
    report: Report | None = None,
    redactor: Redactor | None = None,
    on_started: Callable[[RunningChild], None] | None = None,
    on_log: Callable[[str], None] | None = None,
) -> RestoreRun:
    """Fill the database from a plain dump; ``scan`` is what ``scan_for_restore`` found in it.

    ``work`` takes small temporary files.

    The text comes to psql from fsbackup's own decompressor, whose exit status counts as much as
    psql's, without the parts of ``deferred_entries``. psql stops at the first error; it is
    asked for one transaction, but a dump with large objects commits in its midst.
    """
    left_out = deferred_entries(scan.entries)
    skip = [f"{part.start}:{part.stop}" for part in scan.ranges_of(left_out)]
    check_harmless(dump, scan)
    started = monotonic()
    log = ToolLog("psql", redactor, on_log)
    loader = Command(
        (
            client.tool("psql"),
            "--no-psqlrc",
            "--no-password",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--single-transaction",
            "--output=/dev/null",
            "--dbname=service=fsbackup",
            "--file=-",
        ),
        env={**client.env, **environment},
    )
    try:
        with own_program("fsbackup_tui.engines.compression", str(dump), *skip, work=work) as (
            argv,
            variables,
        ):
            await run_pipeline(
                (Command(argv, env=variables), loader),
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
