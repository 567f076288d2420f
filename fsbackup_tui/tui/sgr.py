"""How a cell looks, as terminals know it, and the shortest way from one look to the next."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.color import Color, ColorSystem, ColorType
from rich.color_triplet import ColorTriplet
from rich.style import Style

RESET = "\x1b[m"
# Name in Rich, the code that turns it on, the code that turns it off (ECMA-48).
_ATTRIBUTES = (
    ("bold", "1", "22"),
    ("dim", "2", "22"),
    ("italic", "3", "23"),
    ("underline", "4", "24"),
    ("blink", "5", "25"),
    ("reverse", "7", "27"),
    ("strike", "9", "29"),
)
_SEEN_ON_BLANKS = frozenset({"4", "7", "9"})
_CUBE = (0, 95, 135, 175, 215, 255)


class Look(NamedTuple):
    """The attributes' codes and the two colours' codes; "" is the terminal's own colour."""

    attributes: frozenset[str] = frozenset()
    foreground: str = ""
    background: str = ""

    @property
    def plain_when_blank(self) -> bool:
        """Whether a blank in this look shows nothing but its background."""
        return not self.attributes & _SEEN_ON_BLANKS


PLAIN = Look()


@lru_cache(maxsize=1024)
def look_of(style: Style | None, system: ColorSystem) -> Look:
    """Return the look of a style on a terminal of so many colours."""
    if style is None:
        return PLAIN
    attributes = frozenset(on for name, on, _ in _ATTRIBUTES if getattr(style, name))
    return Look(
        attributes,
        _colour(style.color, system, foreground=True),
        _colour(style.bgcolor, system, foreground=False),
    )


def _colour(colour: Color | None, system: ColorSystem, *, foreground: bool) -> str:
    if colour is None or colour.type is ColorType.DEFAULT:
        return ""
    if system is ColorSystem.EIGHT_BIT and colour.triplet is not None:
        return f"{38 if foreground else 48};5;{nearest(colour.triplet)}"
    return ";".join(colour.downgrade(system).get_ansi_codes(foreground))


@lru_cache(maxsize=256)
def nearest(triplet: ColorTriplet) -> int:
    """Return which of the 240 fixed colours of a 256-colour terminal is next to a colour.

    Rich looks in the 6x6x6 cube alone for whatever has a tint: a dark bluish grey becomes navy.
    The first sixteen are the user's own and are never taken.
    """
    cube = {
        16 + 36 * red + 6 * green + blue: (_CUBE[red], _CUBE[green], _CUBE[blue])
        for red in range(6)
        for green in range(6)
        for blue in range(6)
    }
    greys = {232 + step: (8 + 10 * step,) * 3 for step in range(24)}
    return min({**cube, **greys}.items(), key=lambda item: _distance(triplet, item[1]))[0]


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the "redmean" distance of two colours, close to how far apart they look."""
    red = (one[0] + other[0]) / 2
    differences = [(a - b) ** 2 for a, b in zip(one, other, strict=True)]
    weights = (2 + red / 256, 4.0, 2 + (255 - red) / 256)
    return sum(weight * square for weight, square in zip(weights, differences, strict=True))


def change(before: Look | None, after: Look) -> str:
    """Return the sequence that turns one look into another; None is a look that is not known."""
    if before == after:
        return ""
    codes: list[str] = []
    if before is None:
        codes.append("0")
        before = PLAIN
    lost = before.attributes - after.attributes
    kept = before.attributes & after.attributes
    for _, on, off in _ATTRIBUTES:
        if on in lost:
            codes.append(off)
            # 22 ends bold and dim alike.
            kept -= {other for _, other, same in _ATTRIBUTES if same == off}
    codes += [on for _, on, _ in _ATTRIBUTES if on in after.attributes - kept]
    if before.foreground != after.foreground:
        codes.append(after.foreground or "39")
    if before.background != after.background:
        codes.append(after.background or "49")
    if after == PLAIN:
        return RESET
    return f"\x1b[{';'.join(codes)}m"
