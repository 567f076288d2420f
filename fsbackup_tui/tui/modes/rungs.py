"""The rungs of a point as Verify shows them: what holds, is stale, failed or was blocked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Literal

from fsbackup_tui.domain.point import LevelCheck, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.wording import (
    IN_INCIDENT,
    accepted_words,
    age_text,
    blocked_words,
    duration_text,
    in_incident_words,
    when_text,
)
from fsbackup_tui.tui.data import JobRow, Wanted
from fsbackup_tui.tui.lines import Line, Role, line, wrapped
from fsbackup_tui.tui.modes.columns import (
    Column,
    age_of,
    heading,
    note_of,
    percent_text,
    table_row,
    trust_shown,
)

RungState = Literal["none", "ok", "stale", "failed", "blocked", "accepted", "void"]
RUNGS = (Trust.SEALED, Trust.READABLE, Trust.RESTORED, Trust.PROVEN)
_WIDE_FROM = 118
_NARROW_GAP, _WIDE_GAP = 1, 2
_NARROW = (
    Column("when", "WHEN", 18),
    Column("age", "AGE", 5, right=True),
    Column("sealed", "SEALED", 7, right=True),
    *(Column(rung.word, rung.word.upper(), 8, right=True) for rung in RUNGS[1:]),
    Column("trust", " TRUST", 0),
)
_WIDE = (
    Column("when", "WHEN", 18),
    Column("age", "AGE", 5, right=True),
    *(Column(rung.word, rung.word.upper(), 14) for rung in RUNGS),
    Column("trust", "TRUST", 17),
    Column("plan", "PLAN", 13, from_width=134),
    Column("note", "NOTE", 0, from_width=160),
)
_ROLES: Mapping[RungState, Role] = {
    "none": "muted",
    "ok": "text",
    "stale": "warn",
    "failed": "bad",
    "blocked": "warn",
    "accepted": "text",
    "void": "muted",
}


@dataclass(frozen=True, slots=True)
class Around:
    """What the rows depend on beside the points: the time, the plans, the verifications at work.

    ``known`` is false for rows from the cache, which are never green; ``jobs`` are the running
    verifications by their point.
    """

    now: datetime
    zone: tzinfo
    known: bool = True
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    jobs: Mapping[str, JobRow] = field(default_factory=dict)

    def wanted_of(self, point: PointSummary) -> Wanted:
        """Return how far the point's plan wants it verified."""
        return self.wanted.get(point.plan, Wanted(Trust.UNVERIFIED))


def rung_state(point: PointSummary, rung: Trust, around: Around) -> RungState:
    """Return how a rung of a point stands now.

    ``stale``: it held, longer ago than its plan allows. ``void``: it held, but a rung below
    failed after that. ``accepted``: it was blocked by what the configuration accepts.
    """
    check = point.levels.get(rung.word)
    if check is None:
        return "none"
    if check.ok is None:
        return "accepted" if point.calmly_blocked else "blocked"
    if not check.ok:
        return "failed"
    if any(_failed_after(point, lower, check) for lower in RUNGS if lower < rung):
        return "void"
    every = around.wanted_of(point).every
    return "stale" if every is not None and around.now - check.at > every else "ok"


def _failed_after(point: PointSummary, rung: Trust, check: LevelCheck) -> bool:
    lower = point.levels.get(rung.word)
    return lower is not None and lower.ok is False and lower.at >= check.at


def is_stale(point: PointSummary, around: Around) -> bool:
    """Whether the rung that gives a point its trust held longer ago than its plan allows."""
    return point.trust in RUNGS and rung_state(point, point.trust, around) == "stale"


def verify_heading(width: int) -> Line:
    """Return the titles above the rows."""
    if width < _WIDE_FROM:
        return heading(_NARROW, width, _NARROW_GAP)
    return heading(_WIDE, width, _WIDE_GAP)


def verify_row(point: PointSummary, width: int, marked: bool, around: Around) -> Line:
    """Return a point's row."""
    wide = width >= _WIDE_FROM
    cells: dict[str, tuple[str, Role]] = {
        "when": (when_text(point.created, around.now, around.zone), "text"),
        "age": (age_of(point.created, around.now), "text"),
        "plan": (point.plan, "muted"),
        "note": note_of(point),
    }
    for rung in RUNGS:
        cells[rung.word] = _rung_cell(point, rung, around, wide=wide)
    text, role = _trust_cell(point, around)
    # Between right-aligned ages and left-aligned words the narrow gap is too narrow.
    cells["trust"] = (text if wide else f" {text}", role if around.known else "muted")
    if wide:
        return table_row(_WIDE, width, marked, cells, _WIDE_GAP)
    return table_row(_NARROW, width, marked, cells, _NARROW_GAP)


def _rung_cell(point: PointSummary, rung: Trust, around: Around, *, wide: bool) -> tuple[str, Role]:
    state = rung_state(point, rung, around)
    check = point.levels.get(rung.word)
    if check is None:
        job = around.jobs.get(point.id)
        running = job is not None and job.stage == rung.word
        return ("now", "accent") if running else ("-", "muted")
    age = age_text((around.now - check.at).total_seconds())
    role: Role = _ROLES[state]
    if state == "stale" and rung is not point.trust:
        role = "text"  # the rung that the trust stands on tells it
    if state == "ok" and rung is Trust.PROVEN and around.known and not point.doubtful:
        role = "good"
    if state in ("failed", "blocked", "accepted"):
        word = "FAILED" if state == "failed" else "blocked"
        return (f"{word} {age}" if wide else word), role
    if state == "void":
        return f"{age} void", role
    return (f"{age}, {duration_text(check.seconds)}" if wide else age), role


def _trust_cell(point: PointSummary, around: Around) -> tuple[str, Role]:
    job = around.jobs.get(point.id)
    if job is not None:
        share = f" {percent_text(job.done, job.total)}" if job.total else ""
        return f"VERIFYING{share}", "accent"
    word, role = trust_shown(point)
    if not point.doubtful and is_stale(point, around):
        return f"{word} stale", "warn"
    return word, role


def rungs_line(point: PointSummary, around: Around) -> Line:
    """Return all rungs of a point in one line."""
    pieces: list[tuple[str, Role]] = []
    for rung in RUNGS:
        text, role = _rung_cell(point, rung, around, wide=True)
        pieces += [(f" {rung.word} ", "muted"), (text.partition(",")[0], role), (" ", "muted")]
    return line(*pieces)


def verify_note(
    point: PointSummary,
    width: int,
    rows: int,
    around: Around,
    *,
    took: bool = True,
    more: str = "… Enter shows all",
) -> list[Line]:
    """Return what is to be said of a point in at most ``rows`` lines, the gravest first.

    ``more`` stands for what does not fit; ``took`` adds how long the rungs took.
    """
    lines: list[Line] = []
    for text, role in _remarks(point, around, took=took):
        lines += _remark(text, width, role)
        if len(lines) > rows:
            return [*lines[: rows - 1], line("   ", (more, "muted"))]
    return lines


def _remark(text: str, width: int, role: Role) -> list[Line]:
    return [line("   ", *row) for row in wrapped(text, max(20, width - 4), role, indent="  ")]


def _remarks(point: PointSummary, around: Around, *, took: bool) -> Iterator[tuple[str, Role]]:
    job = around.jobs.get(point.id)
    if job is not None:
        yield f"{job.label} runs: {job.stage or 'beginning'}. Enter shows how far it is.", "accent"
    for reason in point.suspect:
        yield f"SUSPECT: {reason}", "bad"
    if point.in_incident:
        yield f"{IN_INCIDENT}: {in_incident_words(point.in_incident)}", "warn"
    for problem in point.problems:
        yield problem, "bad"
    for text in point.blocked:
        yield f"{blocked_words(point.levels)}: {text}", "warn"
    for one in point.accepted:
        yield f"{blocked_words(point.levels)}: {accepted_words(one)}", "muted"
    if job is None:
        yield from _wish(point, around)
    if took and point.levels:
        yield _took(point, around), "muted"


def _wish(point: PointSummary, around: Around) -> Iterator[tuple[str, Role]]:
    """Yield what the point's plan wants beyond what is there."""
    if point.running or point.trust in (Trust.DAMAGED, Trust.INCOMPLETE):
        return
    wanted = around.wanted_of(point)
    word = point.trust.word
    if point.trust < wanted.level:
        tried = {rung_state(point, rung, around) for rung in RUNGS if rung > point.trust}
        if tried & {"failed", "blocked", "accepted"}:
            return  # why not is told above
        yield f"Plan {point.plan} wants {wanted.level.word}: v verifies", "warn"
    elif is_stale(point, around) and wanted.every is not None:
        at = point.levels[word].at
        old, every = age_of(at, around.now), age_text(wanted.every.total_seconds())
        yield f"Stale: {word} {old} ago, plan {point.plan} wants it every {every}: v", "warn"
    elif not point.levels:
        yield "Never verified: v verifies", "warn"


def _took(point: PointSummary, around: Around) -> str:
    took = (
        f"{rung.word} {duration_text(point.levels[rung.word].seconds)}"
        for rung in RUNGS
        if rung.word in point.levels
    )
    return "Took " + ", ".join(took)
