"""Whether a restored copy may take live's place: what was compared, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckState = Literal["equal", "different", "blocked"]


@dataclass(frozen=True, slots=True)
class CopyFinding:
    """One thing that was looked at, by sort (tables, sequences, role …), and how it is."""

    sort: str
    name: str
    state: CheckState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CopyCheck:
    """The verdict: ``proven`` when all is equal, ``restored`` when something could not be tried.

    ``differences`` are all findings that are not equal; ``rows`` is how many rows were compared.
    ``role`` is whom the copy was tried as; ``notes`` are neither failures nor left untried.
    """

    copy: str
    copy_oid: int
    point: str
    verdict: Literal["proven", "restored", "different"]
    tables: int
    rows: int | None
    role: str
    differences: tuple[CopyFinding, ...] = ()
    deferred: tuple[str, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
