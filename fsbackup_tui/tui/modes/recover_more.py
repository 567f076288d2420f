"""What the capitals of an incident do: skip, undo, open again, note, output, hand over, switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsbackup_tui.domain.last_right import parse_last_right
from fsbackup_tui.tui.data import JobRow
from fsbackup_tui.tui.lines import line
from fsbackup_tui.tui.modes.job import JobScreen
from fsbackup_tui.tui.modes.recover_acts import (
    ask,
    do,
    leading,
    looking,
    named,
    target_thing,
    written,
)
from fsbackup_tui.tui.modes.recover_card import written_lines
from fsbackup_tui.tui.modes.recover_declare import check_time, echo_time
from fsbackup_tui.tui.modes.recover_texts import ReportScreen
from fsbackup_tui.tui.widgets.choice import Answer as Choice

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import RecoverySession
    from fsbackup_tui.tui.modes.recover_step import StepScreen


class StepJobScreen(JobScreen):
    """A step's job; its mode is Recover."""

    MODE = "recover"


def skip(screen: StepScreen) -> None:
    """Go past the step, with a reason."""
    view = leading(screen)
    card = view.card if view is not None else None
    if card is None:
        return
    if not card.can_skip:
        screen.say(f"Skip: it is {card.status} already", "warn")
        return
    lines = [
        line(" ", (f"Why can {card.number} {card.title} be left out?", "heading")),
        line(" ", (card.why, "muted")),
    ]
    ask(
        screen,
        lines,
        lambda text: do(screen, "", lambda session: session.skip(card.id, text)),
        step=card.id,
        check=written,
    )


def undo(screen: StepScreen, *, looked: bool = False) -> None:
    """Take the step back: looks at the server first, then asks."""
    view = leading(screen)
    card = view.card if view is not None else None
    if view is None or card is None:
        return
    if not card.can_undo:
        by_hand = f"; by hand: {card.undo}" if card.undo and card.status == "done" else ""
        screen.say(f"Undo: there is nothing to take back here{by_hand}", "warn")
        return
    if not looked and (card.undo_needs_look or card.undo_typed):
        screen.wants_undo = True
        do(screen, looking(view), _look_and_count)
        return
    if card.undo_needs_look:
        screen.say(f"Undo: the {target_thing(view)} could not be looked at. U tries again", "bad")
        return

    def act(typed: str) -> None:
        def undone(session: RecoverySession) -> None:
            from fsbackup_tui.recovery.question import Answer

            session.undo(card.id, Answer(typed=typed))

        do(screen, "Taking it back…", undone)

    title = f"Undo {card.number} {card.title}?"
    what = line(" ", (f"{card.undo}" if card.undo else "", "text"))
    if card.undo_typed:
        name = card.undo_typed
        lines = [
            *(line(" ", (text, "text")) for text in card.target[:2]),
            *written_lines(view, screen.size.width),
            what,
            line(" ", (f"{title} Type {name}.", "heading"), "  Esc: back"),
        ]
        ask(screen, lines, act, step=card.id, check=named(name), careful=True)
        return
    answers = [Choice("No, leave it"), Choice("Yes, take it back", "y")]
    screen.ask([line(" ", (title, "heading")), what], answers, lambda _: act(""))


def _look_and_count(session: RecoverySession) -> None:
    """Look who would be hurt, and count what was written since a swap."""
    session.look_now()
    session.count_written()


def again(screen: StepScreen) -> None:
    """Open the step again, and with it what was based on it."""
    view = leading(screen)
    card = view.card if view is not None else None
    if card is None:
        return
    if not card.can_open_again:
        word = "U takes it back" if card.can_undo else f"it is {card.status}"
        screen.say(f"Open again: not this step; {word}", "warn")
        return
    question = [
        line(" ", (f"Open {card.number} {card.title} again?", "heading")),
        line(" ", ("With it all that was based on it is to be done again.", "muted")),
    ]
    answers = [Choice("No, leave it"), Choice("Yes, open it again", "y")]
    screen.ask(question, answers, lambda _: do(screen, "", lambda s: s.again(card.id)))


def note(screen: StepScreen) -> None:
    """Write a note; who watches may, too."""
    lines = [line(" ", ("A note for the incident's journal:", "heading"))]
    ask(
        screen,
        lines,
        lambda text: do(
            screen, "", lambda session: session.note(text), lambda: screen.say("Noted.", "good")
        ),
        check=written,
    )


def output(screen: StepScreen) -> None:
    """Open the screen of the step's job."""
    seat, card = screen.seat, screen.card
    if seat is None or card is None:
        screen.say("Output: no step is shown", "warn")
        return

    def show(row: JobRow) -> None:
        screen.app.push_screen(StepJobScreen(row))

    screen.in_thread("job", lambda: seat.job(card.id), show)


def hand_over(screen: StepScreen) -> None:
    """Show the text that hands the incident over."""
    seat = screen.seat
    if seat is None:
        screen.say("Still reading the incident", "warn")
        return

    def show(text: str) -> None:
        screen.app.push_screen(ReportScreen(text))

    screen.in_thread("hand-over", seat.hand_over, show)


def runbook(screen: StepScreen) -> None:
    """Ask which runbook to go on with."""
    view = leading(screen)
    if view is None:
        return
    here = view.reading.runbook.id
    others = [name for name in view.runbooks if name != here]
    answers = [Choice(f"No, stay with {here}")]
    answers += [Choice(name, str(index)) for index, name in enumerate(others, 1)]
    question = [
        line(" ", ("Go on with another runbook?", "heading")),
        line(" ", ("Steps that are done in both stay done.", "muted")),
    ]

    def switch(index: int) -> None:
        name = others[index - 1]
        do(screen, "", lambda session: session.switch_runbook(name))

    screen.ask(question, answers, switch)


def damage_time(screen: StepScreen) -> None:
    """Correct when it was last right; what was measured by it is measured again."""
    view = leading(screen)
    if view is None:
        return
    now, zone = screen.site_app.now, screen.zone
    lines = [line(" ", ("When was it last right? (02:45, 20 m ago, unknown)", "heading"))]

    def take(text: str) -> None:
        def act(session: RecoverySession) -> None:
            session.set_damage_time(parse_last_right(text, session.desk.now(), zone))

        do(screen, "", act)

    screen.entry_step = ""
    screen.entry.ask(
        lines,
        take,
        check=lambda text: check_time(text, now(), zone),
        echo=lambda text: echo_time(text, now(), zone),
    )
    screen.paint_foot()


def prefer(screen: StepScreen, point: str) -> None:
    """Have a point offered first where one is chosen."""
    if leading(screen) is None:
        return
    words = f"{point} is offered first where the point is chosen."
    do(screen, "", lambda s: s.prefer_point(point), lambda: screen.say(words, "good"))
