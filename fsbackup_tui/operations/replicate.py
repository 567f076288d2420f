"""Copies elsewhere: what is missing on the replicas is sent, and a share of them is read back.

Several replicas are served one after the other; one that fails does not stop the next. Nothing
is deleted anywhere.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence

from fsbackup_tui.domain.errors import (
    FsbackupError,
    LockHeld,
    PointDamaged,
    SafetyRefusal,
    UsageError,
    WriterRetired,
)
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_check import (
    LastReads,
    listed_wrong,
    read_back,
    record_wrong,
)
from fsbackup_tui.operations.replica_open import meet, open_far
from fsbackup_tui.operations.replica_outcome import Outcome, replicate_document
from fsbackup_tui.operations.replica_seals import Seals
from fsbackup_tui.operations.replica_send import Far, Listing, send_point
from fsbackup_tui.operations.replica_writers import heed_retirements, send_beside_points
from fsbackup_tui.operations.requests import ReplicateRequest
from fsbackup_tui.operations.status import open_catalogue, open_site_repository, site_zone
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.not_here import FILE_SCHEME, NotHere, points_not_here
from fsbackup_tui.repository.points import resolve_point
from fsbackup_tui.repository.removals import begun_removals
from fsbackup_tui.repository.replica_layout import Stored, point_path, record_names, stored_files


async def run(request: ReplicateRequest, context: JobContext) -> dict[str, object]:
    """Bring the replicas up to date, or check them; returns the document of ``replicate``.

    Raises:
        UsageError: there is no such replica, or none at all; no such point.
        SafetyRefusal: the configuration is read only.
        WriterRetired: another machine took this one's place.
    """
    refuse_if_read_only(context.loaded, "sends no copies")
    home = open_site_repository(context.loaded, os.environ)
    names = chosen_replicas(request, context)
    points = _points(context, home)
    wanted: set[str] | None = None
    if request.point:
        zone = site_zone(context.loaded)
        wanted = {resolve_point(points, request.point, zone=zone, any_trust=True).id}
    outcomes = []
    for name in names:
        context.stage(name)
        asked = [point for point in points if _is_for(point, name, context, wanted)]
        outcomes.append(
            await replicate_to(
                context, home, name, asked, check=request.check, named=bool(request.point)
            )
        )
    return replicate_document(outcomes, check=request.check)


async def replicate_plan(
    context: JobContext, home: Repository, plan: str, names: Sequence[str]
) -> list[Outcome]:
    """Bring a plan's replicas up to date with its points."""
    points = [point for point in _points(context, home) if point.plan == plan]
    outcomes = []
    for name in names:
        context.stage(name)
        outcomes.append(await replicate_to(context, home, name, points))
    return outcomes


def chosen_replicas(request: ReplicateRequest, context: JobContext) -> tuple[str, ...]:
    """Return the replicas asked for; all of the configuration where none is named."""
    known = context.loaded.config.replicas
    for name in request.replicas:
        if name not in known:
            raise UsageError(
                f"NO SUCH REPLICA: {name}.",
                why=f"In {context.loaded.path} there are: {', '.join(known) or 'none'}.",
                fix="Name one of them, or add it below replicas: in the config.",
            )
    if not known:
        raise UsageError(
            "NO REPLICAS: the configuration names none.",
            fix=f"Add replicas: to {context.loaded.path}, and name them in a plan.",
        )
    return tuple(dict.fromkeys(request.replicas)) or tuple(known)


def _points(context: JobContext, home: Repository) -> list[PointSummary]:
    with open_catalogue(context.loaded, os.environ, home) as catalogue:
        return catalogue.points(own=True)


def _is_for(point: PointSummary, name: str, context: JobContext, wanted: set[str] | None) -> bool:
    """Whether a point goes to a replica: it was named, its plan says so, or it is there."""
    if wanted is not None:
        return point.id in wanted
    plan = context.loaded.config.plans.get(point.plan)
    known = next((copy.state for copy in point.copies if copy.replica == name), None)
    if known == "removed":
        # By the replica's own rules: to send it again would undo what a person decided.
        return False
    return known is not None or (plan is not None and name in plan.replicas)


async def replicate_to(
    context: JobContext,
    home: Repository,
    name: str,
    points: Sequence[PointSummary],
    *,
    check: bool = False,
    named: bool = False,
) -> Outcome:
    """Bring one replica up to date with these points, the newest first.

    What fails is in the outcome; raised is WriterRetired alone.

    With ``check`` nothing is sent: all that should be there is read back. ``named``: the points
    were asked for by name, so that one that can't go is a failure.
    """
    outcome = Outcome(name)
    started = time.monotonic()
    try:
        far = await open_far(
            context.loaded, context.environment, context.redactor, context.work, name
        )
        lock = Lock(home.locks / f"replica-{name}.lock", what=f"replica {name}")
        async with lock.acquire_async(0, context.holder()):
            await _work(context, home, far, points, outcome, check=check, named=named)
    except WriterRetired:
        raise
    except FsbackupError as error:
        outcome.problem = error.problem()
        context.report(Warned(f"{name}: {error.what}"))
    outcome.seconds = time.monotonic() - started
    return outcome


async def _work(
    context: JobContext,
    home: Repository,
    far: Far,
    points: Sequence[PointSummary],
    outcome: Outcome,
    *,
    check: bool,
    named: bool,
) -> None:
    context.report(Log(f"Replica {far.name}: {far.remote.describe}"))
    elsewhere = points_not_here(home)
    fit = [
        point for point in points if _may_go(point, outcome, elsewhere.get(point.id), named=named)
    ]
    seals = Seals(context, home)
    try:
        if not check and (first := _next_to_send(fit, far.name)) is not None:
            seals.look_ahead(first)
        await _serve(context, home, far, fit, outcome, seals, check=check)
    finally:
        await seals.close()


def _next_to_send(points: Sequence[PointSummary], name: str) -> str | None:
    return next((point.id for point in points if not _is_whole_there(point, name)), None)


async def _serve(
    context: JobContext,
    home: Repository,
    far: Far,
    fit: Sequence[PointSummary],
    outcome: Outcome,
    seals: Seals,
    *,
    check: bool,
) -> None:
    listing = {file.path: file for file in await far.remote.list()}
    last = LastReads(site_state(context.loaded, os.environ, home), far.name)
    fit = _not_leaving(far, fit, listing, outcome)
    if not check:
        await heed_retirements(home, far, listing, require_writer(context, home))
        outcome.notes += await meet(home, far, listing, context.work)
        await send_beside_points(home, far, listing)
    await _find_missing(context, home, far, fit, listing, outcome)
    if check:
        await _read(context, home, far, fit, outcome, last, everything=True)
        return
    wrong = set(outcome.read.wrong) | {
        point.id
        for point in fit
        if any(copy.replica == far.name and copy.state == "wrong" for copy in point.copies)
    }
    await _send_all(context, home, far, fit, listing, outcome, wrong, seals)
    found = await _read(context, home, far, fit, outcome, last, everything=False)
    if found:
        again = [point for point in fit if point.id in found]
        await _send_all(context, home, far, again, listing, outcome, found, seals)
    both = _send_records(home, far, fit, listing, outcome), _ask_for_lock(far, fit, outcome)
    for failed in await asyncio.gather(*both, return_exceptions=True):
        if failed is not None:
            raise failed


def _not_leaving(
    far: Far, points: Sequence[PointSummary], listing: Listing, outcome: Outcome
) -> list[PointSummary]:
    """Return the points without those of which the removal there was begun, and not finished."""
    begun = begun_removals(listing.keys())
    again = f"fsbackup retain --replica {far.name} --apply"
    outcome.skipped += [
        {"point": point.id, "why": "its removal there is not finished", "fix": again}
        for point in points
        if point.id in begun
    ]
    return [point for point in points if point.id not in begun]


async def _ask_for_lock(far: Far, points: Sequence[PointSummary], outcome: Outcome) -> None:
    done = {*outcome.sent, *outcome.mended}
    newest = next((point.id for point in points if point.id in done), None)
    if newest is not None and far.settings.object_lock == "auto":
        outcome.lock = await far.remote.lock_of(point_path(newest, MANIFEST_NAME))


def _may_go(
    point: PointSummary, outcome: Outcome, elsewhere: NotHere | None, *, named: bool
) -> bool:
    if elsewhere is not None and elsewhere.origin == outcome.name:
        # It is where it came from: what this machine never had it can't compare.
        return False
    if elsewhere is not None:
        why = f"it lies at {elsewhere.origin.removeprefix(FILE_SCHEME)}, and not here yet"
    elif point.running:
        why = "it is being written"
    elif point.trust is Trust.DAMAGED:
        why = "it is damaged here"
    elif not point.whole:
        why = "it was never finished"
    else:
        return True
    what = {"point": point.id, "why": why, "fix": f"fsbackup show {point.id}"}
    (outcome.refused if named else outcome.skipped).append(what)
    return False


def _is_whole_there(point: PointSummary, name: str) -> bool:
    return any(copy.replica == name and copy.state == "whole" for copy in point.copies)


async def _find_missing(
    context: JobContext,
    home: Repository,
    far: Far,
    points: Sequence[PointSummary],
    listing: Listing,
    outcome: Outcome,
) -> None:
    """Record which points that should be whole there are plainly not, by the listing alone."""
    for point in points:
        if not _is_whole_there(point, far.name):
            continue
        wrong = listed_wrong(point.id, stored_files(home, point.id), listing)
        if wrong:
            outcome.read.wrong[point.id] = wrong
            record_wrong(context, home, far, point.id, wrong)
            context.report(Warned(f"{far.name} lost of {point.id}: {wrong[0]}"))


async def _send_all(
    context: JobContext,
    home: Repository,
    far: Far,
    points: Sequence[PointSummary],
    listing: Listing,
    outcome: Outcome,
    wrong: set[str],
    seals: Seals,
) -> None:
    for number, point in enumerate(points):
        known = _is_whole_there(point, far.name) and point.id not in wrong
        ahead = _next_to_send(points[number + 1 :], far.name)
        try:
            sent = await send_point(
                context, home, far, point.id, listing, seals, known=known, ahead=ahead
            )
        except (PointDamaged, SafetyRefusal, LockHeld) as error:
            context.report(Warned(f"{far.name}: {error.what}"))
            told = {"point": point.id, "what": error.what, "why": error.why, "fix": error.fix}
            outcome.refused.append(told)
            continue
        if sent is None:
            outcome.whole += 1
            continue
        outcome.bytes += sent.bytes
        (outcome.mended if point.id in wrong else outcome.sent).append(point.id)
        context.report(Log(f"{point.id} is whole on {far.name}"))


async def _read(
    context: JobContext,
    home: Repository,
    far: Far,
    points: Sequence[PointSummary],
    outcome: Outcome,
    last: LastReads,
    *,
    everything: bool,
) -> set[str]:
    """Read back what should be whole there; returns the points of which something is wrong."""
    refused = {told["point"] for told in outcome.refused}
    done = {*outcome.sent, *outcome.mended}
    with open_catalogue(context.loaded, os.environ, home) as catalogue:
        now = {point.id: catalogue.point(point.id) or point for point in points}
    there: dict[str, tuple[PointSummary, Mapping[str, Stored]]] = {
        point.id: (now[point.id], stored_files(home, point.id))
        for point in points
        if point.id not in refused
        and point.id not in (set(outcome.read.wrong) - done)
        and (point.id in done or _is_whole_there(now[point.id], far.name))
    }
    found = await read_back(context, home, far, there, last, everything=everything)
    for point, what in found.wrong.items():
        context.report(Warned(f"{far.name} has {point} altered: {what[0]}"))
    outcome.read.files, outcome.read.bytes = found.files, found.bytes
    outcome.read.of_bytes = found.of_bytes
    outcome.read.wrong |= found.wrong
    return set(found.wrong)


async def _send_records(
    home: Repository,
    far: Far,
    points: Sequence[PointSummary],
    listing: Listing,
    outcome: Outcome,
) -> None:
    """Send the facts about the points that are there; their files never change."""
    done = {*outcome.sent, *outcome.mended}
    fresh: list[str] = []
    cut: list[str] = []
    for point in points:
        if point.id not in done and not _is_whole_there(point, far.name):
            continue
        for path, size in record_names(home, point.id).items():
            file = listing.get(path)
            if file is None:
                fresh.append(path)
            elif file.bytes != size:
                cut.append(path)
    await far.remote.put(home.root, fresh)
    await far.remote.put(home.root, cut, replace=True)
    outcome.records = len(fresh) + len(cut)
