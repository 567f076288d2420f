"""What has gone stale: the oldest proof first, and nothing that keeps the others waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fsbackup_tui.config.model import Plan
from fsbackup_tui.domain.estimate import MeasuredRun, Work, phases_to
from fsbackup_tui.domain.point import LevelCheck, PartSummary, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.verify_due import due_points, expected_seconds

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
PLANS = {
    "daily": Plan(sources=("db",), verify="proven", verify_every=timedelta(days=7)),
    "hourly": Plan(sources=("db",), verify="sealed", verify_every=timedelta(days=1)),
    "free": Plan(sources=("db",), verify="proven"),
}


def point(
    name: str,
    *,
    plan: str = "daily",
    age: float = 30.0,
    tried: dict[str, tuple[float, bool | None]] | None = None,
    whole: bool = True,
    foreign: str = "",
) -> PointSummary:
    """A point of ``age`` days; ``tried`` has days ago and outcome by level."""
    levels = {
        word: LevelCheck(ok, NOW - timedelta(days=days), "job", 1.0)
        for word, (days, ok) in (tried or {}).items()
    }
    return PointSummary(
        id=name,
        sequence=1,
        plan=plan,
        created=NOW - timedelta(days=age),
        whole=whole,
        running=False,
        trust=Trust.SEALED,
        suspect=(),
        bytes=100,
        parts=(PartSummary("db", "postgres", Trust.SEALED, 100, 1, 400),),
        database_bytes=400,
        levels=levels,
        foreign=foreign,
    )


def due(*points: PointSummary) -> list[str]:
    return [item.point.id for item in due_points(points, PLANS, NOW)]


def test_never_proven_comes_first_then_the_oldest_proof() -> None:
    assert due(
        point("fresh", tried={"proven": (3, True)}),
        point("old", tried={"proven": (9, True)}),
        point("older", tried={"proven": (20, True)}),
        point("never", tried={"sealed": (1, True)}),
        point("never, but newer", age=1),
    ) == ["never, but newer", "never", "older", "old"]


def test_a_plan_that_asks_for_nothing_is_left_alone() -> None:
    assert due(point("a", plan="free"), point("b", plan="gone")) == []


def test_what_is_no_whole_point_of_ours_is_left_alone() -> None:
    assert due(point("a", whole=False), point("b", foreign="/srv/backup.sql.gz")) == []


def test_every_plan_has_its_own_level_and_time() -> None:
    (item,) = due_points([point("a", plan="hourly", tried={"sealed": (2, True)})], PLANS, NOW)
    assert item.level is Trust.SEALED
    assert item.proven == NOW - timedelta(days=2)


@pytest.mark.parametrize(
    "tried",
    [
        {"sealed": (1.0, False), "proven": (20.0, True)},
        {"sealed": (1.0, True), "restored": (1.0, None)},
        {"proven": (1.0, False)},
    ],
)
def test_what_did_not_hold_waits_its_turn_like_the_others(
    tried: dict[str, tuple[float, bool | None]],
) -> None:
    assert due(point("failed", tried=tried)) == []


def test_a_failure_is_tried_again_in_time() -> None:
    (item,) = due_points([point("a", tried={"proven": (8, False)})], PLANS, NOW)
    assert item.proven is None
    assert item.tried == NOW - timedelta(days=8)


def test_its_duration_is_that_of_runs_of_its_kind() -> None:
    (item,) = due_points([point("a")], PLANS, NOW)
    assert expected_seconds(item, []) is None
    seconds = dict.fromkeys(phases_to(Trust.PROVEN, restorable=True), 2.0)
    told = expected_seconds(item, [MeasuredRun(NOW, Work(100, 400), seconds, "own 17")])
    assert told == pytest.approx(2.0 * len(seconds))
