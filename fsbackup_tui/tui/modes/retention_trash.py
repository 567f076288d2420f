"""The trash of the repository: what lies there, from when it is freed, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.tui.data import Overview
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line, wrapped
from fsbackup_tui.tui.modes.retention_acts import ask_free, ask_take_back
from fsbackup_tui.tui.modes.retention_lines import trash_heading, trash_line, trash_note
from fsbackup_tui.tui.retention_data import RetentionView
from fsbackup_tui.tui.widgets.line_list import LineList, LineTexts
from fsbackup_tui.tui.widgets.line_widget import LineWidget

_NOTE_ROWS = 2


class TrashScreen(FrameScreen):
    """The points in the trash; one can be taken back until its space is freed."""

    DEFAULT_CSS = "TrashScreen #note { height: 2; }"
    BINDINGS: ClassVar[list[BindingType]] = bindings("trash")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("trash", "list", "general")
    MODE: ClassVar[str] = "retention"

    def __init__(self, view: RetentionView) -> None:
        super().__init__()
        self._view = view

    def body(self) -> Iterator[Widget]:
        """Compose the points and what is said of one."""
        yield LineWidget(id="heading")
        yield LineTexts(id="trash")
        yield LineWidget(id="note")

    @property
    def listing(self) -> LineTexts:
        """The points."""
        return self.query_one("#trash", LineTexts)

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom."""
        acts = ("trash-back", "trash-free") if self._view.trash and not self._view.locked else ()
        return ("back", *acts, "help", "quit")

    def on_mount(self) -> None:
        """Take the keyboard."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the points."""
        self.listing.focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint in the new width."""
        self._paint()

    def overview_changed(self, before: Overview) -> None:
        """Read again where a job may have moved something."""
        now, data = self.site_app.overview, self.site_app.data
        changed = (before.revision, before.running) != (now.revision, now.running)
        if data is not None and changed:
            self.in_thread("trash", data.retention, self._take)

    def _take(self, view: RetentionView) -> None:
        self._view = view
        self._paint()
        self.paint_foot()

    def _paint(self) -> None:
        if not self.is_there:
            return
        width, now, listing = self.size.width, self.site_app.now(), self.listing
        self.query_one("#heading", LineWidget).show(trash_heading(width))
        rows = [
            trash_line(each, self._view, width, index == listing.cursor, now)
            for index, each in enumerate(self._view.trash)
        ]
        listing.show(rows or [line("   ", ("The trash is empty.", "muted"))], cursor=bool(rows))
        note: list[Line] = []
        if listing.cursor < len(self._view.trash):
            told = trash_note(self._view.trash[listing.cursor], now, self._view.zone)
            note = [line("   ", *row) for text in told for row in wrapped(text, width - 4, "muted")]
        self.query_one("#note", LineWidget).show(*[*note, line(), line()][:_NOTE_ROWS])

    def on_line_list_moved(self) -> None:
        """Put the mark where the cursor is."""
        self._paint()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Ask whether the point shall come back."""
        message.stop()
        self.action_take_back()

    def action_take_back(self) -> None:
        """Ask whether the point under the cursor shall come back."""
        if self.listing.cursor < len(self._view.trash):
            ask_take_back(self, self._view, self._view.trash[self.listing.cursor])

    def action_free(self) -> None:
        """Ask whether what is past its grace shall be freed."""
        ask_free(self, self._view)
