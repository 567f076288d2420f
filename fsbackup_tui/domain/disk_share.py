"""What all else on the repository's disk takes, by what was left and stored at earlier looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fsbackup_tui.domain.trend import robust_line

_DAY = timedelta(days=1)
_LEAST = 3
_LEAST_TIME = 2.0


@dataclass(frozen=True, slots=True)
class DiskLook:
    """A look at the disk: the bytes ``free``, and those ``stored`` of points and their trash."""

    at: datetime
    free: int
    stored: int


def others_per_day(looks: Sequence[DiskLook]) -> float:
    """Return the bytes that others take a day, by the robust line through the looks.

    What the repository does not hold and nobody has free is theirs. 0 where they take nothing,
    where they give back (nobody goes on doing so), and where the looks are too few to tell.
    """
    if len(looks) < _LEAST:
        return 0.0
    days = [(look.at - looks[0].at) / _DAY for look in looks]
    if max(days) < _LEAST_TIME:
        return 0.0
    pairs = [(day, float(look.free + look.stored)) for day, look in zip(days, looks, strict=True)]
    return max(0.0, -robust_line(pairs).slope)
