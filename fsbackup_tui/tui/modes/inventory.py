"""Mode 1: the recovery points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes.columns import note_of, point_row, points_heading
from fsbackup_tui.tui.modes.point import PointScreen
from fsbackup_tui.tui.modes.points import PointsScreen
from fsbackup_tui.tui.widgets.line_list import LineList


class InventoryScreen(PointsScreen):
    """All recovery points: what they hold and how good they are."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("inventory")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("inventory", "list", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = (
        "open", "recover-point", "back-up", "verify", "filter", "sort", "copy", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "inventory"

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: those of a point only where there is one."""
        if self.filtering:
            # The field takes letters: "?" and "q" are text there.
            return (("Enter", "keep"), ("Esc", "show all"))
        if self.table.count:
            return self.FOOT
        if self.filtered:
            return ("filter", "back", "help", "quit")
        if not self.site_app.checked or "inventory" in self.site_app.overview.blocked:
            return ("palette", "help", "quit")
        return ("back-up", "palette", "help", "quit")

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of; without a site those of a point are none."""
        if self.table.count == 0 and "inventory" in self.site_app.overview.blocked:
            return ("text", "general")
        return self.CONTEXTS

    def row(self, point: PointSummary, width: int, marked: bool) -> Line:
        """Return a point's row."""
        app = self.site_app
        zone = app.overview.zone
        return point_row(
            point,
            width,
            marked,
            now=app.now(),
            zone=zone,
            known=app.checked,
            with_files=app.overview.has_files,
            site=app.overview.copies,
        )

    def heading(self, width: int) -> Line:
        """Return the titles above the rows."""
        overview = self.site_app.overview
        return points_heading(
            width, with_files=overview.has_files, with_copies=bool(overview.copies.replicas)
        )

    def note(self, point: PointSummary, width: int) -> list[Line]:
        """Return the most important remark on the point under the cursor, and where it lies."""
        place = self.site_app.overview.copies.elsewhere.get(point.id)
        at = f"at {place}, not here. " if place else ""
        return [line("   ", (at, "warn"), note_of(point))]

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Open the point's details."""
        message.stop()
        point = self.table.current()
        if point is not None:
            self.app.push_screen(PointScreen(point))

    async def action_recover(self) -> None:
        """Recover with the point under the cursor chosen."""
        point = self.table.current()
        if point is None:
            self.say("Recover: there is no point under the cursor", "warn")
            return
        await self.site_app.recover_with(point.id)

    def action_copy(self) -> None:
        """Copy the restore commands of the point under the cursor."""
        self.with_commands(lambda _point, texts: self.site_app.copy(self, "\n".join(texts)))

    def action_show(self) -> None:
        """Show the restore commands alone on the screen."""
        self.with_commands(lambda point, texts: self.site_app.show_by_hand([point, *texts]))
