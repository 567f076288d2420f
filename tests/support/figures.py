"""Every figure of a text about an incident, found again in the incident's journal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from typing import Any

from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.text import age_text, duration_text
from fsbackup_tui.operations.wording import size_text
from fsbackup_tui.recovery.session import Reading
from fsbackup_tui.repository.incidents import JOURNAL, IncidentJournal

MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: CET|(?= UTC)|(?= \|))")
CLOCK = re.compile(r"\b\d\d:\d\d(?= (?:CET|UTC))")
DURATION = re.compile(r"\b\d+ h \d\d m\b|\b\d+ m \d\d s\b|\b\d+(?:\.\d)? s\b|\b\d+ m(?= ago)")
SIZE = re.compile(r"\b\d+(?:\.\d)? [kMGT]?B\b")
NUMBER = re.compile(r"\d{1,3}(?: \d{3})+(?!\d)|\d+")


def moments(value: object) -> Iterator[datetime]:
    """Yield all moments in a document."""
    if isinstance(value, str):
        try:
            yield parse_time(value)
        except ValueError:
            return
    elif isinstance(value, dict):
        for each in value.values():
            yield from moments(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from moments(each)


def seconds_in(value: object) -> Iterator[float]:
    """Yield all durations that a document gives in seconds."""
    if isinstance(value, dict):
        for name, each in value.items():
            if "seconds" in name and isinstance(each, int | float):
                yield float(each)
            yield from seconds_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from seconds_in(each)


def check_figures(journal: IncidentJournal, reading: Reading, text: str) -> int:
    """Find every figure of a text in the journal, or between two of its moments; how many.

    A count, an OID, an id, a port has to stand in the journal as it is; a size is of bytes that
    stand there; a duration is given there in seconds, or lies between two moments of it.
    """
    raw = (journal.directory / JOURNAL).read_text()
    numbers = set(re.findall(r"\d+", re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", raw)))
    numbers.add(journal.id.partition("-")[0])
    documents: list[Any] = [entry.document() for entry in journal.entries()]
    known = sorted({*moments(documents), reading.now})
    local = [at.astimezone(reading.zone) for at in known]
    text, found = _without(text, MOMENT, {f"{at:%Y-%m-%d %H:%M:%S}" for at in (*known, *local)})
    text, clocks = _without(text, CLOCK, {f"{at:%H:%M}" for at in (*known, *local)})
    spans = [(last - first).total_seconds() for first, last in combinations(known, 2)]
    spans += [0.0, *seconds_in(documents)]
    durations = {duration_text(span) for span in spans} | {age_text(span) for span in spans}
    text, times = _without(text, DURATION, durations)
    text, sizes = _without(text, SIZE, {size_text(int(number)) for number in numbers})
    steps = {placed.number for placed in reading.flow.steps}
    text = re.sub(r"\b\d\.\d\b", lambda at: "" if at[0] in steps else at[0], text)
    figures = NUMBER.findall(text)
    for figure in figures:
        plain = figure.replace(" ", "")
        assert plain in numbers or str(int(plain)) in numbers, f"{figure} is not in the journal"
    return len(figures) + found + clocks + times + sizes


def _without(text: str, pattern: re.Pattern[str], told: set[str]) -> tuple[str, int]:
    """Take figures of one kind out of a text, each of which must be one that is told."""
    found = pattern.findall(text)
    for shown in found:
        assert shown.removesuffix(" CET") in told, f"{shown} is not in the journal"
    return pattern.sub("", text), len(found)
