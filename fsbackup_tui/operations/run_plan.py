"""A plan's run: one job whose stages are registered here; a later stage never undoes an earlier.

Further stages register by an entry in ``STAGES``; ``retain`` stays the last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from fsbackup_tui.domain.errors import (
    FsbackupError,
    NotProven,
    Problem,
    RepositoryError,
    SpareNotKept,
)
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import Manifest
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.backup import back_up
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import spare_texts, verification_texts
from fsbackup_tui.operations.notify import any_site_state, ping_plan
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_outcome import failure_of, replicate_document
from fsbackup_tui.operations.replicate import replicate_plan
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.operations.retain import retain_plan
from fsbackup_tui.operations.retain_look import wanted_level
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.operations.verify import verify_point
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock


@dataclass
class PlanRun:
    """What the stages of one run hand on to each other."""

    request: BackupRequest
    context: JobContext
    repository: Repository
    manifest: Manifest | None = None
    trust: Trust = Trust.INCOMPLETE
    stages: dict[str, dict[str, object]] = field(default_factory=dict)
    verified: dict[str, object] | None = None
    told: dict[str, dict[str, object]] = field(default_factory=dict)
    replicated: dict[str, object] | None = None


async def _backup_stage(run: PlanRun) -> None:
    run.manifest, run.trust = await back_up(run.request, run.context, run.repository)


async def _verify_stage(run: PlanRun) -> None:
    """Show the new point good as far as the plan asks; its seal was just read back."""
    if run.manifest is None:
        return
    within = replace(run.context, stage=lambda name: run.context.report(Log(f"Verifying: {name}")))
    document = await verify_point(
        within,
        run.repository,
        run.manifest.id,
        level=_verify_level(run),
        shown=(Trust.SEALED,),
        keep_spare=run.context.loaded.config.plans[run.request.plan].keep_spare,
    )
    run.verified = document
    run.trust = Trust.from_word(str(document["trust"]))
    if not document["ok"]:
        raise _not_shown(document)


async def _retain_stage(run: PlanRun) -> None:
    """Let go of what the plan keeps no longer; why nothing may leave is told, and no failure."""
    try:
        told = await retain_plan(run.context, run.repository, run.request.plan)
    except OSError as error:
        raise RepositoryError("RETENTION FAILED: every point is whole.", why=str(error)) from error
    run.told["retain"] = told


def _keeps_by_rules(run: PlanRun) -> bool:
    return run.context.loaded.config.plans[run.request.plan].keep is not None


async def _replicate_stage(run: PlanRun) -> None:
    """Send the plan's points that its replicas lack, the new one first."""
    if run.manifest is None:
        return
    within = replace(run.context, stage=lambda name: run.context.report(Log(f"Sending to {name}")))
    plan = run.context.loaded.config.plans[run.request.plan]
    outcomes = await replicate_plan(within, run.repository, run.request.plan, plan.replicas)
    run.replicated = replicate_document(outcomes, check=False)
    if (error := failure_of(outcomes)) is not None:
        raise error


def _verify_level(run: PlanRun) -> Trust:
    return wanted_level(run.context.loaded.config.plans[run.request.plan])


def _not_shown(document: Mapping[str, object]) -> FsbackupError:
    point, wanted = document["point"], str(document["wanted"])
    if not document["problems"] and not document["blocked"]:
        return SpareNotKept(
            f"NO NEW SPARE: {point} is {document['trust']}, and the former spare stands as it did.",
            why="\n".join(spare_texts(document)),
            fix=f"When that is mended: fsbackup verify {point} --keep-spare",
        )
    return NotProven(
        f"NOT {wanted.upper()}: {point} is {document['trust']}.",
        why="\n".join(verification_texts(document)[:5]),
        fix=f"The point stays as it is. Look: fsbackup show {point}",
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a plan's run, and whether this run has it."""

    work: Callable[[PlanRun], Awaitable[None]]
    wanted: Callable[[PlanRun], bool] = lambda run: True


STAGES: Mapping[str, Stage] = {
    "backup": Stage(_backup_stage),
    "verify": Stage(_verify_stage, lambda run: _verify_level(run) > Trust.SEALED),
    "replicate": Stage(
        _replicate_stage,
        lambda run: bool(run.context.loaded.config.plans[run.request.plan].replicas),
    ),
    "retain": Stage(_retain_stage, _keeps_by_rules),
}


async def run(request: BackupRequest, context: JobContext) -> dict[str, object]:
    """Run the plan, pinging what watches over it; returns the document of its run."""
    await _ping(request, context, "/start")
    ended = "/fail"
    try:
        document = await _run(request, context)
        ended = "" if document["ok"] else "/fail"
        return document
    finally:
        await _ping(request, context, ended)


async def _ping(request: BackupRequest, context: JobContext, suffix: str) -> None:
    """Tell the watchman; that he can't be reached is warned of, and no reason to fail."""
    loaded = context.loaded
    if request.plan not in loaded.config.notify.ping:
        return
    state = any_site_state(loaded, os.environ)
    why = await ping_plan(request.plan, suffix, loaded, os.environ, state, context.now())
    if why:
        context.report(Warned(f"notify.ping.{request.plan}: {why}"))


async def _run(request: BackupRequest, context: JobContext) -> dict[str, object]:
    """Run the plan under its lock; returns the document of ``fsbackup backup`` (design §9)."""
    refuse_if_read_only(context.loaded, "takes no backups")
    repository = open_site_repository(context.loaded, os.environ)
    require_writer(context, repository)
    lock = Lock(repository.plan_lock(request.plan), what=f"plan {request.plan}")
    started = time.monotonic()
    async with lock.acquire_async(
        request.wait_seconds,
        context.holder(),
        on_wait=lambda held: context.report(Log(f"Waiting: {held.what}")),
    ):
        plan_run = PlanRun(request, context, repository)
        for name, stage in STAGES.items():
            if stage.wanted(plan_run):
                await _run_stage(plan_run, name, stage.work)
    return _document(plan_run, time.monotonic() - started)


async def _run_stage(
    plan_run: PlanRun, name: str, stage: Callable[[PlanRun], Awaitable[None]]
) -> None:
    plan_run.context.stage(name)
    started = time.monotonic()
    problem: Problem | None = None
    try:
        await stage(plan_run)
    except FsbackupError as error:
        if plan_run.manifest is None:
            raise
        problem = error.problem()
    plan_run.stages[name] = {
        "ok": problem is None,
        "seconds": round(time.monotonic() - started, 3),
        "problem": problem.document() if problem else None,
        **plan_run.told.get(name, {}),
    }


def _document(plan_run: PlanRun, seconds: float) -> dict[str, object]:
    manifest = plan_run.manifest
    if manifest is None:
        raise FsbackupError("NO POINT: the run ended without a recovery point.")
    return {
        "ok": all(stage["ok"] for stage in plan_run.stages.values()),
        "point": manifest.id,
        "path": str(plan_run.repository.point_directory(manifest.id)),
        "job": manifest.job,
        "seconds": round(seconds, 3),
        "bytes": manifest.bytes,
        "trust": plan_run.trust.word,
        "suspect": list(manifest.suspect),
        "in_incident": manifest.in_incident,
        "warnings": [warning for part in manifest.parts for warning in part.warnings],
        "stages": plan_run.stages,
        "blocked": plan_run.verified["blocked"] if plan_run.verified else [],
        "accepted": plan_run.verified["accepted"] if plan_run.verified else [],
        "spares": plan_run.verified["spares"] if plan_run.verified else {},
        "replicas": plan_run.replicated["replicas"] if plan_run.replicated else {},
    }
