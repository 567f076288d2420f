"""The rows of the inventory and of the jobs, as plain functions: what is shown at which width."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from rich.cells import cell_len

from fsbackup_tui.domain.copies import is_unread
from fsbackup_tui.domain.point import Copy, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.wording import (
    AFTER_DAMAGE,
    IN_INCIDENT,
    age_text,
    count_text,
    damage_words,
    duration_text,
    in_incident_words,
    size_text,
    when_text,
)
from fsbackup_tui.tui.data import NO_COPIES, Copies, JobRow
from fsbackup_tui.tui.lines import Line, Piece, Role, clip, line, pad, printable

MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``width`` in cells, 0 for the one that takes what is left."""

    key: str
    title: str
    width: int
    right: bool = False
    from_width: int = 0


# In a narrow window columns go, the trust stays: by it a point is chosen.
POINT_COLUMNS = (
    Column("when", "WHEN", 18),
    Column("age", "AGE", 5, right=True, from_width=46),
    Column("database", "DB", 7, right=True, from_width=55),
    Column("change", "Δ ROWS", 8, right=True, from_width=65),
    Column("trust", "TRUST", 16),
    Column("plan", "PLAN", 13, from_width=70),
    Column("size", "SIZE", 8, right=True, from_width=100),
    Column("rows", "ROWS", 12, right=True, from_width=120),
    Column("parts", "PARTS", 20, from_width=160),
    Column("note", "NOTE", 0, from_width=100),
)
# A site with files: narrow terminals show their number in the place of the plan's name.
FILES_COLUMNS = (
    Column("when", "WHEN", 18),
    Column("age", "AGE", 5, right=True, from_width=46),
    Column("database", "DB", 7, right=True, from_width=52),
    Column("change", "Δ ROWS", 8, right=True, from_width=71),
    Column("files", "FILES", 9, right=True, from_width=62),
    Column("files-change", "Δ", 7, right=True, from_width=79),
    Column("trust", "TRUST", 16),
    Column("plan", "PLAN", 13, from_width=110),
    Column("size", "SIZE", 8, right=True, from_width=120),
    Column("rows", "ROWS", 12, right=True, from_width=140),
    Column("parts", "PARTS", 20, from_width=180),
    Column("note", "NOTE", 0, from_width=120),
)
# Copies are worth more than the change of the files: a fall of those makes a point SUSPECT.
COPIES_COLUMNS = (
    Column("when", "WHEN", 18),
    Column("age", "AGE", 5, right=True, from_width=46),
    Column("database", "DB", 7, right=True, from_width=79),
    Column("change", "Δ ROWS", 8, right=True, from_width=70),
    Column("trust", "TRUST", 16),
    Column("copies", "COPIES", 12, from_width=60),
    Column("plan", "PLAN", 13, from_width=94),
    Column("size", "SIZE", 8, right=True, from_width=115),
    Column("rows", "ROWS", 12, right=True, from_width=135),
    Column("parts", "PARTS", 20, from_width=175),
    Column("note", "NOTE", 0, from_width=115),
)
FILES_COPIES_COLUMNS = (
    Column("when", "WHEN", 17),
    Column("age", "AGE", 5, right=True, from_width=46),
    Column("database", "DB", 7, right=True, from_width=60),
    Column("change", "Δ ROWS", 7, right=True, from_width=68),
    Column("files", "FILES", 9, right=True, from_width=78),
    Column("files-change", "Δ", 7, right=True, from_width=93),
    Column("trust", "TRUST", 16),
    Column("copies", "COPIES", 8, from_width=52),
    Column("plan", "PLAN", 13, from_width=110),
    Column("size", "SIZE", 8, right=True, from_width=125),
    Column("rows", "ROWS", 12, right=True, from_width=145),
    Column("parts", "PARTS", 20, from_width=195),
    Column("note", "NOTE", 0, from_width=125),
)
JOB_COLUMNS = (
    Column("started", "STARTED", 18),
    Column("job", "JOB", 12),
    Column("state", "STATE", 12),
    Column("took", "TOOK", 9, right=True),
    Column("what", "WHAT", 0),
)
_MARK = 3
_POINT_TIME = re.compile(r"\b\d{8}T\d{6}Z-")
_GAP = 2
_ROOMY = 90
_COPY_AGES_FROM, _COPY_AGES = 180, 24
_TRUST_CELLS = 16


def columns_at(columns: Sequence[Column], width: int, gap: int = _GAP) -> list[tuple[Column, int]]:
    """Return the columns that are shown at this width, each with its cells."""
    shown = [column for column in columns if width >= column.from_width]
    fixed = _MARK + sum(column.width + gap for column in shown if column.width)
    rest = max(0, width - fixed)
    return [(column, column.width or rest) for column in shown if column.width or rest > gap]


def heading(columns: Sequence[Column], width: int, gap: int = _GAP) -> Line:
    """Return the titles above a table."""
    text = " " * _MARK + (" " * gap).join(
        pad(column.title, cells, right=column.right)
        for column, cells in columns_at(columns, width, gap)
    )
    return line((text.rstrip(), "muted"))


def table_row(
    columns: Sequence[Column],
    width: int,
    marked: bool,
    cells: Mapping[str, tuple[str, Role]],
    gap: int = _GAP,
) -> Line:
    """Return a row: the mark of the cursor, then each column's text in its role."""
    pieces: list[Piece] = [Piece(" > " if marked else "   ", "key")]
    for position, (column, room) in enumerate(columns_at(columns, width, gap)):
        text, role = cells[column.key]
        if position:
            pieces.append(Piece(" " * gap))
        pieces.extend(_padded(printable(text), room, role, right=column.right))
    return tuple(pieces)


def _padded(text: str, room: int, role: Role, *, right: bool) -> list[Piece]:
    """Return the text in its role and plain blanks beside it: a look may have a background."""
    shown = clip(text, room)
    blank = Piece(" " * (room - cell_len(shown)))
    word = shown.lstrip(" ")
    cell = [Piece(shown[: len(shown) - len(word)]), Piece(word, role)]
    pieces = [blank, *cell] if right else [*cell, blank]
    return [piece for piece in pieces if piece.text]


def trust_shown(point: PointSummary) -> tuple[str, Role]:
    """Return the words for a point's state, and their meaning; a doubtful one is never green.

    What it was shown to be stands beside ``SUSPECT``: neither takes the other back. Beside
    ``IN INCIDENT`` and ``AFTER DAMAGE`` there is no room for it; its details have it.
    """
    if point.running:
        return "RUNNING", "accent"
    word, role = _trust_word(point)
    if point.suspect:
        return "SUSPECT" if point.trust is Trust.UNVERIFIED else f"SUSPECT {word}", "bad"
    if point.in_incident and role != "bad":
        return IN_INCIDENT, "warn"
    if point.after_damage and role != "bad":
        return AFTER_DAMAGE, "warn"
    return word, role


def _trust_word(point: PointSummary) -> tuple[str, Role]:
    word = point.trust.word
    if point.trust in (Trust.DAMAGED, Trust.INCOMPLETE):
        return word.upper(), "bad"
    if point.foreign:
        return word.upper(), "muted"
    if point.trust in (Trust.UNVERIFIED, Trust.CLAIMED):
        return word, "warn"
    if point.trust is Trust.PROVEN:
        return "PROVEN", "good"
    return word, "text"


def change_text(change: float | None) -> str:
    """Return a change of the number of rows: ``+0.3 %``, ``−75 %``, ``-`` where unknown."""
    if change is None:
        return "-"
    percent = change * 100
    sign = MINUS if percent < 0 else "+"
    size = abs(percent)
    digits = f"{size:.1f}" if size < 10 else f"{size:.0f}"
    if digits in {"0.0", "0"}:
        return "0 %"
    return f"{sign}{digits} %" if size < 10_000 else f"{sign}>9999 %"


def age_of(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was."""
    return age_text((now - moment).total_seconds())


def note_of(point: PointSummary) -> tuple[str, Role]:
    """Return the most important remark on a point."""
    if point.suspect:
        return point.suspect[0], "bad"
    if point.problems:
        return point.problems[0], "bad"
    if point.in_incident:
        return in_incident_words(point.in_incident), "warn"
    if point.after_damage:
        return damage_words(point), "warn"
    wrong = next((copy for copy in point.copies if copy.state == "wrong"), None)
    if wrong is not None:
        return f"copy on {wrong.replica} WRONG: {wrong.why or '-'}", "bad"
    return (point.reason or ""), "muted"


def points_heading(width: int, *, with_files: bool = False, with_copies: bool = False) -> Line:
    """Return the titles above the points; ``with_files``, ``with_copies`` where there are such."""
    columns, gap = _points_at(width, with_files=with_files, with_copies=with_copies)
    return heading(columns, width, gap)


def _points_at(width: int, *, with_files: bool, with_copies: bool) -> tuple[Sequence[Column], int]:
    gap = 1 if with_files and width < _ROOMY else _GAP
    if not with_copies:
        return (FILES_COLUMNS if with_files else POINT_COLUMNS), gap
    columns = FILES_COPIES_COLUMNS if with_files else COPIES_COLUMNS
    if width < _COPY_AGES_FROM:
        return columns, gap
    wide = (replace(each, width=_COPY_AGES) if each.key == "copies" else each for each in columns)
    return tuple(wide), gap


def copies_cell(
    point: PointSummary, site: Copies, now: datetime, room: int, *, ages: bool = False
) -> tuple[str, Role]:
    """Return the replicas that have the point: ``!`` one that is wrong, ``?`` not read back.

    Where their names have no room, how many of all hold it well, with the worst of the marks.
    """
    if point.foreign or not (point.copies or site.replicas):
        return "-", "muted"
    copies = [copy for copy in point.copies if copy.state != "removed"]
    marks = {copy.replica: _copy_mark(copy, site, now) for copy in copies}
    worst = "!" if "!" in marks.values() else "?" if "?" in marks.values() else ""
    role: Role = "bad" if worst == "!" else "warn" if worst else "muted"
    names = " ".join(f"{name}{mark}" for name, mark in marks.items())
    dated = ", ".join(
        f"{copy.replica}{marks[copy.replica]} {age_of(copy.at, now)}" for copy in copies
    )
    if ages and dated and cell_len(dated) <= room:
        return dated, role
    if cell_len(names) <= room:
        return names or "-", role
    known = len({*site.replicas, *marks})
    return f"{list(marks.values()).count('')} of {known}{worst}", role


def _copy_mark(copy: Copy, site: Copies, now: datetime) -> str:
    if copy.state == "wrong":
        return "!"
    every = site.read_back.get(copy.replica)
    return "?" if every is not None and is_unread(copy, every, now) else ""


def _trust_cell(point: PointSummary, site: Copies) -> tuple[str, Role]:
    """Return a point's state, and behind it where it lies if not here, if there is room."""
    word, role = trust_shown(point)
    there = f"{word} at {site.elsewhere[point.id]}" if site.elsewhere.get(point.id) else word
    return (there if cell_len(there) <= _TRUST_CELLS else word), role


def point_row(
    point: PointSummary,
    width: int,
    marked: bool,
    *,
    now: datetime,
    zone: tzinfo,
    known: bool,
    with_files: bool = False,
    site: Copies = NO_COPIES,
) -> Line:
    """Return a point's row; ``known`` is false for a row from the cache, which is never green."""
    word, role = _trust_cell(point, site)
    columns, gap = _points_at(width, with_files=with_files, with_copies=bool(site.replicas))
    room = next((each.width for each in columns if each.key == "copies"), 0)
    ages = width >= _COPY_AGES_FROM
    cells: dict[str, tuple[str, Role]] = {
        # A backup of another script is greyed: it is no point yet.
        "when": (when_text(point.created, now, zone), "muted" if point.foreign else "text"),
        "age": (age_of(point.created, now), "muted" if point.foreign else "text"),
        "database": (size_text(point.database_bytes), "text"),
        "change": (change_text(point.rows_change), _change_role(point.rows_change)),
        "files": (count_text(point.files), "text"),
        "files-change": (change_text(point.files_change), _change_role(point.files_change)),
        "trust": (word, role if known else "muted"),
        "plan": (point.plan, "muted"),
        "copies": copies_cell(point, site, now, room, ages=ages),
        "size": (size_text(point.bytes), "text"),
        "rows": (count_text(point.rows), "text"),
        "parts": (", ".join(part.source for part in point.parts) or "-", "muted"),
        "note": note_of(point),
    }
    return table_row(columns, width, marked, cells, gap)


def _change_role(change: float | None) -> Role:
    return "bad" if change is not None and change <= -0.3 else "text"


_STATE_ROLES: dict[str, Role] = {
    "running": "accent",
    "ok": "good",
    "failed": "bad",
    "cancelled": "warn",
    "lost": "bad",
}


def state_role(state: str) -> Role:
    """Return the meaning of a job's state."""
    return _STATE_ROLES.get(state, "text")


def percent_text(done: float | None, total: float | None) -> str:
    """Return ``62 %``, or ``-`` where the whole is unknown."""
    if done is None or not total:
        return "-"
    return f"{min(100, int(100 * done / total))} %"


def took(job: JobRow, now: datetime) -> float | None:
    """Return how long a job took, or has been running for."""
    if job.started is None:
        return None
    end = job.finished or (now if job.state == "running" else None)
    return None if end is None else max(timedelta(0), end - job.started).total_seconds()


def _state_text(job: JobRow) -> str:
    if job.state == "running":
        return f"RUNNING {percent_text(job.done, job.total)}" if job.total else "RUNNING"
    return job.state if job.state == "ok" else job.state.upper()


def _brief(subject: str) -> str:
    """Return the subject with points by plan and tag: in a list their times tell nothing new."""
    return _POINT_TIME.sub("", subject)


def job_row(job: JobRow, width: int, marked: bool, *, now: datetime, zone: tzinfo) -> Line:
    """Return a job's row."""
    # A stage that is called as the job tells nothing more.
    stage = "" if job.stage == job.operation else job.stage
    what = job.what or " ".join(part for part in (_brief(job.subject), stage) if part)
    cells: dict[str, tuple[str, Role]] = {
        "started": ("-" if job.started is None else when_text(job.started, now, zone), "text"),
        "job": (job.label, "text"),
        "state": (_state_text(job), state_role(job.state)),
        "took": (duration_text(took(job, now)), "text"),
        "what": (what, "bad" if job.state in ("failed", "lost") else "muted"),
    }
    return table_row(JOB_COLUMNS, width, marked, cells)
