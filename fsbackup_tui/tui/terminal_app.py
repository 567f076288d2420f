"""The application as the guest of a terminal: painting, keys, signals, look, mouse."""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.screen import Screen

from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.mouse import set_mouse
from fsbackup_tui.tui.painter import Painted, Painter, erases_in_colour
from fsbackup_tui.tui.theme import Palette, ThemeBroken, load_theme, theme_files

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_SIZES_TOLD_AT_START = 2


class TerminalApp(App[int], inherit_bindings=False):
    """What any application of ours does with its terminal, whatever it shows."""

    def __init__(self, look: Palette, environ: Mapping[str, str], *, mouse: bool) -> None:
        self.look = look
        super().__init__(ansi_color=True if look.ansi else None)
        self.environ = environ
        self.mouse_on = mouse
        self.ended_by: int | None = None
        self._painter = Painter(erases_in_colour=erases_in_colour(environ))
        self._sizes_told = 0
        self._traceback = ""

    def _fatal_error(self) -> None:
        """Leave with the traceback of an error that nobody foresaw.

        Textual's own shows the variables of those that were at work: secrets stand in some.
        """
        self._traceback = self.redact(traceback.format_exc())
        self._close_messages_no_wait()

    def redact(self, text: str) -> str:
        """Return what nobody foresaw without what is secret in the environment, or was typed."""
        from fsbackup_tui.domain.secret import Redactor
        from fsbackup_tui.engines.secrets import remember_named_secrets

        redactor = Redactor()
        remember_named_secrets(self.environ, redactor)
        for screen in self.screen_stack:
            if isinstance(screen, FrameScreen):
                for secret in screen.typed_hidden():
                    redactor.add(secret)
        return redactor.redact(text)

    def _print_error_renderables(self) -> None:
        """Print why it ended; a line is not cut at the window's width."""
        super()._print_error_renderables()
        if self._traceback:
            self.error_console.out(self._traceback, end="", highlight=False)
        self._traceback = ""

    def take_terminal(self) -> None:
        """Set the look, listen to signals, and paint anew after a stop."""
        self.use_look(self.look)
        self.app_resume_signal.subscribe(self, lambda _app: self.repaint())
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        self.ended_by = number
        self.exit(128 + number, return_code=128 + number)

    def _display(
        self, screen: Screen[object], renderable: RenderableType | CompositorUpdate | None
    ) -> None:
        """Send of an update what changed alone (Textual's own would send all of it)."""
        if isinstance(renderable, CompositorUpdate) and self._is_shown():
            sequence = self._painter.sequence(renderable, self.console, self.size)
            if not sequence:
                # Textual would send where the cursor is all the same: a layout, every few seconds.
                return
            renderable = Painted(sequence)
        super()._display(screen, cast("RenderableType | None", renderable))

    def _is_shown(self) -> bool:
        """Whether what is displayed now is sent at all."""
        running = self._running and not self._closed and not self._batch_count
        return running and not self.is_headless and self._driver is not None

    async def on_event(self, event: events.Event) -> None:
        """Take an event; keys that come while the screens are taken down have no screen."""
        if isinstance(event, events.InputEvent) and (self._exit or not self.screen_stack):
            return
        if isinstance(event, events.Resize):
            self._resized()
        if isinstance(event, events.Key):
            # A key that nobody took comes back as a forwarded one.
            if isinstance(self.screen, FrameScreen) and not event.is_forwarded:
                self.screen.key_comes()
            if event.key.startswith("alt+") and event.character is None:
                event = self._after_escape(event)
        await super().on_event(event)

    def _resized(self) -> None:
        """Paint anew: a terminal that was smaller for a moment may have lost what it showed.

        At the start the driver tells the size, and some terminals tell it themselves, too.
        """
        self._sizes_told += 1
        if self._sizes_told > _SIZES_TOLD_AT_START:
            self.repaint()

    def _after_escape(self, event: events.Key) -> events.Key:
        """Take Esc and the key that came in one packet as the two that they were.

        No key of ours is with Alt, and a slow line delivers in bunches.
        """
        name = event.key.removeprefix("alt+")
        character = name if len(name) == 1 else None
        self.call_later(self.post_message, events.Key(name, character))
        return events.Key("escape", None)

    def clear_selection(self) -> None:
        """Do nothing before the first screen is there: from Python 3.12 on its fields ask first."""
        if self.screen_stack:
            super().clear_selection()

    def use_look(self, look: Palette) -> None:
        """Take another theme."""
        self.look = look
        self.register_theme(look.textual_theme())
        self.ansi_color = True if look.ansi else None
        self.theme = look.name
        self._refresh_all()

    def repaint(self) -> None:
        """Send every cell again: the terminal was somebody else's, or lost what it showed."""
        self._painter.forget()
        self._refresh_all()

    def _refresh_all(self) -> None:
        for screen in self.screen_stack:
            screen.refresh()
            for widget in screen.walk_children():
                widget.refresh()

    def action_repaint(self) -> None:
        """Paint the screen anew."""
        self.repaint()

    def action_look(self, name: str) -> None:
        """Take the theme of that name; a broken one leaves the present."""
        path: Path | None = theme_files(self.environ).get(name)
        try:
            if path is not None:
                self.use_look(load_theme(path))
        except ThemeBroken as error:
            if isinstance(self.screen, FrameScreen):
                self.screen.say_problem(error.problem())

    def action_mouse(self) -> None:
        """Turn the mouse on or off."""
        self.mouse_on = set_mouse(self._driver, not self.mouse_on)
        if isinstance(self.screen, FrameScreen):
            words = "on: M gives it back to the terminal" if self.mouse_on else "off"
            self.screen.say(f"Mouse {words}")
