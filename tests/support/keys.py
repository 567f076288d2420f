"""A person at mode 4: reads the screen of 80x24, presses keys, and knows nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from textual.pilot import Pilot

from fsbackup_tui.tui.app import FsbackupApp, Start
from fsbackup_tui.tui.modes.recover_step import StepScreen
from fsbackup_tui.tui.site_data import open_site
from tests.support.sites import Site
from tests.support.waiting import wait_until_async
from tests.tui.fakes import Clock, look
from tests.tui.screens import press, text_lines

SIZE = (80, 24)
STEP_SECONDS = 120.0
MOST_STEPS = 60
TITLE = re.compile(r"^ (\d\.\d) (\S.*?)\s{2,}(\S.*)$")
NAME = re.compile(r"Type (\S+?)\.?(?: to run|\s|$)")
OPTION = re.compile(r"^ ( > |   |\[[x ]\]) (\d) (.+)$")
BELOW = re.compile(r"\d+ more lines? below")
FIELD = "Enter answer  Esc back"
BEHIND = "All steps are behind."

Answers = Mapping[str, str | Sequence[str]]
"""What a person answers, by the step's title: text, words of an option, or of several."""


@dataclass
class SiteInvocation:
    """The command line's context, as the application wants it."""

    environ: Mapping[str, str]
    config_path: Path | None
    site: str | None = None

    def config_file(self) -> Path:
        """Return the configuration file in use."""
        assert self.config_path is not None
        return self.config_path


@asynccontextmanager
async def at_the_keys(site: Site) -> AsyncIterator[Keys]:
    """Start the application on a real site, in a terminal of 80x24, and sit down at it."""
    environ = {**os.environ, **site.environ()}
    invocation = SiteInvocation(environ, site.config)
    start = Start(
        look=look(), open_site=partial(open_site, invocation), environ=environ, clock=Clock()
    )
    app = FsbackupApp(start)
    async with app.run_test(size=SIZE) as pilot:
        yield Keys(app, pilot)
    app.site_watch.stop()
    if app.data is not None:
        app.data.close()


@dataclass
class Keys:
    """What stands on the screen, and the keys; ``screens`` are those that were answered."""

    app: FsbackupApp
    pilot: Pilot[int]
    screens: list[str] = field(default_factory=list)

    # Reading.

    @property
    def lines(self) -> list[str]:
        """The screen, line by line."""
        return text_lines(self.app)

    @property
    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    @property
    def foot(self) -> str:
        """The keys at the bottom."""
        return self.lines[-1].strip()

    @property
    def title(self) -> tuple[str, str, str]:
        """The number, title and state of the step on the screen; empty where there is none."""
        for text in self.lines[4:8]:
            found = TITLE.match(text)
            if found is not None:
                return found[1], found[2], found[3]
        return "", "", ""

    @property
    def asks_for_text(self) -> bool:
        """Whether a line of text is asked for."""
        return self.foot.startswith(FIELD)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something stands on the screen."""

        async def seen() -> bool:
            await self.pilot.pause()
            return bool(condition())

        try:
            await wait_until_async(seen, timeout=STEP_SECONDS, what=what)
        except TimeoutError:
            raise AssertionError(f"not on the screen: {what}\n{self.text}") from None

    async def until_text(self, text: str) -> None:
        """Wait until these words stand on the screen."""
        await self.until(lambda: text in self.text, text)

    async def whole_card(self) -> str:
        """Page through the step, as one who wants to read all of it, and go back to its top."""
        pages = [self.text]
        while BELOW.search(self.text):
            await press(self.pilot, "pagedown")
            pages.append(self.text)
        await press(self.pilot, "home")
        return "\n".join(pages)

    # Pressing.

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await press(self.pilot, *keys)

    async def enter_text(self, text: str) -> None:
        """Type a line and Enter."""
        self.screens.append(self.text)
        await self.press(*text, "enter")

    async def enter_the_name(self) -> str:
        """Type the name that is asked for on the screen, and Enter; returns it."""
        found = NAME.search(self.text)
        assert found is not None, self.text
        await self.enter_text(found[1])
        return found[1]

    async def declare(self, right: str, seen: str) -> None:
        """Declare an incident from the inventory; ``seen`` are words of the answer."""
        await self.until_text("1/")
        await self.press("4")
        await self.until_text("> Declare an incident")
        await self.press("enter")
        await self.until_text("When was it last right?")
        await self.enter_text(right)
        await self.until_text("What do you see?")
        await self.press(self._digit(seen))
        self.screens.append(self.text)
        await self.press("enter")
        await self.until(lambda: self.title[0], "the first step")

    def _digit(self, words: str) -> str:
        for text in self.lines:
            found = re.match(r"^ *>? *(\d)  ?(.+)$", text)
            if found is not None and words in found[2]:
                return found[1]
        raise AssertionError(f"no such answer: {words}\n{self.text}")

    async def walk(self, answers: Answers | None = None, *, until: str = "") -> None:
        """Go on from step to step: to the end, or to where the step of that title is asked."""
        known = answers or {}
        for _ in range(MOST_STEPS):
            await self.until_asked()
            number, title, _state = self.title
            if BEHIND in self.text or (until and title == until):
                return
            await self.do(known.get(title, ""))
            await self.until(partial(self._is_past, number), f"after {number} {title}")
            assert "FAILED" not in self.title[2], self.text
        raise AssertionError(f"it does not come to an end\n{self.text}")

    def _is_past(self, number: str) -> bool:
        return self.title[0] != number or "FAILED" in self.title[2]

    async def go_to(self, title: str) -> None:
        """Go to a step by the list of steps."""
        await self.press("tab")
        await self.until_text("Enter open")
        await self.press("g")
        for _ in range(MOST_STEPS):
            if re.search(rf"^ > \d\.\d {re.escape(title)}", self.text, re.MULTILINE):
                break
            await self.press("down")
        await self.press("enter")
        await self.until(lambda: self.title[1] == title, title)

    async def undo(self, title: str) -> str:
        """Take a step back; returns what the screen told before the name was typed."""
        await self.go_to(title)
        await self.press("U")
        await self.until(lambda: self.asks_for_text and NAME.search(self.text), "Type NAME")
        told = self.text
        await self.enter_the_name()
        await self.until(lambda: self.title[2].startswith("undone"), f"{title} taken back")
        return told

    async def drill(self, runbook: str) -> None:
        """Begin to practise, from the inventory."""
        await self.until_text("1/")
        await self.press("4")
        await self.until_text("> Declare an incident")
        await self.press("D")
        await self.until_text("Practise which scenario?")
        await self._choose(runbook)
        await self.until(lambda: self.title[0], "the first step")

    async def _choose(self, answer: str) -> None:
        """Give an answer of the question at the bottom by its key."""
        found = re.search(rf"^ .\s+{answer}  \((\S)\)", self.text, re.MULTILINE)
        assert found is not None, self.text
        self.screens.append(self.text)
        await self.press(found[1])

    async def hand_over(self) -> str:
        """Read the text that hands the incident over, and go back."""
        before = self.foot
        await self.press("H")
        await self.until(lambda: self.foot != before, "the hand-over")
        text = await self.whole_card()
        await self.press("escape")
        return text

    async def past_incident(self) -> str:
        """Open the past incident in the list, and read all of it."""
        await self.press("down", "enter")
        await self.until_text(" Closed ")
        return await self.whole_card()

    async def kept_by_the_swap(self) -> str:
        """Read at the swap's step under which name the damaged database is kept."""
        await self.go_to("Swap it in")
        found = re.search(r"(\S+__before_\S+?) is the", await self.whole_card())
        assert found is not None, self.text
        await self.press("escape")
        return found[1]

    async def leave(self) -> None:
        """Leave the application; the incident stays open."""
        screen = self.app.screen
        assert isinstance(screen, StepScreen), self.text
        await self.press("q")
        for seat in screen.seats.values():
            # As the end of the process would do.
            seat.leave()

    async def close(self, why: str) -> None:
        """Close the incident with a word on how it ended."""
        await self.press("C")
        await self.until(lambda: self.asks_for_text, "why it is closed")
        await self.enter_text(why)
        await self.until_text("closed, ")

    async def switch_runbook(self, name: str) -> None:
        """Go on with another runbook."""
        await self.press("W")
        await self.until_text("Go on with another runbook?")
        await self._choose(name)
        await self.until(lambda: f" {name} " in self.lines[2], name)

    async def until_asked(self) -> None:
        """Wait until the step waits for a person."""

        def asked() -> bool:
            waits = self.foot.startswith("Enter ") and self.title[0] != ""
            return waits or BEHIND in self.text

        await self.until(asked, "a step that waits for Enter")

    async def do(self, answer: str | Sequence[str] = "") -> None:
        """Answer the step on the screen: what it asks for, or Enter alone."""
        wanted = (answer,) if isinstance(answer, str) else tuple(answer)
        here = self.title
        if not self.asks_for_text:
            options = await self._options()
            if answer and options:
                await self._mark(options, wanted)
            self.screens.append(self.text)
            await self.press("enter")
            await self.until(
                lambda: self.asks_for_text or self.title != here, "what comes of Enter"
            )
        if self.asks_for_text and self.title[:2] == here[:2]:
            if NAME.search(self.text):
                await self.enter_the_name()
            else:
                await self.enter_text(wanted[-1])

    async def _options(self) -> dict[str, tuple[str, bool]]:
        """Return the answers there are to choose among: words -> digit, and whether marked."""
        found = {}
        for text in (await self.whole_card()).splitlines():
            option = OPTION.match(text)
            if option is not None:
                found[option[3]] = (option[2], option[1] in (" > ", "[x]"))
        return found

    async def _mark(self, options: Mapping[str, tuple[str, bool]], wanted: Sequence[str]) -> None:
        """Press the digits of the answers that have these words, and of none else."""
        several = any("[" in text[:4] for text in self.lines if OPTION.match(text))
        for words in wanted:
            assert any(words in each for each in options), (words, options, self.text)
        for label, (digit, marked) in options.items():
            chosen = any(words in label for words in wanted)
            if chosen != marked and (chosen or several):
                await self.press(digit)
