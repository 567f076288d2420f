"""Damage drawn by lot in a file of a stored point: flipped, cut off, zeroed, swapped, repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

Way = Literal["flip", "cut", "zero", "swap", "again"]
WAYS: tuple[Way, ...] = ("flip", "cut", "zero", "swap", "again")
_SECTOR = 512
_TRIES = 20


class Point(Protocol):
    """A stored point that can be damaged, and made whole again."""

    @property
    def name(self) -> str:
        """What it is, in words."""
        ...

    @property
    def directory(self) -> Path:
        """Where it lies."""
        ...

    @property
    def pristine(self) -> Path:
        """Where its copy lies."""
        ...

    def files(self) -> Mapping[str, Sequence[Path]]:
        """Return its files by kind, relative to its directory."""
        ...


PointT = TypeVar("PointT", bound=Point)


@dataclass(frozen=True)
class Blow:
    """What is done to some bytes: ``place`` and ``other`` are as the way wants them.

    ``flip``: a bit. ``cut``: how many bytes are left. ``zero``: a sector. ``swap``: two sectors.
    ``again``: from where on the end stands there a second time.
    """

    way: Way
    place: int
    other: int = 0

    def __str__(self) -> str:
        return {
            "flip": f"bit {self.place}",
            "cut": f"cut to {self.place} bytes",
            "zero": f"zeroed sector {self.place}",
            "swap": f"swapped sectors {self.place} and {self.other}",
            "again": f"once more from byte {self.place}",
        }[self.way]

    def struck(self, whole: bytes) -> bytes:
        """Return the bytes as they are after it."""
        content = bytearray(whole)
        match self.way:
            case "flip":
                content[self.place // 8] ^= 1 << self.place % 8
            case "cut":
                del content[self.place :]
            case "zero":
                start = self.place * _SECTOR
                content[start : start + _SECTOR] = bytes(len(content[start : start + _SECTOR]))
            case "swap":
                width = _width(len(content))
                first, second = self.place * width, self.other * width
                one, two = (bytes(content[at : at + width]) for at in (first, second))
                content[first : first + width], content[second : second + width] = two, one
            case "again":
                content += content[self.place :]
        return bytes(content)


def _width(size: int) -> int:
    """How much is swapped: a sector, or half of what is shorter than two."""
    return max(1, min(_SECTOR, size // 2))


def draw_blow(way: Way, content: bytes, chance: random.Random, *, near_end: bool) -> Blow:
    """Draw one that changes the content; a bit is flipped where the way changes nothing."""
    for _try in range(_TRIES):
        blow = _drawn(way, len(content), chance, near_end=near_end)
        if blow.struck(content) != content:
            return blow
    return _drawn("flip", len(content), chance, near_end=near_end)


def _drawn(way: Way, size: int, chance: random.Random, *, near_end: bool) -> Blow:
    match way:
        case "flip":
            return Blow(way, chance.randrange(size * 8))
        case "cut":
            few = size - chance.randint(1, min(40, size))
            return Blow(way, few if near_end else chance.randrange(size))
        case "zero":
            return Blow(way, chance.randrange(-(-size // _SECTOR)))
        case "swap":
            places = size // _width(size)
            return Blow(way, chance.randrange(places), chance.randrange(places))
        case "again":
            few = size - chance.randint(1, min(_SECTOR, size))
            return Blow(way, few if near_end else chance.randrange(size))


@dataclass(frozen=True)
class Damage(Generic[PointT]):
    """One blow to one file of a stored point."""

    stored: PointT
    kind: str
    path: Path
    blow: Blow

    def __str__(self) -> str:
        return f"{self.stored.name} {self.path} {self.blow}"

    @property
    def way(self) -> Way:
        """How it is damaged."""
        return self.blow.way

    def inflict(self) -> None:
        """Do it to the point as it lies there now."""
        target = self.stored.directory / self.path
        target.write_bytes(self.blow.struck(target.read_bytes()))


def draw(
    stored: Sequence[PointT], way: Way, count: int, seed: str, *, only: str | None = None
) -> Iterator[Damage[PointT]]:
    """Draw so many damages, spread evenly over all formats, compressions and kinds of files.

    ``only`` is one kind of file. Half of the cuts take a few bytes, half take any number.
    """
    pool = [
        (item, kind, paths)
        for item in stored
        for kind, paths in item.files().items()
        if only in (None, kind)
    ]
    for number in range(count):
        chance = random.Random(f"{seed}/{way}/{only}/{number}")
        if number % len(pool) == 0:
            random.Random(f"{seed}/{way}/{number}").shuffle(pool)
        item, kind, paths = pool[number % len(pool)]
        sizes = [(item.pristine / path).stat().st_size for path in paths]
        # As a disk does it: the larger the file the likelier.
        path = chance.choices(paths, weights=sizes)[0]
        content = (item.pristine / path).read_bytes()
        yield Damage(item, kind, path, draw_blow(way, content, chance, near_end=number % 2 == 1))
