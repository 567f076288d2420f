"""Mode 3: what was shown of each point, rung by rung, and what was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.tui.data import JobRow, Overview
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes.picture import PictureScreen
from fsbackup_tui.tui.modes.points import BESIDE_FROM, PointsScreen
from fsbackup_tui.tui.modes.proof import ProofScreen
from fsbackup_tui.tui.modes.rungs import Around, verify_heading, verify_note, verify_row
from fsbackup_tui.tui.widgets.line_list import LineList


class VerifyScreen(PointsScreen):
    """Points by rungs: when each held, how long it took, what is stale, failed or blocked."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("verify")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("verify", "list", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = (
        "open", "verify-point", "verify-picture", "verify-filter", "verify-sort", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "verify"
    EVERY_SECONDS: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._jobs: Mapping[str, JobRow] = {}

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: those of a point only where there is one."""
        if self.filtering:
            return (("Enter", "keep"), ("Esc", "show all"))
        if self.table.count:
            return self.FOOT
        return ("verify-filter", "back", "help", "quit") if self.filtered else (
            "palette", "help", "quit",
        )  # fmt: skip

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of; without a site those of a point are none."""
        if self.table.count == 0 and "inventory" in self.site_app.overview.blocked:
            return ("text", "general")
        return self.CONTEXTS

    def around(self) -> Around:
        """Return what the rows depend on beside the points."""
        app = self.site_app
        overview = app.overview
        return Around(app.now(), overview.zone, app.checked, overview.wanted, self._jobs)

    def tick(self) -> None:
        """Look which verifications run, as long as any job does."""
        data = self.site_app.data
        if data is not None and (self.site_app.overview.running or self._jobs):
            self.in_thread("jobs", data.jobs, self._take_jobs)

    def _take_jobs(self, jobs: Sequence[JobRow]) -> None:
        running = {job.subject: job for job in jobs if job.verifies and job.state == "running"}
        if running == self._jobs:
            return
        ended = self._jobs.keys() - running.keys()
        self._jobs = running
        if ended:
            self.site_app.refresh_overview()
        self.table.repaint()
        self.paint_around()

    def overview_changed(self, before: Overview) -> None:
        """Read again what may be another, and look at the jobs at once."""
        super().overview_changed(before)
        if before.wanted != self.site_app.overview.wanted:
            self.table.repaint()
        self.tick()

    def row(self, point: PointSummary, width: int, marked: bool) -> Line:
        """Return a point's row."""
        return verify_row(point, width, marked, self.around())

    def heading(self, width: int) -> Line:
        """Return the titles above the rows."""
        return verify_heading(width)

    def note(self, point: PointSummary, width: int) -> list[Line]:
        """Return why the point under the cursor failed, what was blocked, what is wanted."""
        rows = 3 if self.size.width >= BESIDE_FROM else max(2, min(8, self.size.height // 5))
        # Always as many lines: the table must not jump when the cursor moves.
        lines = verify_note(point, width, rows, self.around())
        return [*lines, *([line()] * (rows - len(lines)))]

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Open the point's proof."""
        message.stop()
        point = self.table.current()
        if point is not None:
            self.app.push_screen(ProofScreen(point))

    def action_picture(self) -> None:
        """Show the points of the plan under the cursor over time."""
        point = self.table.current()
        if point is None:
            words = "still reading the points" if self.table.count else "there is no point yet"
            self.say(f"Picture: {words}", "warn")
            return
        self.app.push_screen(PictureScreen(point.plan))
