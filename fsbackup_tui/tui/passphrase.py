"""Asking for the passphrase that a job needs, hidden; it is tried before the job is begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fsbackup_tui.domain.errors import PassphraseNeeded, Problem
from fsbackup_tui.domain.key_question import Verdict
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.tui.data import SiteData
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.lines import Line, line


def ask_passphrase(screen: FrameScreen, needed: PassphraseNeeded, go: Callable[[], None]) -> None:
    """Ask until it is right, then ``go``; where it is given up, nothing is started.

    A job that is of some use without it goes on without.
    """
    data = screen.site_app.data
    if data is not None:
        screen.say("")
        _Asking(screen, data, needed, go)


class _Asking:
    """One question, and what becomes of what is typed."""

    def __init__(
        self, screen: FrameScreen, data: SiteData, needed: PassphraseNeeded, go: Callable[[], None]
    ) -> None:
        self.screen, self.data, self.needed, self.go = screen, data, needed, go
        self.question = needed.question
        self.first: Secret | None = None
        self.panel = screen.hidden
        # Esc does not lead back where the job is of some use without it: then it begins.
        escape = "without it" if self.question.can_go_without else "back"
        self.turn = self.panel.ask_hidden(self._lines(), self._typed, self._given_up, escape=escape)
        screen.paint_foot()

    def _lines(self) -> Sequence[Line]:
        if self.first is not None:
            words = "Without it nobody reads what it encrypts. Esc: nothing is started"
            return [
                line(" ", ("It begins a new key. Once more, so that it is right:", "heading")),
                line(" ", (words, "muted")),
            ]
        without = "goes on without it" if self.question.can_go_without else "nothing is started"
        key = f"Key {self.question.key}. " if self.question.key else ""
        return [
            line(" ", (f"{self.question.words}:", "heading")),
            line(" ", (f"{key}Kept until you leave, in memory alone. Esc: {without}", "muted")),
        ]

    def _typed(self, typed: Secret) -> None:
        if self.first is not None:
            if typed == self.first:
                self._take(typed)
            else:
                self.first = None
                self.panel.go_on(self._lines())
                self.panel.refuse("Those two differ. Once more from the beginning.")
            return
        begun = self.screen.in_thread(
            "passphrase",
            lambda: self.data.check_passphrase(self.question, typed),
            lambda verdict: self._judged(typed, verdict),
            self._failed,
        )
        if not begun:
            self.panel.refuse("The last one is still being checked. A moment, then again.")

    def _judged(self, typed: Secret, verdict: Verdict) -> None:
        if not self.panel.is_asking(self.turn):
            return  # given up meanwhile
        if verdict == "right":
            self._take(typed)
        elif verdict == "new":
            self.first = typed
            self.panel.go_on(self._lines())
        else:
            self.panel.refuse(self.question.wrong)

    def _take(self, typed: Secret) -> None:
        self.data.keep_passphrase(self.question, typed)
        self.panel.accept()
        self.go()

    def _failed(self, problem: Problem) -> None:
        if self.panel.is_asking(self.turn):
            self.panel.accept()
        self.screen.say_problem(problem)

    def _given_up(self, by_key: bool) -> None:
        if by_key and self.question.can_go_without:
            self.data.keep_passphrase(self.question, None)
            self.go()
        else:
            self.screen.say_problem(self.needed.problem())
