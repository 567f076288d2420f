"""Notices that a job does nothing any more; it warns and never ends the job (design §3)."""

from __future__ import annotations

import time
from collections.abc import Callable

from fsbackup_tui.domain.events import (
    Event,
    Log,
    Progress,
    Remaining,
    StageStarted,
    TableDone,
    Warned,
)


class Watchdog:
    """Watches events for progress; ask ``check`` now and then for a warning that is due.

    A log line or a repeated progress event is no progress. After the first warning the next one
    comes when the silence has doubled.
    """

    def __init__(
        self, stall_after_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stall_after = stall_after_seconds
        self._clock = clock
        self._moved_at = clock()
        self._warn_after = stall_after_seconds
        self._stage = ""
        self._doing = ""
        self._said = ""
        self._position: tuple[object, ...] = ()

    @property
    def moved_at(self) -> float:
        """When it last moved, by the clock."""
        return self._moved_at

    def saw(self, event: Event) -> None:
        """Take an event of the job."""
        if isinstance(event, Warned | Remaining):
            return
        if isinstance(event, Log):
            self._said = event.text
            return
        if isinstance(event, Progress):
            position = (event.done, event.total, event.unit, event.detail, event.active)
            if position == self._position:
                return
            self._position = position
            at_work = ", ".join(event.active)
            same = not event.detail or event.detail in at_work
            self._doing = at_work if same else ", ".join(filter(None, (event.detail, at_work)))
        if isinstance(event, StageStarted):
            self._stage, self._doing = event.stage, ""
        if isinstance(event, TableDone):
            self._doing = f"finished {event.table}"
        self._moved_at = self._clock()
        self._warn_after = self._stall_after
        self._said = ""

    def check(self) -> str | None:
        """Return a warning that is due now, naming what was done and said last, else None."""
        silent = self._clock() - self._moved_at
        if silent < self._warn_after:
            return None
        self._warn_after = silent * 2
        text = f"No progress for {_seconds_text(silent)}"
        text += f" in stage {self._stage}" if self._stage else ""
        text += f"; last: {self._doing}" if self._doing else ""
        return text + (f"; {self._said}" if self._said else "") + "."


def _seconds_text(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} m"
