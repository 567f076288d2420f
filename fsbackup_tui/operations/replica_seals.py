"""The seal of a point is checked before it is sent: ahead of its turn, and once in a job.

The next point is read while the one before it travels; what this very job has verified a moment
ago is not read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records


class Seals:
    """Checks seals in order, one point ahead; closed by ``close``."""

    def __init__(self, context: JobContext, home: Repository) -> None:
        self._context = context
        self._home = home
        self._ahead: dict[str, asyncio.Task[list[str]]] = {}
        self._closed = False

    def look_ahead(self, point: str) -> None:
        """Begin to check a point that is likely to be sent next."""
        if not self._ahead:
            self._ahead[point] = asyncio.create_task(self._under_lock(point))

    async def problems(self, point: str, *, ahead: str | None = None) -> list[str]:
        """Return what of a point is not as it was sealed; [] for nothing.

        ``ahead`` is the point whose check begins then. The caller holds the point's lock.

        Raises:
            PointDamaged, RepositoryUnreadable: it can't be read.
        """
        begun = self._ahead.pop(point, None)
        found = await (self._under_lock(point) if begun is None else begun)
        if ahead is not None:
            self.look_ahead(ahead)
        return found

    async def close(self) -> None:
        """End what was begun and is not wanted."""
        self._closed = True
        begun = [*self._ahead.values()]
        self._ahead.clear()
        for task in begun:
            task.cancel()
        # What such a check would have said is said when the point's own turn comes.
        await asyncio.gather(*begun, return_exceptions=True)

    async def _under_lock(self, point: str) -> list[str]:
        lock = Lock(self._home.use_lock(point), what=f"point {point}")
        async with lock.acquire_async(0, self._context.holder(), shared=True):
            return await asyncio.to_thread(self._problems, point)

    def _problems(self, point: str) -> list[str]:
        reader = PointReader(self._home, point)
        manifest = reader.manifest
        sources = [part.source for part in manifest.parts] if manifest is not None else []
        if sealed_by(self._home, point, sources, self._context.job):
            return reader.check_point_files()
        found: list[str] = []
        for number, source in enumerate(sources):
            found += reader.check_sealed(source, self._go_on, beside_parts=number == 0)
        return found

    def _go_on(self, _event: Event) -> None:
        if self._closed:
            raise _NotWanted


def sealed_by(home: Repository, point: str, sources: Sequence[str], job: str) -> bool:
    """Whether this very job has read every byte of these parts and found them as sealed."""
    for record in reversed(read_records(home, point)):
        if record.kind != "verified" or record.document.get("level") != Trust.SEALED.word:
            continue
        parts = record.document.get("parts")
        return (
            record.counts
            and record.job == job
            and isinstance(parts, dict)
            and all(isinstance(parts.get(s), dict) and parts[s].get("ok") is True for s in sources)
        )
    return False


class _NotWanted(Exception):
    """Nobody waits for this check any more: a thread can be ended from within alone."""
