"""What a report tells in order: every entry, who led when, what was frozen how long. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.incident import SEEN_TEXTS, Entry
from fsbackup_tui.domain.text import duration_text, shorten
from fsbackup_tui.recovery.report_text import (
    between_text,
    both_text,
    code,
    escaped,
    local_text,
    table,
    utc_text,
)
from fsbackup_tui.recovery.session import Reading

_LONGEST = 300


def timeline(reading: Reading, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield every entry, in its order, in the site's zone and in UTC."""
    rows = (
        (
            local_text(entry.at, reading.zone),
            utc_text(entry.at),
            escaped(entry.operator),
            entry_text(reading, entry),
        )
        for entry in entries
    )
    yield from table(("local", "UTC", "who", "what"), rows)


def entry_text(reading: Reading, entry: Entry) -> str:
    """Return an entry in words; one of another version as it was written."""
    words = _WORDS.get(entry.kind)
    if words is not None:
        return words(reading, entry.body)
    written = json.dumps(dict(entry.body), ensure_ascii=False, default=str, sort_keys=True)
    return f"{escaped(entry.kind)}: {code(shorten(written, _LONGEST))}"


def step_name(reading: Reading, step: object, title: object = "") -> str:
    """Return a step's number and title; of one that this runbook has not, what was written."""
    placed = reading.flow.find(str(step))
    if placed is None:
        state = reading.incident.steps.get(str(step))
        known = title or (state.title if state is not None else "")
        return escaped(f"{step} {known}".strip())
    return f"{placed.number} {escaped(placed.step.title)}"


def _opened(reading: Reading, body: Mapping[str, Any]) -> str:
    seen = next((text for word, text in SEEN_TEXTS.items() if word == body.get("seen")), "")
    drill = "a drill: " if body.get("is_drill") is True else ""
    return f"declared, {drill}{escaped(seen or body.get('seen'))}; {_right(reading, body)}"


def _right(reading: Reading, body: Mapping[str, Any]) -> str:
    return f"last right {_moment(reading, body.get('last_right'))}"


def _moment(reading: Reading, value: object) -> str:
    try:
        at = parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return escaped(value)
    return both_text(at, reading.zone)


def _why(body: Mapping[str, Any]) -> str:
    return f": {escaped(body['why'])}" if body.get("why") else ""


def _led(_: Reading, body: Mapping[str, Any]) -> str:
    return f"**leads from now on**{_why(body)}"


def _named(word: str) -> Callable[[Reading, Mapping[str, Any]], str]:
    def words(_: Reading, body: Mapping[str, Any]) -> str:
        return f"{word} {escaped(body.get('what'))}"

    return words


def _looked(_: Reading, body: Mapping[str, Any]) -> str:
    facts = body.get("facts")
    known = facts if isinstance(facts, Mapping) else {}
    server, place = known.get("server"), known.get("place")
    where, what = "", "server"
    if isinstance(place, Mapping):
        what = "place"
        where = f": {escaped(known.get('live_name'))} on {escaped(place.get('host'))}"
    if isinstance(server, Mapping):
        where = f": {escaped(known.get('live_name'))} on {escaped(server.get('host'))}"
        where += f", system {escaped(server.get('system_identifier') or '-')}"
    mismatch = known.get("mismatch")
    return f"looked at the {what}{where}" + (f". STOPPED: {escaped(mismatch)}" if mismatch else "")


def _step(word: str) -> Callable[[Reading, Mapping[str, Any]], str]:
    def words(reading: Reading, body: Mapping[str, Any]) -> str:
        said = word
        if body.get("undoing") is True:
            said = f"taking it back {word}"
        answer = body.get("answer")
        reason = body.get("reason")
        if isinstance(answer, Mapping):
            reason = reason or answer.get("reason")
            answer = answer.get("value")
        name = step_name(reading, body.get("step"), body.get("title"))
        told = f"{name}: {said}" + (f", {escaped(answer)}" if answer else "")
        if body.get("job"):
            told += f" (job {code(body['job'])})"
        return told + (f": {escaped(reason)}" if reason else "")

    return words


def _set(_: Reading, body: Mapping[str, Any]) -> str:
    return f"set {escaped(body.get('name'))} to {code(shorten(str(body.get('value')), _LONGEST))}"


_WORDS: Mapping[str, Callable[[Reading, Mapping[str, Any]], str]] = {
    "opened": _opened,
    "led": _led,
    "take-over-asked": lambda _r, _b: "asks for the lead",
    "take-over-refused": lambda _r, body: f"keeps the lead{_why(body)}",
    "go": lambda reading, body: f"says go for {step_name(reading, body.get('step'))}",
    "damage-time": lambda reading, body: f"corrected: {_right(reading, body)}",
    "runbook": lambda _r, body: f"follows the runbook {escaped(body.get('runbook'))}",
    "set": _set,
    "looked": _looked,
    "note": lambda _r, body: f"note: {escaped(body.get('text'))}",
    "frozen": _named("**FROZEN**"),
    "thawed": _named("no longer frozen:"),
    "closed": lambda _r, body: f"**closed**{_why(body)}",
    "reopened": lambda _r, body: f"**opened again**{_why(body)}",
    "intent": _step("begun"),
    "started": _step("runs"),
    "done": _step("done"),
    "failed": _step("**FAILED**"),
    "skipped": _step("skipped"),
    "undone": _step("taken back"),
    "not-undone": _step("not taken back"),
    "not-done": _step("to do again"),
}


@dataclass(frozen=True, slots=True)
class Frozen:
    """Something that was frozen from one moment to another; ``until`` None: it still is."""

    what: str
    since: datetime
    until: datetime | None = None


def freezes(entries: Sequence[Entry]) -> list[Frozen]:
    """Return all that was ever frozen, in the order of its beginning."""
    found: list[Frozen] = []
    for entry in entries:
        what = str(entry.body.get("what", ""))
        if entry.kind not in ("frozen", "thawed"):
            continue
        at = next(
            (n for n, each in enumerate(found) if each.what == what and each.until is None), None
        )
        if entry.kind == "frozen" and at is None:
            found.append(Frozen(what, entry.at))
        elif entry.kind == "thawed" and at is not None:
            found[at] = replace(found[at], until=entry.at)
    return found


def freeze_lines(reading: Reading, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield what was frozen, from when to when, and for how long."""
    rows = []
    for each in freezes(entries):
        until = each.until
        rows.append(
            (
                escaped(each.what),
                both_text(each.since, reading.zone),
                "**STILL FROZEN**" if until is None else both_text(until, reading.zone),
                between_text(each.since, until or reading.now),
            )
        )
    if not rows:
        yield "Nothing was frozen."
    yield from table(("what", "from", "until", "for"), rows)


def leader_lines(reading: Reading, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield who led, from where, since when, and why it changed hands."""
    rows = [
        (
            str(entry.epoch),
            escaped(entry.operator),
            escaped(entry.host),
            both_text(entry.at, reading.zone),
            escaped(entry.body.get("why") or ("declared it" if entry.kind == "opened" else "-")),
        )
        for entry in entries
        if entry.kind in ("opened", "led")
    ]
    yield from table(("epoch", "leader", "host", "since", "why"), rows)


def command_lines(reading: Reading, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield what was run, step by step, as stock commands that do the same by hand."""
    told = False
    for entry in entries:
        commands = entry.body.get("commands")
        if entry.kind != "intent" or not isinstance(commands, list) or not commands:
            continue
        told = True
        name = step_name(reading, entry.body.get("step"), entry.body.get("title"))
        back = ", taking it back; it was done by" if entry.body.get("undoing") is True else ""
        yield f"{name}, {local_text(entry.at, reading.zone)}{back}:"
        yield ""
        yield from (f"    {escaped_line(command)}" for command in commands)
        yield ""
    if not told:
        yield "Nothing was run."


def escaped_line(text: object) -> str:
    """Return a line of an indented block: foreign text without control characters."""
    return "".join(character if character.isprintable() else " " for character in str(text))


def job_lines(reading: Reading, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the jobs that ran, each with how it ended and how long it took."""
    rows = []
    began: dict[str, Entry] = {}
    for entry in entries:
        job = entry.body.get("job")
        if not isinstance(job, str) or not job:
            continue
        if entry.kind == "started":
            began[job] = entry
        elif job in began:
            first = began.pop(job)
            rows.append(_job_row(reading, first, entry))
    rows += [_job_row(reading, first, None) for first in began.values()]
    if not rows:
        yield "No job ran."
    yield from table(("job", "step", "began", "end", "took"), rows)


def _job_row(reading: Reading, began: Entry, ended: Entry | None) -> tuple[str, ...]:
    took = None if ended is None else (ended.at - began.at).total_seconds()
    return (
        code(began.body.get("job")),
        step_name(reading, began.body.get("step")),
        both_text(began.at, reading.zone),
        "not known" if ended is None else ended.kind,
        duration_text(took),
    )
