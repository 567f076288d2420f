"""One job: live while it runs, its outcome afterwards. Opening it is all that attaching takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.tui.asking import ask_cancel
from fsbackup_tui.tui.data import JobRow, JobView, JobWatch, SiteData
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line, spread
from fsbackup_tui.tui.modes import live
from fsbackup_tui.tui.widgets.line_list import TextView
from fsbackup_tui.tui.widgets.line_widget import LineWidget


class JobScreen(FrameScreen):
    """One job, read from its journal twice a second."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("job")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("job", "text", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = (
        "back", "job-view", "job-cancel", "job-copy", "job-show", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "jobs"
    EVERY_SECONDS: ClassVar[float] = 0.5

    def __init__(self, job: JobRow) -> None:
        super().__init__()
        self._view = JobView(row=job)
        self._watch: JobWatch | None = None
        self._views = live.views_of(job)
        self._which: live.View = self._views[0]

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: nothing cancels a job that has ended."""
        running = self._view.row.state == "running"
        return [shown for shown in self.FOOT if running or shown != "job-cancel"]

    def body(self) -> Iterator[Widget]:
        """Compose the lines of numbers and the text below."""
        yield LineWidget(id="numbers")
        yield LineWidget(id="outcome")
        yield LineWidget(id="views")
        yield TextView(id="text")
        yield LineWidget(id="tail")

    def on_mount(self) -> None:
        """Paint what the list knew, then follow the journal."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the text."""
        self.query_one("#text", TextView).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        self.set_class(self.size.height >= 20, "-tall")
        self._paint()

    def tick(self) -> None:
        """Read what is new in the journal; an ended job is read once."""
        data = self.site_app.data
        if data is None or (self._watch is not None and self._view.row.state != "running"):
            return
        self.in_thread("journal", lambda: self._read(data), self._take)

    def _read(self, data: SiteData) -> JobView:
        watch = self._watch or data.watch(self._view.row.id)
        self._watch = watch
        return watch.read()

    def _take(self, view: JobView) -> None:
        ended = self._view.row.state == "running" and view.row.state != "running"
        self._view = view
        self._paint()
        self.paint_foot()
        if ended:
            self.site_app.refresh_overview()

    def _paint(self) -> None:
        app, width, view = self.site_app, self.size.width, self._view
        now, zone = app.now(), app.overview.zone
        running = view.row.state == "running"
        numbers: list[Line] = [
            live.title_line(view, now=now, zone=zone),
            live.stages_line(view, width),
        ]
        if running:
            numbers += [live.progress_line(view, width), live.numbers_line(view, now, width)]
            numbers.append(live.active_line(view, width))
        self._show("#numbers", numbers)
        self._show("#outcome", live.outcome_lines(view, width, now=now, zone=zone)[:12])
        self._show("#views", [spread(self._tabs(), self._warned(), width)])
        text = self.query_one("#text", TextView)
        follow = self._which == "log" and text.at_end
        text.show(live.view_lines(view, self._which, width))
        if follow:
            text.action_last()
        self._paint_tail()

    def _paint_tail(self) -> None:
        tail = self.query_one("#tail", LineWidget)
        if self._which != "tables" or not self.has_class("-tall"):
            tail.styles.height = 0
            return
        rows = min(max(5, self.size.height // 3 - 3), max(1, len(self._view.log)))
        logged = self._view.log
        skipped = max(0, len(logged) - rows) + self._view.log_skipped
        above = f"  {skipped} line{'s' if skipped != 1 else ''} above" if skipped else ""
        head = line(" ", ("Log", "heading"), (above, "muted"))
        if tail.styles.height is None or tail.styles.height.value != rows + 1:
            tail.styles.height = rows + 1
        shown = [line("   ", text) for text in logged[-rows:]] or [line("   ", ("-", "muted"))]
        tail.show(head, *shown)

    def _show(self, selector: str, lines: list[Line]) -> None:
        widget = self.query_one(selector, LineWidget)
        if len(lines) != len(widget.shown) or widget.styles.height is None:
            widget.styles.height = len(lines)
        widget.show(*lines)

    def _tabs(self) -> Line:
        names = {"tables": "Tables", "log": "Log", "commands": "Commands"}
        return line(
            " ",
            *(
                (f" {names[view]} ", "bar" if view == self._which else "muted")
                for view in self._views
            ),
        )

    def _warned(self) -> Line:
        number = len(self._view.warnings)
        text = f"{number} warning{'s' if number != 1 else ''} " if number else ""
        return line((text, "warn"))

    def action_next_view(self) -> None:
        """Show the next of tables, log, commands."""
        which = self._views[(self._views.index(self._which) + 1) % len(self._views)]
        self._which = which
        text = self.query_one("#text", TextView)
        text.action_first()
        self._paint()
        if which == "log":
            text.action_last()

    def action_cancel(self) -> None:
        """Ask whether the job shall stop."""
        ask_cancel(self, self._view.row)

    def action_copy(self) -> None:
        """Copy the commands that the job ran."""
        if not self._view.commands:
            self.say("Copy: the job has run no command yet", "warn")
            return
        self.site_app.copy(self, "\n".join(self._view.commands))

    def action_show(self) -> None:
        """Show the commands and the paths alone on the screen."""
        view = self._view
        texts = [view.row.id, f"fsbackup attach {view.row.id}", *view.commands]
        self.site_app.show_by_hand([*texts, *([view.output_log] if view.output_log else [])])
