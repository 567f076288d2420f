"""What the screens of points share: a table over the catalogue's pages, its filter and order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Input

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.tui.asking import ask_backup, ask_verify
from fsbackup_tui.tui.data import ORDERS, Overview, PointQuery
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes.details import summary_lines
from fsbackup_tui.tui.texts import problem_page
from fsbackup_tui.tui.widgets.choice import ChoicePanel
from fsbackup_tui.tui.widgets.line_list import TextView
from fsbackup_tui.tui.widgets.line_widget import LineWidget
from fsbackup_tui.tui.widgets.paged_table import PAGE_ROWS, PagedTable, PageWanted

# From this width on the point under the cursor is told beside the table.
BESIDE_FROM = 196
_BESIDE_WIDTH = 56


class PointsScreen(FrameScreen):
    """All recovery points, a page at a time; subclasses give heading, rows and the remark below."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_suffix(".tcss")

    def __init__(self) -> None:
        super().__init__()
        self._query = PointQuery()
        self._counted_once = False
        self._again = False

    def row(self, point: PointSummary, width: int, marked: bool) -> Line:
        """Return a point's row."""
        raise NotImplementedError

    def heading(self, width: int) -> Line:
        """Return the titles above the rows."""
        raise NotImplementedError

    def note(self, point: PointSummary, width: int) -> list[Line]:
        """Return what stands below the table about the point under the cursor."""
        raise NotImplementedError

    def body(self) -> Iterator[Widget]:
        """Compose heading, table and the filter's input."""
        yield LineWidget(id="heading")
        with Horizontal(id="both"):
            yield PagedTable[PointSummary](self.row, id="points")
            yield LineWidget(id="beside")
        yield TextView(id="nothing")
        yield LineWidget(id="note")
        yield Input(placeholder="text in point, plan or reason", id="filter", compact=True)

    @property
    def table(self) -> PagedTable[PointSummary]:
        """The table of points."""
        return self.query_one("#points", PagedTable)

    @property
    def filtering(self) -> bool:
        """Whether the filter's line has the keyboard."""
        return self.has_class("-filtering")

    @property
    def filtered(self) -> bool:
        """Whether a filter is set."""
        return bool(self._query.text)

    def on_mount(self) -> None:
        """Show the rows of last time, then read."""
        self.query_one("#filter", Input).cursor_blink = False
        seen = self.site_app.seen
        if seen is not None:
            self.table.restart(min(seen.count, len(seen.points)), keep=False)
            self.table.supply(0, self.table.generation, seen.points)
        self.paint_around()
        self.focus_body()

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        self.set_class(self.size.width >= BESIDE_FROM, "-wide")
        self.paint_around()

    def focus_body(self) -> None:
        """Give the keyboard to the table, or to what stands in its place."""
        body = "#nothing" if self.has_class("-empty") else "#points"
        self.query_one(body).focus(scroll_visible=False)

    def minute(self) -> None:
        """Repaint the rows whose age is another now."""
        self.table.repaint()
        self.paint_around()

    def overview_changed(self, before: Overview) -> None:
        """Read the points again where there may be others."""
        now = self.site_app.overview
        seen = (
            self._counted_once or self.site_app.data is None,
            before.revision,
            before.zone,
            before.answer.tone == "checking",
        )
        if seen != (True, now.revision, now.zone, now.answer.tone == "checking"):
            self.reload()
        self.paint_around()

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
        newer = count - table.count if self._counted_once and self._query == PointQuery() else 0
        cursor = table.cursor
        self._counted_once = True
        table.restart(count, keep=True)
        if newer > 0 and cursor > 0:
            table.move_to(cursor + newer)
        self.paint_around()

    def _unread(self, problem: Problem) -> None:
        self._counted_once = True
        self.table.restart(0, keep=False)
        self.say_problem(problem)
        self.paint_around()

    def on_page_wanted(self, message: PageWanted) -> None:
        """Read a page beside the screen."""
        data, query = self.site_app.data, self._query
        if data is None or not self._counted_once:
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

    def paint_around(self) -> None:
        """Paint everything but the rows: titles, position, remark, keys."""
        try:
            table = self.table
        except NoMatches:
            return
        self.query_one("#heading", LineWidget).show(self.heading(self._table_width()))
        self.corner(self._position())
        empty = table.count == 0
        if self.has_class("-empty") != empty:
            self.set_class(empty, "-empty")
            if not self.filtering and not self.query_one(ChoicePanel).open:
                self.focus_body()
        if empty:
            self.query_one("#nothing", TextView).show(self._nothing())
        self.paint_foot()
        point = table.current()
        self._paint_note(point)
        self._paint_beside(point)

    def _paint_note(self, point: PointSummary | None) -> None:
        note = self.query_one("#note", LineWidget)
        lines = self.note(point, self.size.width) if point is not None else []
        height = max(1, len(lines))
        if note.styles.height is None or note.styles.height.value != height:
            note.styles.height = height
        note.show(*lines)

    def _table_width(self) -> int:
        width = self.size.width
        return width - _BESIDE_WIDTH if width >= BESIDE_FROM else width

    def _paint_beside(self, point: PointSummary | None) -> None:
        """Show what the inventory knows of the point under the cursor, where there is room."""
        if not self.has_class("-wide"):
            return
        app = self.site_app
        lines: list[Line] = []
        if point is not None:
            zone, site = app.overview.zone, app.overview.copies
            told = _BESIDE_WIDTH - 3
            lines = summary_lines(point, told, now=app.now(), zone=zone, site=site)
            lines = [line(("\u2502", "muted"), *row) for row in lines]
        self.query_one("#beside", LineWidget).show(*lines)

    def _position(self) -> Line:
        table = self.table
        order = "" if self._query.order == "newest" else f"{self._query.order}  "
        text = f"/{self._query.text}  " if self._query.text else ""
        where = f"{table.cursor + 1:n}/{table.count:n}" if table.count else ""
        return line((f" {order}{text}{where} ", "accent"))

    def _nothing(self) -> list[Line]:
        app = self.site_app
        if self._query.text:
            text = f"No point has “{self._query.text}” in it. Esc shows all."
            return [line("   ", (text, "warn"))]
        if "inventory" in app.overview.blocked:
            blocked = app.overview.blocked["inventory"]
            return problem_page(blocked, self.size.width, now=app.now(), zone=app.overview.zone)
        if not self._counted_once or not app.checked:
            return [line("   ", ("reading the inventory…", "muted"))]
        hint = "b backs up now: what it does is shown under 2."
        if not app.overview.plans:
            hint = "In the adopt: directories of the configuration there is no backup."
        if app.overview.running:
            hint = "A job is running: 2 shows how far it is."
        return [line(), line("   ", ("No recovery point yet.", "warn")), line(f"   {hint}")]

    def on_line_list_moved(self) -> None:
        """Show where the cursor is."""
        self.paint_around()

    def action_back_up(self) -> None:
        """Ask which plan to back up."""
        ask_backup(self)

    def action_verify(self) -> None:
        """Ask how far to verify the point under the cursor."""
        ask_verify(self, self.table.current())

    def action_sort(self) -> None:
        """Go to the next order."""
        if not self._any("Sort"):
            return
        following = ORDERS[(ORDERS.index(self._query.order) + 1) % len(ORDERS)]
        self._change(PointQuery(self._query.text, following))
        self.say(f"Order: {following}")

    def action_filter(self) -> None:
        """Open the filter's line."""
        if not self._any("Filter"):
            return
        self.add_class("-filtering")
        box = self.query_one("#filter", Input)
        box.value = self._query.text
        box.focus(scroll_visible=False)
        self.say("Only points with this text are shown", stays=True)
        self.paint_foot()

    def _any(self, what: str) -> bool:
        """Return whether there are points, shown or filtered away; where not, say so."""
        found = self.table.count > 0 or bool(self._query.text)
        if not found:
            self.say(f"{what}: there is no point yet", "warn")
        return found

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the text is typed."""
        if event.value.strip() != self._query.text:
            self._change(PointQuery(event.value.strip(), self._query.order))

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self.say("")
        self.remove_class("-filtering")
        self.focus_body()
        self.paint_foot()

    def _change(self, query: PointQuery) -> None:
        self._query = query
        self.table.move_to(0)
        self.reload()

    def action_back(self) -> None:
        """Close the filter's line, then clear the filter; never quits."""
        if self.filtering:
            self.say("")
        self.remove_class("-filtering")
        if self._query.text:
            self._change(PointQuery("", self._query.order))
        self.focus_body()
        self.paint_foot()

    def with_commands(self, then: Callable[[str, Sequence[str]], None]) -> None:
        """Read the restore commands of the point under the cursor and hand them on."""
        data, point = self.site_app.data, self.table.current()
        if data is None or point is None:
            self.say("Copy: there is no point to restore yet", "warn")
            return

        def taken(commands: Sequence[str]) -> None:
            if commands:
                then(point.id, commands)
            else:
                self.say("Copy: nothing in this point can be restored", "warn")

        self.in_thread("commands", lambda: data.details(point.id).commands, taken)
