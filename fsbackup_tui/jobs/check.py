"""The look of ``check`` with what only the jobs know, under a limit that holds whatever hangs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.finding import Check
from fsbackup_tui.jobs.journal import parse_line
from fsbackup_tui.jobs.layout import JOURNAL
from fsbackup_tui.jobs.supervisor import list_jobs
from fsbackup_tui.jobs.watchdog import Watchdog
from fsbackup_tui.operations.check import PROBES, look, unknown
from fsbackup_tui.operations.owed import told_owed
from fsbackup_tui.operations.probes.ground import JobFacts
from fsbackup_tui.operations.probes.probe import Probe

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.jobs.job import Job

_LOOKED_AT = 100
_SECONDS = 30.0
_TAIL_BYTES = 256 << 10


def check_site(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    now: datetime,
    *,
    seconds: float = _SECONDS,
    probes: Sequence[Probe] = PROBES,
) -> Check:
    """Look at a site and return what was found, within ``seconds`` whatever happens.

    A disk that does not answer blocks any call for good: the look is then *unknown*, not silent.
    """
    results: list[Check] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(asyncio.run(look(loaded, environ, now, site_jobs, probes)))
        except Exception as error:  # noqa: BLE001 - told below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="check", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise errors[0]
    why = f"Something did not answer for {seconds:.0f} s: a disk, or a mounted share."
    finding = unknown("check", "the site could not be looked at", why)
    return Check(loaded.config.site, now, (finding,))


def site_jobs(state: Path) -> Sequence[JobFacts]:
    """Return the newest jobs of a state directory as probes see them, the newest first."""
    return [job_facts(job) for job in list_jobs(state, limit=_LOOKED_AT)]


def job_facts(job: Job) -> JobFacts:
    """Return a job as probes see it."""
    named = (getattr(job.request, name, "") for name in ("plan", "point", "part"))
    subject = next(filter(None, named), "")
    return JobFacts(
        id=job.id,
        operation=job.operation,
        state=job.state,
        subject=str(subject),
        started=job.started,
        finished=job.finished,
        quiet_since=moved_at(job) if job.running else job.updated or job.started,
        stage=job.stage or "",
        problem=job.problem,
        owed=tuple(told_owed(job.directory)) if not job.running else (),
    )


def moved_at(job: Job) -> datetime:
    """Return when a running job last got on, by the end of its journal; heartbeats don't count."""
    moment = [job.started.timestamp()]
    watchdog = Watchdog(0, clock=lambda: moment[0])
    try:
        with (job.directory / JOURNAL).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return job.updated or job.started
    for line in map(parse_line, data.splitlines()):
        if line is not None:
            moment[0] = line.at.timestamp()
            watchdog.saw(line.event)
    return datetime.fromtimestamp(watchdog.moved_at, UTC)
