"""How the repository will fill: what the plans add, less what their rules let go of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median

from fsbackup_tui.domain.retention import Candidate, Keep, decide
from fsbackup_tui.domain.retention_guard import Guard

HORIZON = timedelta(days=730)
WARN_WITHIN, CRITICAL_WITHIN = timedelta(days=14), timedelta(days=3)
"""A disk that is full so soon needs somebody."""
_LOOKED_AT = 15
_LEAST = 3
_LEAST_TIME = timedelta(days=2)
_FINE, _FINE_UNTIL, _COARSE = timedelta(days=1), timedelta(days=30), timedelta(days=7)
_MOST_A_STEP = 40


@dataclass(frozen=True, slots=True)
class Growth:
    """How a repository grows: ``per_day`` comes new; ``full`` is when no byte is left.

    ``full`` None: not within ``HORIZON``. ``peak`` is the most that is stored until then.
    """

    per_day: float
    full: timedelta | None
    peak: int


@dataclass(frozen=True, slots=True)
class _Pace:
    """A plan's points as they usually come: how far apart, and how large."""

    newest: Candidate
    spacing: timedelta
    bytes: int


def growth_of(
    candidates: Sequence[Candidate],
    policies: Mapping[str, Keep],
    guard: Guard,
    free: int | None,
    now: datetime,
    zone: tzinfo,
    *,
    grace: timedelta = timedelta(0),
    others: float = 0.0,
    horizon: timedelta = HORIZON,
) -> Growth | None:
    """Return how the disk fills if the plans go on as they did and retention does its work.

    Every plan is played on with its usual interval and size (medians, so that neither one large
    point nor a pause counts); ``others`` are the bytes that all else on the disk takes a day.
    None: no plan has points enough to tell and nothing else grows, or ``free`` is not known.
    """
    paces = [pace for pace in (_pace(plan, candidates) for plan in policies) if pace is not None]
    if free is None or not (paces or others > 0):
        return None
    play = _Play(free, others, now, now + horizon)
    full, peak = _play(candidates, paces, policies, guard, play, zone, grace)
    return Growth(_arriving(paces) + others, full, peak)


def can_fill(
    candidates: Sequence[Candidate],
    policies: Mapping[str, Keep],
    free: int,
    within: timedelta,
    others: float,
) -> bool:
    """Whether the disk could be full so soon if nothing left at all; quick, unlike ``growth_of``.

    Of each plan its newest points are enough.
    """
    paces = [pace for pace in (_pace(plan, candidates) for plan in policies) if pace is not None]
    most = (_arriving(paces) + others) * (within / _FINE)
    # A run more than the time divides into may fall into it.
    return most + sum(pace.bytes for pace in paces) >= free


def _arriving(paces: Sequence[_Pace]) -> float:
    return sum(pace.bytes / (pace.spacing / timedelta(days=1)) for pace in paces)


@dataclass(frozen=True, slots=True)
class _Play:
    """What is played: so much free, taken by others so fast, from now until then."""

    free: int
    others: float
    now: datetime
    until: datetime


def _pace(plan: str, candidates: Sequence[Candidate]) -> _Pace | None:
    points = [each for each in candidates if each.plan == plan and each.bytes > 0]
    points.sort(key=lambda each: each.created, reverse=True)
    if len(points) < _LEAST or points[0].created - points[-1].created < _LEAST_TIME:
        return None
    points = points[:_LOOKED_AT]
    gaps = [
        (later.created - earlier.created).total_seconds() for later, earlier in pairwise(points)
    ]
    spacing = timedelta(seconds=median(gaps))
    if spacing <= timedelta(0):
        return None
    return _Pace(points[0], spacing, round(median(each.bytes for each in points)))


def _play(
    candidates: Sequence[Candidate],
    paces: Sequence[_Pace],
    policies: Mapping[str, Keep],
    guard: Guard,
    play: _Play,
    zone: tzinfo,
    grace: timedelta,
) -> tuple[timedelta | None, int]:
    """Return after how long the disk is full, and the most that was stored until then."""
    trimmed = {plan for plan, keep in policies.items() if not keep.everything}
    standing = [each for each in candidates if each.plan in trimmed]
    # What is never removed needs no deciding: it adds up.
    fixed = sum(each.bytes for each in candidates if each.plan not in trimmed)
    begin = stored = fixed + sum(each.bytes for each in standing)
    peak = begin
    leaving: list[tuple[datetime, int]] = []
    now, room = play.now, float(play.free)
    at, number = now, max((each.sequence for each in candidates), default=0)
    while at < play.until:
        before, left = at, room
        at += _FINE if at - now < _FINE_UNTIL else _COARSE
        for pace in paces:
            fresh = _fresh(pace, now, before, at)
            if pace.newest.plan not in trimmed:
                fixed += sum(each.bytes for each in fresh)
                continue
            standing += [replace(each, sequence=number + n) for n, each in enumerate(fresh, 1)]
            number += len(fresh)
        gone = set(decide(standing, policies, guard, at, zone).leaving)
        leaving += [(at + grace, each.bytes) for each in standing if each.id in gone]
        standing = [each for each in standing if each.id not in gone]
        leaving = [(until, size) for until, size in leaving if until > at]
        stored = fixed + sum(each.bytes for each in standing) + sum(size for _, size in leaving)
        peak = max(peak, stored)
        room = play.free - (stored - begin) - play.others * ((at - now) / _FINE)
        if room <= 0:
            # Somewhere between the two: as if it were taken evenly.
            part = left / (left - room) if left > 0 else 0.0
            full = before - now + (at - before) * part
            return (full if full < play.until - now else None), peak
    return None, peak


def _fresh(pace: _Pace, now: datetime, since: datetime, until: datetime) -> list[Candidate]:
    """Return the points that a plan will take in a stretch of time.

    So many a day that they would be no more than a crowd: a few of them stand for all.
    """
    first = (since - now) // pace.spacing
    last = (until - now) // pace.spacing
    count = last - first
    shown = min(count, _MOST_A_STEP)
    size = pace.bytes * count // shown if shown else 0
    return [
        replace(
            pace.newest,
            id=f"{pace.newest.plan} {first + count * place // shown}",
            created=now + pace.spacing * (first + count * place / shown),
            bytes=size,
            good=True,
            pinned=None,
            held=None,
            adopted=False,
            verifying="",
            proved=until,
        )
        for place in range(1, shown + 1)
    ]
