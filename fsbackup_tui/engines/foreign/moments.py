"""When a backup was taken: what tells it, from the best witness to the worst."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

_IN_NAME = re.compile(
    r"(?<!\d)(?P<year>20\d\d)-?(?P<month>[01]\d)-?(?P<day>[0-3]\d)"
    r"(?:[T_ -]?(?P<hour>[0-2]\d)[:.-]?(?P<minute>[0-5]\d)"
    r"(?:[:.-]?(?P<second>[0-5]\d))?(?P<utc>Z)?)?"
    r"(?!\d)"
)
# A file is written after the moment in its name, but for clocks and zones that differ.
_SKEW = timedelta(hours=26)


def moment_taken(
    *, said: datetime | None, name: str, packed: datetime | None, modified: datetime, zone: tzinfo
) -> tuple[datetime, str]:
    """Return when a backup was taken (UTC), and what tells it, in words.

    ``said`` is what the dump itself says, ``packed`` what gzip's header remembers; a time
    without a zone is in ``zone``. A name that contradicts ``modified`` is not believed.
    """
    if said is not None:
        return _utc(said, zone), "the dump itself"
    named = _named(name, modified, zone)
    if named is not None:
        return named, "its name"
    if packed is not None and packed <= modified + _SKEW:
        return packed.astimezone(UTC), "the time that gzip kept"
    return modified.astimezone(UTC), "its modification time"


def _utc(moment: datetime, zone: tzinfo) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _named(name: str, modified: datetime, zone: tzinfo) -> datetime | None:
    for match in _IN_NAME.finditer(name):
        numbers = [match[part] for part in ("year", "month", "day", "hour", "minute", "second")]
        try:
            year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
            written = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
        except ValueError:
            continue
        # A day alone: where the file was written on that day, its own time is better.
        if match["hour"] is None and modified.astimezone(zone).date() == written.date():
            return None
        moment = _utc(written, UTC if match["utc"] else zone)
        if moment <= modified + _SKEW:
            return moment
    return None


def packed_moment(head: bytes) -> datetime | None:
    """Return the modification time that gzip kept of the file it packed (RFC 1952, MTIME)."""
    if not head.startswith(b"\x1f\x8b") or len(head) < 8:
        return None
    seconds = int.from_bytes(head[4:8], "little")
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
