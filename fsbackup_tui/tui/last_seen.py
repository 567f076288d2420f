"""What was on the first screen last time, for a first paint before anything slow is read.

A small file per site in the user's cache directory: deletable, never trusted, shown as
``checking…`` only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.point import PartSummary, PointSummary
from fsbackup_tui.domain.trust import Trust

FORMAT = 1
ROWS_KEPT = 60


@dataclass(frozen=True, slots=True)
class LastSeen:
    """The frame and the first rows as they were at ``at``."""

    at: datetime
    site: str
    environment: str
    answer: str
    zone: str
    config: str
    count: int
    points: tuple[PointSummary, ...]


def last_seen_path(environ: Mapping[str, str], identity: str) -> Path:
    """Return the cache file for ``identity``, the words that tell one site's start from others."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "/") / ".cache")
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return Path(base) / "fsbackup" / f"last-seen-{digest}.json"


def read_last_seen(path: Path) -> LastSeen | None:
    """Return what was seen last, None where there is nothing usable."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            return None
        return LastSeen(
            at=parse_time(document["at"]),
            site=str(document["site"]),
            environment=str(document["environment"]),
            answer=str(document["answer"]),
            zone=str(document["zone"]),
            config=str(document["config"]),
            count=int(document["count"]),
            points=tuple(_point(item) for item in document["points"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_last_seen(path: Path, seen: LastSeen) -> None:
    """Keep what is on the screen for the next start; where that fails, nothing is lost."""
    document = {
        "format": FORMAT,
        "at": format_time(seen.at),
        "site": seen.site,
        "environment": seen.environment,
        "answer": seen.answer,
        "zone": seen.zone,
        "config": seen.config,
        "count": seen.count,
        "points": [_document(point) for point in seen.points[:ROWS_KEPT]],
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)


def _document(point: PointSummary) -> dict[str, object]:
    return {
        "id": point.id,
        "sequence": point.sequence,
        "plan": point.plan,
        "created": format_time(point.created),
        "running": point.running,
        "trust": point.trust.word,
        "suspect": list(point.suspect),
        "in_incident": point.in_incident,
        "bytes": point.bytes,
        "sources": [part.source for part in point.parts],
        "rows": point.rows,
        "rows_change": point.rows_change,
        "database_bytes": point.database_bytes,
        "reason": point.reason,
    }


def _point(document: Mapping[str, object]) -> PointSummary:
    trust = Trust.from_word(str(document["trust"]))
    change = document["rows_change"]
    return PointSummary(
        id=str(document["id"]),
        sequence=_number(document["sequence"]) or 0,
        plan=str(document["plan"]),
        created=parse_time(str(document["created"])).astimezone(UTC),
        whole=True,
        running=document["running"] is True,
        trust=trust,
        suspect=tuple(map(str, _list(document["suspect"]))),
        in_incident=str(document.get("in_incident") or ""),
        bytes=_number(document["bytes"]) or 0,
        parts=tuple(
            PartSummary(str(source), "postgres", trust, 0) for source in _list(document["sources"])
        ),
        rows=_number(document["rows"]),
        rows_change=float(change) if isinstance(change, int | float) else None,
        database_bytes=_number(document["database_bytes"]),
        reason=None if document["reason"] is None else str(document["reason"]),
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
