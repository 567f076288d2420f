"""A passphrase asked for at the bottom of the screen; not even its length is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events

from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.tui.lines import Line, Role, line
from fsbackup_tui.tui.widgets.entry import QUIET_SECONDS, EntryPanel

_CHECKING = "checking it…"


class HiddenPanel(EntryPanel, inherit_bindings=False):
    """Takes a line that is not shown, and stays until it is accepted: no dots go over the line.

    What was typed leaves it as a ``Secret`` alone. While that is checked it takes no more.
    """

    class Closed(EntryPanel.Closed):
        """The question is gone, answered or not."""

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(clock, id=id)
        self.turn = 0
        self.escape = "back"
        self._take_typed: Callable[[Secret], None] | None = None
        self._given_up: Callable[[bool], None] | None = None
        self._is_checked = False
        self._seen: tuple[Secret, ...] = ()

    def on_paste(self, event: events.Paste) -> None:
        """Take the first line of what is pasted; none of it is told, should all this fail."""
        self._seen = (Secret(event.text), *map(Secret, event.text.splitlines()))
        super().on_paste(event)

    def secrets(self) -> Sequence[Secret]:
        """Return what an error that nobody foresaw might tell of what was typed here."""
        return (Secret(self._text), *self._seen)

    def ask_hidden(
        self,
        question: Sequence[Line],
        typed: Callable[[Secret], None],
        given_up: Callable[[bool], None],
        *,
        escape: str = "back",
    ) -> int:
        """Ask; ``typed`` gets each attempt, and calls ``refuse`` or ``accept`` in the end.

        ``escape`` is the word for what Esc does, at the bottom of the screen.
        ``given_up`` is called where it is closed without: with whether a person meant it to be.
        Returns the turn, which another question, or none, does not have.
        """
        self._take_typed, self._given_up, self._is_checked = typed, given_up, False
        self._seen = ()
        self.turn += 1
        self.escape = escape
        self.ask(question, lambda _: None, by_itself=True)
        return self.turn

    def is_asking(self, turn: int) -> bool:
        """Whether the question of that turn is still open."""
        return self.open and self.turn == turn

    def refuse(self, why: str) -> None:
        """Say why not, and let it be typed again."""
        self._is_checked = False
        self._say(why)

    def go_on(self, question: Sequence[Line]) -> None:
        """Ask for another line in its place."""
        self._question, self._is_checked, self._said = tuple(question), False, ("", "warn")
        self._paint()

    def accept(self) -> None:
        """Take the question away: what was typed is right."""
        self._given_up = None
        self.close()

    def close(self) -> None:
        """Take the question away; nothing is done."""
        self._leave(by_key=False)

    def withdraw(self) -> None:
        """Take the question away, as the person at the keys wants it."""
        self._leave(by_key=True)

    def _leave(self, *, by_key: bool) -> None:
        given_up, self._given_up = self._given_up, None
        super().close()
        if given_up is not None:
            given_up(by_key)

    def _paint(self) -> None:
        told: tuple[str, Role] = ("", "muted")
        if self._is_checked:
            told = (_CHECKING, "muted")
        elif self._text:
            told = (" something is typed; it is not shown", "muted")
        self._show_rows(line((" > ", "key"), (" ", "cursor"), told), self._said)

    def _insert(self, text: str) -> None:
        if not self._is_checked:
            super()._insert(text)

    def _edit(self, key: str) -> None:
        # One can't see where one is: what is typed is taken away from its end, or all of it.
        if key in ("backspace", "ctrl+u") and not self._is_checked:
            super()._edit(key)

    def _take(self, quiet: float) -> None:
        if self._is_checked or self._take_typed is None:
            return
        if not self._text:
            if quiet < QUIET_SECONDS:
                self._say("Enter came too soon after another key. A moment, then Enter again.")
            else:
                self.withdraw()
            return
        typed = Secret(self._text)
        self._seen = (typed, *self._seen)
        self._text, self._place, self._said = "", 0, ("", "warn")
        self._is_checked = True
        self._paint()
        self._take_typed(typed)
