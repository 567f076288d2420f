"""What is to leave a replica: a mark there says since when, and by whom.

``removals/ID.json`` stands at the replica's root from the decision until nothing of the point is
left. A point that is marked and has no manifest any more is one whose removal was begun.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.point import POINT_ID
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.replica_layout import point_path

DIRECTORY = "removals"
_FORMAT = 1
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Removal:
    """That a point is to leave a replica: since when, by whom on which host, and why."""

    point: str
    at: datetime
    operator: str
    host: str
    job: str
    why: str

    def content(self) -> bytes:
        """Return it as its file holds it."""
        document = {
            "format": _FORMAT,
            "point": self.point,
            "at": format_time(self.at),
            "operator": self.operator,
            "host": self.host,
            "job": self.job,
            "why": self.why,
        }
        return (json.dumps(document, indent=1) + "\n").encode()


def removal_path(point: str) -> str:
    """Return where a point's mark lies, relative to the replica."""
    return f"{DIRECTORY}/{point}{_SUFFIX}"


def marked_points(paths: Collection[str]) -> frozenset[str]:
    """Return the points that are marked, by the paths of a replica's files."""
    names = (path.removeprefix(f"{DIRECTORY}/") for path in paths if path.startswith(DIRECTORY))
    points = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    return frozenset(point for point in points if POINT_ID.fullmatch(point))


def begun_removals(paths: Collection[str]) -> frozenset[str]:
    """Return the points of which the manifest has left already, by the paths of all files."""
    return frozenset(
        point for point in marked_points(paths) if point_path(point, MANIFEST_NAME) not in paths
    )


def parse_removal(point: str, content: bytes) -> Removal | None:
    """Return what a mark says; None where it says nothing that can be read."""
    with suppress(ValueError, KeyError, TypeError):
        document = json.loads(content)
        at = parse_time(document["at"])
        if document["point"] == point and at.tzinfo is not None:
            texts = [str(document.get(name) or "") for name in ("operator", "host", "job", "why")]
            return Removal(point, at, *texts)
    return None
