"""The lines that tell a job as it is now, as plain functions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Literal

from fsbackup_tui.operations.wording import (
    count_text,
    duration_text,
    left_text,
    size_text,
    when_text,
)
from fsbackup_tui.tui.data import JobRow, JobView, StageView, TableView
from fsbackup_tui.tui.lines import (
    Line,
    Part,
    Role,
    clip_left,
    labelled,
    line,
    pad,
    printable,
    width_of,
    wrap,
    wrapped,
)
from fsbackup_tui.tui.modes.columns import percent_text, state_role, took
from fsbackup_tui.tui.problems import problem_lines

View = Literal["tables", "log", "commands"]
# What an operation tells of single tables; others have nothing to tell of them.
_TABLES_OF = {
    "backup": "finished",
    "restore": "restored",
    "verify": "restored",
    "verify-due": "restored",
    "drill": "restored",
}
_COMPARES = frozenset({"verify", "verify-due", "drill"})
_BAR_CELLS = 28
_WIDEST_BAR = 60
_STAGES: dict[str, tuple[str, Role]] = {
    "waiting": ("-", "muted"),
    "running": ("RUNNING", "accent"),
    "ok": ("done", "good"),
    "failed": ("FAILED", "bad"),
    "cancelled": ("cancelled", "warn"),
    "lost": ("LOST", "bad"),
}
_NARROW = 78


def views_of(row: JobRow) -> tuple[View, ...]:
    """Return the views there are of a job, the first to be shown first."""
    return ("tables", "log", "commands") if row.operation in _TABLES_OF else ("log", "commands")


def title_line(view: JobView, *, now: datetime, zone: tzinfo) -> Line:
    """Return which job this is and how it stands."""
    row = view.row
    began = "-" if row.started is None else when_text(row.started, now, zone)
    return line(
        " ",
        (row.label, "heading"),
        f"  {row.subject}  ",
        (row.state if row.state == "ok" else row.state.upper(), state_role(row.state)),
        (f"  since {began}" if row.state == "running" else f"  {began}", "muted"),
    )


def stages_line(view: JobView, width: int = 80) -> Line:
    """Return the strip of stages: ``1 backup done 0:41  2 verify RUNNING``.

    Where they are too many for the width, those that ended do not tell how long they took.
    """
    for brief in (False, True):
        pieces: list[Part] = [" "]
        for number, stage in enumerate(view.stages, start=1):
            pieces.extend(_stage(number, stage, brief=brief))
        strip = line(*pieces[:-1])
        if width_of(strip) <= width:
            break
    return strip


def _stage(number: int, stage: StageView, *, brief: bool) -> Iterator[tuple[str, Role]]:
    word, role = _STAGES[stage.state]
    yield f"{number} {stage.name} ", "text" if stage.state != "waiting" else "muted"
    yield word, role
    told = stage.seconds is not None and not (brief and stage.state == "ok")
    yield (f" {duration_text(stage.seconds)}" if told else ""), "muted"
    yield "   ", "muted"


def bar_text(done: float | None, total: float | None, cells: int = _BAR_CELLS) -> str:
    """Return ``[#####.....]``; dots alone where the whole is unknown."""
    filled = 0 if done is None or not total else min(cells, int(cells * done / total))
    return "[" + "#" * filled + "." * (cells - filled) + "]"


def progress_line(view: JobView, width: int = 80) -> Line:
    """Return the bar, the percentage and what is being done; pieces keep their widths.

    What is being done is left out where ``active_line`` tells the same below.
    """
    row = view.row
    detail = "" if view.detail == ", ".join(view.active) else view.detail
    cells = max(_BAR_CELLS, min(_WIDEST_BAR, width - 52))
    return line(
        " ",
        (bar_text(row.done, row.total, cells), "accent"),
        (f" {percent_text(row.done, row.total):>5}  ", "text"),
        (detail, "text"),
    )


def numbers_line(view: JobView, now: datetime, width: int = 80) -> Line:
    """Return amount, rate, time left and time used, each in its own fixed place."""
    row = view.row
    amount = _amount(row.done, row.unit)
    if row.total:
        done = amount.removesuffix(f" {row.unit}")
        amount = f"{done} of {_amount(row.total, row.unit)}"
    narrow = width < _NARROW
    rate = "-" if view.rate is None else f"{_amount(view.rate, row.unit)}/s"
    left = left_text(view.eta_seconds, view.eta_range) if row.state == "running" else "-"
    return line(
        " ",
        pad(amount, 20),
        (" " if narrow else "  rate ", "muted"),
        pad(rate, 11 if narrow else 12),
        ("ETA ", "muted"),
        pad(left, 19),
        *(() if narrow else (("used ", "muted"), pad(duration_text(took(row, now)), 10))),
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "bytes":
        return size_text(int(value))
    return f"{count_text(int(value))} {unit}"


def active_line(view: JobView, width: int = 80) -> Line:
    """Return which tables, or which file, are being worked on; of a long path its end."""
    if view.row.state != "running" or not view.active:
        return line()
    label = "  now "
    names = printable(", ".join(view.active))
    if len(view.active) == 1:
        names = clip_left(names, width - len(label))
    return line((label, "muted"), names)


def outcome_lines(view: JobView, width: int, *, now: datetime, zone: tzinfo) -> list[Line]:
    """Return how a job ended: what failed, why, what next, and where its output lies."""
    problem = view.problem
    lines: list[Line] = []
    if problem is not None:
        lines.extend(problem_lines(problem, width, now=now, zone=zone))
        if view.output_log:
            lines.extend(line(" ", *row) for row in labelled("Log", view.output_log, width - 2))
    elif view.row.state == "ok":
        told = [f"{name} {value}" for name, value in _result(view)]
        text = "Done. " + ", ".join(told) if told else "Done."
        lines.extend(line(" ", *row) for row in wrapped(text, width - 2, "good"))
    return lines


def _result(view: JobView) -> Iterator[tuple[str, str]]:
    result = view.result
    for name in ("point", "target", "trust"):
        if isinstance(result.get(name), str):
            yield name, str(result[name])
    stored = result.get("bytes")
    if isinstance(stored, int):
        yield "stored", size_text(stored)


def view_lines(view: JobView, which: View, width: int) -> list[Line]:
    """Return the lines of one of the job's views."""
    if which == "tables":
        return list(_tables(view, width))
    if which == "commands":
        return list(_commands(view, width))
    return list(_log(view, width))


def _tables(view: JobView, width: int) -> Iterator[Line]:
    name_width = max(16, min(60, width - 4 - sum(size + 2 for _, size in _TABLE_TITLES)))
    titles = (pad("TABLE", name_width), *(pad(t, w, right=True) for t, w in _TABLE_TITLES))
    yield line("   ", ("  ".join(titles), "muted"))
    if view.tables_skipped:
        yield line("   ", (f"{count_text(view.tables_skipped)} tables before these", "muted"))
    counted = "compared" if view.row.operation in _COMPARES else "counted"
    newest = list(reversed(view.tables))
    newest.sort(key=lambda table: table.bytes is None)
    for table in newest:
        yield _table(table, name_width, counted)
    if not view.tables:
        done = _TABLES_OF.get(view.row.operation, "finished")
        words = f"no table {done} yet" if view.row.state == "running" else f"no table was {done}"
        yield line("   ", (words, "muted"))
    for warning in view.warnings:
        yield from wrapped(f"   WARN  {warning}", width, "warn", indent="         ")


_TABLE_TITLES = (("ROWS", 14), ("SIZE", 9), ("TOOK", 10))


def _table(table: TableView, name_width: int, counted: str) -> Line:
    # Counted, and waiting for the dump: the time is the count's, and no amount is known.
    alone = table.rows is not None and table.bytes is None
    time = counted if alone else duration_text(table.seconds)
    cells = (count_text(table.rows), size_text(table.bytes), time)
    numbers = (
        pad(text, size, right=True) for text, (_, size) in zip(cells, _TABLE_TITLES, strict=True)
    )
    name = line(table.name)
    return line("   ", pad(name[0].text if name else "", name_width), "  ", "  ".join(numbers))


def _yet(view: JobView) -> str:
    return " yet" if view.row.state == "running" else ""


def _log(view: JobView, width: int) -> Iterator[Line]:
    if view.log_skipped:
        yield line("   ", (f"{count_text(view.log_skipped)} lines skipped", "muted"))
    if not view.log:
        yield line("   ", (f"nothing logged{_yet(view)}", "muted"))
    for text in view.log:
        role: Role = "warn" if text.startswith("WARN") else "text"
        for part in wrap(text, max(20, width - 4), indent="  "):
            yield line("   ", (part, role))


def _commands(view: JobView, width: int) -> Iterator[Line]:
    if not view.commands:
        yield line("   ", (f"no command was run{_yet(view)}", "muted"))
    for command in view.commands:
        for part in wrap(command, max(20, width - 4), indent="  "):
            yield line("   ", part)
