"""Which files live rows name and live has not: what is put back where links tell."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.live_fit import LiveFit
from fsbackup_tui.domain.site_parts import Names
from fsbackup_tui.domain.tree import Found, RowFit
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.operations.files_ground import Ground
from fsbackup_tui.operations.files_point import FilesPoint
from fsbackup_tui.operations.live_links import LiveLinks, read_live_links
from fsbackup_tui.repository.files import writing

NOWHERE_NAME = "rows-without-a-file.csv"


@dataclass(frozen=True)
class LiveRows:
    """How live rows fit live's files and the point's."""

    live: LiveLinks
    fits: tuple[RowFit, ...]
    nowhere: Found = field(default_factory=Found)

    def names(self, path: bytes) -> bool:
        """Whether a live row misses this file."""
        return self.live.wants(path)

    def write_nowhere(self, directory: Path) -> str:
        """Write the rows whose file is nowhere as CSV; returns where, empty for none."""
        if not self.nowhere.count:
            return ""
        path = directory / NOWHERE_NAME
        with writing(path):
            path.unlink(missing_ok=True)
            self.live.export_nowhere(path)
        return str(path)


async def live_rows(ground: Ground, point: FilesPoint) -> LiveRows | None:
    """Return what live rows say; None where the configuration links none to these files.

    The point's index is read for it. Where a link's rows can't be read, that is told: what they
    name is not put back unasked.
    """
    live = await read_live_links(ground.context, ground.part, root=ground.root)
    if live is None:
        return None

    def ask(entries: Iterator[IndexEntry]) -> tuple[LiveFit, ...]:
        for entry in entries:
            if entry.is_file:
                live.named(entry.path, entry.size)
        return live.fits()

    try:
        fits = tuple(map(_fit, await point.read_index(ask)))
    except BaseException:
        await asyncio.to_thread(live.close)
        raise
    for text in live.unread:
        ground.context.report(Warned(f"Not known which files are named by rows. Link {text}"))
    nowhere = Found(
        sum(fit.nowhere.count for fit in fits),
        names=tuple(name for fit in fits for name in fit.nowhere.names),
    )
    rows = LiveRows(live, fits, nowhere)
    weakref.finalize(rows, live.close)
    return rows


def _fit(fit: LiveFit) -> RowFit:
    return RowFit(
        table=fit.table,
        column=fit.column,
        rows=fit.rows or 0,
        missing=_found(fit.missing),
        in_point=_found(fit.in_point, fit.in_point_bytes),
        nowhere=_found(fit.nowhere),
        note=fit.note,
    )


def _found(names: Names, count: int = 0) -> Found:
    return Found(names.count, count, names.names)
