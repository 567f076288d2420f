"""The report of an incident in Markdown, at any moment, every figure out of its journal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fsbackup_tui.domain.incident import PHASE_TITLES, SEEN_TEXTS, Entry, StepState
from fsbackup_tui.recovery.handover import handover_text
from fsbackup_tui.recovery.report_findings import (
    affected_lines,
    check_lines,
    damage_lines,
    loss_lines,
    objective_lines,
)
from fsbackup_tui.recovery.report_follow import follow_ups
from fsbackup_tui.recovery.report_site import (
    site_check_lines,
    site_damage_lines,
    site_loss_lines,
)
from fsbackup_tui.recovery.report_text import both_text, code, escaped, table
from fsbackup_tui.recovery.report_timeline import (
    command_lines,
    freeze_lines,
    job_lines,
    leader_lines,
    timeline,
)
from fsbackup_tui.recovery.session import Reading

__all__ = ["handover_text", "report_markdown"]


def report_markdown(reading: Reading, entries: Sequence[Entry]) -> str:
    """Return the whole report; times in the reading's zone and in UTC."""
    lines = list(_head(reading))
    of_kind = _of_site(reading) if reading.facts.kind != "postgres" else _of_database(reading)
    for title, section in (
        ("How long, and what is missing", objective_lines(reading)),
        *of_kind,
        ("What is left to do", _follow_lines(reading)),
        ("Steps", _step_lines(reading)),
        ("Frozen", freeze_lines(reading, entries)),
        ("Who led", leader_lines(reading, entries)),
        ("Notes", _note_lines(reading)),
        ("Jobs", job_lines(reading, entries)),
        ("Commands", command_lines(reading, entries)),
        ("Timeline", timeline(reading, entries)),
    ):
        lines += ["", f"## {title}", "", *section]
    return _without_double_gaps(lines)


_Sections = tuple[tuple[str, Iterator[str]], ...]


def _of_database(reading: Reading) -> _Sections:
    return (
        ("The damage", damage_lines(reading)),
        ("The point and its copy", check_lines(reading)),
        ("What was lost", loss_lines(reading)),
        ("Whom it concerns", affected_lines(reading)),
    )


def _of_site(reading: Reading) -> _Sections:
    return (
        ("The damage", site_damage_lines(reading)),
        ("The point, and what came back", site_check_lines(reading)),
        ("What was lost", site_loss_lines(reading)),
    )


def _head(reading: Reading) -> Iterator[str]:
    incident, zone = reading.incident, reading.zone
    kind = "Drill" if incident.is_drill else "Incident"
    yield f"# {kind} {incident.id}: {escaped(incident.site)}, {escaped(incident.source)}"
    yield ""
    if incident.closed is None:
        yield f"**STILL OPEN.** As of {both_text(reading.now, zone)}."
        yield ""
    yield f"- Declared: {both_text(incident.opened, zone)} by {escaped(incident.opened_by)}"
    yield f"- Seen: {SEEN_TEXTS[incident.seen]}"
    yield f"- Last right: {both_text(incident.last_right, zone)}"
    yield f"- Runbook: {escaped(incident.runbook or '-')}"
    if incident.leader is not None:
        yield f"- Led by {escaped(incident.leader.operator)} on {escaped(incident.leader.host)}"
    if incident.closed is not None:
        why = f": {escaped(incident.closed_why)}" if incident.closed_why else ""
        yield f"- Closed: {both_text(incident.closed, zone)}{why}"


def _follow_lines(reading: Reading) -> Iterator[str]:
    listed = [f"- [ ] {_plain_markdown(text)}" for text in follow_ups(reading)]
    yield from listed or ["Nothing."]


def _plain_markdown(text: str) -> str:
    words, found, command = text.partition("fsbackup leftovers --drop ")
    return escaped(words) + (code(found + command) if found else "")


def _step_lines(reading: Reading) -> Iterator[str]:
    rows = [
        _step_row(
            reading,
            placed.number,
            placed.step.title,
            PHASE_TITLES.get(placed.phase, placed.phase),
            placed.state,
        )
        for placed in reading.flow.steps
        if placed.applies is not False and placed.state.status != "open"
    ]
    # What was done by a runbook that was followed before counts, too.
    here = {placed.step.id for placed in reading.flow.steps}
    rows += [
        _step_row(reading, "-", state.title or step, "another runbook", state)
        for step, state in reading.incident.steps.items()
        if step not in here and state.status != "open"
    ]
    if not rows:
        yield "None was begun."
    yield from table(("step", "what", "phase", "end", "at", "who", "why"), rows)


def _step_row(
    reading: Reading, number: str, title: str, phase: str, state: StepState
) -> tuple[str, ...]:
    return (
        number,
        escaped(title),
        escaped(phase),
        "not known" if state.status == "unknown" else state.status,
        both_text(state.at, reading.zone),
        escaped(state.operator),
        escaped(state.reason),
    )


def _note_lines(reading: Reading) -> Iterator[str]:
    notes = reading.incident.notes
    if not notes:
        yield "None."
    for note in notes:
        at = both_text(note.at, reading.zone)
        yield f"- {at}, {escaped(note.operator)}: {escaped(note.text)}"


def _without_double_gaps(lines: Sequence[str]) -> str:
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"
