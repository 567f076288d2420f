"""Copies of points on replicas: whether one was read back in time."""

from __future__ import annotations

from datetime import datetime, timedelta

from fsbackup_tui.domain.point import Copy

LATE = timedelta(hours=26)
"""What is due is late only after a day's run, and what that takes."""


def is_unread(copy: Copy, every: timedelta, now: datetime) -> bool:
    """Whether a copy was not read back within its period; one that is wrong is past that."""
    read = copy.checked_at or copy.at
    return copy.state == "whole" and now - read > every + LATE
