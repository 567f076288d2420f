"""The trial restore of one postgres part, and its comparison with what was captured."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.errors import (
    FsbackupError,
    PostgresError,
    RestoreIncomplete,
    SafetyRefusal,
    ScratchUnavailable,
)
from fsbackup_tui.domain.estimate import place_key
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.domain.proof import (
    Blocker,
    LinkProof,
    Outcome,
    Proof,
    ProofCheck,
    Receipt,
    TableProof,
    conclude,
)
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.comparison import unproven_reason
from fsbackup_tui.engines.postgres.connection import plain_errors
from fsbackup_tui.engines.postgres.lacks import lack_in
from fsbackup_tui.engines.postgres.outside import trial_deferred_entries
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.trial_server import runs_as_another_user
from fsbackup_tui.operations.comparing import check_by_site, check_sound, compare_rows
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import (
    NO_ENTRIES,
    Dump,
    Filling,
    dump_name,
    fill_and_account,
)
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.link_proof import check_links, links_of_rows
from fsbackup_tui.operations.one_job import ONCE_MORE, by_one_job_at_last
from fsbackup_tui.operations.scratch_place import (
    ScratchPlace,
    prepare_roles,
    sort_losses,
)
from fsbackup_tui.operations.signatures import lacks_signature
from fsbackup_tui.operations.spare import SpareKeeper, trial_place
from fsbackup_tui.operations.status import job_liveness
from fsbackup_tui.operations.timing import RESTORE, Timing, part_work
from fsbackup_tui.operations.trial_database import TrialDatabase, trial_database
from fsbackup_tui.operations.wording import place_words
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_NO_ENTRIES_FIX = "Take a backup with fsbackup, or dump with pg_dump's own comments"
_NO_COUNTS = (
    "Take a backup with fingerprints: content (or counts); this one can be restored at most"
)
_NOT_ISOLATED = Blocker(
    "it lacks the signature that is demanded: a forged dump would run code as this user",
    "Verify it as root: then the trial's server runs under a user id of its own",
)
_NO_DEFINITIONS = (
    "Prove it where owners and grants can be restored, on a server of its own: scratch: {on: own}"
)


@dataclass
class _Trial:
    """One trial restore while it runs."""

    context: JobContext
    part: PartManifest
    facts: PostgresFacts
    reader: PointReader
    repository: Repository | None
    timing: Timing
    keeper: SpareKeeper | None = None
    isolated: bool = False
    notes: list[str] = field(default_factory=list)

    def enter(self, phase: str) -> None:
        """Begin a phase, which ends the one before."""
        self.timing.enter(phase, self.part.source)

    def note(self, text: str) -> None:
        """Keep a remark for the proof, and tell it now."""
        self.notes.append(text)
        self.context.report(Log(text))


async def prove_part(
    context: JobContext,
    repository: Repository | None,
    reader: PointReader,
    part: PartManifest,
    *,
    compare: bool,
    timing: Timing | None = None,
    keeper: SpareKeeper | None = None,
    trusted: bool = False,
) -> Proof:
    """Restore a postgres part on a scratch server and, with ``compare``, prove its content.

    What lies in the repository must have been found sealed before; a backup file needs none
    (``repository`` is None). Nothing is left behind,
    whatever happens. What the place lacks is *blocked*, neither a pass nor a failure. ``timing``
    measures the phases; it is the one that the context reports to. With a ``keeper`` the trial
    runs beside live, and a proven copy stays there as the spare. What lacks the signature that
    the configuration demands is tried on a server of another user id alone, unless it is
    ``trusted`` for a reason.

    Raises:
        PostgresError, ToolError, DiskFull, SecretUnavailable: the trial itself could not go on;
            nothing was learned about the part.
    """
    if part.postgres is None:
        raise FsbackupError(f"NOT A DATABASE: {part.source} is of kind {part.kind}.")
    if timing is None:
        timing = Timing(context.report, {part.source: part_work(part)}, ())
        context = replace(context, report=timing.report)
    isolated = not trusted and await lacks_signature(context, reader)
    trial = _Trial(context, part, part.postgres, reader, repository, timing, keeper, isolated)
    try:
        proof = await _try_on_scratch(trial, compare=compare)
    finally:
        timing.leave()
    return replace(proof, phases=timing.taken(part.source))


async def _try_on_scratch(trial: _Trial, *, compare: bool) -> Proof:
    context, part = trial.context, trial.part
    trial.enter("start")
    if trial.isolated and not runs_as_another_user():
        return Proof("-", "blocked", blockers=(_NOT_ISOLATED,))
    try:
        async with trial_place(
            context, part, _dump_path(trial), trial.keeper, isolated=trial.isolated
        ) as place:
            major = place.identity.server_version_num // 10_000
            trial.timing.at_place(place_key(place.kind, major, context.host, place.jobs))
            context.report(Log(f"{part.source}: trial restore {place_words(place.text)}"))
            try:
                with plain_errors(place.address):
                    return await _prove(trial, place, compare=compare)
            except (PostgresError, SafetyRefusal) as error:
                if (proof := _broken_off(trial, place, error)) is None:
                    raise
                return proof
    except ScratchUnavailable as error:
        blockers = tuple(Blocker(what, fix) for what, fix in error.lacks)
        return Proof("-", "blocked", blockers=blockers or (Blocker(error.what, error.fix),))


def _broken_off(trial: _Trial, place: ScratchPlace, error: FsbackupError) -> Proof | None:
    """Return what a restore that broke off shows of the part; None where it shows nothing.

    A plain dump stops at its first error, and one with commands for psql is never loaded.
    """
    if type(error) not in (PostgresError, RestoreIncomplete, SafetyRefusal):
        return None  # the server, its rights or its clients: nothing was learned about the part
    text = " ".join(piece for piece in (error.what, error.why.replace("\n", " ")) if piece)
    lack = lack_in(text)
    blockers = (lack,) if lack is not None else place.lacks
    return Proof(
        place.text,
        "blocked" if blockers else "failed",
        receipt=None if blockers else Receipt(0, lost=(text,)),
        blockers=blockers,
        notes=tuple(dict.fromkeys(trial.notes)),
    )


async def _prove(trial: _Trial, place: ScratchPlace, *, compare: bool) -> Proof:
    context = trial.context
    trial.enter("prepare")
    entries = await _entries(trial, place)
    alive = job_liveness(context.loaded, os.environ, trial.repository)
    owners = {entry.owner for entry in entries if entry.owner}
    for note in await prepare_roles(
        place, context, trial.facts, _globals_path(trial), owners=owners
    ):
        trial.note(note)

    async def attempt(jobs: int) -> Proof:
        async with trial_database(context, place, trial.facts, is_alive=alive) as database:
            if jobs != place.jobs:
                trial.notes.append(ONCE_MORE)
            return await _try_in(trial, replace(place, jobs=jobs), database, entries, compare)

    return await by_one_job_at_last(context, place.jobs, attempt)


async def _try_in(
    trial: _Trial,
    place: ScratchPlace,
    database: TrialDatabase,
    entries: list[TocEntry],
    compare: bool,
) -> Proof:
    context = trial.context
    trial.notes.extend(database.created.notes)
    filling = Filling(
        context=context,
        address=place.address.with_database(database.name),
        client=place.client,
        database_oid=database.created.oid,
        jobs=place.jobs,
        deferred=trial_deferred_entries,
    )
    trial.enter(RESTORE)
    dump = Dump(_dump_path(trial), trial.facts)
    accounting = await guarded(fill_and_account(filling, dump), *place.space_guards())
    trial.notes.extend(accounting.notes)
    blockers, lost = sort_losses(accounting, place, entries)
    if not any(accounting.counts().values()) and not _was_empty(trial.facts):
        blockers = (*blockers, Blocker(NO_ENTRIES, _NO_ENTRIES_FIX))
    restored: Outcome = "failed" if lost else "blocked" if blockers else "ok"
    tables: tuple[TableProof, ...] = ()
    checks: tuple[ProofCheck, ...] = ()
    links: tuple[LinkProof, ...] = ()
    proven: Outcome | None = None
    if compare and restored == "ok":
        tables, checks = await _compare(trial, place, filling, accounting)
        wanted = links_of_rows(trial.reader.manifest, trial.part.source)
        links = await check_links(context, filling, trial.reader, trial.facts, wanted)
        proven = conclude(tables, checks)
        reason = unproven_reason(trial.facts, tables, checks)
        if proven == "ok" and reason is not None:
            fix = _NO_COUNTS if reason.startswith("rows ") else _NO_DEFINITIONS
            blockers, proven = (Blocker(reason, fix), *blockers), "blocked"
    if proven == "ok" and trial.keeper is not None:
        trial.enter("spare")
        await trial.keeper.keep(place, database, filling, accounting)
    trial.enter("remove")
    return Proof(
        place=place.text,
        restored=restored,
        proven=proven,
        receipt=_receipt(accounting, lost),
        tables=tables,
        checks=checks,
        blockers=blockers,
        notes=tuple(dict.fromkeys(trial.notes)),
        links=links,
    )


def _was_empty(facts: PostgresFacts) -> bool:
    """Whether the captured database is known to have held nothing that an archive lists."""
    held = facts.toc_entries or facts.tables or facts.sequences
    return facts.schema_sha256 is not None and not held


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


async def _compare(
    trial: _Trial, place: ScratchPlace, filling: Filling, accounting: Accounting
) -> tuple[tuple[TableProof, ...], tuple[ProofCheck, ...]]:
    facts, context = trial.facts, trial.context
    context.stage("proven")
    trial.enter("compare")
    compared = await compare_rows(filling, facts, accounting, sessions=place.jobs)
    trial.enter("checks")
    sound = await check_sound(filling, facts, trial.part.source)
    trial.notes.extend((*compared.notes, *sound.notes))
    if trial.keeper is None or context.loaded.config.commands.verify_integrity is None:
        commands = await check_by_site(filling, facts)
    else:
        async with trial.keeper.watching(place, filling):
            commands = await check_by_site(filling, facts)
    return compared.tables, (*compared.checks, *sound.checks, *commands)


def _globals_path(trial: _Trial) -> Path | None:
    for artifact in trial.part.artifacts:
        if artifact.role == "globals":
            return trial.reader.path_inside(trial.part.source, artifact.path)
    return None
