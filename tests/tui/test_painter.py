"""What is sent to the terminal: the right screen, and no cell that is there already."""

from __future__ import annotations

import random
import re
import subprocess
import sys

import pyte
import pytest
from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip

from fsbackup_tui.tui.painter import Painter
from fsbackup_tui.tui.sgr import PLAIN, change, look_of, nearest

SIZE = Size(24, 6)
CONSOLE = Console(color_system="truecolor", force_terminal=True, width=SIZE.width)
STYLES = [
    Style.parse(text)
    for text in (
        "none",
        "#d5daf0 on #16181f",
        "bold #f7768e on #16181f",
        "#8b92ad on #33405f",
        "reverse",
        "underline cyan",
        "bold reverse red",
    )
]
WORDS = ("a", "daily", "  ", "        ", "表", "naïve", "e\u0301", "…", "1.2 GB")


class Drawn:
    """A terminal that shows what was sent to it."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(SIZE.width, SIZE.height)
        self.screen.reset_mode(pyte.modes.DECAWM)
        self._stream = pyte.Stream(self.screen)

    def send(self, sequence: str) -> None:
        self._stream.feed(sequence)

    def cells(self) -> list[list[tuple[object, ...]]]:
        """Return what each cell shows; of a blank that is its background alone."""
        return [
            [_shown(self.screen.buffer[y][x]) for x in range(SIZE.width)]
            for y in range(SIZE.height)
        ]


def _shown(cell: pyte.screens.Char) -> tuple[object, ...]:
    if cell.data == " " and not (cell.reverse or cell.underscore):
        return (" ", cell.bg)
    return (cell.data, cell.bg, cell.fg, cell.bold, cell.reverse, cell.underscore)


def strip(pieces: list[tuple[str, Style]], width: int) -> Strip:
    """Return the pieces as one line of exactly so many cells."""
    return Strip([Segment(text, style) for text, style in pieces]).adjust_cell_length(width)


def update(y: int, *lines: list[tuple[str, Style]], x: int = 0, width: int = 0) -> LayoutUpdate:
    """Return an update of some lines from a cell on."""
    width = width or SIZE.width - x
    return LayoutUpdate([[strip(line, width)] for line in lines], Region(x, y, width, len(lines)))


def random_line(chance: random.Random) -> list[tuple[str, Style]]:
    return [(chance.choice(WORDS), chance.choice(STYLES)) for _ in range(chance.randrange(1, 9))]


@pytest.mark.parametrize("erases", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_terminal_shows_what_textual_alone_would_have_shown(seed: int, erases: bool) -> None:
    chance = random.Random(seed)
    painter = Painter(erases_in_colour=erases)
    ours, theirs = Drawn(), Drawn()
    whole = update(0, *(random_line(chance) for _ in range(SIZE.height)))
    updates = [whole]
    for _ in range(12):
        y = chance.randrange(SIZE.height - 2)
        lines = [random_line(chance) for _ in range(chance.randrange(1, 3))]
        updates.append(update(y, *lines))
    for item in updates:
        ours.send(painter.sequence(item, CONSOLE, SIZE))
        theirs.send(item.render_segments(CONSOLE).replace("\n", "\r\n"))
        assert ours.cells() == theirs.cells()
        assert painter.sequence(item, CONSOLE, SIZE) == ""


@pytest.mark.parametrize("seed", range(10))
def test_parts_of_lines_are_shown_as_textual_alone_would_have(seed: int) -> None:
    chance = random.Random(seed)
    painter = Painter(erases_in_colour=True)
    ours, theirs = Drawn(), Drawn()
    plain = [[("0123456789" * 3, STYLES[1])] for _ in range(SIZE.height)]
    updates = [update(0, *plain)]
    for _ in range(20):
        x = chance.randrange(SIZE.width - 2)
        width = chance.randrange(1, SIZE.width - x)
        line = [(chance.choice("ab "), chance.choice(STYLES)) for _ in range(width)]
        updates.append(update(chance.randrange(SIZE.height), line, x=x, width=width))
    for item in updates:
        ours.send(painter.sequence(item, CONSOLE, SIZE))
        theirs.send(item.render_segments(CONSOLE).replace("\n", "\r\n"))
        assert ours.cells() == theirs.cells()


def test_one_changed_cell_is_sent_alone() -> None:
    painter = Painter(erases_in_colour=True)
    painter.sequence(update(2, [("62 % of the dump", STYLES[1])]), CONSOLE, SIZE)
    sent = painter.sequence(update(2, [("63 % of the dump", STYLES[1])]), CONSOLE, SIZE)
    assert re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", sent) == "3"
    assert sent.startswith("\x1b[3;2H")
    assert sent.endswith("\x1b[m")


def test_blank_rest_of_a_line_is_erased_only_where_that_takes_the_colour() -> None:
    item = update(0, [("text", STYLES[1]), (" " * 20, STYLES[1])])
    assert Painter(erases_in_colour=True).sequence(item, CONSOLE, SIZE).endswith("text\x1b[K\x1b[m")
    spaces = "text" + " " * 20 + "\x1b[m"
    assert Painter(erases_in_colour=False).sequence(item, CONSOLE, SIZE).endswith(spaces)
    item = update(0, [("text", STYLES[0]), (" " * 20, STYLES[0])])
    assert Painter(erases_in_colour=False).sequence(item, CONSOLE, SIZE).endswith("text\x1b[K")


def test_line_with_wide_signs_is_sent_as_a_whole() -> None:
    painter = Painter(erases_in_colour=True)
    painter.sequence(update(0, [("表 one", STYLES[0])]), CONSOLE, SIZE)
    sent = painter.sequence(update(0, [("表 two", STYLES[0])]), CONSOLE, SIZE)
    assert "表 two" in sent


def test_forgotten_or_resized_everything_is_sent_again() -> None:
    painter = Painter(erases_in_colour=True)
    item = update(0, [("daily", STYLES[1])])
    first = painter.sequence(item, CONSOLE, SIZE)
    painter.forget()
    assert painter.sequence(item, CONSOLE, SIZE) == first
    assert painter.sequence(item, CONSOLE, Size(SIZE.width, SIZE.height + 1)) == first


def test_update_for_a_taller_terminal_neither_scrolls_nor_counts_as_shown() -> None:
    painter = Painter(erases_in_colour=True)
    drawn = Drawn()
    lines = [[(f"line {number}", STYLES[1])] for number in range(SIZE.height + 3)]
    drawn.send(painter.sequence(update(0, *lines), CONSOLE, SIZE))
    assert [row.rstrip() for row in drawn.screen.display] == [f"line {n}" for n in range(6)]
    # Even where the terminal is smaller already and nobody knows it yet.
    lower = pyte.Screen(SIZE.width, 3)
    painter.forget()
    pyte.Stream(lower).feed(painter.sequence(update(0, *lines[:6]), CONSOLE, SIZE))
    assert lower.display[0].rstrip() == "line 0"


def test_change_of_look_sends_what_differs_alone() -> None:
    system = ColorSystem.EIGHT_BIT
    text = look_of(Style.parse("#ff0000 on #000000"), system)
    bold = look_of(Style.parse("bold #ff0000 on #000000"), system)
    dim = look_of(Style.parse("dim #ff0000 on #000000"), system)
    assert change(None, text) == "\x1b[0;38;5;196;48;5;16m"
    assert change(text, bold) == "\x1b[1m"
    assert change(bold, dim) == "\x1b[22;2m"
    assert change(bold, text) == "\x1b[22m"
    assert change(text, text) == ""
    assert change(bold, PLAIN) == "\x1b[m"
    assert change(PLAIN, look_of(Style.parse("red"), ColorSystem.STANDARD)) == "\x1b[31m"


@pytest.mark.parametrize(("colour", "number"), [("#16181f", 234), ("#ff0000", 196)])
def test_dark_greys_with_a_tint_stay_dark_greys_in_256_colours(colour: str, number: int) -> None:
    assert nearest(ColorTriplet(*Color.parse(colour).get_truecolor())) == number


@pytest.mark.parametrize(
    ("term", "erases"),
    [
        ("xterm-256color", True),
        ("screen-256color", False),
        ("vt100", False),
        ("no-such-terminal", False),
        ("", False),
    ],
)
def test_terminal_that_erases_in_colour_is_known_by_terminfo(term: str, erases: bool) -> None:
    # In a process of its own: curses takes the first terminal it is told of for good.
    code = (
        "from fsbackup_tui.tui.painter import erases_in_colour;"
        f"print(erases_in_colour({{'TERM': {term!r}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"{erases}\n"
