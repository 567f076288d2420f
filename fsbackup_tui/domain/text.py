"""Words for times, ages, durations and counts; pure, and the same on every face.

Unknown is ``-``. Nothing here depends on the machine's locale.
"""

from __future__ import annotations

import math
import unicodedata
from datetime import datetime, tzinfo

UNKNOWN = "-"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    ("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 31_557_600
_WEEK_DAYS = 7


def age_text(seconds: float | None) -> str:
    """Return an age in its largest useful unit: ``45 s``, ``61 m``, ``25 h``, ``2 d``, ``3 y``.

    A moment in the future (a clock that was set back) is ``in 5 m``.
    """
    if seconds is None:
        return UNKNOWN
    if seconds <= -1:
        return f"in {age_text(-seconds)}"
    whole = int(max(0.0, seconds))
    for limit, unit, letter in (
        (2 * _MINUTE, 1, "s"),
        (2 * _HOUR, _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h"),
        (3 * _YEAR, _DAY, "d"),
    ):
        if whole < limit:
            return f"{whole // unit} {letter}"
    return f"{whole // _YEAR} y"


def duration_text(seconds: float | None) -> str:
    """Return how long something took: ``0.4 s``, ``12 s``, ``3 m 05 s``, ``2 h 10 m``."""
    if seconds is None or seconds < 0:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"


def left_text(seconds: float | None, span: tuple[float, float] | None = None) -> str:
    """Return how long something will take, with the range it probably lies in: ``4 m (3 to 6)``.

    One unit for all three; without a range as ``duration_text`` has it.
    """
    if seconds is None or span is None:
        return duration_text(seconds)
    low, high = span
    if high < 2 * _MINUTE:
        unit, size = "s", 1
    elif high < 2 * _HOUR:
        unit, size = "m", _MINUTE
    else:
        return f"{seconds / _HOUR:.1f} h ({low / _HOUR:.1f} to {high / _HOUR:.1f})"
    middle = max(0, round(seconds / size))
    least, most = int(low / size), math.ceil(high / size)
    return f"{middle} {unit} ({least} to {most})"


def zone_text(moment: datetime) -> str:
    """Return the zone of an aware moment: ``CET``, or ``UTC+03`` where it has no letters."""
    name = moment.tzname() or "UTC"
    return f"UTC{name}" if name[:1] in "+-" else name


def when_text(
    moment: datetime, now: datetime, zone: tzinfo, *, today: str = "", with_zone: bool = True
) -> str:
    """Return a moment as people read it, in ``zone``: ``02:00 CET``, with its day if not today.

    ``Sat 02:00 CET`` within a week, ``12 Nov 02:00 CET`` within the year, else the full date.
    ``today`` stands before the time of a moment of today.
    """
    there, here = moment.astimezone(zone), now.astimezone(zone)
    days = (here.date() - there.date()).days
    clock = f"{there:%H:%M}" + (f" {zone_text(there)}" if with_zone else "")
    if days == 0:
        return f"{today} {clock}" if today else clock
    if 0 < days < _WEEK_DAYS:
        return f"{_DAYS[there.weekday()]} {clock}"
    if there.year == here.year:
        month = _MONTHS[(there.month - 1) // 6][(there.month - 1) % 6]
        return f"{there.day} {month} {clock}"
    return f"{there:%Y-%m-%d} {clock}"


def many_text(count: int, noun: str) -> str:
    """Return so many of something: ``1 point``, ``12 points``."""
    return f"{count_text(count)} {noun}{'' if count == 1 else 's'}"


def count_text(count: int | None) -> str:
    """Return a count with a space between thousands: ``41 890``."""
    return UNKNOWN if count is None else f"{count:,}".replace(",", " ")


def plain_text(text: str) -> str:
    """Return foreign text (names, log lines) as one line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def cell_width(text: str) -> int:
    """Return the columns a terminal gives a text: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def shorten(text: str, width: int) -> str:
    """Return a text cut to ``width`` columns, with ``…`` where something was cut off."""
    if cell_width(text) <= width:
        return text
    kept: list[str] = []
    left = width - 1
    for character in text:
        left -= _cells(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…" if width > 0 else ""
