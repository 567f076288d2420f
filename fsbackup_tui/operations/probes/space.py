"""How long the repository's disk will do: bytes and inodes, by what was left at earlier looks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from fsbackup_tui.domain.anomaly import size_words
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.finding import Finding, Severity
from fsbackup_tui.domain.text import age_text, count_text
from fsbackup_tui.domain.trend import Forecast, forecast
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.repository.files import replace_file, state_file_mode

_NAME = "space.json"
_BETWEEN = timedelta(hours=6)
_KEPT_FOR = timedelta(days=30)
_WARN_DAYS, _CRITICAL_DAYS = 14.0, 3.0
_WARN_INODES, _CRITICAL_INODES = 0.05, 0.01
_DAY = 86400.0
_FIX = "Free space there, keep fewer points (keep:), or move the repository: fsbackup retain"


def disk(ground: Ground) -> Iterator[Finding]:
    """Yield when the disk of the repository is full, or about to be."""
    if ground.repository is None:
        return
    root = ground.repository.root
    facts = os.statvfs(root)
    free = facts.f_bavail * facts.f_frsize
    ground.number("fsbackup_repository_free_bytes", free)
    ground.number("fsbackup_repository_size_bytes", facts.f_blocks * facts.f_frsize)
    yield from _inodes(ground, facts)
    needed = _next_bytes(ground)
    if needed and free < needed:
        yield Finding(
            "disk-space",
            "critical",
            None,
            f"NO ROOM FOR THE NEXT BACKUP: {size_words(free)} free in {root}.",
            f"The last ones had {size_words(needed)}.",
            _FIX,
        )
        return
    found = _foretold(ground, free)
    if found is None:
        return
    ground.number("fsbackup_repository_growth_bytes_per_day", max(0.0, found.per_day))
    if found.days is None:
        return
    ground.number("fsbackup_repository_full_days", found.days)
    if found.days < _WARN_DAYS:
        severity: Severity = "critical" if found.days < _CRITICAL_DAYS else "warning"
        yield Finding(
            "disk-forecast",
            severity,
            None,
            f"DISK FULL IN {age_text(found.days * _DAY)}: {size_words(free)} free in {root}.",
            f"{size_words(round(found.per_day))} more are taken a day; then backups fail.",
            _FIX,
        )


def _inodes(ground: Ground, facts: os.statvfs_result) -> Iterator[Finding]:
    # Some file systems (btrfs) make them as they go and tell of none.
    if not facts.f_files:
        return
    share = facts.f_favail / facts.f_files
    ground.number("fsbackup_repository_free_inodes", facts.f_favail)
    if share < _WARN_INODES:
        severity: Severity = "critical" if share < _CRITICAL_INODES else "warning"
        yield Finding(
            "disk-inodes",
            severity,
            None,
            f"FEW INODES LEFT: {count_text(facts.f_favail)} of {count_text(facts.f_files)}.",
            "Without one no file can be made, however many bytes are free.",
            _FIX,
        )


def _next_bytes(ground: Ground) -> int:
    """Return what the next runs will take: the largest of each plan's newest points, together."""
    plans = ground.loaded.config.plans
    newest = [[p.bytes for p in ground.points(plan)[:3] if p.whole] for plan in plans]
    return sum(max(sizes) for sizes in newest if sizes)


def _foretold(ground: Ground, free: int) -> Forecast | None:
    """Return when it is full by earlier looks, or, while there are few, by the points alone."""
    samples = [*_samples(ground), (ground.now, free)]
    _keep(ground, samples)
    now = ground.now.timestamp() / _DAY
    found = forecast([(at.timestamp() / _DAY, float(left)) for at, left in samples], now)
    if found is not None:
        return found
    points = [point for point in ground.points() if point.whole]
    if len(points) < 3:
        return None
    days = (points[0].created - points[-1].created) / timedelta(days=1)
    if days < 2:
        return None
    per_day = sum(point.bytes for point in points[:-1]) / days
    if ground.trims:
        return Forecast(per_day, None)  # as much may leave as comes: looks will tell
    return Forecast(per_day, free / per_day if per_day else None)


def _samples(ground: Ground) -> list[tuple[datetime, int]]:
    try:
        document = json.loads((ground.state / _NAME).read_bytes())
        root = str(ground.loaded.config.repository)
        if document["root"] != root:
            return []
        listed = [(parse_time(str(at)), int(free)) for at, free in document["free"]]
        return [(at, free) for at, free in listed if at < ground.now < at + _KEPT_FOR]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _keep(ground: Ground, samples: list[tuple[datetime, int]]) -> None:
    close = len(samples) > 1 and samples[-1][0] - samples[-2][0] < _BETWEEN
    if close or ground.loaded.config.read_only:
        return
    document = {
        "format": 1,
        "root": str(ground.loaded.config.repository),
        "free": [(format_time(at), left) for at, left in samples],
    }
    path = ground.state / _NAME
    with suppress(OSError):
        replace_file(path, json.dumps(document).encode(), mode=state_file_mode(path))
