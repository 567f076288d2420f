"""The palette of commands: everything the keys do, by name, and the themes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import KEYS, Context, Shown, bindings, shown_key
from fsbackup_tui.tui.lines import line, pad
from fsbackup_tui.tui.widgets.line_list import LineList, LineTexts

_UNLISTED = {"back", "palette", "interrupt"}


@dataclass(frozen=True, slots=True)
class Command:
    """One entry of the palette."""

    words: str
    key: str
    run: Callable[[], None]


class CommandsScreen(FrameScreen):
    """Type a part of a command's name, choose it, Enter does it."""

    DEFAULT_CSS = """
    CommandsScreen #command { height: 1; border: none; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("general")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("general",)
    # The field takes letters: "?" and "q" are text there.
    FOOT: ClassVar[tuple[Shown, ...]] = (("Enter", "do it"), ("Up Down", "choose"), "back")

    def __init__(self, commands: Sequence[Command]) -> None:
        super().__init__()
        self._commands = commands
        self._matching: Sequence[Command] = commands

    def body(self) -> Iterator[Widget]:
        """Compose the input and the list."""
        yield Input(placeholder="command or theme", id="command", compact=True)
        yield LineTexts(id="commands")

    def on_mount(self) -> None:
        """Show all commands."""
        self.query_one("#command", Input).cursor_blink = False
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the input."""
        self.query_one("#command", Input).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        self._paint()

    def _paint(self) -> None:
        listing = self.query_one("#commands", LineTexts)
        rows = [
            line(
                (" > " if index == listing.cursor else "   ", "key"),
                pad(command.words, 52),
                (command.key, "muted"),
            )
            for index, command in enumerate(self._matching)
        ]
        listing.show(rows or [line("   ", ("no command has this in its name", "warn"))])

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the commands that have every word typed."""
        words = event.value.lower().split()
        self._matching = [
            command for command in self._commands if all(w in command.words.lower() for w in words)
        ]
        self.query_one("#commands", LineTexts).move_to(0)
        self._paint()

    def on_key(self, event: events.Key) -> None:
        """Move in the list while the input has the keyboard."""
        step = {"up": -1, "down": 1}.get(event.key)
        if step is not None:
            event.stop()
            self.query_one("#commands", LineTexts).action_move(step)

    def on_line_list_moved(self) -> None:
        """Put the mark where the cursor is."""
        self._paint()

    def on_input_submitted(self) -> None:
        """Do the command under the cursor."""
        self._run(self.query_one("#commands", LineTexts).cursor)

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Do the command under the cursor."""
        message.stop()
        self._run(message.index)

    def _run(self, index: int) -> None:
        if index >= len(self._matching):
            return
        command = self._matching[index]
        self.app.pop_screen()
        self.app.call_later(command.run)


def commands_for(
    screen: Widget,
    contexts: Sequence[Context],
    remapped: dict[str, str],
    themes: Sequence[str],
    *,
    read_only: bool = False,
) -> list[Command]:
    """Return what can be done on a screen, by key or by theme."""
    app = screen.app

    def act(action: str) -> Callable[[], None]:
        async def run() -> None:
            await app.run_action(action, default_namespace=app.screen)

        def later() -> None:
            app.call_later(run)

        return later

    found = [
        Command(key.help, shown_key(key.id, remapped), act(key.action))
        for context in contexts
        for key in KEYS
        if key.context == context
        and key.id not in _UNLISTED
        and not (read_only and key.changes)
        and key.action.startswith(("app.", "screen."))
    ]
    found += [Command(f"Theme {name}", "", act(f"app.look('{name}')")) for name in themes]
    return found
