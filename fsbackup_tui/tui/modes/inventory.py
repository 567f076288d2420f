"""Mode 1: the recovery points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Input

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.tui.asking import ask_backup, ask_verify
from fsbackup_tui.tui.data import ORDERS, Overview, PointQuery
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, bindings
from fsbackup_tui.tui.lines import Line, line, spread
from fsbackup_tui.tui.modes.columns import POINT_COLUMNS, heading, note_of, point_row
from fsbackup_tui.tui.modes.point import PointScreen
from fsbackup_tui.tui.widgets.line_list import LineList
from fsbackup_tui.tui.widgets.line_widget import LineWidget
from fsbackup_tui.tui.widgets.paged_table import PAGE_ROWS, PagedTable, PageWanted


def restore_command(point: PointSummary) -> str:
    """Return the command that restores the point's first part beside the live database."""
    part = point.parts[0].source if point.parts else "db"
    return f"fsbackup restore {point.id} --part {part} --beside NAME"


class InventoryScreen(FrameScreen):
    """All recovery points, a page at a time."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("inventory")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("inventory", "list", "general")
    FOOT: ClassVar[tuple[str, ...]] = (
        "open", "back-up", "verify", "filter", "sort", "copy", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "inventory"

    def __init__(self) -> None:
        super().__init__()
        self._query = PointQuery()
        self._known = False
        self._again = False

    def body(self) -> Iterator[Widget]:
        """Compose heading, table and the filter's input."""
        yield LineWidget(id="heading")
        yield PagedTable[PointSummary](self._row, id="points")
        yield LineWidget(id="nothing")
        yield LineWidget(id="note")
        yield Input(placeholder="text in point, plan or reason", id="filter", compact=True)

    @property
    def table(self) -> PagedTable[PointSummary]:
        """The table of points."""
        return self.query_one("#points", PagedTable)

    def on_mount(self) -> None:
        """Show the rows of last time, then read."""
        self.query_one("#filter", Input).cursor_blink = False
        super().on_mount()
        seen = self.site_app.seen
        if seen is not None:
            self.table.restart(min(seen.count, len(seen.points)), keep=False)
            self.table.supply(0, self.table.generation, seen.points)
        self._paint_heading()
        self.focus_body()

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        super().on_resize()
        self._paint_heading()

    def focus_body(self) -> None:
        """Give the keyboard to the table."""
        self.table.focus(scroll_visible=False)

    def minute(self) -> None:
        """Repaint the rows whose age is another now."""
        self.table.repaint()

    def overview_changed(self, before: Overview) -> None:
        """Read the points again where there may be others."""
        now = self.site_app.overview
        if not self._known or before.revision != now.revision or before.zone != now.zone:
            self.reload()

    def reload(self) -> None:
        """Count the points and show them; the present rows stay until the new ones are there."""
        data, query = self.site_app.data, self._query
        if data is None:
            return
        if not self.in_thread("count", lambda: data.count(query), self._counted, self._unread):
            self._again = True

    def _counted(self, count: int) -> None:
        if self._again:
            self._again = False
            self.reload()
            return
        table = self.table
        newer = count - table.count if self._known and self._query == PointQuery() else 0
        cursor = table.cursor
        self._known = True
        table.restart(count, keep=True)
        if newer > 0 and cursor > 0:
            table.move_to(cursor + newer)
        self._paint_heading()

    def _unread(self, problem: Problem) -> None:
        self._known = True
        self.table.restart(0, keep=False)
        self.say_problem(problem)
        self._paint_heading()

    def on_page_wanted(self, message: PageWanted) -> None:
        """Read a page beside the screen."""
        data, query = self.site_app.data, self._query
        if data is None or not self._known:
            return

        def taken(rows: Sequence[PointSummary]) -> None:
            self.table.supply(message.page, message.generation, rows)

        def failed(problem: Problem) -> None:
            self.table.failed(message.page, message.generation)
            self.say_problem(problem)

        offset = message.page * PAGE_ROWS
        self.in_thread(
            f"page {message.page} {message.generation}",
            lambda: data.points(query, offset, PAGE_ROWS),
            taken,
            failed,
        )

    def _row(self, point: PointSummary, width: int, marked: bool) -> Line:
        app = self.site_app
        zone = app.overview.zone
        return point_row(point, width, marked, now=app.now(), zone=zone, known=self._known)

    def _paint_heading(self) -> None:
        try:
            table = self.table
        except NoMatches:
            return
        width = self.size.width
        titles = heading(POINT_COLUMNS, width)
        self.query_one("#heading", LineWidget).show(spread(titles, self._position(), width))
        empty = table.count == 0
        self.set_class(empty, "-empty")
        if empty:
            self.query_one("#nothing", LineWidget).show(*self._nothing())
        point = table.current()
        text, role = ("", "muted") if point is None else note_of(point)
        self.query_one("#note", LineWidget).show(line("   ", (text, role)))

    def _position(self) -> Line:
        table = self.table
        order = "" if self._query.order == "newest" else f"{self._query.order}  "
        text = f"/{self._query.text}  " if self._query.text else ""
        where = f"{table.cursor + 1:n}/{table.count:n}" if table.count else ""
        return line((f" {order}{text}{where} ", "accent"))

    def _nothing(self) -> list[Line]:
        if not self._known:
            return [line("   ", ("reading the inventory…", "muted"))]
        if self._query.text:
            text = f"No point has “{self._query.text}” in it. Esc shows all."
            return [line("   ", (text, "warn"))]
        if "inventory" in self.site_app.overview.blocked:
            problem = self.site_app.overview.blocked["inventory"]
            return [
                line("   ", (problem.what, "bad")),
                *[line("   ", text) for text in problem.why.splitlines()],
                *[line("   Next  ", text) for text in problem.fix.splitlines()],
            ]
        return [
            line(),
            line("   ", ("No recovery point yet.", "warn")),
            line("   b backs up now: what it does is shown under 2."),
        ]

    def on_line_list_moved(self) -> None:
        """Show where the cursor is."""
        self._paint_heading()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Open the point's details."""
        message.stop()
        point = self.table.current()
        if point is not None:
            self.app.push_screen(PointScreen(point))

    def action_back_up(self) -> None:
        """Ask which plan to back up."""
        ask_backup(self)

    def action_verify(self) -> None:
        """Ask how far to verify the point under the cursor."""
        ask_verify(self, self.table.current())

    def action_sort(self) -> None:
        """Go to the next order."""
        following = ORDERS[(ORDERS.index(self._query.order) + 1) % len(ORDERS)]
        self._change(PointQuery(self._query.text, following))
        self.say(f"Order: {following}")

    def action_filter(self) -> None:
        """Open the filter's line."""
        self.add_class("-filtering")
        box = self.query_one("#filter", Input)
        box.value = self._query.text
        box.focus(scroll_visible=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the text is typed."""
        if event.value.strip() != self._query.text:
            self._change(PointQuery(event.value.strip(), self._query.order))

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self.remove_class("-filtering")
        self.focus_body()

    def _change(self, query: PointQuery) -> None:
        self._query = query
        self.table.move_to(0)
        self.reload()

    def action_back(self) -> None:
        """Close the filter's line, then clear the filter; never quits."""
        self.remove_class("-filtering")
        if self._query.text:
            self._change(PointQuery("", self._query.order))
        self.focus_body()

    def action_copy(self) -> None:
        """Copy the restore command of the point under the cursor."""
        point = self.table.current()
        if point is not None:
            self.site_app.copy(self, restore_command(point))

    def action_show(self) -> None:
        """Show the restore command alone on the screen."""
        point = self.table.current()
        if point is not None:
            self.site_app.show_by_hand([point.id, restore_command(point)])
