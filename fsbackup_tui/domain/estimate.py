"""How long a restore and its proof will take, learned phase by phase from the runs before.

Pure: measured runs go in, seconds with a range come out, and None before anything is known.
A phase is taken to cost something fixed and something by the byte; both come from the newest
runs, by medians, so that one slow night does not spoil the next estimates.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fsbackup_tui.domain.trust import Trust

READING = ("fetch", "decrypt", "sealed", "readable")
RESTORING = ("start", "prepare", "definitions", "data", "index", "constraints", "account")
COMPARING = ("compare", "checks")
REMOVING = ("remove",)
PHASES = (*READING, *RESTORING, *COMPARING, *REMOVING)
"""Every phase of a trial restore from the bytes up, in its order."""

_FIXED = frozenset({"start", "prepare", "definitions", "remove"})
_NOT_OF_A_RECOVERY = frozenset({"start", "spare", "remove"})
_RUNS_LEARNED_FROM = 12
_LEAST_FOR_A_LINE = 3
_SPREAD_FOR_A_LINE = 1.3
_LOW, _HIGH = 0.1, 0.9
_FEW_RUNS = 4
_DOUBT_OF_FEW = 0.2
_DOUBT_OF_DOUBLING = 0.15
_MOST_DOUBT = 0.8
_UNSEEN_TAIL = 0.05
_PACE_INERTIA = 0.3
_COMPARABLE = 4.0
_SLOWEST_PACE, _FASTEST_PACE = 4.0, 0.25


@dataclass(frozen=True, slots=True)
class Span:
    """A number of seconds, and the range it probably lies in."""

    seconds: float
    low: float
    high: float

    def scaled(self, factor: float) -> Span:
        """Return it that many times as long."""
        return Span(self.seconds * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do: bytes stored in the repository, and bytes of the databases."""

    stored_bytes: int
    database_bytes: int

    def amount(self, phase: str) -> float:
        """Return what a phase's duration goes by: bytes, or 1 where it is always the same."""
        if phase in _FIXED:
            return 1.0
        return float(max(1, self.stored_bytes if phase in READING else self.database_bytes))


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One verification, drill or trial restore as it went: seconds by phase.

    ``place`` tells runs apart that can't be compared (``place_key``); empty where nothing was
    restored.
    """

    at: datetime
    work: Work
    seconds: Mapping[str, float] = field(default_factory=dict)
    place: str = ""
    drill: bool = False

    @property
    def total(self) -> float:
        """Seconds of all its phases."""
        return sum(self.seconds.values())


def phases_to(level: Trust, shown: Iterable[Trust] = (), *, restorable: bool) -> tuple[str, ...]:
    """Return the phases of a climb up to ``level``, but those of the rungs in ``shown``."""
    seen = set(shown)
    phases = [
        rung.word for rung in (Trust.SEALED, Trust.READABLE) if rung <= level and rung not in seen
    ]
    if level >= Trust.RESTORED and restorable:
        phases += [*RESTORING, *(COMPARING if level is Trust.PROVEN else ()), *REMOVING]
    return tuple(phases)


def place_key(kind: str, major: int, host: str, jobs: int) -> str:
    """Return what two runs must share so that one tells how long the other takes."""
    return f"{kind} {major} by {host} with {jobs} jobs"


def learn(samples: Sequence[tuple[float, float]], amount: float) -> Span | None:
    """Return how long so much work takes, from (amount, seconds), the newest last.

    None where there is no sample.
    """
    newest = [(float(work), took) for work, took in samples if work > 0 and took >= 0]
    newest = newest[-_RUNS_LEARNED_FROM:]
    if not newest or amount < 0:
        return None
    fixed, slope = _line(newest)
    seconds = fixed + slope * amount
    ratios = [
        took / told for work, took in newest if (told := fixed + slope * work) > 0 and took > 0
    ]
    low, high = _range(ratios, _doublings(amount, [work for work, _ in newest]))
    return Span(seconds, seconds * low, seconds * high)


def _line(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return seconds that are always needed, and seconds per unit (Theil and Sen's line)."""
    amounts = [amount for amount, _ in samples]
    if len(samples) >= _LEAST_FOR_A_LINE and max(amounts) >= _SPREAD_FOR_A_LINE * min(amounts):
        slopes = [
            (later - before) / (more - less)
            for number, (less, before) in enumerate(samples)
            for more, later in samples[number + 1 :]
            if max(more, less) >= _SPREAD_FOR_A_LINE * min(more, less)
        ]
        slope = max(0.0, statistics.median(slopes))
        fixed = statistics.median(took - slope * amount for amount, took in samples)
        if fixed >= 0:
            return fixed, slope
    return 0.0, statistics.median(took / amount for amount, took in samples)


def _doublings(amount: float, known: Sequence[float]) -> float:
    """Return how many times an amount must be doubled or halved to come to the nearest known."""
    return min(abs(math.log2(max(1.0, amount) / max(1.0, work))) for work in known)


def _range(ratios: Sequence[float], doublings: float) -> tuple[float, float]:
    """Return the factors of the low and the high end; few and far runs leave more doubt."""
    doubt = _DOUBT_OF_FEW if len(ratios) < _FEW_RUNS else 0.0
    doubt = min(_MOST_DOUBT, doubt + _DOUBT_OF_DOUBLING * doublings)
    low = min(1.0, _quantile(ratios, _LOW)) if ratios else 1.0
    high = max(1.0, _quantile(ratios, _HIGH)) if ratios else 1.0
    return low * (1 - doubt), high * (1 + doubt)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def expect(
    runs: Iterable[MeasuredRun], work: Work, phases: Iterable[str], *, place: str | None = None
) -> dict[str, Span] | None:
    """Return how long each phase will take; None where one of them was never measured.

    What runs after reading is learned only from runs at one place: ``place``, else where the
    newest of them ran.
    """
    known = sorted(runs, key=lambda run: run.at)
    if place is None:
        place = next((run.place for run in reversed(known) if run.place), "")
    expected: dict[str, Span] = {}
    for phase in phases:
        samples = [
            (run.work.amount(phase), run.seconds[phase])
            for run in known
            if phase in run.seconds and (phase in READING or run.place == place)
        ]
        span = learn(samples, work.amount(phase))
        if span is None:
            return None
        expected[phase] = span
    return expected


def total(spans: Iterable[Span]) -> Span:
    """Return the sum; ranges add up as those of things that don't depend on each other."""
    told = list(spans)
    seconds = sum(span.seconds for span in told)
    below = math.hypot(*(span.seconds - span.low for span in told))
    above = math.hypot(*(span.high - span.seconds for span in told))
    return Span(seconds, max(0.0, seconds - below), seconds + above)


def remaining(expected: Mapping[str, Span], done: Mapping[str, float], elapsed: float) -> Span:
    """Return how long the rest will take, from what was expected and how it went so far.

    ``done`` is how much of each phase is finished, 0 to 1, ``elapsed`` the seconds it all took.
    The pace so far counts the more, the more of the run lies behind.
    """
    shares = {phase: min(1.0, max(0.0, done.get(phase, 0.0))) for phase in expected}
    behind = sum(expected[phase].seconds * share for phase, share in shares.items())
    whole = sum(span.seconds for span in expected.values())
    inertia = _PACE_INERTIA * whole
    pace = (elapsed + inertia) / (behind + inertia) if behind + inertia > 0 else 1.0
    pace = min(_SLOWEST_PACE, max(_FASTEST_PACE, pace))
    return total(span.scaled(pace * (1 - shares[phase])) for phase, span in expected.items())


def share_by_time(elapsed: float, span: Span | None) -> float:
    """Return how much of a phase is done that tells nothing but when it began.

    It is never whole before it has ended.
    """
    if span is None or span.seconds <= 0:
        return 0.0
    return min(1.0 - _UNSEEN_TAIL, elapsed / span.seconds)


@dataclass(frozen=True, slots=True)
class Outlook:
    """How long something will take, and whether the newest it was learned from was a drill."""

    span: Span
    from_drill: bool


def time_back(runs: Iterable[MeasuredRun], work: Work) -> Outlook | None:
    """Return how long it takes from the bytes to a proven copy; None before that is known.

    Known is only what a whole drill or trial restore of a comparable size has shown. The making
    and removing of a scratch server is left out, as is the keeping of a spare: a real recovery
    has a server.
    """
    known = tuple(runs)
    newest = _newest_comparable(known, work)
    if newest is None:
        return None
    wanted = {*newest.seconds, "sealed"} - _NOT_OF_A_RECOVERY
    expected = expect(known, work, wanted, place=newest.place)
    return None if expected is None else Outlook(total(expected.values()), newest.drill)


def time_to_prove(runs: Iterable[MeasuredRun], work: Work, phases: Iterable[str]) -> Outlook | None:
    """Return how long these phases of a verification take; None before that is known."""
    known = tuple(runs)
    newest = _newest_comparable(known, work)
    if newest is None:
        return None
    expected = expect(known, work, phases, place=newest.place)
    return None if expected is None else Outlook(total(expected.values()), newest.drill)


def _newest_comparable(runs: Sequence[MeasuredRun], work: Work) -> MeasuredRun | None:
    whole = [
        run
        for run in runs
        if run.place
        and set(COMPARING) <= set(run.seconds)
        and 1 / _COMPARABLE <= run.work.amount("data") / work.amount("data") <= _COMPARABLE
    ]
    return max(whole, key=lambda run: run.at, default=None)


def run_document(work: Work, seconds: Mapping[str, float], place: str) -> dict[str, object]:
    """Return a run as plain values for a record, which says itself when it was.

    ``parse_run`` reads them again.
    """
    return {
        "place": place,
        "stored_bytes": work.stored_bytes,
        "database_bytes": work.database_bytes,
        "seconds": {phase: round(took, 3) for phase, took in seconds.items()},
    }


def parse_run(document: Mapping[str, Any], at: datetime, *, drill: bool = False) -> MeasuredRun:
    """Return the run that ``run_document`` wrote; ValueError where it is none."""
    try:
        work = Work(int(document["stored_bytes"]), int(document["database_bytes"]))
        seconds = {str(phase): float(took) for phase, took in document["seconds"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a measured run: {error}") from error
    if any(not math.isfinite(took) or took < 0 for took in seconds.values()):
        raise ValueError("not a measured run: no duration")
    return MeasuredRun(at, work, seconds, str(document.get("place", "")), drill)
