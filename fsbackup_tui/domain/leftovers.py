"""What past recoveries left behind, on the server and beside it; nothing of it goes by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

LeftoverKind = Literal[
    "before", "after", "restore", "unfinished", "staging", "schema", "fence", "evidence", "drill"
]


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that was left: what it is, of which incident or job, since when, how large.

    ``name`` is what is typed to drop it. ``held_by`` says why it can't be dropped now.
    """

    kind: LeftoverKind
    name: str
    oid: int
    of: str
    since: datetime | None
    size_bytes: int | None
    what: str
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """All of them, the oldest first."""

    items: tuple[Leftover, ...]
    notes: tuple[str, ...] = ()
