"""A plan's rules to be tried: each change tells at once what it would do; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fsbackup_tui.config.edit import ConfigEdit
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.growth import Growth
from fsbackup_tui.domain.retention import Keep
from fsbackup_tui.operations.wording import age_text, size_text
from fsbackup_tui.tui.frame import FIELD_FOOT, FrameScreen
from fsbackup_tui.tui.keys import Context, Shown, bindings
from fsbackup_tui.tui.lines import Line, Role, line, pad, spread, wrapped
from fsbackup_tui.tui.modes.calendar_lines import LEGEND_EDIT, bar_lines
from fsbackup_tui.tui.modes.retention_lines import full_role, full_words
from fsbackup_tui.tui.modes.rule_steps import (
    RULES,
    Draft,
    Rule,
    typed_value,
    typed_wrong,
    value_text,
)
from fsbackup_tui.tui.retention_data import (
    Consequence,
    Count,
    RetentionView,
    consequence_of,
    growth_under,
)
from fsbackup_tui.tui.widgets.choice import Answer
from fsbackup_tui.tui.widgets.entry import EntryPanel
from fsbackup_tui.tui.widgets.line_list import LineList, LineTexts
from fsbackup_tui.tui.widgets.line_widget import LineWidget

_BAR_FROM, _LEGEND_FROM = 22, 28
_DIFF_LINES = 8


class RulesScreen(FrameScreen):
    """The rules, what they keep now and would keep then, and the way into the configuration."""

    DEFAULT_CSS = "RulesScreen #rules { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = bindings("rules")
    CONTEXTS: ClassVar[tuple[Context, ...]] = ("rules", "list", "general")
    MODE: ClassVar[str] = "retention"

    def __init__(self, view: RetentionView, plan: str) -> None:
        super().__init__()
        self._view = view
        self._plan = plan
        self._before = Draft(view.policies.get(plan, Keep()), view.settings)
        self._draft = self._before
        self._found = consequence_of(view, plan, self._draft.keep, self._draft.settings, view.now)
        self._growth: Growth | None = view.growth
        self._growing = self._before

    def body(self) -> Iterator[Widget]:
        """Compose the rules, what follows from them, and the line that takes a value."""
        yield LineWidget(id="heading")
        yield LineTexts(id="rules")
        yield LineWidget(id="follows")
        yield EntryPanel(self.site_app.clock, id="entry")

    @property
    def listing(self) -> LineTexts:
        """The rules."""
        return self.query_one("#rules", LineTexts)

    @property
    def entry(self) -> EntryPanel:
        """The line that takes a value."""
        return self.query_one("#entry", EntryPanel)

    @property
    def rule(self) -> Rule:
        """The rule under the cursor."""
        return RULES[min(self.listing.cursor, len(RULES) - 1)]

    def foot(self) -> Sequence[Shown]:
        """Return the keys at the bottom."""
        if self.entry.open:
            return FIELD_FOOT
        shown: list[Shown] = ["back", "rule-more", "rule-less", ("Enter", "type it")]
        if self._draft != self._before:
            shown.insert(1, "rule-again")
            if self._view.fixed is None:
                shown.insert(1, "rule-write")
        return (*shown, "rule-without", "help", "quit")

    def on_mount(self) -> None:
        """Take the keyboard."""
        self._paint()
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keyboard to the rules."""
        self.listing.focus(scroll_visible=False)

    def on_resize(self) -> None:
        """Paint in the new size."""
        self._paint()

    def on_line_list_moved(self) -> None:
        """Put the mark where the cursor is."""
        self._paint()

    def on_line_list_opened(self, message: LineList.Opened) -> None:
        """Take a value as text."""
        message.stop()
        rule = self.rule
        none = "" if rule.site else "; empty: without it"
        self.entry.ask(
            [line(" ", (f"{rule.name}: ", "heading"), f"{rule.words}{none}. Esc: as it is.")],
            lambda text: self._change(self._draft.having(rule, typed_value(rule, text))),
            check=lambda text: typed_wrong(rule, text),
        )
        self.paint_foot()

    def on_entry_panel_closed(self) -> None:
        """Give the keyboard back."""
        self.paint_foot()
        self.give_back()

    def action_step(self, step: int) -> None:
        """Change the rule under the cursor by a step."""
        self._change(self._draft.stepped(self.rule, step))

    def action_without(self) -> None:
        """Do without the rule under the cursor; one of the site is as it is by itself."""
        self._change(self._draft.having(self.rule, None))

    def action_again(self) -> None:
        """Have all rules as they are in the configuration."""
        self._change(self._before)

    def action_back(self) -> None:
        """Go back; what was tried is forgotten."""
        if self._draft != self._before:
            self._draft = self._before
            home = self.app.screen_stack[-2]
            if isinstance(home, FrameScreen):
                home.say("The rules stay as they are: nothing was written")
        self.app.pop_screen()

    def _change(self, draft: Draft) -> None:
        self._draft = draft
        view = self._view
        self._found = consequence_of(view, self._plan, draft.keep, draft.settings, view.now)
        self._paint()
        self._grow()

    def _grow(self) -> None:
        """Reckon beside the screen how the disk would fill, always for the newest draft."""
        draft, view, plan = self._draft, self._view, self._plan

        def reckon() -> tuple[Draft, Growth | None]:
            return draft, growth_under(view, {**view.policies, plan: draft.keep}, draft.settings)

        if draft != self._growing:
            self.in_thread("growth", reckon, self._grown)

    def _grown(self, reckoned: tuple[Draft, Growth | None]) -> None:
        self._growing, self._growth = reckoned
        self._paint()
        self._grow()

    def _paint(self) -> None:
        if not self.is_there:
            return
        width, height = self.size.width, self.size.height
        state = "changed, not written" if self._draft != self._before else "as in the config"
        self.query_one("#heading", LineWidget).show(
            spread(
                line(" ", (f"Plan {self._plan}: what it keeps", "heading")),
                line((f"{state} ", "warn" if self._draft != self._before else "muted")),
                width,
            )
        )
        listing = self.listing
        listing.show([self._rule_line(n, each, width) for n, each in enumerate(RULES)])
        follows = self._follows(width)
        room = max(2, height - 5 - 4)
        if height >= _BAR_FROM:
            follows += self._bar(width, legend=height >= _LEGEND_FROM)
        follows = follows[:room]
        widget = self.query_one("#follows", LineWidget)
        if widget.styles.height is None or widget.styles.height.value != len(follows):
            widget.styles.height = len(follows)
        widget.show(*follows)
        self.paint_foot()

    def _rule_line(self, index: int, rule: Rule, width: int) -> Line:
        value, before = self._draft.value(rule), self._before.value(rule)
        marked = index == self.listing.cursor
        role: Role = "text" if value is not None else "muted"
        was = "" if value == before else f"was {value_text(before)}"
        shown = line(
            (" > " if marked else "   ", "key"),
            (pad(rule.name, 13), "heading" if marked else "text"),
            (pad(value_text(value), 8, right=True), "accent" if was else role),
            "  ",
            (pad(was, 11), "warn"),
        )
        words = f"  {rule.words}" if not rule.site else f"  all plans: {rule.words}"
        return (*shown, *line((words, "muted"))) if width >= 70 else shown

    def _follows(self, width: int) -> list[Line]:
        found, view = self._found, self._view
        lines = [line(" ", ("Now   ", "muted"), _told(found.now, view))]
        lines.append(line(" ", ("Then  ", "muted"), _told(found.then, view)))
        text, role = difference(found, view)
        lines += [line(" ", *row) for row in wrapped(text, width - 2, role)]
        current = self._growing == self._draft
        words = full_words(self._growth) if current else "reckoning…"
        lines.append(line(" ", ("Disk  ", "muted"), (words, full_role(self._growth))))
        firm = found.decision.refusals
        if firm and found.then.leaving:
            by = "It would need the site's name" if firm[0].confirmable else "Nothing would go now"
            words = f"{by}: {firm[0].what}"
            lines += [line(" ", *row) for row in wrapped(words, width - 2, "warn")][:2]
        return lines

    def _bar(self, width: int, *, legend: bool) -> list[Line]:
        view, found = self._view, self._found
        points = view.of_plan(self._plan)
        if not points:
            return []
        more = frozenset(each.id for each in found.more)
        leaving = frozenset(found.decision.leaving)
        lines = bar_lines(points, leaving, width, now=view.now, zone=view.zone, more=more)
        return [line(), *lines, *([line("  ", (LEGEND_EDIT, "muted"))] if legend else [])]

    def action_write(self) -> None:
        """Show what would be written, and ask."""
        data, view, draft, plan = self.site_app.data, self._view, self._draft, self._plan
        if view.fixed is not None:
            self.say_problem(view.fixed)
            return
        if data is None or draft == self._before:
            self.say("Write: the rules are as they are in the config", "warn")
            return
        self.in_thread(
            "draft", lambda: data.draft(plan, draft.keep, draft.settings), self._ask_write
        )

    def _ask_write(self, edit: ConfigEdit) -> None:
        if edit.changes_nothing:
            self.say("Write: the file says this already", "warn")
            return
        text, role = difference(self._found, self._view)
        question = [line(" ", (f"Write this into {edit.path}?", "heading"))]
        shown = edit.diff[:_DIFF_LINES]
        question += [line("   ", (row, "bad" if row[:1] == "-" else "good")) for row in shown]
        if len(edit.diff) > len(shown):
            question.append(line((f"   and {len(edit.diff) - len(shown)} more lines", "muted")))
        question.append(line(" ", (text, role)))
        answers = [
            Answer("No, nothing is written"),
            Answer("Yes, write it", "y", "points leave with the next run, or by A"),
        ]
        self.ask(question, answers, lambda _index: self._write(edit))

    def _write(self, edit: ConfigEdit) -> None:
        data = self.site_app.data
        if data is not None:
            self.in_thread("write", lambda: data.write(edit), self._written, self._unwritten)

    def _written(self, words: str) -> None:
        home = self.app.screen_stack[-2]
        self.app.pop_screen()
        if isinstance(home, FrameScreen):
            home.say(words, "good")
        self.site_app.refresh_overview()

    def _unwritten(self, problem: Problem) -> None:
        self.say_problem(problem)
        self.site_app.refresh_overview()


def _told(count: Count, view: RetentionView) -> str:
    oldest = "-" if count.oldest is None else age_text((view.now - count.oldest).total_seconds())
    leaves = f", {count.leaving} leave ({size_text(count.bytes)})" if count.leaving else ""
    return f"{count.kept} kept{leaves}; oldest {oldest}"


def difference(found: Consequence, view: RetentionView) -> tuple[str, Role]:
    """Return what other rules would change, in numbers."""
    parts = []
    if found.more:
        size = size_text(sum(each.bytes for each in found.more))
        parts.append(f"removes {_points(len(found.more))} more, {size}")
    if found.fewer:
        size = size_text(sum(each.bytes for each in found.fewer))
        parts.append(f"keeps {_points(len(found.fewer))} that would leave, {size}")
    if not parts:
        return "No point leaves or stays that does not now.", "muted"
    before, after = found.now.oldest, found.then.oldest
    if before is not None and after is not None and before != after:
        ages = [age_text((view.now - each).total_seconds()) for each in (before, after)]
        parts.append(f"oldest goes from {ages[0]} to {ages[1]}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}.", "warn" if found.more else "good"


def _points(count: int) -> str:
    return f"{count} point{'s' if count != 1 else ''}"
