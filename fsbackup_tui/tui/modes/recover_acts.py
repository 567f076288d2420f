"""What the keys of an incident do. What can hurt asks for the typed name; nothing else does it.

Every function takes the step's screen. They decide nothing: the seat's session refuses what may
not be, and its words are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.tui.data import JobRow
from fsbackup_tui.tui.keys import Shown
from fsbackup_tui.tui.lines import Line, Role, line
from fsbackup_tui.tui.modes.job import JobScreen
from fsbackup_tui.tui.modes.recover_texts import ReportScreen
from fsbackup_tui.tui.widgets.choice import Answer as Choice
from fsbackup_tui.tui.widgets.entry import QUIET_SECONDS, Check

if TYPE_CHECKING:
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.recovery.question import Option, Question
    from fsbackup_tui.recovery.session import RecoverySession
    from fsbackup_tui.tui.modes.recover_step import StepScreen
    from fsbackup_tui.tui.recover_data import Seat, View

Act = Callable[["RecoverySession"], None]


class StepJobScreen(JobScreen):
    """A step's job; its mode is Recover."""

    MODE = "recover"


def do(screen: StepScreen, words: str, act: Act, then: Callable[[], None] | None = None) -> None:
    """Let the session do something beside the screen, and show what came of it."""
    seat = screen.seat
    if seat is None:
        screen.say("Still reading the incident", "warn")
        return
    if words:
        screen.say(words)

    def work() -> None:
        try:
            seat.act(act)
        finally:
            # Whatever came of it, what is shown now may be another.
            screen.call_later(screen.look)

    def done(_: None) -> None:
        screen.say("")
        if then is not None:
            then()

    if not screen.in_thread("act", work, done):
        screen.say("One thing at a time: the last is not done yet", "warn")


def leading(screen: StepScreen) -> View | None:
    """Return the view where one leads; else say why the key does nothing."""
    view = screen.view
    if view is None:
        screen.say("Still reading the incident", "warn")
    elif not view.leads:
        screen.say(f"You watch: {view.leader} leads; T asks for the lead", "warn")
    else:
        return view
    return None


def keys_now(screen: StepScreen, enter: str) -> Sequence[Shown]:
    """Return the keys at the bottom that do something now."""
    view = screen.view
    if view is None:
        return ("back",)
    card = view.card
    if not view.leads:
        go: tuple[Shown, ...] = ("go",) if card is not None and card.typed else ()
        return ("take-over", *go, "step-list", "step-note", "hand-over")
    if card is None:
        return ("close", "step-list", "step-note", "hand-over")
    shown: list[Shown] = []
    word = _enter_word(view, card)
    if word:
        shown.append((enter, word))
    shown.append("step-list")
    asked = view.reading.incident.take_over
    if asked is not None and not asked.refused:
        shown.insert(0, "refuse")
    shown += ["step-copy"] if _is_message(card) else []
    shown += ["step-skip"] if card.can_skip else []
    shown += ["step-undo"] if card.can_undo else []
    shown += ["step-again"] if card.can_open_again else []
    shown.append("step-note")
    state = view.reading.incident.steps.get(card.id)
    shown += ["step-output"] if state is not None and state.job else []
    return (*shown, "hand-over")


def _enter_word(view: View, card: Card) -> str:
    if card.stopped and card.can_run:
        return "accept…"
    if view.unsure is not None and card.status == "under way":
        return "settle…"
    if not card.can_run:
        return ""
    if card.needs_look:
        return "" if view.is_looking else "look"
    if card.question is not None:
        return "answer"
    if card.by_hand:
        return "done"
    if card.typed:
        return "run…"
    return "again" if card.status == "FAILED" else "run"


# Enter.


def run(screen: StepScreen) -> None:
    """Do what the step asks for next: look, answer, name the target, run."""
    view = leading(screen)
    if view is None:
        return
    card = view.card
    if screen.quiet < QUIET_SECONDS:
        screen.say("Enter came too soon after another key. A moment, then Enter again.", "warn")
        return
    if card is None:
        screen.say("All steps are behind: C closes the incident", "warn")
    elif view.unsure is not None and card.status == "under way":
        _settle(screen, view, card)
    elif not card.can_run:
        screen.say(*_why_not(view, card))
    elif card.needs_look:
        if view.is_looking:
            screen.say("Looking at the server first…")
        else:
            do(screen, "Looking at the server…", lambda session: session.look_now())
    elif card.stopped:
        _accept_target(screen, card)
    elif card.question is not None:
        _answer(screen, card, card.question)
    elif card.typed:
        _typed(screen, card)
    else:
        begin(screen, card.id, "", "", "")


def _why_not(view: View, card: Card) -> tuple[str, Role]:
    if card.waits:
        return f"NOT YET: first {card.waits[0]}", "warn"
    if card.status == "under way":
        return "It is under way; O shows all that it says", "accent"
    if card.status == "to do":
        return "It is not known yet whether this is needed; S goes past it", "warn"
    more = [word for can, word in ((card.can_open_again, "A opens it again"),) if can]
    more += ["U takes it back"] if card.can_undo else []
    return f"It is {card.status} already. {', '.join(more)}", "warn"


def begin(screen: StepScreen, step: str, value: str, reason: str, typed: str) -> None:
    """Begin a step, or give its answer."""

    def act(session: RecoverySession) -> None:
        from fsbackup_tui.recovery.question import Answer

        session.begin(step, Answer(value, reason, typed))

    do(screen, "Beginning…", act)


def digit(screen: StepScreen, number: int) -> bool:
    """Mark an answer of the open question; False where none is open."""
    card = screen.card
    if card is None or card.question is None or not card.question.options:
        return False
    if leading(screen) is None:
        return True
    options = card.question.options
    if number > len(options):
        screen.say(f"There are {len(options)} answers", "warn")
        return True
    option = options[number - 1]
    if option.impossible:
        screen.say(f"Not possible here: {option.impossible}", "warn")
        return True
    if not card.question.several:
        screen.chosen = (option.key,)
    elif option.key in screen.chosen:
        screen.chosen = tuple(key for key in screen.chosen if key != option.key)
    else:
        screen.chosen = tuple(
            each.key for each in options if each.key in (*screen.chosen, option.key)
        )
    screen.paint_card()
    return True


def _answer(screen: StepScreen, card: Card, question: Question) -> None:
    if not question.options and question.several:
        begin(screen, card.id, "", "", "")
        return
    if not question.options:
        _ask_text(screen, card, question)
        return
    if not screen.chosen and not question.may_be_empty:
        screen.say("Choose with a digit first", "warn")
        return
    chosen = [option for option in question.options if option.key in screen.chosen]
    value = ", ".join(option.key for option in chosen)
    doubtful = [option for option in chosen if option.doubt]
    if doubtful:
        _ask_reason(screen, card, value, doubtful)
    else:
        begin(screen, card.id, value, "", "")


def _ask_text(screen: StepScreen, card: Card, question: Question) -> None:
    default = f"  Enter alone: {question.default}" if question.default else ""
    lines = [line(" ", (question.text, "heading"))]
    if question.hint or default:
        lines.append(line(" ", (f"{question.hint}{default}", "muted")))
    empty = "" if question.default or question.may_be_empty else "Nothing was written. Esc: back"
    ask(
        screen,
        lines,
        lambda text: begin(screen, card.id, text, "", ""),
        step=card.id,
        check=lambda text: "" if text.strip() else empty,
    )


def _ask_reason(screen: StepScreen, card: Card, value: str, doubtful: Sequence[Option]) -> None:
    first = doubtful[0]
    lines = [
        line(" ", ("Why is it to be this one all the same?", "heading"), f"  {first.label}"),
        line(" ", (first.doubt, "warn")),
    ]
    ask(
        screen,
        lines,
        lambda reason: begin(screen, card.id, value, reason, ""),
        step=card.id,
        check=_written,
    )


def _typed(screen: StepScreen, card: Card) -> None:
    name = card.typed
    lines = [
        *(line(" ", (text, "text")) for text in card.target[:2]),
        line(" ", (f"Type {name} to run {card.number} {card.title}.", "heading"), "  Esc: back"),
    ]
    ask(
        screen,
        lines,
        lambda text: begin(screen, card.id, "", "", text),
        step=card.id,
        check=_named(name),
        careful=True,
    )


def _accept_target(screen: StepScreen, card: Card) -> None:
    word = card.target_word
    lines = [
        *(line(" ", (text, "bad")) for text in card.stopped.splitlines()[:3]),
        line(" ", (f"New server on purpose? Type {word}.", "heading"), "  Esc: nothing is done"),
    ]
    ask(
        screen,
        lines,
        lambda text: do(screen, "", lambda session: session.accept_target(text)),
        step=card.id,
        check=_named(word),
        careful=True,
    )


def _settle(screen: StepScreen, view: View, card: Card) -> None:
    why = view.unsure.why if view.unsure is not None else ""
    question = [
        line(" ", (f"Did {card.number} {card.title} happen?", "heading"), "  Nobody saw its end."),
        *(line(" ", (text, "muted")) for text in why.splitlines()[:3]),
    ]
    answers = [
        Choice("I don't know yet"),
        Choice("It did not happen", "x", "it is open again"),
        Choice("It happened", "h", "it is done"),
    ]

    def settle(index: int) -> None:
        do(screen, "", lambda session: session.settle(card.id, happened=index == 2))

    screen.ask(question, answers, settle)


# Text.


def ask(
    screen: StepScreen,
    question: Sequence[Line],
    then: Callable[[str], None],
    *,
    step: str = "",
    check: Check | None = None,
    careful: bool = False,
) -> None:
    """Ask for a line of text; withdrawn where ``step`` is not what is shown any more."""
    screen.entry_step = step
    screen.entry.ask(question, then, check=check, careful=careful)
    screen.paint_foot()


def _written(text: str) -> str:
    return "" if text.strip() else "A few words are needed. Esc: back"


def _named(name: str) -> Check:
    return lambda text: "" if text == name else f"That is not {name}. Nothing was done."


# Capitals.


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
        check=_written,
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
    if card.undo_needs_look:
        if looked:
            screen.say("Undo: the server could not be looked at. U tries again", "bad")
            return
        screen.wants_undo = True
        do(screen, "Looking at the server first…", lambda session: session.look_now())
        return

    def act(typed: str) -> None:
        def undone(session: RecoverySession) -> None:
            from fsbackup_tui.recovery.question import Answer

            session.undo(card.id, Answer(typed=typed))

        do(screen, "Taking it back…", undone)

    title = f"Take {card.number} {card.title} back?"
    what = line(" ", (f"{card.undo}" if card.undo else "", "text"))
    if card.undo_typed:
        name = card.undo_typed
        target = [line(" ", (text, "text")) for text in card.target[:2]]
        lines = [*target, line(" ", (f"{title} Type {name}.", "heading"), "  Esc: back"), what]
        ask(screen, lines, act, step=card.id, check=_named(name), careful=True)
        return
    answers = [Choice("No, leave it"), Choice("Yes, take it back", "y")]
    screen.ask([line(" ", (title, "heading")), what], answers, lambda _: act(""))


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
        check=_written,
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

    screen.in_thread("hand-over", lambda: _hand_over_text(seat), show)


def _hand_over_text(seat: Seat) -> str:
    from fsbackup_tui.repository.incidents import NOW

    path = seat.directory / NOW
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"NOT READ: {path}.", why=str(error)) from error


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
    from fsbackup_tui.tui.modes.recover_declare import check_time, echo_time

    now, zone = screen.site_app.now, screen.zone
    lines = [line(" ", ("When was it last right? (02:45, 20 m ago, unknown)", "heading"))]

    def take(text: str) -> None:
        def act(session: RecoverySession) -> None:
            from fsbackup_tui.domain.last_right import parse_last_right

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


def prefer(screen: StepScreen, point: str) -> None:
    """Have a point offered first where one is chosen."""
    if leading(screen) is None:
        return
    words = f"{point} is offered first where the point is chosen."
    do(screen, "", lambda s: s.prefer_point(point), lambda: screen.say(words, "good"))


def close(screen: StepScreen) -> None:
    """Close the incident, with a word on why."""
    view = leading(screen)
    if view is None:
        return
    open_steps = [placed for placed in view.reading.flow.steps if not placed.is_behind]
    lines = [line(" ", ("Close the incident? A word on how it ended:", "heading"))]
    if open_steps:
        words = f"{len(open_steps)} steps are not done, from {open_steps[0].number} on."
        lines.append(line(" ", (words, "warn")))
    ask(
        screen,
        lines,
        lambda text: do(screen, "Closing…", lambda session: session.close(text)),
        check=_written,
    )


def ended(screen: StepScreen, view: View) -> None:
    """Leave the screen of an incident that is over."""
    seat = screen.seats.pop(screen.incident, None)
    if seat is not None:
        screen.app.run_worker(seat.leave, thread=True, group="leave", exit_on_error=False)
    if screen.is_current:
        screen.app.pop_screen()
        screen.site_app.refresh_overview()


def copied(screen: StepScreen) -> str:
    """Return what ``y`` copies: the message to send, or the commands."""
    card = screen.card
    if card is None:
        return ""
    return "\n".join(card.shows if _is_message(card) else card.runs)


def _is_message(card: Card) -> bool:
    return bool(card.shows) and card.id.startswith("tell-")
