"""Lines of text with a meaning per piece, and the fitting of foreign text into cells.

Everything the screens show is built as ``Line`` values by plain functions, so that it can be
tested without a terminal; ``theme.Palette`` turns a role into a look.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from rich.cells import cell_len, set_cell_size

Role = Literal[
    "text",
    "muted",
    "good",
    "warn",
    "bad",
    "accent",
    "key",
    "heading",
    "bar",
    "cursor",
    "production",
]
ROLES: tuple[str, ...] = get_args(Role)
REPLACEMENT = "\ufffd"
ELLIPSIS = "…"
# Controls, formats (bidirectional overrides among them), surrogates, unassigned private marks:
# none of them may reach a terminal from a table name or a log line.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Piece(NamedTuple):
    """Some text and what it means."""

    text: str
    role: Role = "text"


Line = tuple[Piece, ...]
Part = Piece | tuple[str, Role] | str


def printable(text: str) -> str:
    """Return foreign text safe to show: control and format characters become U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        REPLACEMENT if unicodedata.category(character) in _UNPRINTABLE else character
        for character in text
    )


def clip(text: str, width: int) -> str:
    """Return the text in at most ``width`` cells, with an ellipsis where it was cut."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS if width > 1 else ELLIPSIS


def clip_left(text: str, width: int) -> str:
    """Return the end of the text in at most ``width`` cells; for paths, whose end tells most."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return ELLIPSIS + text if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return the text in exactly ``width`` cells, cut or filled; ``right`` aligns it right."""
    text = clip(text, width)
    blank = " " * max(0, width - cell_len(text))
    return blank + text if right else text + blank


def line(*pieces: Part) -> Line:
    """Return a line of pieces; strings are plain text, everything is made printable."""
    result: list[Piece] = []
    for piece in pieces:
        whole = Piece(piece) if isinstance(piece, str) else Piece(*piece)
        if whole.text:
            result.append(Piece(printable(whole.text), whole.role))
    return tuple(result)


def plain(shown: Line) -> str:
    """Return the line's text without its meaning."""
    return "".join(piece.text for piece in shown)


def width_of(shown: Line) -> int:
    """Return the line's width in cells."""
    return sum(cell_len(piece.text) for piece in shown)


def fit(shown: Line, width: int) -> Line:
    """Return the line in exactly ``width`` cells: what does not fit goes from the right."""
    result: list[Piece] = []
    room = width
    for piece in shown:
        size = cell_len(piece.text)
        if size > room:
            if room > 0:
                result.append(Piece(pad(piece.text, room), piece.role))
            room = 0
            break
        result.append(piece)
        room -= size
    if room > 0:
        result.append(Piece(" " * room))
    return tuple(result)


def spread(left: Line, right: Line, width: int) -> Line:
    """Return ``left`` and ``right`` at the two ends of ``width`` cells; the left gives way."""
    room = max(0, width - width_of(right))
    follows = plain(right)
    if follows and follows[0] != " " and width_of(left) >= room:
        # What is cut off must not run into what follows.
        return fit((*fit(left, max(0, room - 1)), Piece(" "), *right), width)
    return fit((*fit(left, room), *right), width)


def wrap(text: str, width: int, *, indent: str = "") -> list[str]:
    """Return the text in lines of at most ``width`` cells, broken at spaces where there are any.

    Lines after the first begin with ``indent``; given line breaks are kept.
    """
    result: list[str] = []
    for paragraph in text.split("\n"):
        shown = printable(paragraph)
        current = shown[: len(shown) - len(shown.lstrip(" "))]
        for word in shown.split(" "):
            start = indent if result else ""
            room = max(1, width - cell_len(start))
            if not word and not current.strip():
                continue
            candidate = f"{current} {word}" if current.strip() else current + word
            if cell_len(candidate) <= room:
                current = candidate
                continue
            if current:
                result.append(start + current)
                start, room = indent, max(1, width - cell_len(indent))
            while cell_len(word) > room:
                head = set_cell_size(word, room).rstrip("\0")
                result.append(start + head)
                word = word[len(head) :]
                start, room = indent, max(1, width - cell_len(indent))
            current = word
        result.append((indent if result else "") + current)
    return result


def wrapped(text: str, width: int, role: Role = "text", *, indent: str = "") -> list[Line]:
    """Return the text as lines of one role, wrapped to ``width`` cells."""
    return [line((part, role)) for part in wrap(text, width, indent=indent)]


def folded(shown: Line, width: int) -> list[Line]:
    """Return a line in lines of at most ``width`` cells, each piece in its role; kept if it fits.

    Broken at spaces where there are any; what follows stands below the first word.
    """
    if width_of(shown) <= width:
        return [shown]
    text = plain(shown)
    roles = [piece.role for piece in shown for _ in piece.text]
    indent = " " * (len(text) - len(text.lstrip(" ")))
    result: list[Line] = []
    at = 0
    for row in wrap(text, width, indent=indent):
        # Of the text itself only blanks are left out, where a row was broken.
        words = row[len(indent) :] if result else row
        at = text.index(words, at)
        pieces = (Piece(each, roles[at + place]) for place, each in enumerate(words))
        result.append(line(indent if result else "", *_joined(pieces)))
        at += len(words)
    return result


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Return pieces with neighbours of one role made one."""
    result: list[Piece] = []
    for piece in pieces:
        if result and result[-1].role == piece.role:
            result[-1] = Piece(result[-1].text + piece.text, piece.role)
        else:
            result.append(piece)
    return result


def labelled(label: str, text: str, width: int, role: Role = "text") -> list[Line]:
    """Return ``Why   text`` lines: a muted label of six cells, the text wrapped beside it."""
    lines = wrap(text, max(8, width - 6))
    first = line((f"{label:<6}", "muted"), (lines[0], role))
    return [first, *(line("      ", (part, role)) for part in lines[1:])]


def plain_lines(lines: Iterable[Line] | Sequence[Line]) -> list[str]:
    """Return the text of several lines."""
    return [plain(shown) for shown in lines]
