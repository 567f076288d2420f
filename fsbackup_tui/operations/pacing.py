"""Long work over files in a thread: it can be stopped, watches the disk, tells how far it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.repository.files import SpaceGuard, free_bytes

_LOOK_EVERY = 64
_TELL_SECONDS = 0.5
_FLOOR_BYTES = 64 * 10**6
_Result = TypeVar("_Result")


class Stopped(Exception):
    """The job was cancelled; what was done until then is told by whoever catches it."""


class Pace:
    """Called at every step of long work, from its thread; cheap."""

    def __init__(
        self, report: Report, *, total: float | None = None, unit: str = "files", guard: Path | None
    ) -> None:
        self._report = report
        self._total = total
        self._unit = unit
        self._guard = space_guard(guard) if guard is not None else None
        self._stop = threading.Event()
        self._steps = 0
        self._done = 0.0
        self._told = time.monotonic()

    def stop(self) -> None:
        """Let the next step raise Stopped."""
        self._stop.set()

    def step(self, done: float = 1.0, detail: str = "") -> None:
        """Count what was done; Stopped when the job was cancelled, DiskFull below the floor."""
        self._steps += 1
        self._done += done
        if self._steps % _LOOK_EVERY and done < 1 << 20:
            return
        if self._stop.is_set():
            raise Stopped
        if self._guard is not None:
            self._guard.check()
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            self._report(Progress(self._done, self._total, self._unit, detail))


def space_guard(place: Path) -> SpaceGuard:
    """Return what stops work before the file system of a path is full."""
    return SpaceGuard(place, min(_FLOOR_BYTES, free_bytes(place) // 4))


async def paced(pace: Pace, work: Callable[[], _Result]) -> _Result:
    """Run work in a thread; when cancelled, it is stopped at its next step and waited for."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        pace.stop()
        with suppress(Exception):
            await task
        raise
