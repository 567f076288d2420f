"""What the plain walkthrough prints: a step's card, the list of steps, how one leaves, the help."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from fsbackup_tui.domain.incident import Entry
    from fsbackup_tui.jobs.feed import JobFeed
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.recovery.question import Question
    from fsbackup_tui.recovery.session import Reading, RecoverySession

LABEL = 8
HELP = """\
Enter    runs the step that is shown, or takes the default of its question
1 2 ..   an answer by its number; several with commas between them
=TEXT    an answer as it stands, where it would be taken for a command
s        skip this step; asks why          3.2     go to step 3.2
u 4.3    undo step 4.3                     a 3.2   do step 3.2 again
l        list all steps                    n TEXT  note something down
p        print this step again             t       when it was last right
h        hand over: state on one screen    w       another runbook
r        write the report                  c       close the incident
T        take over the lead                no WHY  keep it when somebody asks
q        leave; it can be gone on with     ?       this"""
WATCH_HELP = """\
You watch: only the leader can act.
l        list all steps                    n TEXT  note something down
h        hand over: state on one screen    r       write the report
T        ask for the lead                  go 4.3  agree to step 4.3
q        leave                             ?       this"""


def header_lines(reading: Reading) -> Iterator[str]:
    """Yield where one is: the incident, its age, what is frozen, who leads."""
    from fsbackup_tui.domain.text import age_text, plain_text

    incident = reading.incident
    kind = "DRILL" if incident.is_drill else "INCIDENT"
    elapsed = age_text(incident.elapsed(reading.now).total_seconds())
    leader = incident.leader
    who = f", {plain_text(leader.operator)} leads" if leader is not None else ""
    yield f"{kind} {incident.id}  {incident.runbook or '-'}  after {elapsed}{who}"
    frozen = incident.frozen_for(reading.now)
    if frozen is not None:
        what = plain_text(", ".join(freeze.what for freeze in incident.freezes))
        yield f"WRITES FROZEN for {age_text(frozen.total_seconds())}: {what}"


def card_lines(card: Card) -> Iterator[tuple[str, str]]:
    """Yield (label, text) for all that a person has to know before a step."""
    yield "", f"{card.number} {card.title}  ({card.kind}; {card.status})"
    yield "Why", card.why
    if card.by_hand:
        yield "By hand", card.by_hand
    for line in card.shows:
        yield "Shows", line
    for line in () if card.by_hand else card.runs:
        yield "Runs", line
    # What a site's own command changes is the site's to know: only a check says "nothing".
    if card.changes != "nothing" or not card.kind.startswith("act"):
        yield "Changes", card.changes
    if card.undo:
        yield "Undo", card.undo
    for line in card.target:
        yield "Target", line
    if card.took:
        yield "Takes", card.took
    for line in card.trouble:
        yield "FAILED" if card.status == "FAILED" else "Note", line
    if card.waits:
        yield "Waits", "for " + ", ".join(card.waits)
    yield "", card.ahead


def question_lines(question: Question) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of a question and its numbered answers."""
    yield "", question.text
    for number, option in enumerate(question.options, 1):
        yield str(number), option.label + ("  [recommended]" if option.recommended else "")
        if option.impossible:
            yield " ", f"[not possible: {option.impossible}]"
        if option.doubt:
            yield " ", f"[needs a written reason: {option.doubt}]"
        for line in option.detail:
            yield " ", line
    if question.hint:
        yield "", question.hint


def default_words(question: Question) -> str:
    """Return what a bare Enter answers, in words; empty where it answers nothing."""
    if not question.default:
        return "nothing" if question.may_be_empty else ""
    keys = [key.strip() for key in question.default.split(",")]
    numbers = [
        str(number) for number, option in enumerate(question.options, 1) if option.key in keys
    ]
    return ", ".join(numbers) if numbers else question.default


def require_choice(question: Question, line: str) -> None:
    """Raise UsageError where nothing was typed, and nothing is safe to take instead."""
    from fsbackup_tui.domain.errors import UsageError

    if line or question.default or question.may_be_empty or not question.options:
        return
    doubtful = any(option.doubt for option in question.options)
    raise UsageError(
        "NOTHING WAS CHOSEN: no answer here is safe to be taken by Enter alone.",
        why="Each is in doubt." if doubtful else "",
        fix="Type its number; a doubtful one asks for a few words. q leaves.",
    )


def answer_value(question: Question, line: str) -> str:
    """Return the keys that the numbers in a line mean; other words stay as they are."""
    if not question.options:
        return line
    keys = [option.key for option in question.options]
    words = [word.strip() for word in line.split(",")]
    if question.several and all(word.isdigit() for word in line.replace(",", " ").split()):
        words = line.replace(",", " ").split()
    return ", ".join(
        keys[int(word) - 1] if word.isdigit() and 1 <= int(word) <= len(keys) else word
        for word in words
        if word
    )


def list_lines(reading: Reading) -> Iterator[str]:
    """Yield all steps, each in a line with its state, under its phase."""
    from fsbackup_tui.domain.incident import PHASE_TITLES
    from fsbackup_tui.domain.text import shorten
    from fsbackup_tui.recovery.card import STATUS_WORDS

    current, phase = reading.flow.current(), ""
    for placed in reading.flow.steps:
        if placed.phase != phase:
            phase = placed.phase
            yield PHASE_TITLES.get(phase, phase)
        word = STATUS_WORDS[placed.state.status]
        if placed.applies is False:
            word = "not needed"
        elif placed.waits_for and placed.state.status == "open":
            word = "waits"
        mark = ">" if placed is current else " "
        why = f"  ({placed.state.reason})" if placed.state.reason else ""
        yield shorten(f" {mark} {placed.number}  {word:<11} {placed.step.title}{why}", 80)


def entry_line(reading: Reading, entry: Entry) -> str:
    """Return what somebody else did, in a line."""
    from fsbackup_tui.domain.text import shorten, when_text
    from fsbackup_tui.recovery.report_timeline import entry_text

    text = entry_text(reading, entry).replace("**", "").replace("`", "")
    text = re.sub(r"\\(.)", r"\1", text)
    at = when_text(entry.at, reading.now, reading.zone)
    return shorten(f"{at}  {entry.operator}: {text}", 80)


def progress_line(feed: JobFeed, now: datetime) -> str:
    """Return how far a job is, with its ETA, in a line of at most 80 columns."""
    from fsbackup_tui.cli.progress import figures
    from fsbackup_tui.domain.text import duration_text, plain_text, shorten

    elapsed = duration_text((now - feed.started).total_seconds()) if feed.started else "-"
    words = [f"{feed.stage or 'starting'} {elapsed}", *figures(feed)]
    if feed.progress is not None and feed.progress.detail:
        words.append(plain_text(feed.progress.detail))
    return shorten("  ".join(words), 80)


def farewell(session: RecoverySession) -> Iterator[str]:
    """Yield what goes on after one has left, and how to come back; once closed, what to do."""
    from fsbackup_tui.domain.text import age_text
    from fsbackup_tui.recovery.report_follow import follow_ups

    reading = session.read()
    incident = reading.incident
    if incident.closed is not None:
        yield f"Incident {incident.id} is closed. Its report: fsbackup incidents report" + (
            f" {incident.id}"
        )
        yield from (f"To do: {text}" for text in follow_ups(reading))
        return
    frozen = incident.frozen_for(reading.now)
    stays = "Nothing is frozen."
    if frozen is not None:
        stays = f"WRITES STAY FROZEN ({age_text(frozen.total_seconds())})."
    yield f"You left. {stays}"
    yield from _running(reading)
    yield f"Incident {incident.id} stays open. Back: fsbackup recover --resume {incident.id}"


def watch_words(reading: Reading, watch: timedelta) -> str:
    """Return how long to look on before an incident is closed of which every step is behind."""
    from fsbackup_tui.domain.text import when_text

    incident = reading.incident
    since = max((state.at for state in incident.steps.values()), default=incident.opened)
    if reading.now >= since + watch:
        return "It ran long enough since the last step to be closed."
    until = when_text(since + watch, reading.now, reading.zone)
    return f"Look on until {until} before you close it: errors, load, what users say."


def _running(reading: Reading) -> Sequence[str]:
    found = []
    for placed in reading.flow.steps:
        if placed.state.status == "unknown":
            job = f" ({placed.state.job})" if placed.state.job else ""
            found.append(f"{placed.number} {placed.step.title} runs on{job}.")
    return found or ["Nothing is running."]
