"""The rungs of the trust ladder, each tried on every part that is still climbing (design §2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from fsbackup_tui.domain.errors import ClientUnsuitable, KeyUnavailable, PointDamaged
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.proof import Blocker, Outcome, Proof
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.postgres.archive import read_through
from fsbackup_tui.operations.accepting import idle_acceptances, sort_blocked
from fsbackup_tui.operations.clients import client_for_archive
from fsbackup_tui.operations.filling import dump_name
from fsbackup_tui.operations.findings import Finding, sealed_findings
from fsbackup_tui.operations.foreign import files_findings
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.link_proof import links_outcome
from fsbackup_tui.operations.proof import prove_part
from fsbackup_tui.operations.signatures import broken_findings
from fsbackup_tui.operations.verification import Verification, all_of, as_truth, record
from fsbackup_tui.operations.verify_parts import (
    BLOCKING,
    SitePart,
    blocker,
    is_shown_at,
    site_check,
    try_rung,
)
from fsbackup_tui.repository.measured import TIMING

_NO_FURTHER = "{part}: readable is as far as a part of this kind is shown good by itself"
_NOT_WHOLE = "Mend what is named (see fsbackup show), then verify again; or restore another point."

Check = Callable[[Verification, PartManifest], Awaitable[list[Finding]]]


def can_be_restored(part: PartManifest) -> bool:
    """Whether a trial restore of the part alone shows anything: rows alone have no tables."""
    return part.postgres is not None and part.postgres.scope != "data"


def can_be_tried(part: PartManifest) -> bool:
    """Whether anything above reading a part can show it good."""
    return can_be_restored(part) or site_check(part, Trust.RESTORED) is not None


async def climb(verification: Verification, level: Trust) -> bool:
    """Check the parts at one level and record what was found; returns whether one still climbs.

    A broken code or configuration takes no proof from the database and the files.
    """
    started = time.monotonic()
    outcomes: dict[str, dict[str, object]] = {}
    for part in verification.climbing():
        verification.timing.enter(level.word, part.source)
        outcomes[part.source] = await _check_part(verification, part, level)
    verification.timing.leave()
    ok = all_of([outcome["ok"] for outcome in outcomes.values()])
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
    record(verification, document)
    verification.out |= {source for source, found in outcomes.items() if found["ok"] is not True}
    return bool(verification.climbing())


async def _check_part(
    verification: Verification, part: PartManifest, level: Trust
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


async def _prove(verification: Verification, part: PartManifest, *, compare: bool) -> Proof:
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


async def try_out(verification: Verification, *, compare: bool) -> None:
    """Restore every part that can be, and compare it; both rungs are recorded."""
    context = verification.context
    started = time.monotonic()
    for part in verification.climbing():
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
    proven: dict[str, Outcome] = {
        source: proof.proven or "blocked" for source, proof in proofs.items()
    }
    for part in verification.climbing():
        if is_shown_at(part, Trust.PROVEN) and tried.get(part.source) == "ok":
            links = links_outcome(verification.reader.manifest, proofs, part.source)
            verification.links[part.source] = links
            verification.notes.extend(f"{part.source}: {note}" for note in links.notes)
            proven[part.source] = links.outcome
    if compare and proven and set(restored.values()) <= {"ok"}:
        _take_down(verification, Trust.PROVEN, proven, compared, with_proof=True)
    for proof in proofs.values():
        verification.notes.extend(proof.notes)
    if compare:
        loaded = verification.context.loaded
        # A spare's trial runs beside live, which lacks nothing that a scratch server does.
        elsewhere = {part: proofs[part] for part in proofs if part not in verification.keepers}
        verification.notes += idle_acceptances(loaded, elsewhere, verification.blocked)


def _take_down(
    verification: Verification,
    level: Trust,
    outcomes: Mapping[str, Outcome],
    seconds: float,
    *,
    with_proof: bool,
) -> None:
    """Note and record how the parts stood up to one of the upper rungs."""
    parts: dict[str, dict[str, object]] = {}
    for source, outcome in outcomes.items():
        found, blocked = _told(verification, source, outcome, level)
        verification.findings.extend(found)
        rings, accepted = sort_blocked(verification.context.loaded, source, blocked)
        verification.blocked += rings
        verification.accepted += accepted
        if outcome == "ok":
            verification.reached[source] = level
        parts[source] = {
            "ok": as_truth(outcome),
            "problems": [finding.document() for finding in found],
            "blocked": blocked,
        }
        proof = verification.proofs.get(source)
        if proof is not None and (with_proof or outcome != "ok"):
            parts[source]["proof"] = proof.document()
    ok = all_of([as_truth(outcome) for outcome in outcomes.values()])
    rounded = round(seconds, 3)
    at = format_time(verification.context.now())
    verification.levels[level.word] = {"ok": ok, "at": at, "seconds": rounded}
    document: dict[str, object] = {
        "level": level.word,
        "ok": ok,
        "parts": parts,
        "seconds": rounded,
    }
    if ok and with_proof and verification.proofs:
        document[TIMING] = verification.timing.document()
    record(verification, document)


def _told(
    verification: Verification, source: str, outcome: Outcome, level: Trust
) -> tuple[list[Finding], list[dict[str, str]]]:
    """Return what a trial found wrong with a part, and what kept it from being tried."""
    links = verification.links.get(source)
    if links is not None and level is Trust.PROVEN:
        return (
            [Finding(source, None, what, _NOT_WHOLE) for what in links.problems],
            [{"part": source, "what": item.what, "fix": item.fix} for item in links.blocked],
        )
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


async def _check_sealed(verification: Verification, part: PartManifest) -> list[Finding]:
    problems = await asyncio.to_thread(
        verification.reader.check_sealed, part.source, verification.context.report
    )
    return [*sealed_findings(part.source, problems), *broken_findings(verification.signature)]


async def _check_readable(verification: Verification, part: PartManifest) -> list[Finding]:
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
    return await _beside_dump(verification, part)


async def _beside_dump(verification: Verification, part: PartManifest) -> list[Finding]:
    """Read what lies encrypted beside a dump: the schema, the roles, the list, files kept with it.

    No trial restore uses it, and what is in it is told by its hash alone.
    """
    reader, found = verification.reader, []
    stored = [a for a in part.artifacts if a.role != "dump" and a.plain_sha256 is not None]
    keys = await reading_keys(verification.context, reader) if stored else ReadingKeys()
    for artifact in stored:
        try:
            path = reader.artifact_path(part.source, artifact)
            await read_artifact(path, artifact, keys, lambda _stream: None)
        except PointDamaged as error:
            found.append(Finding(part.source, artifact.path, error.why or error.what))
    return found


async def _site_part(verification: Verification, part: PartManifest) -> SitePart:
    context, reader = verification.context, verification.reader
    keys = await reading_keys(context, reader)
    return SitePart(context, verification.repository, reader, part, keys)


CHECKS: Mapping[Trust, Check] = {Trust.SEALED: _check_sealed, Trust.READABLE: _check_readable}
