"""What the letters of the plain walkthrough do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import UsageError

if TYPE_CHECKING:
    from fsbackup_tui.cli.recover_plain import Plain
    from fsbackup_tui.recovery.flow import Placed

_POLL_SECONDS = 0.2


def _which(plain: Plain, text: str, otherwise: Placed | None) -> Placed:
    """Return the step that a number names, else the one at hand."""
    found = plain.placed_at(text) if text else otherwise
    if found is None:
        raise UsageError(
            f"WHICH STEP? {text}." if text else "WHICH STEP?", fix="Name its number, like 4.2."
        )
    return found


def _skip(plain: Plain, rest: str, placed: Placed | None) -> None:
    number, _, why = rest.partition(" ")
    named = plain.placed_at(number)
    step = named or _which(plain, "", placed)
    why = why if named is not None else rest
    if not why:
        guard = "It is a guard. " if step.step.guard else ""
        why = plain.prompts.ask(f"{guard}Why is {step.number} left out? (Enter goes back):")
    if why:
        plain.session.skip(step.step.id, why)
        plain.chosen = ""


def _undo(plain: Plain, rest: str, _: Placed | None) -> None:
    from fsbackup_tui.recovery.question import Answer

    session = plain.session
    done = [placed for placed in session.read().flow.steps if session.card(placed.step.id).can_undo]
    last = max(done, key=lambda placed: placed.state.at, default=None)
    placed = _which(plain, rest, last)
    if not plain.look():
        return
    card = session.card(placed.step.id)
    plain.say(f"Takes back {card.number} {card.title}: {card.undo}")
    if placed.step.id in ("swap", "files-exchange"):
        tell_written(plain)
    plain.labelled(("Target", text) for text in card.target)
    typed = ""
    if card.undo_typed:
        typed = plain.typed_name(card, card.undo_typed, "take it back")
        if not typed:
            return
    elif plain.prompts.ask("Type u to take it back (Enter: nothing is done):") != "u":
        return
    session.undo(placed.step.id, Answer(typed=typed))
    plain.follow(placed.step.id)


def tell_written(plain: Plain) -> None:
    """Count what was written since the swap, and tell it."""
    from fsbackup_tui.recovery.actions.site_words import files_written_lines
    from fsbackup_tui.recovery.actions.words import written_lines

    plain.say("Counting what was written since …")
    plain.session.count_written()
    plain.wait(lambda: plain.session.count.is_under_way)
    problem = plain.session.count.problem
    if problem is not None:
        plain.tell_problem(problem)
        return
    facts = plain.session.read().facts
    lines = written_lines(facts.written)
    if facts.exchanged is not None:
        lines = files_written_lines(facts.written_files)
    for text in lines:
        plain.say(text)


def _again(plain: Plain, rest: str, placed: Placed | None) -> None:
    step = _which(plain, rest, placed)
    plain.session.again(step.step.id)
    plain.chosen = step.step.id


def _list(plain: Plain, _: str, _placed: Placed | None) -> None:
    plain.show_list()


def _print_again(plain: Plain, _: str, _placed: Placed | None) -> None:
    plain.show_again()


def _note(plain: Plain, rest: str, _: Placed | None) -> None:
    text = rest or plain.prompts.ask("Note:")
    if text:
        plain.session.note(text)
        plain.say("Noted.")


def _damage_time(plain: Plain, rest: str, _: Placed | None) -> None:
    from fsbackup_tui.domain.last_right import echo_last_right, parse_last_right

    desk = plain.session.desk
    text = rest or plain.prompts.ask("When was it last right? (Enter goes back):")
    if text:
        moment = parse_last_right(text, desk.now(), desk.zone)
        plain.session.set_damage_time(moment)
        plain.say(echo_last_right(moment, desk.now(), desk.zone))


def _runbook(plain: Plain, rest: str, _: Placed | None) -> None:
    from fsbackup_tui.recovery.library import find_runbook, runbooks_about

    loaded = plain.session.desk.loaded
    names = runbooks_about(plain.session.read().facts.kind, loaded)
    if not rest:
        for number, name in enumerate(names, 1):
            runbook = find_runbook(name, loaded)
            plain.say(f"{name}: {runbook.title}. {runbook.summary}", first=f"{number}  ")
        rest = plain.prompts.ask("Which runbook? Done steps stay done (Enter goes back):")
    if rest.isdigit() and 1 <= int(rest) <= len(names):
        rest = names[int(rest) - 1]
    if rest:
        plain.session.switch_runbook(rest)
        plain.chosen = ""


def _hand_over(plain: Plain, _: str, _placed: Placed | None) -> None:
    from fsbackup_tui.recovery.report import handover_text

    for text in handover_text(plain.session.read()).splitlines():
        plain.prompts.line(text)


def _report(plain: Plain, _: str, _placed: Placed | None) -> None:
    from fsbackup_tui.recovery.report import report_markdown
    from fsbackup_tui.repository.files import replace_file

    journal = plain.session.journal
    text = report_markdown(plain.session.read(), journal.entries())
    path = journal.directory / "report.md"
    replace_file(path, text.encode(errors="backslashreplace"))
    plain.say("The report is in:")
    plain.prompts.line(f"  {path}")


def _take_over(plain: Plain, rest: str, _: Placed | None) -> None:
    session = plain.session
    if session.leads:
        plain.say("You lead already.")
        return
    if not session.may_take_over():
        session.ask_take_over()
        plain.say("Asked. They have 20 s to keep it; ctrl-c stops the waiting.")
        _wait_for_lead(plain)
    session.take_over(rest)
    plain.say("You lead now.")


def _wait_for_lead(plain: Plain) -> None:
    session = plain.session
    while not session.may_take_over():
        asked = session.read().incident.take_over
        if asked is None or asked.refused or plain.prompts.interrupts.take() is not None:
            return
        plain.idle()
        time.sleep(_POLL_SECONDS)


def _keep(plain: Plain, rest: str, _: Placed | None) -> None:
    plain.session.refuse_take_over(rest)
    plain.say("You keep the lead.")


def _go(plain: Plain, rest: str, _: Placed | None) -> None:
    step = _which(plain, rest, plain.session.read().flow.current())
    plain.session.say_go(step.step.id)
    plain.say(f"You said go for {step.number} {step.step.title}.")


def _close(plain: Plain, rest: str, _: Placed | None) -> None:
    why = rest or plain.prompts.ask("Why is it over? (a few words; Enter goes back):")
    if why:
        plain.session.close(why)


COMMANDS: Mapping[str, Callable[[Plain, str, Placed | None], None]] = {
    "s": _skip,
    "u": _undo,
    "a": _again,
    "l": _list,
    "p": _print_again,
    "n": _note,
    "t": _damage_time,
    "w": _runbook,
    "h": _hand_over,
    "r": _report,
    "T": _take_over,
    "no": _keep,
    "go": _go,
    "c": _close,
}
