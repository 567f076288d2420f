"""When was it last right? What people write in answer, as a moment. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.text import age_text, when_text

UNKNOWN_WORDS = frozenset({"unknown", "?", "don't know", "dont know", "no idea", ""})
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?:(?P<day>[A-Za-z]+)\s+)?(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?::(?P<second>\d{2}))?"
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOW = "Write it like 02:45, yesterday 14:00, Sat 02:00, 20 m ago, 2026-11-22T02:45, or unknown."


def parse_last_right(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """Return the moment (UTC) that was meant, None for unknown.

    A bare time is the last one of that kind before now, in ``zone``.

    Raises:
        UsageError: it is no time, lies in the future, or the clocks had it twice or never.
    """
    said = " ".join(text.strip().split())
    if said.lower() in UNKNOWN_WORDS:
        return None
    found = _ago(said, now) or _clock(said, now, zone) or _iso(said, zone)
    if found is None:
        raise UsageError(f"NOT A TIME: {said}.", fix=_HOW)
    if found > now:
        raise UsageError(
            f"IN THE FUTURE: {when_text(found, now, zone)}.",
            why="It is asked when it was last right.",
            fix=_HOW,
        )
    return found


def echo_last_right(moment: datetime | None, now: datetime, zone: tzinfo) -> str:
    """Return the moment with zone, UTC and age, so that a mistake shows: ``02:45 CET = …``."""
    if moment is None:
        return "not known; the damage report looks for it"
    age = age_text((now - moment).total_seconds())
    return (
        f"{when_text(moment, now, zone)} = {moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {age} ago"
    )


def _ago(said: str, now: datetime) -> datetime | None:
    body, ago, _ = said.lower().rpartition("ago")
    if not ago or _AGO_PART.sub("", body).strip(" ,and"):
        return None
    parts = _AGO_PART.findall(body)
    if not parts:
        return None
    seconds = sum(float(number) * _UNITS[unit[0].lower()] for number, unit in parts)
    return now - timedelta(seconds=seconds)


def _clock(said: str, now: datetime, zone: tzinfo) -> datetime | None:
    match = _CLOCK.fullmatch(said)
    if match is None or int(match["hour"]) > 23 or int(match["minute"]) > 59:
        return None
    local = now.astimezone(zone)
    wanted = local.replace(tzinfo=None).replace(
        hour=int(match["hour"]),
        minute=int(match["minute"]),
        second=int(match["second"] or 0),
        microsecond=0,
    )
    day = (match["day"] or "").lower()
    if day in ("", "today"):
        moment = _in_zone(wanted, said, zone)
        if day == "" and moment > now:
            moment = _in_zone(wanted - timedelta(days=1), said, zone)
        return moment
    if day == "yesterday":
        return _in_zone(wanted - timedelta(days=1), said, zone)
    if day[:3] not in _DAYS:
        return None
    back = (local.weekday() - _DAYS.index(day[:3])) % 7
    moment = _in_zone(wanted - timedelta(days=back), said, zone)
    return moment if moment <= now else _in_zone(wanted - timedelta(days=back + 7), said, zone)


def _iso(said: str, zone: tzinfo) -> datetime | None:
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else _in_zone(moment, said, zone)


def _in_zone(local: datetime, said: str, zone: tzinfo) -> datetime:
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    never = first.astimezone(UTC) > second.astimezone(UTC)
    raise UsageError(
        f"WHICH ONE? {said} {'never was' if never else 'was twice'} that night.",
        why="The clocks were changed.",
        fix=f"Give it with its zone: {first.isoformat()} or {second.isoformat()}",
    )
