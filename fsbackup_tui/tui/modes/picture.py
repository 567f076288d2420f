"""A plan's points over time: looked at, a fall or a gap is seen sooner than read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.tui.buckets import UNITS, Picture
from fsbackup_tui.tui.data import Overview
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import line
from fsbackup_tui.tui.modes.picture_lines import (
    EIGHTHS,
    HALVES,
    columns_in,
    last_place,
    picture_lines,
    places,
)
from fsbackup_tui.tui.modes.proof import ProofScreen
from fsbackup_tui.tui.widgets.line_widget import LineWidget

_FRAME_LINES = 4


class PictureView(LineWidget, can_focus=True, inherit_bindings=False):
    """The picture, which has the keyboard."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("picture")


class PictureScreen(FrameScreen):
    """Stored size, rows and proof of a plan's points, a column for each stretch of time."""

    DEFAULT_CSS = "PictureScreen #picture { height: 1fr; }"
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("picture", "general")
    MODE: ClassVar[str] = "verify"

    def __init__(self, plan: str) -> None:
        super().__init__()
        self._plan = plan
        self._picture: Picture | None = None
        self._cursor: int | None = None
        self._again = False
        self._step = 0

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: those that would do something now."""
        shown: list[Shown] = ["back"]
        picture = self._picture
        if picture is not None:
            found = places(picture)
            if self._cursor is not None:
                shown.append("picture-open")
                shown += ["picture-older"] if self._cursor > found[0] else []
                shown += ["picture-newer"] if self._cursor < found[-1] else []
            shown += ["picture-plan"] if len(self._plans()) > 1 else []
            shown += ["picture-out"] if picture.unit < UNITS[-1] else []
            shown += ["picture-in"] if picture.unit > UNITS[0] else []
        return (*shown, "help", "quit")

    def body(self) -> Iterator[Widget]:
        """Compose the picture."""
        yield PictureView(id="picture")

    def on_mount(self) -> None:
        """Take the keyboard."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the picture."""
        self.query_one("#picture", PictureView).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Draw in the new size."""
        if self._picture is not None and len(self._picture.buckets) != columns_in(self.size.width):
            self._read()
        self._paint()

    def minute(self) -> None:
        """Repaint ages."""
        self._paint()

    def overview_changed(self, before: Overview) -> None:
        """Read the points again where there may be others."""
        if self._picture is None or before.revision != self.site_app.overview.revision:
            self._read()

    def _plans(self) -> list[str]:
        return list(dict.fromkeys((*self.site_app.overview.plans, self._plan)))

    def _read(self) -> None:
        data, plan, columns = self.site_app.data, self._plan, columns_in(self.size.width)
        if data is None:
            return
        unit = None if self._picture is None or self._picture.plan != plan else self._picture.unit
        if unit is not None and self._step:
            place = max(0, min(UNITS.index(unit) + self._step, len(UNITS) - 1))
            unit = UNITS[place]
        self._step = 0
        if not self.in_thread("picture", lambda: data.picture(plan, unit, columns), self._take):
            self._again = True

    def _take(self, picture: Picture) -> None:
        if self._again:
            self._again = False
            self._read()
            return
        before = self._picture
        self._picture = picture
        found = places(picture)
        same = before is not None and before.unit == picture.unit and before.plan == picture.plan
        if not same or self._cursor not in found:
            self._cursor = last_place(picture)
        self._paint()

    def _paint(self) -> None:
        app, picture = self.site_app, self._picture
        shown = [line("   ", ("reading the points…", "muted"))]
        if picture is not None:
            blocks = HALVES if app.start.environ.get("TERM") == "linux" else EIGHTHS
            shown = picture_lines(
                picture,
                self._cursor,
                self.size.width,
                self.size.height - _FRAME_LINES,
                now=app.now(),
                zone=app.overview.zone,
                blocks=blocks,
            )
        self.query_one("#picture", PictureView).show(*shown)
        self.paint_foot()

    def action_move(self, steps: int) -> None:
        """Go to the next column with a point."""
        if self._picture is None or self._cursor is None:
            return
        found = places(self._picture)
        place = max(0, min(found.index(self._cursor) + steps, len(found) - 1))
        self._cursor = found[place]
        self._paint()

    def action_span(self, step: int) -> None:
        """Show a longer or a shorter time."""
        self._step = step
        self._read()

    def action_next_plan(self) -> None:
        """Show the next plan's points."""
        plans = self._plans()
        if len(plans) < 2:
            self.say("Picture: there is one plan", "warn")
            return
        self._plan = plans[(plans.index(self._plan) + 1) % len(plans)]
        self._read()

    def action_open(self) -> None:
        """Open the proof of the point that is told."""
        bucket = None
        if self._picture is not None and self._cursor is not None:
            bucket = self._picture.buckets[self._cursor]
        if bucket is not None:
            self.app.push_screen(ProofScreen(bucket.told))
