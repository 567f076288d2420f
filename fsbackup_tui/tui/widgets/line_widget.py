"""Widgets that show ready-made lines and repaint no more than the cells that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from fsbackup_tui.tui.lines import Line, Role, fit, width_of

if TYPE_CHECKING:
    from fsbackup_tui.tui.app import FsbackupApp
    from fsbackup_tui.tui.theme import Palette


def palette_of(widget: Widget) -> Palette:
    """Return the look in use."""
    return cast("FsbackupApp", widget.app).look


def to_strip(shown: Line, width: int, palette: Palette, over: Role | None = None) -> Strip:
    """Return the line as a strip of exactly ``width`` cells; ``over`` lies on every piece."""
    styles = palette.styles
    covers = None if over is None else styles[over]
    segments = []
    for text, role in fit(shown, width):
        style = styles[role]
        segments.append(Segment(text, style if covers is None else _covered(style, covers)))
    return Strip(segments, width)


def _covered(style: Style, over: Style) -> Style:
    """Return a look with another lying on it: its background, or all of it where it is reversed.

    Colours under a reversed look would become backgrounds of their own.
    """
    if over.reverse:
        return over + Style(bold=style.bold)
    return style + Style(bgcolor=over.bgcolor, bold=over.bold)


class LineWidget(Widget):
    """Some lines of text; ``show`` repaints only what differs, and never lays out anew."""

    DEFAULT_CSS = """
    LineWidget { height: 1; width: 1fr; }
    """

    def __init__(self, *, over: Role | None = None, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._over = over
        self._shown: tuple[Line, ...] = ()

    @property
    def shown(self) -> tuple[Line, ...]:
        """The lines as last given."""
        return self._shown

    def show(self, *lines: Line) -> None:
        """Show these lines from the top; lines that are equal to the present stay untouched."""
        before, self._shown = self._shown, lines
        for y in range(max(len(before), len(lines))):
            old = before[y] if y < len(before) else ()
            new = lines[y] if y < len(lines) else ()
            if old != new:
                self.refresh(_changed_region(old, new, y, self.size.width))

    def render_line(self, y: int) -> Strip:
        """Return one line for the compositor."""
        shown: Line = self._shown[y] if y < len(self._shown) else ()
        return to_strip(shown, self.size.width, palette_of(self), self._over)

    def get_content_height(self, *_: object) -> int:
        """Return the number of lines, for widgets whose height is ``auto``."""
        return len(self._shown)


def _changed_region(old: Line, new: Line, y: int, width: int) -> Region:
    """Return the cells of line ``y`` that differ: equal pieces at both ends are left alone."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    left = width_of(new[:start])
    right = width
    if width_of(old) == width_of(new):
        end = 0
        while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
            end += 1
        if end:
            right = width_of(new) - width_of(new[-end:])
    return Region(left, y, max(1, min(right, width) - left), 1)


def text_of(lines: Sequence[Line], width: int) -> list[str]:
    """Return the text of lines as they are painted at ``width``."""
    return ["".join(piece.text for piece in fit(shown, width)) for shown in lines]
