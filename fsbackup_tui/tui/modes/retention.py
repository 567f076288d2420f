"""Mode 5: what each plan keeps, which points stay by which rule, which leave, and the space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.retention import Candidate, Verdict
from fsbackup_tui.tui.data import Overview
from fsbackup_tui.tui.frame import FIELD_FOOT, FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes.calendar_lines import LEGEND, bar_lines, grid_lines
from fsbackup_tui.tui.modes.retention_acts import ask_apply, ask_pin
from fsbackup_tui.tui.modes.retention_lines import (
    Row,
    group_line,
    grouped,
    note_lines,
    plan_lines,
    point_line,
    points_heading,
    refusal_lines,
    space_line,
)
from fsbackup_tui.tui.modes.retention_rules import RulesScreen
from fsbackup_tui.tui.modes.retention_trash import TrashScreen
from fsbackup_tui.tui.problems import problem_lines
from fsbackup_tui.tui.retention_data import RetentionView
from fsbackup_tui.tui.widgets.entry import EntryPanel
from fsbackup_tui.tui.widgets.line_list import LineList, TextView
from fsbackup_tui.tui.widgets.line_widget import LineWidget

_BAR_FROM, _LEGEND_FROM, _GRID_FROM = 20, 30, 38


class RetainedList(LineList, inherit_bindings=False):
    """A plan's points below the titles of their months or days; the cursor passes over those."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: Sequence[Row] = ()
        self._verdicts: Mapping[str, Verdict] = {}
        self._view: RetentionView | None = None

    def show_points(self, view: RetentionView, plan: str) -> None:
        """Show a plan's points; the cursor stays on the point that it is on."""
        before = self.current()
        self._view, self._rows = view, grouped(view, plan)
        self._verdicts = {each.id: each for each in view.decision.verdicts}
        self.set_count(len(self._rows))
        places = (
            index
            for index, row in enumerate(self._rows)
            if isinstance(row, Candidate) and (before is None or row.id == before.id)
        )
        self.move_to(next(places, 1))
        self.repaint()

    def current(self) -> Candidate | None:
        """Return the point under the cursor."""
        row = self._rows[self.cursor] if self.cursor < len(self._rows) else None
        return row if isinstance(row, Candidate) else None

    def verdict(self, point: Candidate) -> Verdict | None:
        """Return what becomes of a point."""
        return self._verdicts.get(point.id)

    def move_to(self, index: int) -> None:
        """Put the cursor on a point; a title is passed over, but brought into sight."""
        index = max(0, min(index, len(self._rows) - 1))
        if self._rows and not isinstance(self._rows[index], Candidate):
            if index < self.cursor and index:
                index -= 1
            else:
                super().move_to(index)
                index += 1
        super().move_to(index)
        above = index - 1
        titled = above >= 0 and not isinstance(self._rows[above], Candidate)
        if titled and self.scroll_offset.y == index:
            # The title of a month's first point must not be just out of sight.
            self.scroll_to(y=above, animate=False, force=True)

    def row(self, index: int, width: int) -> Line:
        """Return a row: a title, or a point and what keeps it."""
        row, view = self._rows[index], self._view
        if view is None:
            return ()
        if not isinstance(row, Candidate):
            return group_line(row, width)
        marked = index == self.cursor
        return point_line(row, self._verdicts.get(row.id), width, marked, view.now, view.zone)


class RetentionScreen(FrameScreen):
    """The plans, the calendar of one, its points; removing, pinning, trying other rules."""

    DEFAULT_CSS = """
    RetentionScreen #nothing { display: none; }
    RetentionScreen.-empty #nothing { display: block; height: 1fr; }
    RetentionScreen.-empty #retained { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("retention")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("retention", "list", "general")
    MODE: ClassVar[str] = "retention"
    IS_HOME: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._view: RetentionView | None = None
        self._plan = ""
        self._trouble: Problem | None = None
        self._again = False

    def body(self) -> Iterator[Widget]:
        """Compose the plans, the calendar, the points, and what is said of one."""
        yield LineWidget(id="plans")
        yield LineWidget(id="calendar")
        yield LineWidget(id="heading")
        yield RetainedList(id="retained")
        yield TextView(id="nothing")
        yield LineWidget(id="note")
        yield EntryPanel(self.site_app.clock, id="entry")

    @property
    def listing(self) -> RetainedList:
        """The points."""
        return self.query_one("#retained", RetainedList)

    @property
    def entry(self) -> EntryPanel:
        """The line that takes text."""
        return self.query_one("#entry", EntryPanel)

    @property
    def view(self) -> RetentionView | None:
        """Retention as it was read last."""
        return self._view

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: those that would do something now."""
        if self.entry.open:
            return FIELD_FOOT
        view = self._view
        if view is None or not view.plans:
            return ("palette", "help", "quit")
        shown: list[Shown] = []
        free = view.locked is None
        shown += ["open"] if self.listing.count else []
        shown += ["retain-rules"] if self._plan in view.policies else []
        shown += ["retain-apply"] if free and view.decision.leaving else []
        shown += ["retain-pin"] if free and self.listing.count else []
        shown += ["retain-trash"] if view.trash else []
        shown += ["retain-plan"] if len(view.plans) > 1 else []
        return (*shown, "retain-copy", "help", "quit")

    def on_mount(self) -> None:
        """Take the keyboard."""
        self.paint_body()
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the points, or to what stands in their place."""
        body = "#nothing" if self.has_class("-empty") else "#retained"
        self.query_one(body).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint everything in the new size."""
        self.paint_body()

    def minute(self) -> None:
        """Decide again: points grow older."""
        self.reload()

    def overview_changed(self, before: Overview) -> None:
        """Read again where the points, or what holds them, may be others."""
        now = self.site_app.overview
        told = (now.revision, now.running, now.zone, now.incident is None)
        if self._view is None or told != (
            before.revision, before.running, before.zone, before.incident is None
        ):  # fmt: skip
            self.reload()

    def reload(self) -> None:
        """Read retention again; what is shown stays until then."""
        data = self.site_app.data
        if data is not None and not self.in_thread("look", data.retention, self._take, self._fail):
            self._again = True

    def _take(self, view: RetentionView) -> None:
        if self._again:
            self._again = False
            self.reload()
            return
        before, self._trouble = self._view, None
        growth = None if before is None else before.growth
        self._show(view if growth is None else view.grown(growth))
        self.in_thread("growth", view.with_growth, self._show)

    def _show(self, view: RetentionView) -> None:
        self._view = view
        if self._plan not in view.plans:
            self._plan = next(iter(view.plans), "")
        self.paint_body()

    def _fail(self, problem: Problem) -> None:
        self._trouble, self._view = problem, None
        self.paint_body()

    def paint_body(self) -> None:
        """Paint everything: the plans, the calendar, the points, the note, the keys."""
        if not self.is_there:
            return
        view, width, height = self._view, self.size.width, self.size.height
        empty = view is None or not view.of_plan(self._plan)
        if self.has_class("-empty") != empty:
            self.set_class(empty, "-empty")
            if not self.entry.open:
                self.focus_body()
        if view is not None:
            most = max(1, min(6, height // 8))
            top = [*plan_lines(view, self._plan, width, most), space_line(view, width)]
            _put(self, "#plans", [*top, *refusal_lines(view)])
            self.listing.show_points(view, self._plan)
        else:
            _put(self, "#plans", [])
        if empty:
            self.query_one("#nothing", TextView).show(self._nothing(width))
        _put(self, "#heading", [] if empty else [points_heading(width)])
        self._paint_at()
        self.paint_foot()

    def _paint_at(self) -> None:
        """Paint what depends on where the cursor is."""
        view, point = self._view, self.listing.current()
        points = [] if view is None else view.of_plan(self._plan)
        if view is None or point is None or not points:
            _put(self, "#calendar", [])
            _put(self, "#note", [])
            self.corner(line())
            return
        width, height = self.size.width, self.size.height
        leaving = frozenset(view.decision.leaving)
        shown: list[Line] = []
        if height >= _GRID_FROM:
            shown = grid_lines(points, leaving, width, now=view.now, zone=view.zone)
        if height >= _BAR_FROM:
            shown += bar_lines(points, leaving, width, now=view.now, zone=view.zone, cursor=point)
        if height >= _LEGEND_FROM:
            shown.append(line("  ", (LEGEND, "muted")))
        _put(self, "#calendar", shown)
        rows = 1 if height < _BAR_FROM else 2
        _put(self, "#note", note_lines(point, self.listing.verdict(point), view, width, rows))
        place = next((n for n, each in enumerate(points, 1) if each.id == point.id), 0)
        self.corner(line((f" {place:n}/{len(points):n} ", "accent")))

    def _nothing(self, width: int) -> list[Line]:
        app = self.site_app
        problem = self._trouble or app.overview.blocked.get("inventory")
        if self._view is None and problem is not None:
            return [line(), *problem_lines(problem, width, now=app.now(), zone=app.overview.zone)]
        if self._view is None:
            return [line("   ", ("reading the points…", "muted"))]
        if not self._plan:
            return [line(), line("   ", ("No plan, and no point: nothing to keep.", "warn"))]
        words = f"Plan {self._plan} has no recovery point yet. e tries its rules."
        return [line(), line("   ", (words, "warn"))]

    def on_line_list_moved(self) -> None:
        """Show what is said of the point under the cursor."""
        self._paint_at()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Open the point's details."""
        message.stop()
        data, point = self.site_app.data, self.listing.current()
        if data is None or point is None:
            return
        from fsbackup_tui.tui.modes.point import PointScreen

        def opened(screen: PointScreen) -> None:
            self.app.push_screen(screen)

        self.in_thread("open", lambda: PointScreen(data.details(point.id).summary), opened)

    def on_entry_panel_closed(self) -> None:
        """Give the keyboard back."""
        self.paint_foot()
        self.give_back()

    def action_next_plan(self) -> None:
        """Show the next plan's points."""
        plans = () if self._view is None else self._view.plans
        if len(plans) < 2:
            self.say("Plan: there is no other", "warn")
            return
        self._plan = plans[(plans.index(self._plan) + 1) % len(plans)]
        self.paint_body()

    def action_rules(self) -> None:
        """Try other rules for the plan."""
        view = self._view
        if view is None or self._plan not in view.policies:
            self.say("Rules: this plan is not in the configuration", "warn")
            return
        self.app.push_screen(RulesScreen(view, self._plan))

    def action_apply(self) -> None:
        """Ask whether what leaves shall go to the trash now."""
        if self._view is not None:
            ask_apply(self, self.entry, self._view)

    def action_pin(self) -> None:
        """Pin the point under the cursor with a reason, or unpin it."""
        view, point = self._view, self.listing.current()
        if view is None or point is None:
            self.say("Pin: there is no point under the cursor", "warn")
            return
        ask_pin(self, self.entry, view, point, self.reload)

    def action_trash(self) -> None:
        """Show what lies in the trash."""
        if self._view is None or not self._view.trash:
            self.say("Trash: nothing lies there", "warn")
            return
        self.app.push_screen(TrashScreen(self._view))

    def action_copy(self) -> None:
        """Copy the command that shows the same."""
        self.site_app.copy(self, "fsbackup retain")


def _put(screen: FrameScreen, name: str, lines: Sequence[Line]) -> None:
    """Show lines in a widget that is as high as they are many."""
    widget = screen.query_one(name, LineWidget)
    if widget.styles.height is None or widget.styles.height.value != len(lines):
        widget.styles.height = len(lines)
    widget.display = bool(lines)
    widget.show(*lines)
