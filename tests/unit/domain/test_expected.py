"""Which run has its good point, and which has none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.expected import WINDOW, grace_of, is_good, runs_in_window
from fsbackup_tui.domain.point import AcceptedBlock, PartSummary, PointSummary
from fsbackup_tui.domain.schedule import parse_schedule
from fsbackup_tui.domain.trust import Trust

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NIGHTLY = parse_schedule("02:00")
LONG_AGO = NOW - timedelta(days=400)


def nights(*back: int, minutes: int = 0) -> list[datetime]:
    return [NOW.replace(hour=2, minute=minutes) - timedelta(days=day) for day in back]


def test_seven_in_seven_days_is_done() -> None:
    runs = runs_in_window(NIGHTLY, nights(*range(8), minutes=1), NOW, UTC, since=LONG_AGO)
    assert (runs.due, runs.done, runs.missed, runs.in_a_row) == (7, 7, (), 0)


def test_a_night_without_a_point_is_missed_however_many_there_are_by_day() -> None:
    good = nights(0, 1, 2, 4, 5, 6) + [NOW - timedelta(hours=h) for h in (1, 2, 3, 4)]
    runs = runs_in_window(NIGHTLY, good, NOW, UTC, since=LONG_AGO)
    assert runs.missed == tuple(nights(3))
    assert (runs.done, runs.in_a_row) == (6, 0)


def test_a_later_try_of_the_same_run_counts() -> None:
    good = [*nights(1, 2, 3, 4, 5, 6), NOW - timedelta(hours=1)]
    assert runs_in_window(NIGHTLY, good, NOW, UTC, since=LONG_AGO).missed == ()


def test_the_newest_misses_are_in_a_row() -> None:
    runs = runs_in_window(NIGHTLY, nights(2, 3, 4, 5, 6), NOW, UTC, since=LONG_AGO)
    assert (runs.in_a_row, runs.done) == (2, 5)


def test_a_run_is_not_judged_before_it_had_its_time() -> None:
    now = NOW.replace(hour=2, minute=30)
    runs = runs_in_window(NIGHTLY, nights(*range(1, 8)), now, UTC, since=LONG_AGO)
    assert runs.missed == ()
    later = now + timedelta(minutes=31)
    assert runs_in_window(NIGHTLY, nights(*range(1, 8)), later, UTC, since=LONG_AGO).in_a_row == 1


def test_a_new_plan_has_missed_nothing() -> None:
    since = NOW - timedelta(days=2)
    runs = runs_in_window(NIGHTLY, nights(0, 1), NOW, UTC, since=since)
    assert (runs.due, runs.done) == (2, 2)


def test_the_night_when_the_clock_goes_back_is_one_run() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 10, 26, 12, tzinfo=UTC)
    schedule = parse_schedule("02:30")
    good = [
        datetime(2026, 10, day, 2, 30, tzinfo=berlin).astimezone(UTC) + timedelta(minutes=2)
        for day in range(19, 27)
    ]
    runs = runs_in_window(schedule, good, now, berlin, since=now - timedelta(days=30))
    assert (runs.due, runs.done) == (7, 7)


@given(
    st.sets(st.integers(0, 9)), st.sampled_from(["02:00", "02:00, 14:00", "hourly", "Sun 03:00"])
)
def test_done_and_missed_are_all_that_was_due(have: set[int], text: str) -> None:
    runs = runs_in_window(parse_schedule(text), nights(*have), NOW, UTC, since=LONG_AGO)
    assert runs.done + len(runs.missed) == runs.due
    assert 0 <= runs.in_a_row <= len(runs.missed)
    assert all(NOW - WINDOW < run <= NOW for run in runs.missed)
    if not have:
        assert runs.in_a_row == runs.due


def point(trust: Trust = Trust.PROVEN, **changes: object) -> PointSummary:
    known: dict[str, object] = {
        "id": "20261122T020000Z-daily-k3f9",
        "sequence": 1,
        "plan": "daily",
        "created": NOW,
        "whole": True,
        "running": False,
        "trust": trust,
        "suspect": (),
        "bytes": 1,
        "parts": (PartSummary("db", "postgres", trust, 1),),
        **changes,
    }
    return PointSummary(**known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "wanted", "good"),
    [
        (point(), Trust.PROVEN, True),
        (point(Trust.SEALED), Trust.SEALED, True),
        (point(Trust.SEALED), Trust.PROVEN, False),
        (point(Trust.UNVERIFIED), Trust.SEALED, False),
        (point(suspect=("videos 5340 to 40",)), Trust.SEALED, False),
        (point(in_incident="20261122-01"), Trust.SEALED, False),
        (point(whole=False), Trust.SEALED, False),
        (point(running=True), Trust.SEALED, False),
        (point(foreign="/b/x.sql.gz"), Trust.SEALED, False),
        (point(Trust.SEALED, accepted=(AcceptedBlock("pg_cron", "so"),)), Trust.PROVEN, True),
        (point(Trust.DAMAGED, accepted=(AcceptedBlock("pg_cron", "so"),)), Trust.PROVEN, False),
    ],
)
def test_what_can_be_relied_on(found: PointSummary, wanted: Trust, good: bool) -> None:
    assert is_good(found, wanted) is good


def test_a_backup_of_three_hours_has_six_to_be_there() -> None:
    assert grace_of([point(seconds=3 * 3600)]) == timedelta(hours=6)
    assert grace_of([]) == timedelta(hours=1)
