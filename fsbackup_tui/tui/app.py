"""The application: modes, what is known of the site, leaving. A viewer: it owns no data pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from textual.binding import BindingType

from fsbackup_tui.config.load import READ_ONLY_VARIABLE
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.tui.commands import CommandsScreen, commands_for
from fsbackup_tui.tui.data import Overview, SiteData
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, bindings
from fsbackup_tui.tui.last_seen import LastSeen
from fsbackup_tui.tui.modes.inventory import InventoryScreen
from fsbackup_tui.tui.modes.jobs import JobsScreen
from fsbackup_tui.tui.modes.recover import RecoverScreen
from fsbackup_tui.tui.modes.retention import RetentionScreen
from fsbackup_tui.tui.modes.verify import VerifyScreen
from fsbackup_tui.tui.settings import Settings
from fsbackup_tui.tui.site_watch import SiteWatch, first_overview
from fsbackup_tui.tui.terminal_app import TerminalApp
from fsbackup_tui.tui.texts import AlertsScreen, ByHandScreen, HelpScreen
from fsbackup_tui.tui.theme import Palette, theme_files


@dataclass(frozen=True, slots=True)
class Start:
    """What the application begins with.

    ``mode`` is where it begins, the inventory where it is empty. ``open_site`` is called in a
    thread after the first paint; ``remember`` keeps the first screen for the next start.
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
    mode: str = ""


class FsbackupApp(TerminalApp, inherit_bindings=False):
    """fsbackup in the terminal."""

    MODES: ClassVar[dict[str, Any]] = {
        "inventory": InventoryScreen,
        "jobs": JobsScreen,
        "verify": VerifyScreen,
        "recover": RecoverScreen,
        "retention": RetentionScreen,
    }
    DEFAULT_MODE: ClassVar[str] = "inventory"
    BINDINGS: ClassVar[list[BindingType]] = bindings("general")
    ENABLE_COMMAND_PALETTE = False
    TITLE = "fsbackup"

    def __init__(self, start: Start) -> None:
        super().__init__(start.look, start.environ, mouse=start.settings.mouse)
        self.start = start
        self.now, self.clock = start.now, start.clock
        self.remapped = dict(start.settings.keys)
        self.seen = start.seen
        self.overview = first_overview(start.seen, start.now())
        self.last_problem: Problem | None = None
        self.told_when_ended: set[str] = set()
        self.begun = ""
        self._moved = False
        self.site_watch = SiteWatch(self)

    @property
    def checked(self) -> bool:
        """Whether the site was looked at; before, nothing that is shown may be trusted."""
        return self.overview.answer.tone != "checking"

    @property
    def read_only(self) -> bool:
        """Whether the site is only looked at: no key changes anything."""
        return self.overview.read_only or bool(self.start.environ.get(READ_ONLY_VARIABLE))

    @property
    def data(self) -> SiteData | None:
        """The site's data, None until it was opened."""
        return self.site_watch.data

    def on_mount(self) -> None:
        """Take terminal and keys, and read the site once the frame is painted."""
        self.take_terminal()
        self.set_keymap(self.remapped)
        if self.start.message and isinstance(self.screen, FrameScreen):
            self.screen.say(self.start.message, "warn")
        self._moved = bool(self.start.mode)
        if self.start.mode:
            self.call_later(self.action_mode, self.start.mode)
        self.call_after_refresh(self.site_watch.look)

    def set_overview(self, overview: Overview) -> None:
        """Take a new overview and let the screens of this mode show it."""
        before, self.overview = self.overview, overview
        self._tell_ended(before)
        incident = overview.incident
        if incident is not None and not incident.is_drill and not self._moved:
            self.call_later(self.action_mode, "recover")
        self._moved = self._moved or self.checked
        for screen in self.screen_stack:
            if isinstance(screen, FrameScreen):
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
        screen = self.screen
        if isinstance(screen, FrameScreen | ByHandScreen):
            return screen.contexts()
        return ("general",)

    async def action_mode(self, mode: str) -> None:
        """Go to a mode; from deeper in it, back to its first screen."""
        if mode != self.current_mode:
            await self.switch_mode(mode)
            return
        while len(self.screen_stack) > 1 and not getattr(self.screen, "IS_HOME", False):
            self.pop_screen()

    async def recover_with(self, point: str) -> None:
        """Go to Recover with a point that was chosen elsewhere."""
        await self.action_mode("recover")
        home = self.screen_stack[0]
        if isinstance(home, RecoverScreen):
            home.with_point(point)

    def action_help(self) -> None:
        """Show the keys of what has the keyboard, or put them away again."""
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen(self._contexts()))

    def action_alerts(self) -> None:
        """Show what needs a person, or put it away again."""
        if isinstance(self.screen, AlertsScreen):
            self.pop_screen()
        else:
            self.push_screen(AlertsScreen())

    def action_palette(self) -> None:
        """Show all commands."""
        if not isinstance(self.screen, CommandsScreen):
            themes = sorted(theme_files(self.start.environ))
            found = commands_for(
                self.screen, self._contexts(), self.remapped, themes, read_only=self.read_only
            )
            self.push_screen(CommandsScreen(found))

    def action_leave(self) -> None:
        """Leave; jobs run on."""
        self.exit(0)
