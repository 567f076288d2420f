"""Capturing a recovery point: every source of the plan in turn, each part whole by itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from fsbackup_tui import __version__
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import PointDamaged, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import Manifest, PartManifest, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.capture import CaptureRun, hashing_progress
from fsbackup_tui.operations.capture_postgres import capture_postgres
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_wait import RESTORE_WAIT_SECONDS, wait_for_restores
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.operations.signatures import point_signing, signature_in
from fsbackup_tui.operations.status import job_liveness, open_catalogue
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.foreign import is_adopted
from fsbackup_tui.repository.holds import holds_of, incident_of, release_closed
from fsbackup_tui.repository.incidents import IncidentJournal
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.leftovers import sweep_leftovers
from fsbackup_tui.repository.points import capture_order
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.writer import PointWriter

CAPTURES: Mapping[str, Callable[[CaptureRun], Awaitable[PartManifest]]] = {
    "postgres": capture_postgres
}
_SPACE_MARGIN = 1.2


async def back_up(
    request: BackupRequest, context: JobContext, repository: Repository
) -> tuple[Manifest, Trust]:
    """Capture the plan's sources as one point; returns its manifest and its trust.

    A part that fails takes the run with it: what is whole by then stays as an incomplete point,
    everything else is taken back. A restore, swap or merge that runs is waited for before it is
    begun; a point that is taken while an incident is open says so.
    """
    sources = request.sources or context.loaded.config.plans[request.plan].sources
    missing = [name for name in sources if name not in context.loaded.config.sources]
    if missing:
        raise UsageError(f"NO SUCH SOURCE: {', '.join(missing)}.")
    databases = [
        name for name in sources if isinstance(context.loaded.config.sources[name], PostgresSource)
    ]
    for name in databases:
        await wait_for_restores(context, name, request.wait_seconds or RESTORE_WAIT_SECONDS)
    _release_closed(context, repository)
    own = recovered_incident(context)
    in_incident = open_incident(repository, but=own)
    alive = job_liveness(context.loaded, os.environ, repository)
    for removed in sweep_leftovers(repository, alive):
        context.report(Log(f"Swept what a dead job left: {removed}"))
    last_good = last_good_parts(context, repository, sources)
    signing = await point_signing(context)
    writer = PointWriter.begin(
        repository,
        plan=request.plan,
        job=context.job,
        now=context.now(),
        reason=request.reason,
        operator=context.operator,
        host=context.host,
        tool_version=__version__,
        site_yaml=context.loaded.text,
        space_needed=_space_needed(last_good),
    )
    phases: dict[str, float] = {}
    try:
        for name in sources:
            await _capture(writer, name, request, context, repository, last_good[name], phases)
        # One that was declared meanwhile is about what was true then already.
        in_incident = in_incident or open_incident(repository, but=own)
        if in_incident is not None:
            context.report(Warned(f"IN INCIDENT {in_incident}: what it holds may be damaged."))
        manifest = await asyncio.to_thread(
            writer.finish, phases, now=context.now(), in_incident=in_incident, sign=signing
        )
    except BaseException:
        if kept := writer.abandon():
            context.report(Warned(f"Kept: {kept}. fsbackup show {writer.id}"))
        raise
    if signing is not None:
        signature = await signature_in(context, PointReader(repository, manifest.id))
        context.report(Log(f"{manifest.id}: {signature.text}"))
    _record_seal(manifest, context, repository, phases.get("seal", 0.0))
    return manifest, Trust.SEALED


def _release_closed(context: JobContext, repository: Repository) -> None:
    state = site_state(context.loaded, os.environ, repository)
    for incident in release_closed(repository, state):
        context.report(Log(f"Incident {incident} was closed: its hold is taken away."))


def open_incident(repository: Repository, *, but: IncidentJournal | None = None) -> str | None:
    """Return the incident of this site that is open, on whatever host, or None."""
    own = [] if but is None else holds_of(repository, but)
    return next((incident_of(hold) for hold in repository.holds_open() if hold not in own), None)


def recovered_incident(context: JobContext) -> IncidentJournal | None:
    """Return the incident that this very job belongs to, once it brought live back.

    What its own backup takes then is the recovered database: nothing speaks against it.
    """
    if context.incident is None:
        return None
    journal = IncidentJournal(context.incident)
    incident = journal.read()
    if incident is None or incident.is_drill:
        return None
    done = incident.parameters.get("swapped") or incident.parameters.get("merged")
    return journal if done else None


async def _capture(
    writer: PointWriter,
    name: str,
    request: BackupRequest,
    context: JobContext,
    repository: Repository,
    last_good: PartManifest | None,
    phases: dict[str, float],
) -> None:
    run = CaptureRun(
        source=name,
        context=context,
        repository=repository,
        directory=writer.part_directory(name),
        last_good=last_good,
        plan=request.plan,
    )
    with writing(run.directory):
        part = await CAPTURES[context.loaded.config.sources[name].kind](run)
    started = time.monotonic()
    # Every artifact is read back here: its hash is that of what lies on the disk.
    await asyncio.to_thread(
        writer.commit_part,
        name,
        part,
        advance=hashing_progress(context.report, None, f"sealing {name}"),
    )
    phases["seal"] = round(phases.get("seal", 0.0) + time.monotonic() - started, 3)
    for phase, seconds in run.phases.items():
        phases[phase] = round(phases.get(phase, 0.0) + seconds, 3)


def last_good_parts(
    context: JobContext, repository: Repository, sources: Sequence[str]
) -> dict[str, PartManifest | None]:
    """Return each source's part in the newest point that is whole, sound and not doubtful."""
    found: dict[str, PartManifest | None] = dict.fromkeys(sources)
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        candidates = sorted(catalogue.points(), key=capture_order, reverse=True)
    for name in sources:
        for point in candidates:
            if is_good(point, name):
                with suppress(PointDamaged):
                    found[name] = PointReader(repository, point.id).part(name)
                    break
    return found


def is_good(point: PointSummary, source: str) -> bool:
    """Whether a new part of the source is to be compared with the one in this point."""
    return (
        point.whole
        and point.trust > Trust.INCOMPLETE
        and not point.doubtful
        and not is_adopted(point)
        and any(part.source == source for part in point.parts)
    )


def _space_needed(last_good: Mapping[str, PartManifest | None]) -> int | None:
    known = [part.bytes for part in last_good.values() if part is not None]
    return int(sum(known) * _SPACE_MARGIN) if known else None


def _record_seal(
    manifest: Manifest, context: JobContext, repository: Repository, seconds: float
) -> None:
    write_record(
        repository,
        manifest.id,
        "verified",
        {
            "level": Trust.SEALED.word,
            "ok": True,
            "parts": {part.source: {"ok": True, "problems": []} for part in manifest.parts},
            "seconds": seconds,
        },
        now=context.now(),
        job=context.job,
        operator=context.operator,
    )
