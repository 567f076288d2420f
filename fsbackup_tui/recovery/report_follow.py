"""What is left to do after, or in the middle of, an incident: follow-ups and open risks. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from fsbackup_tui.domain.rearming import cron_lines
from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.recovery.actions.rearming import CRON, armed_lines
from fsbackup_tui.recovery.facts import IncidentFacts
from fsbackup_tui.recovery.report_findings import live_again
from fsbackup_tui.recovery.report_site import site_leftovers, site_risks
from fsbackup_tui.recovery.report_text import mappings, number_text, texts
from fsbackup_tui.recovery.session import Reading


def risks(reading: Reading) -> Iterator[str]:
    """Yield what may go wrong as it stands: not proven, not known, frozen, no backup."""
    incident, facts = reading.incident, reading.facts
    for placed in reading.flow.steps:
        if placed.state.status == "unknown":
            yield f"nobody knows how {placed.number} {placed.step.title} ended: settle it"
        elif placed.state.status == "failed":
            yield f"{placed.number} {placed.step.title} failed: {plain_text(placed.state.reason)}"
        elif placed.state.status == "skipped" and placed.step.guard and not facts.copy_is_kept:
            why = plain_text(placed.state.reason)
            yield f"{placed.number} {placed.step.title} was skipped, a guard: {why}"
        for text in placed.state.warnings if placed.state.status == "done" else ():
            yield f"{placed.number} {placed.step.title}: {plain_text(text)}"
    if facts.mismatch and not facts.accepted_target:
        what = "server" if facts.kind == "postgres" else "place"
        yield f"the {what} may be the wrong one: " + plain_text(facts.mismatch)
    yield from site_risks(reading)
    check = facts.copy_check
    if check is not None and check.verdict != "proven":
        yield f"the copy is not proven ({check.verdict})"
    reason = incident.parameters.get("point_reason")
    if reason:
        yield f"the point was doubtful, and taken because: {plain_text(str(reason))}"
    if live_again(reading) is not None and not incident.parameters.get("fresh_point"):
        what = "database" if facts.kind == "postgres" else "state"
        yield f"no backup was taken since: all newer points are of the damaged {what}"
    for slot in mappings(facts.document("swapped").get("slots")):
        held = number_text(slot.get("retained_bytes"))
        yield f"slot {plain_text(str(slot.get('name')))} holds {held} bytes of WAL on the server"


def follow_ups(reading: Reading) -> Iterator[str]:
    """Yield what somebody still has to do, each in a sentence."""
    incident, facts = reading.incident, reading.facts
    for freeze in incident.freezes:
        commands = "; ".join(freeze.undo)
        yield f"still FROZEN: {plain_text(freeze.what)}. Undo: {plain_text(commands) or 'thaw'}"
    yield from risks(reading)
    swapped = facts.document("swapped")
    armed = {str(each.get("what")) for each in mappings(facts.document("rearmed").get("armed"))}
    of_armed = {
        line
        for name, lines in _by_name(swapped).items()
        if f"subscription {name}" in armed
        for line in texts(lines)
    }
    for line in texts(swapped.get("follow_up")):
        if line not in of_armed:
            yield plain_text(line)
    yield from _deferred(reading)
    yield from site_leftovers(reading)
    for command in texts(incident.parameters.get("resolve")):
        yield f"so that the migrations know of it: {plain_text(command)}"
    yield from still_paused(reading)
    yield from _leftovers(reading)


def _by_name(swapped: Mapping[str, Any]) -> Mapping[str, Any]:
    found = swapped.get("subscription_follow_up")
    return found if isinstance(found, Mapping) else {}


def _deferred(reading: Reading) -> Iterator[str]:
    """Yield what a copy may not have and nobody armed since."""
    facts = reading.facts
    rearmed, check = facts.document("rearmed"), facts.copy_check
    if rearmed:
        for line in armed_lines(rearmed):
            if not line.startswith("armed: "):
                yield line
        return
    for entry in check.deferred if check is not None else ():
        yield f"left for later by the restore: {plain_text(entry)}"
        if entry == CRON and facts.document("swapped"):
            kept = str(facts.document("swapped").get("kept_as") or "")
            yield from map(plain_text, cron_lines(facts.live_name, kept))


def still_paused(reading: Reading) -> Iterator[str]:
    """Yield what was stopped for the recovery and was not started again, as far as was written."""
    steps = reading.incident.steps
    for begun, ended, what in (
        ("pause-jobs", "resume-jobs", "what runs by the clock is paused"),
        ("stop-deleting", "let-go", "what deletes was stopped"),
        ("stop-app", "start-app", "the application was stopped"),
    ):
        first, last = steps.get(begun), steps.get(ended)
        if first is None or (begun == "stop-deleting" and not first.job):
            continue  # where nothing was stopped, nothing has to be started
        if first.status == "done" and (last is None or not last.settled):
            yield f"{what}, and nobody wrote that it was started again"


def _leftovers(reading: Reading) -> Iterator[str]:
    facts = reading.facts
    swapped, back = facts.document("swapped"), facts.document("rolled_back")
    merged, salvaged, preserved = facts.document("merged"), facts.salvaged, facts.preserved
    kept = str(swapped.get("kept_as") or "")
    newer = str(back.get("kept_as") or "")
    if kept:
        yield f"{plain_text(kept)} is the former database, whole{_once(kept)}"
    if newer:
        yield f"{plain_text(newer)} is the restored one that was swapped back{_once(newer)}"
    if facts.copy and not swapped and facts.copy != newer:
        yield f"{plain_text(facts.copy)} is {_copy_words(facts)}{_once(facts.copy)}"
    staging = str(merged.get("staging") or facts.staging)
    if staging:
        what = "what undoes the merge" if merged else "the rows that differ"
        yield f"schema {plain_text(staging)} in live holds {what}{_once(staging)}"
    if salvaged is not None:
        yield f"{plain_text(salvaged.database)} is what could be read{_once(salvaged.database)}"
    if facts.database:
        yield f"{plain_text(facts.database)} is what the drill played on{_once(facts.database)}"
    if preserved is not None and preserved.directory:
        yield f"{plain_text(preserved.directory)} holds the evidence"


def _copy_words(facts: IncidentFacts) -> str:
    return "where the rows came from" if facts.copy_is_kept else "a restored copy"


def _once(name: str) -> str:
    return f"; once nobody needs it: fsbackup leftovers --drop {shlex.quote(plain_text(name))}"
