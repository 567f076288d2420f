"""One recovery point: state, restore commands, parts, tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.tui.asking import ask_verify
from fsbackup_tui.tui.data import Overview, PointDetails
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.modes.details import details_lines, stock_commands, summary_lines
from fsbackup_tui.tui.widgets.line_list import TextView


class PointScreen(FrameScreen):
    """The details of one point."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("point")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("point", "text", "general")
    FOOT: ClassVar[tuple[Shown, ...]] = (
        "back", "point-recover", "point-verify", "point-copy", "point-show", "help", "quit",
    )  # fmt: skip
    MODE: ClassVar[str] = "inventory"

    def __init__(self, point: PointSummary) -> None:
        super().__init__()
        self._point = point
        self._details: PointDetails | None = None

    def body(self) -> Iterator[Widget]:
        """Compose the text."""
        yield TextView(id="details")

    def on_mount(self) -> None:
        """Show what is known, then read the manifest."""
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the text."""
        self.query_one("#details", TextView).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Wrap the text anew."""
        self._paint()

    def tick(self) -> None:
        """Read the details again."""
        data, name = self.site_app.data, self._point.id
        if data is not None:
            self.in_thread("details", lambda: data.details(name), self._take)

    def minute(self) -> None:
        """Repaint ages."""
        self._paint()

    def overview_changed(self, before: Overview) -> None:
        """Read again: a verification may have ended."""
        if self._details is None or before.revision != self.site_app.overview.revision:
            self.tick()

    def _take(self, details: PointDetails) -> None:
        self._details = details
        self._point = details.summary
        self._paint()

    def _paint(self) -> None:
        app, width = self.site_app, self.size.width
        zone, site = app.overview.zone, app.overview.copies
        details = self._details
        if details is None:
            lines = summary_lines(self._point, width, now=app.now(), zone=zone, site=site)
        else:
            lines = details_lines(details, width, now=app.now(), zone=zone, site=site)
        self.query_one("#details", TextView).show(lines)

    def _command_texts(self) -> list[str]:
        details = self._details
        if details is None:
            return []
        stock = () if details.manifest is None else details.manifest.parts
        texts = list(details.commands)
        for part in stock:
            if part.restore_commands:
                texts.extend(stock_commands(details.path, part))
        return texts

    def action_verify(self) -> None:
        """Ask how far to verify the point."""
        ask_verify(self, self._point)

    async def action_recover(self) -> None:
        """Recover with this point chosen."""
        await self.site_app.recover_with(self._point.id)

    def action_copy(self) -> None:
        """Copy fsbackup's own restore commands."""
        details = self._details
        if details is None or not details.commands:
            self.say("Copy: this point has no restore command yet", "warn")
            return
        self.site_app.copy(self, "\n".join(details.commands))

    def action_show(self) -> None:
        """Show the commands alone on the screen."""
        self.site_app.show_by_hand(self._command_texts() or [self._point.id])
