"""The application: modes, what is known of the site, leaving. A viewer: it owns no data pipe."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import BindingType

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.tui.commands import CommandsScreen, commands_for
from fsbackup_tui.tui.data import Overview, SiteData
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, bindings
from fsbackup_tui.tui.last_seen import LastSeen
from fsbackup_tui.tui.modes.inventory import InventoryScreen
from fsbackup_tui.tui.modes.jobs import JobsScreen
from fsbackup_tui.tui.settings import Settings
from fsbackup_tui.tui.site_watch import SiteWatch, first_overview
from fsbackup_tui.tui.texts import AlertsScreen, ByHandScreen, HelpScreen
from fsbackup_tui.tui.theme import Palette, ThemeBroken, load_theme, theme_files

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Start:
    """What the application begins with.

    ``open_site`` is called in a thread after the first paint; ``remember`` keeps the first
    screen for the next start.
    """

    look: Palette
    open_site: Callable[[], SiteData]
    environ: Mapping[str, str]
    settings: Settings = field(default_factory=Settings)
    seen: LastSeen | None = None
    remember: Callable[[LastSeen], None] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    message: str = ""


class FsbackupApp(App[int], inherit_bindings=False):
    """fsbackup in the terminal."""

    MODES: ClassVar[dict[str, Any]] = {"inventory": InventoryScreen, "jobs": JobsScreen}
    DEFAULT_MODE: ClassVar[str] = "inventory"
    BINDINGS: ClassVar[list[BindingType]] = bindings("general")
    ENABLE_COMMAND_PALETTE = False
    TITLE = "fsbackup"

    def __init__(self, start: Start) -> None:
        self.look = start.look
        super().__init__(ansi_color=True if start.look.ansi else None)
        self.start = start
        self.now, self.clock = start.now, start.clock
        self.remapped = dict(start.settings.keys)
        self.seen = start.seen
        self.overview = first_overview(start.seen, start.now())
        self.last_problem: Problem | None = None
        self.told_when_ended: set[str] = set()
        self.site_watch = SiteWatch(self)
        self.mouse_on = start.settings.mouse
        self.ended_by: int | None = None

    @property
    def checked(self) -> bool:
        """Whether the site was looked at; before, nothing that is shown may be trusted."""
        return self.overview.answer.tone != "checking"

    @property
    def data(self) -> SiteData | None:
        """The site's data, None until it was opened."""
        return self.site_watch.data

    def on_mount(self) -> None:
        """Set look and keys, listen to signals, and read the site once the frame is painted."""
        self.use_look(self.look)
        self.set_keymap(self.remapped)
        self.app_resume_signal.subscribe(self, lambda _app: self.repaint())
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        if self.start.message and isinstance(self.screen, FrameScreen):
            self.screen.say(self.start.message, "warn")
        self.call_after_refresh(self.site_watch.look)

    async def on_event(self, event: events.Event) -> None:
        """Take an event; keys that come while the screens are taken down have no screen."""
        if isinstance(event, events.InputEvent) and (self._exit or not self.screen_stack):
            return
        if isinstance(event, events.Key):
            if isinstance(self.screen, FrameScreen):
                self.screen.forget_message()
            if event.key.startswith("alt+") and event.character is None:
                event = self._after_escape(event)
        await super().on_event(event)

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

    def _signalled(self, number: int) -> None:
        self.ended_by = number
        self.exit(128 + number, return_code=128 + number)

    def use_look(self, look: Palette) -> None:
        """Take another theme."""
        self.look = look
        self.register_theme(look.textual_theme())
        self.ansi_color = True if look.ansi else None
        self.theme = look.name
        self.repaint()

    def repaint(self) -> None:
        """Send every cell again: the look is another, or the terminal was somebody else's."""
        for screen in self.screen_stack:
            screen.refresh()
            for widget in screen.walk_children():
                widget.refresh()

    def set_overview(self, overview: Overview) -> None:
        """Take a new overview and let the screens of this mode show it."""
        before, self.overview = self.overview, overview
        self._tell_ended(before)
        for screen in self.screen_stack:
            if isinstance(screen, FrameScreen) and screen.is_mounted:
                screen.take_overview()

    def _tell_ended(self, before: Overview) -> None:
        """Say at once that a job failed which ran, or was started, before one's eyes."""
        followed = self.told_when_ended | set(before.running)
        for label in followed & self.overview.failed.keys():
            problem = self.overview.failed[label]
            if problem is not None and isinstance(self.screen, FrameScreen):
                what = f"{label} FAILED: {problem.what}"
                self.screen.say_problem(replace(problem, what=what))
        ended = set(before.running) - set(self.overview.running)
        self.told_when_ended -= ended | self.overview.failed.keys()

    def refresh_overview(self) -> None:
        """Look at the site at once."""
        self.site_watch.look()

    def allowed(self, screen: FrameScreen, action: str) -> bool:
        """Return whether an action can be started; where not, say why."""
        problem = self.overview.blocked.get(action)
        if problem is None:
            return True
        screen.say_problem(problem)
        return False

    def copy(self, screen: FrameScreen, text: str) -> None:
        """Copy text out of the terminal and say which way it went."""
        from fsbackup_tui.tui.clipboard import copy_text

        driver = self._driver
        write: Callable[[str], None] = driver.write if driver is not None else lambda _text: None
        environ = self.start.environ
        screen.in_thread("copy", lambda: copy_text(text, environ, write), screen.say)

    def show_by_hand(self, texts: Sequence[str]) -> None:
        """Show text alone on the screen."""
        self.push_screen(ByHandScreen(texts))

    def _contexts(self) -> tuple[Context, ...]:
        return getattr(self.screen, "CONTEXTS", ("general",))

    async def action_mode(self, mode: str) -> None:
        """Go to a mode."""
        if mode != self.current_mode:
            await self.switch_mode(mode)

    def action_help(self) -> None:
        """Show the keys of what has the keyboard."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self._contexts()))

    def action_alerts(self) -> None:
        """Show what needs a person."""
        if not isinstance(self.screen, AlertsScreen):
            self.push_screen(AlertsScreen())

    def action_palette(self) -> None:
        """Show all commands."""
        if not isinstance(self.screen, CommandsScreen):
            themes = sorted(theme_files(self.start.environ))
            found = commands_for(self.screen, self._contexts(), self.remapped, themes)
            self.push_screen(CommandsScreen(found))

    def action_look(self, name: str) -> None:
        """Take the theme of that name; a broken one leaves the present."""
        path: Path | None = theme_files(self.start.environ).get(name)
        try:
            if path is not None:
                self.use_look(load_theme(path))
        except ThemeBroken as error:
            if isinstance(self.screen, FrameScreen):
                self.screen.say_problem(error.problem())

    def action_mouse(self) -> None:
        """Turn the mouse on or off."""
        from fsbackup_tui.tui.mouse import set_mouse

        self.mouse_on = set_mouse(self._driver, not self.mouse_on)
        if isinstance(self.screen, FrameScreen):
            words = "on: M gives it back to the terminal" if self.mouse_on else "off"
            self.screen.say(f"Mouse {words}")

    def action_leave(self) -> None:
        """Leave; jobs run on."""
        self.exit(0)
