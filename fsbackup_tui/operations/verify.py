"""Climbing the trust ladder for a stored point, one level after the other (design §2)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from fsbackup_tui.domain.errors import (
    ClientUnsuitable,
    DiskFull,
    KeyUnavailable,
    PointDamaged,
    RepositoryUnwritable,
    SpareNotKept,
)
from fsbackup_tui.domain.estimate import READING, phases_to
from fsbackup_tui.domain.events import Warned, format_time
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.proof import Blocker, Outcome, Proof
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.domain.trust import Trust, least
from fsbackup_tui.engines.postgres.archive import read_through
from fsbackup_tui.operations.accepting import idle_acceptances, sort_blocked
from fsbackup_tui.operations.clients import client_for_archive
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import dump_name
from fsbackup_tui.operations.findings import (
    RESTORE_ANOTHER,
    Finding,
    not_recorded,
    sealed_findings,
)
from fsbackup_tui.operations.foreign import files_findings
from fsbackup_tui.operations.foreign_trial import foreign_file, verify_foreign
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.opened import opened
from fsbackup_tui.operations.proof import prove_part
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.operations.signatures import (
    broken_findings,
    demand_signature,
    is_demanded,
    signature_in,
    signature_problems,
)
from fsbackup_tui.operations.spare import SpareKeeper, keepers_of
from fsbackup_tui.operations.status import (
    open_catalogue,
    open_site_repository,
)
from fsbackup_tui.operations.timing import Timing, part_work
from fsbackup_tui.operations.verify_parts import (
    BLOCKING,
    SitePart,
    Trial,
    blocker,
    is_shown_at,
    site_check,
    try_rung,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.measured import TIMING
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records, write_record
from fsbackup_tui.repository.standing import judge

_READ_LEVELS = (Trust.SEALED, Trust.READABLE)
_NO_FURTHER = "{part}: readable is as far as a part of this kind is shown good by itself"
_NOT_WHOLE = "Mend what is named (see fsbackup show), then verify again; or restore another point."


@dataclass
class _Verification:
    """One verification while it runs; ``blocked`` is what could not be tried.

    What of that the configuration accepts stands in ``accepted`` instead, with the reason.
    """

    context: JobContext
    repository: Repository
    reader: PointReader
    parts: list[PartManifest]
    timing: Timing
    levels: dict[str, dict[str, object]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    blocked: list[dict[str, str]] = field(default_factory=list)
    accepted: list[dict[str, str]] = field(default_factory=list)
    proofs: dict[str, Proof] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    keepers: Mapping[str, SpareKeeper] = field(default_factory=dict)
    reached: dict[str, Trust] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_copy: bool = False
    signature: Signature = field(default_factory=lambda: Signature("absent"))
    signature_counts: bool = True
    trusted: bool = False
    in_use: AsyncExitStack = field(default_factory=AsyncExitStack)
    plain: dict[str, PointReader] = field(default_factory=dict)

    async def opened(self, part: PartManifest) -> PointReader:
        """Return the reader of a part's plain content, decrypted once and until the end."""
        if part.source not in self.plain:
            decrypted = opened(self.context, self.reader, [part])
            self.plain[part.source] = await self.in_use.enter_async_context(decrypted)
        return self.plain[part.source]


Check = Callable[[_Verification, PartManifest], Awaitable[list[Finding]]]


async def run(request: VerifyRequest, context: JobContext) -> dict[str, object]:
    """Verify a point up to the level asked for; returns the document of ``fsbackup verify``.

    A level that fails ends the climb and is recorded as failed; one that is blocked ends it,
    too. The document's ``ok`` says whether every level held, or was kept from it by nothing but
    what the configuration accepts; damage found is a result, not an error.
    """
    if (file := foreign_file(request.point, context)) is not None:
        return await verify_foreign(file, context, Trust.from_word(request.level))
    repository = open_site_repository(context.loaded, os.environ)
    return await verify_point(
        context,
        repository,
        request.point,
        level=Trust.from_word(request.level),
        keep_spare=request.keep_spare,
        reason_unsigned=request.reason_unsigned,
    )


async def verify_point(
    context: JobContext,
    repository: Repository,
    point: str,
    *,
    level: Trust,
    shown: Collection[Trust] = (),
    keep_spare: bool = False,
    home: Repository | None = None,
    reason_unsigned: str = "",
) -> dict[str, object]:
    """Climb up to ``level`` and record each rung; those of ``shown`` were just seen to hold.

    With ``keep_spare`` every database part that is proven becomes its spare; a suspect one never.
    ``home`` is the site's own repository where ``repository`` is a copy of it, to which nothing
    is written: it may be append-only. What lacks the signature that is demanded becomes no
    spare, and is tried in isolation alone, unless ``reason_unsigned`` says why it is trusted.
    """
    if keep_spare:
        refuse_if_read_only(context.loaded, "keeps no spare")
        level = Trust.PROVEN
    reader = PointReader(repository, point)
    lock = Lock(repository.use_lock(point), what=f"point {point}")
    async with lock.acquire_async(0, context.holder(), shared=True) as held:
        reader.refuse_if_unreadable()
        parts = _parts(reader)
        if reason_unsigned:
            await demand_signature(context, reader, reason=reason_unsigned)
        timing = _timing(
            context, home or repository, parts, phases_to(level, shown, restorable=True)
        )
        context = replace(context, report=timing.report)
        verification = _Verification(
            context, repository, reader, parts, timing, is_copy=home is not None
        )
        verification.trusted = bool(reason_unsigned)
        await _look_at_signature(verification)
        if keep_spare:
            verification.keepers = keepers_of(context, repository, reader, parts)
            _refuse_unsigned_spares(verification)
        if held.note:
            verification.notes.append(held.note)
        if not verification.parts:
            raise PointDamaged(
                f"NOTHING TO VERIFY: {point} has no whole part.",
                why="The backup that wrote it did not end well.",
                fix="Take a new one, or verify another point.",
            )
        async with verification.in_use:
            await _climb_all(verification, level, shown)
    return _document(verification, level)


async def _climb_all(verification: _Verification, level: Trust, shown: Collection[Trust]) -> None:
    for rung in _READ_LEVELS:
        if rung > level or rung in shown:
            continue
        verification.context.stage(rung.word)
        if not await _climb(verification, rung):
            return
    if level >= Trust.RESTORED:
        await _try_out(verification, compare=level is Trust.PROVEN)


async def _look_at_signature(verification: _Verification) -> None:
    context = verification.context
    verification.signature = await signature_in(context, verification.reader)
    if verification.trusted:
        return
    found, blocked = signature_problems(verification.signature, context.loaded)
    verification.findings += found
    verification.blocked += blocked
    verification.signature_counts = not (found or blocked)


def _refuse_unsigned_spares(verification: _Verification) -> None:
    if verification.trusted or not is_demanded(verification.context.loaded):
        return
    signature = verification.signature
    for keeper in verification.keepers.values():
        if signature.state != "good":
            keeper.refuse(
                SpareNotKept(
                    f"SIGNATURE MISSING: {verification.reader.id} is {signature.words}.",
                    why="What is not shown to be ours never stands on the live server.",
                    fix="If you trust it: verify … --keep-spare --reason-unsigned TEXT",
                )
            )


def _timing(
    context: JobContext,
    repository: Repository,
    parts: Sequence[PartManifest],
    phases: Sequence[str],
) -> Timing:
    """Return what measures this verification and foretells its end from the ones before."""
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        runs = catalogue.runs()
    if not any(can_be_restored(part) for part in parts):
        phases = [phase for phase in phases if phase in READING]
    return Timing(context.report, {part.source: part_work(part) for part in parts}, phases, runs)


def can_be_restored(part: PartManifest) -> bool:
    """Whether a trial restore of the part alone shows anything: rows alone have no tables."""
    return part.postgres is not None and part.postgres.scope != "data"


def can_be_tried(part: PartManifest) -> bool:
    """Whether anything above reading a part can show it good."""
    return can_be_restored(part) or site_check(part, Trust.RESTORED) is not None


def _parts(reader: PointReader) -> list[PartManifest]:
    try:
        return reader.parts()
    except PointDamaged as error:
        raise PointDamaged(error.what, why=error.why, fix=RESTORE_ANOTHER) from error


async def _climb(verification: _Verification, level: Trust) -> bool:
    """Check every part at one level and record what was found; returns whether all held."""
    started = time.monotonic()
    outcomes: dict[str, dict[str, object]] = {}
    for part in verification.parts:
        verification.timing.enter(level.word, part.source)
        outcomes[part.source] = await _check_part(verification, part, level)
    verification.timing.leave()
    ok = _all_of([outcome["ok"] for outcome in outcomes.values()])
    seconds = round(time.monotonic() - started, 3)
    at = verification.context.now()
    verification.levels[level.word] = {"ok": ok, "at": format_time(at), "seconds": seconds}
    document: dict[str, object] = {
        "level": level.word,
        "ok": ok,
        "parts": outcomes,
        "seconds": seconds,
    }
    if level is Trust.SEALED and verification.signature.state != "absent":
        document["signature"] = verification.signature.document()
    if ok:
        document[TIMING] = verification.timing.document([level.word])
    _record(verification, document)
    return ok is True


async def _check_part(
    verification: _Verification, part: PartManifest, level: Trust
) -> dict[str, object]:
    """Check one part at one level; without a program that can, the level is blocked."""
    blocked: list[dict[str, str]] = []
    try:
        found = await CHECKS[level](verification, part)
    except (ClientUnsuitable, *BLOCKING) as error:
        found = []
        blocked.append(blocker(part, error))
    verification.findings.extend(found)
    rings, accepted = sort_blocked(verification.context.loaded, part.source, blocked)
    verification.blocked += rings
    verification.accepted += accepted
    if found or not blocked:
        verification.reached[part.source] = Trust.DAMAGED if found else level
    return {
        "ok": None if blocked else not found,
        "problems": [finding.document() for finding in found],
        "blocked": blocked,
    }


async def _prove(verification: _Verification, part: PartManifest, *, compare: bool) -> Proof:
    try:
        reader = await verification.opened(part)
    except KeyUnavailable as error:
        return Proof("-", "blocked", blockers=(Blocker(error.what, error.fix),))
    return await prove_part(
        verification.context,
        verification.repository,
        reader,
        part,
        compare=compare,
        timing=verification.timing,
        keeper=verification.keepers.get(part.source),
        trusted=verification.trusted,
    )


async def _try_out(verification: _Verification, *, compare: bool) -> None:
    """Restore every part that can be, and compare it; both rungs are recorded."""
    context = verification.context
    started = time.monotonic()
    for part in verification.parts:
        if site_check(part, Trust.RESTORED) is not None:
            context.stage("restored")
            site = await _site_part(verification, part)
            verification.trials[part.source] = await try_rung(site, Trust.RESTORED)
            continue
        if not can_be_restored(part):
            if not is_shown_at(part, Trust.READABLE):
                verification.notes.append(_NO_FURTHER.format(part=part.source))
            continue
        context.stage("restored")
        verification.proofs[part.source] = await _prove(verification, part, compare=compare)
    if not verification.proofs and not verification.trials:
        return
    proofs = verification.proofs
    compared = sum(
        proof.phases.get("compare", 0.0) + proof.phases.get("checks", 0.0)
        for proof in proofs.values()
    )
    seconds = time.monotonic() - started - compared
    tried = {source: trial.outcome for source, trial in verification.trials.items()}
    restored = {source: proof.restored for source, proof in proofs.items()}
    everything = {**restored, **tried}
    _take_down(verification, Trust.RESTORED, everything, seconds, with_proof=not compare)
    if compare and set(restored.values()) == {"ok"}:
        proven: dict[str, Outcome] = {
            source: proof.proven or "blocked" for source, proof in proofs.items()
        }
        _take_down(verification, Trust.PROVEN, proven, compared, with_proof=True)
    for proof in proofs.values():
        verification.notes.extend(proof.notes)
    if compare:
        loaded = verification.context.loaded
        # A spare's trial runs beside live, which lacks nothing that a scratch server does.
        elsewhere = {part: proofs[part] for part in proofs if part not in verification.keepers}
        verification.notes += idle_acceptances(loaded, elsewhere, verification.blocked)


def _take_down(
    verification: _Verification,
    level: Trust,
    outcomes: Mapping[str, Outcome],
    seconds: float,
    *,
    with_proof: bool,
) -> None:
    """Note and record how the parts stood up to one of the upper rungs."""
    parts: dict[str, dict[str, object]] = {}
    for source, outcome in outcomes.items():
        found, blocked = _told(verification, source, outcome)
        verification.findings.extend(found)
        rings, accepted = sort_blocked(verification.context.loaded, source, blocked)
        verification.blocked += rings
        verification.accepted += accepted
        if outcome == "ok":
            verification.reached[source] = level
        parts[source] = {
            "ok": _as_truth(outcome),
            "problems": [finding.document() for finding in found],
            "blocked": blocked,
        }
        proof = verification.proofs.get(source)
        if proof is not None and (with_proof or outcome != "ok"):
            parts[source]["proof"] = proof.document()
    ok = _all_of([_as_truth(outcome) for outcome in outcomes.values()])
    rounded = round(seconds, 3)
    at = format_time(verification.context.now())
    verification.levels[level.word] = {"ok": ok, "at": at, "seconds": rounded}
    document: dict[str, object] = {
        "level": level.word,
        "ok": ok,
        "parts": parts,
        "seconds": rounded,
    }
    if ok and with_proof:
        document[TIMING] = verification.timing.document()
    _record(verification, document)


def _told(
    verification: _Verification, source: str, outcome: Outcome
) -> tuple[list[Finding], list[dict[str, str]]]:
    """Return what a trial found wrong with a part, and what kept it from being tried."""
    if (trial := verification.trials.get(source)) is not None:
        return list(trial.findings), [dict(item) for item in trial.blocked]
    proof = verification.proofs[source]
    if outcome == "failed":
        problems = proof.problems()
        return [Finding(source, None, what, _NOT_WHOLE, table) for table, what in problems], []
    if outcome == "blocked":
        found = proof.blocked()
        return [], [{"part": source, "what": item.what, "fix": item.fix} for item in found]
    return [], []


def _as_truth(outcome: Outcome) -> bool | None:
    return {"ok": True, "failed": False, "blocked": None}[outcome]


def _all_of(outcomes: Collection[object]) -> bool | None:
    """Return True where all held, False where one failed, else None: something was blocked."""
    if False in outcomes:
        return False
    return None if None in outcomes else True


def _record(verification: _Verification, document: Mapping[str, object]) -> None:
    context = verification.context
    if verification.is_copy:
        return
    if context.loaded.config.read_only:
        place = context.loaded.place("read_only")
        verification.notes.append(f"Not recorded: {place} says read_only: true.")
        return
    try:
        write_record(
            verification.repository,
            verification.reader.id,
            "verified",
            document,
            now=context.now(),
            job=context.job,
            operator=context.operator,
        )
    except (RepositoryUnwritable, DiskFull) as error:
        note = not_recorded(verification.repository, error)
        if note not in verification.notes:
            verification.notes.append(note)
            context.report(Warned(note))


async def _check_sealed(verification: _Verification, part: PartManifest) -> list[Finding]:
    problems = await asyncio.to_thread(
        verification.reader.check_sealed, part.source, verification.context.report
    )
    return [*sealed_findings(part.source, problems), *broken_findings(verification.signature)]


async def _check_readable(verification: _Verification, part: PartManifest) -> list[Finding]:
    if (check := site_check(part, Trust.READABLE)) is not None:
        return await check(await _site_part(verification, part))
    if part.postgres is None:
        return await files_findings(verification.reader, part)
    context = verification.context
    name = dump_name(part)
    try:
        reader = await verification.opened(part)
        path = reader.path_inside(part.source, name)
        client = await client_for_archive(context, part.postgres)
        await read_through(
            client,
            path,
            part.postgres.format,
            report=context.report,
            redactor=context.redactor,
        )
    except PointDamaged as error:
        return [Finding(part.source, name, error.why or error.what)]
    return []


async def _site_part(verification: _Verification, part: PartManifest) -> SitePart:
    context, reader = verification.context, verification.reader
    keys = await reading_keys(context, reader)
    return SitePart(context, verification.repository, reader, part, keys)


CHECKS: Mapping[Trust, Check] = {Trust.SEALED: _check_sealed, Trust.READABLE: _check_readable}


def _document(verification: _Verification, wanted: Trust) -> dict[str, object]:
    parts = verification.parts
    held = all(
        check["ok"] is True or (check["ok"] is None and not verification.blocked)
        for check in verification.levels.values()
    )
    records = read_records(verification.repository, verification.reader.id)
    standing = judge(parts, records, whole=verification.reader.manifest is not None)
    # What could not be recorded (a read-only repository) still counts for this answer.
    reached = verification.reached
    trust = least(
        Trust.DAMAGED
        if reached.get(part.source) is Trust.DAMAGED
        else max(standing.parts[part.source], reached.get(part.source, Trust.UNVERIFIED))
        for part in parts
    )
    if verification.reader.manifest is None:
        trust = min(trust, Trust.INCOMPLETE)
    return {
        "ok": held
        and verification.signature_counts
        and all(keeper.spare is not None for keeper in verification.keepers.values()),
        "point": verification.reader.id,
        "wanted": wanted.word,
        "trust": trust.word,
        "suspect": list(standing.suspect),
        "signature": verification.signature.document(),
        "levels": verification.levels,
        "problems": [finding.document() for finding in verification.findings],
        "blocked": verification.blocked,
        "accepted": verification.accepted,
        "proofs": {source: proof.summary() for source, proof in verification.proofs.items()},
        "spares": {source: keeper.document() for source, keeper in verification.keepers.items()},
        "notes": list(dict.fromkeys(verification.notes)),
        "phases": verification.timing.seconds(),
        "bytes": verification.timing.work.stored_bytes,
        "database_bytes": verification.timing.work.database_bytes or None,
    }
