"""Long lists by Textual's line API: what is not on screen costs nothing (reference tui.md 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fsbackup_tui.tui.keys import bindings
from fsbackup_tui.tui.lines import Line
from fsbackup_tui.tui.widgets.line_widget import palette_of, to_strip


class LineList(ScrollView, can_focus=True, inherit_bindings=False):
    """A list of one-line rows with a cursor; subclasses say how many and what each shows.

    Repaints single rows: moving the cursor inside the window costs two of them.
    """

    DEFAULT_CSS = """
    LineList {
        height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: scroll;
        scrollbar-size-vertical: 0; scrollbar-size-horizontal: 0; background: transparent;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    class Opened(Message):
        """Enter was pressed on the row ``index``."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._count = 0
        self._cursor = 0
        self._painted: dict[int, Line] = {}

    def row(self, index: int, width: int) -> Line:
        """Return what the row shows; called for visible rows only."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._count

    @property
    def cursor(self) -> int:
        """The index of the row the cursor is on; 0 for an empty list too."""
        return self._cursor

    def window(self) -> range:
        """Return the indices of the rows on screen."""
        top = self.scroll_offset.y
        return range(top, min(self._count, top + max(1, self.size.height)))

    def set_count(self, count: int) -> None:
        """Say how many rows there are; the cursor stays inside."""
        if count != self._count:
            self._count = count
            self.virtual_size = Size(0, count)
            self.refresh()
        self.move_to(min(self._cursor, max(0, count - 1)))

    def move_to(self, index: int) -> None:
        """Put the cursor on a row and bring it into the window."""
        index = max(0, min(index, self._count - 1)) if self._count else 0
        before, self._cursor = self._cursor, index
        top = self.scroll_offset.y
        height = max(1, self.size.height)
        if index < top:
            self.scroll_to(y=index, animate=False, force=True)
        elif index >= top + height:
            self.scroll_to(y=index - height + 1, animate=False, force=True)
        if before != index:
            self.refresh_line(before)
            self.refresh_line(index)
            self.post_message(self.Moved())

    def repaint(self) -> None:
        """Repaint the rows whose text is another than what is on screen."""
        width = self.size.width
        for index in self.window():
            if self._painted.get(index) != self.row(index, width):
                self.refresh_line(index)

    def render_line(self, y: int) -> Strip:
        """Return one line for the compositor."""
        index = y + self.scroll_offset.y
        width = self.size.width
        palette = palette_of(self)
        if index >= self._count:
            return to_strip((), width, palette)
        shown = self.row(index, width)
        if len(self._painted) > 4 * max(1, self.size.height):
            self._painted.clear()
        self._painted[index] = shown
        return to_strip(shown, width, palette, "cursor" if self._is_marked(index) else None)

    def _is_marked(self, index: int) -> bool:
        return index == self._cursor and self.has_focus_within

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh_line(self._cursor)

    def on_blur(self) -> None:
        """Hide the cursor's bar; its mark stays."""
        self.refresh_line(self._cursor)

    def on_resize(self) -> None:
        """Keep the cursor in the window."""
        self._painted.clear()
        self.move_to(self._cursor)

    def action_move(self, rows: int) -> None:
        """Move the cursor by some rows."""
        self.move_to(self._cursor + rows)

    def action_page(self, pages: float) -> None:
        """Move the cursor by pages or parts of one."""
        self.move_to(self._cursor + int(pages * max(1, self.size.height - 1)))

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self.move_to(self._count - 1)

    def action_open(self) -> None:
        """Tell that the row under the cursor is wanted."""
        if self._count:
            self.post_message(self.Opened(self._cursor))


class LineTexts(LineList, inherit_bindings=False):
    """Lines that are all there already, with a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()
        self._shows_cursor = True

    @property
    def lines(self) -> Sequence[Line]:
        """The lines as last given."""
        return self._lines

    def _is_marked(self, index: int) -> bool:
        return self._shows_cursor and super()._is_marked(index)

    def row(self, index: int, width: int) -> Line:
        """Return the line."""
        return self._lines[index] if index < len(self._lines) else ()

    def show(self, lines: Sequence[Line], *, cursor: bool = True) -> None:
        """Show these lines; those that stay the same are not painted again.

        Without ``cursor`` they are a message, of which none can be chosen.
        """
        self._lines = lines
        if cursor != self._shows_cursor:
            self._shows_cursor = cursor
            self.refresh()
        self.set_count(len(lines))
        self.repaint()


class TextView(LineTexts, inherit_bindings=False):
    """A text to scroll through, without a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("text")

    class Scrolled(Message):
        """There are ``below`` lines under the window, other than before."""

        def __init__(self, below: int) -> None:
            super().__init__()
            self.below = below

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._below = 0

    def _tell_below(self) -> None:
        below = max(0, self._count - self._cursor - self.size.height) if self.size.height else 0
        if below != self._below:
            self._below = below
            self.post_message(self.Scrolled(below))

    def move_to(self, index: int) -> None:
        """Scroll so that the row is the first in the window, or to the end."""
        last_top = max(0, self._count - max(1, self.size.height))
        top = max(0, min(index, last_top))
        self._cursor = top
        if self.scroll_offset.y != top:
            self.scroll_to(y=top, animate=False, force=True)
        self._tell_below()

    @property
    def at_end(self) -> bool:
        """Whether the last line is in the window."""
        return self.scroll_offset.y + self.size.height >= self._count

    def render_line(self, y: int) -> Strip:
        """Return one line for the compositor."""
        index = y + self.scroll_offset.y
        shown = self.row(index, self.size.width)
        self._painted[index] = shown
        return to_strip(shown, self.size.width, palette_of(self))
