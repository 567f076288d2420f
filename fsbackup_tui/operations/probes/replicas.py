"""Whether copies are where the plans want them: not behind, whole, and read back in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from fsbackup_tui.domain.copies import LATE, is_unread
from fsbackup_tui.domain.finding import Finding, Severity
from fsbackup_tui.domain.point import Copy, PointSummary
from fsbackup_tui.domain.text import age_text, plain_text, when_text
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.probes.plans import good

_LEAST_LAG = timedelta(hours=6)


def copies(ground: Ground) -> Iterator[Finding]:
    """Yield each replica that lacks the newest good points, or holds a copy that is wrong."""
    config = ground.loaded.config
    for replica in config.replicas:
        plans = [name for name, plan in config.plans.items() if replica in plan.replicas]
        points = [point for plan in plans for point in ground.points(plan)]
        yield from _lag(ground, replica, plans)
        yield from _wrong(ground, replica, points)
        yield from _unread(ground, replica, points, config.replicas[replica].read_back.every)


def _copy(point: PointSummary, replica: str) -> Copy | None:
    return next((copy for copy in point.copies if copy.replica == replica), None)


def _lag(ground: Ground, replica: str, plans: Sequence[str]) -> Iterator[Finding]:
    """Yield how far the replica is behind: since the oldest good point that it lacks at the end."""
    waiting: list[PointSummary] = []
    newest: PointSummary | None = None
    for plan in plans:
        for point in ground.points(plan):
            if not good(ground, point):
                continue
            copy = _copy(point, replica)
            if copy is not None and copy.state == "whole":
                if newest is None or point.created > newest.created:
                    newest = point
                break
            if copy is None or copy.state != "removed":
                waiting.append(point)
    if newest is not None:
        age = ground.age(newest.created).total_seconds()
        ground.number("fsbackup_replica_age_seconds", age, replica=replica)
    ground.number("fsbackup_replica_waiting_points", len(waiting), replica=replica)
    if not waiting:
        return
    first = min(waiting, key=lambda point: point.created)
    lag = ground.age(first.created) - timedelta(seconds=first.seconds or 0)
    if lag <= _LEAST_LAG:
        return
    severity: Severity = "critical" if lag > LATE or newest is None else "warning"
    had = "It never had one." if newest is None else (
        f"The newest there is of {when_text(newest.created, ground.now, ground.zone)}."
    )  # fmt: skip
    behind = age_text(lag.total_seconds())
    count = f"{len(waiting)} points are" if len(waiting) > 1 else "1 point is"
    yield Finding(
        f"replica-lag:{replica}",
        severity,
        first.created,
        f"REPLICA BEHIND: {count} not on {replica}, the oldest for {behind}.",
        f"{had} If this machine is lost now, that is all there is.",
        "fsbackup replicate   sends them, or says why it can't",
        subject=replica,
    )


def _wrong(ground: Ground, replica: str, points: Sequence[PointSummary]) -> Iterator[Finding]:
    found = [(point, copy) for point in points for copy in point.copies
             if copy.replica == replica and copy.state == "wrong"]  # fmt: skip
    ground.number("fsbackup_replica_wrong_points", len(found), replica=replica)
    if not found:
        return
    point, copy = found[0]
    more = f" (+{len(found) - 1} more)" if len(found) > 1 else ""
    yield Finding(
        f"replica-wrong:{replica}",
        "critical",
        min(each.at for _, each in found),
        f"COPY NOT WHOLE: {point.id} on {replica}{more}.",
        plain_text(copy.why) or "What is there is not what was sent.",
        "fsbackup replicate   sends what is missing or altered once more",
        subject=replica,
    )


def _unread(
    ground: Ground, replica: str, points: Sequence[PointSummary], every: timedelta
) -> Iterator[Finding]:
    """Yield that nothing of a copy was read back for longer than its period."""
    stale = [
        (copy.checked_at or copy.at, point)
        for point in points
        for copy in point.copies
        if copy.replica == replica and is_unread(copy, every, ground.now)
    ]
    if not stale:
        return
    at, point = min(stale, key=lambda item: item[0])
    yield Finding(
        f"replica-unread:{replica}",
        "warning",
        at + every,
        f"COPY NOT READ BACK: {point.id} on {replica}, for "
        f"{age_text(ground.age(at).total_seconds())}.",
        f"All of it should be within {age_text(every.total_seconds())}; bytes go bad unseen.",
        "fsbackup replicate --check",
        subject=replica,
    )
