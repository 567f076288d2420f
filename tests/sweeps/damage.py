"""Damage drawn by lot: a bit flipped, or the end cut off, in a file of a stored point."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.sweeps.stored import Stored

Way = Literal["flip", "cut"]


@dataclass(frozen=True)
class Damage:
    """One damage: ``place`` is a bit of the file, or how many bytes are left of it."""

    stored: Stored
    kind: str
    path: Path
    way: Way
    place: int

    def __str__(self) -> str:
        what = f"bit {self.place}" if self.way == "flip" else f"cut to {self.place} bytes"
        return f"{self.stored.name} {self.path} {what}"

    def inflict(self) -> None:
        """Do it to the point as it lies there now."""
        target = self.stored.directory / self.path
        content = bytearray(target.read_bytes())
        if self.way == "flip":
            content[self.place // 8] ^= 1 << self.place % 8
        else:
            del content[self.place :]
        target.write_bytes(content)


def draw(
    stored: Sequence[Stored], way: Way, count: int, seed: str, *, only: str | None = None
) -> Iterator[Damage]:
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
            random.Random(f"{seed}/{number}").shuffle(pool)
        item, kind, paths = pool[number % len(pool)]
        sizes = [(item.pristine / path).stat().st_size for path in paths]
        # As a disk does it: the larger the file the likelier.
        path = chance.choices(paths, weights=sizes)[0]
        size = (item.pristine / path).stat().st_size
        if way == "flip":
            place = chance.randrange(size * 8)
        else:
            place = (
                size - chance.randint(1, min(40, size)) if number % 2 else chance.randrange(size)
            )
        yield Damage(item, kind, path, way, place)
