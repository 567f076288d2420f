"""A picture of a plan's points over time, in lines: stored size, rows, how far each was shown.

Every column says in a letter what its colour says, so that it reads without colours too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.wording import accepted_words, count_text, size_text, when_text
from fsbackup_tui.tui.buckets import Bucket, Picture, is_bad
from fsbackup_tui.tui.lines import Line, Role, line, pad, spread, wrapped
from fsbackup_tui.tui.modes.columns import age_of, change_text, note_of, trust_shown

EIGHTHS = " ▁▂▃▄▅▆▇█"
# The console of Linux has no other parts of a block.
HALVES = " ▄█"
_BELOW = "░"
_HIGHEST_CHART = 14
_LOWEST_CHARTS = 4
_LEGEND_FROM = 22
_GUTTER = 10
_RIGHT = 1
_RUNGS = (Trust.PROVEN, Trust.RESTORED, Trust.READABLE, Trust.SEALED)
_RUNG_ROLES: dict[Trust, Role] = {
    Trust.PROVEN: "good",
    Trust.RESTORED: "accent",
    Trust.READABLE: "text",
    Trust.SEALED: "muted",
}
_LEGEND = "S suspect  D damaged  I incomplete  b blocked  ? unverified  - no point"
_UNIT_WORDS = {
    timedelta(minutes=10): "10 minutes",
    timedelta(hours=1): "an hour",
    timedelta(hours=6): "6 hours",
    timedelta(days=1): "a day",
    timedelta(days=7): "a week",
    timedelta(days=30): "30 days",
}


def columns_in(width: int) -> int:
    """Return how many columns of the picture fit into a window."""
    return max(8, width - _GUTTER - _RIGHT)


def last_place(picture: Picture) -> int | None:
    """Return the newest column with a point; None for none."""
    return next(iter(reversed(places(picture))), None)


def places(picture: Picture) -> list[int]:
    """Return the columns with a point."""
    return [place for place, bucket in enumerate(picture.buckets) if bucket is not None]


def picture_lines(
    picture: Picture,
    cursor: int | None,
    width: int,
    height: int,
    *,
    now: datetime,
    zone: tzinfo,
    blocks: str = EIGHTHS,
) -> list[Line]:
    """Return the picture in at most ``height`` lines; ``cursor`` is the column that is told."""
    count = sum(bucket.count for bucket in picture.buckets if bucket is not None)
    points = f"{count_text(count)} point{'s' if count != 1 else ''}"
    unit = _UNIT_WORDS.get(picture.unit, "")
    lines = [
        spread(
            line(" ", (f"Plan {picture.plan}", "heading"), f"  {points}, {unit} a column"),
            line(("- longer, + shorter ", "muted")),
            width,
        )
    ]
    legend = [line(" ", (_LEGEND, "muted"))] if height >= _LEGEND_FROM else []
    below = [_marks(picture), _axis(picture, cursor, now, zone)]
    below += [*_told(picture, cursor, width, now, zone), *legend]
    # In a low window what can be read goes before what can be looked at.
    room = height - len(lines) - len(below)
    ladder = list(_ladder(picture)) if room >= len(_RUNGS) else []
    room = min(room - len(ladder), 2 * _HIGHEST_CHART)
    if room >= _LOWEST_CHARTS:
        upper = room // 2
        of_bytes = _chart(
            picture, "stored", lambda point: point.bytes, size_text, room - upper, blocks
        )
        of_rows = _chart(picture, "rows", lambda point: point.rows, _short_count, upper, blocks)
        lines += [*of_bytes, *of_rows]
    return [*lines, *ladder, *below][:height]


def _gutter(text: str) -> tuple[str, Role]:
    return f"{pad(text, _GUTTER - 2, right=True)} │", "muted"


def _chart(
    picture: Picture,
    title: str,
    value: Callable[[PointSummary], int | None],
    wording: Callable[[int | None], str],
    rows: int,
    blocks: str,
) -> Iterator[Line]:
    """Yield one row after the other of a chart that begins at 0, the highest value on top."""
    values = [None if bucket is None else value(bucket.told) for bucket in picture.buckets]
    highest = max((number for number in values if number is not None), default=0)
    steps = len(blocks) - 1
    for row in range(rows):
        label = {0: wording(highest), 1: title, rows - 1: "0"}.get(row, "")
        floor = (rows - 1 - row) * steps
        cells: list[tuple[str, Role]] = []
        for bucket, number in zip(picture.buckets, values, strict=True):
            filled = 0
            if number and highest:
                # A little of something is never nothing.
                filled = max(1, round(number / highest * rows * steps))
            cells.append(_cell(filled - floor, steps, blocks, bucket))
        yield line(_gutter(label), *_runs(cells))


def _cell(filled: int, steps: int, blocks: str, bucket: Bucket | None) -> tuple[str, Role]:
    """Return a cell of a bar: its top as high as it is, what lies below it in a light shade."""
    bad = bucket is not None and is_bad(bucket.told)
    if filled > steps:
        return _BELOW, "bad" if bad else "muted"
    return blocks[max(0, filled)], "bad" if bad else "accent"


def _short_count(count: int | None) -> str:
    """Return a count in at most seven cells: ``5.4 M``, ``41 890``."""
    if count is None or count < 1_000_000:
        return count_text(count)
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M")):
        if count >= size:
            share = count / size
            return f"{share:.1f} {letter}" if share < 100 else f"{share:.0f} {letter}"
    return count_text(count)


def _runs(cells: Sequence[tuple[str, Role]]) -> Iterator[tuple[str, Role]]:
    """Yield the cells with neighbours of one role put together: fewer pieces, fewer bytes."""
    text, role = "", "text"
    for cell, cell_role in cells:
        shown_role = role if cell == " " else cell_role
        if shown_role != role and text:
            yield text, role  # type: ignore[misc]
            text = ""
        text, role = text + cell, shown_role
    if text:
        yield text, role  # type: ignore[misc]


def _ladder(picture: Picture) -> Iterator[Line]:
    """Yield a row per rung, filled where the point was shown good that far."""
    for rung in _RUNGS:
        cells: list[tuple[str, Role]] = []
        for bucket in picture.buckets:
            reached = bucket is not None and bucket.told.trust >= rung
            role: Role = _RUNG_ROLES[rung]
            if bucket is not None and is_bad(bucket.told):
                role = "bad"
            cells.append(("█" if reached else " ", role))
        yield line(_gutter(rung.word), *_runs(cells))


def _marks(picture: Picture) -> Line:
    """Return a letter for every column in which something is to be known."""
    cells: list[tuple[str, Role]] = []
    for place, bucket in enumerate(picture.buckets):
        before = picture.oldest is None or picture.start(place + 1) <= picture.oldest
        if bucket is None:
            cells.append((" " if before or not picture.gaps_tell else "-", "muted"))
        else:
            cells.append(_mark(bucket.told))
    return line(_gutter(""), *_runs(cells))


def _mark(point: PointSummary) -> tuple[str, Role]:
    if point.suspect:
        return "S", "bad"
    if point.trust is Trust.DAMAGED:
        return "D", "bad"
    if point.trust is Trust.INCOMPLETE:
        return "I", "bad"
    if point.in_incident:
        return "S", "warn"
    if point.blocked:
        return "b", "warn"
    if point.accepted:
        return "b", "muted"
    return ("?", "warn") if point.trust < Trust.SEALED else (" ", "text")


def _axis(picture: Picture, cursor: int | None, now: datetime, zone: tzinfo) -> Line:
    """Return when the picture begins and ends, and the mark of the cursor."""
    columns = len(picture.buckets)
    begin = _day(picture.start(0), picture.unit, now, zone)
    end = "now"
    if cursor is not None and cursor >= columns - len(end) - 1:
        end = ""
    text = list(begin + " " * max(1, columns - len(begin) - len(end)) + end)[:columns]
    if cursor is None:
        return line(" " * _GUTTER, ("".join(text), "muted"))
    before, after = "".join(text[:cursor]), "".join(text[cursor + 1 :])
    return line(" " * _GUTTER, (before, "muted"), ("^", "key"), (after, "muted"))


def _day(moment: datetime, unit: timedelta, now: datetime, zone: tzinfo) -> str:
    shown = when_text(moment, now, zone)
    if unit < timedelta(days=1):
        return shown
    there = moment.astimezone(zone)
    return f"{there:%Y-%m-%d}"


def _told(
    picture: Picture, cursor: int | None, width: int, now: datetime, zone: tzinfo
) -> list[Line]:
    bucket = None if cursor is None else picture.buckets[cursor]
    if bucket is None:
        return [line(" ", ("No point of this plan in this time.", "warn")), line()]
    point = bucket.told
    word, role = trust_shown(point)
    rows = f"{count_text(point.rows)} rows"
    change = "" if point.rows_change is None else f" ({change_text(point.rows_change)})"
    when = f"{when_text(point.created, now, zone)}, {age_of(point.created, now)} ago"
    first = line(f" {when}  ", (word, role), f"  {size_text(point.bytes)}  {rows}{change}")
    note, note_role = note_of(point)
    if not note and point.blocked:
        note, note_role = point.blocked[0], "warn"
    elif not note and point.accepted:
        note, note_role = accepted_words(point.accepted[0]), "muted"
    if not note and bucket.count > 1:
        note, note_role = f"{bucket.count} points in this column; this is the newest", "muted"
    below = wrapped(note, width - 2, note_role) if note else [line()]
    return [first, line(" ", *below[0])]
