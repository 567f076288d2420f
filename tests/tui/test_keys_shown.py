"""No key is shown that would do nothing: every state of every screen, every key at its bottom."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest
from textual.pilot import Pilot

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.keys import keys_of
from fsbackup_tui.tui.modes.recover_step import StepScreen
from fsbackup_tui.tui.widgets.choice import ChoicePanel
from tests.tui.fakes import ALERTS, OVERVIEW, FakeSite, make_app, without_config
from tests.tui.proofs import proven_site, verifying
from tests.tui.recoveries import held_desk, led_to, recover_app
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text

MISSING = Problem("repository-missing", "REPOSITORY NOT MOUNTED: /b.", "Empty.", "mount it")


def full() -> FsbackupApp:
    return make_app(FakeSite(state=replace(OVERVIEW, alerts=ALERTS)))


def empty() -> FsbackupApp:
    return make_app(FakeSite(stored=[], rows=[]))


def unconfigured() -> FsbackupApp:
    return make_app(open_site=without_config)


def unmounted() -> FsbackupApp:
    blocked = dict.fromkeys(("inventory", "backup", "verify"), MISSING)
    return make_app(FakeSite(state=replace(OVERVIEW, blocked=blocked), stored=[], rows=[]))


def proving() -> FsbackupApp:
    return make_app(proven_site())


def running() -> FsbackupApp:
    site = proven_site()
    verifying(site, site.stored[1])
    return make_app(site)


def recovering(step: str | None) -> Callable[[], FsbackupApp]:
    """Return what makes an application whose incident was led to a step; None: there is none."""

    def make() -> FsbackupApp:
        place = Path(mkdtemp(prefix="fsbackup-keys-"))
        # The interpreter's end takes it away: what is made here has no test's directory.
        atexit.register(rmtree, place, ignore_errors=True)
        desk = held_desk(place)
        if step is not None:
            led_to(desk, step)
        return recover_app(desk)

    return make


# How one gets there: the site, the keys, and what then stands on the screen.
STATES: dict[str, tuple[Callable[[], FsbackupApp], tuple[str, ...], str]] = {
    "inventory": (full, (), "1/8"),
    "filter": (full, ("slash", "d"), "/d  "),
    "filter without a match": (full, ("slash", *"xqx", "enter"), "No point has"),
    "point": (full, ("enter",), "Restore with fsbackup"),
    "jobs": (full, ("2",), "backup k3f9"),
    "running job": (full, ("2", "enter"), "62 %"),
    "failed job": (full, ("2", "j", "j", "enter"), "Log   /var"),
    "verify": (proving, ("3",), "READABLE"),
    "verify filter": (proving, ("3", "slash", "d"), "/d  "),
    "verify without a match": (proving, ("3", "slash", *"xqx", "enter"), "No point has"),
    "proof": (proving, ("3", "j", "j", "j", "enter"), "roles were created"),
    "blocked": (proving, ("3", "j", "enter"), "apt install"),
    "proof of a running one": (running, ("3", "j", "enter"), "Live"),
    "picture": (proving, ("3", "p"), "61 m ago  PROVEN"),
    "picture of older ones": (proving, ("3", "p", "left"), "25 h ago  readable"),
    "help": (full, ("question_mark",), "Everywhere"),
    "alerts": (full, ("a",), "NO BACKUP FOR"),
    "commands": (full, ("colon",), "Theme dark"),
    "question": (full, ("b",), "Back up now?"),
    "empty inventory": (empty, (), "No recovery point yet"),
    "no jobs": (empty, ("2",), "No job has run"),
    "no config": (unconfigured, (), "fsbackup init"),
    "verify without points": (empty, ("3",), "No recovery point yet"),
    "verify without config": (unconfigured, ("3",), "fsbackup init"),
    "jobs without config": (unconfigured, ("2",), "fsbackup init"),
    "no repository": (unmounted, (), "mount it"),
    "recover": (recovering(None), ("4",), "> Declare an incident"),
    "recover without config": (unconfigured, ("4",), "fsbackup init"),
    "declare": (recovering(None), ("4", "enter"), "last right?"),
    "what is seen": (recovering(None), ("4", "enter", "enter"), "> 5  don't know"),
    "text asked for": (recovering("keep-evidence"), (), "Enter alone"),
    "text question": (recovering("keep-evidence"), ("escape",), "Enter answer"),
    "step": (recovering("restore"), (), "looked 0 s"),
    "choice": (recovering("freeze"), (), "Who is to be kept"),
    "message": (recovering("tell-first"), (), "Send this"),
    "swap": (recovering("swap"), (), "looked 0 s"),
    "typed name": (recovering("swap"), ("enter",), "Type shop"),
    "closing": (recovering(""), (), "All steps are behind"),
    "steps": (recovering("restore"), ("tab",), "4.1 Restore beside"),
    "hand-over": (recovering("restore"), ("H",), "--resume"),
}
TYPED = {"Enter": "enter", "Esc": "escape", "Up Down": "down", "1-9": "1"}


def settled(app: FsbackupApp) -> bool:
    """Return whether the open incident is on the screen, the server looked at where that is due."""
    screen = app.screen
    view = screen.view if isinstance(screen, StepScreen) else None
    card = view.card if view is not None else None
    return view is not None and not (card is not None and card.needs_look)


async def reach(pilot: Pilot[int], app: FsbackupApp, state: str) -> list[str]:
    """Go to a state; returns the keys that stand at the bottom there."""
    _, keys, text = STATES[state]
    await until(pilot, lambda: app.overview.answer.tone != "checking")
    await until_gone(pilot, "reading")
    await until(pilot, lambda: app.overview.incident is None or settled(app))
    await press(pilot, *keys)
    await until_text(pilot, text)
    screen = app.screen
    assert isinstance(screen, FrameScreen)
    if screen.query_one(ChoicePanel).open:
        return ["enter", "down", "escape"]
    return [
        keys_of(item, {}).split(",")[0] if isinstance(item, str) else TYPED[item[0]]
        for item in screen.foot()
    ]


@pytest.mark.parametrize("state", STATES)
async def test_every_key_at_the_bottom_does_something(state: str) -> None:
    app = STATES[state][0]()
    async with app.run_test(size=(120, 30)) as pilot:
        keys = await reach(pilot, app, state)
    for key in keys:
        await does_something(STATES[state][0](), state, key)


async def does_something(app: FsbackupApp, state: str, key: str) -> None:
    """Press the key in a state and wait until the screen is another, or the application gone."""
    async with app.run_test(size=(120, 30)) as pilot:
        await reach(pilot, app, state)
        before = screen_text(app)
        await press(pilot, key)
        await until(pilot, lambda: not app.is_running or screen_text(app) != before)


async def test_without_a_config_only_keys_that_work_there_are_shown() -> None:
    app = unconfigured()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "fsbackup init")
        assert text_lines(app)[-1].split() == [":", "commands", "?", "keys", "q", "quit"]
        await press(pilot, "question_mark")
        await until_text(pilot, "Everywhere")
        text = screen_text(app)
        assert "Back up now" not in text
        assert "Verify the point" not in text
        await press(pilot, "question_mark")
        await until_text(pilot, "fsbackup init")
        for key in ("b", "v", "y", "s", "slash"):
            before = screen_text(app)
            await press(pilot, key)
            assert screen_text(app) != before, key


async def test_mode_key_goes_back_to_the_first_screen_of_its_mode() -> None:
    app = full()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "j", "enter")
        await until_text(pilot, "Restore with fsbackup")
        await press(pilot, "question_mark", "1")
        await until_text(pilot, "2/8")


async def test_no_line_of_a_message_is_marked_as_if_it_could_be_opened() -> None:
    app = empty()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "No recovery point yet")
        await press(pilot, "2")
        await until_text(pilot, "No job has run here yet.")
        cursor = app.look.styles["cursor"].bgcolor
        assert all(
            segment.style is None or segment.style.bgcolor != cursor
            for strip in app.screen._compositor.render_strips()
            for segment in strip
        )
