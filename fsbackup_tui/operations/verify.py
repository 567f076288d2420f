"""Climbing the trust ladder for a stored point, one level after the other (design §2)."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace

from fsbackup_tui.domain.errors import (
    PointDamaged,
    SpareNotKept,
)
from fsbackup_tui.domain.estimate import READING, phases_to
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.trust import Trust, counted, least
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import (
    RESTORE_ANOTHER,
)
from fsbackup_tui.operations.foreign_trial import foreign_file, verify_foreign
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_view import borrowing
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.operations.signatures import (
    demand_signature,
    is_demanded,
    signature_in,
    signature_problems,
)
from fsbackup_tui.operations.spare import keepers_of
from fsbackup_tui.operations.status import (
    open_catalogue,
    open_site_repository,
    site_repository_or_none,
)
from fsbackup_tui.operations.timing import Timing, part_work
from fsbackup_tui.operations.verification import Verification
from fsbackup_tui.operations.verify_rungs import can_be_restored, climb, try_out
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records
from fsbackup_tui.repository.standing import judge

_READ_LEVELS = (Trust.SEALED, Trust.READABLE)


async def run(request: VerifyRequest, context: JobContext) -> dict[str, object]:
    """Verify a point up to the level asked for; returns the document of ``fsbackup verify``.

    A level that fails ends the climb of its part and is recorded as failed; one that is blocked
    ends it, too. The document's ``ok`` says whether every level held, or was kept from it by
    nothing but what the configuration accepts; damage found is a result, not an error.
    """
    if (file := foreign_file(request.point, context)) is not None:
        return await verify_foreign(file, context, Trust.from_word(request.level))
    context = await borrowing(context, request.replica, request.point)
    copy = context.borrowed
    home = site_repository_or_none(context.loaded, os.environ) if copy is not None else None
    return await verify_point(
        context,
        copy or open_site_repository(context.loaded, os.environ),
        request.point,
        level=Trust.from_word(request.level),
        home=home or copy,
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
    if home is None:
        await bring_here(context, repository, point)
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
        verification = Verification(
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


async def _climb_all(verification: Verification, level: Trust, shown: Collection[Trust]) -> None:
    for rung in _READ_LEVELS:
        if rung > level or rung in shown:
            continue
        verification.context.stage(rung.word)
        if not await climb(verification, rung):
            return
    if level >= Trust.RESTORED:
        await try_out(verification, compare=level is Trust.PROVEN)


async def _look_at_signature(verification: Verification) -> None:
    context = verification.context
    verification.signature = await signature_in(context, verification.reader)
    if verification.trusted:
        return
    found, blocked = signature_problems(verification.signature, context.loaded)
    verification.findings += found
    verification.blocked += blocked
    verification.signature_counts = not (found or blocked)


def _refuse_unsigned_spares(verification: Verification) -> None:
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
    if repository is context.borrowed:
        # The site's own catalogue is of another place, and must not be compared with this one.
        with Catalogue.of_copy(repository) as catalogue:
            runs = catalogue.runs()
    else:
        with open_catalogue(context.loaded, os.environ, repository) as catalogue:
            runs = catalogue.runs()
    if not any(can_be_restored(part) for part in parts):
        phases = [phase for phase in phases if phase in READING]
    return Timing(context.report, {part.source: part_work(part) for part in parts}, phases, runs)


def _parts(reader: PointReader) -> list[PartManifest]:
    try:
        return reader.parts()
    except PointDamaged as error:
        raise PointDamaged(error.what, why=error.why, fix=RESTORE_ANOTHER) from error


def _reached(known: Trust, now: Trust | None) -> Trust:
    if now is None or now is Trust.DAMAGED:
        return known if now is None else now
    return max(known, now)


def _document(verification: Verification, wanted: Trust) -> dict[str, object]:
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
        counted(part.kind, _reached(standing.parts[part.source], reached.get(part.source)))
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
