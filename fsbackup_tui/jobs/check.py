"""The look of ``check`` with what only the jobs know, under a limit that holds whatever hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.finding import Check
from fsbackup_tui.jobs.supervisor import list_jobs
from fsbackup_tui.operations.check import look, unknown
from fsbackup_tui.operations.owed import told_owed
from fsbackup_tui.operations.probes.ground import JobFacts

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.jobs.job import Job

_LOOKED_AT = 100
_SECONDS = 30.0


def check_site(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    now: datetime,
    *,
    seconds: float = _SECONDS,
) -> Check:
    """Look at a site and return what was found, within ``seconds`` whatever happens.

    A disk that does not answer blocks any call for good: the look is then *unknown*, not silent.
    """
    results: list[Check] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(asyncio.run(look(loaded, environ, now, site_jobs)))
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
    subject = getattr(job.request, "plan", "") or getattr(job.request, "point", "")
    return JobFacts(
        id=job.id,
        operation=job.operation,
        state=job.state,
        subject=str(subject or ""),
        started=job.started,
        finished=job.finished,
        quiet_since=job.updated or job.started,
        stage=job.stage or "",
        problem=job.problem,
        owed=tuple(told_owed(job.directory)) if not job.running else (),
    )
