"""One line of text asked for at the bottom of the screen: a name, a reason, a time, a note."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual import events
from textual.message import Message

from fsbackup_tui.tui.lines import Line, Part, Role, clip_left, folded, line, printable
from fsbackup_tui.tui.widgets.line_widget import LineWidget

QUIET_SECONDS = 0.7
"""So long no key may have come before Enter counts, where something can be hurt."""

FRAME_ROWS = 8
"""So many lines a screen has around what it is about: at its top, and at its bottom."""

Check = Callable[[str], str]
Echo = Callable[[str], tuple[str, Role]]


class EntryPanel(LineWidget, can_focus=True, inherit_bindings=False):
    """Takes one line; no key reaches the screen behind it, and Esc withdraws it.

    Where something can be hurt it is ``careful``: nothing can be pasted, and Enter counts only
    after ``QUIET_SECONDS`` without a key. Where it opened by itself, a bare Enter that was meant
    for what was there before counts as little.
    """

    DEFAULT_CSS = """
    EntryPanel { display: none; height: auto; }
    EntryPanel.-open { display: block; }
    """

    class Closed(Message):
        """The question is gone, answered or not."""

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(over="bar", id=id)
        self._clock = clock
        self._question: tuple[Line, ...] = ()
        self._then: Callable[[str], None] | None = None
        self._check: Check | None = None
        self._echo: Echo | None = None
        self._careful = False
        self._by_itself = False
        self._text = ""
        self._place = 0
        self._said: tuple[str, Role] = ("", "warn")
        self._last_key = 0.0

    @property
    def open(self) -> bool:
        """Whether something is asked for."""
        return self._then is not None

    @property
    def text(self) -> str:
        """What was typed so far."""
        return self._text

    def ask(
        self,
        question: Sequence[Line],
        then: Callable[[str], None],
        *,
        check: Check | None = None,
        echo: Echo | None = None,
        careful: bool = False,
        by_itself: bool = False,
    ) -> None:
        """Ask; ``then`` gets the text once ``check`` says nothing against it.

        ``echo`` tells below the line how the text is understood as it stands.
        """
        self._question = tuple(question)
        self._then, self._check, self._echo = then, check, echo
        self._careful, self._by_itself = careful, by_itself
        self._text, self._place, self._said = "", 0, ("", "warn")
        self._last_key = self._clock()
        self.add_class("-open")
        self._paint()
        self.focus(scroll_visible=False)

    def close(self) -> None:
        """Take the question away; nothing is done."""
        if self._then is None:
            return
        self._then = None
        self._text = ""
        self.remove_class("-open")
        self.post_message(self.Closed())

    def withdraw(self) -> None:
        """Take the question away, as the person at the keys wants it."""
        self.close()

    def _paint(self) -> None:
        width = max(8, self.screen.size.width - 4)
        before = clip_left(printable(self._text[: self._place]), width - 1)
        behind = printable(self._text[self._place :])
        room = max(0, width - cell_len(before) - 1)
        typed: list[Part] = [(" > ", "key"), before, (behind[:1] or " ", "cursor")]
        typed.append(behind[1:room])
        told = self._said
        if not told[0] and self._echo is not None:
            told = self._echo(self._text)
        self._show_rows(line(*typed), told)

    def _show_rows(self, typed: Line, told: tuple[str, Role]) -> None:
        """Show the question, what was typed, and what is told of it, nothing of it cut off."""
        width = self.screen.size.width
        below = folded(line("   ", told), width) if told[0] or self._echo is not None else []
        asked = [row for each in self._question for row in folded(each, width)]
        # In a window of a few lines what was typed has to be on it, not all of the question.
        most = max(2, self.screen.size.height - FRAME_ROWS)
        rows = [*asked, typed, *below][-most:]
        if typed not in rows:
            rows = [typed, *below][:most]
        if len(rows) != len(self.shown):
            self.refresh(layout=True)
        self.show(*rows)

    def _say(self, text: str) -> None:
        self._said = (text, "warn")
        self._paint()

    def on_resize(self) -> None:
        """Paint in the new width."""
        if self.open:
            self._paint()

    def on_focus(self) -> None:
        """Begin anew with the time without keys: one may come from another window."""
        self._last_key = self._clock()

    def on_blur(self) -> None:
        """Withdraw a question that lost the keyboard, not one whose whole window did."""
        if self.app.app_focus:
            self.close()

    def on_paste(self, event: events.Paste) -> None:
        """Take what is pasted where that may be: its first line alone."""
        event.stop()
        event.prevent_default()
        if not self.open:
            return
        self._last_key = self._clock()
        if self._careful:
            self._say("Not pasted: this name has to be typed. Nothing was done.")
            return
        self._insert(event.text.splitlines()[0] if event.text else "")

    def on_key(self, event: events.Key) -> None:
        """Take a key: text, movement, Enter, Esc; no other key reaches the screen behind."""
        event.stop()
        event.prevent_default()
        quiet = self._clock() - self._last_key
        self._last_key = self._clock()
        if not self.open or event.key == "escape":
            self.withdraw()
        elif event.key == "enter":
            self._take(quiet)
        elif event.is_printable and event.character is not None:
            self._insert(event.character)
        else:
            self._edit(event.key)

    def _insert(self, text: str) -> None:
        self._said = ("", "warn")
        self._text = self._text[: self._place] + text + self._text[self._place :]
        self._place += len(text)
        self._paint()

    def _edit(self, key: str) -> None:
        text, place = self._text, self._place
        if key == "backspace" and place:
            text, place = text[: place - 1] + text[place:], place - 1
        elif key == "delete":
            text = text[:place] + text[place + 1 :]
        elif key == "ctrl+u":
            text, place = text[place:], 0
        elif key in ("left", "right"):
            place = max(0, min(len(text), place + (1 if key == "right" else -1)))
        elif key in ("home", "ctrl+a"):
            place = 0
        elif key in ("end", "ctrl+e"):
            place = len(text)
        self._text, self._place, self._said = text, place, ("", "warn")
        self._paint()

    def _take(self, quiet: float) -> None:
        then = self._then
        if self._careful and not self._text:
            self._say("Enter alone does nothing: the name has to be typed.")
            return
        bare = self._by_itself and not self._text
        if (self._careful or bare) and quiet < QUIET_SECONDS:
            self._say("Enter came too soon after another key. A moment, then Enter again.")
            return
        against = self._check(self._text) if self._check is not None else ""
        if against:
            self._say(against)
            return
        text = self._text
        self.close()
        if then is not None:
            then(text)
