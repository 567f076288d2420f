"""Mode 4 by keys alone: declaring, steps, answers, what happened, closing, coming back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.written import TableWritten, WrittenSince
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.question import Option, Question
from fsbackup_tui.repository.incidents import find_open, list_incidents
from fsbackup_tui.tui.app import FsbackupApp
from tests.support.recovering import Clock, jobs_of, make_desk, make_standing
from tests.tui.fakes import Clock as Seconds
from tests.tui.fakes import FakeSite, make_app
from tests.tui.recoveries import (
    enter_name,
    held_desk,
    jobs_held,
    led_to,
    open_incident,
    recover_app,
    step_screen,
    until_step,
)
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text

SIZES = pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])


async def declare(pilot: Pilot[int], right: str, seen: str) -> None:
    """Declare an incident from the inventory, by keys."""
    await until_text(pilot, "1/8")
    await press(pilot, "4")
    await until_text(pilot, "> Declare an incident")
    await press(pilot, "enter")
    await until_text(pilot, "When was it last right?")
    await press(pilot, *right, "enter")
    await until_text(pilot, "What do you see?")
    await press(pilot, seen, "enter")


@SIZES
async def test_a_data_loss_is_led_to_its_end_by_keys_alone(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    desk = make_desk(tmp_path)
    app = recover_app(desk)
    async with app.run_test(size=size) as pilot:
        await declare(pilot, "20 m ago", "5")
        await until_step(pilot, "keep-evidence")
        await until_text(pilot, "Enter alone: unknown")
        await enter_name(pilot, "videos")
        for step in ("pause-jobs", "freeze", "stop-app", "tell-first"):
            await until_step(pilot, step)
            await press(pilot, "enter")
        for step in ("preserve", "damage", "choose-point"):
            await until_step(pilot, step)
            await press(pilot, "enter")
        await until_step(pilot, "choose-way")
        await press(pilot, "2", "enter")
        for step in ("tell-eta", "restore", "check-copy"):
            await until_step(pilot, step)
            await press(pilot, "enter")
        await until_step(pilot, "swap")
        await until_text(pilot, "public.users  1 000 -> 1 031 rows  (+31)")
        await press(pilot, "enter")
        await until_text(pilot, "Type shop to run ")
        await enter_name(pilot, "shop")
        for step in ("migrations", "start-app", "smoke-test", "resume-jobs", "fresh-backup"):
            await until_step(pilot, step)
            await press(pilot, "enter")
        await until_step(pilot, "tell-done")
        await press(pilot, "enter")
        await until_text(pilot, "All steps are behind.")
        await until_text(pilot, "shop__before_20261122_01 is the database as it was")
        await press(pilot, "C")
        await enter_name(pilot, "rows are back")
        await until_text(pilot, "closed, 0 m")
    assert jobs_of(desk).operations() == [
        *("look", "freeze", "look", "damage", "look", "restore"),
        *("check-copy", "look", "swap", "migration", "backup"),
    ]
    assert find_open(desk.state) is None
    incident = list_incidents(desk.state)[0].read()
    assert incident is not None
    assert incident.closed_why == "rows are back"
    assert incident.seen == "unknown"


async def test_declaring_echoes_the_time_and_takes_no_nonsense(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "4")
        await until_text(pilot, "> Declare")
        await press(pilot, "enter")
        await press(pilot, *"03:45")
        await until_text(pilot, "03:45 CET = 2026-11-22 02:45 UTC, 20 m ago")
        await press(pilot, *"xx", "enter")
        await until_text(pilot, "NOT A TIME: 03:45xx.")
        await press(pilot, "escape")
        await until_text(pilot, "> Declare")
        assert list_incidents(desk.state) == []
        await press(pilot, "enter", "enter")
        await until_text(pilot, "> 5  don't know")
        await until_text(pilot, "Last right  not known")
        await press(pilot, "escape")
        await until_text(pilot, "When was it last right?")
        await press(pilot, "escape")
        await until_text(pilot, "> Declare")
    assert list_incidents(desk.state) == []


@pytest.mark.parametrize("keys", [["enter"] * 8, ["escape"], [*"shop"], [*"shopp", "enter"]])
async def test_no_key_but_the_whole_name_swaps(tmp_path: Path, keys: list[str]) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "swap")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "swap")
        await press(pilot, "enter")
        await until_text(pilot, "Type shop")
        await press(pilot, *keys)
    assert "swap" not in jobs_of(desk).operations()


async def test_enter_counts_only_after_a_moment_without_keys(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "restore")
    clock = Seconds(step=0.001)
    app = recover_app(desk, clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "restore")
        await press(pilot, "j", "enter", "enter")
        await until_text(pilot, "Enter came too soon")
        assert "restore" not in jobs_of(desk).operations()
        clock.seconds += 0.8
        await press(pilot, "enter", "enter", "enter")
        await until_step(pilot, "check-copy")
        # Held down, it does not run through the steps.
        await press(pilot, "enter", "enter", "enter")
    assert jobs_of(desk).operations()[-1] == "restore"


async def test_another_server_stops_it_until_it_is_typed(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    clock = desk.author.now
    assert isinstance(clock, Clock)
    jobs_of(desk).replies["look"] = lambda _: make_standing(
        clock, environment="staging", environment_from="the database's name"
    )
    led_to(desk, "keep-evidence")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "keep-evidence")
        await until_text(pilot, "STOPPED: this is not the database the point came from.")
        await until_text(pilot, "staging")
        await press(pilot, "enter")
        await until_text(pilot, "Type db1/shop.")
        await enter_name(pilot, "shop")
        await until_text(pilot, "That is not db1/shop. Nothing was done.")
        await press(pilot, "ctrl+u")
        assert "freeze" not in jobs_of(desk).operations()
        await enter_name(pilot, "db1/shop")
        await until_gone(pilot, "STOPPED")
        await until_gone(pilot, "Type db1/shop")
        await until_text(pilot, "Enter alone: unknown")
        await enter_name(pilot, "videos")
        await until_step(pilot, "pause-jobs")
    assert "freeze" in jobs_of(desk).operations()


async def test_a_question_for_text_takes_what_is_typed_at_once(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    clock = Seconds(step=0.001)
    app = recover_app(desk, clock=clock)
    led_to(desk, "keep-evidence")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "keep-evidence")
        await until_text(pilot, "Enter alone: unknown")
        # An Enter that was meant for the step before is no answer.
        await press(pilot, "enter")
        await until_text(pilot, "Enter came too soon")
        await press(pilot, *"quiz")
        assert step_screen(app).entry.text == "quiz"
        # Esc gives the keys back, and it does not open again by itself.
        await press(pilot, "escape")
        await until_gone(pilot, "Enter alone: unknown")
        moment = desk.author.now
        assert isinstance(moment, Clock)
        moment.moment += timedelta(seconds=60)
        step_screen(app).look(anew=True)
        await until_text(pilot, "T+00:01:00")
        assert not step_screen(app).entry.open
        clock.step = 1.0
        await press(pilot, "enter")
        await until_text(pilot, "Enter alone: unknown")
        await enter_name(pilot, "videos")
        await until_step(pilot, "pause-jobs")
    assert "freeze" in jobs_of(desk).operations()


async def test_answers_are_marked_by_digits_and_doubt_wants_a_reason(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "choose-point")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "choose-point")
        await until_text(pilot, ">  1 02:05 CET  PROVEN")
        await press(pilot, "9")
        await until_text(pilot, "There are 2 answers")
        await press(pilot, "2", "enter")
        await until_text(pilot, "Why is it to be this one all the same?")
        await press(pilot, "enter")
        await until_text(pilot, "A few words are needed")
        await enter_name(pilot, "the newer one")
        await until_step(pilot, "choose-way")
        screen = step_screen(app)
        assert screen.view is not None
        assert screen.view.reading.incident.parameters["point_reason"] == "the newer one"


async def test_what_is_not_possible_here_says_why(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await declare(pilot, "unknown", "1")
        await until_step(pilot, "keep-evidence")
        await until_text(pilot, "Enter alone: unknown")
        await press(pilot, "enter")
        await until_step(pilot, "pause-jobs")
        await press(pilot, "enter")
        await until_step(pilot, "freeze")
        await press(pilot, "2")
        await until_text(pilot, "Not possible here: No table was named.")
        # Several answers: a digit adds, and takes away.
        await press(pilot, "enter")
        await until_step(pilot, "stop-app")
        await press(pilot, "enter")
        await until_step(pilot, "tell-first")
        await press(pilot, "enter")
        await until_step(pilot, "preserve")
        await press(pilot, "2", "3", "1", "2")
        await until_text(pilot, "[x] 3")
        assert step_screen(app).chosen == ("salvage",)


async def test_a_job_that_runs_shows_how_far_and_its_output(tmp_path: Path) -> None:
    desk = held_desk(tmp_path)
    jobs = jobs_held(desk)
    led_to(desk, "restore")
    jobs.hold.add("restore")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "restore")
        await press(pilot, "enter")
        await until_text(pilot, "[##############..........]  62 %  data public.events")
        text = screen_text(app)
        assert "ETA 4 m 00 s" in text
        assert "744 MB of 1.2 GB, 112 MB/s" in text
        assert "creating TABLE [bold]videos[/bold]�[31m" in text
        await press(pilot, "enter")
        await until_text(pilot, "It is under way")
        await press(pilot, "O")
        await until_text(pilot, "Tables  Log  Commands")
        await press(pilot, "escape")
        await pilot.resize_terminal(130, 40)
        await until_text(pilot, "Output  restore")
        reply = jobs.replies["restore"]
        assert callable(reply)
        result = reply(jobs.requests[-1])
        assert not isinstance(result, Problem)
        jobs.finish(result)
        await until_step(pilot, "check-copy")


async def test_what_failed_says_what_why_and_next_and_can_be_tried_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "restore")
    jobs = jobs_of(desk)
    good = jobs.replies["restore"]
    jobs.replies["restore"] = Problem("disk", "DISK FULL: /pg.", "1 GB is missing.", "Make room.")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "restore")
        await press(pilot, "enter")
        await until_text(pilot, "DISK FULL: /pg.")
        for words in ("1 GB is missing.", "Make room.", "FAILED", "Enter tries again"):
            await until_text(pilot, words)
        jobs.replies["restore"] = good
        await until_text(pilot, "looked 0 s ago")
        await press(pilot, "enter")
        await until_step(pilot, "check-copy")


async def test_answers_beyond_the_ninth_are_marked_by_digits_too(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "preserve")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "preserve")
        screen = step_screen(app)
        view = screen.view
        assert view is not None
        assert view.card is not None
        options = tuple(Option(f"t{number}", f"table {number}") for number in range(1, 13))
        question = Question("Which tables?", options, several=True)
        screen.view = replace(view, card=replace(view.card, question=question))
        for digit in (2, 0, 3, 4, 0, 9):
            assert screen.takes_digit(digit)
        assert set(screen.chosen) >= {"t2", "t12", "t9"}
        assert "t13" not in screen.chosen


async def test_a_step_whose_end_nobody_saw_is_asked_for(tmp_path: Path) -> None:
    desk = held_desk(tmp_path, more='commands: {stop_app: ["systemctl", "stop", "app"]}\n')
    jobs = jobs_held(desk)
    led_to(desk, "stop-app")
    jobs.hold.add("command")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "stop-app")
        await until_text(pilot, "systemctl stop app")
        await press(pilot, "enter")
        await until_text(pilot, "under way")
        jobs.lose()
        await until_text(pilot, "DID IT HAPPEN?")
        await press(pilot, "enter")
        await until_text(pilot, "> I don't know yet")
        await press(pilot, "enter")
        await until_gone(pilot, "I don't know yet")
        await press(pilot, "enter", "h")
        await until_step(pilot, "tell-first")


async def test_steps_are_skipped_with_a_reason_and_opened_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "pause-jobs")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "pause-jobs")
        await press(pilot, "S", "enter")
        await until_text(pilot, "A few words are needed")
        await enter_name(pilot, "no cron here")
        await until_step(pilot, "freeze")
        await press(pilot, "tab")
        await until_text(pilot, "1.2 Pause what runs by the clock")
        await until_text(pilot, "skipped")
        await press(pilot, "g", "j", "enter")
        await until_step(pilot, "keep-evidence")
        await press(pilot, "A")
        await until_text(pilot, "Open again: not this step")
        await press(pilot, "escape")
        await until_step(pilot, "freeze")
        await press(pilot, "N")
        await enter_name(pilot, "ana [b]says[/b] hi")
        await until_text(pilot, "Noted.")
        screen = step_screen(app)
        assert screen.view is not None
        incident = screen.view.reading.incident
        assert incident.notes[-1].text == "ana [b]says[/b] hi"
        assert incident.steps["pause-jobs"].reason == "no cron here"


async def test_what_was_done_is_taken_back_after_a_look(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "migrations")
    jobs_of(desk).replies["written-since"] = lambda _: {
        "ok": True,
        **plain(WrittenSince(desk.now(), desk.now(), (TableWritten("public.users", 12, 0, 1),))),
    }
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "migrations")
        await press(pilot, "U")
        await until_text(pilot, "there is nothing to take back here")
        await press(pilot, "tab")
        await until_text(pilot, "Swap it in")
        cursor = next(
            index for index in range(60) if step_screen(app).steps.step_at(index) == "swap"
        )
        step_screen(app).steps.move_to(cursor)
        await press(pilot, "enter")
        await until_text(pilot, "done; act")
        await press(pilot, "U")
        await until_text(pilot, "Swap it in? Type shop.")
        await until_text(pilot, "Written since the swap, 0 m ago: 13 rows are set aside")
        await until_text(pilot, "public.users: 12 inserted, 1 deleted")
        await press(pilot, "enter", "enter")
        assert jobs_of(desk).operations().count("swap") == 1
        await enter_name(pilot, "shop")
        await until(pilot, lambda: jobs_of(desk).operations().count("swap") == 2)
        await until_text(pilot, "undone")


async def test_the_marked_answer_is_always_on_the_screen(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "choose-way")
    app = recover_app(desk)
    async with app.run_test(size=(80, 15)) as pilot:
        await open_incident(pilot, "choose-way")

        def marked(number: int) -> bool:
            return any(f" >  {number} " in row for row in text_lines(app))

        await until(pilot, lambda: marked(1))
        await press(pilot, "end")
        await until(pilot, lambda: not marked(1))
        # Enter takes what is marked: nobody may have to guess what that is.
        for number in (2, 1):
            await press(pilot, str(number))
            await until(pilot, lambda number=number: marked(number))  # type: ignore[misc]


async def test_a_step_that_is_open_again_leads_on_to_the_next(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "choose-way")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "choose-way")
        await press(pilot, "tab", "k", "enter")
        await until_step(pilot, "choose-point")
        assert text_lines(app)[-1].startswith(" Esc back")
        await press(pilot, "A", "y")
        await until_text(pilot, "Which point?")
        assert not text_lines(app)[-1].startswith(" Esc back")
        await press(pilot, "enter")
        await until_step(pilot, "choose-way")


async def test_who_comes_out_of_an_incident_finds_the_cursor_on_it(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "choose-way")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "choose-way")
        await press(pilot, "escape")
        await until_text(pilot, "   Declare an incident")
        await until_text(pilot, " > 1122-01")
        # Enter goes back to it: nobody declares a second one by mistake.
        await press(pilot, "enter")
        await until_text(pilot, "Which way?")


async def test_the_runbook_and_the_damage_time_can_be_others(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "choose-way")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "choose-way")
        await press(pilot, "tab", "k", "enter")
        await until_step(pilot, "choose-point")
        await press(pilot, "A")
        await until_text(pilot, "Open 3.2")
        await press(pilot, "y")
        await until_text(pilot, "Which point?")
        await press(pilot, "W")
        await until_text(pilot, "stay with data-loss")
        await press(pilot, "1")
        await until_text(pilot, "partial-loss  T+")
        await press(pilot, "t")
        await press(pilot, *"03:00")
        await until_text(pilot, "03:00 CET = 2026-11-22 02:00 UTC")
        await press(pilot, "enter")

        def corrected() -> bool:
            view = step_screen(app).view
            right = view.reading.incident.last_right if view is not None else None
            return right is not None and right.hour == 2 and right.minute == 0

        await until(pilot, corrected)


async def test_the_application_begins_at_the_open_incident_and_tells_of_it_everywhere(
    tmp_path: Path,
) -> None:
    desk = make_desk(tmp_path)
    led_to(desk, "tell-first")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "tell-first")
        await until_text(pilot, "PROD face-swap  INCIDENT 0 m, ana leads, step 1.5")
        await press(pilot, "escape")
        await until_text(pilot, "OPEN")
        await press(pilot, "1")
        await until_text(pilot, "INCIDENT 0 m, ana leads, step 1.5")
        await until_text(pilot, "1/8")
        await press(pilot, "4")
        await until_text(pilot, "OPEN")
        await press(pilot, "j", "enter")
        await until_step(pilot, "tell-first")
        await press(pilot, "question_mark", "4")
        await until_text(pilot, "1.5 Tell people")
        await press(pilot, "y")
        await until_text(pilot, "Copied")


async def test_recover_from_the_inventory_takes_the_point_along(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    site = FakeSite(recovery=desk)
    app = make_app(site, now=desk.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "j", "r")
        await until_text(pilot, "When was it last right?")
        await until_text(pilot, site.stored[1].id)
        await press(pilot, "enter")
        await until_text(pilot, "What do you see?")
        await press(pilot, "enter")
        await until_step(pilot, "keep-evidence")
        assert preferred(app) == site.stored[1].id
        await press(pilot, "escape", "1")
        await until_text(pilot, "2/8")
        await press(pilot, "k", "enter")
        await until_text(pilot, "Restore with fsbackup")
        await press(pilot, "r")
        await until_step(pilot, "keep-evidence")
        await until(pilot, lambda: preferred(app) == site.stored[0].id)


def preferred(app: FsbackupApp) -> object:
    view = step_screen(app).view
    return view.reading.incident.parameters.get("preferred_point") if view is not None else None


async def test_a_drill_is_practised_with_the_same_screens(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    jobs_of(desk).replies["rehearsal"] = {
        "ok": True,
        "database": "shop__drill_1",
        "oid": 9,
        "damage": "DELETE without WHERE",
    }
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "4")
        await until_text(pilot, "> Declare")
        await press(pilot, "D")
        await until_text(pilot, "Practise which scenario?")
        await press(pilot, "1")
        await until_step(pilot, "rehearsal")
        await until_text(pilot, "DRILL 1122-01 data-loss")
        assert "INCIDENT" not in screen_text(app)
        await press(pilot, "enter")
        await until_step(pilot, "keep-evidence")


async def test_past_incidents_are_read_and_nothing_of_them_is_changed(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    incident = led_to(desk, "")
    journal = list_incidents(desk.state)[0]
    journal.append("closed", {"why": "all is well"}, desk.author, epoch=None)
    before = len(journal.entries())
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "4")
        await until_text(pilot, incident[4:])
        await press(pilot, "j", "enter")
        await until_text(pilot, "all is well")
        await until_text(pilot, "1.1 Keep the evidence")
        await press(pilot, "end")
        await until_text(pilot, "closed")
        await press(pilot, "S", "U", "enter", "C", "T")
        await press(pilot, "y")
        await until_text(pilot, "Copied")
        await press(pilot, "escape")
        await until_text(pilot, "Declare an incident")
    assert len(journal.entries()) == before


async def test_names_from_the_server_are_shown_as_they_are(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    clock = desk.author.now
    assert isinstance(clock, Clock)
    reply = jobs_of(desk).replies["damage"]
    assert callable(reply)

    def hostile(request: Request) -> Mapping[str, Any] | Problem:
        result = reply(request)
        assert not isinstance(result, Problem)
        tables = [dict(each) for each in result["tables"]]
        tables[0]["name"] = "[red]vi[/red]\x1b[31mde\x07os\u202e"
        return {**result, "tables": tables}

    jobs_of(desk).replies["damage"] = hostile
    led_to(desk, "choose-way")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "choose-way")
        await until_text(pilot, "[red]vi[/red]")
        assert "\x1b" not in screen_text(app)
        assert "\x07" not in screen_text(app)


async def test_the_hand_over_can_be_read_and_copied(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    incident = led_to(desk, "damage")
    app = recover_app(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_incident(pilot, "damage")
        await press(pilot, "H")
        await until_text(pilot, f"fsbackup recover --resume {incident}")
        await press(pilot, "y")
        await until_text(pilot, "Copied")
        await press(pilot, "4")
        await until_text(pilot, "3.1 Look at the damage")
