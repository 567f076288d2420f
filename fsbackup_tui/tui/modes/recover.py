"""Mode 4: declare an incident, go on with an open one, practise, look at past ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.tui.data import Overview, SiteData
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line, wrapped
from fsbackup_tui.tui.modes.recover_declare import DeclareScreen
from fsbackup_tui.tui.modes.recover_lines import listed_line
from fsbackup_tui.tui.modes.recover_step import StepScreen
from fsbackup_tui.tui.modes.recover_texts import PastScreen
from fsbackup_tui.tui.texts import problem_page
from fsbackup_tui.tui.widgets.choice import Answer
from fsbackup_tui.tui.widgets.line_list import LineList, LineTexts
from fsbackup_tui.tui.widgets.line_widget import LineWidget

if TYPE_CHECKING:
    from fsbackup_tui.tui.recover_data import Listed, Seat

_WORDS = (
    "Something is wrong with the data? Declare an incident: it leads step by step, changes"
    " nothing before you see what, and can be left and taken up again at any time."
)


class RecoverScreen(FrameScreen):
    """Where a recovery begins; an open incident is gone to at once."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("recover")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("recover", "list", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = ("open", "drill", "palette", "help", "quit")
    MODE: ClassVar[str] = "recover"
    EVERY_SECONDS: ClassVar[float] = 2.0

    def __init__(self) -> None:
        super().__init__()
        self._listed: Sequence[Listed] | None = None
        self._seats: dict[str, Seat] = {}
        self._gone_to: set[str] = set()
        self._point = ""
        self._left = ""

    def body(self) -> Iterator[Widget]:
        """Compose the words and the list."""
        yield LineWidget(id="words")
        yield LineTexts(id="incidents")

    @property
    def listing(self) -> LineTexts:
        """The list: declaring first, then the incidents."""
        return self.query_one("#incidents", LineTexts)

    @property
    def blocked(self) -> Problem | None:
        """Why nothing can be led here."""
        return self.site_app.overview.blocked.get("jobs")

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom."""
        return self.FOOT if self._listed is not None else ("palette", "help", "quit")

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of."""
        return self.CONTEXTS if self._listed is not None else ("general",)

    def on_mount(self) -> None:
        """Take the keyboard."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the list."""
        self.listing.focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint in the new width."""
        self._paint()

    def minute(self) -> None:
        """Repaint ages."""
        self._paint()

    def overview_changed(self, before: Overview) -> None:
        """Look at once when the site was just read."""
        if self._listed is None:
            self._paint()
        self.tick()

    def tick(self) -> None:
        """List the incidents again."""
        data = self.site_app.data
        if data is not None:
            self.in_thread("incidents", lambda: _listed(data), self._take, self._unread)

    def _unread(self, problem: Problem) -> None:
        if problem != self.site_app.last_problem:
            self.say_problem(problem)

    def _take(self, listed: Sequence[Listed]) -> None:
        if listed != self._listed:
            self._listed = listed
            self._paint()
        self._mark_left(listed)
        for each in listed:
            wanted = self._point or not self._gone_to
            if each.open and not each.incident.is_drill and wanted:
                if self.is_current:
                    self._enter(each.incident.id)
                return
        if self._point and self.is_current:
            self.declare(self._point)

    def _mark_left(self, listed: Sequence[Listed]) -> None:
        """Put the cursor on the incident one comes from: Enter goes back, and declares no other."""
        ids = [each.incident.id for each in listed]
        if self._left in ids and self.is_current:
            self.listing.move_to(ids.index(self._left) + 1)
            self._left = ""

    def _paint(self) -> None:
        if not self.is_there:
            return
        app, width = self.site_app, self.size.width
        now, zone = app.now(), app.overview.zone
        words = [line(), *(line(" ", *row) for row in wrapped(_WORDS, width - 2)), line()]
        widget = self.query_one("#words", LineWidget)
        widget.styles.height = len(words)
        widget.show(*words)
        problem = self.blocked
        if self._listed is None:
            rows: list[Line] = [line("   ", ("reading the incidents…", "muted"))]
            if problem is not None:
                rows = problem_page(problem, width, now=now, zone=zone)
            self.listing.show(rows, cursor=False)
            return
        cursor = self.listing.cursor
        rows = [line(("Declare an incident", "heading"))]
        rows += [listed_line(each, width - 3, now=now, zone=zone) for each in self._listed]
        marked = [
            line((" > " if index == cursor else "   ", "key"), *row)
            for index, row in enumerate(rows)
        ]
        self.listing.show(marked)
        self.paint_foot()

    def on_line_list_moved(self) -> None:
        """Put the mark where the cursor is."""
        self._paint()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Declare, go on with an open incident, or read a past one."""
        message.stop()
        if self._listed is None:
            return
        if message.index == 0:
            self.declare()
            return
        chosen = self._listed[message.index - 1]
        if chosen.open:
            self._enter(chosen.incident.id)
        else:
            self.app.push_screen(PastScreen(chosen.incident.id))

    def declare(self, point: str = "") -> None:
        """Ask the two questions; ``point`` was chosen before."""
        self._point = ""
        if self.site_app.read_only:
            self.say("READ ONLY: no incident is opened here", "warn")
            return
        self.app.push_screen(DeclareScreen(self._sit_down, point))

    def with_point(self, point: str) -> None:
        """Recover with a point that was chosen in another mode: declare, or prefer it."""
        seat = next(iter(self._seats.values()), None)
        screen = self.app.screen
        if seat is None or not isinstance(screen, StepScreen):
            self._point = point
            self.tick()
            return
        screen.prefer(point)

    def _sit_down(self, seat: Seat) -> None:
        self._seats[seat.id] = seat
        self._enter(seat.id)

    def _enter(self, incident: str) -> None:
        self._gone_to.add(incident)
        self._left = incident
        point, self._point = self._point, ""
        self.app.push_screen(StepScreen(incident, self._seats, point))

    def action_drill(self) -> None:
        """Ask which scenario to practise."""
        data = self.site_app.data
        if data is None:
            self.say("Drill: the site is not read yet", "warn")
            return
        self.in_thread("runbooks", lambda: _runbooks(data), lambda found: self._drill(data, found))

    def _drill(self, data: SiteData, runbooks: Sequence[str]) -> None:
        question = [
            line(" ", ("Practise which scenario?", "heading")),
            line(" ", ("On a damaged copy; nothing that is live has a part in it.", "muted")),
        ]
        answers = [Answer("No, nothing")]
        answers += [Answer(name, str(index)) for index, name in enumerate(runbooks, 1)]

        def practise(index: int) -> None:
            def work() -> Seat:
                from fsbackup_tui.tui.recover_data import drill_here

                return drill_here(data.desk(), runbooks[index - 1])

            self.say("Opening the drill…")
            self.in_thread("declare", work, self._sit_down)

        self.ask(question, answers, practise)


def _listed(data: SiteData) -> Sequence[Listed]:
    from fsbackup_tui.tui.recover_data import incidents_of

    return incidents_of(data.desk())


def _runbooks(data: SiteData) -> Sequence[str]:
    from fsbackup_tui.tui.recover_data import runbooks_of

    return runbooks_of(data.desk())
