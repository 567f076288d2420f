"""A question at the bottom of the screen; the harmless answer comes first and is marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from fsbackup_tui.tui.keys import bindings
from fsbackup_tui.tui.lines import Line, folded, line
from fsbackup_tui.tui.widgets.line_widget import LineWidget

# A key that was meant for the screen behind, or the rest of a paste, must not answer.
GUARD_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its words, the key that gives it at once, and a remark behind it."""

    words: str
    key: str = ""
    remark: str = ""


class ChoicePanel(LineWidget, can_focus=True, inherit_bindings=False):
    """Asks one question at a time; answer 0 means that nothing is done."""

    DEFAULT_CSS = """
    ChoicePanel { display: none; height: auto; }
    ChoicePanel.-open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("choice")

    class Closed(Message):
        """The question is gone, answered or not."""

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(over="bar", id=id)
        self._clock = clock
        self._question: tuple[Line, ...] = ()
        self._answers: Sequence[Answer] = ()
        self._marked = 0
        self._said = ""
        self._opened_at = 0.0
        self._then: Callable[[int], None] | None = None

    @property
    def open(self) -> bool:
        """Whether a question is on screen."""
        return self._then is not None

    @property
    def marked(self) -> int:
        """The index of the marked answer."""
        return self._marked

    @property
    def ready(self) -> bool:
        """Whether the question has been on screen long enough to be answered with yes."""
        return self._clock() - self._opened_at >= GUARD_SECONDS

    def ask(
        self, question: Sequence[Line], answers: Sequence[Answer], then: Callable[[int], None]
    ) -> None:
        """Put a question; ``then`` gets the index of an answer other than the first."""
        self._question = tuple(question)
        self._answers = answers
        self._marked = 0
        self._then = then
        self._said = ""
        self._opened_at = self._clock()
        self._paint()
        self.add_class("-open")
        self.refresh(layout=True)
        self.focus(scroll_visible=False)

    def close(self) -> None:
        """Take the question away; nothing is done."""
        if self._then is None:
            return
        self._then = None
        self.remove_class("-open")
        self.post_message(self.Closed())

    def _paint(self) -> None:
        width = self.screen.size.width
        rows = [row for each in self._question for row in folded(each, width)]
        for index, answer in enumerate(self._answers):
            here = index == self._marked
            key = f"  ({answer.key})" if answer.key else ""
            rows.append(
                line(
                    (" > " if here else "   ", "key"),
                    (answer.words, "heading" if here else "text"),
                    (key, "muted"),
                    (f"  {answer.remark}" if answer.remark else "", "muted"),
                )
            )
        if self._said:
            rows.append(line("   ", (self._said, "warn")))
        if len(rows) != len(self.shown):
            self.refresh(layout=True)
        self.show(*rows)

    def on_resize(self) -> None:
        """Paint in the new width."""
        if self.open:
            self._paint()

    def _give(self, index: int) -> None:
        then = self._then
        if index == 0:
            self.close()
        elif then is not None and self.ready:
            self.close()
            then(index)
        elif then is not None:
            self._said = "That came too soon after the question. A moment, then once more."
            self._paint()

    def on_key(self, event: events.Key) -> None:
        """Take the key of an answer; no other key reaches the screen behind."""
        if not self.open or event.key in {"escape", "n", "q"}:
            event.stop()
            event.prevent_default()
            self.close()
            return
        for index, answer in enumerate(self._answers):
            if answer.key and event.character == answer.key:
                event.stop()
                event.prevent_default()
                self._give(index)
                return
        active = self.screen.active_bindings.get(event.key)
        if active is None or active.node is not self:
            event.stop()
            event.prevent_default()

    def on_blur(self) -> None:
        """A question that lost the keyboard is withdrawn."""
        self.close()

    def action_move(self, rows: int) -> None:
        """Mark another answer."""
        self._said = ""
        self._marked = max(0, min(self._marked + rows, len(self._answers) - 1))
        self._paint()

    def action_take(self) -> None:
        """Give the marked answer."""
        self._give(self._marked)
