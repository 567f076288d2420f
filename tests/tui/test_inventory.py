"""Mode 1: points, details, filter, order, and what is started from there."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from rich.cells import cell_len

from fsbackup_tui.domain.errors import Problem, RepositoryMissing
from fsbackup_tui.domain.point import Copy, PointSummary, SpareSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.requests import BackupRequest, VerifyLevel, VerifyRequest
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.data import Copies, Overview
from fsbackup_tui.tui.last_seen import LastSeen
from fsbackup_tui.tui.lines import fit, plain
from fsbackup_tui.tui.modes.columns import copies_cell, point_row, points_heading
from tests.tui.fakes import OVERVIEW, FakeSite, make_app, without_config
from tests.tui.made import NOW, ZONE, make_point, some_points
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text


async def test_points_are_listed_newest_first_with_state_in_words() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "weekly-schema")
        lines = text_lines(app)
    assert lines[0] == "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET readable"
    assert lines[1].startswith(" 1 Inventory  2 Jobs")
    assert lines[1].endswith("1 job")
    assert lines[2].split() == ["WHEN", "AGE", "DB", "Δ", "ROWS", "TRUST", "PLAN"]
    assert lines[3].startswith(" > today 02:00 CET")
    assert [line[47:63].strip() for line in lines[3:11]] == [
        "readable", "sealed", "SUSPECT sealed", "unverified", "DAMAGED", "INCOMPLETE", "sealed",
        "PROVEN",
    ]  # fmt: skip
    assert "−75 %" in lines[5]
    foot = "Enter open r RECOVER b back up v verify / filter s sort ? keys q quit"
    assert " ".join(lines[-1].split()) == foot
    assert all(len(line) <= 80 for line in lines)


async def test_no_key_or_label_of_what_is_not_real_yet() -> None:
    app = make_app()
    async with app.run_test(size=(200, 60)) as pilot:
        await until_text(pilot, "weekly-schema")
        before = screen_text(app)
        await press(pilot, "6")
        assert screen_text(app) == before
    for word in ("COPIES", "FILES"):
        assert word not in before


async def test_first_paint_is_the_cache_and_never_green() -> None:
    gate = threading.Event()
    site = FakeSite(gate=gate)
    seen = LastSeen(
        NOW, "face-swap", "production", "RESTORE TO 02:00 PROVEN", "Europe/Berlin", "", 8,
        tuple(some_points()),
    )  # fmt: skip
    app = make_app(site, seen=seen)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "checking…")
        lines = text_lines(app)
        assert lines[0] == (
            "PROD face-swap  checking… (at 03:01 CET it was: RESTORE TO 02:00 PROVEN)"
        )
        assert "PROVEN" in lines[10]
        green = app.look.styles["good"].color
        shown = [
            segment
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if "PROVEN" in segment.text
        ]
        assert shown
        assert all(item.style is not None and item.style.color != green for item in shown)
        gate.set()
        await until_gone(pilot, "checking…")
        green_now = [
            segment
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.text.startswith("PROVEN")
        ]
        assert green_now
        assert all(item.style is not None and item.style.color == green for item in green_now)


async def test_details_tell_parts_tables_commands_and_hostile_names_safely() -> None:
    app = make_app()
    async with app.run_test(size=(100, 60)) as pilot:
        await until_text(pilot, "weekly-schema")
        await press(pilot, "enter")
        await until_text(pilot, "pg_restore -j4 --no-owner")
        text = screen_text(app)
        identifier = some_points()[0].id
        assert f"fsbackup restore {identifier} --part db --beside NAME" in text
        assert f"cd /var/backups/face-swap/points/{identifier}" in text
        assert "sealed   ok, today 02:02 CET" in text
        assert "table events was locked for 12 s" in text
        assert 'public.we"ird; [red]table[/red]' in text
        assert "public.bell\ufffd and \ufffd[31mescape" in text
        assert "public.naïve 表" in text
        assert "\x1b" not in text
        await press(pilot, "escape")
        await until_text(pilot, "weekly-schema")


async def test_details_name_the_spare_and_since_when_it_stands() -> None:
    site = FakeSite()
    spare = SpareSummary("db", "face_swap__spare_k3f9", "db1:5432", NOW - timedelta(hours=1))
    site.stored = [replace(site.stored[0], spares=(spare,)), *site.stored[1:]]
    app = make_app(site)
    async with app.run_test(size=(100, 60)) as pilot:
        await until_text(pilot, "weekly-schema")
        await press(pilot, "enter")
        words = "Spare      face_swap__spare_k3f9 on db1:5432, fenced off, proven today 02:01 CET"
        await until_text(pilot, words)


async def test_details_of_a_suspect_point_say_why_and_how_it_is_cleared() -> None:
    app = make_app()
    async with app.run_test(size=(80, 40)) as pilot:
        await until_text(pilot, "weekly-schema")
        await press(pilot, "j", "j")
        await until_text(pilot, "public.generated_videos had 5340 rows, has 40")
        await press(pilot, "enter")
        await until_text(pilot, "Restore with fsbackup")
        text = screen_text(app)
    assert "SUSPECT" in text
    assert "Rows of db against Thu 02:00 CET (proven)" in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for row in (
        "old_sessions 12 - GONE",
        "generated_videos 5 340 40 −99 %",
        "new_thing - 3 new",
        "users 500 510 +2.0 %",
    ):
        assert row in rows
    assert f"fsbackup clear {some_points()[2].id} --reason" in text


async def test_details_of_an_incomplete_point_say_what_is_missing() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "weekly-schema")
        await press(pilot, *"jjjjj", "enter")
        await until_text(pilot, "NO MANIFEST")
        assert "It was never finished." in screen_text(app)


async def test_filter_narrows_and_escape_brings_all_back() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "slash", *"weekly", "enter")
        await until_text(pilot, "/weekly  1/1")
        assert "today 02:00" not in screen_text(app)
        await press(pilot, "escape")
        await until_text(pilot, "1/8")


async def test_filter_without_a_match_says_so_and_q_is_text_there() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "slash", *"qbv2")
        await until_text(pilot, "No point has “qbv2” in it")
        await press(pilot, "escape")
        await until_text(pilot, "1/8")
        assert app.is_running
        assert site.started == []


async def test_sort_goes_round_the_orders() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "s")
        await until_text(pilot, "Order: oldest")
        await until(pilot, lambda: "13 Oct" in text_lines(app)[3])
        await press(pilot, "s", "s")
        await until_text(pilot, "Order: least trusted")
        await until(pilot, lambda: "DAMAGED" in text_lines(app)[3])
        await press(pilot, "s")
        await until(pilot, lambda: "today" in text_lines(app)[3])


async def test_backup_asks_for_the_plan_and_enter_alone_starts_nothing() -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "b")
        await until_text(pilot, "Back up now?")
        assert " > No, nothing" in screen_text(app)
        assert "fsbackup backup weekly-schema" in screen_text(app)
        await press(pilot, "enter")
        await until_gone(pilot, "Back up now?")
        assert site.started == []
        await press(pilot, "b")
        await until_text(pilot, "Back up now?")
        await press(pilot, "down", "down", "enter")
        await until_text(pilot, "backup n001 runs")
        assert site.started == [BackupRequest(plan="weekly-schema")]


@pytest.mark.parametrize("key", ["enter", "escape", "q", "n", "b", "r", "x"])
async def test_no_key_on_a_fresh_question_starts_anything(key: str) -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "b")
        await until_text(pilot, "Back up now?")
        await press(pilot, *((key,) if key == "q" else (key, key, key)))
        assert site.started == []
        assert app.is_running


@pytest.mark.parametrize(
    ("key", "level"), [("1", "sealed"), ("2", "readable"), ("3", "restored"), ("4", "proven")]
)
async def test_verify_asks_how_far(key: str, level: VerifyLevel) -> None:
    site = FakeSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "j", "v")
        await until_text(pilot, "Verify sealed")
        await press(pilot, key)
        await until_text(pilot, "verify n001 runs")
        assert site.started == [VerifyRequest(point=some_points()[1].id, level=level)]


async def test_an_answer_within_a_moment_of_the_question_is_not_taken() -> None:
    site = FakeSite()
    now = [1000.0]
    app = make_app(site, clock=lambda: now[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "b", "1")
        assert site.started == []
        now[0] += 1.0
        await press(pilot, "1")
        await until(pilot, lambda: site.started)


async def test_blocked_actions_say_why() -> None:
    problem = Problem(
        "repository-missing", "REPOSITORY NOT MOUNTED: /mnt/backups.", "It is empty.", "mount it"
    )
    blocked = Overview(site="s", zone=ZONE, answer=OVERVIEW.answer, plans=("daily",), blocked={
        "backup": problem, "verify": problem,
    })  # fmt: skip
    site = FakeSite(state=blocked)
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, "b")
        await until_text(pilot, "REPOSITORY NOT MOUNTED: /mnt/backups.")
        assert "Back up now?" not in screen_text(app)
        await press(pilot, "a")
        await until_text(pilot, "Next  mount it")
        assert site.started == []


async def test_new_point_keeps_the_cursor_on_its_point() -> None:
    site = FakeSite(stored=[make_point(index) for index in range(1, 30)])
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/29")
        await press(pilot, "j", "j", "j")
        table = app.screen.query_one("#points")
        before = table.current()  # type: ignore[attr-defined]
        site.stored = [make_point(0), *site.stored]
        site.state = replace(OVERVIEW, revision=2)
        app.refresh_overview()
        await until_text(pilot, "5/30")
        assert table.current() == before  # type: ignore[attr-defined]


async def test_site_that_cannot_be_read_shows_the_problem_and_recovers() -> None:
    site = FakeSite()
    site.trouble = RepositoryMissing(
        "CONFIG NOT USABLE: 2 problems.", why="a.yaml:4: no such thing", fix="Mend the lines"
    )
    calls: list[int] = []

    def open_site() -> FakeSite:
        calls.append(1)
        if len(calls) == 1 and site.trouble is not None:
            raise site.trouble
        site.trouble = None
        return site

    app = make_app(site, open_site=open_site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "a.yaml:4: no such thing")
        text = screen_text(app)
        assert text.splitlines()[0] == "CONFIG NOT USABLE: 2 problems."
        assert "Next  Mend the lines" in text
        app.refresh_overview()
        await until_text(pilot, "1/8")


async def test_without_a_config_the_first_screen_offers_init_and_demo() -> None:
    app = make_app(open_site=without_config)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "fsbackup init")
        assert "fsbackup demo" in screen_text(app)
        await press(pilot, "escape", "q")
    assert app.return_value == 0


async def test_empty_inventory_says_what_to_do() -> None:
    app = make_app(FakeSite(stored=[]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "No recovery point yet.")
        await press(pilot, "enter", "y", "v", "G")
        await until_text(pilot, "there is no point under the cursor")


async def test_hundred_thousand_points_are_paged_and_the_cache_is_bounded() -> None:
    stored = [make_point(index % 3000) for index in range(100_000)]
    site = FakeSite(stored=stored)
    app: FsbackupApp = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/100000")
        await press(pilot, "G")
        await until_text(pilot, "100000/100000")
        await until_gone(pilot, "reading…")
        table = app.screen.query_one("#points")
        for _ in range(40):
            table.move_to(table.cursor - 2500)  # type: ignore[attr-defined]
            await pilot.pause()
        await until_gone(pilot, "reading…")
        assert table.pages_held <= 24  # type: ignore[attr-defined]
        await press(pilot, "g")
        await until_text(pilot, "1/100000")


async def test_running_point_can_not_be_verified() -> None:
    point = make_point(0, trust=Trust.INCOMPLETE, running=True)
    site = FakeSite(stored=[point])
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "RUNNING")
        await press(pilot, "v")
        await until_text(pilot, "still being written")
        assert site.started == []


async def test_only_the_word_is_highlighted_never_the_blanks_beside_it() -> None:
    app = make_app(theme="high-contrast")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        loud = app.look.styles["bad"]
        marked = [
            segment.text
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style == loud
        ]
    assert {"SUSPECT sealed", "DAMAGED", "INCOMPLETE"} <= set(marked)
    assert [text for text in marked if text != text.strip()] == []


async def test_remark_on_a_point_has_room_in_a_wide_window() -> None:
    app = make_app()
    async with app.run_test(size=(200, 60)) as pilot:
        await until_text(pilot, "1/8")
        await until(pilot, lambda: "public.generated_videos had 5" in text_lines(app)[5])


async def test_point_that_was_never_finished_is_not_offered_for_verification() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        await press(pilot, *"jjjjj", "enter")
        await until_text(pilot, "NO MANIFEST")
        assert "never verified" not in screen_text(app)


@pytest.mark.parametrize("width", [40, 50, 60, 70, 78])
@pytest.mark.parametrize("with_files", [False, True])
def test_the_trust_of_a_point_is_there_in_every_window(width: int, *, with_files: bool) -> None:
    point = replace(make_point(0), trust=Trust.PROVEN, suspect=("fell",), files=41_890)
    row = point_row(point, width, False, now=NOW, zone=UTC, known=True, with_files=with_files)
    assert "SUSPECT PROVEN" in plain(fit(row, width))
    assert "TRUST" in plain(fit(points_heading(width, with_files=with_files), width))


SITE = Copies(("far", "s3"), {"far": timedelta(days=30), "s3": timedelta(days=30)})


def point_with(*copies: Copy) -> PointSummary:
    return replace(make_point(0, trust=Trust.PROVEN), files=41_890, copies=copies)


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("width", [60, 78, 80, 92, 93, 112, 140, 200])
def test_copies_are_named_where_there_are_replicas(files: bool, width: int) -> None:
    point = point_with(Copy("far", NOW, state="wrong", why="gone"), Copy("s3", NOW))
    head = plain(points_heading(width, with_files=files, with_copies=True))
    shown = point_row(
        point, width, False, now=NOW, zone=ZONE, known=True, with_files=files, site=SITE
    )
    text = plain(shown)
    assert text.index("far! ") == head.index("COPIES")
    assert " s3" in text
    assert cell_len(text) <= width
    assert "PROVEN" in text
    assert "COPIES" not in plain(points_heading(width, with_files=files))


def test_at_78_cells_a_site_with_files_has_the_columns_of_the_design() -> None:
    titles = plain(points_heading(78, with_files=True, with_copies=True)).split()
    assert titles == ["WHEN", "AGE", "DB", "Δ", "ROWS", "FILES", "TRUST", "COPIES"]
    point = replace(point_with(Copy("s3", NOW), Copy("far", NOW)), suspect=("fell",))
    row = plain(
        point_row(point, 78, True, now=NOW, zone=ZONE, known=True, with_files=True, site=SITE)
    )
    assert row.rstrip().endswith("SUSPECT PROVEN   s3 far")
    assert "41 890" in row
    assert "\u2026" not in row


@pytest.mark.parametrize(
    ("copies", "shown"),
    [
        ((), "-"),
        ((Copy("s3", NOW),), "s3"),
        ((Copy("s3", NOW - timedelta(days=40)),), "s3?"),
        ((Copy("s3", NOW, state="wrong"),), "s3!"),
        ((Copy("production-east", NOW),), "1 of 3"),
        ((Copy("production-east", NOW), Copy("s3", NOW - timedelta(days=40))), "1 of 3?"),
        ((Copy("production-east", NOW), Copy("s3", NOW, state="wrong")), "1 of 3!"),
    ],
)
def test_a_copy_that_is_missing_unread_or_wrong_is_seen_without_colour(
    copies: tuple[Copy, ...], shown: str
) -> None:
    known = any(copy.replica == "production-east" for copy in copies)
    site = replace(SITE, replicas=(*SITE.replicas, "production-east")) if known else SITE
    assert copies_cell(point_with(*copies), site, NOW, 8)[0] == shown


def test_a_wide_terminal_tells_since_when_copies_are_whole() -> None:
    point = point_with(Copy("s3", NOW - timedelta(hours=1)), Copy("far", NOW - timedelta(days=2)))
    row = point_row(point, 200, False, now=NOW, zone=ZONE, known=True, with_files=True, site=SITE)
    assert "s3 60 m, far 2 d" in plain(row)


async def test_point_that_lies_elsewhere_says_where_in_the_list_and_in_its_details() -> None:
    points = [
        replace(make_point(0, trust=Trust.PROVEN), copies=(Copy("s3", NOW),)),
        replace(
            make_point(1, trust=Trust.SEALED),
            copies=(Copy("s3", NOW, state="wrong", why="2 files are gone"),),
        ),
    ]
    copies = replace(SITE, elsewhere={points[0].id: "s3"})
    app = make_app(FakeSite(stored=points, state=replace(OVERVIEW, copies=copies)))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/2")
        await until_text(pilot, "PROVEN at s3")
        assert "at s3, not here" in screen_text(app)
        await press(pilot, "enter")
        await until_text(pilot, "at s3, not here: only its description was fetched")
        assert "s3 whole since" in screen_text(app)
        assert "none on far" in screen_text(app)
        await press(pilot, "escape", "j")
        await until_text(pilot, "copy on s3 WRONG: 2 files are gone")
        await press(pilot, "enter")
        await until_text(pilot, "fsbackup replicate s3")
