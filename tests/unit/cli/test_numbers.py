"""Numbers on the command line: what is taken, and what is refused in words."""

from __future__ import annotations

import argparse

import pytest

from fsbackup_tui.cli.numbers import duration_seconds, positive_count, waiting_seconds


def test_numbers_within_their_bounds() -> None:
    assert positive_count("12") == 12
    assert waiting_seconds("0") == 0
    assert waiting_seconds("1.5") == 1.5
    assert duration_seconds("1h 30m") == 5400


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_count_starts_at_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no whole number from 1 up"):
        positive_count(text)


@pytest.mark.parametrize("text", ["-5", "nan", "inf", "soon", ""])
def test_a_wait_is_some_seconds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number of seconds"):
        waiting_seconds(text)


@pytest.mark.parametrize("text", ["soon", "", "1 fortnight", "-1h"])
def test_a_duration_has_units(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a duration looks like"):
        duration_seconds(text)
