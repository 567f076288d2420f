"""Random keys on the screens of a recovery: whatever is pressed, nothing that can hurt begins."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from textual import events
from textual.pilot import Pilot

from fsbackup_tui.repository.incidents import list_incidents
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.modes.recover_step import StepScreen
from tests.support.recovering import DESTRUCTIVE, jobs_of, make_desk
from tests.tui.recoveries import led_to, recover_app
from tests.tui.screens import until

# All that is bound in mode 4, what moves and edits, text, and what is bound nowhere. "q" is left
# out, it would only end the round; and "o": the live database is called "shop".
KEYS = (
    *("enter",) * 14,
    *("escape",) * 3,
    *("tab", "up", "down", "left", "right", "pageup", "pagedown", "home", "end", "backspace"),
    *"SUNOHAWTRGCDtyYjkgar/:?123456789 xznmbvdeilcfw.,-",
    *("ctrl+u", "ctrl+d", "ctrl+l", "ctrl+p", "f1", "delete", "h", "s", "p"),
)
PASTES = ("sh", "shop", "yes\n", "y\r\n", "20 m ago\n", "\x1b[31m")


@dataclass
class Presses:
    """What a round of random keys did."""

    keys: int = 0
    steps: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    asked: int = 0


async def press_randomly(directory: Path, seed: str, count: int, *, to: str) -> Presses:
    """Press random keys at an incident that was led up to a step; AssertionError if it hurts.

    The desk's jobs refuse whatever destroys; an exception in a screen ends the application.
    """
    draw = random.Random(seed)
    desk = make_desk(directory)
    jobs = jobs_of(desk)
    led_to(desk, to)
    before = len(jobs.requests)
    done_before = [each.operation for each in jobs.requests if each.operation in DESTRUCTIVE]
    jobs.refuse = DESTRUCTIVE
    pressed = Presses()
    app = recover_app(desk)
    async with app.run_test(size=draw.choice([(80, 24), (80, 24), (130, 40)])) as pilot:
        await until(pilot, lambda: isinstance(app.screen, StepScreen) and app.screen.view)
        while pressed.keys < count:
            await _some(app, pilot, draw, pressed)
            assert app.is_running
    asked = [each.operation for each in jobs.requests[before:]]
    pressed.begun.update(asked)
    assert not DESTRUCTIVE & set(asked)
    for journal in list_incidents(desk.state):
        for entry in journal.entries():
            hurt = entry.kind == "intent" and _operation(entry.body) in DESTRUCTIVE
            assert not hurt or _operation(entry.body) in done_before, entry
    return pressed


def _operation(body: object) -> str:
    request = body.get("request") if isinstance(body, dict) else None
    return str(request.get("operation")) if isinstance(request, dict) else ""


async def _some(app: FsbackupApp, pilot: Pilot[int], draw: random.Random, pressed: Presses) -> None:
    """Press some keys one right after the other."""
    screen = app.screen
    keys = draw.choices(KEYS, k=draw.choice((1, 2, 5, 15)))
    if isinstance(screen, StepScreen):
        if screen.card is not None:
            pressed.steps.add(screen.card.id)
        if draw.random() < 0.1:
            (app.focused or screen).post_message(events.Paste(draw.choice(PASTES)))
    elif draw.random() < 0.3:
        # Back to the incident: from wherever it went.
        keys = ["escape", "escape", "4", "down", "enter"]
    for key in keys:
        await pilot.press(key)
        pressed.keys += 1
        pressed.asked += isinstance(app.screen, StepScreen) and app.screen.entry.open
