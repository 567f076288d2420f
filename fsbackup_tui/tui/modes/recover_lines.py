"""The lines of mode 4, as plain functions: header, phases, list of steps, running job, closing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from fsbackup_tui.domain.glance import minutes_text
from fsbackup_tui.domain.incident import PHASE_TITLES, PHASES, SEEN_TEXTS, STOPPED
from fsbackup_tui.domain.text import duration_text
from fsbackup_tui.operations.wording import count_text, left_text, size_text, when_text
from fsbackup_tui.tui.lines import Line, Part, Role, line, pad, spread, width_of, wrap, wrapped
from fsbackup_tui.tui.modes.columns import percent_text
from fsbackup_tui.tui.modes.live import bar_text

if TYPE_CHECKING:
    from fsbackup_tui.recovery.flow import Placed
    from fsbackup_tui.recovery.session import Reading
    from fsbackup_tui.tui.recover_data import Listed, Running, View

LABEL_CELLS = 8
_STATES: dict[str, tuple[str, Role]] = {
    "open": ("", "text"),
    "unknown": ("under way", "accent"),
    "done": ("done", "good"),
    "failed": ("FAILED", "bad"),
    "skipped": ("skipped", "warn"),
    "undone": ("undone", "warn"),
}


def short_id(incident: str) -> str:
    """Return an incident's id without its year: ``1122-01``."""
    return incident[4:] if incident[:4].isdigit() and len(incident) > 8 else incident


def header_line(reading: Reading, width: int) -> Line:
    """Return which incident this is, its clock, what is lost, and FROZEN with its minutes."""
    incident, now = reading.incident, reading.now
    seconds = int(max(0.0, incident.elapsed(now).total_seconds()))
    clock = f"T+{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    word = "DRILL" if incident.is_drill else "INCIDENT"
    left: list[Part] = [
        (f" {word} ", "bar" if incident.is_drill else "bad"),
        (short_id(incident.id), "heading"),
        f" {reading.runbook.id}  ",
        (clock, "text"),
    ]
    if incident.closed is not None:
        left.append(("  CLOSED", "good"))
    frozen = incident.frozen_for(now)
    right = f"FROZEN {minutes_text(frozen.total_seconds())} " if frozen is not None else ""
    lost = lost_words(reading)
    if lost:
        words = f"   lost: {lost}"
        if width_of(line(*left, words, right)) >= width:
            words = f"  lost: {lost.rpartition(' table')[0] or lost}"
        left.append((words, "warn"))
    return spread(line(*left), line((right, "bad")), width)


def warned_of(before: View | None, view: View) -> str:
    """Return what the step that was shown could not do, though it is done; empty: nothing."""
    if before is None or before.card is None:
        return ""
    was, now = (each.reading.flow.find(before.card.id) for each in (before, view))
    if was is None or now is None or was.state.warnings == now.state.warnings:
        return ""
    more = len(now.state.warnings) - 1
    if more < 0:
        return ""
    return f"{now.number}: {now.state.warnings[0]}" + (f" (and {more} more)" if more else "")


def lost_words(reading: Reading) -> str:
    """Return what the damage report found lost: ``5 300 videos``; empty before there is one.

    Of files, how many are missing.
    """
    from fsbackup_tui.recovery.actions.site_words import files_look

    report = reading.facts.report
    look = files_look(reading.facts.site_damage)
    if look is not None and look.missing.count:
        return f"{count_text(look.missing.count)} files"
    if report is None or not report.worst:
        return ""
    first, *others = report.worst
    rows = first.point_rows if first.is_gone else (first.point_rows or 0) - (first.live_rows or 0)
    more = f" +{len(others)} table{'s' if len(others) > 1 else ''}" if others else ""
    return f"{count_text(rows)} {first.name}{more}"


def strip_line(view: View, width: int) -> Line:
    """Return the five phases, where one is, and who leads: ``1 done  2 done  3 Assess 2/4 …``."""
    words = view.reading.flow.phase_words()
    pieces: list[Part] = [" "]
    for number, phase in enumerate(PHASES, 1):
        word = words[phase]
        here = "/" in word
        text = f"{number} {PHASE_TITLES[phase]} {word}" if here else f"{number} {word}"
        role: Role = "heading" if here else "good" if word == "done" else "muted"
        pieces += [(text, role), "  "]
    who = f"{view.leader} leads"
    if view.watchers:
        who += f", {', '.join(view.watchers[:2])} watches"
    if not view.leads:
        who += "; you watch"
    return spread(line(*pieces), line((f"{who} ", "accent" if view.leads else "warn")), width)


def request_line(view: View) -> Line:
    """Return who asks for the lead, for whom it concerns; empty where nobody does."""
    asked = view.reading.incident.take_over
    if asked is None:
        return line()
    if view.leads and not asked.refused:
        words = f"{asked.operator} on {asked.host} asks for the lead: R refuses, within 20 s."
        return line(" ", (words, "warn"))
    if asked.operator != view.me or view.leads:
        return line()
    if asked.refused:
        return line(" ", (f"{view.leader} keeps the lead: {asked.refused}", "warn"))
    if view.may_take:
        return line(" ", ("The lead is free: T takes it.", "warn"))
    return line(" ", (f"{view.leader} was asked, and has 20 s to refuse.", "muted"))


def ahead_line(view: View) -> Line:
    """Return how far away the next thing is that can hurt."""
    card = view.card
    if card is None:
        return line()
    if card.typed and card.can_run:
        return line(
            " ", ("This is the step that can hurt. It runs by its typed name alone.", "bad")
        )
    return line(" ", (card.ahead, "good"))


def ended_words(before: Reading, reading: Reading) -> str:
    """Return what came to its end since ``before``, with how long it took; empty: nothing did.

    The next step is on the screen already then.
    """
    found = ""
    for placed in reading.flow.steps:
        state = placed.state
        word = {"done": "done", "undone": "taken back"}.get(state.status, "")
        if not word or not state.job or before.incident.steps.get(placed.step.id) == state:
            continue
        took = "" if state.seconds is None else f" in {duration_text(state.seconds)}"
        found = f"{placed.number} {placed.step.title}: {word}{took}"
    return found


def labelled(label: str, text: str, width: int, role: Role = "text") -> Iterator[Line]:
    """Yield ``Why     text`` lines, the text wrapped beside its label."""
    rows = wrap(text, max(8, width - LABEL_CELLS - 2))
    for index, row in enumerate(rows):
        yield line(" ", (pad(label if index == 0 else "", LABEL_CELLS), "muted"), (row, role))


def texts(found: Sequence[str], width: int, role: Role = "text") -> Iterator[Line]:
    """Yield lines as they are given, wrapped with their own indent kept."""
    for text in found:
        blanks = " " * (len(text) - len(text.lstrip(" ")) + 2)
        for row in wrap(text, max(8, width - 2), indent=blanks):
            yield line(" ", (row, role))


def step_rows(reading: Reading) -> list[Placed | str]:
    """Return the rows of the list of steps: phases by their titles, and their steps."""
    rows: list[Placed | str] = []
    phase = ""
    for placed in reading.flow.steps:
        if placed.phase != phase:
            phase = placed.phase
            rows.append(f"{PHASES.index(phase) + 1} {PHASE_TITLES[phase]}")
        rows.append(placed)
    return rows


def step_line(
    reading: Reading, row: Placed | str, shown: str, width: int, *, marked: bool | None
) -> Line:
    """Return a row of the list: where one is, its number, title and state.

    ``marked``: whether the cursor is on it; None where the list has no keyboard, the mark is at
    the step that is shown then.
    """
    if isinstance(row, str):
        return line((">" if marked else " ", "key"), (row, "heading"))
    current = reading.flow.current()
    word, role = _STATES[row.state.status]
    if row.applies is False:
        word, role = "not needed", "muted"
    elif row.waits_for and not word:
        word, role = "waits", "muted"
    here = current is not None and current.step.id == row.step.id
    points = row.step.id == shown if marked is None else marked
    mark = ">" if points else "*" if here else " "
    title_role: Role = "heading" if row.step.id == shown else "muted" if row.is_behind else "text"
    title = f"{row.number} {row.step.title}"
    danger = " !" if row.step.destructive and not row.is_behind else ""
    left = line((f" {mark} ", "key"), (title, title_role), (danger, "bad"))
    return spread(left, line((f" {word} ", "accent" if marked and role == "text" else role)), width)


def running_lines(running: Running, width: int, *, logged: int) -> Iterator[Line]:
    """Yield how a step's job goes on: its bar, the time left with its range, its last words."""
    cells = 24 if width < 100 else 36
    left = left_text(running.eta_seconds, running.eta_range)
    bar = line(
        " ",
        (pad("run", LABEL_CELLS), "muted"),
        (bar_text(running.done, running.total, cells), "accent"),
        f" {percent_text(running.done, running.total):>5}  ",
        running.detail or running.stage,
    )
    yield spread(bar, line(("ETA ", "muted"), f"{left} "), width)
    rate = "" if running.rate is None else f", {_amount(running.rate, running.unit)}/s"
    done = "-" if running.done is None else _amount(running.done, running.unit)
    total = "" if not running.total else f" of {_amount(running.total, running.unit)}"
    yield line(" " * (LABEL_CELLS + 1), (f"{running.job}: {done}{total}{rate}", "muted"))
    for text in running.log[-logged:] if logged else ():
        yield line(" " * (LABEL_CELLS + 1), (text, "muted"))


def _amount(value: float, unit: str) -> str:
    if unit in ("bytes", ""):
        return size_text(int(value))
    return f"{count_text(int(value))} {unit}"


def output_lines(running: Running, width: int, height: int) -> list[Line]:
    """Return what stands below the step where there is room: its job's last words."""
    rule = line(("-" * width, "muted"))
    ended = "  ended" if running.over else ""
    head = line(" ", ("Output", "heading"), (f"  {running.job}{ended}   O shows all", "muted"))
    logged = running.log[-max(1, height - 2) :]
    return [rule, head, *(line("   ", text) for text in logged or ("nothing logged yet",))]


def closing_lines(view: View, width: int, zone: tzinfo) -> Iterator[Line]:
    """Yield what is left to do when every step is behind: watch for a while, then close."""
    reading = view.reading
    incident, now = reading.incident, reading.now
    yield line(" ", ("All steps are behind.", "good"))
    yield line()
    if incident.freezes:
        for freeze in incident.freezes:
            since = minutes_text((now - freeze.since).total_seconds())
            word = "FROZEN" if freeze.keeps_writes_off else "CHANGED"
            word = "STOPPED" if freeze.grade == STOPPED else word
            yield from texts([f"STILL {word} {since}: {freeze.what}"], width, "bad")
            yield from texts([f"  {command}" for command in freeze.undo], width)
        yield line()
    until = view.last_done + view.watch
    if now < until:
        left = minutes_text((until - now).total_seconds() + 59)
        words = (
            f"Look on until {when_text(until, now, zone)} ({left}): errors, load, what users say."
        )
        yield from labelled("Watch", words, width)
    else:
        yield from labelled("Watch", f"It ran for {_minutes(view)} since the last step.", width)
    kept = reading.facts.document("swapped").get("kept_as")
    exchanged = reading.facts.exchanged
    if exchanged is not None and exchanged.kept_as:
        words = f"{exchanged.kept_as} is the tree as it was before. When nobody needs it any more:"
        yield from labelled("Kept", words, width)
        yield from labelled("", "fsbackup leftovers", width, "key")
    if kept:
        words = f"{kept} is the database as it was before. Drop it when nobody needs it any more:"
        yield from labelled("Kept", words, width)
        yield from labelled("", "fsbackup leftovers", width, "key")
    yield from _way_back(reading, width)
    elapsed = minutes_text(incident.elapsed(now).total_seconds())
    yield from labelled("Took", f"{elapsed} since it was declared", width)
    yield line()
    words = "C closes the incident, with a word on how it ended. Tab lists the steps."
    yield from texts([words], width)


def _way_back(reading: Reading, width: int) -> Iterator[Line]:
    """Yield how the swap or the merge is taken back, by the keys that do it."""
    for placed in reading.flow.steps:
        if not placed.step.destructive or placed.state.status != "done":
            continue
        words = f"Tab, {placed.number} {placed.step.title}, then U: {placed.step.undo}."
        yield from labelled("Back", words, width)
    if reading.facts.document("swapped").get("kept_as") and not reading.incident.is_drill:
        yield from labelled("", "Once it is closed:", width)
        command = f"fsbackup rollback --incident {reading.incident.id}"
        yield from labelled("", command, width, "key")


def _minutes(view: View) -> str:
    return minutes_text((view.reading.now - view.last_done).total_seconds())


def listed_line(listed: Listed, width: int, *, now: datetime, zone: tzinfo) -> Line:
    """Return an incident's row on the start screen."""
    incident = listed.incident
    when = when_text(incident.opened, now, zone)
    state: tuple[str, Role] = ("OPEN", "bad")
    if incident.closed is not None:
        took = minutes_text(incident.elapsed(now).total_seconds())
        state = (f"closed, {took}", "good")
    kind = "drill " if incident.is_drill else ""
    about = f"{kind}{incident.runbook or '-'}"
    if incident.seen != "unknown":
        about += f": {SEEN_TEXTS[incident.seen]}"
    left = line(
        (short_id(incident.id), "heading"),
        "  ",
        pad(when, 16),
        pad(incident.source, 8),
        " ",
        about,
    )
    return spread(left, line("  ", (f"{listed.leader} ", "muted"), state, " "), width)


def past_lines(reading: Reading, width: int, *, now: datetime, zone: tzinfo) -> Iterator[Line]:
    """Yield an incident to read: who, when, each step with its end, the notes."""
    incident = reading.incident
    yield header_line(reading, width)
    right = "not known"
    if incident.last_right is not None:
        right = when_text(incident.last_right, now, zone)
    yield from labelled("Seen", SEEN_TEXTS[incident.seen], width)
    yield from labelled("Right", right, width)
    opened = f"{when_text(incident.opened, now, zone)} by {incident.opened_by}"
    yield from labelled("Opened", opened, width)
    if incident.closed is not None:
        closed = f"{when_text(incident.closed, now, zone)}: {incident.closed_why or '-'}"
        yield from labelled("Closed", closed, width)
    yield line()
    for row in step_rows(reading):
        if isinstance(row, str):
            yield line(" ", (row, "heading"))
            continue
        word, role = _STATES[row.state.status]
        if row.applies is False:
            word, role = "not needed", "muted"
        who = ""
        if row.state.operator:
            who = f"  {row.state.operator} {when_text(row.state.at, now, zone)}"
        left = line("   ", f"{row.number} {row.step.title}")
        yield spread(left, line((word or "not done", role), (f"{who} ", "muted")), width)
        if row.state.reason:
            yield from (line("       ", *each) for each in wrapped(row.state.reason, width - 9))
    for note in incident.notes:
        when = when_text(note.at, now, zone)
        yield from labelled("Note", f"{note.operator} {when}: {note.text}", width)
