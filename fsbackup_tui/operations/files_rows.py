"""Which files live rows name and live has not: what is put back where links tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.live_fit import LiveFit
from fsbackup_tui.domain.tree import Found, RowFit
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.operations.files_ground import Ground
from fsbackup_tui.operations.files_point import FilesPoint
from fsbackup_tui.operations.live_links import LiveLinks, may_have_symlinks, open_live_links

_NOWHERE = "nowhere.csv"


@dataclass(frozen=True)
class LiveRows:
    """How live rows fit live's files and the point's; asked about every file of the point once."""

    links: LiveLinks
    count: int

    async def learn(self, point: FilesPoint) -> None:
        """Read where the point's symlinks lead, before it is asked about its entries."""
        if may_have_symlinks(point.part):
            await point.read_index(self.links.learn)

    def names(self, entry: IndexEntry) -> bool:
        """Whether a live row misses this file, or what this symlink leads to."""
        return self.links.names(entry)

    @property
    def unread(self) -> tuple[str, ...]:
        """The links whose rows can't be read, and why."""
        return self.links.unread

    def fits(self) -> tuple[RowFit, ...]:
        """Return how each link fits."""
        return tuple(_fit(each) for each in self.links.fits())

    def nowhere(self) -> Found:
        """Return what rows name and nothing has."""
        fits = self.fits()
        names = tuple(name for fit in fits for name in fit.nowhere.names)
        return Found(sum(fit.nowhere.count for fit in fits), 0, names[:100])

    def write_nowhere(self, directory: Path) -> str:
        """Write the rows whose file is nowhere as CSV; returns where, empty for none."""
        path = directory / _NOWHERE
        path.unlink(missing_ok=True)
        if self.links.export_nowhere(path):
            return str(path)
        path.unlink()
        return ""

    def refuse_unread(self) -> None:
        """Raise where nobody can tell what users erased: no link's rows can be read."""
        if len(self.unread) == self.count:
            raise SafetyRefusal(
                "NOT PUT BACK: which of the missing files live rows name is not known.",
                why="\n".join(self.unread[:5]),
                fix="With all that is missing, whatever users erased: --all-missing\n"
                "or name the files: --files 'PATTERN'",
            )


def _fit(fit: LiveFit) -> RowFit:
    return RowFit(
        fit.table,
        fit.column,
        fit.rows,
        Found(fit.missing.count, 0, fit.missing.names),
        Found(fit.in_point.count, fit.in_point_bytes, fit.in_point.names),
        Found(fit.nowhere.count, 0, fit.nowhere.names),
        fit.note,
    )


@asynccontextmanager
async def live_rows(ground: Ground) -> AsyncIterator[LiveRows | None]:
    """Yield what live rows say; None where the configuration links none to these files."""
    async with open_live_links(ground.context, ground.part, root=ground.root) as links:
        named = [each for each in ground.context.loaded.config.links if each.files == ground.part]
        yield LiveRows(links, len(named)) if links is not None else None
