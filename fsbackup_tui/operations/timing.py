"""The phases of a verification: measured for later runs, foretold from earlier ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from fsbackup_tui.domain.estimate import (
    READING,
    MeasuredRun,
    Span,
    Work,
    expect,
    remaining,
    run_document,
    share_by_time,
)
from fsbackup_tui.domain.events import Event, Progress, Remaining, Report
from fsbackup_tui.domain.point import PartManifest

RESTORE = "restore"
"""One phase for its caller; what goes on side by side in it is told apart by its progress."""

_LOADING = ("definitions", "data", "index", "constraints")
_ACCOUNT = "account"
_REPORT_SECONDS = 1.0


def part_work(part: PartManifest) -> Work:
    """Return what there is to read of a part, and what a trial restore of it makes."""
    if part.postgres is None:
        return Work(part.bytes, 0)
    return Work(part.bytes, part.postgres.identity.size_bytes or part.bytes)


class Timing:
    """Stands between an operation and its report, and adds how long the rest will take.

    ``enter`` begins a phase of a part and ends the one before. Nothing is foretold while one of
    the ``planned`` phases was never measured.
    """

    def __init__(
        self,
        report: Report,
        parts: Mapping[str, Work],
        planned: Sequence[str],
        runs: Sequence[MeasuredRun] = (),
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._parts = parts
        self._planned = planned
        self._runs = runs
        self._now = now
        self.work = Work(
            sum(work.stored_bytes for work in parts.values()),
            sum(work.database_bytes for work in parts.values()),
        )
        self._place = ""
        self._seconds: dict[str, float] = {}
        self._by_part: dict[str, dict[str, float]] = {}
        self._finished: dict[str, float] = {}
        self._phase, self._source = "", ""
        self._began = self._since = now()
        self._fraction: float | None = None
        self._loading: Mapping[str, Sequence[float]] = {}
        self._loaded_at: float | None = None
        self._told_at = float("-inf")
        self._expected = self._expect(None)

    def report(self, event: Event) -> None:
        """Pass an event on, and learn from it how far the phase is."""
        self._report(event)
        if not isinstance(event, Progress) or not self._phase:
            return
        if self._phase == RESTORE:
            self._take_loading(event)
        elif event.total:
            self._fraction = min(1.0, event.done / event.total)
        self._tell()

    def enter(self, phase: str, source: str) -> None:
        """Begin a phase of a part."""
        self.leave()
        self._phase, self._source, self._since = phase, source, self._now()
        self._fraction, self._loading, self._loaded_at = None, {}, None
        self._tell(at_once=True)

    def leave(self) -> None:
        """End the phase that is under way, if any is."""
        if not self._phase:
            return
        passed = self._now() - self._since
        if self._phase == RESTORE:
            told = {phase: float(self._loading.get(phase, (0, 0, 0))[2]) for phase in _LOADING}
            for phase, seconds in told.items():
                self._end(phase, seconds)
            self._end(_ACCOUNT, max(0.0, passed - sum(told.values())))
        else:
            self._end(self._phase, passed)
        self._phase = ""

    def at_place(self, key: str) -> None:
        """Take where the trial runs: what was measured elsewhere tells nothing from here on."""
        if key == self._place:
            return
        self._place = key
        before, self._expected = self._expected, self._expect(key)
        if self._expected is None and before is not None:
            self._report(Remaining())

    def taken(self, source: str) -> dict[str, float]:
        """Return the seconds of a part's trial restore by phase."""
        return {
            phase: round(seconds, 3)
            for phase, seconds in self._by_part.get(source, {}).items()
            if phase not in READING
        }

    def seconds(self) -> dict[str, float]:
        """Return the seconds of all phases so far."""
        return {phase: round(seconds, 3) for phase, seconds in self._seconds.items()}

    def document(self, at_phases: Iterable[str] | None = None) -> dict[str, object]:
        """Return the measured run for a record: that of some phases, else of the trial."""
        wanted = set(self._seconds) - set(READING) if at_phases is None else set(at_phases)
        seconds = {phase: took for phase, took in self._seconds.items() if phase in wanted}
        place = self._place if at_phases is None else ""
        return run_document(self.work, seconds, place)

    def _end(self, phase: str, seconds: float) -> None:
        for taken in (self._seconds, self._by_part.setdefault(self._source, {})):
            taken[phase] = taken.get(phase, 0.0) + seconds
        self._finished[phase] = self._finished.get(phase, 0.0) + self._share(phase)

    def _share(self, phase: str) -> float:
        """Return how much of a phase's whole work is that of the part under way."""
        part = self._parts.get(self._source)
        whole = sum(work.amount(phase) for work in self._parts.values())
        return part.amount(phase) / whole if part is not None and whole else 1.0

    def _expect(self, place: str | None) -> dict[str, Span] | None:
        return expect(self._runs, self.work, self._planned, place=place) if self._runs else None

    def _take_loading(self, event: Progress) -> None:
        if not event.work:
            return
        self._loading = event.work
        if self._loaded_at is None and event.total and event.done >= event.total:
            self._loaded_at = self._now()

    def _tell(self, *, at_once: bool = False) -> None:
        now = self._now()
        if self._expected is None or (not at_once and now - self._told_at < _REPORT_SECONDS):
            return
        self._told_at = now
        done = {
            phase: self._finished.get(phase, 0.0) + self._share(phase) * self._done_of(phase)
            for phase in self._expected
        }
        rest = remaining(self._expected, done, now - self._began)
        self._report(Remaining(round(rest.seconds, 1), round(rest.low, 1), round(rest.high, 1)))

    def _done_of(self, phase: str) -> float:
        """Return how much of a phase of the part under way is done, 0 to 1."""
        span = (self._expected or {}).get(phase)
        if self._phase != RESTORE:
            if phase != self._phase:
                return 0.0
            if self._fraction is not None:
                return self._fraction
            return share_by_time(self._now() - self._since, span)
        if phase == _ACCOUNT:
            after = 0.0 if self._loaded_at is None else self._now() - self._loaded_at
            return share_by_time(after, span)
        if phase not in self._loading:
            return 0.0
        done, whole, seconds = self._loading[phase][:3]
        if self._loaded_at is not None:
            return 1.0
        return done / whole if whole else share_by_time(seconds, span)
