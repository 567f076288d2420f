"""What is wrong with files, configuration or code, measured against points, as values.

Sizes are bytes. What one kind has to tell more of (which names differ) is in its own document:
``FilesLook`` of ``domain/tree.py`` for files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fsbackup_tui.domain.place import PlaceKind

_KEYS = 8


@dataclass(frozen=True, slots=True)
class SiteCandidate:
    """A point whose part might be put back.

    ``brings`` is how many files it has that live has not (of a configuration, or of code: that
    live has otherwise), ``lacks`` how many live has and it has not; None: not known. ``about``
    tells what it holds in a few words. ``stock`` are the commands that restore the part by hand,
    run in ``directory``. ``doubt`` says why it needs a written reason, ``unsigned`` how it
    lacks the signature that the configuration demands.
    """

    point: str
    at: datetime
    trust: str
    minutes: float
    after_damage: bool | None
    doubt: str = ""
    files: int | None = None
    bytes: int | None = None
    brings: int | None = None
    brings_bytes: int | None = None
    differs: int | None = None
    lacks: int | None = None
    about: str = ""
    directory: str = ""
    stock: tuple[str, ...] = ()
    seconds: float | None = None
    unsigned: str = ""


@dataclass(frozen=True, slots=True)
class SiteDamage:
    """Live against a point, by reading alone; ``found`` is the kind's own document."""

    at: datetime
    kind: PlaceKind
    part: str
    point: str
    point_at: datetime | None
    candidates: tuple[SiteCandidate, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def candidate(self, point: str) -> SiteCandidate | None:
        """Return what is known of a point."""
        return next((each for each in self.candidates if each.point == point), None)


def entry_words(entry: Mapping[str, Any]) -> str:
    """Return how live's entry of a configuration differs from the point's, by names alone.

    ``entry`` is a document of ``domain/config_change.py:EntryChange``.
    """
    change = str(entry.get("change"))
    words = {
        "added": "only in live",
        "removed": "NOT IN LIVE",
        "changed": "CHANGED",
        "unknown": "nobody can tell whether it changed",
    }.get(change, change)
    keys = entry.get("keys")
    found = keys if isinstance(keys, Mapping) else {}
    told = [
        f"{label} {', '.join(map(str, names[:_KEYS]))}" + (" …" if len(names) > _KEYS else "")
        for label, name in (("only live:", "added"), ("gone:", "removed"), ("other:", "changed"))
        if isinstance(names := found.get(name), list) and names
    ]
    return "; ".join([words, *told])
