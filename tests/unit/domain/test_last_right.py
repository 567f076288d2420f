"""When was it last right? As people write it at three in the morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.last_right import echo_last_right, parse_last_right

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)  # a Sunday, 03:05 in Berlin


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("02:45", "2026-11-22T01:45"),
        ("2.45", "2026-11-22T01:45"),
        ("02:45:30", "2026-11-22T01:45:30"),
        ("23:10", "2026-11-21T22:10"),
        ("today 00:30", "2026-11-21T23:30"),
        ("yesterday 14:00", "2026-11-21T13:00"),
        ("Sat 02:00", "2026-11-21T01:00"),
        ("sunday 04:00", "2026-11-15T03:00"),
        ("20 m ago", "2026-11-22T01:45"),
        ("20m ago", "2026-11-22T01:45"),
        ("1h 30m ago", "2026-11-22T00:35"),
        ("2 hours ago", "2026-11-22T00:05"),
        ("3 days ago", "2026-11-19T02:05"),
        ("2026-11-22T02:45", "2026-11-22T01:45"),
        ("2026-11-22T01:45Z", "2026-11-22T01:45"),
        ("2026-11-21 20:45-05:00", "2026-11-22T01:45"),
    ],
)
def test_what_is_meant(text: str, meant: str) -> None:
    expected = datetime.fromisoformat(meant).replace(tzinfo=UTC)
    assert parse_last_right(text, NOW, BERLIN) == expected


@pytest.mark.parametrize("text", ["unknown", "Unknown", "", "  ", "?", "don't know"])
def test_not_known_is_an_answer(text: str) -> None:
    assert parse_last_right(text, NOW, BERLIN) is None


@pytest.mark.parametrize(
    "text", ["25:00", "soon", "02:75", "ago", "m ago", "20 x ago", "before lunch 14:00", "-5 m ago"]
)
def test_what_is_no_time_is_said_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="NOT A TIME") as caught:
        parse_last_right(text, NOW, BERLIN)
    assert "20 m ago" in caught.value.fix


def test_the_future_is_refused() -> None:
    with pytest.raises(UsageError, match="IN THE FUTURE"):
        parse_last_right("2026-11-22T09:00", NOW, BERLIN)


def test_an_hour_that_came_twice_is_asked_for() -> None:
    after = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
    with pytest.raises(UsageError, match="WHICH ONE") as caught:
        parse_last_right("02:30", after, BERLIN)
    assert "+02:00" in caught.value.fix
    assert "+01:00" in caught.value.fix


def test_it_is_echoed_with_zone_universal_time_and_age() -> None:
    moment = parse_last_right("02:45", NOW, BERLIN)
    assert echo_last_right(moment, NOW, BERLIN) == "02:45 CET = 2026-11-22 01:45 UTC, 20 m ago"
    assert "not known" in echo_last_right(None, NOW, BERLIN)


@given(st.integers(min_value=0, max_value=23), st.integers(min_value=0, max_value=59))
def test_a_bare_time_is_the_last_of_its_kind(hour: int, minute: int) -> None:
    found = parse_last_right(f"{hour:02d}:{minute:02d}", NOW, BERLIN)
    assert found is not None
    assert timedelta(0) <= NOW - found < timedelta(days=1)


@given(st.text(max_size=30))
def test_any_text_is_a_moment_before_now_or_refused(text: str) -> None:
    try:
        found = parse_last_right(text, NOW, BERLIN)
    except UsageError:
        return
    assert found is None or found <= NOW
