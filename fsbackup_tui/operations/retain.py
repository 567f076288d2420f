"""Retention at work: points that no rule keeps go to the trash, and from there for good.

What leaves is decided anew here, whatever a face has shown, and looked at once more, point by
point, when its lock is held: its manifest, its pin, and whether an incident was opened meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    FsbackupError,
    PointDamaged,
    RepositoryError,
    SafetyRefusal,
)
from fsbackup_tui.domain.events import Log, Progress, Warned
from fsbackup_tui.domain.retention import Candidate
from fsbackup_tui.domain.retention_guard import Refusal, clock_known
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.retain_look import (
    RetentionLook,
    look,
    open_incidents,
    trash_document,
)
from fsbackup_tui.operations.retain_requests import (
    EmptyTrashRequest,
    RetainRequest,
    TakeBackRequest,
)
from fsbackup_tui.operations.retain_state import (
    RetainState,
    read_retain_state,
    write_retain_state,
)
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.holds import release_closed
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.pins import write_pin
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import pin_in, read_records
from fsbackup_tui.repository.trash import (
    Who,
    find_in_trash,
    free,
    list_trash,
    move_to_trash,
    past_grace,
    settle_trash,
    take_back,
)

TAKEN_BACK = "taken back out of the trash"
_LOCK_SECONDS = 60.0


@dataclass
class Removal:
    """What became of one run: which points were moved, what was freed, what could not be.

    ``held`` says of which plans nothing was freed, and why. ``failure`` is what went wrong, if
    anything did; that a point stays for a reason is none.
    """

    removed: list[str] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    problems: list[dict[str, object]] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    failure: FsbackupError | None = None


async def run(request: RetainRequest, context: JobContext) -> dict[str, object]:
    """Remove what leaves; returns the document of ``retain --apply``.

    Raises:
        SafetyRefusal: nothing may be removed now; says why.
        ConfirmationNeeded: the site's name has to be typed.
    """
    refuse_if_read_only(context.loaded, "removes no points")
    repository = open_site_repository(context.loaded, os.environ)
    require_writer(context, repository)
    async with _alone(context, repository):
        await _settle(context, repository)
        context.stage("decide")
        looked = await _look(context, repository, None, confirmed=request.confirmed)
        _remember(context, repository, looked, "")
        if looked.decision.refusals:
            raise refused(looked.decision.refusals, context.loaded.config.site)
        document = await asyncio.to_thread(looked.document, repository)
        context.stage("remove")
        removal = Removal()
        await _remove(context, repository, looked, request.points, removal)
        context.stage("free")
        await _free(context, repository, looked, removal)
    return {
        **document,
        "ok": not removal.problems,
        "applied": True,
        "removed": removal.removed,
        "freed": removal.freed,
        "freed_bytes": removal.freed_bytes,
        "trash": _trash(repository, looked),
        "problems": removal.problems,
    }


async def retain_plan(context: JobContext, repository: Repository, plan: str) -> dict[str, object]:
    """Remove what leaves of one plan, behind its run; a refusal is told, and is no failure.

    Returns what the stage tells: the points that were removed, the bytes that came free, and the
    refusals.

    Raises:
        LockHeld: retention runs already.
        RepositoryError: a point could not be moved, or freed.
    """
    async with _alone(context, repository):
        await _settle(context, repository)
        looked = await _look(context, repository, plan, confirmed=False)
        _remember(context, repository, looked, plan)
        removal = Removal()
        for refusal in looked.decision.refusals:
            context.report(Warned(f"No point of {plan} was removed: {refusal.what}"))
        if not looked.decision.refusals:
            await _remove(context, repository, looked, None, removal)
        await _free(context, repository, looked, removal)
    if removal.failure is not None:
        raise removal.failure
    return {
        "removed": removal.removed,
        "freed": removal.freed,
        "freed_bytes": removal.freed_bytes,
        "refusals": [refusal.document() for refusal in looked.decision.refusals],
        "problems": removal.problems,
    }


async def run_take_back(request: TakeBackRequest, context: JobContext) -> dict[str, object]:
    """Bring a point back, pinned; returns the document of ``retain --take-back``.

    Raises:
        PointNotFound: no such point lies in the trash.
        SafetyRefusal: one of its id stands among the points.
    """
    refuse_if_read_only(context.loaded, "takes nothing back")
    repository = open_site_repository(context.loaded, os.environ)
    require_writer(context, repository)
    async with _alone(context, repository):
        await _settle(context, repository)
        context.stage("take back")
        trashed = find_in_trash(repository, request.point)
        await asyncio.to_thread(take_back, repository, trashed.id, _who(context))
        pinned = pin_in(read_records(repository, trashed.id))
        if not pinned:
            _pin(context, repository, trashed.id, TAKEN_BACK)
    return {
        "ok": True,
        "point": trashed.id,
        "path": str(repository.point_directory(trashed.id)),
        "pinned": pinned or TAKEN_BACK,
    }


async def run_empty(_: EmptyTrashRequest, context: JobContext) -> dict[str, object]:
    """Free what is past its grace; returns the document of ``retain --empty``.

    Raises:
        SafetyRefusal: an incident is open, or the clock can't be believed.
    """
    refuse_if_read_only(context.loaded, "frees nothing")
    repository = open_site_repository(context.loaded, os.environ)
    require_writer(context, repository)
    async with _alone(context, repository):
        await _settle(context, repository)
        looked = await _look(context, repository, None, confirmed=False)
        if looked.guard.incidents or looked.clock:
            raise SafetyRefusal(
                "NOT FREED: what lies in the trash stays there.",
                why=looked.clock or f"An incident is open: {', '.join(looked.guard.incidents)}.",
                fix="Set the clock right; if it is: fsbackup retain --apply --confirm "
                f"{context.loaded.config.site}"
                if looked.clock
                else "Close it first: fsbackup incidents",
            )
        context.stage("free")
        removal = Removal()
        await _free(context, repository, looked, removal)
    return {
        "ok": not removal.problems,
        "freed": removal.freed,
        "bytes": removal.freed_bytes,
        "held": list(removal.held.values()),
        "trash": _trash(repository, looked),
        "problems": removal.problems,
    }


def refused(
    refusals: Sequence[Refusal], site: str, command: str = "retain --apply"
) -> FsbackupError:
    """Return the error that says why nothing was removed, or whose name is missing."""
    why = "\n".join(f"{each.what} {each.why}" for each in refusals)
    hard = [each for each in refusals if not each.confirmable]
    if hard:
        fix = "\n".join(dict.fromkeys(each.fix for each in hard))
        return SafetyRefusal("NOT REMOVED: every point stays.", why=why, fix=fix)
    shown = command.removesuffix(" --apply")
    fix = f"Look at the list: fsbackup {shown}\nfsbackup {command} --confirm {site}"
    return ConfirmationNeeded("NOT CONFIRMED: every point stays.", why=why, fix=fix)


@asynccontextmanager
async def _alone(context: JobContext, repository: Repository) -> AsyncIterator[None]:
    lock = Lock(repository.retain_lock(), what="retention")
    async with lock.acquire_async(_LOCK_SECONDS, context.holder()):
        yield


async def _settle(context: JobContext, repository: Repository) -> None:
    """Finish what killed runs left in the trash, and let go of the holds of closed incidents."""
    state = site_state(context.loaded, os.environ, repository)
    for incident in release_closed(repository, state):
        context.report(Log(f"Took away the hold of incident {incident}: it is closed"))
    for done in await asyncio.to_thread(settle_trash, repository, _who(context)):
        context.report(Log(f"Finished in the trash: {done}"))


async def _look(
    context: JobContext, repository: Repository, plan: str | None, *, confirmed: bool
) -> RetentionLook:
    return await asyncio.to_thread(
        look,
        context.loaded,
        os.environ,
        repository,
        context.now(),
        only=None if plan is None else frozenset({plan}),
        confirmed=confirmed,
    )


def _remember(
    context: JobContext, repository: Repository, looked: RetentionLook, plan: str
) -> None:
    """Keep what this run came to, and that the clock was right, if it was."""
    state = site_state(context.loaded, os.environ, repository)
    known = read_retain_state(state)
    refusals = {} if not plan else dict(known.refusals)
    refusals[plan] = [refusal.document() for refusal in looked.decision.refusals]
    told = {name: each for name, each in refusals.items() if each}
    right, accepted = clock_known(looked.times, looked.guard, looked.now)
    found = RetainState(right, accepted, looked.now, told)
    write_retain_state(state, found)


async def _remove(
    context: JobContext,
    repository: Repository,
    looked: RetentionLook,
    wanted: Sequence[str] | None,
    removal: Removal,
) -> None:
    """Move to the trash what may leave, the oldest first."""
    leaving = list(reversed(looked.decision.removable))
    if wanted is not None:
        chosen = frozenset(wanted)
        for point in [each for each in leaving if each not in chosen]:
            context.report(Log(f"{point} stays for now: it was not on the list that was shown"))
        leaving = [each for each in leaving if each in chosen]
    by_id = {candidate.id: candidate for candidate in looked.candidates}
    for number, point in enumerate(leaving):
        context.report(Progress(number, len(leaving), "points", point))
        try:
            _refuse_incident(context, repository)
            await _remove_one(context, repository, by_id[point], looked)
        except (FsbackupError, OSError) as error:
            _tell(context, removal, point, error)
            if isinstance(error, SafetyRefusal) and "NOT GONE ON" in error.what:
                return
        else:
            removal.removed.append(point)
            context.report(Log(f"{point} is in the trash"))


def _refuse_incident(context: JobContext, repository: Repository) -> None:
    incidents = open_incidents(repository, context.loaded, os.environ)
    if incidents:
        raise SafetyRefusal(
            f"NOT GONE ON: incident {incidents[0]} was opened meanwhile.",
            why="While one is open every point may be the one that is needed.",
            fix="Close it first: fsbackup incidents",
        )


async def _remove_one(
    context: JobContext, repository: Repository, point: Candidate, looked: RetentionLook
) -> None:
    lock = Lock(repository.use_lock(point.id), what=f"point {point.id}")
    async with lock.acquire_async(0, context.holder()):
        await asyncio.to_thread(_refuse_changed, repository, point)
        keep = looked.policies[point.plan]
        await asyncio.to_thread(
            move_to_trash,
            repository,
            point.id,
            f"no rule keeps it: {keep.words()}",
            _who(context),
            grace=looked.grace,
        )


def _refuse_changed(repository: Repository, point: Candidate) -> None:
    """Raise where the point is not what was decided on: by its own manifest and records."""
    reason = ""
    try:
        manifest = PointReader(repository, point.id).manifest
    except PointDamaged:
        manifest = None
    if manifest is not None:
        facts = (manifest.plan, manifest.sequence, manifest.started)
        if facts != (point.plan, point.sequence, point.created):
            reason = "its manifest tells another plan, number or time than the catalogue"
    elif point.good or point.sound:
        reason = "its manifest can't be read"
    if pin_in(read_records(repository, point.id)):
        reason = "it was pinned meanwhile"
    if reason:
        raise SafetyRefusal(f"{point.id} stays: {reason}.", fix=f"fsbackup show {point.id}")


async def _free(
    context: JobContext, repository: Repository, looked: RetentionLook, removal: Removal
) -> None:
    """Free what is past its grace, unless an incident is open or the clock is in doubt.

    What was removed of a plan that has too few good points now may be all that is left of it.
    """
    if looked.guard.incidents or (looked.clock and not looked.guard.confirmed):
        return
    trash = await asyncio.to_thread(list_trash, repository)
    needed = looked.needed(past_grace(trash, looked.now, looked.grace))
    for plan, good in needed.items():
        few = "no good point" if not good else f"only {good} good"
        removal.held[plan] = f"{plan} has {few}: what was removed of it stays in the trash"
        context.report(Warned(removal.held[plan]))
    for trashed in past_grace(trash, looked.now, looked.grace, needed):
        try:
            _refuse_incident(context, repository)
            size = await asyncio.to_thread(free, repository, [trashed.id], _who(context))
        except (FsbackupError, OSError) as error:
            _tell(context, removal, trashed.id, error)
            if isinstance(error, SafetyRefusal) and "PINNED" in error.what:
                continue
            return
        removal.freed.append(trashed.id)
        removal.freed_bytes += size
        context.report(Log(f"{trashed.id} is gone from the trash"))


def _tell(
    context: JobContext, removal: Removal, point: str, error: FsbackupError | OSError
) -> None:
    what = error.what if isinstance(error, FsbackupError) else str(error)
    fix = error.fix if isinstance(error, FsbackupError) else ""
    removal.problems.append({"point": point, "what": f"{point}: {what}", "fix": fix})
    context.report(Warned(f"{point}: {what}"))
    failure = error
    if isinstance(failure, OSError):
        failure = RepositoryError(f"NOT MOVED: {point} could not be.", why=str(error))
    if not isinstance(failure, SafetyRefusal):
        removal.failure = removal.failure or failure


def _pin(context: JobContext, repository: Repository, point: str, reason: str) -> None:
    write_pin(
        repository,
        point,
        reason,
        now=context.now(),
        job=context.job,
        operator=context.operator,
    )


def _trash(repository: Repository, looked: RetentionLook) -> list[Mapping[str, object]]:
    return [trash_document(each, looked.grace) for each in list_trash(repository)]


def _who(context: JobContext) -> Who:
    return Who(context.operator, context.host, context.job, context.now())
