"""An open incident: the step one is at, the list of steps, the running job's last words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.tui.data import Overview, SiteData
from fsbackup_tui.tui.frame import FIELD_FOOT, FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings, shown_key
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.modes import recover_acts as acts
from fsbackup_tui.tui.modes import recover_lead as lead
from fsbackup_tui.tui.modes import recover_more as more
from fsbackup_tui.tui.modes.recover_card import card_lines, option_rows
from fsbackup_tui.tui.modes.recover_lines import (
    ahead_line,
    closing_lines,
    ended_words,
    header_line,
    output_lines,
    request_line,
    strip_line,
    warned_of,
)
from fsbackup_tui.tui.modes.recover_list import StepList
from fsbackup_tui.tui.widgets.choice import ChoicePanel
from fsbackup_tui.tui.widgets.entry import EntryPanel
from fsbackup_tui.tui.widgets.line_list import LineList, TextView
from fsbackup_tui.tui.widgets.line_widget import LineWidget

if TYPE_CHECKING:
    from fsbackup_tui.recovery.card import Card
    from fsbackup_tui.tui.recover_data import Seat, View

BESIDE_FROM = 100
_IDLE_TICKS = 2
_LOW = 12


class StepText(TextView, inherit_bindings=False):
    """The step's text; digits answer its question, where one is open."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("step")

    def on_key(self, event: events.Key) -> None:
        """Give a digit to the open question."""
        screen = self.screen
        digit = event.character or ""
        if digit not in tuple("0123456789") or not isinstance(screen, StepScreen):
            return
        if screen.takes_digit(int(digit)):
            event.stop()
            event.prevent_default()

    def reveal(self, rows: range) -> None:
        """Scroll as little as brings some lines into the window, the first of them at least."""
        top, height = self.scroll_offset.y, self.size.height
        if rows and rows.stop > top + height:
            top = rows.stop - height
        if rows:
            self.move_to(min(top, rows.start))


class StepScreen(FrameScreen):
    """One incident, led or watched; the journal is read again and again while it is visible."""

    CSS_PATH: ClassVar[Path] = Path(__file__).with_name("recover.tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("incident")
    MODE: ClassVar[str] = "recover"
    IS_HOME: ClassVar[bool] = True
    EVERY_SECONDS: ClassVar[float] = 0.5

    def __init__(self, incident: str, seats: dict[str, Seat], point: str = "") -> None:
        super().__init__()
        self.incident = incident
        self.seats = seats
        self.view: View | None = None
        self.chosen: tuple[str, ...] = ()
        self.first_digit = 0
        self.reveals: int | None = None
        self.entry_step = ""
        self.wants_undo = False
        self._point = point
        self._step: str | None = None
        self._question_key: tuple[object, ...] = ()
        self._offered = False
        self._quiet = 0.0
        self._last_key = 0.0
        self._ticks = 0

    # What it is made of.

    def body(self) -> Iterator[Widget]:
        """Compose header, phases, list, step, output, and the line that takes text."""
        yield LineWidget(id="incident")
        yield LineWidget(id="strip")
        yield LineWidget(id="request")
        with Horizontal(id="both"):
            yield StepList(id="steps")
            with Vertical(id="right"):
                yield StepText(id="card")
                yield LineWidget(id="output")
        yield LineWidget(id="ahead")
        yield EntryPanel(self.site_app.clock, id="entry")

    @property
    def entry(self) -> EntryPanel:
        """The line that takes text."""
        return self.query_one("#entry", EntryPanel)

    @property
    def card_view(self) -> StepText:
        """The step's text."""
        return self.query_one("#card", StepText)

    @property
    def steps(self) -> StepList:
        """The list of steps."""
        return self.query_one("#steps", StepList)

    @property
    def seat(self) -> Seat | None:
        """The seat at the incident; None before one sat down."""
        return self.seats.get(self.incident)

    @property
    def card(self) -> Card | None:
        """The step that is shown."""
        return self.view.card if self.view is not None else None

    @property
    def zone(self) -> tzinfo:
        """The site's time zone."""
        found = self.view.zone if self.view is not None else None
        return found or self.site_app.overview.zone

    @property
    def quiet(self) -> float:
        """How long there was no key on this step before the last one."""
        return self._quiet

    def contexts(self) -> tuple[Context, ...]:
        """Return which keys the help tells of."""
        return ("incident", "list" if self.steps.has_focus else "step", "general")

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom: those that do something here, now."""
        if self.entry.open:
            return FIELD_FOOT
        if self.steps.has_focus:
            return ("open", "step-list", "help", "quit")
        remapped = self.site_app.remapped
        shown = acts.keys_now(self, shown_key("step-run", remapped))
        return (*(("back",) if self._step is not None else ()), *shown, "help", "quit")

    # Reading.

    def on_mount(self) -> None:
        """Take the keyboard; what is known is painted when it was read."""
        self._last_key = self.site_app.clock()
        self.query_one("#output", LineWidget).styles.height = 0
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the step, or to the list where that is what one sees."""
        listing = self.has_class("-listing")
        (self.steps if listing else self.card_view).focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint everything in the new width."""
        self.set_class(self.size.width >= BESIDE_FROM, "-wide")
        self.set_class(self.size.height < _LOW, "-low")
        self._paint()

    def on_screen_suspend(self) -> None:
        """Withdraw what is asked for: nobody sees it."""
        self.entry.close()

    def key_comes(self) -> None:
        """Note how long it was quiet before this key."""
        now = self.site_app.clock()
        self._quiet, self._last_key = now - self._last_key, now
        super().key_comes()

    def tick(self) -> None:
        """Read the journal, seldom where nothing runs."""
        self._ticks += 1
        view = self.view
        busy = (
            view is None
            or view.is_looking
            or view.is_counting
            or (view.running and not view.running.over)
        )
        if busy or self._ticks % _IDLE_TICKS == 0:
            self.look()

    def minute(self) -> None:
        """Paint the clocks anew."""
        self.look(anew=True)

    def overview_changed(self, before: Overview) -> None:
        """Look at once when the site was just read."""
        if self.view is None:
            self.look()

    def look(self, *, anew: bool = False) -> None:
        """Read the incident beside the screen."""
        data, step = self.site_app.data, self._step
        if data is None:
            return
        self.in_thread("incident", lambda: self._read(data, step, anew), self._take, self._unread)

    def _read(self, data: SiteData, step: str | None, anew: bool) -> View:
        """Read it, sitting down first where one does not sit there yet; in a thread."""
        from fsbackup_tui.tui.recover_data import sit_down

        seat = self.seats.get(self.incident)
        if seat is None:
            seat = self.seats[self.incident] = sit_down(data.desk(), self.incident)
        return seat.view(step, anew=anew)

    def _unread(self, problem: Problem) -> None:
        if problem != self.site_app.last_problem:
            self.say_problem(problem)

    def _take(self, view: View) -> None:
        before = self.view
        if view is before:
            return
        self.view = view
        current = view.reading.flow.current()
        if current is not None and current.step.id == self._step:
            # Taken back, say: it is what one is at again, and what follows it is shown next.
            self._step = None
        if view.reading.incident.closed is not None:
            lead.ended(self, view)
            return
        card = view.card
        if before is None or before.card is None or card is None or card.id != before.card.id:
            self._fresh_step()
            self.site_app.refresh_overview()
            if words := warned_of(before, view):
                self.say(words, "warn")
            elif view.found:
                self.say(view.found)
        elif before.is_looking and not view.is_looking:
            self.site_app.refresh_overview()
            if self.said.startswith(acts.LOOKING):
                self.say("")
        ended = ended_words(before.reading, view.reading) if before is not None else ""
        if ended:
            self.say(ended, "good")
        self._keep_question(card)
        if self.entry.open and not self._still_asked(view):
            self.entry.close()
            self.say("Withdrawn: the step is another now. Nothing was done.", "warn")
        self._paint()
        if self._point and view.leads:
            self.prefer(self._point)
        if self.wants_undo and not (view.is_looking or view.is_counting):
            self.wants_undo = False
            more.undo(self, looked=True)
        self._offer()

    def _offer(self) -> None:
        """Open the field of the step one is at, once: who types at once types into it."""
        free = self.is_current and self._step is None and self.card_view.has_focus
        if free and not self._offered and not self.entry.open:
            self._offered = acts.offer(self)

    def _fresh_step(self) -> None:
        """Begin with another step at its top; Enter counts only after a while without keys."""
        self._last_key = self.site_app.clock()
        self._offered = False
        self.card_view.action_first()
        self.query_one(ChoicePanel).close()
        self.hidden.close()

    def _keep_question(self, card: Card | None) -> None:
        """Mark the safe answer where the question is a new one."""
        question = card.question if card is not None else None
        keys = tuple(option.key for option in question.options) if question is not None else ()
        key = (card.id if card is not None else "", keys, question and question.default)
        if key != self._question_key:
            self._question_key, self.first_digit = key, 0
            default = question.default if question is not None else ""
            parts = [part.strip() for part in default.split(",")]
            self.chosen = tuple(each for each in keys if each in parts)
            places = [place for place, each in enumerate(keys) if each in self.chosen]
            self.reveals = places[0] if places else None

    def _still_asked(self, view: View) -> bool:
        if not self.entry_step:
            return True
        return view.leads and view.card is not None and view.card.id == self.entry_step

    def prefer(self, point: str) -> None:
        """Have a point that was chosen elsewhere offered first."""
        self._point = ""
        more.prefer(self, point)

    def show_step(self, step: str | None) -> None:
        """Show another step; None: the one that one is at."""
        current = self.view.reading.flow.current() if self.view is not None else None
        self._step = None if current is not None and current.step.id == step else step
        self.remove_class("-listing")
        self.focus_body()
        self.look(anew=True)

    # Painting.

    def _paint(self) -> None:
        view, width = self.view, self.size.width
        if not self.is_there:
            return
        if view is None:
            self.card_view.show([line(), line(" ", ("reading the incident…", "muted"))])
            return
        self._show("#incident", header_line(view.reading, width))
        self._show("#strip", strip_line(view, width))
        request = request_line(view)
        self._show("#request", request or line(("-" * width, "muted")))
        self._paint_body(view, width)
        self._show("#ahead", ahead_line(view))
        self.paint_foot()

    def _paint_body(self, view: View, width: int) -> None:
        wide = self.has_class("-wide")
        if wide:
            width -= self.steps.wide_cells
        card = view.card
        self.steps.show_steps(view.reading, card.id if card is not None else "")
        output = self.query_one("#output", LineWidget)
        told = card is not None and view.running is not None and view.running.step == card.id
        height = max(6, self.size.height // 4) if wide and told else 0
        if output.styles.height is None or output.styles.height.value != height:
            output.styles.height = height
        if card is None:
            self.card_view.show(list(closing_lines(view, width, self.zone)))
            return
        logged = 0 if wide else 3
        shown = card_lines(
            view,
            card,
            self.chosen,
            width,
            self.zone,
            logged=logged,
            first_digit=self.first_digit,
        )
        self.card_view.show(shown)
        if self.reveals is not None and card.question is not None:
            rows = option_rows(shown, card.question, self.reveals, width)
            # What is marked has to be on the screen: Enter takes it.
            self.call_after_refresh(self.card_view.reveal, rows)
            self.reveals = None
        if height and view.running is not None:
            output.show(*output_lines(view.running, width, height)[:height])

    def _show(self, selector: str, shown: Line) -> None:
        self.query_one(selector, LineWidget).show(shown)

    def paint_card(self) -> None:
        """Paint the step again: another answer is marked."""
        self._paint()

    # Keys.

    def takes_digit(self, digit: int) -> bool:
        """Mark an answer of the open question; False where no question is open."""
        return acts.digit(self, digit)

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Show the step under the list's cursor."""
        message.stop()
        step = self.steps.step_at(message.index)
        if step is not None:
            self.show_step(step)

    def on_line_list_moved(self) -> None:
        """Put the list's mark where its cursor is."""
        self.steps.repaint()

    def on_descendant_focus(self) -> None:
        """Show the keys of what has the keyboard."""
        self.paint_foot()

    def on_entry_panel_closed(self) -> None:
        """Give the keyboard back."""
        self.entry_step = ""
        self.paint_foot()
        self.give_back()

    def action_back(self) -> None:
        """Go one level back: from the list, from another step, from the incident."""
        if self.has_class("-listing"):
            self.action_steps()
        elif self._step is not None:
            self.show_step(None)
        else:
            super().action_back()

    def action_steps(self) -> None:
        """Show the list of steps, or go into it; once more goes back."""
        self.toggle_class("-listing")
        if self.has_class("-listing"):
            self.call_after_refresh(self.steps.to_shown)
        self.focus_body()
        self.paint_foot()

    def action_act(self, name: str) -> None:
        """Do what a key stands for, by its name."""
        _ACTS[name](self)

    def action_copy(self) -> None:
        """Copy the commands, or the message."""
        copied = acts.copied(self)
        if copied:
            self.site_app.copy(self, copied)
        else:
            self.say("Copy: this step runs no command", "warn")

    def action_show(self) -> None:
        """Show them alone on the screen."""
        self.site_app.show_by_hand([acts.copied(self) or self.incident])


_ACTS: Mapping[str, Callable[[StepScreen], None]] = {
    "run": acts.run,
    "skip": more.skip,
    "undo": more.undo,
    "again": more.again,
    "note": more.note,
    "output": more.output,
    "hand-over": more.hand_over,
    "runbook": more.runbook,
    "damage-time": more.damage_time,
    "take-over": lead.take_over,
    "refuse": lead.refuse,
    "go": lead.say_go,
    "close": lead.close,
}
