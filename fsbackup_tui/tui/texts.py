"""Screens of plain text: help, alerts, text to select by hand, and what to do without a site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import ClassVar

from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.text import age_text, when_text
from fsbackup_tui.tui.data import Overview
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings, help_rows
from fsbackup_tui.tui.lines import Line, Role, labelled, line, pad, printable, wrap, wrapped
from fsbackup_tui.tui.problems import problem_lines
from fsbackup_tui.tui.widgets.line_list import TextView

NO_CONFIG = "no-config"
WELCOME = """\
No configuration is here yet, so there is nothing to show. Two ways to begin:

  fsbackup init    writes a configuration for your database. It finds the
                   address in DATABASE_URL, an .env file or a Prisma schema,
                   and asks where the backups shall lie.

  fsbackup demo    a PostgreSQL server of its own with a sample site: backed
                   up and restored before your eyes, then taken away again.

q leaves. A configuration elsewhere: fsbackup --config FILE"""


class TextScreen(FrameScreen):
    """A text in the frame; subclasses say which."""

    CONTEXTS: ClassVar[tuple[Context, ...]] = ("text", "general")

    def body(self) -> Iterator[Widget]:
        """Compose the text."""
        yield TextView(id="text")

    def lines(self, width: int) -> list[Line]:
        """Return the text, wrapped to the width."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Show the text."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the text."""
        self.query_one("#text", TextView).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Wrap the text anew."""
        self.query_one("#text", TextView).show(self.lines(self.size.width))


class HelpScreen(TextScreen):
    """The keys of what had the keyboard, then the general ones."""

    FOOT: ClassVar[tuple[Shown, ...]] = ("back", "quit")

    def __init__(self, contexts: Sequence[Context]) -> None:
        super().__init__()
        self._contexts = contexts

    def lines(self, width: int) -> list[Line]:
        """Return the keys, by context."""
        result: list[Line] = []
        app = self.site_app
        wide = width >= 100
        told = list(help_rows(self._contexts, app.remapped, read_only=app.read_only))
        # Every key is shown, however many an action has.
        cells = 2 + max(len(keys) for _, rows in told for keys, _, _ in rows)
        cells = max(16, min(cells, width - 47))
        for title, rows in told:
            result.append(line(" ", (title, "heading")))
            for keys, sentence, identifier in rows:
                shown = f"  {identifier}" if wide else ""
                result.append(
                    line("   ", (pad(keys, cells), "key"), pad(sentence, 44), (shown, "muted"))
                )
            result.append(line())
        result.append(line(" ", ("In words", "heading")))
        notes = (
            "Jobs run in processes of their own: leaving, or losing the terminal, stops none.",
            "The same from the command line: fsbackup list, show, verify, jobs, attach, cancel.",
            "Themes are in the commands (:). Keys, theme and mouse are kept in tui.yaml,"
            " in $XDG_CONFIG_HOME/fsbackup: for instance",
            "   theme: light",
            "   keys: {verify: V}",
        )
        for note in notes:
            result.extend(line("   ", *row) for row in wrapped(note, width - 4))
        for name, text in (
            ("Config", self.site_app.overview.config),
            ("Points", self.site_app.overview.repository),
        ):
            if text:
                result.append(line("   ", (pad(name, 8), "muted"), text))
        return result


class AlertsScreen(TextScreen):
    """What needs a person: what, since when, why it matters, and the remedies."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("alerts")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("alerts", "text", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = ("back", "alerts-copy", "alerts-show", "help", "quit")

    def minute(self) -> None:
        """Repaint ages."""
        self.query_one("#text", TextView).show(self.lines(self.size.width))

    def action_copy(self) -> None:
        """Copy the alerts with their remedies."""
        self.site_app.copy(self, "\n\n".join(self._texts()) or "Nothing needs you.")

    def action_show(self) -> None:
        """Show the alerts alone on the screen."""
        self.site_app.show_by_hand(self._texts() or ["Nothing needs you."])

    def _texts(self) -> list[str]:
        return [
            "\n".join(filter(None, (alert.what, alert.why, alert.fix)))
            for alert in self.site_app.overview.alerts
        ]

    def overview_changed(self, before: Overview) -> None:
        """Show the alerts of now."""
        self.query_one("#text", TextView).show(self.lines(self.size.width))

    def lines(self, width: int) -> list[Line]:
        """Return the alerts, and the last problem that the status line showed."""
        result: list[Line] = []
        for alert in self.site_app.overview.alerts:
            role: Role = "bad" if alert.severe else "warn"
            result.extend(line(" ", *row) for row in wrapped(alert.what, width - 2, role))
            if alert.since is not None:
                result.append(line(" ", ("Since ", "muted"), (self._since(alert.since), "text")))
            for label, text in (("Why", alert.why), ("Next", alert.fix)):
                if text:
                    result.extend(line(" ", *row) for row in labelled(label, text, width - 2))
            result.append(line())
        problem = self.site_app.last_problem
        if problem is not None:
            result.append(line(" ", ("Last message", "heading")))
            app = self.site_app
            result.extend(problem_lines(problem, width, now=app.now(), zone=app.overview.zone))
        if not result:
            result.append(line(" ", ("Nothing needs you.", "text")))
        return result

    def _since(self, since: datetime) -> str:
        now = self.site_app.now()
        ago = age_text((now - since).total_seconds())
        return f"{when_text(since, now, self.site_app.overview.zone)}, {ago}"


def problem_page(problem: Problem, width: int, *, now: datetime, zone: tzinfo) -> list[Line]:
    """Return what stands in place of the points: what is missing, the remedy, how to begin."""
    if problem.kind == NO_CONFIG:
        looked = [line(" ", *row) for row in wrapped(problem.why, width - 2, "muted")]
        welcome = (line(" ", text) for text in WELCOME.splitlines())
        return [line(), *welcome, line(), *looked]
    again = line(" ", ("It is looked for again every few seconds.", "muted"))
    return [line(), *problem_lines(problem, width, now=now, zone=zone), line(), again]


class ByHandScreen(Screen[None], inherit_bindings=False):
    """A text alone on the screen, so that the terminal's own selection takes it; Esc ends it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("general")
    DEFAULT_CSS = "ByHandScreen { background: $background; overflow: hidden; }"

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self._texts = texts

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of."""
        return ("text", "general")

    def compose(self) -> Iterator[Widget]:
        """Compose the text."""
        yield TextView(id="text")

    def on_resize(self) -> None:
        """Break the text where the window ends, without a frame around it."""
        width = max(1, self.size.width)
        rows = [
            line(part)
            for text in self._texts
            for paragraph in text.splitlines() or [""]
            for part in _chunks(printable(paragraph), width)
        ]
        rows.append(line())
        rows += [line((text, "muted")) for text in wrap("Select with the mouse. Esc: back", width)]
        view = self.query_one("#text", TextView)
        view.show(rows)
        view.focus(scroll_visible=False)

    def action_back(self) -> None:
        """Go back."""
        self.app.pop_screen()


def _chunks(text: str, width: int) -> list[str]:
    """Return the text cut at the width without regard to words, as a terminal would wrap it."""
    return [text[start : start + width] for start in range(0, len(text), width)] or [""]
