"""Mode 2: the list of jobs, one job live, its outcome, cancelling, copying, leaving."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len

from fsbackup_tui.domain.errors import Problem, UsageError
from fsbackup_tui.tui.clipboard import OSC52_LIMIT, copy_text
from fsbackup_tui.tui.data import StageView
from fsbackup_tui.tui.launch import farewell
from fsbackup_tui.tui.lines import plain
from fsbackup_tui.tui.modes import live
from tests.tui.fakes import (
    FAILED,
    OVERVIEW,
    Clock,
    FakeSite,
    make_app,
    make_job,
    some_jobs,
    view_of,
)
from tests.tui.made import NOW
from tests.tui.screens import (
    open_job,
    open_jobs,
    press,
    screen_text,
    text_lines,
    until,
    until_gone,
    until_text,
)

RUNNING = some_jobs()[0]


async def test_jobs_are_listed_running_first_with_state_in_words() -> None:
    app = make_app()
    async with app.run_test(size=(100, 24)) as pilot:
        await open_jobs(pilot)
        lines = text_lines(app)
    assert lines[2].split() == ["STARTED", "JOB", "STATE", "TOOK", "WHAT"]
    assert lines[3].startswith(" > today 02:59 CET")
    assert [part in lines[3] for part in ("RUNNING", "62 %", "1 m 40 s", "daily")] == [
        True, True, True, True,
    ]  # fmt: skip
    states = [line.split("backup ", 1)[1].split()[1] for line in lines[3:8]]
    assert states == ["RUNNING", "ok", "FAILED", "CANCELLED", "LOST"]
    assert "SERVER NOT REACHED" in lines[5]


async def test_live_view_shows_progress_tables_log_and_commands() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_job(pilot)
        text = screen_text(app)
        assert "[#################...........]" in text
        assert "744 MB of 1.2 GB" in text
        assert "rate 112 MB/s" in text
        assert "ETA 4 m 05 s" in text
        assert "now public.events, public.[bold]videos[/bold]\ufffd[31m" in text
        assert "1 warning" in text
        assert "1235 lines above" in text
        assert "pg_dump: dumping contents of table 39" in text
        await press(pilot, "tab", "g")
        await until_text(pilot, "1 200 lines skipped")
        await press(pilot, "tab")
        await until_text(pilot, "pg_dump -Fd -j4 -Z zstd:1")
        site.views[RUNNING.id] = replace(
            site.views[RUNNING.id], row=replace(RUNNING, done=1100e6), eta_seconds=9.0
        )
        await until_text(pilot, "91 %")
        await until_text(pilot, "ETA 9.0 s")
        site.views[RUNNING.id] = replace(
            site.views[RUNNING.id], eta_seconds=240.0, eta_range=(185.0, 355.0)
        )
        await until_text(pilot, "ETA 4 m (3 to 6) ")
        assert "used 1 m 40 s" in screen_text(app)


async def test_job_that_ends_shows_its_outcome_while_it_is_watched() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_job(pilot)
        failed = replace(RUNNING, state="failed", finished=NOW)
        site.views[RUNNING.id] = replace(
            view_of(failed), stages=(StageView("backup", "failed", 100.0),)
        )
        await until_text(pilot, "SERVER NOT REACHED: db1:5432 refused the connection.")
        text = screen_text(app)
    assert "Why   Nothing listens there" in text
    assert "Next  fsbackup doctor" in text
    assert "output.log" in text
    assert "FAILED" in text


async def test_cancel_asks_and_only_yes_cancels() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        for keys in (("enter",), ("escape",), ("n",), ("q",), ("enter", "escape")):
            await press(pilot, "c")
            await until_text(pilot, "Cancel backup k3f9?")
            await press(pilot, *keys)
            await until_gone(pilot, "Cancel backup k3f9?")
            assert site.cancelled == []
        await press(pilot, "c")
        await until_text(pilot, "Cancel backup k3f9?")
        await press(pilot, "y")
        await until_text(pilot, "CANCELLED")
        assert site.cancelled == [RUNNING.id]
        assert app.is_running


async def test_typed_ahead_yes_does_not_cancel() -> None:
    site = FakeSite()
    app = make_app(site, clock=Clock(step=0.0))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        await press(pilot, "c", "y", "y")
        assert "Cancel backup k3f9?" in screen_text(app)
        assert site.cancelled == []


async def test_job_that_is_over_can_not_be_cancelled_and_says_so() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        await press(pilot, "j", "c")
        await until_text(pilot, "backup b2c3 is not running")
        assert "?" not in screen_text(app).splitlines()[-2]


async def test_backup_from_the_jobs_and_no_job_at_all() -> None:
    site = FakeSite(rows=[])
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot, "No job has run here yet.")
        await press(pilot, "enter", "c", "y")
        await press(pilot, "b")
        await until_text(pilot, "Back up now?")
        await press(pilot, "1")
        await until_text(pilot, "RUNNING")
        assert len(site.started) == 1


async def test_cursor_stays_on_its_job_when_another_begins() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        await press(pilot, "j")
        site.rows = [make_job("z9z9", started=NOW - timedelta(seconds=1)), *site.rows]
        await until_text(pilot, "z9z9")
        await until(pilot, lambda: text_lines(app)[5].startswith(" > ") or None)
        assert "b2c3" in text_lines(app)[5]


async def test_by_hand_shows_the_text_alone_and_escape_ends_it() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "Y")
        await until_text(pilot, "Select with the mouse")
        lines = text_lines(app)
        assert lines[1].startswith("fsbackup restore 20261122T010000Z-daily-")
        assert "PROD" not in "".join(lines)
        await press(pilot, "escape")
        await until_text(pilot, "1/8")


def test_copy_uses_osc_52_outside_tmux_and_says_how_much() -> None:
    written: list[str] = []
    said = copy_text("naïve", {}, written.append)
    assert base64.b64decode(written[0].split(";")[2].rstrip("\x07")).decode() == "naïve"
    assert "6 bytes by OSC 52" in said
    said = copy_text("x" * OSC52_LIMIT, {}, written.append)
    assert len(written) == 1
    assert said.startswith("NOT COPIED")


def test_copy_falls_back_where_tmux_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    written: list[str] = []
    assert "OSC 52" in copy_text("x", {"TMUX": "/tmp/none,1,0"}, written.append)
    assert written


def test_farewell_names_what_runs_on() -> None:
    assert farewell(()) == "You left. Nothing is running. Back: fsbackup"
    assert farewell(("backup b7",)) == "You left. Backup b7 runs on. Back: fsbackup"
    frozen = farewell(("restore r7",), frozen="WRITES FROZEN 9 m", incident=True)
    words = "You left. WRITES STAY FROZEN (9 m). Restore r7 runs on. Back: fsbackup recover"
    assert frozen == words
    words = "You left. The incident is open. Nothing is running. Back: fsbackup recover"
    assert farewell((), incident=True) == words
    assert farewell(("backup b7", "verify c8"), "shop") == (
        "You left. Backup b7, verify c8 run on. Back: fsbackup --site shop"
    )


async def test_failed_job_in_the_list_says_what_why_and_next() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        await press(pilot, "j", "j")
        await until_text(pilot, "Next  fsbackup doctor")
        assert "Why   Nothing listens there" in screen_text(app)


async def test_job_that_fails_before_ones_eyes_is_told_of_at_once() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        site.rows = [replace(site.rows[0], state="failed", problem=FAILED), *site.rows[1:]]
        site.state = replace(OVERVIEW, failed={"backup k3f9": FAILED})
        app.refresh_overview()
        await until_text(pilot, "backup k3f9 FAILED: SERVER NOT REACHED")
        assert "a: why, and what next" in screen_text(app)
        await press(pilot, "a")
        await until_text(pilot, "Why   Nothing listens there")


async def test_jobs_of_a_site_that_can_not_be_opened_say_why() -> None:
    site = FakeSite()

    def refused() -> FakeSite:
        raise UsageError("CONFIG NOT USABLE: 1 problem.", why="Line 3.", fix="Mend it")

    app = make_app(site, open_site=refused)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "CONFIG NOT USABLE")
        await press(pilot, "2")
        await until_text(pilot, "Next  Mend it")
        assert "reading the jobs" not in screen_text(app)


@pytest.mark.parametrize(
    ("operation", "state", "words"),
    [
        ("backup", "running", "no table finished yet"),
        ("backup", "failed", "no table was finished"),
        ("restore", "running", "no table restored yet"),
        ("restore", "failed", "no table was restored"),
        ("verify", "running", "no table restored yet"),
        ("verify", "ok", "no table was restored"),
    ],
)
async def test_job_without_tables_says_so_in_the_words_of_its_operation(
    operation: str, state: str, words: str
) -> None:
    row = make_job("v1v2", operation=operation, state=state)
    site = FakeSite(rows=[row])
    site.views[row.id] = replace(view_of(row), tables=(), log=(), warnings=())
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot, f"{operation} v1v2")
        await press(pilot, "enter")
        await until_text(pilot, words)
        assert "TABLE " in screen_text(app)
        await press(pilot, "tab", "tab")
        await until_text(pilot, "pg_dump -Fd")


LOCKED = Problem(
    "locked",
    "LOCKED: plan daily is in use by ana on app1.",
    "ana on app1, job 20261122T010000Z-backup-k3f9, pid 812, since 2026-11-22T01:00:00.000Z\n"
    "ben on app2, job 20261120T010000Z-backup-a2b3, pid 7, since 2026-11-20T01:00:00Z",
    "Wait for it with --wait, or watch it: fsbackup attach 20261122T010000Z-backup-k3f9",
)


async def test_lock_is_told_of_in_local_time_and_with_what_to_do_here() -> None:
    row = make_job("c2c3", state="failed", finished=NOW, what=LOCKED.what, problem=LOCKED)
    site = FakeSite(rows=[row], state=replace(OVERVIEW, failed={row.label: LOCKED}))
    site.views[row.id] = replace(view_of(row), problem=LOCKED)
    app = make_app(site)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_text(pilot, "1/8")
        app.told_when_ended.add(row.label)
        app.set_overview(replace(app.overview, failed={}))
        app.refresh_overview()
        await until_text(pilot, "backup c2c3 FAILED: LOCKED: plan daily is in use by ana")
        for keys in (("a",), ("escape", "2"), ("enter",)):
            await press(pilot, *keys)
            await until_text(pilot, "since today 02:00 CET (61 m ago)")
            text = screen_text(app)
            assert "since Fri 02:00 CET (2 d ago)" in text
            assert "T01:00:00" not in text
            assert "Wait for it" not in text
            assert "Next  When it has ended, start this one again. 2 shows it" in text


async def test_what_was_just_begun_is_under_the_cursor() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        await press(pilot, "j")
        await press(pilot, "b", "1")
        await until_text(pilot, " > today 02:59 CET     backup n001")
        await press(pilot, "enter")
        await until_text(pilot, " backup n001  daily  RUNNING")


async def test_nothing_is_offered_that_cancels_an_ended_job() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        assert "c cancel" in text_lines(app)[-1]
        await press(pilot, "j")
        await until(pilot, lambda: "c cancel" not in text_lines(app)[-1])
        await press(pilot, "enter")
        await until_text(pilot, "Tables  Log  Commands")
        await until(pilot, lambda: "c cancel" not in text_lines(app)[-1])


def test_the_file_at_work_is_told_by_the_end_of_its_path() -> None:
    path = "videos/" + "very-deep/" * 12 + "写真.jpg"
    view = replace(view_of(RUNNING), detail="2 486 of 2 506 files", active=(path,))
    assert "2 486 of 2 506 files" in plain(live.progress_line(view))
    shown = plain(live.active_line(view, 60))
    assert shown.startswith("  now \u2026")
    assert shown.endswith("very-deep/写真.jpg")
    assert cell_len(shown) <= 60
    odd = replace(view, active=("a\x1b[31m\u202egpj",))
    assert plain(live.active_line(odd)) == "  now a\ufffd[31m\ufffdgpj"


async def test_an_answer_that_comes_too_soon_is_told_of() -> None:
    site = FakeSite()
    app = make_app(site, clock=Clock(step=0.0))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_jobs(pilot)
        await press(pilot, "b", "1")
        await until_text(pilot, "That came too soon after the question.")
        assert site.started == []
        app.clock.step = 1.0  # type: ignore[attr-defined]
        await press(pilot, "1")
        await until(pilot, lambda: len(site.started) == 1)
