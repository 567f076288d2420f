"""The trust ladder (design §2): how far a point or a part has been shown good."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Trust(enum.IntEnum):
    """The rungs, from worst to best; ``word`` is how they are written everywhere."""

    DAMAGED = 0
    INCOMPLETE = 1
    UNVERIFIED = 2
    CLAIMED = 3
    SEALED = 4
    READABLE = 5
    RESTORED = 6
    PROVEN = 7

    @property
    def word(self) -> str:
        """The lower-case word for documents; faces may show it in capitals."""
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> Trust:
        """Return the rung of that word; KeyError for no such rung."""
        return cls[word.upper()]


TOP_RUNGS = {"config": Trust.READABLE, "code": Trust.RESTORED}
"""The topmost rung of kinds that have none above it (design §2); of all others it is proven."""


def counted(kind: str, trust: Trust) -> Trust:
    """Return what a part's trust counts for in its point: at its kind's top it is proven."""
    return Trust.PROVEN if trust >= TOP_RUNGS.get(kind, Trust.PROVEN) else trust


def least(rungs: Iterable[Trust]) -> Trust:
    """Return the trust of a whole: that of its least part, ``INCOMPLETE`` for no part at all."""
    return min(rungs, default=Trust.INCOMPLETE)
