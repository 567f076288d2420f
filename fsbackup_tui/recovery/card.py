"""One step as every face shows it: words and lines, no layout."""

from __future__ import annotations

from dataclasses import dataclass

from fsbackup_tui.domain.incident import StepState
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.text import age_text, duration_text, plain_text
from fsbackup_tui.recovery.actions.action import Action, Situation
from fsbackup_tui.recovery.actions.registry import ACTIONS
from fsbackup_tui.recovery.flow import Flow, Placed
from fsbackup_tui.recovery.place import place_lines, stopped_words
from fsbackup_tui.recovery.question import Question
from fsbackup_tui.recovery.runbook import Step

KIND_WORDS = {
    "check": "check, changes nothing",
    "act": "act",
    "ask": "question",
    "choose": "choice",
    "confirm": "to be done by you",
}
STATUS_WORDS = {
    "open": "to do",
    "unknown": "under way",
    "done": "done",
    "failed": "FAILED",
    "skipped": "skipped",
    "undone": "undone",
}

_SLOW_SECONDS, _SLOW_TIMES = 30.0, 3.0


@dataclass(frozen=True, slots=True)
class Card:
    """A step to look at and to act on.

    ``typed`` is the name to type before it runs, ``undo_typed`` before it is taken back;
    ``stopped`` says why the target may be the wrong one, under ``stopped_head``, and
    ``target_word`` what accepts it. ``looked_at`` is what is looked at before: a server, a path.
    """

    id: str
    number: str
    title: str
    kind: str
    status: str
    why: str
    runs: tuple[str, ...]
    changes: str
    undo: str
    took: str
    target: tuple[str, ...]
    shows: tuple[str, ...]
    question: Question | None
    by_hand: str
    typed: str
    undo_typed: str
    waits: tuple[str, ...]
    trouble: tuple[str, ...]
    stopped: str
    target_word: str
    needs_look: bool
    can_run: bool
    can_undo: bool
    can_skip: bool
    can_open_again: bool
    ahead: str
    undo_needs_look: bool = False
    stopped_head: str = ""
    looked_at: str = "the server"


def card_of(
    flow: Flow,
    placed: Placed,
    situation: Situation,
    *,
    looked: bool,
    accepted: bool,
    target_word: str,
    took: float | None,
) -> Card:
    """Return the card of a step; ``looked``: the server was looked at since the last change."""
    step, state = placed.step, placed.state
    action = ACTIONS[step.do]
    facts = situation.facts
    undo_request = None
    if action.may_undo(state.status) and action.undo is not None:
        undo_request = action.undo(situation)
    waits = [flow.find(each) for each in placed.waits_for]
    return Card(
        id=step.id,
        number=placed.number,
        title=step.title,
        kind=_kind(step),
        status=STATUS_WORDS[state.status],
        why=step.why,
        runs=_runs(action, situation, placed),
        changes=step.changes,
        undo=step.undo,
        took=_took(took, step),
        target=target_lines(situation) if action.changes else (),
        shows=action.shows(situation),
        question=action.question(situation) if placed.can_run else None,
        by_hand=action.by_hand(situation),
        typed=action.typed(situation) if step.destructive else "",
        undo_typed=action.undo_typed(situation) if undo_request is not None else "",
        waits=tuple(f"{each.number} {each.step.title}" for each in waits if each is not None),
        trouble=(*_trouble(state), *_slow(state, situation, took, step)),
        stopped="" if accepted or not action.changes else facts.mismatch,
        target_word=target_word,
        needs_look=action.changes and not looked and placed.can_run,
        can_run=placed.can_run,
        can_undo=undo_request is not None,
        can_skip=not placed.is_behind and state.status != "unknown",
        can_open_again=_can_open_again(step, state),
        ahead=_ahead(flow, placed),
        undo_needs_look=undo_request is not None and action.changes and not looked,
        stopped_head=stopped_words(situation.kind),
        looked_at=_looked_at(situation),
    )


def _looked_at(situation: Situation) -> str:
    facts = situation.facts
    if situation.kind != "postgres":
        return plain_text(facts.place.path) if facts.place is not None else "the disk"
    return facts.server.host if facts.server is not None else "the server"


def _runs(action: Action, situation: Situation, placed: Placed) -> tuple[str, ...]:
    """Return the commands: of what can hurt and is done those that ran, else as they will run."""
    state = placed.state
    if placed.step.destructive and state.status == "done" and state.commands:
        return state.commands
    return action.runs(situation)


def _can_open_again(step: Step, state: StepState) -> bool:
    """Whether a step may be decided anew: one that did something is taken back instead."""
    if state.status == "skipped":
        return True
    return state.status == "done" and (step.kind != "act" or not state.job)


def _kind(step: Step) -> str:
    words = KIND_WORDS[step.kind]
    if step.kind == "check" and step.changes != "nothing":
        return "check, adds something beside"
    if step.kind != "act":
        return words
    if step.destructive:
        return "act, asks for the name, can be undone" if step.undo else "act, IRREVERSIBLE"
    return f"{words}, reversible" if step.undo else words


def _took(seconds: float | None, step: Step) -> str:
    if seconds is not None:
        return f"{duration_text(seconds)} last time"
    if step.usually is not None:
        return f"about {duration_text(step.usually.total_seconds())} usually"
    return ""


def _trouble(state: StepState) -> tuple[str, ...]:
    if state.status == "failed":
        return tuple(state.reason.splitlines())
    if state.status == "unknown" and not state.job:
        return ("Nobody saw how it ended.",)
    return tuple(plain_text(text) for text in state.warnings)


def _slow(
    state: StepState, situation: Situation, took: float | None, step: Step
) -> tuple[str, ...]:
    """Return a warning where a step goes on for far longer than it did, or than such ones do."""
    usual = took if took is not None else step.usually and step.usually.total_seconds()
    if state.status != "unknown" or not state.job or not usual:
        return ()
    seconds = (situation.now - (state.began or state.at)).total_seconds()
    if seconds < max(_SLOW_SECONDS, _SLOW_TIMES * usual):
        return ()
    return (
        f"SLOW: it has been going on for {duration_text(seconds)}; about {duration_text(usual)}"
        " is usual. Nothing is stopped because of it.",
    )


def _ahead(flow: Flow, placed: Placed) -> str:
    """Return what a person wants to know most: how far away the next thing is that can hurt."""
    found = False
    for each in flow.steps:
        found = found or each is placed
        if found and each.step.destructive and not each.is_behind:
            if each is placed:
                return ""
            return f"Nothing destructive happens before step {each.number}."
    return "Nothing destructive is ahead."


def target_lines(situation: Situation) -> tuple[str, ...]:
    """Return who would be hurt: host, port, database, role, primary, system, size, environment.

    Of files, configuration and code: path, host, owner, disk.
    """
    if situation.kind != "postgres":
        return place_lines(situation)
    standing = situation.facts.standing
    if standing is None:
        return ("not looked at yet",)
    server, live = standing.server, standing.live
    size = "there is none of that name"
    if live is not None:
        size = _size(live.size_bytes)
        size += "" if live.open else ", lets nobody in"
    environment = situation.loaded.config.environment
    shown = environment.upper()
    if standing.environment:
        shown += f", the connection says {standing.environment}"
    age = age_text((situation.now - standing.at).total_seconds())
    lines = [
        f"{plain_text(standing.live_name)} on {_place(server)}  {size}  {shown}",
        f"{'STANDBY' if server.standby else 'primary'}  as {plain_text(server.role)}"
        f"  system {server.system_identifier or '-'}  PostgreSQL {server.server_version}"
        f"  (looked {age} ago)",
    ]
    people = len(standing.sessions) + standing.sessions_more
    writers = sum(session.writes for session in standing.sessions)
    word = "session" if people == 1 else "sessions"
    lines.append(f"{people} {word} in it, {writers} in a writing transaction at this moment")
    for label, names in (
        ("prepared transactions hold it open", standing.prepared),
        ("logical slots hold WAL", standing.slots),
        ("standbys follow it", standing.standbys),
    ):
        if names:
            lines.append(f"{label}: {plain_text(', '.join(names[:3]))}")
    return tuple(lines)


def _place(server: ServerIdentity) -> str:
    return server.host if server.host.startswith("/") else f"{server.host}:{server.port}"


def _size(count: int | None) -> str:
    from fsbackup_tui.operations.wording import size_text

    return size_text(count)
