"""How a report puts moments, minutes, rows and foreign text, in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from fsbackup_tui.domain.text import count_text, duration_text, plain_text, zone_text

_SPECIAL = str.maketrans({each: f"\\{each}" for each in "\\`*<|[]"})


def escaped(text: object) -> str:
    """Return foreign text so that Markdown shows it as it is, in one line."""
    return plain_text(str(text)).translate(_SPECIAL)


def code(text: object) -> str:
    """Return foreign text as code in a line."""
    shown = plain_text(str(text)).replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    return f"{fence}{shown}{fence}"


def local_text(at: datetime, zone: tzinfo) -> str:
    """Return a moment to the second in its zone: ``2026-11-22 04:05:01 CET``."""
    there = at.astimezone(zone)
    return f"{there:%Y-%m-%d %H:%M:%S} {zone_text(there)}"


def utc_text(at: datetime) -> str:
    """Return a moment to the second in UTC: ``2026-11-22 03:05:01``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def both_text(at: datetime | None, zone: tzinfo) -> str:
    """Return a moment in its zone and in UTC; ``not known`` without one."""
    if at is None:
        return "not known"
    return f"{local_text(at, zone)} ({utc_text(at)} UTC)"


def between_text(first: datetime, last: datetime) -> str:
    """Return how long it was from one moment to another."""
    return duration_text((last - first).total_seconds())


def number_text(value: object) -> str:
    """Return a count out of a result; ``-`` where it is none."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return count_text(value if is_count else None)  # type: ignore[arg-type]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table; nothing where it has no row."""
    listed = list(rows)
    if not listed:
        return
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for row in listed:
        yield "| " + " | ".join(row) + " |"


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings in a list out of a result; other versions may have written anything."""
    if not isinstance(value, list | tuple):
        return []
    return [each for each in value if isinstance(each, Mapping)]


def texts(value: object) -> list[str]:
    """Return the texts in a list out of a result."""
    if not isinstance(value, list | tuple):
        return []
    return [each for each in value if isinstance(each, str)]


def table_name(value: object) -> str:
    """Return a table's name out of a result, which has it in two parts."""
    if isinstance(value, list | tuple):
        return ".".join(map(str, value))
    return str(value)
