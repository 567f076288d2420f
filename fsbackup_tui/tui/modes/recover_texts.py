"""Texts of an incident to read, copy and hand on: the hand-over, and past incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.tui.data import SiteData
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line, plain_lines, wrapped
from fsbackup_tui.tui.modes.recover_lines import past_lines
from fsbackup_tui.tui.texts import TextScreen
from fsbackup_tui.tui.widgets.line_list import TextView

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import Reading


class ReportScreen(TextScreen):
    """A text to read and to copy."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("report")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("report", "text", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = ("back", "report-copy", "report-show", "help", "quit")
    MODE: ClassVar[str] = "recover"

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def lines(self, width: int) -> list[Line]:
        """Return the text, wrapped."""
        rows = self._text.splitlines()
        return [line(" ", *row) for text in rows for row in wrapped(text, width - 2)]

    def action_copy(self) -> None:
        """Copy the text."""
        self.site_app.copy(self, self._text)

    def action_show(self) -> None:
        """Show it alone on the screen."""
        self.site_app.show_by_hand([self._text])


class PastScreen(ReportScreen):
    """A past incident: what was done at each step, by whom, when; nothing can be changed."""

    def __init__(self, incident: str) -> None:
        super().__init__("")
        self._incident = incident
        self._reading: Reading | None = None

    def tick(self) -> None:
        """Read it, once."""
        data = self.site_app.data
        if data is not None and self._reading is None:
            self.in_thread("past", lambda: self._read(data), self._take, self._unread)

    def _read(self, data: SiteData) -> tuple[Reading, str]:
        from fsbackup_tui.tui.recover_data import reading_of, report_of

        desk = data.desk()
        return reading_of(desk, self._incident), report_of(desk, self._incident)

    def _take(self, found: tuple[Reading, str]) -> None:
        self._reading, self._text = found
        self._show()

    def _unread(self, problem: Problem) -> None:
        if problem != self.site_app.last_problem:
            self.say_problem(problem)

    def _show(self) -> None:
        self.query_one("#text", TextView).show(self.lines(self.size.width))

    def lines(self, width: int) -> list[Line]:
        """Return the incident, step by step, then its report."""
        if self._reading is None:
            return [line(" ", ("reading the incident…", "muted"))]
        app = self.site_app
        shown = list(past_lines(self._reading, width, now=app.now(), zone=app.overview.zone))
        if self._text:
            shown += [line(), line(("-" * width, "muted")), *super().lines(width)]
        return shown

    def action_copy(self) -> None:
        """Copy the report; without one, what is on the screen."""
        self.site_app.copy(self, self._text or "\n".join(plain_lines(self.lines(80))))
