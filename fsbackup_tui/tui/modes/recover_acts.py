"""What the keys of an incident do. What can hurt asks for the typed name; nothing else does it.

Every function takes the step's screen. They decide nothing: the seat's session refuses what may
not be, and its words are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import PassphraseNeeded
from fsbackup_tui.tui.keys import Shown
from fsbackup_tui.tui.lines import Line, Role, line
from fsbackup_tui.tui.modes.recover_card import DIGITS
from fsbackup_tui.tui.passphrase import ask_passphrase
from fsbackup_tui.tui.widgets.choice import Answer as Choice
from fsbackup_tui.tui.widgets.entry import QUIET_SECONDS, Check

if TYPE_CHECKING:
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.recovery.question import Option, Question
    from fsbackup_tui.recovery.session import RecoverySession
    from fsbackup_tui.tui.modes.recover_step import StepScreen
    from fsbackup_tui.tui.recover_data import View

LOOKING = "Looking at the "
Act = Callable[["RecoverySession"], None]


def do(screen: StepScreen, words: str, act: Act, then: Callable[[], None] | None = None) -> None:
    """Let the session do something beside the screen, and show what came of it.

    Where a passphrase is needed it is asked for, and then it is done.
    """
    seat = screen.seat
    if seat is None:
        screen.say("Still reading the incident", "warn")
        return
    if words:
        screen.say(words)

    def work() -> PassphraseNeeded | None:
        try:
            seat.act(act)
        except PassphraseNeeded as needed:
            return needed
        finally:
            # Whatever came of it, what is shown now may be another.
            screen.call_later(screen.look)
        return None

    def done(needed: PassphraseNeeded | None) -> None:
        if needed is not None:
            ask_passphrase(screen, needed, lambda: do(screen, words, act, then))
            return
        screen.say("")
        if then is not None:
            then()

    if not screen.in_thread("act", work, done):
        screen.say("One thing at a time: the last is not done yet", "warn")


def looking(view: View) -> str:
    """Return that it is looked at what would be hurt: a server, or a place on the disk."""
    return f"{LOOKING}{target_thing(view)}…"


def target_thing(view: View) -> str:
    """Return what a step changes: ``server``, or ``place`` where it is about files."""
    return "server" if view.reading.facts.kind == "postgres" else "place"


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
            screen.say(looking(view))
        else:
            do(screen, looking(view), lambda session: session.look_now())
    elif card.stopped:
        _accept_target(screen, view, card)
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
    """Mark an answer of the open question, or let the digits stand for the next ones (0).

    False where no question is open.
    """
    card = screen.card
    if card is None or card.question is None or not card.question.options:
        return False
    if leading(screen) is None:
        return True
    options = card.question.options
    if number == 0 and len(options) <= DIGITS:
        return False
    if number == 0:
        following = screen.first_digit + DIGITS
        screen.first_digit = following if following < len(options) else 0
        screen.reveals = screen.first_digit
        screen.paint_card()
        return True
    place = screen.first_digit + number - 1
    if place >= len(options):
        screen.say(f"There are {len(options)} answers", "warn")
        return True
    option = options[place]
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
    screen.reveals = place
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


def offer(screen: StepScreen) -> bool:
    """Open the field of a question that wants text, if there is one; whether there is."""
    view, card = screen.view, screen.card
    if view is None or card is None or not view.leads or card.needs_look or card.stopped:
        return False
    question = card.question
    if question is None or question.options or question.several:
        return False
    _ask_text(screen, card, question, by_itself=True)
    return True


def _ask_text(
    screen: StepScreen, card: Card, question: Question, *, by_itself: bool = False
) -> None:
    default = f"Enter alone: {question.default}." if question.default else ""
    lines = [line(" ", (question.text, "heading"))]
    if question.hint or default:
        lines.append(line(" ", (f"{default} {question.hint}".strip(), "muted")))
    empty = "" if question.default or question.may_be_empty else "Nothing was written. Esc: back"
    ask(
        screen,
        lines,
        lambda text: begin(screen, card.id, text, "", ""),
        step=card.id,
        check=lambda text: "" if text.strip() else empty,
        by_itself=by_itself,
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
        check=written,
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
        check=named(name),
        careful=True,
    )


def _accept_target(screen: StepScreen, view: View, card: Card) -> None:
    word = card.target_word
    lines = [
        *(line(" ", (text, "bad")) for text in card.stopped.splitlines()[:3]),
        line(
            " ",
            (f"New {target_thing(view)} on purpose? Type {word}.", "heading"),
            "  Esc: nothing is done",
        ),
    ]
    ask(
        screen,
        lines,
        lambda text: do(screen, "", lambda session: session.accept_target(text)),
        step=card.id,
        check=named(word),
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
    by_itself: bool = False,
) -> None:
    """Ask for a line of text; withdrawn where ``step`` is not what is shown any more."""
    screen.entry_step = step
    screen.entry.ask(question, then, check=check, careful=careful, by_itself=by_itself)
    screen.paint_foot()


def written(text: str) -> str:
    """Return why an empty text is no reason; empty where something was written."""
    return "" if text.strip() else "A few words are needed. Esc: back"


def named(name: str) -> Check:
    """Return the check that takes this name alone, in full."""
    return lambda text: "" if text == name else f"That is not {name}. Nothing was done."


# Copying.


def copied(screen: StepScreen) -> str:
    """Return what ``y`` copies: the message to send, or the commands."""
    card = screen.card
    if card is None:
        return ""
    return "\n".join(card.shows if _is_message(card) else card.runs)


def _is_message(card: Card) -> bool:
    return bool(card.shows) and card.id.startswith("tell-")
