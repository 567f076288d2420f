"""What every screen shares: window sizes, help, commands, themes, leaving, harmless keys."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from rich.cells import cell_len

from fsbackup_tui.tui.data import PointQuery
from fsbackup_tui.tui.settings import Settings
from fsbackup_tui.tui.widgets.choice import ChoicePanel
from tests.support.site_recovering import files_led_to, site_desk
from tests.tui.fakes import Clock, FakeSite, make_app
from tests.tui.proofs import proven_site
from tests.tui.recoveries import held_desk, led_to, open_incident, recover_app
from tests.tui.retained import RetainedSite
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_screens_look_as_they_did(size: tuple[int, int]) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "j", "j")
        await until_text(pilot, "3/8")
        compare("inventory", size, text_lines(app))
        await press(pilot, "enter")
        await until_text(pilot, "Restore with fsbackup")
        compare("point", size, text_lines(app))
        await press(pilot, "2")
        await until_text(pilot, "backup k3f9")
        compare("jobs", size, text_lines(app))
        await press(pilot, "enter")
        await until_text(pilot, "62 %")
        compare("job", size, text_lines(app))
        await press(pilot, "question_mark")
        await until_text(pilot, "Everywhere")
        compare("help", size, text_lines(app))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_verify_looks_as_it_did(size: tuple[int, int]) -> None:
    app = make_app(proven_site())
    async with app.run_test(size=size) as pilot:
        await until_text(pilot, "1/10")
        await press(pilot, "3")
        await until_text(pilot, "READABLE")
        await press(pilot, *"jjj")
        await until_text(pilot, "4/10")
        compare("verify", size, text_lines(app))
        await press(pilot, "enter")
        await until_text(pilot, "roles were created")
        await press(pilot, "tab")
        await until_text(pilot, "CAPTURED")
        compare("proof", size, text_lines(app))
        await press(pilot, "escape", "p")
        await until_text(pilot, "61 m ago  PROVEN")
        compare("picture", size, text_lines(app))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_retention_looks_as_it_did(size: tuple[int, int]) -> None:
    app = make_app(RetainedSite())
    async with app.run_test(size=size) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "not full in 2 y")
        compare("retention", size, text_lines(app))
        await press(pilot, "e", "j", "h", "h")
        await until_text(pilot, "Removes 12 points more")
        await until_text(pilot, "Disk  not full")
        compare("rules", size, text_lines(app))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_recover_looks_as_it_did(size: tuple[int, int], tmp_path: Path) -> None:
    for name, step, keys in (
        ("recover", None, ("4",)),
        ("declare", None, ("4", "enter", *"20 m ago")),
        ("incident-choice", "choose-way", ()),
        ("incident-swap", "swap", ()),
        ("incident-typed", "swap", ("enter",)),
        ("incident-steps", "restore", ("tab",)),
        ("incident-closing", "", ()),
    ):
        place = tmp_path / name
        place.mkdir()
        desk = held_desk(place)
        if step is not None:
            led_to(desk, step)
        app = recover_app(desk)
        async with app.run_test(size=size) as pilot:
            await until_text(pilot, "PROD face-swap")
            if step:
                await open_incident(pilot, step)
            else:
                await until_text(pilot, "1/8" if step is None else "All steps are behind")
            await press(pilot, *keys)
            await until_text(pilot, _THERE[name])
            compare(name, size, text_lines(app))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_recovery_of_files_looks_as_it_did(size: tuple[int, int], tmp_path: Path) -> None:
    for name, step in (
        ("files-stop", "stop-deleting"),
        ("files-way", "choose-way"),
        ("files-exchange", "files-exchange"),
    ):
        place = tmp_path / name
        place.mkdir()
        desk = site_desk(place)
        files_led_to(desk, step)
        app = recover_app(desk)
        async with app.run_test(size=size) as pilot:
            await until_text(pilot, "PROD face-swap")
            await open_incident(pilot, step)
            await until_text(pilot, _THERE[name])
            compare(name, size, text_lines(app))


_THERE = {
    "files-stop": "What deletes there, and is to be stopped?",
    "files-way": "Which way?",
    "files-exchange": "looked 0 s ago",
    "recover": "> Declare an incident",
    "declare": "UTC, 20 m ago",
    "incident-choice": "Which way?",
    "incident-swap": "looked 0 s ago",
    "incident-typed": "Type shop",
    "incident-steps": "> 4.1 Restore beside",
    "incident-closing": "fsbackup leftovers",
}


def compare(name: str, size: tuple[int, int], lines: list[str]) -> None:
    """Compare a screen with the stored one; FSBACKUP_SNAPSHOTS=write stores it instead."""
    path = SNAPSHOTS / f"{name}-{size[0]}x{size[1]}.txt"
    shown = "\n".join(lines) + "\n"
    assert all(cell_len(line) <= size[0] for line in lines)
    if os.environ.get("FSBACKUP_SNAPSHOTS") == "write":
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


async def test_tiny_window_shows_one_message_and_comes_back() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        before = text_lines(app)
        for opened in ((), ("enter",), ("escape", "2", "enter"), ("escape", "1", "b")):
            await press(pilot, *opened)
            await pilot.resize_terminal(20, 5)
            await until_text(pilot, "Window too small")
            words = " ".join(" ".join(text_lines(app)).split())
            assert words == "Window too small: 20x5. fsbackup needs 40x10. Jobs run on."
            await pilot.resize_terminal(80, 24)
            await until_gone(pilot, "Window too small")
        await press(pilot, "escape")
        await until(pilot, lambda: text_lines(app)[3:11] == before[3:11])
        for width, height in ((1, 1), (40, 10), (79, 23), (300, 100), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
        await until_text(pilot, "weekly-schema")


async def test_help_lists_what_has_the_keyboard_first_and_escape_ends_it() -> None:
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "question_mark")
        await until_text(pilot, "Everywhere")
        text = screen_text(app)
        assert text.index("Inventory\n") < text.index("In a list") < text.index("Everywhere")
        assert "back-up" in text
        await press(pilot, "escape")
        await until_text(pilot, "1/8")


@pytest.mark.parametrize("key", ["colon", "ctrl+p"])
async def test_commands_change_the_theme(key: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, key)
        await until_text(pilot, "Theme ansi-16")
        await press(pilot, *"theme ligh", "enter")
        await until(pilot, lambda: app.look.name == "light")
        await until_text(pilot, "1/8")
        background = {
            segment.style.bgcolor.name
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.bgcolor is not None
        }
        assert "#fafaf7" in background


async def test_commands_do_what_the_keys_do() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "colon", *"back up", "enter")
        await until_text(pilot, "Back up now?")
        assert site.started == []
        await press(pilot, "enter")
        await press(pilot, "colon", *"jobs", "enter")
        await until_text(pilot, "STARTED")


async def test_every_theme_shows_every_screen() -> None:
    for theme in ("light", "high-contrast", "ansi-16"):
        app = make_app(theme=theme)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "1/8")
            await press(pilot, "enter", "2", "enter", "colon")
            await until_text(pilot, "Theme dark")


async def test_remapped_key_works_and_is_shown() -> None:
    site = FakeSite()
    app = make_app(site, settings=Settings(keys={"verify": "V", "quit": "X"}))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        assert "V verify" in text_lines(app)[-1]
        await press(pilot, "v")
        assert "Verify sealed" not in screen_text(app)
        await press(pilot, "V")
        await until_text(pilot, "Verify sealed")
        await press(pilot, "escape", "q")
        assert app.is_running
        await press(pilot, "X")
    assert app.return_value == 0


async def test_message_about_the_settings_is_shown() -> None:
    app = make_app(message="tui.yaml: fps is a whole number from 1 to 60, not 'x'")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "tui.yaml: fps is a whole number")


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving_ends_with_zero_and_cancels_nothing(key: str) -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "escape", "escape", "escape")
        assert app.is_running
        await press(pilot, key)
    assert app.return_value == 0
    assert site.cancelled == []
    assert app.overview.running == ("backup k3f9",)


MONKEY_KEYS = (
    *"abcdefghijklmnoprstuvwxzABCGMYSV0123456789/?:.,;'\"[]{}",
    "escape", "enter", "enter", "tab", "shift+tab", "up", "down", "left", "right", "pageup",
    "pagedown", "home", "end", "space", "backspace", "delete", "f1", "f5", "ctrl+d", "ctrl+u",
    "ctrl+p", "slash", "colon", "question_mark",
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_keys_start_and_cancel_only_by_an_answer_that_was_marked(seed: int) -> None:
    random_keys = random.Random(seed)
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        for _ in range(400):
            key = random_keys.choice(MONKEY_KEYS)
            panels = list(app.screen.query(ChoicePanel))
            asked = bool(panels) and panels[0].open
            direct = asked and key in "123456789"
            marked = asked and key == "enter" and panels[0].marked > 0
            done = len(site.started) + len(site.cancelled)
            await pilot.press(key)
            assert app.is_running, key
            if not direct and not marked:
                assert len(site.started) + len(site.cancelled) == done, key
        assert site.count(PointQuery()) == 8


async def test_escape_and_a_key_in_one_packet_are_two_keys() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "enter")
        await until_text(pilot, "Restore with fsbackup")
        await press(pilot, "alt+j")
        await until_text(pilot, "2/8")


async def test_message_goes_with_the_first_key_after_it_was_read() -> None:
    clock = Clock(step=0.0)
    app = make_app(clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "s")
        await until_text(pilot, "Order: oldest")
        await press(pilot, "j")
        await until_text(pilot, "2/8")
        assert "Order: oldest" in screen_text(app)
        clock.seconds += 5
        await press(pilot, "j")
        await until_gone(pilot, "Order: oldest")


async def test_text_that_goes_on_below_says_so_until_its_end() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "question_mark")
        await until_text(pilot, "more lines below")
        await press(pilot, "G")
        await until_gone(pilot, "more lines below")
        await press(pilot, "k")
        await until_text(pilot, " 1 more line below")
        await pilot.resize_terminal(80, 60)
        await until_gone(pilot, "more lines below")


async def test_news_that_come_while_the_screens_are_taken_down_end_nothing() -> None:
    app = make_app(FakeSite())
    came_late: list[bool] = []

    def news() -> None:
        came_late.append(not app.is_running)
        app.set_overview(app.overview)

    def bring() -> None:
        if app.call_later(news):
            asyncio.get_running_loop().call_soon(bring)

    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD")
        await press(pilot, "question_mark")
        await until_text(pilot, "In a list")
        bring()
    assert any(came_late)


async def test_however_often_the_site_is_looked_at_one_timer_goes_on_with_it() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        for _ in range(5):
            app.refresh_overview()
            await app.workers.wait_for_complete()
            await pilot.pause()
        looks = [timer for timer in app._timers if "SiteWatch.look" in repr(timer._callback)]
        assert len(looks) == 1


async def test_the_help_shows_every_key_of_an_action() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "enter")
        await until_text(pilot, "Taken")
        await press(pilot, "question_mark")
        await until_text(pilot, "PgDn, Space, ctrl-d")
        assert "\u2026" not in "".join(text_lines(app)[2:])
