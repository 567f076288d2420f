"""What watches a running dump or restore, and stops or slows it: space, lag, age, rate."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import psycopg

from fsbackup_tui.domain.errors import DiskFull, PostgresError
from fsbackup_tui.domain.events import Log, Report, Warned
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.process import RunningChild

SPACE_SECONDS = 0.5
LAG_SECONDS = 2.0
RATE_SECONDS = 0.25
_CONTROL_FILE = Path("global/pg_control")
_IDENTIFIER_BYTES = 8


async def local_data_directory(
    connection: Connection, system_identifier: str | None
) -> Path | None:
    """Return the server's data directory if it lies on this machine, else None.

    The path alone proves nothing (a container's server may say a path that exists here too), so
    the system identifier in ``global/pg_control`` must be the server's own.
    """
    try:
        cursor = await connection.execute("SELECT pg_catalog.current_setting('data_directory')")
        row = await cursor.fetchone()
    except psycopg.Error:
        return None
    if row is None or system_identifier is None:
        return None
    directory = Path(row[0])
    try:
        with (directory / _CONTROL_FILE).open("rb") as stream:
            stored = int.from_bytes(stream.read(_IDENTIFIER_BYTES), "little")
    except OSError:
        return None
    return directory if str(stored) == system_identifier else None


def free_bytes(directory: Path) -> int:
    """Return what an unprivileged writer may still use of the directory's file system."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


async def watch_free_space(directory: Path, floor_bytes: int, *, what: str) -> None:
    """Raise DiskFull as soon as less than ``floor_bytes`` is free; never returns otherwise.

    ``what`` names the work that must stop, e.g. ``the restore into shop__beside``.
    """
    while True:
        free = free_bytes(directory)
        if free < floor_bytes:
            raise DiskFull(
                f"DISK NEARLY FULL: {what} was stopped.",
                why=f"{directory} has {free // 10**6} MB left, the floor is "
                f"{floor_bytes // 10**6} MB; a full disk would stop the live server.",
                fix="Free space on the server, or restore on another machine.",
            )
        await asyncio.sleep(SPACE_SECONDS)


class Throttle:
    """Pauses a dump's processes while standbys lag or the rate is above its limit.

    All limits are optional; ``copied_bytes`` gives what was read so far. ``attach`` is made for
    ``on_started``. The snapshot's age counts from ``snapshot_started`` (``now``'s clock).
    """

    def __init__(
        self,
        *,
        connection: Connection | None = None,
        lag_limit_seconds: float | None = None,
        age_limit_seconds: float | None = None,
        bytes_per_second: int | None = None,
        copied_bytes: Callable[[], int] = lambda: 0,
        snapshot_started: float | None = None,
        report: Report | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._connection = connection
        self._lag_limit = lag_limit_seconds
        self._age_limit = age_limit_seconds
        self._rate = bytes_per_second
        self._copied_bytes = copied_bytes
        self._now = now
        self._snapshot_started = now() if snapshot_started is None else snapshot_started
        self._report = report
        self._child: RunningChild | None = None
        self._started = now()
        self._paused = False
        self._lagging = False
        self._lag_read = float("-inf")

    def attach(self, child: RunningChild) -> None:
        """Take the child that is to be paused and resumed."""
        self._child = child
        self._started = self._now()

    @property
    def paused(self) -> bool:
        """Whether the child stands still now."""
        return self._paused

    async def run(self) -> None:
        """Watch until cancelled; raises PostgresError when the snapshot is older than allowed.

        Whatever ends it, the child is not left paused.
        """
        try:
            while True:
                self._check_age()
                await self._look_at_lag()
                self._set_paused(self._lagging or self._too_fast())
                await asyncio.sleep(RATE_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._set_paused(False)

    def _check_age(self) -> None:
        age = self._now() - self._snapshot_started
        if self._age_limit is not None and age > self._age_limit:
            raise PostgresError(
                f"SNAPSHOT TOO OLD: the dump was stopped after {age:.0f} s.",
                why=f"limits.snapshot_age is {self._age_limit:.0f} s: an old snapshot keeps the "
                "server from cleaning up dead rows.",
                fix="Raise limits.snapshot_age, give the dump more jobs, or back up when it is "
                "quieter.",
            )

    def _too_fast(self) -> bool:
        if self._rate is None:
            return False
        return self._copied_bytes() > self._rate * (self._now() - self._started)

    async def _look_at_lag(self) -> None:
        if self._lag_limit is None or self._connection is None:
            return
        if self._now() - self._lag_read < LAG_SECONDS:
            return
        self._lag_read = self._now()
        try:
            lag = await replication_lag_seconds(self._connection)
        except psycopg.Error:
            self._connection = None
            self._lagging = False
            if self._report is not None:
                self._report(Warned("replication lag can't be read any more; not pausing for it"))
            return
        was = self._lagging
        # Half the limit before going on, so that it does not stop and go every other second.
        self._lagging = lag > (self._lag_limit / 2 if was else self._lag_limit)
        if self._report is not None and self._lagging != was:
            text = f"standbys lag {lag:.0f} s behind: "
            self._report(Log(text + ("the dump waits" if self._lagging else "it goes on")))

    def _set_paused(self, pause: bool) -> None:
        if pause == self._paused or self._child is None:
            return
        if pause:
            self._child.pause()
        else:
            self._child.resume()
        self._paused = pause


async def replication_lag_seconds(connection: Connection) -> float:
    """Return how far the slowest streaming standby replays behind; 0 without any."""
    cursor = await connection.execute(
        "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::pg_catalog.float8"
        " FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'"
    )
    row = await cursor.fetchone()
    return float(row[0]) if row is not None else 0.0
