"""The catalogue's table, and a point's way into a row of it and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fsbackup_tui.domain.estimate import MeasuredRun, parse_run, run_document
from fsbackup_tui.domain.point import Copy, LevelCheck, PartSummary, PointSummary, SpareSummary
from fsbackup_tui.domain.trust import Trust

SCHEMA_VERSION = 9
"""Another number makes a catalogue of another fsbackup be thrown away and built again."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS points (
    id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    position REAL NOT NULL,
    plan TEXT NOT NULL,
    created REAL NOT NULL,
    whole INTEGER NOT NULL,
    running INTEGER NOT NULL,
    trust INTEGER NOT NULL,
    suspect TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    rows INTEGER,
    database_bytes INTEGER,
    files INTEGER,
    seconds REAL,
    reason TEXT,
    parts TEXT NOT NULL,
    problems TEXT NOT NULL,
    blocked TEXT NOT NULL,
    levels TEXT NOT NULL,
    origin TEXT NOT NULL,
    runs TEXT NOT NULL,
    spares TEXT NOT NULL,
    incident TEXT NOT NULL,
    pinned TEXT NOT NULL,
    copies TEXT NOT NULL,
    sources TEXT NOT NULL,
    words TEXT NOT NULL,
    content TEXT NOT NULL,
    manifest_mtime INTEGER NOT NULL,
    manifest_size INTEGER NOT NULL,
    records_mtime INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_position ON points (position DESC, created DESC, id DESC);
CREATE INDEX IF NOT EXISTS by_created ON points (created, position, id);
CREATE INDEX IF NOT EXISTS by_size ON points (bytes DESC, position DESC, id DESC);
CREATE INDEX IF NOT EXISTS by_trust ON points (trust DESC, position DESC, id DESC);
CREATE INDEX IF NOT EXISTS by_least_trust ON points (trust, position DESC, id DESC);
CREATE INDEX IF NOT EXISTS by_plan ON points (plan, sources, sequence, rows, files) WHERE whole;
CREATE INDEX IF NOT EXISTS unnumbered ON points (id) WHERE sequence = 0;
CREATE INDEX IF NOT EXISTS measured ON points (position DESC, created DESC, id DESC)
    WHERE runs <> '[]';
CREATE INDEX IF NOT EXISTS of_others ON points (id) WHERE origin <> '';
"""

COLUMNS = (
    "p.id, p.sequence, p.plan, p.created, p.whole, p.running, p.trust, p.suspect, p.bytes,"
    " p.rows, p.database_bytes, p.files, p.seconds, p.reason, p.parts, p.problems, p.blocked,"
    " p.levels, p.origin, p.runs, p.spares, p.incident, p.pinned, p.copies"
)


def _previous(count: str) -> str:
    return (
        f"(SELECT q.{count} FROM points AS q WHERE q.whole AND q.plan = p.plan"  # noqa: S608
        " AND q.sources = p.sources AND q.sequence < p.sequence"
        f" AND q.{count} IS NOT NULL ORDER BY q.sequence DESC LIMIT 1)"
    )


PREVIOUS = f"{_previous('rows')}, {_previous('files')}"

RUNS_OF_NEWEST = (
    "SELECT runs FROM points WHERE runs <> '[]' ORDER BY position DESC, created DESC, id DESC"
    " LIMIT 60"
)

UPSERT = f"INSERT OR REPLACE INTO points VALUES ({', '.join('?' * 31)})"  # noqa: S608

PLACE_THE_UNNUMBERED = """
UPDATE points SET position = 0.5 + coalesce(
    (SELECT max(q.position) FROM points AS q WHERE q.sequence > 0 AND q.created <= points.created),
    0)
WHERE sequence = 0 AND origin = ''
"""

# There may be thousands of them: a look-up each, where the statement above reads all before it.
PLACE_THE_FOREIGN = """
UPDATE points SET position = 0.5 + coalesce(
    (SELECT q.position FROM points AS q WHERE q.sequence > 0 AND q.created <= points.created
     ORDER BY q.created DESC LIMIT 1),
    0)
WHERE origin <> ''
"""


def to_row(point: PointSummary) -> tuple[object, ...]:
    """Return the columns of a point, all but the three stamps at the end."""
    parts = [
        [
            part.source,
            part.kind,
            int(part.trust),
            part.bytes,
            part.rows,
            part.database_bytes,
            part.files,
        ]
        for part in point.parts
    ]
    levels = {
        word: [check.ok, check.at.timestamp(), check.job, check.seconds]
        for word, check in point.levels.items()
    }
    runs = [
        [run.at.timestamp(), run.drill, run_document(run.work, run.seconds, run.place)]
        for run in point.runs
    ]
    spares = [
        [spare.part, spare.name, spare.server, spare.proven.timestamp()] for spare in point.spares
    ]
    copies = [
        [
            copy.replica,
            copy.at.timestamp(),
            None if copy.checked_at is None else copy.checked_at.timestamp(),
            copy.state,
            copy.why,
        ]
        for copy in point.copies
    ]
    sources = "\n".join(sorted(part.source for part in point.parts))
    words = "\n".join(
        (
            point.id,
            point.plan,
            point.reason or "",
            point.trust.word,
            "suspect" if point.suspect else "",
            f"in incident {point.in_incident}" if point.in_incident else "",
            "running" if point.running else "",
            f"pinned {point.pinned}" if point.pinned else "",
            *(copy.replica for copy in point.copies),
            sources,
            point.foreign,
            *point.suspect,
        )
    ).casefold()
    row = (
        point.id,
        point.sequence,
        float(point.sequence),
        point.plan,
        point.created.timestamp(),
        int(point.whole),
        int(point.running),
        int(point.trust),
        _dump(point.suspect),
        point.bytes,
        point.rows,
        point.database_bytes,
        point.files,
        point.seconds,
        point.reason,
        _dump(parts),
        _dump(point.problems),
        _dump(point.blocked),
        _dump(levels),
        point.foreign,
        _dump(runs),
        _dump(spares),
        point.in_incident,
        point.pinned,
        _dump(copies),
        sources,
        words,
    )
    return (*row, hashlib.sha256(repr(row).encode("utf-8", "replace")).hexdigest()[:16])


def from_row(row: Sequence[Any]) -> PointSummary:
    """Return the point of a row of ``COLUMNS`` and of ``PREVIOUS``, the counts before it."""
    rows_change, files_change = _change(row[9], row[24]), _change(row[11], row[25])
    return PointSummary(
        id=row[0],
        sequence=row[1],
        plan=row[2],
        created=datetime.fromtimestamp(row[3], UTC),
        whole=bool(row[4]),
        running=bool(row[5]),
        trust=Trust(row[6]),
        suspect=tuple(json.loads(row[7])),
        bytes=row[8],
        parts=tuple(
            PartSummary(source, kind, Trust(trust), size, part_rows, database, files)
            for source, kind, trust, size, part_rows, database, files in json.loads(row[14])
        ),
        rows=row[9],
        rows_change=rows_change if row[4] else None,
        files=row[11],
        files_change=files_change if row[4] else None,
        database_bytes=row[10],
        seconds=row[12],
        reason=row[13],
        problems=tuple(json.loads(row[15])),
        blocked=tuple(json.loads(row[16])),
        levels={
            word: LevelCheck(ok, datetime.fromtimestamp(at, UTC), job, seconds)
            for word, (ok, at, job, seconds) in json.loads(row[17]).items()
        },
        foreign=row[18],
        runs=runs_of(row[19]),
        spares=tuple(
            SpareSummary(part, name, server, datetime.fromtimestamp(proven, UTC))
            for part, name, server, proven in json.loads(row[20])
        ),
        in_incident=row[21],
        pinned=row[22],
        copies=tuple(
            Copy(
                replica,
                datetime.fromtimestamp(at, UTC),
                None if checked is None else datetime.fromtimestamp(checked, UTC),
                state,
                why,
            )
            for replica, at, checked, state, why in json.loads(row[23])
        ),
    )


def _change(count: int | None, previous: int | None) -> float | None:
    return (count - previous) / previous if count is not None and previous else None


def runs_of(text: str) -> tuple[MeasuredRun, ...]:
    """Return the measured runs in a row's column."""
    return tuple(
        parse_run(run, datetime.fromtimestamp(at, UTC), drill=drill)
        for at, drill, run in json.loads(text)
    )


def like_pattern(word: str) -> str:
    r"""Return a LIKE pattern (escape ``\``) that finds the word anywhere."""
    escaped = word.casefold().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
