"""What needs a person: what ``check`` finds, and what only an open session can see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.jobs.check import check_site
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.operations.check import PROBES, unknown
from fsbackup_tui.tui.data import Alert

_LIVE_SECONDS = 300.0
_LOCAL = tuple(probe for probe in PROBES if not probe.live)
_LIVE = tuple(probe for probe in PROBES if probe.live)


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="alerts", daemon=True).start()


class Findings:
    """What ``check`` finds, as fresh as a screen needs it.

    What lies on this machine is looked at each time; servers and programs are asked every five
    minutes, beside: nothing on the screen waits for them.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        beside: Callable[[Callable[[], None]], None] = _in_thread,
    ) -> None:
        self._clock = clock
        self._beside = beside
        self._live: tuple[Finding, ...] = ()
        self._asked = -_LIVE_SECONDS
        self._asking = threading.Lock()
        self._digest = ""

    def look(
        self, loaded: LoadedConfig, environ: Mapping[str, str], now: datetime
    ) -> tuple[Finding, ...]:
        """Return what is found now; never raises."""
        if loaded.digest != self._digest:
            self._digest, self._live = loaded.digest, ()
            self._asked = -_LIVE_SECONDS
        if self._clock() - self._asked >= _LIVE_SECONDS and self._asking.acquire(blocking=False):
            self._asked = self._clock()
            self._beside(lambda: self._ask(loaded, environ, now))
        try:
            local = check_site(loaded, environ, now, probes=_LOCAL).findings
        except FsbackupError as error:
            local = (unknown("check", "the site could not be looked at", error.what, error.fix),)
        return (*local, *self._live)

    def _ask(self, loaded: LoadedConfig, environ: Mapping[str, str], now: datetime) -> None:
        try:
            found = check_site(loaded, environ, now, probes=_LIVE).findings
            if loaded.digest == self._digest:
                self._live = found
        except FsbackupError:
            return  # the look at what is here tells the same
        finally:
            self._asking.release()


def alerts_of(problems: Sequence[Problem | None], findings: Sequence[Finding]) -> Iterator[Alert]:
    """Yield the problems that this session alone knows of, then the findings, the worst first."""
    told: set[str] = set()
    for problem in problems:
        if problem is not None and problem.what not in told:
            told.add(problem.what)
            yield Alert(problem.what, problem.fix, why=problem.why)
    ranked = sorted(findings, key=lambda finding: finding.severity != "critical")
    for finding in ranked:
        if finding.what not in told:
            told.add(finding.what)
            severe = finding.severity == "critical"
            yield Alert(finding.what, finding.fix, severe, finding.why, finding.since)


def has_failed(job: Job) -> bool:
    """Whether a job ended badly, and it is known why."""
    return job.state in ("failed", "lost") and job.problem is not None
