"""One point's proof: what a trial restore of it showed, and a verification while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.text import shorten
from fsbackup_tui.operations.wording import when_text
from fsbackup_tui.tui.asking import ask_verify
from fsbackup_tui.tui.data import JobRow, JobView, JobWatch, Overview, PointProof, SiteData
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes import live, proof_lines
from fsbackup_tui.tui.modes.columns import age_of, trust_shown
from fsbackup_tui.tui.modes.rungs import Around, rungs_line, verify_note
from fsbackup_tui.tui.modes.site_part_lines import signature_fact
from fsbackup_tui.tui.widgets.line_list import TextView
from fsbackup_tui.tui.widgets.line_widget import LineWidget


class ProofScreen(FrameScreen):
    """Table by table what came back of a point, what every entry became, what it took."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("proof")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("proof", "text", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = (
        "back", "proof-verify", "proof-view", "proof-copy", "proof-show", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "verify"
    EVERY_SECONDS: ClassVar[float] = 0.5

    def __init__(self, point: PointSummary) -> None:
        super().__init__()
        self._point = point
        self._proof: PointProof | None = None
        self._job: JobView | None = None
        self._watch: tuple[str, JobWatch] | None = None
        self._which: proof_lines.View | None = None

    def body(self) -> Iterator[Widget]:
        """Compose the lines above and the text below."""
        yield LineWidget(id="head")
        yield LineWidget(id="views")
        yield TextView(id="text")

    def on_mount(self) -> None:
        """Paint what the list knew, then read the records."""
        self.focus_body()
        self._paint()

    def focus_body(self) -> None:
        """Give the keyboard to the text."""
        self.query_one("#text", TextView).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        self._paint()

    def minute(self) -> None:
        """Repaint ages."""
        self._paint()

    def overview_changed(self, before: Overview) -> None:
        """Read the records again where a verification may have added one."""
        now = self.site_app.overview
        if self._proof is None or before.revision != now.revision or before.zone != now.zone:
            self._read()

    def _read(self) -> None:
        data, name = self.site_app.data, self._point.id
        if data is not None:
            self.in_thread("proof", lambda: data.proof(name), self._take)

    def _take(self, proof: PointProof) -> None:
        if self._proof is None:
            self._which = None
        self._proof = proof
        self._point = proof.summary
        self._paint()

    def tick(self) -> None:
        """Follow the verification of this point, while one runs."""
        data = self.site_app.data
        if data is None or not (self._job or self.site_app.overview.running):
            return
        self.in_thread("journal", lambda: self._look(data), self._take_job)

    def _look(self, data: SiteData) -> JobView | None:
        """Return the running verification of this point as it is now; None for none."""
        if self._watch is not None:
            view = self._watch[1].read()
            if view.row.state == "running":
                return view
            self._watch = None
            return view
        job = next((job for job in data.jobs() if self._is_ours(job)), None)
        if job is None:
            return None
        self._watch = job.id, data.watch(job.id)
        return self._watch[1].read()

    def _is_ours(self, job: JobRow) -> bool:
        return job.verifies and job.state == "running" and job.subject == self._point.id

    def _take_job(self, view: JobView | None) -> None:
        before, self._job = self._job, view
        if view is not None and view.row.state != "running":
            self._job = None
            word = "ended" if view.row.state == "ok" else view.row.state.upper()
            self.say(f"{view.row.label} {word}", "good" if view.row.state == "ok" else "bad")
            self._which = None
            self.site_app.refresh_overview()
            self._read()
        if before is None and self._job is not None:
            self._which = "live"
        if before is not None or self._job is not None:
            self._paint()

    def _paint(self) -> None:
        views = self._views()
        if self._which not in views:
            self._which = views[0]
        self._paint_head()
        self.query_one("#views", LineWidget).show(self._tabs(views))
        text = self.query_one("#text", TextView)
        text.show(self._lines(self._which))
        self.paint_foot()

    def _views(self) -> tuple[proof_lines.View, ...]:
        return proof_lines.views_of(self._proof, live=self._job is not None)

    def _lines(self, which: proof_lines.View) -> Sequence[Line]:
        width, proof = self.size.width, self._proof
        if which == "live" and self._job is not None:
            return live.view_lines(self._job, "tables", width)
        if proof is None:
            return [line("   ", ("reading the records…", "muted"))]
        app = self.site_app
        seen = proof_lines.Seen(app.now(), app.overview.zone, width)
        return proof_lines.view_lines(proof, which, seen)

    def _paint_head(self) -> None:
        app, point, width = self.site_app, self._point, self.size.width
        overview = app.overview
        around = Around(app.now(), overview.zone, app.checked, overview.wanted)
        word, role = trust_shown(point)
        taken = when_text(point.created, around.now, around.zone)
        lines = [
            line(" ", (point.id, "heading"), "  ", (word, role if app.checked else "muted")),
            line(f" Taken {taken}, {age_of(point.created, around.now)} ago, plan {point.plan}"),
            rungs_line(point, around),
        ]
        if self._proof is not None and self._proof.signature is not None:
            _, text, role = signature_fact(self._proof.signature)
            lines.insert(2, line(" ", (shorten(text, width - 2), role)))
        if self._job is not None:
            lines += _job_lines(self._job, app.now(), width)
        else:
            rows = max(2, (self.size.height - 10) // 4)
            more = "… Findings shows all"
            lines += verify_note(point, width, rows, around, took=False, more=more)
        head = self.query_one("#head", LineWidget)
        if len(lines) != len(head.shown) or head.styles.height is None:
            head.styles.height = len(lines)
        head.show(*lines)

    def _tabs(self, views: Sequence[proof_lines.View]) -> Line:
        return line(
            " ",
            *(
                (f" {proof_lines.VIEW_NAMES[view]} ", "bar" if view == self._which else "muted")
                for view in views
            ),
        )

    def action_next_view(self) -> None:
        """Show the next of findings, tables, checks, receipt, times."""
        views = self._views()
        place = views.index(self._which) if self._which in views else -1
        self._which = views[(place + 1) % len(views)]
        self.query_one("#text", TextView).action_first()
        self._paint()

    def action_verify(self) -> None:
        """Ask how far to verify the point."""
        ask_verify(self, self._point)

    def _command(self) -> str:
        return f"fsbackup verify {self._point.id} --level proven"

    def action_copy(self) -> None:
        """Copy the command that proves the point."""
        self.site_app.copy(self, self._command())

    def action_show(self) -> None:
        """Show that command, and where the records lie, alone on the screen."""
        parts = () if self._proof is None else self._proof.parts
        self.site_app.show_by_hand([self._command(), *(part.record for part in parts)])


def _job_lines(view: JobView, now: datetime, width: int) -> list[Line]:
    """Return how far a verification is, as the job's own screen shows it."""
    return [
        live.stages_line(view, width),
        live.progress_line(view, width),
        live.numbers_line(view, now, width),
        live.active_line(view),
    ]
