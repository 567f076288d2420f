"""A table over pages that are fetched when they come into sight, and forgotten again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from textual.message import Message

from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.widgets.line_list import LineList

PAGE_ROWS = 100
PAGES_KEPT = 24

Row = TypeVar("Row")


class PageWanted(Message):
    """A page is in sight and not there; ``generation`` tells an answer that came too late."""

    def __init__(self, page: int, generation: int) -> None:
        super().__init__()
        self.page = page
        self.generation = generation


class PagedTable(LineList, Generic[Row], inherit_bindings=True):
    """Rows by pages; holds at most ``PAGES_KEPT`` of them, whatever the count.

    After ``restart`` the old rows stay in sight until the new ones are there.
    """

    def __init__(
        self,
        render_row: Callable[[Row, int, bool], Line],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._render_row = render_row
        self._pages: OrderedDict[int, Sequence[Row]] = OrderedDict()
        self._asked: set[int] = set()
        self._stale: set[int] = set()
        self.generation = 0

    @property
    def pages_held(self) -> int:
        """How many pages are in memory."""
        return len(self._pages)

    def restart(self, count: int, *, keep: bool) -> None:
        """Begin anew with ``count`` rows; ``keep`` leaves the old ones in sight meanwhile."""
        self.generation += 1
        self._asked.clear()
        if keep:
            self._stale = set(self._pages)
        else:
            self._pages.clear()
            self._stale.clear()
        self.set_count(count)
        for index in self.window():
            self._row_at(index)
        if not keep:
            self.refresh()

    def supply(self, page: int, generation: int, rows: Sequence[Row]) -> None:
        """Take a page that was asked for; one of an earlier generation is dropped."""
        if generation != self.generation:
            return
        self._asked.discard(page)
        self._stale.discard(page)
        self._pages[page] = rows
        self._pages.move_to_end(page)
        while len(self._pages) > PAGES_KEPT:
            forgotten, _ = self._pages.popitem(last=False)
            self._stale.discard(forgotten)
        self.repaint()
        self.post_message(self.Moved())

    def failed(self, page: int, generation: int) -> None:
        """Note that a page could not be had, so that it is asked for again when next seen."""
        if generation == self.generation:
            self._asked.discard(page)

    def current(self) -> Row | None:
        """Return the row under the cursor, None while it is not there."""
        return self._row_at(self.cursor) if self.count else None

    def row(self, index: int, width: int) -> Line:
        """Return what the row shows, or that it is being read."""
        value = self._row_at(index)
        if value is None:
            return line("   ", ("reading…", "muted"))
        return self._render_row(value, width, index == self.cursor)

    def _row_at(self, index: int) -> Row | None:
        page, offset = divmod(index, PAGE_ROWS)
        rows = self._pages.get(page)
        if (rows is None or page in self._stale) and page not in self._asked:
            self._asked.add(page)
            self.post_message(PageWanted(page, self.generation))
        if rows is None:
            return None
        self._pages.move_to_end(page)
        return rows[offset] if offset < len(rows) else None
