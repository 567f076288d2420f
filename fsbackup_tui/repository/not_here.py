"""Points of which only the descriptions were fetched: which parts are still elsewhere, and where.

``elsewhere/POINT.json`` stands beside ``points/``, in which nothing ever changes; it goes when
the last of its parts has come. Without it, a point whose files are gone is damaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.repository.files import make_directory, replace_file, sync_directory, writing
from fsbackup_tui.repository.layout import Repository

DIRECTORY = "elsewhere"
FILE_SCHEME = "file:"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class NotHere:
    """The parts of a point that are still elsewhere.

    ``origin`` is a replica of the configuration, by its name, or ``file:`` and a directory.
    """

    point: str
    origin: str
    parts: tuple[str, ...]


def not_here(repository: Repository, point: str) -> NotHere | None:
    """Return what of a point is still elsewhere; None where all of it is here."""
    try:
        return _parse(repository.root / DIRECTORY / f"{point}.json")
    except FileNotFoundError:
        return None


def points_not_here(repository: Repository) -> dict[str, NotHere]:
    """Return the points that are not wholly here, by their ids."""
    directory = repository.root / DIRECTORY
    if not directory.is_dir():
        return {}
    found = {}
    for path in sorted(directory.glob("*.json")):
        found[path.stem] = _parse(path)
    return found


def _parse(path: Path) -> NotHere:
    try:
        document = json.loads(path.read_bytes())
        parts = tuple(str(part) for part in document["parts"])
        return NotHere(path.stem, str(document["origin"]), parts)
    except (ValueError, KeyError, TypeError):
        # That something is missing is all it can tell; who asks for it is told where it fails.
        return NotHere(path.stem, "", ())


def mark_not_here(repository: Repository, point: str, origin: str, parts: Iterable[str]) -> None:
    """Remember that parts of a point are elsewhere; DiskFull, RepositoryUnwritable."""
    directory = repository.root / DIRECTORY
    document = {"format": _FORMAT, "origin": origin, "parts": sorted(parts)}
    with writing(directory):
        make_directory(directory)
        replace_file(directory / f"{point}.json", (json.dumps(document, indent=1) + "\n").encode())


def has_come(repository: Repository, point: str, part: str) -> None:
    """Forget a part that was elsewhere and is here now; DiskFull, RepositoryUnwritable."""
    known = not_here(repository, point)
    if known is None or part not in known.parts:
        return
    left = [each for each in known.parts if each != part]
    if left:
        mark_not_here(repository, point, known.origin, left)
        return
    wholly_here(repository, point)


def wholly_here(repository: Repository, point: str) -> None:
    """Forget that anything of a point was elsewhere; RepositoryUnwritable."""
    directory = repository.root / DIRECTORY
    if not (directory / f"{point}.json").exists():
        return
    with writing(directory):
        (directory / f"{point}.json").unlink(missing_ok=True)
        sync_directory(directory)
