"""When what runs by itself is due: times of plans, drills, checks and of proving again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from fsbackup_tui.config.values import Duration, Settings
from fsbackup_tui.domain.schedule import FORMS, Schedule, parse_schedule


def _schedule(value: object) -> object:
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, str):
        raise ValueError(f"a time is needed here: write {FORMS}")
    return parse_schedule(value)


At = Annotated[Schedule, BeforeValidator(_schedule)]


class DrillTimes(Settings):
    """A recovery test that is held by itself; ``copy_in`` takes the bytes from a copy there."""

    at: At
    point: Literal["newest", "random"] = "newest"
    copy_in: Path | None = None


class CheckTimes(Settings):
    """How often ``check`` looks, and tells what it found."""

    at: At


class VerifyDueTimes(Settings):
    """When ``verify --due`` proves again what has gone stale, and how long it may take."""

    at: At
    budget: Duration | None = None
