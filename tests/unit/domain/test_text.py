"""Times, ages, counts and widths in words."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.text import (
    age_text,
    cell_width,
    count_text,
    duration_text,
    left_text,
    plain_text,
    shorten,
    when_text,
)

NOW = datetime(2026, 11, 22, 2, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0, "0 s"),
        (119, "119 s"),
        (3660, "61 m"),
        (90_000, "25 h"),
        (200_000, "2 d"),
        (4e8, "12 y"),
        (-300, "in 5 m"),
    ],
)
def test_ages(seconds: float | None, said: str) -> None:
    assert age_text(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-"), (0.42, "0.4 s"), (9.96, "10 s"), (185, "3 m 05 s"), (7800, "2 h 10 m")],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert duration_text(seconds) == said


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 11, 22, 1, 0, tzinfo=UTC), "02:00 CET"),
        (datetime(2026, 11, 21, 23, 30, tzinfo=UTC), "00:30 CET"),
        (datetime(2026, 11, 21, 1, 0, tzinfo=UTC), "Sat 02:00 CET"),
        (datetime(2026, 11, 15, 1, 0, tzinfo=UTC), "15 Nov 02:00 CET"),
        (datetime(2026, 7, 1, 1, 0, tzinfo=UTC), "1 Jul 03:00 CEST"),
        (datetime(2025, 11, 12, 1, 0, tzinfo=UTC), "2025-11-12 02:00 CET"),
        (datetime(2026, 11, 23, 1, 0, tzinfo=UTC), "23 Nov 02:00 CET"),
    ],
)
def test_moments_carry_their_zone_and_their_day(moment: datetime, said: str) -> None:
    assert when_text(moment, NOW, BERLIN) == said


def test_a_zone_without_letters_is_named_by_its_offset() -> None:
    assert when_text(NOW, NOW, ZoneInfo("America/Sao_Paulo")) == "23:01 UTC-03"


def test_counts_and_widths() -> None:
    assert count_text(41_890) == "41 890"
    assert count_text(None) == "-"
    assert cell_width("表a\u0301") == 3
    assert shorten("naïve table", 6) == "naïve…"
    assert shorten("表表表", 4) == "表…"
    assert shorten("abc", 0) == ""
    assert plain_text("a\x1b[31m\r\nb\u202e") == "a [31m  b "


@pytest.mark.parametrize(
    ("seconds", "span", "text"),
    [
        (None, (1.0, 2.0), "-"),
        (245.0, None, "4 m 05 s"),
        (240.0, (185.0, 355.0), "4 m (3 to 6)"),
        (40.2, (29.9, 54.1), "40 s (29 to 55)"),
        (0.2, (0.0, 0.4), "0 s (0 to 1)"),
        (8280.0, (5400.0, 10_800.0), "2.3 h (1.5 to 3.0)"),
    ],
)
def test_time_left_has_one_unit_and_a_range(
    seconds: float | None, span: tuple[float, float] | None, text: str
) -> None:
    assert left_text(seconds, span) == text
