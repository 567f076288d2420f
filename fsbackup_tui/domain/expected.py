"""Whether backups come as they should: which run has a good point, and which has none. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.schedule import Schedule, next_run, previous_run, runs_between
from fsbackup_tui.domain.trust import Trust

WINDOW = timedelta(days=7)
"""The stretch in which every run should have its point."""
LEAST_GRACE = timedelta(hours=1)
# A timer that fires a moment early, or a point named by its snapshot, still belongs to its run.
_EARLY = timedelta(minutes=5)


def is_good(point: PointSummary, wanted: Trust = Trust.SEALED) -> bool:
    """Whether a point is one to rely on: whole, shown good as far as its plan wants, not doubtful.

    What could not be tried, and is accepted, does not count against it.
    """
    if not point.whole or point.running or point.doubtful or point.foreign:
        return False
    if point.calmly_blocked:
        return point.trust >= Trust.SEALED
    return point.trust >= wanted


@dataclass(frozen=True, slots=True)
class Runs:
    """The scheduled runs of a window that had their time: how many, and which have no good point.

    ``missed`` has their moments, the oldest first; ``in_a_row`` how many of the newest ones.
    """

    due: int
    missed: tuple[datetime, ...]
    in_a_row: int

    @property
    def done(self) -> int:
        """How many runs have a good point."""
        return self.due - len(self.missed)


def grace_of(points: Sequence[PointSummary]) -> timedelta:
    """Return how long after its time a run may take to have its point, by how long it took."""
    took = max((point.seconds or 0.0 for point in points[:14]), default=0.0)
    return max(LEAST_GRACE, timedelta(seconds=2 * took))


def runs_in_window(
    schedule: Schedule,
    good: Sequence[datetime],
    now: datetime,
    zone: tzinfo,
    *,
    since: datetime,
    grace: timedelta = LEAST_GRACE,
) -> Runs:
    """Return how the runs of the last week went.

    ``good`` are the moments of good points; a run has its point when one was begun between it
    and the next run. ``since`` is when the plan began to be: runs before it are none. A run is
    not judged before ``grace`` has passed.
    """
    start = max(now - WINDOW, since)
    due = list(runs_between(schedule, start, now - grace, zone))
    missed = [
        run
        for run in due
        if not any(
            run - _EARLY <= moment < next_run(schedule, run, zone) - _EARLY for moment in good
        )
    ]
    in_a_row = 0
    for run in reversed(due):
        if run not in missed:
            break
        in_a_row += 1
    return Runs(len(due), tuple(missed), in_a_row)


def last_due(
    schedule: Schedule, now: datetime, zone: tzinfo, grace: timedelta = LEAST_GRACE
) -> datetime:
    """Return the newest run whose point should be there by now."""
    return previous_run(schedule, now - grace, zone)


def has_run(newest_good: datetime | None, run: datetime) -> bool:
    """Whether the newest good point is of that run, or of a later one."""
    return newest_good is not None and newest_good >= run - _EARLY
