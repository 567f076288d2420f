"""The picture over time: what falls, is missing or was proven is seen, without colours too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.tui.buckets import (
    UNITS,
    Picture,
    end_of,
    fill_buckets,
    usual_spacing,
    usual_unit,
)
from fsbackup_tui.tui.lines import plain
from fsbackup_tui.tui.modes.picture_lines import HALVES, columns_in, last_place, picture_lines
from tests.tui.fakes import make_app
from tests.tui.made import NOW, ZONE, make_point
from tests.tui.proofs import proven_site
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text

DAY = timedelta(days=1)


def picture_of(points: list[PointSummary], columns: int = 30) -> Picture:
    """Return a picture of points by days."""
    until_then = end_of(NOW, DAY, ZONE)
    oldest = min((point.created for point in points), default=None)
    return Picture(
        "daily", DAY, until_then, fill_buckets(points, until_then, DAY, columns), oldest, DAY
    )


def drawn(picture: Picture, *, height: int = 20, blocks: str | None = None) -> list[str]:
    """Return the picture's text."""
    given = {} if blocks is None else {"blocks": blocks}
    width = len(picture.buckets) + 11
    rows = picture_lines(picture, last_place(picture), width, height, now=NOW, zone=ZONE, **given)
    assert len(rows) <= height
    assert all(cell_len(plain(row)) <= max(width, 80) for row in rows)
    return [plain(row) for row in rows]


def test_a_fall_a_gap_and_bad_points_are_seen_without_colours() -> None:
    points = [make_point(index, trust=Trust.PROVEN) for index in range(12)]
    points[2] = replace(points[2], suspect=("fell",), rows=600_000)
    points[4] = replace(points[4], trust=Trust.DAMAGED)
    points[5] = replace(points[5], blocked=("no pg_cron",), trust=Trust.READABLE)
    del points[7]
    lines = drawn(picture_of(points))
    marks = next(line for line in lines if "S" in line and "D" in line)
    assert marks[10:].rstrip() == " " * 22 + "-" + " b" + "D" + " " + "S"
    proven = next(line for line in lines if line.startswith("  proven"))
    # Twelve days: one without a point, one readable, one damaged.
    assert proven[10:].count("█") == 9
    assert len(proven[10:]) == 30
    rows = [line[10:] for line in lines if "rows" in line[:9] or "5.4 M" in line[:9]]
    assert rows[0][27] == " "
    assert rows[0][28] != " "


def test_the_console_of_linux_gets_no_block_it_lacks() -> None:
    points = [replace(make_point(index), bytes=1_000_000 * (index + 1)) for index in range(20)]
    text = "".join(drawn(picture_of(points), blocks=HALVES))
    assert not set(text) & set("▁▂▃▅▆▇")
    assert "▄" in text


@pytest.mark.parametrize("height", [5, 9, 12, 20, 56])
def test_it_fits_any_height_and_no_point_is_no_crash(height: int) -> None:
    assert drawn(picture_of([make_point(1)]), height=height)
    assert any("No point of this plan" in line for line in drawn(picture_of([])))


def test_the_newest_point_stands_right_and_a_bad_one_speaks_for_its_column() -> None:
    good, bad = make_point(0), replace(make_point(0), suspect=("fell",))
    until_then = end_of(NOW, DAY, ZONE)
    buckets = fill_buckets([good, bad], until_then, DAY, 3)
    assert buckets[:2] == (None, None)
    bucket = buckets[2]
    assert bucket is not None
    assert (bucket.count, bucket.newest, bucket.told) == (2, good, bad)
    assert fill_buckets([replace(good, running=True)], until_then, DAY, 3) == (None,) * 3


@pytest.mark.parametrize(
    ("age", "spacing", "unit"),
    [
        (timedelta(hours=3), timedelta(minutes=9), timedelta(minutes=10)),
        (timedelta(hours=3), timedelta(hours=1), timedelta(hours=1)),
        (timedelta(hours=20), None, timedelta(hours=1)),
        (timedelta(days=7), timedelta(hours=1), timedelta(hours=6)),
        (timedelta(days=7), DAY, DAY),
        (timedelta(days=4000), DAY, DAY),
        (timedelta(days=40), 7 * DAY, 7 * DAY),
        (timedelta(days=400), 90 * DAY, 30 * DAY),
    ],
)
def test_the_first_look_shows_all_points_and_each_in_a_column_of_its_own(
    age: timedelta, spacing: timedelta | None, unit: timedelta
) -> None:
    assert usual_unit(NOW - age, NOW, 69, spacing) == unit
    assert usual_unit(None, NOW, 69, None) == UNITS[0]


def test_a_column_shorter_than_the_points_are_apart_is_no_gap() -> None:
    points = [make_point(index, trust=Trust.PROVEN) for index in range(4)]
    assert usual_spacing(points) == DAY
    assert usual_spacing(points[:1]) is None
    until_then = end_of(NOW, timedelta(hours=6), ZONE)
    buckets = fill_buckets(points, until_then, timedelta(hours=6), 30)
    picture = Picture("daily", timedelta(hours=6), until_then, buckets, points[-1].created, DAY)
    assert not any("---" in line for line in drawn(picture))


def test_days_begin_at_midnight_in_the_zone_even_where_clocks_change() -> None:
    assert end_of(NOW, DAY, ZONE) == datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert end_of(NOW, timedelta(hours=6), ZONE) == datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    changed = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
    assert end_of(changed, DAY, ZONE) == datetime(2026, 10, 25, 23, 0, tzinfo=UTC)
    assert end_of(NOW, timedelta(days=7), ZONE) == end_of(NOW, DAY, ZONE)


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (40, 10)])
async def test_it_is_reached_by_a_key_moved_in_and_left(size: tuple[int, int]) -> None:
    app = make_app(proven_site())
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.checked)
        await press(pilot, "3")
        await until_gone(pilot, "reading")
        await press(pilot, "p")
        await until_text(pilot, "Plan daily")
        await until_text(pilot, "today 02:00 CET, 61 m ago  PROVEN")
        await press(pilot, "left")
        await until_text(pilot, "Sat 02:00 CET, 25 h ago  readable")
        await press(pilot, "h")
        await until_text(pilot, "SUSPECT PROVEN")
        await press(pilot, "g")
        await until_text(pilot, "10 Nov 02:00 CET, 12 d ago")
        await press(pilot, "G")
        await until_text(pilot, "today 02:00 CET")
        before = screen_text(app)
        await press(pilot, "plus")
        await until(pilot, lambda: screen_text(app) != before)
        await press(pilot, "minus", "minus", "tab")
        await until_text(pilot, "Plan weekly-schema")
        await press(pilot, "tab")
        await until_text(pilot, "Plan daily")
        await press(pilot, "escape")
        await until_text(pilot, "1/10")


async def test_it_reads_itself_anew_in_another_width() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.checked)
        await press(pilot, "3")
        await until_gone(pilot, "reading")
        await press(pilot, "p")
        await until_text(pilot, "Plan daily")
        await pilot.resize_terminal(120, 30)
        width = columns_in(120) + 10

        def as_wide() -> bool:
            sealed = next(line for line in text_lines(app) if line.startswith("  sealed"))
            return len(sealed) == width

        await until(pilot, as_wide)
