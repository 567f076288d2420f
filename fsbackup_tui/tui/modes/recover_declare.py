"""Declaring an incident: when it was last right, and what is seen; two questions, no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.incident import SEEN_TEXTS, Seen
from fsbackup_tui.domain.last_right import echo_last_right, parse_last_right
from fsbackup_tui.tui.data import SiteData
from fsbackup_tui.tui.frame import FIELD_FOOT, FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, Role, line, wrapped
from fsbackup_tui.tui.widgets.entry import EntryPanel
from fsbackup_tui.tui.widgets.line_list import LineList, LineTexts
from fsbackup_tui.tui.widgets.line_widget import LineWidget

if TYPE_CHECKING:
    from fsbackup_tui.tui.recover_data import Seat


def check_time(text: str, now: datetime, zone: tzinfo) -> str:
    """Return why a text is no moment that something was right; empty where it is."""
    try:
        parse_last_right(text, now, zone)
    except UsageError as error:
        return f"{error.what} {error.fix}"
    return ""


def echo_time(text: str, now: datetime, zone: tzinfo) -> tuple[str, Role]:
    """Return how a text is understood, with zone, UTC and age."""
    if not text.strip():
        return "Enter alone: unknown", "muted"
    try:
        return echo_last_right(parse_last_right(text, now, zone), now, zone), "text"
    except UsageError as error:
        return error.what, "muted"


class AnswerList(LineTexts, inherit_bindings=False):
    """The answers; digits mark one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    def on_key(self, event: events.Key) -> None:
        """Put the cursor on the answer of a digit."""
        digit = event.character or ""
        if digit in tuple("123456789") and int(digit) <= self.count:
            event.stop()
            event.prevent_default()
            self.move_to(int(digit) - 1)


class DeclareScreen(FrameScreen):
    """Asks the two questions, and opens the incident."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("general")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("answers", "list", "general")
    MODE: ClassVar[str] = "recover"

    def __init__(self, then: Callable[[Seat], None], point: str = "") -> None:
        super().__init__()
        self._then = then
        self._point = point
        self._offered: Sequence[Seen] = ()
        self._of_seen: Mapping[Seen, Sequence[str]] = {}
        self._sources: Sequence[str] = ()
        self._source = ""
        self._seen: Seen = "unknown"
        self._right: datetime | None = None
        self._asked: str = "right"

    def body(self) -> Iterator[Widget]:
        """Compose what is known, the answers, and the line that takes text."""
        yield LineWidget(id="told")
        yield AnswerList(id="answers")
        yield EntryPanel(self.site_app.clock, id="entry")

    @property
    def entry(self) -> EntryPanel:
        """The line that takes text."""
        return self.query_one("#entry", EntryPanel)

    @property
    def answers(self) -> AnswerList:
        """The answers to choose among."""
        return self.query_one("#answers", AnswerList)

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom."""
        if self.entry.open:
            return FIELD_FOOT
        return (("Enter", "answer"), ("1-9", "choose"), "back", "help", "quit")

    def on_mount(self) -> None:
        """Ask the first question, and read meanwhile what there is to be recovered."""
        self._ask_right()
        data = self.site_app.data
        if data is not None:
            self.in_thread("sources", lambda: _sources_of(data), self._take_sources)

    def on_resize(self) -> None:
        """Paint in the new width."""
        self._paint()

    def focus_body(self) -> None:
        """Give the keyboard to what is asked."""
        if self.entry.open:
            self.entry.focus(scroll_visible=False)
        else:
            self.answers.focus(scroll_visible=False)

    def _ask_right(self) -> None:
        self._asked = "right"
        now, zone = self.site_app.now, self.site_app.overview.zone
        self.entry.ask(
            [
                line(" ", ("When was it last right?", "heading")),
                line(" ", ("02:45, yesterday 14:00, Sat 02:00, 20 m ago, or unknown", "muted")),
            ],
            self._take_right,
            check=lambda text: check_time(text, now(), zone),
            echo=lambda text: echo_time(text, now(), zone),
        )
        self._paint()

    def _take_right(self, text: str) -> None:
        zone = self.site_app.overview.zone
        self._right = parse_last_right(text, self.site_app.now(), zone)
        self._asked = "seen"
        self._offer()

    def _take_sources(self, sources: Mapping[Seen, Sequence[str]]) -> None:
        self._of_seen, self._offered = sources, tuple(sources)
        if self._asked == "seen":
            self._offer()

    def _offer(self) -> None:
        """Show the answers, the mark on the one that claims nothing."""
        self._paint()
        if "unknown" in self._offered:
            self.answers.move_to(self._offered.index("unknown"))
        self._paint()

    def on_entry_panel_closed(self) -> None:
        """Go on with the next question, or back where nothing was answered."""
        if self._asked == "right":
            self.action_back()
        else:
            self.paint_foot()
            self.focus_body()

    def _options(self) -> list[str]:
        if self._asked == "source":
            return list(self._sources)
        return [SEEN_TEXTS[seen] for seen in self._offered]

    def _paint(self) -> None:
        if not self.is_there:
            return
        width = self.size.width
        told = self._told(width)
        widget = self.query_one("#told", LineWidget)
        widget.styles.height = len(told)
        widget.show(*told)
        if self._asked in ("right", "opening"):
            self.answers.show([], cursor=False)
        else:
            cursor = self.answers.cursor
            rows = [
                line((" > " if index == cursor else "   ", "key"), f"{index + 1}  {text}")
                for index, text in enumerate(self._options())
            ]
            self.answers.show(rows)
        self.paint_foot()

    def _told(self, width: int) -> list[Line]:
        app = self.site_app
        now, zone = app.now(), app.overview.zone
        lines = [line(), line(" ", ("Declare an incident", "heading"))]
        words = (
            "Two questions, and the clock runs. Nothing on the server is touched by it;"
            " nothing is deleted anywhere until it is closed."
        )
        lines += [line(" ", *row) for row in wrapped(words, width - 2, "muted")]
        if self._point:
            lines.append(line(" ", ("Point       ", "muted"), self._point))
        if self._asked != "right":
            right = echo_last_right(self._right, now, zone)
            lines.append(line(" ", ("Last right  ", "muted"), right))
        lines.append(line())
        questions = {"seen": "What do you see?", "source": "Which of them?", "opening": "opening…"}
        if self._asked in questions:
            lines.append(line(" ", (questions[self._asked], "heading")))
        return lines

    def on_line_list_moved(self) -> None:
        """Put the mark where the cursor is."""
        self._paint()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Take the marked answer."""
        message.stop()
        index = message.index
        if self._asked == "source":
            self._source = self._sources[index]
            self._open()
        elif self._asked == "seen":
            self._seen = self._offered[index]
            self._begin()

    def _begin(self) -> None:
        self._sources = self._of_seen.get(self._seen, ())
        if len(self._sources) == 1:
            self._source = self._sources[0]
            self._open()
            return
        self._asked = "source"
        self.answers.move_to(0)
        self._paint()

    def _open(self) -> None:
        data = self.site_app.data
        if data is None:
            return
        right, seen, source, point = self._right, self._seen, self._source, self._point

        def work() -> Seat:
            from fsbackup_tui.tui.recover_data import declare_here

            return declare_here(
                data.desk(), source=source, seen=seen, last_right=right, point=point
            )

        self.say("Opening the incident…")
        self.in_thread("declare", work, self._opened)

    def _opened(self, seat: Seat) -> None:
        self.site_app.refresh_overview()
        self.app.pop_screen()
        self._then(seat)

    def action_back(self) -> None:
        """Go back: to the first question, or out; nothing was declared."""
        if self._asked in ("seen", "source"):
            self._ask_right()
        else:
            super().action_back()


def _sources_of(data: SiteData) -> Mapping[Seen, Sequence[str]]:
    """Return what can be seen at this site, each with the sources that it can be; in a thread.

    Raises:
        UsageError: there is nothing to recover.
    """
    from fsbackup_tui.recovery.kinds import require_sources, seen_here, sources_for

    loaded = data.desk().loaded
    require_sources(loaded)
    return {seen: sources_for(loaded, seen) for seen in seen_here(loaded)}
