"""Capturing a recovery point: every source of the plan in turn, each part whole by itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from fsbackup_tui import __version__
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import FsbackupError, PointDamaged, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.incident import MENDING
from fsbackup_tui.domain.point import Manifest, PartManifest, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.encryption.keys import EncryptionKey
from fsbackup_tui.operations.capture import CaptureRun, chain_of, hashing_progress
from fsbackup_tui.operations.capture_code import capture_code
from fsbackup_tui.operations.capture_config import capture_config
from fsbackup_tui.operations.capture_files import capture_files
from fsbackup_tui.operations.capture_postgres import capture_postgres
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import encryption_key
from fsbackup_tui.operations.links import LinkCapture
from fsbackup_tui.operations.recovery_wait import RESTORE_WAIT_SECONDS, wait_for_restores
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.operations.signatures import point_signing, signature_in
from fsbackup_tui.operations.status import job_liveness, open_catalogue
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.foreign import is_adopted
from fsbackup_tui.repository.holds import holds_of, incident_of, release_closed
from fsbackup_tui.repository.incidents import IncidentJournal
from fsbackup_tui.repository.keys import stored_key
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.leftovers import sweep_leftovers
from fsbackup_tui.repository.points import capture_order
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.writer import PointWriter

CAPTURES: Mapping[str, Callable[[CaptureRun], Awaitable[PartManifest]]] = {
    "postgres": capture_postgres,
    "files": capture_files,
    "config": capture_config,
    "code": capture_code,
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
    # Before anything is waited for or written: a wrong key is known at once.
    key, beside = await _key(context, repository, sources)
    for name in databases:
        await wait_for_restores(context, name, request.wait_seconds or RESTORE_WAIT_SECONDS)
    _release_closed(context, repository)
    own = recovered_incident(context)
    in_incident = open_incident(repository, but=own)
    alive = job_liveness(context.loaded, os.environ, repository)
    for removed in sweep_leftovers(repository, alive):
        context.report(Log(f"Swept what a dead job left: {removed}"))
    last_good = last_good_points(context, repository, sources)
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
        space_needed=_space_needed([part for _point, part in last_good.values() if part]),
        beside=beside,
    )
    phases: dict[str, float] = {}
    links = LinkCapture(context, sources)
    try:
        # The rows first, then the files that they name: what comes in between is a file more.
        for name in (*databases, *(name for name in sources if name not in databases)):
            point, part = last_good[name]
            run = CaptureRun(
                source=name,
                context=context,
                repository=repository,
                directory=writer.part_directory(name),
                last_good_point=point,
                last_good=part,
                plan=request.plan,
                chain=chain_of(context.loaded.config.sources[name], key),
                links=links or None,
            )
            await _capture(writer, run, phases)
        fit = await links.facts(repository, writer.directory, writer.parts)
        # One that was declared meanwhile is about what was true then already.
        in_incident = in_incident or open_incident(repository, but=own)
        if in_incident is not None:
            context.report(Warned(f"IN INCIDENT {in_incident}: what it holds may be damaged."))
        manifest = await asyncio.to_thread(
            writer.finish,
            phases,
            now=context.now(),
            in_incident=in_incident,
            links=fit,
            sign=signing,
        )
    except BaseException:
        if kept := writer.abandon():
            context.report(Warned(f"Kept: {kept}. fsbackup show {writer.id}"))
        raise
    finally:
        links.close()
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
    done = done or any(
        state.status == "done" and name in MENDING for name, state in incident.steps.items()
    )
    return journal if done else None


async def _key(
    context: JobContext, repository: Repository, sources: Sequence[str]
) -> tuple[EncryptionKey | None, dict[str, bytes]]:
    """Return what encrypts the parts, and what of it has to lie in the point itself."""
    configured = context.loaded.config.sources
    if all(configured[name].plaintext for name in sources):
        return None, {}
    key = await encryption_key(context, repository)
    if key is None:
        return None, {}
    stored = stored_key(repository, key.facts.id)
    if stored is None or stored.identity is None:
        return key, {}
    return key, {stored.identity.name: stored.identity.read_bytes()}


def _with_key(run: CaptureRun, part: PartManifest) -> PartManifest:
    """Return the part with its key's facts; refused where anything of it lies in plain."""
    if run.chain.key is None or part.key is not None:
        return part
    if bare := [artifact.path for artifact in part.artifacts if artifact.encryption is None]:
        raise FsbackupError(
            f"NOT ENCRYPTED: {run.source} would hold {bare[0]} in plain.",
            why="The configuration encrypts this part; that is a fault of this program.",
            fix="Tell the makers of fsbackup; until then: plaintext: true for this source.",
        )
    return replace(part, key=run.chain.key.facts)


async def _capture(writer: PointWriter, run: CaptureRun, phases: dict[str, float]) -> None:
    context, name = run.context, run.source
    with writing(run.directory):
        part = await CAPTURES[context.loaded.config.sources[name].kind](run)
    part = _with_key(run, part)
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
    found = last_good_points(context, repository, sources)
    return {source: part for source, (_point, part) in found.items()}


def last_good_points(
    context: JobContext, repository: Repository, sources: Sequence[str]
) -> dict[str, tuple[str | None, PartManifest | None]]:
    """Return those parts with the ids of their points; None twice where there is none."""
    found: dict[str, tuple[str | None, PartManifest | None]] = dict.fromkeys(sources, (None, None))
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        candidates = sorted(catalogue.points(), key=capture_order, reverse=True)
    for name in sources:
        for point in candidates:
            if is_good(point, name):
                with suppress(PointDamaged):
                    found[name] = (point.id, PointReader(repository, point.id).part(name))
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


def _space_needed(last_good: Sequence[PartManifest]) -> int | None:
    known = [part.bytes for part in last_good]
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
