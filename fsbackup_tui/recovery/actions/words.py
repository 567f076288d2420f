"""How actions put things: moments, sizes, rows, commands as they will run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime

from fsbackup_tui.domain.damage import Candidate, TableDamage
from fsbackup_tui.domain.text import age_text, count_text, plain_text, when_text
from fsbackup_tui.domain.written import WrittenSince
from fsbackup_tui.recovery.actions.action import Situation

_MOST_LINES = 12


def moment(situation: Situation, at: datetime | None) -> str:
    """Return a moment with its zone and age; ``not known`` without one."""
    if at is None:
        return "not known"
    age = age_text((situation.now - at).total_seconds())
    return f"{when_text(at, situation.now, situation.zone)} ({age} ago)"


def signed(count: int | None) -> str:
    """Return a count with its sign: ``+31``, ``-5 300``, ``0``, ``-`` where it is not known."""
    if count is None:
        return "-"
    sign = "+" if count > 0 else "-" if count < 0 else ""
    return sign + count_text(abs(count))


def bounded(lines: Iterable[str], most: int = _MOST_LINES) -> tuple[str, ...]:
    """Return the first lines, and how many more there are."""
    listed = list(lines)
    if len(listed) <= most:
        return tuple(listed)
    return (*listed[: most - 1], f"and {len(listed) - most + 1} more")


def table_line(table: TableDamage) -> str:
    """Return one table's damage in a line: name, rows then and now, the difference."""
    name = plain_text(table.qualified)
    if table.is_gone:
        return f"{name}  GONE  the point has {count_text(table.point_rows)} rows"
    if table.note:
        return f"{name}  {plain_text(table.note)}"
    about = "" if table.counted else "about "
    if table.point_rows is None:
        return f"{name}  NEW since the point, {about}{count_text(table.live_rows)} rows"
    difference = None if table.live_rows is None else table.live_rows - table.point_rows
    return (
        f"{name}  {count_text(table.point_rows)} -> {about}{count_text(table.live_rows)} rows"
        f"  ({signed(difference)})"
    )


def candidate_line(situation: Situation, candidate: Candidate) -> str:
    """Return what is told of a point beside its name: when, trust, what it would lose."""
    lost = "rows lost not known"
    if candidate.rows_lost is not None:
        lost = f"a swap loses {count_text(candidate.rows_lost)} rows"
    return (
        f"{when_text(candidate.at, situation.now, situation.zone)}"
        f"  {candidate.trust.upper()}  {candidate.minutes:.0f} m old, {lost}"
    )


def shell(argv: Iterable[str]) -> str:
    """Return a command as it can be pasted."""
    return shlex.join(argv)


def only_before(situation: Situation) -> tuple[str, ...]:
    """Return the tables of which live had more rows than the point, as last counted."""
    report = situation.facts.report if situation.facts.way != "salvage" else None
    return tuple(
        table.qualified
        for table in (report.tables if report is not None else ())
        if table.point_rows is not None and (table.live_rows or 0) > table.point_rows
    )


def put_back_command(kept: str, written: WrittenSince | None) -> str:
    """Return what puts rows of a kept database into live; empty where nothing was written to it."""
    tables = [] if written is None else [each.table for each in written.tables if each.inserted]
    if not kept or not tables:
        return ""
    return f"fsbackup restore {shell([kept])} --tables {shell([','.join(tables)])}"


def written_lines(written: WrittenSince | None) -> tuple[str, ...]:
    """Return what was written to the restored database since the swap, table by table."""
    if written is None:
        return ("What was written since the swap is not known.",)
    age = age_text((written.at - written.since).total_seconds())
    lines = [f"Written in the {age} since the swap: {count_text(written.rows)} rows"]
    lines += [
        f"  {plain_text(table.table)}: {count_text(table.inserted)} inserted,"
        f" {count_text(table.updated)} updated, {count_text(table.deleted)} deleted"
        for table in written.tables
    ]
    if written.note:
        lines.append(f"  {plain_text(written.note)}")
    lines.append("They stay in the database that is set aside, and can be merged back.")
    return bounded(lines)
