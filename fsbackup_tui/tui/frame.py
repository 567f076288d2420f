"""The frame of every screen: answer line, tabs, body, status line, keys, and the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.tui.data import Overview
from fsbackup_tui.tui.keys import Context, Shown, bindings, changing_actions, is_changing
from fsbackup_tui.tui.lines import Line, Role, fit, line, plain, spread, width_of, wrap
from fsbackup_tui.tui.problems import told_here
from fsbackup_tui.tui.widgets.choice import Answer, ChoicePanel
from fsbackup_tui.tui.widgets.header import answer_line, keys_line, tabs_line
from fsbackup_tui.tui.widgets.hidden import HiddenPanel
from fsbackup_tui.tui.widgets.line_list import TextView
from fsbackup_tui.tui.widgets.line_widget import LineWidget

if TYPE_CHECKING:
    from fsbackup_tui.tui.app import FsbackupApp

SMALLEST = (40, 10)
MINUTE = 60.0
READ_SECONDS = 3.0
_CHOICE_FOOT: tuple[Shown, ...] = ("choice-take", "choice-down", "back")
# The field takes letters: "?" and "q" are text there.
FIELD_FOOT: tuple[Shown, ...] = (("Enter", "answer"), ("Esc", "back"))
Result = TypeVar("Result")


class Done(Message):
    """A thread worker is done; ``then`` takes its result on the screen's own thread."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


class FrameScreen(Screen[None], inherit_bindings=False):
    """A screen in the frame; subclasses give the body, the keys at the bottom, the refresh.

    ``IS_HOME``: the mode's key leads back to it, even where it is not the first of the mode.
    Blocking work goes through ``in_thread`` only. Timers run while the screen is visible.
    Textual calls the ``on_…`` methods of every class, the subclass's first: none calls super.
    """

    DEFAULT_CSS = """
    FrameScreen { layout: vertical; background: $background; overflow: hidden; }
    FrameScreen > #too-small { display: none; height: 1fr; }
    FrameScreen.-small > *, FrameScreen.-small > ChoicePanel.-open,
    FrameScreen.-small > EntryPanel.-open { display: none; }
    FrameScreen.-small > #too-small { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("general")
    ESCAPE_TO_MINIMIZE = False
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("general",)
    FOOT: ClassVar[tuple[Shown, ...]] = ("back", "help", "quit")
    MODE: ClassVar[str] = ""
    IS_HOME: ClassVar[bool] = False
    EVERY_SECONDS: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._timers_running: list[Timer] = []
        self._busy: dict[str, Callable[[Problem], None]] = {}
        self._status: Line = ()
        self._said_at: float | None = None
        self._corner: Line = ()
        self._pointer: Line = ()
        self._overview = Overview()

    @property
    def site_app(self) -> FsbackupApp:
        """The application."""
        return cast("FsbackupApp", self.app)

    def compose(self) -> ComposeResult:
        """Compose the frame around the body."""
        yield LineWidget(id="answer")
        yield LineWidget(id="tabs")
        yield from self.body()
        yield HiddenPanel(self.site_app.clock, id="hidden")
        yield LineWidget(id="status")
        yield ChoicePanel(self.site_app.clock, id="choice")
        yield LineWidget(id="foot")
        yield LineWidget(id="too-small")

    def body(self) -> Iterator[Widget]:
        """Return what lies between tabs and status line."""
        raise NotImplementedError

    def typed_hidden(self) -> Sequence[Secret]:
        """Return what was typed that is shown nowhere; nothing before the screen is there."""
        return [secret for panel in self.query(HiddenPanel) for secret in panel.secrets()]

    @property
    def hidden(self) -> HiddenPanel:
        """Where a passphrase is asked for."""
        return self.query_one(HiddenPanel)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let no key change anything where the site is only looked at."""
        return not (self.site_app.read_only and (action, tuple(parameters)) in changing_actions())

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: no key that would do nothing now."""
        return self.FOOT

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of, the closest first."""
        return self.CONTEXTS

    def tick(self) -> None:
        """Refresh what the screen shows; called every ``EVERY_SECONDS`` while it is visible."""

    def minute(self) -> None:
        """Repaint ages; called once a minute while the screen is visible."""

    def overview_changed(self, before: Overview) -> None:
        """Take note of the site's overview; called when the screen comes back, too."""

    @property
    def is_there(self) -> bool:
        """Whether the screen has its widgets: not yet before mounting, and no more while it is
        taken down, which happens from the innermost widget outwards as messages still come."""
        return self.is_mounted and self.is_running and self.app.is_running

    def on_mount(self) -> None:
        """Paint the frame."""
        self.paint_frame()

    def on_resize(self) -> None:
        """Paint the frame in the new width, or the one message for a window too small."""
        width, height = self.size
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(small, "-small")
        if small:
            words = (
                f"Window too small: {width}x{height}."
                f" fsbackup needs {SMALLEST[0]}x{SMALLEST[1]}. Jobs run on."
            )
            lines = [line((text, "warn")) for text in wrap(words, max(1, width))]
            self.query_one("#too-small", LineWidget).show(*lines)
        self.paint_frame()

    def on_screen_resume(self) -> None:
        """Start the timers and look at once."""
        self._stop_timers()
        if self.EVERY_SECONDS:
            self._timers_running.append(self.set_interval(self.EVERY_SECONDS, self.tick))
        self._timers_running.append(self.set_interval(MINUTE, self._minute))
        self.take_overview()
        self.tick()

    def on_screen_suspend(self) -> None:
        """Stop the timers and withdraw a question: a screen that nobody sees does nothing."""
        self._stop_timers()
        self.query_one(ChoicePanel).close()
        self.hidden.close()

    def _stop_timers(self) -> None:
        for timer in self._timers_running:
            timer.stop()
        self._timers_running.clear()

    def _minute(self) -> None:
        self.paint_frame()
        self.minute()

    def take_overview(self) -> None:
        """Show the application's overview where it is another than this screen's."""
        if not self.is_there:
            return
        before, self._overview = self._overview, self.site_app.overview
        self.paint_frame()
        self.overview_changed(before)

    def paint_frame(self) -> None:
        """Paint answer line, tabs, status and keys; what is the same is not sent again."""
        if not self.is_there:
            return
        app, width = self.site_app, self.size.width
        self.query_one("#answer", LineWidget).show(
            answer_line(app.overview, width, read_only=app.read_only)
        )
        tabs = tabs_line(app.overview, self.MODE, app.remapped, width)
        self.query_one("#tabs", LineWidget).show(tabs)
        self._paint_status()
        self.paint_foot()

    def paint_foot(self) -> None:
        """Paint the keys at the bottom."""
        if not self.is_there:
            return
        app, width = self.site_app, self.size.width
        foot = _CHOICE_FOOT if self.query_one(ChoicePanel).open else self.foot()
        if self.hidden.open:
            foot = (FIELD_FOOT[0], ("Esc", self.hidden.escape))
        if app.read_only:
            foot = [shown for shown in foot if isinstance(shown, tuple) or not is_changing(shown)]
        self.query_one("#foot", LineWidget).show(keys_line(foot, app.remapped, width))

    def say(self, text: str, role: Role = "accent", *, stays: bool = False) -> None:
        """Put a message into the status line, until the next or until it was read and a key came.

        One that ``stays`` goes with the next only.
        """
        self._status = line(" ", (text.splitlines()[0] if text else "", role))
        self._pointer = ()
        self._said_at = None if stays or not text else self.site_app.clock()
        self._paint_status()

    @property
    def said(self) -> str:
        """The message in the status line."""
        return plain(self._status).strip()

    def key_comes(self) -> None:
        """Take note that a key was pressed, before anything takes it."""
        self.forget_message()

    def forget_message(self) -> None:
        """Take away a message that has been there long enough to be read."""
        if self._said_at is not None and self.site_app.clock() - self._said_at >= READ_SECONDS:
            self.say("")

    def corner(self, shown: Line) -> None:
        """Put something at the right end of the status line: where the cursor is."""
        self._corner = shown
        self._paint_status()

    def on_text_view_scrolled(self, message: TextView.Scrolled) -> None:
        """Say that there is more of a text than is on the screen."""
        message.stop()
        lines = "line" if message.below == 1 else "lines"
        text = f"{message.below} more {lines} below " if message.below else ""
        self.corner(line((text, "accent")))

    def _paint_status(self) -> None:
        if not self.is_there:
            return
        left = self._status
        if self._pointer:
            # Where the rest can be read must not be what is cut off.
            room = self.size.width - width_of(self._corner) - width_of(self._pointer) - 1
            left = (*fit(left, max(0, min(width_of(left), room))), *self._pointer)
        shown = spread(left, self._corner, self.size.width)
        self.query_one("#status", LineWidget).show(shown)

    def say_problem(self, problem: Problem) -> None:
        """Put what failed into the status line, and keep why and what next behind ``a``."""
        app = self.site_app
        app.last_problem = problem
        self.say(told_here(problem, app.now(), app.overview.zone).what, "bad")
        self._pointer = line(("  a: why, and what next", "muted"))
        self._paint_status()

    def ask(
        self, question: Sequence[Line], answers: Sequence[Answer], then: Callable[[int], None]
    ) -> None:
        """Put a question at the bottom."""
        self.query_one(ChoicePanel).ask(question, answers, then)
        self.paint_frame()

    def on_choice_panel_closed(self) -> None:
        """Give the keyboard back."""
        self.paint_frame()
        self.give_back()

    def on_hidden_panel_closed(self) -> None:
        """Give the keyboard back."""
        self.paint_frame()
        self.give_back()

    def give_back(self) -> None:
        """Give the keyboard to what has been asked meanwhile, else to the body."""
        if not self.is_there:
            return
        if self.hidden.open:
            self.hidden.focus(scroll_visible=False)
        else:
            self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to what the screen is about."""

    def in_thread(
        self,
        group: str,
        work: Callable[[], Result],
        then: Callable[[Result], None],
        failed: Callable[[Problem], None] | None = None,
    ) -> bool:
        """Do blocking work beside the screen; one at a time per group, False if one is under way.

        ``then`` and ``failed`` are called on the screen's thread, unless it is gone by then.
        """
        if group in self._busy:
            return False
        complain = failed or self.say_problem
        self._busy[group] = complain

        def run() -> None:
            try:
                result = work()
            except FsbackupError as error:
                problem = error.problem()
                self.post_message(Done(lambda: self._finish(group, complain, problem)))
                return
            self.post_message(Done(lambda: self._finish(group, then, result)))

        self.run_worker(run, group=group, thread=True, exit_on_error=False)
        return True

    def _finish(self, group: str, take: Callable[[Result], None], value: Result) -> None:
        self._busy.pop(group, None)
        take(value)

    def on_done(self, message: Done) -> None:
        """Take the result of a worker."""
        message.stop()
        if self.is_attached:
            message.then()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Turn what a worker did not foresee into a message instead of the end of the screen."""
        if event.state is not WorkerState.ERROR or event.worker.group not in self._busy:
            return
        error = event.worker.error
        complain = self._busy.pop(event.worker.group)
        complain(
            Problem(
                "internal",
                f"NOT READ: {event.worker.group} failed in a way not foreseen.",
                self.site_app.redact(f"{type(error).__name__}: {error}"),
                "The rest of the screen works on; fsbackup doctor may tell more.",
            )
        )

    def action_back(self) -> None:
        """Go one level back; the first level stays."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
