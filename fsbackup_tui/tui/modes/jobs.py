"""Mode 2: the jobs, running ones first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.tui.asking import ask_backup, ask_cancel
from fsbackup_tui.tui.data import JobRow, Overview
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes.columns import JOB_COLUMNS, heading, job_row
from fsbackup_tui.tui.modes.job import JobScreen
from fsbackup_tui.tui.problems import problem_lines
from fsbackup_tui.tui.texts import problem_page
from fsbackup_tui.tui.widgets.line_list import LineList, LineTexts
from fsbackup_tui.tui.widgets.line_widget import LineWidget

_FOOT_WITHOUT_JOBS: Sequence[Shown] = ("jobs-back-up", "palette", "help", "quit")


class JobList(LineTexts, inherit_bindings=True):
    """The rows of the jobs; the cursor stays on its job when others come."""


class JobsScreen(FrameScreen):
    """All jobs of the site on this machine."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("jobs")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("jobs", "list", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = (
        "open", "jobs-back-up", "jobs-cancel", "jobs-copy", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "jobs"
    EVERY_SECONDS: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._jobs: Sequence[JobRow] | None = None

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: those of a job only where there is one."""
        if self._jobs:
            job = self.current()
            running = job is not None and job.state == "running"
            return [shown for shown in self.FOOT if running or shown != "jobs-cancel"]
        return ("palette", "help", "quit") if self._jobs is None else _FOOT_WITHOUT_JOBS

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of; without a site those of a job are none."""
        return self.CONTEXTS if self._jobs is not None else ("general",)

    def body(self) -> Iterator[Widget]:
        """Compose heading and list."""
        yield LineWidget(id="heading")
        yield JobList(id="jobs")
        yield LineWidget(id="note")

    @property
    def job_list(self) -> JobList:
        """The list of jobs."""
        return self.query_one("#jobs", JobList)

    def on_mount(self) -> None:
        """Paint the frame and take the keyboard."""
        self.focus_body()

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        self._paint()

    def focus_body(self) -> None:
        """Give the keyboard to the list."""
        self.job_list.focus(scroll_visible=False)

    def tick(self) -> None:
        """Look at the jobs again."""
        data = self.site_app.data
        if data is not None:
            self.in_thread("jobs", data.jobs, self._take)

    def overview_changed(self, before: Overview) -> None:
        """Look at once when the site was just read; say so where it can't be."""
        if self._jobs is None:
            self._paint()
            self.tick()

    def _take(self, jobs: Sequence[JobRow]) -> None:
        current = self.current()
        self._jobs = jobs
        wanted = current.id if current else ""
        begun = self.site_app.begun
        if any(job.id == begun for job in jobs):
            # Who has just begun it wants to see it, not what was looked at before.
            wanted, self.site_app.begun = begun, ""
        place = next((i for i, job in enumerate(jobs) if job.id == wanted), None)
        self._paint()
        if place is not None and place != self.job_list.cursor:
            self.job_list.move_to(place)
            self._paint()

    def current(self) -> JobRow | None:
        """Return the job under the cursor."""
        jobs = self._jobs or ()
        cursor = self.job_list.cursor
        return jobs[cursor] if cursor < len(jobs) else None

    def _paint(self) -> None:
        app, width, listing = self.site_app, self.size.width, self.job_list
        now, zone = app.now(), app.overview.zone
        jobs = self._jobs
        titles = heading(JOB_COLUMNS, width)
        self.query_one("#heading", LineWidget).show(titles if jobs else line())
        position = f"{listing.cursor + 1}/{len(jobs)} " if jobs else ""
        self.corner(line((position, "accent")))
        if jobs:
            rows = [
                job_row(job, width, index == listing.cursor, now=now, zone=zone)
                for index, job in enumerate(jobs)
            ]
        elif jobs is None and "jobs" in app.overview.blocked:
            rows = problem_page(app.overview.blocked["jobs"], width, now=now, zone=zone)
        elif jobs is None:
            rows = [line("   ", ("reading the jobs…", "muted"))]
        else:
            rows = [
                line(),
                line("   ", ("No job has run here yet.", "warn"), "  b backs up now."),
            ]
        listing.show(rows, cursor=bool(jobs))
        self._paint_note()
        self.paint_foot()

    def _paint_note(self) -> None:
        """Tell what, why and next of a failed job below the list, so far as there is room."""
        app, job, width = self.site_app, self.current(), self.size.width
        now, zone = app.now(), app.overview.zone
        rows: list[Line] = []
        if job is not None and job.problem is not None:
            rows = [
                line("  ", *row)
                for row in problem_lines(job.problem, width - 2, now=now, zone=zone)
            ]
        elif job is not None and job.what:
            rows = [line("   ", (job.what, "bad"))]
        note = self.query_one("#note", LineWidget)
        room = max(1, self.size.height // 3)
        if len(rows) > room:
            rows = [*rows[: room - 1], line("   ", ("… Enter shows all", "muted"))]
        height = len(rows)
        if note.styles.height is None or note.styles.height.value != height:
            note.styles.height = height
        note.show(*rows)

    def on_line_list_moved(self) -> None:
        """Put the mark where the cursor is."""
        self._paint()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Open the job under the cursor."""
        message.stop()
        job = self.current()
        if job is not None:
            self.app.push_screen(JobScreen(job))

    def action_back_up(self) -> None:
        """Ask which plan to back up."""
        ask_backup(self)

    def action_cancel(self) -> None:
        """Ask whether the job under the cursor shall stop."""
        ask_cancel(self, self.current())

    def action_copy(self) -> None:
        """Copy the command that attaches to the job."""
        job = self.current()
        if job is not None:
            self.site_app.copy(self, f"fsbackup attach {job.id}")

    def action_show(self) -> None:
        """Show the job's id and command alone on the screen."""
        job = self.current()
        if job is not None:
            self.site_app.show_by_hand([job.id, f"fsbackup attach {job.id}"])
