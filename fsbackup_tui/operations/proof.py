"""The trial restore of one postgres part, and its comparison with what was captured."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import (
    FsbackupError,
    ScratchUnavailable,
    ServerUnreachable,
    ToolError,
)
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.domain.proof import (
    Blocker,
    Outcome,
    Proof,
    ProofCheck,
    Receipt,
    TableProof,
    conclude,
)
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.comparison import compare_database, unproven_reason
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.integrity import check_integrity, queries_about
from fsbackup_tui.engines.postgres.replay import CreatedDatabase, create_database
from fsbackup_tui.engines.postgres.side import (
    drop_unfinished,
    newborn_name,
    restore_lock,
    sweep_newborn,
    unfinished_comment,
)
from fsbackup_tui.engines.postgres.soundness import check_soundness
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.engines.process_group import undisturbed
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import Dump, Filling, dump_name, fill_and_account
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.scratch_place import (
    ScratchPlace,
    prepare_roles,
    scratch_place,
    sort_losses,
)
from fsbackup_tui.operations.status import job_liveness
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_SHOWN_LINES = 5
_NO_COUNTS = (
    "Take a backup with fingerprints: content (or counts); this one can be restored at most"
)


@dataclass
class _Trial:
    """One trial restore while it runs."""

    context: JobContext
    part: PartManifest
    facts: PostgresFacts
    reader: PointReader
    repository: Repository
    phases: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what is done inside the block as a phase of that name."""
        started = time.monotonic()
        try:
            yield
        finally:
            passed = time.monotonic() - started
            self.phases[name] = round(self.phases.get(name, 0.0) + passed, 3)

    def note(self, text: str) -> None:
        """Keep a remark for the proof, and tell it now."""
        self.notes.append(text)
        self.context.report(Log(text))


async def prove_part(
    context: JobContext,
    repository: Repository,
    reader: PointReader,
    part: PartManifest,
    *,
    compare: bool,
) -> Proof:
    """Restore a postgres part on a scratch server and, with ``compare``, prove its content.

    What lies in the repository must have been found sealed before. Nothing is left behind,
    whatever happens. What the place lacks is *blocked*, neither a pass nor a failure.

    Raises:
        PostgresError, ToolError, DiskFull, SecretUnavailable: the trial itself could not go on;
            nothing was learned about the part.
    """
    if part.postgres is None:
        raise FsbackupError(f"NOT A DATABASE: {part.source} is of kind {part.kind}.")
    trial = _Trial(context, part, part.postgres, reader, repository)
    started = time.monotonic()
    try:
        async with scratch_place(context, part) as place:
            trial.phases["start"] = round(time.monotonic() - started, 3)
            context.report(Log(f"{part.source}: trial restore on {place.text}"))
            with plain_errors(place.address):
                return await _prove(trial, place, compare=compare)
    except ScratchUnavailable as error:
        blockers = tuple(Blocker(what, fix) for what, fix in error.lacks)
        return Proof("-", "blocked", blockers=blockers or (Blocker(error.what, error.fix),))


async def _prove(trial: _Trial, place: ScratchPlace, *, compare: bool) -> Proof:
    context, name = trial.context, trial.context.application_name
    entries = await _entries(trial, place)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(await connect(place.address, application_name=name))
        if place.kind == "live":
            await stack.enter_async_context(restore_lock(admin, place.identity, name))
        for note in await prepare_roles(
            place,
            context,
            trial.facts,
            _globals_path(trial),
            owners={entry.owner for entry in entries if entry.owner},
        ):
            trial.note(note)
        created = await stack.enter_async_context(_copy(trial, place, admin))
        filling = Filling(
            context=context,
            address=place.address.with_database(created.name),
            client=place.client,
            database_oid=created.oid,
            jobs=place.jobs,
        )
        with trial.phase("restore"):
            dump = Dump(_dump_path(trial), trial.facts)
            accounting = await guarded(fill_and_account(filling, dump), *place.space_guards())
        trial.notes.extend(accounting.notes)
        blockers, lost = sort_losses(accounting, place, entries)
        restored: Outcome = "failed" if lost else "blocked" if blockers else "ok"
        tables: tuple[TableProof, ...] = ()
        checks: tuple[ProofCheck, ...] = ()
        proven: Outcome | None = None
        if compare and restored == "ok":
            tables, checks = await _compare(trial, place, filling, accounting)
            proven = conclude(tables, checks)
            reason = unproven_reason(trial.facts, tables, checks)
            if proven == "ok" and reason is not None:
                blockers, proven = (Blocker(reason, _NO_COUNTS), *blockers), "blocked"
    return Proof(
        place=place.text,
        restored=restored,
        proven=proven,
        receipt=_receipt(accounting, lost),
        tables=tables,
        checks=checks,
        blockers=blockers,
        notes=tuple(dict.fromkeys(trial.notes)),
        phases=trial.phases,
    )


def _receipt(accounting: Accounting, lost: tuple[str, ...]) -> Receipt:
    return Receipt(
        accounting.restored,
        tuple((entry.label, reason) for entry, reason in accounting.benign),
        tuple(entry.label for entry in accounting.deferred),
        lost,
    )


async def _entries(trial: _Trial, place: ScratchPlace) -> list[TocEntry]:
    """Return the archive's list; a plain dump has none that could be had without reading it."""
    if trial.facts.format == "plain":
        return []
    _text, entries = await list_archive(place.client, _dump_path(trial))
    return entries


def _dump_path(trial: _Trial) -> Path:
    return trial.reader.path_inside(trial.part.source, dump_name(trial.part))


@asynccontextmanager
async def _copy(
    trial: _Trial, place: ScratchPlace, admin: Connection
) -> AsyncIterator[CreatedDatabase]:
    """Make the database for the trial; drop it behind the block, whatever happens in there."""
    context = trial.context
    if place.kind != "own":
        alive = job_liveness(context.loaded, os.environ, trial.repository)
        for job in await sweep_newborn(admin, alive):
            context.report(Log(f"Dropped the copy that the dead job {job} had left."))
    created = await create_database(
        admin,
        newborn_name(context.job),
        trial.facts,
        comment=unfinished_comment(context.job),
    )
    for note in created.notes:
        trial.note(note)
    try:
        yield created
    finally:
        await undisturbed(_drop(trial, place, admin, created))


async def _drop(
    trial: _Trial, place: ScratchPlace, admin: Connection, created: CreatedDatabase
) -> None:
    if place.kind == "own":
        return  # it goes with its server
    try:
        with plain_errors(place.address):
            if admin.closed:
                name = trial.context.application_name
                async with await connect(place.address, application_name=name) as another:
                    await drop_unfinished(another, created.name, created.oid)
            else:
                await drop_unfinished(admin, created.name, created.oid)
    except (FsbackupError, ServerUnreachable) as error:
        trial.context.report(
            Warned(
                f"LEFT OVER: {created.name} on {place.text}; the next trial there drops it. "
                f"{error.what}"
            )
        )


async def _compare(
    trial: _Trial, place: ScratchPlace, filling: Filling, accounting: Accounting
) -> tuple[tuple[TableProof, ...], tuple[ProofCheck, ...]]:
    facts, context = trial.facts, trial.context
    context.stage("proven")
    with trial.phase("compare"):
        tables, compared = await compare_database(
            filling.connect,
            facts,
            sessions=place.jobs,
            schema_sha256=_comparable_schema(trial, accounting),
            report=context.report,
        )
    with trial.phase("checks"):
        async with await filling.connect() as connection:
            sound, notes = await check_soundness(connection, facts, context.report)
            trial.notes.extend(notes)
            queries = await check_integrity(
                connection,
                facts,
                queries_about(context.loaded.config.integrity, trial.part.source),
            )
        commands = await _command(trial, filling)
    return tables, (*compared, *sound, *queries, *commands)


def _comparable_schema(trial: _Trial, accounting: Accounting) -> str | None:
    """Return the copy's schema digest, or None where it can't be as at capture."""
    if accounting.deferred:
        trial.note("the schema digest is not compared: some entries are deferred on purpose")
        return None
    if any(note.startswith("Owners were not restored") for note in accounting.notes):
        trial.note("the schema digest is not compared: owners and grants can't be had there")
        return None
    return accounting.schema_sha256


async def _command(trial: _Trial, filling: Filling) -> list[ProofCheck]:
    """Run the site's own check against the copy, its URL in the environment."""
    argv = trial.context.loaded.config.commands.verify_integrity
    if argv is None:
        return []
    context = trial.context
    url = filling.address.url().reveal()
    try:
        completed = await run(
            Command(
                argv,
                env={
                    **context.environment,
                    "DATABASE_URL": url,
                    "DIRECT_URL": url,
                },
                cwd=context.loaded.path.parent,
            ),
            report=context.report,
            redactor=context.redactor,
            check=False,
        )
    except ToolError as error:
        return [ProofCheck("command", argv[0], "blocked", error.what)]
    if completed.exit_status == 0:
        return [ProofCheck("command", argv[0], "equal")]
    said = " ".join(completed.last_lines().splitlines()[-_SHOWN_LINES:])
    return [
        ProofCheck("command", argv[0], "different", f"it ended with {completed.ended()}: {said}")
    ]


def _globals_path(trial: _Trial) -> Path | None:
    for artifact in trial.part.artifacts:
        if artifact.role == "globals":
            return trial.reader.path_inside(trial.part.source, artifact.path)
    return None
