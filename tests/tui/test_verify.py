"""Mode 3: points by rungs, why one failed, the proof table by table, running one, watching it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from textual.pilot import Pilot

from fsbackup_tui.domain.point import AcceptedBlock, LevelCheck, SpareSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.data import PointProof, Wanted
from fsbackup_tui.tui.lines import plain
from fsbackup_tui.tui.modes.live import stages_line
from fsbackup_tui.tui.modes.rungs import Around, rung_state, verify_note, verify_row
from tests.tui.fakes import FakeSite, make_app
from tests.tui.made import NOW, ZONE, make_point
from tests.tui.proofs import (
    FELL,
    MISSING_EXTENSION,
    WANTED,
    level_asked,
    make_proof,
    points_shown,
    proven_site,
    shown,
    table,
    verifying,
)
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text

AROUND = Around(NOW, ZONE, wanted=WANTED)
ALL_OK = {"sealed": True, "readable": True, "restored": True, "proven": True}
DAY = timedelta(days=1)


async def open_verify(pilot: Pilot[int], app: FsbackupApp) -> None:
    """Go to the third mode and wait until the points are read."""
    await until(pilot, lambda: app.checked)
    await press(pilot, "3")
    await until_text(pilot, "READABLE")
    await until_gone(pilot, "reading")


def colour_of(app: FsbackupApp, y: int, word: str) -> object:
    """Return the colour of a word in a line of the screen."""
    strip = app.screen._compositor.render_strips()[y]
    found = [segment for segment in strip if word in segment.text]
    assert found, word
    assert found[0].style is not None
    return found[0].style.color


async def test_every_rung_is_told_in_words_and_in_colour() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        lines = text_lines(app)
        titles = ["WHEN", "AGE", "SEALED", "READABLE", "RESTORED", "PROVEN", "TRUST"]
        assert lines[2].split() == titles
        rows = [" ".join(line[3:].split()) for line in lines[3:13]]
        assert rows == [
            "today 02:00 CET 61 m 60 m 59 m 58 m 57 m PROVEN",
            "Sat 02:00 CET 25 h 20 h 19 h blocked - readable",
            "Fri 02:00 CET 2 d 2 d 47 h 47 h 47 h SUSPECT PROVEN",
            "Thu 02:00 CET 3 d 3 d 2 d 2 d FAILED restored",
            "14 Nov 02:00 CET 8 d 9 d 8 d 8 d 8 d PROVEN stale",
            "13 Nov 02:00 CET 9 d FAILED - - - DAMAGED",
            "12 Nov 02:00 CET 10 d - - - - unverified",
            "11 Nov 02:00 CET 11 d - - - - INCOMPLETE",
            "10 Nov 02:00 CET 12 d 12 d - - - sealed stale",
            "Mon 02:00 CET 6 d 6 d - - - sealed",
        ]
        look = app.look.styles
        assert colour_of(app, 3, "PROVEN") == look["good"].color
        assert colour_of(app, 3, "57 m") == look["good"].color
        assert colour_of(app, 4, "blocked") == look["warn"].color
        assert colour_of(app, 5, "SUSPECT PROVEN") == look["bad"].color
        assert colour_of(app, 5, "47 h") == look["text"].color
        assert colour_of(app, 6, "FAILED") == look["bad"].color
        assert colour_of(app, 7, "stale") == look["warn"].color


async def test_wide_windows_tell_durations_too() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(200, 60)) as pilot:
        await open_verify(pilot, app)
        lines = text_lines(app)
        assert "60 m, 1.4 s" in lines[3]
        assert "57 m, 21 s" in lines[3]
        assert "blocked 19 h" in lines[4]
        await press(pilot, "j")
        await until_text(pilot, "could not be restored here")


async def test_why_is_told_below_the_table_and_the_table_does_not_jump() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        heights = {app.screen.query_one("#points").size.height}
        for key, words in (
            ("j", f"could not be restored here: db: {MISSING_EXTENSION[:30]}"),
            ("j", f"SUSPECT: {FELL}"),
            ("j", "db/public.users: 499 rows restored, 500 captured"),
            ("j", "Stale: proven 8 d ago, plan daily wants it every 7 d"),
            ("j", "db/database.dump: SHA-256 differs"),
            ("j", "Plan daily wants proven: v verifies"),
        ):
            await press(pilot, key)
            await until_text(pilot, words)
            heights.add(app.screen.query_one("#points").size.height)
        assert len(heights) == 1


def test_a_rung_that_held_before_a_lower_one_failed_is_void() -> None:
    point = shown(1, Trust.DAMAGED, 5 * DAY, **ALL_OK)
    failed = LevelCheck(False, NOW - DAY, "job", 1.0)
    point = replace(point, levels={**point.levels, "sealed": failed})
    states = [rung_state(point, rung, AROUND) for rung in (Trust.SEALED, Trust.PROVEN)]
    assert states == ["failed", "void"]
    assert "void" in plain(verify_row(point, 80, False, AROUND))


@pytest.mark.parametrize(
    ("every", "age", "state"),
    [(7 * DAY, 6 * DAY, "ok"), (7 * DAY, 8 * DAY, "stale"), (None, 800 * DAY, "ok")],
)
def test_stale_is_what_the_plan_says(every: timedelta | None, age: timedelta, state: str) -> None:
    point = shown(9, Trust.PROVEN, age, **ALL_OK)
    around = replace(AROUND, wanted={"daily": Wanted(Trust.PROVEN, every)})
    assert rung_state(point, Trust.PROVEN, around) == state


def test_rows_from_the_cache_are_never_green_and_unknown_rungs_are_a_dash() -> None:
    point = make_point(0, trust=Trust.PROVEN)
    row = verify_row(point, 80, False, replace(AROUND, known=False))
    assert all(piece.role != "good" for piece in row)
    assert plain(row).split()[3:] == ["61", "m", "59", "m", "-", "-", "-", "PROVEN"]


def test_more_reasons_than_there_is_room_for_are_counted_out() -> None:
    point = replace(points_shown()[3], problems=tuple(f"table {i} differs" for i in range(9)))
    lines = [plain(line).strip() for line in verify_note(point, 80, 3, AROUND)]
    assert lines == ["table 0 differs", "table 1 differs", "… Enter shows all"]


async def test_the_proof_tells_table_by_table_the_failed_ones_first() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 40)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "j", "j", "j", "enter")
        await until_text(pilot, "roles were created without passwords")
        await press(pilot, "tab")
        await until_text(pilot, "CAPTURED")
        lines = text_lines(app)
        found = [line.split()[-1] for line in lines if line.startswith("   public.")]
        verdicts = "MISSING DIFFERENT DIFFERENT blocked known expected equal equal"
        assert found == verdicts.split(" ")
        text = "\n".join(lines)
        assert "8 tables: 1 MISSING, 2 DIFFERENT, 1 blocked, 1 not known, 1 expected, 2 eq" in text
        assert "as many rows as captured, but their content differs" in text
        assert "public.[bold]x[/]\ufffd[31m" in text
        users = next(line for line in lines if "public.users" in line and "rows" not in line)
        assert users.split() == ["public.users", "500", "499", "DIFFERS", "DIFFERENT"]
        assert "restored ok  proven FAILED" in text
        await press(pilot, "tab")
        await until_text(pilot, "column mail does not exist")
        names = [
            line.split()[0] for line in text_lines(app) if line[:3] == "   " and line[3] != " "
        ]
        assert names[-5:] == ["DIFFERENT", "blocked", "equal", "equal", "equal"]
        await press(pilot, "tab")
        await until_text(pilot, "58 restored, 1 known benign, 1 deferred, 1 LOST")
        text = screen_text(app)
        assert "LOST      TRIGGER public users audit app" in text
        assert "every database has it" in text
        await press(pilot, "tab")
        await until_text(pilot, "Every check")
        text = screen_text(app)
        assert "compare" in text
        assert "18 s" in text
        assert "FAILED         21 s  v1ab" in text


async def test_what_blocked_a_trial_is_told_with_its_remedy() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "j", "enter")
        await until_text(pilot, "apt install postgresql-17-cron")
        text = screen_text(app)
        assert "Could not be restored here: neither a pass nor a failure" in text
        assert "FAILED" not in text
        assert "restored blocked 19 h" in text


async def test_a_point_without_a_trial_says_how_to_get_one() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "enter")
        await until_text(pilot, "No trial restore of this point is on record.")
        assert "v 4 restores it on a scratch server" in screen_text(app)


async def test_twelve_thousand_tables_do_not_hold_the_screen_up() -> None:
    site = proven_site()
    failed = points_shown()[3]
    tables = [
        *(table(f"log_{number:05}", number, number, "equal") for number in range(12_000)),
        *(table(f"bad_{number:03}", 5, 4, "different") for number in range(300)),
    ]
    site.proofs[failed.id] = PointProof(failed, (make_proof(failed, tables=tables),))
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "j", "j", "j", "enter")
        await until_text(pilot, "roles were created")
        start = time.perf_counter()
        await press(pilot, "tab")
        await until_text(pilot, "12 300 tables: 300 DIFFERENT, 12 000 equal")
        await press(pilot, "G")
        await until_text(pilot, "public.log_11999")
        assert time.perf_counter() - start < 3.0
        await press(pilot, "g", *("space",) * 3)
        await until_text(pilot, "public.bad_0")
        assert "4 rows restored, 5 captured" in screen_text(app)


@pytest.mark.parametrize("deep", [False, True], ids=["from the list", "from the proof"])
@pytest.mark.parametrize("key", ["1", "2", "3", "4"])
async def test_every_level_is_asked_with_what_it_costs(deep: bool, key: str) -> None:
    site = proven_site()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        if deep:
            await press(pilot, "enter")
            await until_text(pilot, "No trial restore")
        await press(pilot, "v")
        await until_text(pilot, "Verify proven")
        lines = [" ".join(line.split()) for line in text_lines(app)]
        assert "Verify sealed (1) the SHA-256 of every file: reads 310 MB (1.4 s)" in lines
        assert "Verify restored (3) and restores 1.2 GB on a server of its own here (48 s)" in lines
        assert site.started == []
        await press(pilot, key)
        await until(pilot, lambda: site.started)
        assert level_asked(site) == ("sealed", "readable", "restored", "proven")[int(key) - 1]


async def test_a_running_verification_is_seen_in_the_list_and_watched_in_the_proof() -> None:
    site = proven_site()
    point = site.stored[1]
    app = make_app(site)
    job = verifying(site, point)
    async with app.run_test(size=(100, 30)) as pilot:
        await open_verify(pilot, app)
        await until_text(pilot, "VERIFYING 62 %")
        assert "now" in text_lines(app)[4].split()
        await press(pilot, "j")
        await until_text(pilot, "verify p7q8 runs: proven.")
        await press(pilot, "enter")
        await until_text(pilot, "Live")
        text = screen_text(app)
        assert "1 sealed done 1.4 s   2 readable done 3.2 s   3 restored done 48 s" in text
        assert "comparing public.events" in text
        assert "public.users" in text
        assert "62 %" in text
        view = replace(site.views[job.id], row=replace(job, done=1100e6))
        site.views[job.id] = view
        await until_text(pilot, "91 %")
        ended = replace(job, state="ok", finished=NOW)
        site.rows = [ended]
        site.views[job.id] = replace(view, row=ended)
        site.stored = [replace(p, blocked=()) if p.id == point.id else p for p in site.stored]
        await until_text(pilot, "verify p7q8 ended")
        await until_gone(pilot, "Live")


async def test_escape_goes_back_and_three_goes_to_the_first_screen() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "j", "j", "p")
        await until_text(pilot, "a column")
        await press(pilot, "enter")
        await until_text(pilot, "Receipt")
        await press(pilot, "escape")
        await until_text(pilot, "a column")
        await press(pilot, "3")
        await until_text(pilot, "3/10")


async def test_filter_and_order_are_the_inventorys() -> None:
    app = make_app(proven_site())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "slash", *"weekly")
        await until_text(pilot, "1/1")
        await press(pilot, "enter")
        await press(pilot, "escape")
        await until_text(pilot, "1/10")
        await press(pilot, "s", "s", "s")
        await until_text(pilot, "least trusted")


async def test_an_empty_site_says_so_and_shows_no_key_of_a_point() -> None:
    app = make_app(FakeSite(stored=[], rows=[]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "No recovery point yet")
        await press(pilot, "3")
        await until_text(pilot, "3 Verify")
        await until(pilot, lambda: text_lines(app)[-1].split()[0] == ":")
        await press(pilot, "p")
        await until_text(pilot, "Picture: there is no point yet")
        await press(pilot, "v")
        await until_text(pilot, "Verify: there is no point")


def test_the_stage_that_runs_is_told_in_a_narrow_window_too() -> None:
    site = proven_site()
    view = site.views[verifying(site, site.stored[1]).id]
    narrow = plain(stages_line(view, 80))
    assert narrow.endswith("4 proven RUNNING 12 s")
    assert len(narrow) <= 80
    assert "1 sealed done 1.4 s" in plain(stages_line(view, 100))


async def test_what_is_accepted_stays_named_and_is_calm() -> None:
    site = proven_site()
    points = list(site.stored)
    blocked = points[1]
    what = blocked.blocked[0]
    calm = replace(blocked, blocked=(), accepted=(AcceptedBlock(what, "no report needs it"),))
    points[1] = calm
    site.stored = points
    site.proofs[calm.id] = replace(site.proofs[calm.id], summary=calm)
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_verify(pilot, app)
        assert colour_of(app, 4, "blocked") == app.look.styles["text"].color
        await press(pilot, "j")
        await until_text(pilot, "(accepted: no report needs it)")
        await press(pilot, "enter")
        await until_text(pilot, "accepted: no report needs it")
        text = screen_text(app)
        assert "Could not be restored here: neither a pass nor a failure" in text
        assert what.removeprefix("db: ") in text
        assert "apt install" not in text


async def test_the_proof_names_the_spare_that_it_left() -> None:
    site = proven_site()
    failed = site.stored[3]
    spare = SpareSummary("db", "face_swap__spare_k3f9", "db1:5432", NOW - timedelta(hours=1))
    parts = tuple(replace(part, spare=spare) for part in site.proofs[failed.id].parts)
    site.proofs[failed.id] = replace(site.proofs[failed.id], parts=parts)
    app = make_app(site)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_verify(pilot, app)
        await press(pilot, "j", "j", "j", "enter", "tab")
        words = "Spare: face_swap__spare_k3f9 on db1:5432, fenced off, proven today 02:01 CET"
        await until_text(pilot, words)
