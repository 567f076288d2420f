"""Who leads: taking over, refusing, agreeing; and the end of the incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsbackup_tui.tui.lines import line
from fsbackup_tui.tui.modes.recover_acts import ask, do, leading, written
from fsbackup_tui.tui.widgets.choice import Answer as Choice

if TYPE_CHECKING:
    from fsbackup_tui.tui.modes.recover_step import StepScreen
    from fsbackup_tui.tui.recover_data import View


def take_over(screen: StepScreen) -> None:
    """Ask for the lead; take it where it is free."""
    view = screen.view
    if view is None or view.leads:
        screen.say("Take over: you lead already" if view else "Still reading the incident", "warn")
        return
    asked = view.reading.incident.take_over
    mine = asked is not None and asked.operator == view.me
    if mine and asked is not None and not asked.refused and not view.may_take:
        screen.say(f"{view.leader} was asked, and has 20 s to refuse", "warn")
        return
    if view.may_take:
        question = [
            line(" ", ("Take over the lead?", "heading"), f"  {view.leader} led until now."),
            line(" ", ("What the former leader asks for is refused from then on.", "muted")),
        ]
        answers = [Choice("No, go on watching"), Choice("Yes, take it over", "y")]
        screen.ask(question, answers, lambda _: do(screen, "", lambda s: s.take_over("by T")))
        return
    question = [line(" ", (f"Ask {view.leader} for the lead?", "heading"), "  20 s to refuse")]
    answers = [Choice("No, go on watching"), Choice("Yes, ask for it", "y")]
    screen.ask(question, answers, lambda _: do(screen, "", lambda s: s.ask_take_over()))


def refuse(screen: StepScreen) -> None:
    """Keep the lead, at once: there are 20 s only."""
    view = leading(screen)
    if view is None:
        return
    asked = view.reading.incident.take_over
    if asked is None or asked.refused:
        screen.say("Refuse: nobody asks for the lead", "warn")
        return
    do(screen, "", lambda session: session.refuse_take_over("not now"))


def say_go(screen: StepScreen) -> None:
    """Agree, watching, to a step that can hurt."""
    view, card = screen.view, screen.card
    if view is None or card is None:
        screen.say("Go: no step is shown", "warn")
    elif view.leads:
        screen.say("Go: it is said by who watches; you lead", "warn")
    elif not card.typed:
        screen.say("Go: nothing here can hurt", "warn")
    else:
        do(screen, "", lambda session: session.say_go(card.id))


def close(screen: StepScreen) -> None:
    """Close the incident, with a word on why."""
    view = leading(screen)
    if view is None:
        return
    from fsbackup_tui.recovery.report_follow import still_paused

    open_steps = [placed for placed in view.reading.flow.steps if not placed.is_behind]
    lines = [line(" ", ("Close the incident? A word on how it ended:", "heading"))]
    if open_steps:
        words = f"{len(open_steps)} steps are not done, from {open_steps[0].number} on."
        lines.append(line(" ", (words, "warn")))
    lines += [line(" ", (text, "warn")) for text in still_paused(view.reading)]
    ask(
        screen,
        lines,
        lambda text: do(screen, "Closing…", lambda session: session.close(text)),
        check=written,
    )


def ended(screen: StepScreen, view: View) -> None:
    """Leave the screen of an incident that is over."""
    seat = screen.seats.pop(screen.incident, None)
    if seat is not None:
        screen.app.run_worker(seat.leave, thread=True, group="leave", exit_on_error=False)
    if screen.is_current:
        screen.app.pop_screen()
        screen.site_app.refresh_overview()
