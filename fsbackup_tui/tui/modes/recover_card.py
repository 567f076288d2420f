"""One step as lines: what is the matter, who would be hurt, what it does, what it asks. Plain."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.glance import minutes_text
from fsbackup_tui.operations.wording import count_text
from fsbackup_tui.tui.lines import Line, Role, clip, line, spread, wrap
from fsbackup_tui.tui.modes.recover_lines import LABEL_CELLS, labelled, running_lines, texts
from fsbackup_tui.tui.problems import problem_lines

if TYPE_CHECKING:
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.recovery.question import Option, Question
    from fsbackup_tui.tui.recover_data import View

DIGITS = 9
_HEAD_CELLS = 6
_SEVERAL = "A digit marks one, or unmarks it; Enter takes all that are marked."


def card_lines(
    view: View,
    card: Card,
    chosen: Collection[str],
    width: int,
    zone: tzinfo,
    *,
    logged: int = 3,
    first_digit: int = 0,
) -> list[Line]:
    """Return the whole step, the most urgent first; ``chosen`` are the options that are marked.

    The digits 1 to 9 stand at the options from ``first_digit`` on.
    """
    evidence = list(_evidence(card, width))
    if card.question is not None:
        below = [*_target(view, card, width), *_doing(card, width)]
        # What is asked has to be on the screen: how it is done and what was found come after it.
        return [
            *_title(card, width),
            *_matters(view, card, width, zone, logged),
            *labelled("Why", card.why, width),
            *_question(card.question, chosen, width, first_digit),
            *([line(), *below] if below else ()),
            *evidence,
        ]
    # Of what can hurt, what it costs comes before how it is done.
    first, last = (evidence, []) if card.typed else ([], evidence)
    return [
        *_title(card, width),
        *_matters(view, card, width, zone, logged),
        *_target(view, card, width),
        *_watched(view, card, width),
        *first,
        *labelled("Why", card.why, width),
        *_doing(card, width),
        *last,
        *_said_done(card, width),
    ]


def _title(card: Card, width: int) -> Iterator[Line]:
    words = card.kind if card.status == "to do" else f"{card.status}; {card.kind}"
    roles: dict[str, Role] = {"done": "good", "FAILED": "bad", "under way": "accent"}
    role = roles.get(card.status, "bad" if card.typed else "muted")
    title = line(" ", (f"{card.number} {card.title}", "heading"))
    yield spread(title, line((f"{words} ", role)), width)


def _matters(view: View, card: Card, width: int, zone: tzinfo, logged: int) -> Iterator[Line]:
    """Yield what is the matter with the step now; nothing where it simply can be done."""
    now, running = view.reading.now, view.running
    if running is not None and running.step == card.id and not running.over:
        yield from running_lines(running, width, logged=logged)
    if card.stopped:
        yield from texts([card.stopped_head], width, "bad")
        yield from texts([f"      {text}" for text in card.stopped.splitlines()], width)
        thing = "server" if view.reading.facts.kind == "postgres" else "place"
        words = f"New {thing} on purpose? Enter, then type {card.target_word}. Else leave it."
        yield from labelled("Next", words, width)
    if view.unsure is not None and card.status == "under way":
        yield from problem_lines(view.unsure, width, now=now, zone=zone)
        yield from labelled("Next", "Enter answers.", width)
    elif view.failure is not None and card.status == "FAILED":
        yield from problem_lines(view.failure, width, now=now, zone=zone)
        yield from labelled("", "Nothing that was done before is undone. Enter tries again.", width)
    elif card.trouble:
        yield from texts(card.trouble, width, "warn")
    if card.waits:
        yield from labelled("NOT YET", f"First: {', '.join(card.waits)}.", width, "warn")
    yield from _looking(view, card, width, zone)


def written_lines(view: View, width: int) -> Iterator[Line]:
    """Yield what a rollback sets aside: the rows written since the swap, by table."""
    facts = view.reading.facts
    if facts.exchanged is not None:
        yield from _written_files(view, width)
    if not facts.document("swapped"):
        return
    written = facts.written
    if written is None or view.count_problem is not None:
        why = view.count_problem.what if view.count_problem is not None else "not counted"
        yield line(" ", (f"Written since the swap: not known ({why})", "warn"))
        return
    since = minutes_text((view.reading.now - written.since).total_seconds())
    role: Role = "warn" if written.rows else "good"
    rows = count_text(written.rows)
    yield line(" ", (f"Written since the swap, {since} ago: {rows} rows are set aside", role))
    for table in written.tables[:3]:
        told = ", ".join(
            f"{count_text(count)} {word}"
            for count, word in (
                (table.inserted, "inserted"),
                (table.updated, "updated"),
                (table.deleted, "deleted"),
            )
            if count
        )
        yield line("   ", clip(f"{table.table}: {told or 'not known'}", width - 4))
    if len(written.tables) > 3:
        yield line("   ", (f"and {len(written.tables) - 3} more tables", "muted"))
    if written.note:
        yield line("   ", (clip(written.note, width - 4), "muted"))
    if written.rows:
        words = "They stay in it: it is kept as …__after_…, and they can be merged back."
        yield line(" ", (words, "muted"))


def _written_files(view: View, width: int) -> Iterator[Line]:
    """Yield what was written to the restored tree since it was exchanged: it comes along."""
    written = view.reading.facts.written_files
    if written is None or view.count_problem is not None:
        why = view.count_problem.what if view.count_problem is not None else "not counted"
        yield line(" ", (f"Written since the exchange: not known ({why})", "warn"))
        return
    role: Role = "warn" if written.count else "good"
    words = f"Written since the exchange: {count_text(written.count)} files"
    yield line(" ", (words + (": they come along" if written.count else ""), role))
    if written.names:
        yield line("   ", (clip(f"like {', '.join(written.names[:3])}", width - 4), "muted"))


def _looking(view: View, card: Card, width: int, zone: tzinfo) -> Iterator[Line]:
    if not card.needs_look and card.status != "under way":
        return
    if not (view.is_looking or view.look_problem or view.card is None):
        if view.leads and card.needs_look:
            words = f"The look at {card.looked_at} is too old: Enter looks again."
            if view.reading.facts.kind == "postgres":
                words = "The look at the server is too old: Enter looks again."
            yield line(" ", (words, "warn"))
        return
    if view.is_looking:
        yield line(" ", (f"looking at {card.looked_at}…", "accent"))
    elif view.look_problem is not None:
        problem = view.look_problem
        shown = Problem(problem.kind, problem.what, problem.why, problem.fix or "Enter looks again")
        yield from problem_lines(shown, width, now=view.reading.now, zone=zone)


def _target(view: View, card: Card, width: int) -> Iterator[Line]:
    if view.is_looking and card.needs_look:
        return
    for index, text in enumerate(card.target):
        label = "Target" if index == 0 else ""
        role: Role = "heading" if index == 0 else "text"
        yield from labelled(label, text, width, role)


def _doing(card: Card, width: int) -> Iterator[Line]:
    room = max(8, width - LABEL_CELLS - 2)
    for index, text in enumerate(card.runs):
        for number, row in enumerate(wrap(text, room, indent="  ")):
            label = "Runs" if index == number == 0 else ""
            yield from labelled(label, row, width)
    if card.changes and card.changes != "nothing":
        yield from labelled("Changes", card.changes, width)
    if card.undo:
        yield from labelled("Undo", card.undo, width)
    if card.took:
        yield from labelled("Takes", card.took, width)
    if _is_by_hand(card):
        yield line()
        yield from texts([card.by_hand], width, "accent")


def _is_by_hand(card: Card) -> bool:
    return bool(card.by_hand) and card.status != "done"


def _said_done(card: Card, width: int) -> Iterator[Line]:
    """Yield how one goes on once it was done by hand: below what was to be sent."""
    if _is_by_hand(card) and card.can_run:
        yield line()
        yield from texts(["Enter says that it is done."], width, "muted")


def _question(
    question: Question, chosen: Collection[str], width: int, first_digit: int
) -> Iterator[Line]:
    yield line()
    yield from texts([question.text], width, "heading")
    count = len(question.options)
    if count > DIGITS:
        last = min(count, first_digit + DIGITS)
        words = f"{count} answers; 1 to {last - first_digit} mark those from the"
        words += f" {first_digit + 1}. to the {last}., 0 goes to the next."
        yield from texts([words], width, "muted")
    for number, option in enumerate(question.options, 1 - first_digit):
        yield from _option(question, option, number, option.key in chosen, width)
    if question.several and count > 1:
        yield from texts([_SEVERAL], width, "muted")
    if question.hint:
        yield from texts([question.hint], width, "muted")


def _option(
    question: Question, option: Option, number: int, marked: bool, width: int
) -> Iterator[Line]:
    digit = str(number) if 1 <= number <= DIGITS else " "
    mark = ("[x]" if marked else "[ ]") if question.several else " > " if marked else "   "
    remarks = ["recommended"] if option.recommended else []
    remarks += ["needs a reason"] if option.doubt else []
    remarks += ["NOT POSSIBLE"] if option.impossible else []
    remark = f"  ({', '.join(remarks)})" if remarks else ""
    role: Role = "muted" if option.impossible else "heading" if marked else "text"
    rows = wrap(option.label + remark, max(8, width - 8))
    for index, row in enumerate(rows):
        head = f"{mark} {digit} " if index == 0 else " " * _HEAD_CELLS
        yield line(" ", (head, "key"), (row, role))
    for text in (*option.detail, option.doubt, option.impossible):
        for row in wrap(text, max(8, width - 11)) if text else ():
            yield line("         ", (row, "muted"))


def option_rows(shown: Sequence[Line], question: Question, place: int, width: int) -> range:
    """Return which lines of a card tell the option at a place; none where there is no such."""
    heads = (
        index
        for index, row in enumerate(shown)
        if len(row) > 1 and row[1].role == "key" and len(row[1].text) == _HEAD_CELLS
    )
    start = next(heads, None)
    if start is None or place >= len(question.options):
        return range(0)
    sizes = [len(list(_option(question, each, 1, False, width))) for each in question.options]
    return range(start + sum(sizes[:place]), start + sum(sizes[: place + 1]))


def _evidence(card: Card, width: int) -> Iterator[Line]:
    if card.shows:
        if not card.typed and not _is_by_hand(card):
            yield line()
        yield from texts(card.shows, width)


def _watched(view: View, card: Card, width: int) -> Iterator[Line]:
    """Yield whether those who look on have agreed to what can hurt."""
    if not card.typed or not card.can_run:
        return
    said = view.reading.incident.go.get(card.id)
    if said:
        yield from labelled("Go", f"{said} says go.", width, "good")
    elif view.leads and view.watchers:
        names = ", ".join(view.watchers)
        yield from labelled("Go", f"{names} watches and has not said go (G) yet.", width, "warn")
    elif not view.leads:
        yield from labelled("Go", "G says go, if you agree.", width, "accent")
