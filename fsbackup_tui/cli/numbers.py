"""Numbers on the command line that have bounds."""

from __future__ import annotations

import argparse
import math


def positive_count(text: str) -> int:
    """Return a whole number of at least 1; ArgumentTypeError for anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def waiting_seconds(text: str) -> float:
    """Return seconds of at least 0; ArgumentTypeError for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 up")
    return seconds


def duration_seconds(text: str) -> float:
    """Return the seconds of ``90s``, ``30m`` or ``1h``; ArgumentTypeError for anything else."""
    from datetime import timedelta

    from fsbackup_tui.config.values import parse_duration

    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    if not isinstance(duration, timedelta):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration")
    return duration.total_seconds()
