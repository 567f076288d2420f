"""A plan's points by stretches of time, as a picture of them shows one column each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from operator import sub
from statistics import median

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust

UNITS: Sequence[timedelta] = (
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=30),
)
_USUAL = timedelta(days=1)
_NEARLY = 0.9


@dataclass(frozen=True, slots=True)
class Bucket:
    """The points of one stretch of time: how many, the newest, and the newest bad one if any."""

    count: int
    newest: PointSummary
    bad: PointSummary | None = None

    @property
    def told(self) -> PointSummary:
        """The point that speaks for the stretch: the newest bad one before the newest."""
        return self.bad or self.newest


@dataclass(frozen=True, slots=True)
class Picture:
    """A plan's points up to ``until``, each bucket ``unit`` long, the oldest first.

    A bucket is None where there was no point; ``oldest`` is the plan's first point of all,
    ``spacing`` how far apart they usually are.
    """

    plan: str
    unit: timedelta
    until: datetime
    buckets: tuple[Bucket | None, ...]
    oldest: datetime | None
    spacing: timedelta | None = None

    @property
    def gaps_tell(self) -> bool:
        """Whether an empty bucket means that a point is missing: each should hold one."""
        return self.spacing is not None and self.unit >= self.spacing * _NEARLY

    def start(self, place: int) -> datetime:
        """Return when a bucket begins."""
        return self.until - self.unit * (len(self.buckets) - place)


def is_bad(point: PointSummary) -> bool:
    """Whether a point is not to be restored: doubtful, damaged or never finished."""
    return point.doubtful or point.trust in (Trust.DAMAGED, Trust.INCOMPLETE)


def usual_spacing(newest: Sequence[PointSummary]) -> timedelta | None:
    """Return how far apart a plan's points usually are; None for fewer than two."""
    times = [point.created for point in newest]
    return median(map(sub, times, times[1:])) if len(times) > 1 else None


def usual_unit(
    oldest: datetime | None, now: datetime, columns: int, spacing: timedelta | None
) -> timedelta:
    """Return the shortest unit that shows all points, at most a day, and one point a column."""
    age = timedelta(0) if oldest is None else now - oldest
    unit = next((one for one in UNITS if one * (columns - 1) >= age or one >= _USUAL), _USUAL)
    wide = next((one for one in UNITS if one >= (spacing or unit) * _NEARLY), UNITS[-1])
    return max(unit, wide)


def end_of(now: datetime, unit: timedelta, zone: tzinfo) -> datetime:
    """Return the end of the unit that ``now`` is in; days begin at midnight in the zone."""
    here = now.astimezone(zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    length = min(unit, timedelta(days=1))
    whole = int((here.replace(tzinfo=None) - midnight.replace(tzinfo=None)) / length)
    end = (midnight.replace(tzinfo=None) + length * (whole + 1)).replace(tzinfo=zone)
    return end.astimezone(UTC)


def fill_buckets(
    points: Iterable[PointSummary], until: datetime, unit: timedelta, columns: int
) -> tuple[Bucket | None, ...]:
    """Return the points of the last ``columns`` units before ``until``, the oldest first.

    The points come the newest first. Those still being written are left out.
    """
    since = until - unit * columns
    buckets: list[Bucket | None] = [None] * columns
    for point in points:
        place = (point.created - since) // unit
        if point.running or not 0 <= place < columns:
            continue
        bad = point if is_bad(point) else None
        before = buckets[place]
        if before is None:
            buckets[place] = Bucket(1, point, bad)
        else:
            buckets[place] = replace(before, count=before.count + 1, bad=before.bad or bad)
    return tuple(buckets)
