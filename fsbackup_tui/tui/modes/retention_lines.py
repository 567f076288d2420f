"""Mode 5 in lines: rules, space, why nothing goes, the points and what keeps each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import groupby

from fsbackup_tui.domain.growth import CRITICAL_WITHIN, HORIZON, WARN_WITHIN, Growth
from fsbackup_tui.domain.retention import Candidate, Verdict, span_text
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.wording import age_text, size_text, when_text
from fsbackup_tui.repository.trash import Trashed
from fsbackup_tui.tui.lines import Line, Role, line, pad, spread, wrapped
from fsbackup_tui.tui.modes.columns import Column, age_of, heading, table_row
from fsbackup_tui.tui.retention_data import Count, RetentionView, count_of, is_dense, keep_words

_POINT_COLUMNS = (
    Column("when", "WHEN", 18),
    Column("age", "AGE", 5, right=True, from_width=52),
    Column("size", "SIZE", 8, right=True, from_width=70),
    Column("trust", "TRUST", 11, from_width=78),
    Column("kept", "KEPT BY", 0),
)
_TRASH_COLUMNS = (
    Column("when", "POINT OF", 18),
    Column("plan", "PLAN", 13, from_width=70),
    Column("size", "SIZE", 8, right=True),
    Column("until", "FREED FROM", 18, from_width=60),
    Column("why", "WHY", 0, from_width=90),
)
_WIDE_FROM = 100
LEAVES = "LEAVES"


@dataclass(frozen=True, slots=True)
class Group:
    """The title above the points of a month, or of a day where there are many."""

    title: str
    kept: int
    leaving: int
    bytes: int


Row = Candidate | Group


def plan_lines(view: RetentionView, chosen: str, width: int, most: int) -> list[Line]:
    """Return a line per plan: its rules in words, and what becomes of its points."""
    plans = view.plans
    place = plans.index(chosen) if chosen in plans else 0
    first = max(0, min(place - most // 2, len(plans) - most))
    cells = min(max((len(plan) for plan in plans), default=0), 20 if width >= 80 else 13)
    rows = []
    for plan in plans[first : first + most]:
        here = plan == chosen
        role: Role = "heading" if here else "text"
        words = keep_words(view.policies.get(plan))
        count = count_of(view, view.decision, plan)
        left = line((" > " if here else "   ", "key"), (pad(plan, cells), role), f"  {words}")
        rows.append(spread(left, line(*_counted(count, width), " "), width))
    return rows


def _counted(count: Count, width: int) -> Iterator[tuple[str, Role]]:
    yield f"  {count.kept} kept", "text"
    if count.leaving:
        yield f"  {count.leaving} leave", "warn"
        if width >= _WIDE_FROM:
            yield f" {size_text(count.bytes)}", "warn"


def space_line(view: RetentionView, width: int) -> Line:
    """Return the space: stored now, what leaves frees, the trash, the disk, and when it is full.

    What does not fit goes from the middle: how long the disk will do stays.
    """
    count = len(view.candidates)
    parts: list[tuple[str, Role]] = [
        (f"{size_text(view.stored)} in {count} point{'s' if count != 1 else ''}", "text")
    ]
    if view.decision.leaving:
        parts.append((f"leaving {size_text(view.decision.leaving_bytes)}", "warn"))
    if view.trash:
        stored = sum(each.bytes for each in view.trash)
        parts.append((f"trash {len(view.trash)}, {size_text(stored)}", "text"))
    free = "-" if view.free is None else size_text(view.free)
    parts.append((f"free {free}", "text"))
    full: tuple[str, Role] = (full_words(view.growth), full_role(view.growth))
    shown = [*parts, full]
    while len(shown) > 2 and sum(len(text) + 3 for text, _ in shown) + 6 > width:
        del shown[-3 if len(shown) > 3 else 1]
    pieces: list[tuple[str, Role]] = [(" Space  ", "muted")]
    for place, part in enumerate(shown):
        pieces += [(" · ", "muted"), part] if place else [part]
    return line(*pieces)


def full_words(growth: Growth | None) -> str:
    """Return when the disk is full, ``-`` where that can't be told."""
    if growth is None:
        return "full in -"
    if growth.full is None:
        return f"not full in {HORIZON.days // 365} y"
    return f"full in {age_text(growth.full.total_seconds())}"


def full_role(growth: Growth | None) -> Role:
    """Return how grave that is."""
    if growth is None or growth.full is None:
        return "muted" if growth is None else "text"
    if growth.full < WARN_WITHIN:
        return "bad" if growth.full < CRITICAL_WITHIN else "warn"
    return "text"


def refusal_lines(view: RetentionView) -> list[Line]:
    """Return why nothing goes now, in one line; none where nothing stands against it."""
    refusals = view.decision.refusals
    if not refusals:
        return []
    firm = next((each for each in refusals if not each.confirmable), None)
    if firm is None:
        return [line((f" NOT BY ITSELF, BY A: {refusals[0].what}", "warn"))]
    more = f"  (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return [line((f" NOTHING GOES NOW: {firm.what}{more}", "warn"))]


def grouped(view: RetentionView, plan: str) -> list[Row]:
    """Return a plan's points by month, or by day where they come several a day, newest first."""
    points = view.of_plan(plan)
    leaving = frozenset(view.decision.leaving)
    form = "%A, %-d %B %Y" if is_dense(points) else "%B %Y"
    rows: list[Row] = []
    for title, members in groupby(points, lambda each: _title(each, view.zone, form)):
        listed = list(members)
        gone = [each for each in listed if each.id in leaving]
        rows.append(
            Group(title, len(listed) - len(gone), len(gone), sum(each.bytes for each in listed))
        )
        rows += listed
    return rows


def _title(point: Candidate, zone: tzinfo, form: str) -> str:
    return point.created.astimezone(zone).strftime(form)


def group_line(group: Group, width: int) -> Line:
    """Return the title of a month or day, with what becomes of its points."""
    counts = f"{group.kept} kept" if group.kept else ""
    gone = f"{group.leaving} leave" if group.leaving else ""
    words = "  ".join(part for part in (counts, gone, size_text(group.bytes)) if part)
    return spread(line(" ", (group.title, "heading")), line((words, "muted"), " "), width)


def points_heading(width: int) -> Line:
    """Return the titles above the points."""
    return heading(_POINT_COLUMNS, width, _gap(width))


def _gap(width: int) -> int:
    return 2 if width >= _WIDE_FROM else 1


def point_line(
    point: Candidate, verdict: Verdict | None, width: int, marked: bool, now: datetime, zone: tzinfo
) -> Line:
    """Return a point's row: when, how large, how good, and what keeps it."""
    leaves = verdict is not None and verdict.leaves
    kept: tuple[str, Role] = (", ".join(verdict.keeps) if verdict else "", "text")
    if leaves:
        kept = (LEAVES, "warn")
    elif point.pinned is not None:
        kept = (f"pinned: {point.pinned}", "accent")
    cells: Mapping[str, tuple[str, Role]] = {
        "when": (when_text(point.created, now, zone), "text"),
        "age": (age_of(point.created, now), "text"),
        "size": (size_text(point.bytes), "text"),
        "trust": _trust(point),
        "kept": kept,
    }
    return table_row(_POINT_COLUMNS, width, marked, cells, _gap(width))


def _trust(point: Candidate) -> tuple[str, Role]:
    if point.trust in (Trust.DAMAGED, Trust.INCOMPLETE):
        return point.trust.word.upper(), "bad"
    if not point.good:
        return f"{point.trust.word} !", "warn"
    return (point.trust.word.upper(), "good") if point.trust is Trust.PROVEN else (
        point.trust.word, "text",
    )  # fmt: skip


def note_lines(
    point: Candidate, verdict: Verdict | None, view: RetentionView, width: int, rows: int
) -> list[Line]:
    """Return, in exactly ``rows`` lines, everything that keeps a point, or that it leaves."""
    role: Role = "text"
    if verdict is None:
        text = ""
    elif verdict.leaves:
        grace = span_text(view.settings.grace)
        text = f"No rule keeps it. It goes to the trash, and from there it is freed after {grace}."
        role = "warn"
        if view.decision.refusals:
            text = f"No rule keeps it, but nothing goes now: {view.decision.refusals[0].why}"
    else:
        text = f"Kept by: {', '.join(verdict.keeps)}."
        if not point.good:
            text += " It is not good: it takes no place of a rule."
    lines = [line("   ", *row) for row in wrapped(text, width - 4, role)]
    if len(lines) > rows:
        last = "".join(piece.text for piece in lines[rows - 1])
        lines[rows - 1] = line((f"{last.rstrip()[: width - 2].rstrip(' ,.')}\u2026", role))
    return [*lines, *([line()] * rows)][:rows]


def trash_heading(width: int) -> Line:
    """Return the titles above the points in the trash."""
    return heading(_TRASH_COLUMNS, width, _gap(width))


def trash_line(
    trashed: Trashed, view: RetentionView, width: int, marked: bool, now: datetime
) -> Line:
    """Return the row of a point in the trash: what it was, and from when its space is freed."""
    until = None if trashed.at is None else trashed.at + view.settings.grace
    cells: Mapping[str, tuple[str, Role]] = {
        "when": ("-" if trashed.created is None else when_text(trashed.created, now, view.zone),
                 "text"),
        "plan": (trashed.plan, "muted"),
        "size": (size_text(trashed.bytes), "text"),
        "until": _freed(until, now, view.zone),
        "why": (trashed.why, "muted"),
    }  # fmt: skip
    return table_row(_TRASH_COLUMNS, width, marked, cells, _gap(width))


def _freed(until: datetime | None, now: datetime, zone: tzinfo) -> tuple[str, Role]:
    if until is None:
        return "not by itself", "muted"
    if until <= now:
        return "now", "warn"
    # A moment to come has its day: "02:00 CET" alone would be the past one.
    there = until.astimezone(zone)
    return f"{there:%-d %b %H:%M}, {age_text((until - now).total_seconds())}", "text"


def trash_note(trashed: Trashed, now: datetime, zone: tzinfo) -> Sequence[str]:
    """Return who moved a point to the trash, when and why."""
    who = f" by {trashed.operator}" if trashed.operator else ""
    host = f" on {trashed.host}" if trashed.host else ""
    at = "" if trashed.at is None else f" {when_text(trashed.at, now, zone)}"
    return (f"Moved here{at}{who}{host}.", trashed.why)
