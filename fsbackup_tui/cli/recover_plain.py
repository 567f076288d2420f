"""``recover --plain``: an incident led line by line, on any terminal or from a script."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fsbackup_tui.cli.output import Pasteable, wrap_problem
from fsbackup_tui.cli.prompts import Left, Prompts
from fsbackup_tui.cli.recover_words import (
    HELP,
    LABEL,
    WATCH_HELP,
    answer_value,
    card_lines,
    default_words,
    entry_line,
    farewell,
    header_lines,
    list_lines,
    progress_line,
    question_lines,
    require_choice,
    watch_words,
)
from fsbackup_tui.domain.errors import FsbackupError, Interrupted, Problem, UsageError

if TYPE_CHECKING:
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.recovery.flow import Placed
    from fsbackup_tui.recovery.question import Option, Question
    from fsbackup_tui.recovery.session import Reading, RecoverySession

_POLL_SECONDS = 0.1
_TELL_SECONDS = 5.0


class Plain:
    """One person at one incident; ``run`` returns when they leave or it is over."""

    def __init__(self, session: RecoverySession, prompts: Prompts, pasteable: Pasteable) -> None:
        self.session = session
        self.prompts = prompts
        self.pasteable = pasteable
        self.chosen = ""
        self._told_entries = 0
        self._asked_for_lead = ""
        self._look_failed = ""
        self._shown: tuple[object, ...] = ()
        self._told_of: tuple[str, ...] = ()
        prompts.idle = self.idle

    def run(self) -> None:
        """Go from step to step.

        Raises:
            Interrupted: off a terminal, by a signal.
        """
        try:
            while not self._turn():
                pass
        except Left as left:
            if left.number is not None and not self.prompts.is_tty:
                self._cancel_running()
                raise Interrupted("INTERRUPTED.", fix=self._back()) from left
        finally:
            self.session.leave()
        for text in farewell(self.session):
            self.say(text)

    def _turn(self) -> bool:
        """Put the next question and do what is answered; returns whether it is over."""
        self.session.poll()
        reading = self.session.read()
        try:
            if reading.incident.closed is not None:
                return True
            if not self.session.leads:
                return self._watch(reading)
            self._told_entries = reading.incident.entries
            placed = reading.flow.find(self.chosen) or reading.flow.current()
            if placed is None:
                return self._at_the_end(reading)
            if placed.state.status == "unknown":
                self._until_known(placed)
                return False
            return self._step(reading, placed)
        except FsbackupError as error:
            self.tell_problem(error.problem())
            return False

    def _step(self, reading: Reading, placed: Placed) -> bool:
        """Show a step and do with it what is answered."""
        card = self._card(placed)
        self.prompts.line()
        told = (card.id, card.status, card.trouble, card.question, card.can_run, card.stopped)
        if told == self._shown:
            # A screen reader need not read it all again after every command.
            self.say(f"{card.number} {card.title}  (p prints it again)")
        else:
            self._show(reading, card)
        self._shown = told
        line = self.prompts.ask(_prompt(card))
        if self._is_command(line, card):
            return self._command(line, placed)
        if line and card.question is None:
            raise UsageError(f"NOT UNDERSTOOD: {line}.", fix="? tells what there is.")
        if placed.is_behind:
            self.chosen = ""
            return False
        self._begin(placed, self.session.card(placed.step.id), line)
        return False

    def _show(self, reading: Reading, card: Card) -> None:
        for text in header_lines(reading):
            self.say(text)
        self.labelled(card_lines(card))
        self._told_of = card.shows
        if card.question is not None:
            self.labelled(question_lines(card.question))

    def show_again(self) -> None:
        """Have the step printed in full once more."""
        self._shown = ()

    def _card(self, placed: Placed) -> Card:
        """Return a step's card, with a fresh look at the target where it changes something."""
        card = self.session.card(placed.step.id)
        if card.needs_look and self._look_failed != card.id:
            self._look_failed = "" if self.look() else card.id
            card = self.session.card(placed.step.id)
        return card

    def look(self) -> bool:
        """Look at the target; returns whether it was seen, and tells why where it was not."""
        self.say(self._looking())
        self.session.look_now()
        self.wait(lambda: self.session.look.is_under_way)
        problem = self.session.look.problem
        if problem is not None:
            self.tell_problem(problem)
        return problem is None

    def _begin(self, placed: Placed, card: Card, line: str) -> None:
        from fsbackup_tui.recovery.question import Answer

        value = reason = typed = ""
        if not card.can_run:
            raise UsageError(
                f"NOT NOW: {card.number} {card.title} is {card.status}.",
                why=f"It waits for {', '.join(card.waits)}." if card.waits else "",
                fix="l lists all steps; s skips this one.",
            )
        if card.question is not None:
            require_choice(card.question, line)
            value = answer_value(card.question, line.removeprefix("="))
            reason = self._reason(card.question, value)
        if card.needs_look and not self.look():
            return
        card = self.session.card(placed.step.id)
        if card.stopped and not self._accept(card):
            return
        if card.typed:
            typed = self.typed_name(card, card.typed, "do it")
            if not typed:
                return
        self.session.begin(card.id, Answer(value, reason, typed))
        self.follow(card.id)
        self.chosen = ""

    def _reason(self, question: Question, value: str) -> str:
        keys = [key.strip() for key in (value or question.default).split(",")]
        options: list[Option | None] = [question.option(key) for key in keys]
        doubts = [option.doubt for option in options if option is not None and option.doubt]
        if not doubts:
            return ""
        self.say(f"It is in doubt: {'; '.join(doubts)}.")
        return self.prompts.ask("Why this one all the same? (a few words; Enter goes back):")

    def _accept(self, card: Card) -> bool:
        self.say(card.stopped_head)
        for text in card.stopped.splitlines():
            self.say(text, first="  ")
        typed = self.prompts.ask_fresh(
            f"New {self._thing()} on purpose? Type {card.target_word}"
            " (Enter goes back, nothing done):"
        )
        if not typed:
            return False
        self.session.accept_target(typed)
        return True

    def _thing(self) -> str:
        return "server" if self.session.read().facts.kind == "postgres" else "place"

    def _looking(self) -> str:
        return f"Looking at the {self._thing()} …"

    def typed_name(self, card: Card, name: str, what: str) -> str:
        """Return the name, typed on a question of its own; empty where it was not."""
        watchers = self.session.watchers
        if watchers:
            go = self.session.read().incident.go.get(card.id)
            self.say(
                f"{', '.join(watchers)} watches"
                + (f"; {go} says go." if go else "; ask for a go (they type: go).")
            )
        typed = self.prompts.ask_fresh(f"Type the name {name} to {what} (Enter: nothing is done):")
        if typed == name:
            return typed
        self.say(f"NOT CONFIRMED: {name} was not typed. Nothing was done.")
        return ""

    def follow(self, step: str) -> None:
        """Wait for the step's job, and tell how it ended."""
        self.wait(self._is_busy)
        self._tell_end(step)

    def _tell_end(self, step: str) -> None:
        from fsbackup_tui.recovery.driving import last_problem

        placed = self.session.read().flow.find(step)
        if placed is None or not self.session.leads:
            return
        state = placed.state
        if state.status == "done":
            took = ""
            if state.seconds is not None and state.job:
                from fsbackup_tui.domain.text import duration_text

                took = f" in {duration_text(state.seconds)}"
            self.say(f"{placed.number} {placed.step.title}: done{took}.")
            if state.job:
                self._tell_found(step)
        elif state.status == "undone":
            self.say(f"{placed.number} {placed.step.title}: taken back.")
            self._tell_found(step)
        elif (problem := last_problem(self.session.journal, step)) is not None:
            self.tell_problem(problem)

    def _is_busy(self) -> bool:
        """Whether a job or a look goes on, or a look is due that tells how a job ended."""
        look = self.session.look
        due = look.is_wanted and look.problem is None
        return self.session.watch is not None or look.is_under_way or due

    def _tell_found(self, step: str) -> None:
        """Tell what a step shows now, where that is not what was told before it ran."""
        shows = self.session.card(step).shows
        if shows != self._told_of:
            self.labelled(("Shows", text) for text in shows)

    def wait(self, goes_on: Callable[[], bool]) -> None:
        """Wait while a job goes on, with a line every few seconds; ctrl-c asks.

        What it warns of is told at once: a step that is done may not have done all of it.
        """
        told_at, told, warned = time.monotonic(), "", 0
        while True:
            watch = self.session.watch
            self.session.poll()
            if watch is not None and watch.feed.warning_count > warned:
                new = watch.feed.warning_count - warned
                self.labelled(("Note", line.text) for line in list(watch.feed.warnings)[-new:])
                warned += new
            if not goes_on():
                return
            number = self.prompts.interrupts.take()
            if number is not None:
                self._interrupted(number)
            self.idle()
            feed = self.session.feed
            if feed is not None and time.monotonic() - told_at >= _TELL_SECONDS:
                line = progress_line(feed, self.session.desk.now())
                if line != told:
                    self.prompts.line(line)
                    self.prompts.out.flush()
                told_at, told = time.monotonic(), line
            time.sleep(_POLL_SECONDS)

    def _interrupted(self, number: signal.Signals) -> None:
        if number is not signal.SIGINT or not self.prompts.is_tty or self.session.watch is None:
            raise Left(number)
        job = self.session.watch.job
        self.say(f"{job.id} runs in its own process.")
        answer = self.prompts.ask("Leave it running (Enter), or cancel it (c, Enter)?")
        if answer.lower() not in ("c", "cancel"):
            raise Left
        self._cancel_running()
        self.say("Cancelling; waiting until it has cleaned up.")

    def _cancel_running(self) -> None:
        from fsbackup_tui.jobs.supervisor import cancel_job

        watch = self.session.watch
        if watch is None or not self.session.leads:
            return
        try:
            cancel_job(watch.job, operator=self.session.desk.author.operator)
        except UsageError:
            return  # it has ended this very moment

    def _until_known(self, placed: Placed) -> None:
        """Follow the step that is under way; where nobody does it, find out how it ended."""
        if self.session.watch is not None:
            self.say(f"{placed.number} {placed.step.title} is under way.")
            self.follow(placed.step.id)
            return
        self.say(f"Nobody saw how {placed.number} {placed.step.title} ended. {self._looking()}")
        try:
            self.session.settle(placed.step.id)
        except UsageError as question:
            self.tell_problem(question.problem())
            answer = self.prompts.ask("Did it happen? yes or no:").lower()
            if answer in ("yes", "y", "no", "n"):
                self.session.settle(placed.step.id, answer in ("yes", "y"))
            return
        self.follow(placed.step.id)
        problem = self.session.look.problem
        if problem is not None:
            self.tell_problem(problem)
            line = self.prompts.ask("Enter looks again; q leaves:")
            if line:
                self._command(line, placed)
            self.session.look.problem = None
            return
        self._tell_end(placed.step.id)

    def _at_the_end(self, reading: Reading) -> bool:
        self.prompts.line()
        for text in header_lines(reading):
            self.say(text)
        self.say("All steps are done.")
        self.say(watch_words(reading, self.session.desk.loaded.config.recovery.watch))
        line = self.prompts.ask("Close the incident? Type c, or c and a few words (q leaves):")
        return self._command(line, None) if line else False

    def _is_command(self, line: str, card: Card) -> bool:
        head = line.partition(" ")[0]
        if card.question is not None and not card.question.options and line.startswith("="):
            return False
        return head in _COMMANDS or self.placed_at(head) is not None

    def placed_at(self, number: str) -> Placed | None:
        """Return the step of that number, like 4.2."""
        steps = self.session.read().flow.steps
        return next((each for each in steps if each.number == number), None)

    def _command(self, line: str, placed: Placed | None) -> bool:
        from fsbackup_tui.cli import recover_commands

        head, _, rest = line.partition(" ")
        wanted = self.placed_at(head)
        if wanted is not None:
            self.chosen = wanted.step.id
            return False
        if head == "q":
            raise Left
        if head in ("?", "help"):
            for text in (HELP if self.session.leads else WATCH_HELP).splitlines():
                self.prompts.line(text)
            return False
        do = recover_commands.COMMANDS.get(head)
        if do is None:
            raise UsageError(f"NOT UNDERSTOOD: {line}.", fix="? tells what there is.")
        do(self, rest.strip(), placed)
        return self.session.read().incident.closed is not None

    def _watch(self, reading: Reading) -> bool:
        leader = reading.incident.leader
        who = f"{leader.operator} on {leader.host}" if leader is not None else "nobody"
        self.prompts.line()
        for text in header_lines(reading):
            self.say(text)
        self.say(f"You watch: {who} leads. What they do is shown here.")
        self.idle()
        line = self.prompts.ask("watching (T asks for the lead, ? more, q leaves):")
        if not line:
            return False
        if line.partition(" ")[0] not in _WATCHING:
            raise UsageError(f"YOU WATCH: only {who} can act.", fix="T asks for the lead.")
        return self._command(line, None)

    def idle(self) -> bool:
        """Tell what others did meanwhile; returns whether anything was told."""
        self.session.poll()
        reading = self.session.read()
        told = False
        if self.session.leads:
            asked = reading.incident.take_over
            who = f"{asked.operator} on {asked.host}" if asked and not asked.refused else ""
            if who and who != self._asked_for_lead:
                self.prompts.line()
                self.say(f"{who} asks for the lead, and gets it in 20 s.")
                self.say("Type: no, and why, to keep it.")
                told = True
            self._asked_for_lead = who
            return told
        for entry in self.session.journal.entries()[self._told_entries :]:
            self.prompts.line(entry_line(reading, entry))
            told = True
        self._told_entries = reading.incident.entries
        self.prompts.out.flush()
        return told

    def show_list(self) -> None:
        """Print all steps."""
        for text in list_lines(self.session.read()):
            self.prompts.line(text)

    def labelled(self, lines: Iterable[tuple[str, str]]) -> None:
        """Print lines under their labels; a label that repeats is said once."""
        before = None
        for label, text in lines:
            if not text:
                continue
            shown = "" if label == before else label
            before = label
            self.say(text, first=f"{shown:<{LABEL}}" if label else "", later=" " * LABEL)

    def say(self, text: str, *, first: str = "", later: str | None = None) -> None:
        """Print a sentence, its commands as they can be pasted."""
        self.prompts.say(self.pasteable.text(text), first=first, later=later)

    def tell_problem(self, problem: Problem) -> None:
        """Print what failed, why, and what to do."""
        self.prompts.out.write(wrap_problem(self.pasteable.problem(problem)) + "\n")
        self.prompts.out.flush()

    def _back(self) -> str:
        return f"fsbackup recover --resume {self.session.journal.id}"


_COMMANDS = frozenset(
    {"s", "u", "a", "l", "n", "t", "w", "h", "r", "T", "no", "c", "q", "?", "help", "go", "p"}
)
_WATCHING = frozenset({"l", "n", "h", "r", "T", "q", "?", "help", "go"})


def _prompt(card: Card) -> str:
    if not card.can_run and not card.can_skip:
        undo = f", u {card.number} takes it back" if card.can_undo else ""
        return f"It is {card.status}. Enter goes on, a does it again{undo}, l lists all:"
    if not card.can_run:
        return "It can't run now. s skips it, l lists all, q leaves:"
    if card.question is not None:
        default = default_words(card.question)
        what = "Number" if card.question.options else "Answer"
        if card.question.options and card.question.several:
            what = "Numbers, commas between them"
        return f"{what} (Enter: {default}):" if default else f"{what}:"
    if card.by_hand:
        return "Enter when it is done (s skips it, ? more):"
    if card.typed:
        return f"Enter, then the name {card.typed} (s skips it, ? more):"
    return "Enter runs it (s skips it, ? more):"
