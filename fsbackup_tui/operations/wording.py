"""One wording for every face: sizes, ages, times, durations, counts; unknown is ``-``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

import humanize

from fsbackup_tui.domain.point import AcceptedBlock, LevelCheck, PointSummary, SpareSummary
from fsbackup_tui.domain.text import (
    UNKNOWN,
    age_text,
    cell_width,
    count_text,
    duration_text,
    left_text,
    plain_text,
    shorten,
    zone_text,
)
from fsbackup_tui.domain.text import when_text as _when_text

__all__ = [
    "AFTER_DAMAGE",
    "IN_INCIDENT",
    "UNKNOWN",
    "accepted_words",
    "age_text",
    "blocked_words",
    "cell_width",
    "count_text",
    "damage_words",
    "duration_text",
    "in_incident_words",
    "left_text",
    "level_word",
    "pad_text",
    "place_words",
    "plain_text",
    "shorten",
    "size_text",
    "spare_words",
    "when_text",
    "zone_text",
]


def size_text(count: int | None) -> str:
    """Return bytes in decimal units: ``512 B``, ``1.2 GB``, ``310 MB``."""
    if count is None or count < 0:
        return UNKNOWN
    text = humanize.naturalsize(count, format="%.1f")
    number, _, unit = text.partition(" ")
    if unit.startswith("Byte"):
        return f"{count} B"
    if float(number) < 10:
        return text
    whole = humanize.naturalsize(count, format="%.0f")
    return whole.replace("1 ", "1.0 ", 1) if whole.startswith("1 ") else whole


def when_text(moment: datetime | None, now: datetime, zone: tzinfo) -> str:
    """Return a moment in ``zone`` as lists show it: ``today 02:00 CET``, ``Sat 02:00 CET``."""
    return UNKNOWN if moment is None else _when_text(moment, now, zone, today="today")


def pad_text(text: str, width: int, *, right: bool = False) -> str:
    """Return a text in exactly ``width`` columns, cut with ``…`` or filled with spaces."""
    shown = shorten(text, width)
    fill = " " * (width - cell_width(shown))
    return fill + shown if right else shown + fill


def level_word(ok: bool | None) -> str:
    """Return how the check of a rung ended; None is a rung that could not be tried."""
    return {True: "ok", False: "FAILED", None: "blocked"}[ok]


def blocked_words(levels: Mapping[str, LevelCheck]) -> str:
    """Return what a point's blockers kept from being shown: ``could not be proven here``."""
    blocked = (
        shown
        for word, shown in _BLOCKED_AT.items()
        if (check := levels.get(word)) is not None and check.ok is None
    )
    return f"could not be {next(blocked, 'verified')} here"


def accepted_words(accepted: AcceptedBlock) -> str:
    """Return what could not be tried, and why that is accepted."""
    return f"{accepted.what} (accepted: {accepted.reason})"


def place_words(place: str) -> str:
    """Return where a trial restore ran: ``on own server 18.1``, ``beside live on db1``."""
    return place if place.startswith("beside ") else f"on {place}"


AFTER_DAMAGE = "AFTER DAMAGE"


def in_incident_words(incident: str) -> str:
    """Return why a point that was taken in an incident is not to be relied on."""
    return f"taken in the incident {incident}: what it holds may be damaged"


def damage_words(point: PointSummary) -> str:
    """Return on which side of the damage a point was taken; empty where no incident is open."""
    if point.after_damage is None:
        return ""
    if point.after_damage:
        return "taken after it was last right: it may hold the damage"
    return "taken before the damage"


def spare_words(spare: SpareSummary, now: datetime, zone: tzinfo) -> str:
    """Return a spare in words: its name, where it is, since when."""
    age = age_text((now - spare.proven).total_seconds())
    since = f"proven {when_text(spare.proven, now, zone)}, {age} ago"
    return f"{spare.name} on {spare.server}, fenced off, {since}"


IN_INCIDENT = "IN INCIDENT"
_BLOCKED_AT = {
    "sealed": "read",
    "readable": "read",
    "restored": "restored",
    "proven": "proven",
}
