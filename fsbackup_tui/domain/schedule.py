"""When a plan, a drill or a check is due: ``at:`` of the configuration, in a time zone. Pure.

Times of day are those of the wall clock in the zone given. One that the clock skips (summer time
begins) is due at the moment the gap ends; one that comes twice (summer time ends) is due the first
time only. Two that fall on the same moment are one run. ``hourly`` knows no wall clock: it is due
at each full hour of UTC, so that no change of the clock makes it come twice or stay away.

All moments are aware datetimes; those returned are in UTC.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""As they are written, Monday (0) first."""

ALL_DAYS = frozenset(range(7))

FORMS = "'02:00', 'Mon-Fri 02:00, 14:00', 'Sun 03:00', 'hourly' or 'monthly 1 04:00'"
"""What a schedule can look like, for messages."""

_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_MONTHLY = re.compile(r"monthly(?: (\S+)(?: (\S+))?)?")
# A zone can leave out a whole day (Samoa, 30 December 2011): the day before that one still counts.
_DAYS_BACK = timedelta(days=2)
_LONGEST_MONTH = 31
_HOUR = timedelta(hours=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One ``at:``: times of day on some days of the week or one of the month, or each hour.

    ``times`` is ascending, without seconds; empty means hourly. ``month_day`` is 1 to 31 for a
    monthly one (a shorter month: its last day), whose ``days`` are all. ``str()`` writes the form
    that ``parse_schedule`` reads.
    """

    times: tuple[time, ...] = ()
    days: frozenset[int] = ALL_DAYS
    month_day: int | None = None

    @property
    def hourly(self) -> bool:
        """Whether it is due at each full hour."""
        return not self.times

    def __str__(self) -> str:
        if self.hourly:
            return "hourly"
        times = ", ".join(f"{moment:%H:%M}" for moment in self.times)
        if self.month_day is not None:
            return f"monthly {self.month_day} {times}"
        return times if self.days == ALL_DAYS else f"{_days_text(self.days)} {times}"


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that a text describes; ValueError says what is wrong with it, plainly."""
    words = re.sub(r"\s*,\s*", ",", " ".join(text.split()))
    if not words:
        raise ValueError(f"it is empty; write {FORMS}")
    if words.lower() == "hourly":
        return Schedule()
    if words.lower().startswith("monthly"):
        return _monthly(words.lower())
    pieces = words.split(" ")
    if len(pieces) > 2 or not _TIME.fullmatch(pieces[-1].split(",")[0]):
        raise ValueError(f"'{text}' is no time; write {FORMS}")
    days = _days(pieces[0]) if len(pieces) == 2 else ALL_DAYS
    return Schedule(_times(pieces[-1]), days)


def next_run(schedule: Schedule, after: datetime, zone: tzinfo) -> datetime:
    """Return the first moment it is due later than ``after``."""
    _check_aware(after)
    if schedule.hourly:
        return _full_hour(after) + _HOUR
    day = after.astimezone(zone).date() - _DAYS_BACK
    while True:
        for moment in _due_on(schedule, day, zone):
            if moment > after:
                return moment
        day = _next_day(schedule, day)


def previous_run(schedule: Schedule, at_or_before: datetime, zone: tzinfo) -> datetime:
    """Return the last moment it was due, that moment itself included."""
    _check_aware(at_or_before)
    if schedule.hourly:
        return _full_hour(at_or_before)
    day = at_or_before.astimezone(zone).date() + timedelta(days=1)
    while True:
        for moment in reversed(_due_on(schedule, day, zone)):
            if moment <= at_or_before:
                return moment
        day -= timedelta(days=1)


def runs_between(
    schedule: Schedule, start: datetime, end: datetime, zone: tzinfo
) -> Iterator[datetime]:
    """Yield each moment it is due later than ``start``, up to and including ``end``, in order."""
    moment = next_run(schedule, start, zone)
    while moment <= end:
        yield moment
        moment = next_run(schedule, moment, zone)


def longest_pause(schedule: Schedule) -> timedelta:
    """Return how far apart two runs that follow each other can lie by the wall clock."""
    if schedule.hourly:
        return _HOUR
    first, last = schedule.times[0], schedule.times[-1]
    starts = [timedelta(hours=moment.hour, minutes=moment.minute) for moment in schedule.times]
    within = max((b - a for a, b in pairwise(starts)), default=timedelta())
    over_night = timedelta(hours=first.hour - last.hour, minutes=first.minute - last.minute)
    if schedule.month_day is not None:
        return max(within, timedelta(days=_LONGEST_MONTH) + over_night)
    days = sorted(schedule.days)
    apart = max((b - a for a, b in zip(days, [*days[1:], days[0] + 7], strict=True)), default=7)
    return max(within, timedelta(days=apart) + over_night)


def _monthly(words: str) -> Schedule:
    match = _MONTHLY.fullmatch(words)
    if match is None or match[2] is None:
        raise ValueError(f"'{words}' needs a day and a time, as in 'monthly 1 04:00'")
    if not match[1].isascii() or not match[1].isdigit() or not 1 <= int(match[1]) <= 31:
        raise ValueError(f"'{match[1]}' is no day of a month: 1 to 31")
    if "," in match[2]:
        raise ValueError("monthly takes one time")
    return Schedule(_times(match[2]), ALL_DAYS, int(match[1]))


def _times(text: str) -> tuple[time, ...]:
    times = set()
    for word in text.split(","):
        match = _TIME.fullmatch(word) if word.isascii() else None
        if match is None:
            raise ValueError(f"'{word}' is no time of day; write it as 02:00")
        hour, minute = int(match[1]), int(match[2])
        if hour > 23 or minute > 59:
            raise ValueError(f"there is no {word}: a day goes from 00:00 to 23:59")
        times.add(time(hour, minute))
    return tuple(sorted(times))


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for word in text.split(","):
        first, dash, last = word.partition("-")
        begin = _day(first)
        end = _day(last) if dash else begin
        days.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(days)


def _day(name: str) -> int:
    try:
        return [day.lower() for day in DAY_NAMES].index(name.lower())
    except ValueError:
        known = ", ".join(DAY_NAMES)
        raise ValueError(f"'{name}' is no day; the days are {known}") from None


def _days_text(days: frozenset[int]) -> str:
    """Return the days as they are written, three and more in a row as a range."""
    groups: list[list[int]] = []
    for day in sorted(days):
        if groups and groups[-1][-1] == day - 1:
            groups[-1].append(day)
        else:
            groups.append([day])
    words = []
    for group in groups:
        if len(group) > 2:
            words.append(f"{DAY_NAMES[group[0]]}-{DAY_NAMES[group[-1]]}")
        else:
            words += [DAY_NAMES[day] for day in group]
    return ",".join(words)


def _due_on(schedule: Schedule, day: date, zone: tzinfo) -> list[datetime]:
    """Return the moments, ascending, that one date of the wall calendar asks for."""
    if schedule.month_day is not None:
        length = calendar.monthrange(day.year, day.month)[1]
        if day.day != min(schedule.month_day, length):
            return []
    elif day.weekday() not in schedule.days:
        return []
    return sorted({_moment(datetime.combine(day, at), zone) for at in schedule.times})


def _next_day(schedule: Schedule, day: date) -> date:
    """Return the next date worth looking at; a monthly one leaps most of the month."""
    step = 1
    if schedule.month_day is not None:
        length = calendar.monthrange(day.year, day.month)[1]
        step = max(1, min(schedule.month_day, length) - day.day)
    return day + timedelta(days=step)


def _moment(wall: datetime, zone: tzinfo) -> datetime:
    """Return when the wall clock first shows a time, or, if it skips it, the end of the gap."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
        return first
    # In a gap, fold 0 reads the time by the offset before it, which lies behind the gap, and
    # fold 1 by the one after, which lies before it: the change of the offset is between the two.
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = first
    after = high.astimezone(zone).utcoffset()
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            middle = low + _SECOND
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


def _full_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _check_aware(moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise ValueError(f"{moment} carries no time zone")
