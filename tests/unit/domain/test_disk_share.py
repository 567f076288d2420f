"""What others take of the repository's disk, and that the growth of the points counts it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fsbackup_tui.domain.disk_share import DiskLook, others_per_day
from fsbackup_tui.domain.growth import can_fill, growth_of
from fsbackup_tui.domain.retention import Candidate, Keep
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.domain.trust import Trust

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def looks(*figures: tuple[float, int, int]) -> list[DiskLook]:
    return [DiskLook(NOW + day * DAY, free, stored) for day, free, stored in figures]


def daily(count: int, size: int = 100) -> list[Candidate]:
    return [
        Candidate(f"p{n}", "daily", NOW - n * DAY, 1000 - n, size, True, Trust.PROVEN, proved=NOW)
        for n in range(count)
    ]


def full(candidates: list[Candidate], keep: Keep, free: int, others: float) -> timedelta | None:
    found = growth_of(candidates, {"daily": keep}, Guard(), free, NOW, UTC, others=others)
    assert found is not None
    return found.full


def test_what_the_points_themselves_take_is_not_of_others() -> None:
    assert others_per_day(looks(*((day, 1000 - 10 * day, 10 * day) for day in range(6)))) == 0


def test_what_others_take_is_seen_beside_what_points_take_and_free() -> None:
    figures = [(day, 1000 - 17 * day, 10 * day) for day in range(9)]
    # Retention frees one night, which is not the others' doing; a clean-up is, and counts little.
    figures[4] = (4, figures[4][1] + 30, figures[4][2] - 30)
    assert others_per_day(looks(*figures)) == pytest.approx(7)
    figures[5] = (5, figures[5][1] + 400, figures[5][2])
    assert others_per_day(looks(*figures)) == pytest.approx(7, abs=1)


def test_others_that_give_back_or_were_hardly_looked_at_count_nothing() -> None:
    assert others_per_day(looks(*((day, 50 + day, 0) for day in range(6)))) == 0
    assert others_per_day(looks((0, 9, 0), (5, 1, 0))) == 0
    assert others_per_day(looks((0, 9, 0), (0.3, 8, 0), (0.6, 7, 0))) == 0


def test_a_repository_that_is_young_is_not_full_by_its_first_days_alone() -> None:
    # Three points of a hundred bytes a day, and room for ten: a line would be full in ten days.
    assert full(daily(3), Keep(within=7 * DAY), 1000, 0) is None


def test_others_fill_what_retention_keeps_level() -> None:
    assert full(daily(30), Keep(within=7 * DAY), 10_000, 0) is None
    found = full(daily(8), Keep(within=7 * DAY), 10_000, 1000)
    assert found is not None
    assert found / DAY == pytest.approx(10, abs=0.5)


def test_others_alone_are_foretold_where_no_plan_has_points_enough() -> None:
    found = growth_of((), {"daily": Keep()}, Guard(), 100, NOW, UTC, others=10.0)
    assert found is not None
    assert found.full is not None
    assert found.full / DAY == pytest.approx(10)
    assert growth_of((), {"daily": Keep()}, Guard(), 100, NOW, UTC) is None


@pytest.mark.parametrize("free", [1, 500, 999, 3000, 50_000])
@pytest.mark.parametrize("others", [0.0, 55.0])
def test_a_disk_that_cannot_fill_in_time_never_does(free: int, others: float) -> None:
    keep = {"daily": Keep(within=7 * DAY)}
    found = growth_of(daily(8), keep, Guard(), free, NOW, UTC, others=others, horizon=30 * DAY)
    assert found is not None
    assert can_fill(daily(8), keep, free, 30 * DAY, others) or found.full is None
    longer = full(daily(8), keep["daily"], free, others)
    within = longer is not None and longer < 30 * DAY
    assert found.full == (longer if within else None)
