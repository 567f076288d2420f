"""Work that stops when something beside it says so, and giving way to whom we block."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from fsbackup_tui.domain.errors import TableLocked
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.yielding import until_blocking
from fsbackup_tui.repository.files import SpaceGuard, free_bytes

_POLL_SECONDS = 1.0
_FLOOR_BYTES = 64 * 10**6
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
_Result = TypeVar("_Result")
_First = TypeVar("_First")
_Second = TypeVar("_Second")
_Third = TypeVar("_Third")


class GaveWay(Exception):
    """An attempt was given up because others waited for it; says who."""

    def __init__(self, who: str) -> None:
        super().__init__(who)
        self.who = who

    def as_error(self, attempts: int) -> TableLocked:
        """Return the error for when every attempt had to give way."""
        return TableLocked(
            f"GAVE WAY {attempts} TIMES: the backup would have kept others waiting.",
            why=self.who,
            fix="Run it when no migration does, or raise yield_after for the source.",
        )


async def guarded(
    work: Coroutine[Any, Any, _Result], *guards: Coroutine[Any, Any, None]
) -> _Result:
    """Return what ``work`` returns, unless a guard raises first: then that is raised.

    Whatever still runs is cancelled and awaited before this returns.
    """
    worker = asyncio.create_task(work)
    watchers = [asyncio.create_task(guard) for guard in guards]
    pending: set[asyncio.Task[Any]] = {worker, *watchers}
    try:
        while not worker.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {worker}:
                task.result()
        return worker.result()
    finally:
        for task in (worker, *watchers):
            task.cancel()
        await asyncio.gather(worker, *watchers, return_exceptions=True)


async def all_of(
    first: Coroutine[Any, Any, _First],
    second: Coroutine[Any, Any, _Second],
    third: Coroutine[Any, Any, _Third],
) -> tuple[_First, _Second, _Third]:
    """Return what the three return; the first error ends the others, and is raised as it is."""
    tasks: tuple[asyncio.Task[Any], ...] = tuple(
        asyncio.create_task(work) for work in (first, second, third)
    )
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return tasks[0].result(), tasks[1].result(), tasks[2].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def give_way_when_blocking(
    monitor: Connection, *, application_name: str, longer_than_seconds: float
) -> None:
    """Raise GaveWay as soon as somebody has waited that long for a session of ours."""
    waiting = await until_blocking(
        monitor, application_name, longer_than_seconds=longer_than_seconds
    )
    raise GaveWay("\n".join(session.text() for session in waiting[:5]))


async def watch_repository_space(directory: Path) -> None:
    """Raise DiskFull before the repository's file system is full; never returns otherwise."""
    guard = SpaceGuard(directory, min(_FLOOR_BYTES, free_bytes(directory) // 4))
    while True:
        guard.check()
        await asyncio.sleep(_POLL_SECONDS)


def pause_seconds(attempt: int) -> float:
    """Return how long to wait before the next attempt; ``attempt`` counts from 0."""
    return min(_FIRST_PAUSE_SECONDS * 3.0**attempt, _LONGEST_PAUSE_SECONDS)
