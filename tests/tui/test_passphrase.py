"""The passphrase that a job needs: asked for hidden, tried first, once; Esc starts nothing."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from fsbackup_tui.domain.key_question import KeyQuestion, Verdict
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.widgets.hidden import HiddenPanel
from tests.support.recovering import jobs_of, make_desk
from tests.tui.fakes import FakeSite, make_app
from tests.tui.recoveries import led_to, open_incident
from tests.tui.screens import press, screen_text, text_lines, until, until_text

QUESTION = KeyQuestion("face-swap", "k3f9x2ab", "the safe in the office")
RIGHT, WRONG = "Straße!zq", "zzqqj"


class Watched:
    """A person at the keys, and every screen there was while they typed."""

    def __init__(self, pilot: Pilot[int]) -> None:
        self.pilot = pilot
        self.seen: list[str] = []

    @property
    def panel(self) -> HiddenPanel:
        screen = self.pilot.app.screen
        assert isinstance(screen, FrameScreen)
        return screen.hidden

    async def type(self, text: str, *keys: str) -> None:
        for key in (*text, *keys):
            await press(self.pilot, {"!": "exclamation_mark"}.get(key, key))
            self.seen.append(screen_text(self.pilot.app))  # type: ignore[arg-type]


def contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


def asking_site(**more: str) -> FakeSite:
    return FakeSite(question=QUESTION, passphrase=more.get("passphrase", RIGHT))


async def back_up(pilot: Pilot[int]) -> Watched:
    await until_text(pilot, "1/8")
    await press(pilot, "b")
    await until_text(pilot, "Back up now?")
    await press(pilot, "1")
    await until_text(pilot, "Passphrase of face-swap")
    return Watched(pilot)


async def test_wrong_then_right_then_never_again() -> None:
    site = asking_site()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        person = await back_up(pilot)
        text = screen_text(app)
        assert " Passphrase of face-swap (the safe in the office):" in text
        assert (
            "Key k3f9x2ab. Kept until you leave, in memory alone. Esc: nothing is started" in text
        )
        assert text_lines(app)[-1] == " Enter answer  Esc back"
        await person.type(WRONG)
        # One word says that something is there: neither what nor how much.
        assert len({tuple(screen.splitlines()[:-1]) for screen in person.seen}) == 1
        await person.type("", "enter")
        await until_text(pilot, "It does not open the key k3f9x2ab (the safe in the office).")
        assert site.started == []
        await person.type(RIGHT, "x", "left", "backspace", "enter")
        await until(pilot, lambda: len(site.started) == 1)
        await until_text(pilot, "backup n001 runs.")
        assert site.kept == [Secret(RIGHT)]
        assert not any(word in screen for screen in person.seen for word in ("zq", "qq", "Stra"))
        assert "zq" not in repr(person.panel.__dict__)
        await press(pilot, "b", "1")
        await until(pilot, lambda: len(site.started) == 2)


async def test_given_up_nothing_is_started_and_it_says_what_would_help() -> None:
    site = asking_site()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        person = await back_up(pilot)
        await person.type("q2b?", "escape")
        await until_text(pilot, "NOTHING STARTED: no passphrase was typed.")
        await press(pilot, "a")
        await until_text(pilot, "config.yaml:4 names none, and FSBACKUP_PASSPHRASE is not set.")
        await press(pilot, "escape")
        # Enter alone is as good, but not one that was meant for what was there before.
        await press(pilot, "b", "1")
        await until_text(pilot, "Passphrase of face-swap")
        app.clock.step = 0.0  # type: ignore[attr-defined]
        await press(pilot, "enter")
        await until_text(pilot, "Enter came too soon")
        app.clock.step = 1.0  # type: ignore[attr-defined]
        await press(pilot, "enter")
        await until_text(pilot, "NOTHING STARTED")
        assert (site.started, site.kept, person.panel.open) == ([], [], False)


async def test_what_is_typed_while_it_is_checked_is_nothing_and_esc_withdraws_it() -> None:
    site = asking_site()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        person = await back_up(pilot)
        site.gate = threading.Event()
        person.panel.post_message(events.Paste(f"{RIGHT}\nrest"))
        await person.type("", "enter")
        await until_text(pilot, "checking it…")
        await person.type("more", "enter", "escape")
        await until_text(pilot, "NOTHING STARTED")
        site.gate.set()
        # Who gave it up and begins again is asked again.
        await press(pilot, "b", "1")
        await until_text(pilot, "Passphrase of face-swap")
        assert (site.started, site.kept) == ([], [])


async def test_a_check_that_fails_unforeseen_tells_nothing_of_it_and_leaves_no_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = asking_site()

    def check(_question: KeyQuestion, typed: Secret) -> Verdict:
        raise LookupError(f"nothing for {typed.reveal()}")

    monkeypatch.setattr(site, "check_passphrase", check)
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        person = await back_up(pilot)
        await person.type(RIGHT, "enter")
        await until_text(pilot, "failed in a way not foreseen")
        assert not person.panel.open
        await press(pilot, "a")
        await until_text(pilot, "LookupError: nothing for ***")
        assert site.started == []


async def test_what_begins_a_new_key_is_typed_twice() -> None:
    site = asking_site(passphrase="")
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        person = await back_up(pilot)
        for slip in ("a slip", ""):
            await person.type(RIGHT, "enter")
            await until_text(pilot, "It begins a new key. Once more, so that it is right:")
            if slip:
                await person.type("slip", "enter")
                await until_text(pilot, "Those two differ.")
                assert "Passphrase of face-swap" in screen_text(app)
        await person.type(RIGHT, "enter")
        await until(pilot, lambda: len(site.started) == 1)
        assert site.kept == [Secret(RIGHT)]


async def test_a_step_begins_once_it_is_right_and_its_journal_has_none_of_it(
    tmp_path: Path,
) -> None:
    site = asking_site()
    desk = make_desk(tmp_path)
    led_to(desk, "restore")
    site.recovery = replace(desk, ready=site.require)
    app = make_app(site, now=desk.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "restore")
        before = jobs_of(desk).operations()
        person = Watched(pilot)
        for text, shown in ((WRONG, "It does not open"), (RIGHT, "Prove the copy")):
            if text == WRONG:
                await press(pilot, "enter")
                await until_text(pilot, "Passphrase of face-swap")
            await person.type(text, "enter")
            await until_text(pilot, shown)
        assert jobs_of(desk).operations()[len(before) :].count("restore") == 1
    assert not any(RIGHT.encode() in content for content in contents(tmp_path))


async def test_a_step_that_helps_without_goes_on_without(tmp_path: Path) -> None:
    site = asking_site()
    site.question = replace(QUESTION, can_go_without=True)
    desk = make_desk(tmp_path)
    led_to(desk, "damage")
    site.recovery = replace(desk, ready=site.require)
    app = make_app(site, now=desk.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "damage")
        await press(pilot, "enter")
        await until_text(pilot, "Esc: goes on without it")
        assert text_lines(app)[-1] == " Enter answer  Esc without it"
        await press(pilot, "escape")
        await until_text(pilot, "Choose the point")
        assert site.kept == [None]
