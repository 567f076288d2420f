"""What the next leader has to know, on one screen of a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from fsbackup_tui.domain.incident import SEEN_TEXTS
from fsbackup_tui.domain.text import age_text, duration_text, plain_text, shorten, when_text
from fsbackup_tui.recovery.flow import Placed
from fsbackup_tui.recovery.report_follow import risks
from fsbackup_tui.recovery.report_site import site_state, site_way_back
from fsbackup_tui.recovery.session import Reading

WIDTH = 80
MOST_LINES = 24
_LABEL = 10
_MOST_OF_ONE = 3


def handover_text(reading: Reading) -> str:
    """Return state, what runs, the last good step, the next decision, the way back, the risks.

    At most 24 lines of 80 columns.
    """
    lines: list[str] = []
    risky: list[str] = []
    for label, text in _facts(reading):
        lines += _wrapped(label, text)
    for text in risks(reading):
        risky += _wrapped("" if risky else "Risks", text)
    id = reading.incident.id  # noqa: A001 - it is one
    foot = _wrapped("Go on", f"fsbackup recover --resume {id}")
    if reading.incident.closed is not None:
        foot = _wrapped("More", f"fsbackup incidents show {id}")
    room = MOST_LINES - len(lines) - len(foot)
    if len(risky) > room:
        risky = [*risky[: room - 1], " " * _LABEL + "and more: fsbackup incidents report"]
    return (
        "\n".join((*lines, *(risky or _wrapped("Risks", "none known")), *foot)[:MOST_LINES]) + "\n"
    )


def _facts(reading: Reading) -> Iterator[tuple[str, str]]:
    incident, now = reading.incident, reading.now
    yield "", _title(reading)
    yield "State", _state(reading)
    yield "Seen", f"{SEEN_TEXTS[incident.seen]}; last right {_when(reading)}"
    leader = incident.leader
    if leader is not None:
        since = duration_text((now - leader.since).total_seconds())
        yield "Leader", f"{plain_text(leader.operator)} on {plain_text(leader.host)}, for {since}"
    yield "Runs", _running(reading)
    yield "Done", _last_good(reading)
    yield "Next", _next(reading)
    yield "Frozen", _frozen(reading)
    yield "Way back", _way_back(reading)


def _title(reading: Reading) -> str:
    incident = reading.incident
    kind = "DRILL" if incident.is_drill else "INCIDENT"
    elapsed = duration_text(incident.elapsed(reading.now).total_seconds())
    at = when_text(reading.now, reading.now, reading.zone, today="today")
    return f"{kind} {incident.id}  {incident.site} {incident.source}  after {elapsed}, {at}"


def _state(reading: Reading) -> str:
    incident, facts = reading.incident, reading.facts
    words = [f"runbook {incident.runbook or '-'}"]
    if incident.closed is not None:
        words.insert(0, f"CLOSED ({incident.closed_why or 'no reason given'})")
    if facts.kind != "postgres":
        words.append(site_state(reading))
    elif facts.document("swapped"):
        words.append("SWAPPED: live is the restored copy")
    elif facts.document("host_database"):
        words.append("REBUILT: live is the point's database, on a new machine")
    elif facts.document("merged"):
        words.append("MERGED: rows were put back into live")
    else:
        words.append("live is the database it was")
    if facts.point:
        words.append(f"point {facts.point}")
    return "; ".join(words)


def _when(reading: Reading) -> str:
    right = reading.incident.last_right
    if right is None:
        return "not known"
    age = age_text((reading.now - right).total_seconds())
    return f"{when_text(right, reading.now, reading.zone, today='today')} ({age} ago)"


def _running(reading: Reading) -> str:
    running = [placed for placed in reading.flow.steps if placed.state.status == "unknown"]
    if not running:
        return "nothing"
    return "; ".join(
        f"{placed.number} {placed.step.title}"
        + (f", job {placed.state.job}" if placed.state.job else ", END NOT KNOWN")
        for placed in running
    )


def _last_good(reading: Reading) -> str:
    done = [placed for placed in reading.flow.steps if placed.state.status == "done"]
    if not done:
        return "no step yet"
    last = max(done, key=lambda placed: placed.state.at)
    at = when_text(last.state.at, reading.now, reading.zone, today="today")
    return f"{last.number} {last.step.title}, {at}, by {plain_text(last.state.operator)}"


def _next(reading: Reading) -> str:
    if reading.incident.closed is not None:
        return "nothing, it is closed"
    placed = reading.flow.current()
    if placed is None:
        return "close it: all steps are done"
    words = f"{placed.number} {placed.step.title}"
    if placed.state.status == "unknown" and not placed.state.job:
        return f"{words}: find out how it ended"
    names = _names(reading, placed.waits_for)
    if names:
        return f"{words}, which waits for {names}"
    return words + (" (asks for the typed name)" if placed.step.destructive else "")


def _names(reading: Reading, steps: Iterable[str]) -> str:
    found: list[Placed | None] = [reading.flow.find(step) for step in steps]
    return ", ".join(f"{each.number} {each.step.title}" for each in found if each is not None)


def _frozen(reading: Reading) -> str:
    freezes = reading.incident.freezes
    if not freezes:
        return "nothing"
    named = [
        f"{plain_text(freeze.what)} for {age_text((reading.now - freeze.since).total_seconds())}"
        for freeze in freezes[:_MOST_OF_ONE]
    ]
    more = len(freezes) - _MOST_OF_ONE
    return "; ".join([*named, *([f"and {more} more"] if more > 0 else [])])


def _way_back(reading: Reading) -> str:
    facts, incident = reading.facts, reading.incident
    if facts.kind != "postgres":
        return site_way_back(reading)
    if facts.document("swapped").get("kept_as"):
        kept = facts.document("swapped").get("kept_as")
        return f"fsbackup rollback --incident {incident.id} (brings {plain_text(str(kept))} back)"
    if facts.document("merged"):
        return f"fsbackup recover --resume {incident.id}, then undo the merge"
    if facts.document("host_database"):
        return "none needed: what it was made of lies in the repository and its copies"
    return "not needed: live was not changed by a swap or merge"


def _wrapped(label: str, text: str) -> list[str]:
    head = f"{label:<{_LABEL}}" if label else ""
    lines = textwrap.wrap(
        plain_text(text),
        WIDTH,
        initial_indent=head or ("" if text.startswith(("INCIDENT", "DRILL")) else " " * _LABEL),
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
        break_long_words=True,
    )
    if len(lines) > _MOST_OF_ONE:
        lines = [*lines[: _MOST_OF_ONE - 1], shorten(lines[_MOST_OF_ONE - 1] + " …", WIDTH)]
    return lines
