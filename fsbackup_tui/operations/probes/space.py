"""How long the repository's disk will do: bytes and inodes, by what was left at earlier looks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

from fsbackup_tui.domain.anomaly import size_words
from fsbackup_tui.domain.disk_share import others_per_day
from fsbackup_tui.domain.finding import Finding, Severity
from fsbackup_tui.domain.growth import CRITICAL_WITHIN, WARN_WITHIN, Growth, can_fill, growth_of
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.retention import Candidate
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.domain.text import age_text, count_text
from fsbackup_tui.operations.disk_looks import keep_looks, look_now, read_looks
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.retain_look import look, policies_of
from fsbackup_tui.repository.layout import Repository

_HORIZON = timedelta(days=15)
_WARN_INODES, _CRITICAL_INODES = 0.05, 0.01
_NEWEST = 20
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
    found = _foretold(ground, ground.repository, free)
    if found is None:
        return
    ground.number("fsbackup_repository_growth_bytes_per_day", found.per_day)
    if found.full is None:
        return
    ground.number("fsbackup_repository_full_days", found.full / timedelta(days=1))
    if found.full < WARN_WITHIN:
        soon = age_text(found.full.total_seconds())
        severity: Severity = "critical" if found.full < CRITICAL_WITHIN else "warning"
        yield Finding(
            "disk-forecast",
            severity,
            None,
            f"DISK FULL IN {soon}: {size_words(free)} free in {root}.",
            f"{size_words(round(found.per_day))} come new a day, more than leaves; "
            "then backups fail.",
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


def _foretold(ground: Ground, repository: Repository, free: int) -> Growth | None:
    """Return how the disk fills, as the screen of retention shows it, as far as alarms need it."""
    root = ground.loaded.config.repository
    looks = [
        *read_looks(ground.state, root, ground.now),
        look_now(ground.catalogue, repository, free, ground.now),
    ]
    if not ground.loaded.config.read_only:
        keep_looks(ground.state, root, looks)
    others = others_per_day(looks)
    policies = policies_of(ground.loaded.config)
    newest = [_as_candidate(point) for plan in policies for point in ground.points(plan)[:_NEWEST]]
    if not can_fill(newest, policies, free, _HORIZON, others):
        # Playing retention on takes its time; here nothing can come of it.
        return growth_of(newest, policies, Guard(), free, ground.now, ground.zone, others=others,
                         horizon=timedelta(0))  # fmt: skip
    seen = look(ground.loaded, ground.environ, repository, ground.now)
    return growth_of(
        seen.candidates,
        seen.policies,
        seen.guard,
        free,
        ground.now,
        seen.zone,
        grace=seen.grace,
        others=others,
        horizon=_HORIZON,
    )


def _as_candidate(point: PointSummary) -> Candidate:
    return Candidate(
        point.id, point.plan, point.created, point.sequence, point.bytes, True, point.trust
    )
