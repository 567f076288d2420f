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
RATE_SECONDS = 0.1
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


async def watch_snapshot_age(limit_seconds: float | None) -> None:
    """Raise PostgresError when a snapshot that is opened now is older than allowed.

    Never returns; without a limit it watches for nothing.
    """
    if limit_seconds is None:
        await asyncio.Event().wait()
        return
    await asyncio.sleep(limit_seconds)
    raise PostgresError(
        f"SNAPSHOT TOO OLD: the backup was stopped after {limit_seconds:.0f} s.",
        why=f"limits.snapshot_age is {limit_seconds:g} s: an old snapshot keeps the server "
        "from cleaning up dead rows.",
        fix="Raise limits.snapshot_age, give the dump more jobs, or back up when it is quieter.",
    )


class Throttle:
    """Pauses a dump's processes while standbys lag or the rate is above its limit.

    All limits are optional; ``copied_bytes`` gives what was read so far, None when that can't be
    known any more: then nothing stands still for it, since a client that does would never see
    that its server is gone. ``attach`` is made for ``on_started``.
    """

    def __init__(
        self,
        *,
        connection: Connection | None = None,
        lag_limit_seconds: float | None = None,
        bytes_per_second: int | None = None,
        copied_bytes: Callable[[], float | None] = lambda: 0.0,
        report: Report | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._connection = connection
        self._lag_limit = lag_limit_seconds
        self._rate = bytes_per_second
        self._copied_bytes = copied_bytes
        self._now = now
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
        """Watch until cancelled; whatever ends it, the child is not left paused."""
        try:
            while True:
                await self._look_at_lag()
                self._set_paused(self._lagging or self._too_fast())
                await asyncio.sleep(RATE_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._set_paused(False)

    def _too_fast(self) -> bool:
        if self._rate is None:
            return False
        copied = self._copied_bytes()
        if copied is None:
            self._rate = None
            if self._report is not None:
                self._report(Warned("the rate can't be measured any more; max_rate is not kept"))
            return False
        return copied > self._rate * (self._now() - self._started)

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
