"""Proving again what lies in the repository: the oldest proof first, within a time budget."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fsbackup_tui.config.model import Plan
from fsbackup_tui.domain.errors import FsbackupError, LockHeld
from fsbackup_tui.domain.estimate import MeasuredRun, expect, phases_to, total
from fsbackup_tui.domain.events import Event, Log, Remaining, Report, Warned, format_time
from fsbackup_tui.domain.point import PointSummary, work_of
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import verification_texts
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.requests import VerifyDueRequest
from fsbackup_tui.operations.status import open_catalogue, open_site_repository
from fsbackup_tui.operations.verify import verify_point
from fsbackup_tui.operations.verify_rungs import can_be_tried
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.not_here import points_not_here
from fsbackup_tui.repository.reader import PointReader

_FORETOLD = 50
_NEVER = datetime.fromtimestamp(0, UTC)
_FIX = "fsbackup show POINT tells what is wrong; take a new backup, restore another one"


@dataclass(frozen=True, slots=True)
class DuePoint:
    """A point that is to be shown good again, up to ``level``.

    ``tried`` is when that was last tried, None for never; ``proven`` when it last held.
    """

    point: PointSummary
    level: Trust
    tried: datetime | None
    proven: datetime | None


def due_points(
    points: Iterable[PointSummary], plans: Mapping[str, Plan], now: datetime
) -> list[DuePoint]:
    """Return the points whose proof is older than their plan's ``verify_every``.

    Those that were never tried come first, then the oldest try; of two alike the newer point.
    What failed is tried again after the same time: it would else keep the others from their turn.
    """
    due = []
    for point in points:
        plan = plans.get(point.plan)
        if plan is None or plan.verify_every is None or point.foreign or not point.whole:
            continue
        level = Trust.from_word(plan.verify)
        tried = last_try(point, level)
        if tried is None or now - tried >= plan.verify_every:
            due.append(DuePoint(point, level, tried, _last_success(point, level)))
    due.sort(key=lambda item: item.point.created, reverse=True)
    due.sort(key=lambda item: item.tried or _NEVER)
    return due


def last_try(point: PointSummary, level: Trust) -> datetime | None:
    """Return when a climb to the level last ended, there or at a lower rung that did not hold."""
    ends = [
        check.at
        for word, check in point.levels.items()
        if (rung := Trust.from_word(word)) == level or (rung < level and check.ok is not True)
    ]
    return max(ends, default=None)


def _last_success(point: PointSummary, level: Trust) -> datetime | None:
    check = point.levels.get(level.word)
    return check.at if check is not None and check.ok else None


def expected_seconds(item: DuePoint, runs: Sequence[MeasuredRun]) -> float | None:
    """Return how long the verification of a point will take; None where nothing tells."""
    spans = expect(runs, work_of(item.point), phases_to(item.level, restorable=True))
    return None if spans is None else total(spans.values()).seconds


async def run(request: VerifyDueRequest, context: JobContext) -> dict[str, object]:
    """Verify what is due until the budget is used up, one point at least; returns the document.

    One point that fails, or is in use, keeps the others from nothing. The document's ``ok`` says
    whether all that was verified held; ``left`` is what is still due.
    """
    refuse_if_read_only(context.loaded, "records no proofs")
    repository = open_site_repository(context.loaded, os.environ)
    lock = Lock(repository.due_lock(), what="verify --due")
    async with lock.acquire_async(0, context.holder()):
        return await _work_off(request, context, repository)


async def _work_off(
    request: VerifyDueRequest, context: JobContext, repository: Repository
) -> dict[str, object]:
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        points, runs = catalogue.points(own=True), catalogue.runs()
    # What lies elsewhere is read back there; all of it would be fetched for a proof.
    elsewhere = points_not_here(repository)
    points = [point for point in points if point.id not in elsewhere]
    due = due_points(points, context.loaded.config.plans, context.now())
    started = time.monotonic()
    verified: list[dict[str, object]] = []
    left: list[dict[str, object]] = []
    for number, item in enumerate(due):
        level = _reachable(context, repository, item)
        if level is None:
            continue
        item = replace(item, level=level)
        expected = expected_seconds(item, runs)
        budget = request.budget_seconds
        room = None if budget is None else budget - (time.monotonic() - started) - (expected or 0.0)
        if verified and room is not None and room < 0:
            left += _left(due[number:], runs)
            break
        later = _time_of_later(due[number + 1 :], runs, room)
        outcome = await _verify(context, repository, item, later)
        if outcome is not None:
            verified.append(outcome)
        elif repository.point_directory(item.point.id).is_dir():
            left += _left([item], runs)
    return {
        "ok": all(outcome["ok"] for outcome in verified),
        "verified": verified,
        "left": left,
        "budget_seconds": request.budget_seconds,
        "seconds": round(time.monotonic() - started, 3),
        "asked_for": any(
            plan.verify_every is not None for plan in context.loaded.config.plans.values()
        ),
        "problems": [
            {"part": None, "artifact": None, "table": None, "what": text, "fix": _FIX}
            for outcome in verified
            for text in _texts(outcome)
        ],
    }


def _reachable(context: JobContext, repository: Repository, item: DuePoint) -> Trust | None:
    """Return how far the point can be shown good at all; None where that was done in time.

    A point of data alone ends at readable, so that the rungs above it neither hold nor fail.
    """
    checked = item.point.levels.get(Trust.READABLE.word)
    if item.level < Trust.RESTORED or item.tried is not None or checked is None:
        return item.level
    try:
        parts = PointReader(repository, item.point.id).parts()
    except FsbackupError:
        return item.level  # its verification tells what is wrong with it
    if any(can_be_tried(part) for part in parts):
        return item.level
    every = context.loaded.config.plans[item.point.plan].verify_every
    in_time = every is not None and context.now() - checked.at < every
    return None if in_time else Trust.READABLE


def _time_of_later(
    due: Sequence[DuePoint], runs: Sequence[MeasuredRun], room: float | None
) -> float | None:
    """Return how long the points will take that come after one; None where nobody can tell."""
    seconds = 0.0
    if len(due) > _FORETOLD and room is None:
        return None
    for item in due[:_FORETOLD]:
        expected = expected_seconds(item, runs)
        if expected is None:
            return None
        if room is not None and seconds + expected > room:
            break
        seconds += expected
    return seconds


def _with_later(report: Report, later: float | None) -> Report:
    """Return a report that adds the points still to come to what remains of one."""

    def told(event: Event) -> None:
        if isinstance(event, Remaining) and event.seconds is not None:
            if later is None:
                return
            event = Remaining(event.seconds + later, event.low + later, event.high + later)
        report(event)

    return told


async def _verify(
    context: JobContext, repository: Repository, item: DuePoint, later: float | None
) -> dict[str, object] | None:
    """Verify one point as a stage of its own; None where that can't be, so that nothing failed.

    One that is in use stays due; one that retention has removed meanwhile does not.
    """
    point = item.point.id
    context.stage(point)
    within = replace(
        context,
        stage=lambda name: context.report(Log(f"Verifying: {name}")),
        report=_with_later(context.report, later),
    )
    started = time.monotonic()
    if not repository.point_directory(point).is_dir():
        context.report(Log(f"{point} has left meanwhile: retention removed it"))
        return None
    try:
        document = await verify_point(within, repository, point, level=item.level)
    except LockHeld as error:
        context.report(Warned(f"{point} is left for the next time: {error.what}"))
        return None
    except FsbackupError as error:
        context.report(Warned(f"{point}: {error.what}"))
        document = {"ok": False, "trust": item.point.trust.word, "problems": [{"what": error.what}]}
    return {
        "point": point,
        "plan": item.point.plan,
        "wanted": item.level.word,
        "ok": document["ok"],
        "trust": document["trust"],
        "seconds": round(time.monotonic() - started, 3),
        "problems": document["problems"],
        "blocked": document.get("blocked", []),
        "accepted": document.get("accepted", []),
    }


def _left(due: Sequence[DuePoint], runs: Sequence[MeasuredRun]) -> list[dict[str, object]]:
    """Return what stays due; of many, only the next ones with how long they will take."""
    listed: list[dict[str, object]] = []
    for number, item in enumerate(due):
        expected = expected_seconds(item, runs) if number < _FORETOLD else None
        listed.append(
            {
                "point": item.point.id,
                "plan": item.point.plan,
                "wanted": item.level.word,
                "proven": None if item.proven is None else format_time(item.proven),
                "expected_seconds": None if expected is None else round(expected, 1),
            }
        )
    return listed


def _texts(outcome: Mapping[str, object]) -> list[str]:
    found = [] if outcome["ok"] else verification_texts(outcome)
    return [f"{outcome['point']}: {text}" for text in found]
