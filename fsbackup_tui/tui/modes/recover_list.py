"""The list of an incident's steps: phases, titles, states, and where one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from fsbackup_tui.tui.keys import bindings
from fsbackup_tui.tui.lines import Line
from fsbackup_tui.tui.modes.recover_lines import step_line, step_rows
from fsbackup_tui.tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from fsbackup_tui.recovery.flow import Placed
    from fsbackup_tui.recovery.session import Reading


class StepList(LineList, inherit_bindings=False):
    """All steps by their phases; Enter goes to the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")
    wide_cells: ClassVar[int] = 40

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._reading: Reading | None = None
        self._rows: list[Placed | str] = []
        self._shown = ""

    def show_steps(self, reading: Reading, shown: str) -> None:
        """Show where the incident stands; the step that is shown beside stays in sight."""
        moved = shown != self._shown
        self._reading, self._rows, self._shown = reading, step_rows(reading), shown
        self.set_count(len(self._rows))
        if moved:
            self.to_shown()
        self.repaint()

    def to_shown(self) -> None:
        """Put the cursor on the step that is shown, with what comes before it in sight."""
        for index, row in enumerate(self._rows):
            if not isinstance(row, str) and row.step.id == self._shown:
                self.move_to(index)
                top = max(0, index - max(1, self.size.height) // 2)
                self.scroll_to(y=top, animate=False, force=True)

    def on_focus(self) -> None:
        """Have the mark at the cursor."""
        self.repaint()

    def on_blur(self) -> None:
        """Have the mark at the step that is shown."""
        self.repaint()

    def step_at(self, index: int) -> str | None:
        """Return the step of a row; of a phase's title its first."""
        for row in self._rows[index:]:
            if not isinstance(row, str):
                return row.step.id
        return None

    def row(self, index: int, width: int) -> Line:
        """Return what the row shows."""
        if self._reading is None or index >= len(self._rows):
            return ()
        marked = index == self.cursor if self.has_focus else None
        return step_line(self._reading, self._rows[index], self._shown, width, marked=marked)
