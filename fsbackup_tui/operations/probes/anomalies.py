"""Sizes and rows that depart from their own history, in ways that no fixed rule at capture sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.anomaly import LEAST_BYTES, LEAST_ROWS, size_words
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.point import PartSummary, PointSummary
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.domain.trend import HISTORY, Departure, departure
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.probes.plans import good
from fsbackup_tui.repository.records import read_records

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class _Measure:
    """One number of a part: what it is called, how it is read and written, what is too little."""

    name: str
    words: str
    value: Callable[[PartSummary], int | None]
    text: Callable[[int], str]
    least: int


_MEASURES = (
    _Measure("rows", "rows", lambda part: part.rows, count_text, LEAST_ROWS),
    _Measure("files", "files", lambda part: part.files, count_text, LEAST_ROWS),
    _Measure("bytes", "stored bytes", lambda part: part.bytes, size_words, LEAST_BYTES),
)


def anomalies(ground: Ground) -> Iterator[Finding]:
    """Yield each part of a plan's newest point that is smaller than its history foretold.

    Only good points are history. What grew is a note: growth loses nothing.
    """
    for plan in ground.loaded.config.plans:
        points = [point for point in ground.points(plan) if point.whole and not point.running]
        if not points or points[0].suspect:
            continue  # by harder rules already
        history = [point for point in points[1:] if good(ground, point)][:HISTORY]
        for part in points[0].parts:
            for measure in _MEASURES:
                yield from _judged(ground, points[0], part, measure, history)


def _judged(
    ground: Ground,
    point: PointSummary,
    part: PartSummary,
    measure: _Measure,
    history: Sequence[PointSummary],
) -> Iterator[Finding]:
    value = measure.value(part)
    if value is None:
        return
    known = _series(history, part.source, measure)
    ground.number(f"fsbackup_part_{measure.name}", value, plan=point.plan, source=part.source)
    found = _departure(known, point.created, value)
    if found is None or abs(value - found.expected) < measure.least:
        return
    if found.direction == "drop":
        start = _cleared_at(ground, [point, *history])
        if start is not None:
            known = [(when, past) for when, past in known if when >= start]
            found = _departure(known, point.created, value)
            if found is None or found.direction != "drop":
                return
    expected = measure.text(round(found.expected))
    change = f"{100 * found.change:+.0f} %".replace("-", "−")
    what = (
        f"{part.source} of {point.id}: {measure.text(value)} {measure.words}, {expected} expected"
    )
    if found.direction == "growth":
        ground.notes.append(f"GREW: {what} ({change}).")
        return
    yield Finding(
        f"shrunk:{point.plan}:{part.source}:{measure.name}",
        "warning",
        point.created,
        f"SHRUNK: {what} ({change}).",
        _why(found),
        f"fsbackup show {point.id}   tells table by table\n"
        f'Right as it is? fsbackup clear {point.id} --reason "…"',
        subject=point.id,
    )


def _why(found: Departure) -> str:
    if found.sigmas is None:
        return (
            f"That is out of 70 % to 200 % of what the {found.history} good points before it have; "
            "what vanished may be gone in live, too."
        )
    return (
        f"By the trend of {found.history} good points that is {abs(found.sigmas):.0f} robust "
        "deviations below; what vanished may be gone in live, too."
    )


def _departure(
    known: Sequence[tuple[datetime, int]], when: datetime, value: int
) -> Departure | None:
    series = [(past.timestamp() / _DAY, float(size)) for past, size in known]
    return departure(series, when.timestamp() / _DAY, float(value))


def _series(
    history: Sequence[PointSummary], source: str, measure: _Measure
) -> list[tuple[datetime, int]]:
    """Return a part's numbers in the good points, the oldest first."""
    return [
        (point.created, value)
        for point in reversed(history)
        for part in point.parts
        if part.source == source and (value := measure.value(part)) is not None
    ]


def _cleared_at(ground: Ground, points: Sequence[PointSummary]) -> datetime | None:
    """Return the time of the newest point that a person said is right as it is, else None.

    What it has is the measure from then on.
    """
    if ground.repository is None:
        return None
    for point in points:
        records = read_records(ground.repository, point.id)
        if any(record.counts and record.kind == "cleared" for record in records):
            return point.created
    return None
