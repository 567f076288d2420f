"""The line that takes text: what it takes, and what it does not where something can be hurt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from textual import events
from textual.pilot import Pilot

from fsbackup_tui.tui.lines import line, plain
from fsbackup_tui.tui.widgets.entry import EntryPanel
from tests.tui.fakes import Clock, FakeSite, make_app
from tests.tui.screens import press, until_text


@dataclass
class Asked:
    """A question on the inventory's screen, and the answers that came."""

    pilot: Pilot[int]
    entry: EntryPanel
    clock: Clock
    answers: list[str] = field(default_factory=list)

    def ask(self, *, careful: bool = False, check: Callable[[str], str] | None = None) -> None:
        self.entry.ask([line("Name?")], self.answers.append, careful=careful, check=check)

    async def press(self, *keys: str) -> None:
        await press(self.pilot, *keys)

    async def paste(self, text: str) -> None:
        self.entry.post_message(events.Paste(text))
        await self.pilot.pause()

    def shown(self) -> str:
        return "\n".join(plain(row) for row in self.entry.shown)


async def with_entry(test: Callable[[Asked], object], *, step: float = 1.0) -> None:
    clock = Clock(step=step)
    app = make_app(FakeSite(), clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        entry = EntryPanel(clock, id="entry")
        await app.screen.mount(entry)
        result = test(Asked(pilot, entry, clock))
        assert hasattr(result, "__await__")
        await result


async def test_it_takes_a_line_with_what_edits_it() -> None:
    async def test(asked: Asked) -> None:
        asked.ask()
        await asked.press(*"shup", "left", "backspace", "o", "end", "!", "home", "delete")
        assert asked.entry.text == "hop!"
        await asked.press("s", "end", "backspace", "enter")
        assert asked.answers == ["shop"]
        assert not asked.entry.open

    await with_entry(test)


async def test_no_key_reaches_the_screen_behind_and_escape_withdraws() -> None:
    async def test(asked: Asked) -> None:
        asked.ask()
        await asked.press("q", "2", "question_mark", "b", "tab", "f1", "ctrl+p")
        assert asked.entry.text == "q2?b"
        assert asked.pilot.app.is_running
        assert len(asked.pilot.app.screen_stack) == 1
        await asked.press("escape")
        assert not asked.entry.open
        assert asked.answers == []

    await with_entry(test)


async def test_careful_it_takes_no_paste_and_no_enter_right_after_a_key() -> None:
    async def test(asked: Asked) -> None:
        asked.ask(careful=True)
        await asked.paste("shop")
        assert asked.entry.text == ""
        assert "Not pasted" in asked.shown()
        await asked.press("enter", "enter", *"shop", "enter")
        assert asked.answers == []
        assert "too soon" in asked.shown()
        asked.clock.seconds += 0.8
        await asked.press("enter")
        assert asked.answers == ["shop"]

    await with_entry(test, step=0.01)


async def test_careful_a_bare_enter_is_no_answer_however_long_one_waits() -> None:
    async def test(asked: Asked) -> None:
        asked.ask(careful=True)
        await asked.press(*["enter"] * 5)
        assert asked.answers == []
        assert asked.entry.open

    await with_entry(test, step=5.0)


async def test_else_the_first_line_of_a_paste_is_taken() -> None:
    async def test(asked: Asked) -> None:
        asked.ask()
        await asked.paste("one\ntwo\x1b[31m")
        await asked.press("enter")
        assert asked.answers == ["one"]

    await with_entry(test)


async def test_what_is_refused_stays_with_the_reason() -> None:
    async def test(asked: Asked) -> None:
        asked.ask(check=lambda text: "" if text == "shop" else "That is not shop.")
        await asked.press(*"sho", "enter")
        assert asked.answers == []
        assert "That is not shop." in asked.shown()
        await asked.press("p", "enter")
        assert asked.answers == ["shop"]

    await with_entry(test)


async def test_a_line_longer_than_the_window_shows_its_end() -> None:
    async def test(asked: Asked) -> None:
        asked.ask()
        await asked.press(*("abcdefghij" * 10), "end")
        assert all(len(plain(row)) <= 80 for row in asked.entry.shown)
        assert "hij" in asked.shown()

    await with_entry(test)


async def test_another_window_in_front_does_not_withdraw_it() -> None:
    async def test(asked: Asked) -> None:
        asked.ask(careful=True)
        await asked.press(*"sho")
        asked.pilot.app.post_message(events.AppBlur())
        await asked.pilot.pause()
        assert asked.entry.open
        asked.pilot.app.post_message(events.AppFocus())
        await asked.pilot.pause()
        await asked.press("p", "enter")
        assert asked.answers == ["shop"]

    await with_entry(test)


async def test_a_long_question_and_what_is_told_of_the_answer_are_cut_nowhere() -> None:
    async def test(asked: Asked) -> None:
        why = "a key that nobody allowed, ED25519 SHA256:V/rUtdTf1CXXzYpbi++JiebVxvLzFMouKlm"
        question = line(" ", ("Why is it to be this one all the same?", "heading"), f"  {why}")
        asked.entry.ask([question], asked.answers.append, check=lambda _: f"NOT A TIME: {why}")
        assert asked.shown().split() == ["Why", *question[1].text.split()[1:], *why.split(), ">"]
        assert {piece.role for piece in asked.entry.shown[1]} == {"text"}
        await asked.press("x", "enter")
        told = asked.shown().split()
        assert told[told.index(">") + 2 :] == ["NOT", "A", "TIME:", *why.split()]
        await asked.pilot.resize_terminal(50, 24)
        await until_text(asked.pilot, "SHA256:V/rUtdTf1CXXzYpbi++JiebVxvLzFMouKlm")
        assert all(len(row) <= 50 for row in asked.shown().splitlines())

    await with_entry(test)
