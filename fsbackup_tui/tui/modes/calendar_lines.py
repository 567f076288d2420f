"""Kept and leaving points over time, a cell for each stretch of it; reads without colours too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta, tzinfo

from fsbackup_tui.domain.retention import Candidate
from fsbackup_tui.tui.lines import Line, Role, line

KEPT, LEAVES, MORE, BOTH, PINNED, BAD, NONE = "█", "x", "X", "/", "P", "!", "·"
LEGEND = "█ kept  / some leave  x leaves  ! kept, not good  P pinned"
LEGEND_EDIT = "█ kept  / some leave  x leaves  X would leave now  ! not good  P pinned"
_UNITS = (1, 2, 3, 7, 14, 30)
_UNIT_WORDS = {1: "a day", 7: "a week"}
_MARGIN = 2
GRID_ROWS = 8
_WEEKDAYS = ("Mon", "", "Wed", "", "Fri", "", "Sun")
Cell = tuple[str, Role]


def cell_of(points: Sequence[Candidate], leaving: AbstractSet[str], more: AbstractSet[str]) -> Cell:
    """Return what a stretch of time shows: its letter says what its colour says."""
    if not points:
        return NONE, "muted"
    gone = [each for each in points if each.id in leaving]
    if any(each.id in more for each in gone):
        return MORE, "bad"
    if len(gone) == len(points):
        return LEAVES, "warn"
    stays = [each for each in points if each.id not in leaving]
    if any(each.pinned is not None for each in stays):
        return PINNED, "accent"
    if not any(each.good for each in stays):
        return BAD, "bad"
    return (BOTH, "warn") if gone else (KEPT, "good")


def bar_lines(
    points: Sequence[Candidate],
    leaving: AbstractSet[str],
    width: int,
    *,
    now: datetime,
    zone: tzinfo,
    cursor: Candidate | None = None,
    more: AbstractSet[str] = frozenset(),
) -> list[Line]:
    """Return a bar from the oldest point to now, and below it when that was.

    A cell is a day, a week or 30 days, the least that shows every point.
    """
    room = max(8, width - 2 * _MARGIN)
    today = now.astimezone(zone).date()
    days = {each.id: each.created.astimezone(zone).date() for each in points}
    oldest = min(days.values(), default=today)
    unit = next((one for one in _UNITS if (today - oldest).days < one * room), _UNITS[-1])
    columns = min(room, max(0, (today - oldest).days) // unit + 1)
    cells: list[list[Candidate]] = [[] for _ in range(columns)]
    for each in points:
        place = columns - 1 - max(0, (today - days[each.id]).days) // unit
        cells[max(0, place)].append(each)
    shown = [cell_of(cell, leaving, more) for cell in cells]
    at = None
    if cursor is not None and cursor.id in days:
        at = max(0, columns - 1 - max(0, (today - days[cursor.id]).days) // unit)
    axis = _axis(columns, unit, today)
    pieces: list[tuple[str, Role]] = [(axis, "muted")]
    if at is not None:
        pieces = [(axis[:at], "muted"), ("^", "key"), (axis[at + 1 :], "muted")]
    blank = " " * _MARGIN
    remark: Cell = (f"  {_UNIT_WORDS.get(unit, f'{unit} days')} a cell", "muted")
    rest = [remark] if columns + 20 < width else []
    return [line(blank, *_runs(shown), *rest), line(blank, *pieces)]


def _axis(columns: int, unit: int, today: date) -> str:
    """Return the months at the cells in which they begin; the years where cells are wide."""
    text = [" "] * columns
    free = 0
    before = ""
    for place in range(columns):
        last = today - timedelta(days=unit * (columns - 1 - place))
        name = f"{last:%Y}" if unit > 14 else f"{last:%b}"
        if name == before or place < free or place + len(name) > columns:
            continue
        # A month that begins within the first cells would run into the next one's name.
        if place == 0 and last.day > 24 and unit == 1:
            continue
        before = name
        text[place : place + len(name)] = name
        free = place + len(name) + 1
    return "".join(text)


def grid_lines(
    points: Sequence[Candidate],
    leaving: AbstractSet[str],
    width: int,
    *,
    now: datetime,
    zone: tzinfo,
    more: AbstractSet[str] = frozenset(),
) -> list[Line]:
    """Return a calendar: a column a week, a row a weekday, the present week at the right."""
    today = now.astimezone(zone).date()
    by_day: dict[date, list[Candidate]] = {}
    for each in points:
        by_day.setdefault(each.created.astimezone(zone).date(), []).append(each)
    oldest = min(by_day, default=today)
    gutter = 6
    monday = today - timedelta(days=today.weekday())
    wanted = (monday - oldest).days // 7 + 2
    weeks = max(1, min((width - gutter - 2) // 2, wanted))
    first = monday - timedelta(days=7 * (weeks - 1))
    heads, free = [" "] * (2 * weeks + 3), 0
    for week in range(weeks):
        begin = first + timedelta(days=7 * week)
        if (week == 0 or begin.day <= 7) and 2 * week >= free:
            name = f"{begin:%b}"
            heads[2 * week : 2 * week + 3] = name
            free = 2 * week + 4
    rows = [line(" " * gutter, ("".join(heads).rstrip(), "muted"))]
    for weekday in range(7):
        cells: list[Cell] = []
        for week in range(weeks):
            day = first + timedelta(days=7 * week + weekday)
            cell = (" ", "muted") if day > today else cell_of(by_day.get(day, []), leaving, more)
            cells += [cell, (" ", cell[1])]  # type: ignore[list-item]
        rows.append(line((f" {_WEEKDAYS[weekday]:<{gutter - 1}}", "muted"), *_runs(cells)))
    return rows


def _runs(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Yield the cells with neighbours of one role put together: fewer pieces, fewer bytes."""
    text, role = "", cells[0][1] if cells else "text"
    for cell, cell_role in cells:
        if cell_role != role and text:
            yield text, role
            text = ""
        text, role = text + cell, cell_role
    if text:
        yield text, role
