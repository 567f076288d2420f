"""Sends no more than the cells that changed: a copy of what the terminal shows is kept.

Textual sends whole regions, each piece of text with its whole look (reference: its compositor
compares no cells). Over a slow line that is what one waits for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, cast

from rich.cells import cell_len, get_character_cell_size
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console, RichCast
from rich.segment import ControlType, Segment
from textual._compositor import CompositorUpdate
from textual.geometry import Size

from fsbackup_tui.tui.sgr import PLAIN, RESET, Look, change, look_of

# What one cell shows, "" in the second cell of a wide character, and its look.
Cell: TypeAlias = tuple[str, Look]
Row: TypeAlias = list[Cell | None]
# To jump over fewer cells than this costs more than to send them again.
_JUMP = 5


class Painter:
    """Turns updates of the screen into the shortest sequences that make the terminal show them."""

    def __init__(self, *, erases_in_colour: bool) -> None:
        self._erases_in_colour = erases_in_colour
        self._rows: dict[int, Row] = {}
        self._size = Size()

    def forget(self) -> None:
        """Take nothing for granted any more: the terminal was resized, or somebody else's."""
        self._rows.clear()

    def sequence(self, update: CompositorUpdate, console: Console, size: Size) -> str:
        """Return what has to be sent, and take it as sent; "" where nothing is another."""
        if size != self._size:
            self._size = size
            self.forget()
        system = COLOR_SYSTEMS.get(console.color_system or "", ColorSystem.TRUECOLOR)
        fresh = self._fresh(console.render(cast("RichCast", update)), system)
        line = _Line(self._erases_in_colour)
        for y in sorted(fresh):
            row, before = fresh[y], self._rows.get(y) or [None] * size.width
            if row != before:
                line.row(y, before, row)
                self._rows[y] = row
        return line.end()

    def _fresh(self, segments: Iterable[Segment], system: ColorSystem) -> dict[int, Row]:
        """Return the rows that the update touches as they are with it."""
        fresh: dict[int, Row] = {}
        x = y = 0
        for segment in segments:
            if segment.control:
                for code, *arguments in segment.control:
                    if code is ControlType.CURSOR_MOVE_TO:
                        x, y = map(int, arguments)
                continue
            if segment.text == "\n" or y >= self._size.height:
                continue
            if y not in fresh:
                fresh[y] = list(self._rows.get(y) or [None] * self._size.width)
            x = _put(fresh[y], x, segment.text, look_of(segment.style, system))
        return fresh


def _put(row: Row, x: int, text: str, look: Look) -> int:
    """Put text into a row, cell by cell; returns the column behind it."""
    pieces = [*text] if text.isascii() else _clusters(text)
    end = min(x + len(pieces), len(row))
    if end <= x:
        return x
    # Half of a wide character can't stay at either end.
    start, stop = x, end
    while start > 0 and _is_rest(row[start]):
        start -= 1
        row[start] = None if (cell := row[start]) is None else _cell(" ", cell[1])
    while stop < len(row) and _is_rest(row[stop]):
        row[stop] = _cell(" ", look)
        stop += 1
    row[x:end] = [_cell(piece, look) for piece in pieces[: end - x]]
    return end


def _is_rest(cell: Cell | None) -> bool:
    return cell is not None and cell[0] == ""


def _cell(text: str, look: Look) -> Cell:
    if text == " " and look.plain_when_blank:
        return text, Look(background=look.background)
    return text, look


def _clusters(text: str) -> list[str]:
    """Return what each cell of the text shows; "" follows what is wider than one."""
    pieces: list[str] = []
    for character in text:
        size = get_character_cell_size(character)
        if size == 0 and pieces:
            last = max(index for index, piece in enumerate(pieces) if piece)
            pieces[last] += character
        elif size > 0:
            pieces += [character, *[""] * (size - 1)]
    size = cell_len(text)
    # Where several characters make one sign they are kept together, to be sent as they came.
    return pieces if len(pieces) == size else [text, *[""] * (size - 1)]


class _Line:
    """Collects what is sent, knowing where the cursor is and which look is set."""

    def __init__(self, erases_in_colour: bool) -> None:
        self._erases_in_colour = erases_in_colour
        self._sent: list[str] = []
        self._at: tuple[int, int] | None = None
        self._look: Look | None = None

    def end(self) -> str:
        """Return everything, with the look put back."""
        if self._sent and self._look != PLAIN:
            self._sent.append(RESET)
        return "".join(self._sent)

    def row(self, y: int, before: Row, row: Row) -> None:
        """Send what differs in a row."""
        changed = [x for x, cell in enumerate(row) if cell is not None and cell != before[x]]
        tail = self._tail(row)
        if _has_wide(row) or _has_wide(before):
            # Terminals do not agree on how wide some signs are: such a row is sent as a whole.
            changed = [x for x, cell in enumerate(row) if cell is not None]
            tail = len(row)
        last = -1
        for x in changed:
            if x >= tail:
                break
            if last >= 0 and self._bridged(row, last, x):
                for between in range(last, x):
                    self._cell(row[between])
            else:
                self._move(x, y)
            self._cell(row[x])
            last = x + 1
            self._at = (last, y)
        if changed and changed[-1] >= tail:
            blank = row[tail]
            self._move(tail, y)
            self._cell(blank, "\x1b[K")

    def _tail(self, row: Row) -> int:
        """Return from where on the row is one blank that can be erased instead of sent."""
        blank = row[-1]
        erasable = blank is not None and blank[0] == " " and blank[1].plain_when_blank
        if not erasable or (
            blank is not None and blank[1].background and not self._erases_in_colour
        ):
            return len(row)
        start = len(row)
        while start and row[start - 1] == blank:
            start -= 1
        return start if len(row) - start > 3 else len(row)

    def _bridged(self, row: Row, last: int, x: int) -> bool:
        """Return whether cells that did not change are sent again to spare a movement."""
        now = self._look or PLAIN
        return x - last < _JUMP and all(
            cell is not None
            and (cell[1] == now or (cell[0] == " " and cell[1].background == now.background))
            for cell in row[last:x]
        )

    def _move(self, x: int, y: int) -> None:
        at = self._at
        if at == (x, y):
            return
        if at is not None and at[1] == y:
            self._sent.append(f"\x1b[{x + 1}G" if x else "\r")
        elif at is not None and at[1] == y - 1 and x == 0:
            self._sent.append("\x1b[E")
        else:
            self._sent.append(f"\x1b[{y + 1};{x + 1}H")
        self._at = (x, y)

    def _cell(self, cell: Cell | None, instead: str = "") -> None:
        if cell is None:
            return
        text, look = cell
        if text == " " and self._look is not None and self._look.plain_when_blank:
            # A blank shows its background alone: the rest of the look may stay.
            look = (
                look
                if not look.plain_when_blank
                else self._look._replace(background=look.background)
            )
        self._sent.append(change(self._look, look) + (instead or text))
        self._look = look


def _has_wide(row: Row) -> bool:
    return any(cell is not None and len(cell[0]) != 1 for cell in row)


class Painted(CompositorUpdate):
    """An update of Textual's as the painter sends it."""

    def __init__(self, sequence: str) -> None:
        self._sequence = sequence

    def render_segments(self, console: Console) -> str:
        """Return what is sent."""
        return self._sequence


def erases_in_colour(environ: Mapping[str, str]) -> bool:
    """Return whether an erased cell takes the background set ("bce" in terminfo)."""
    try:
        import curses
    except ImportError:
        return False
    try:
        curses.setupterm(environ.get("TERM") or "dumb", 1)
    except curses.error:
        return False
    return curses.tigetflag("bce") > 0
