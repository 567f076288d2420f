"""Mode 5: what is kept and why, what leaves, other rules tried and written, nothing by accident."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len

from fsbackup_tui.config.retention import Retention
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.growth import Growth, growth_of
from fsbackup_tui.domain.retention import Keep
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.operations.retain_requests import (
    EmptyTrashRequest,
    RetainRequest,
    TakeBackRequest,
)
from fsbackup_tui.tui.lines import plain
from fsbackup_tui.tui.modes.calendar_lines import bar_lines, grid_lines
from fsbackup_tui.tui.modes.retention_lines import full_words, note_lines
from fsbackup_tui.tui.modes.rule_steps import RULES, Draft, typed_value, typed_wrong
from fsbackup_tui.tui.retention_data import consequence_of, keep_words
from tests.tui.fakes import FakeSite, make_app
from tests.tui.made import NOW, ZONE
from tests.tui.retained import DAY, POLICY, TRASHED, RetainedSite, make_view, some_candidates
from tests.tui.screens import press, screen_text, text_lines, until, until_gone, until_text

LOCKED = Problem("refused", "READ ONLY: nothing is removed, pinned or changed.", "It says so.")


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (140, 40), (200, 60)])
async def test_it_shows_rules_space_points_and_reasons(size: tuple[int, int]) -> None:
    app = make_app(RetainedSite())
    async with app.run_test(size=size) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "not full in 2 y")
        text = screen_text(app)
        assert "36 kept  58 leave" in text
        assert "29 GB in 114 points" in text
        assert "November 2026" in text
        assert "within 30 d, weekly 2026-W47" in text
        assert all(cell_len(row) <= size[0] for row in text_lines(app))
        await press(pilot, "G")
        await until_text(pilot, "No rule keeps it.")
        assert "LEAVES" in screen_text(app)


async def test_the_first_month_is_told_and_titles_are_passed_over() -> None:
    app = make_app(RetainedSite())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "> today 02:00 CET")
        for _ in range(22):
            await press(pilot, "j")
        await until_text(pilot, "> 31 Oct 02:00 CET")
        await press(pilot, "k")
        await until_text(pilot, "> 1 Nov 02:00 CET")
        await press(pilot, "g")
        await until_text(pilot, "November 2026")


async def test_another_plan_and_one_without_points() -> None:
    site = RetainedSite()
    view = make_view()
    site.view = replace(view, policies={**view.policies, "new": Keep()})
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "> daily")
        await press(pilot, "tab")
        await until_text(pilot, "1/20")
        await press(pilot, "tab")
        await until_text(pilot, "Plan new has no recovery point yet.")


async def test_a_site_without_points_says_so() -> None:
    app = make_app(FakeSite())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "nothing to keep")
        await press(pilot, "A", "e", "p", "t", "enter", "tab")
        assert not app.screen.query(".-open")


async def test_removing_asks_and_enter_on_the_fresh_question_does_nothing() -> None:
    site = RetainedSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "58 leave")
        await press(pilot, "A")
        await until_text(pilot, "Move 58 points to the trash?")
        assert "daily: 58 of 94; oldest goes from 93 d to 83 d" in screen_text(app)
        assert "taken back for 7 d" in screen_text(app)
        await press(pilot, "enter")
        await until_gone(pilot, "Move 58 points")
        assert site.started == []
        await press(pilot, "A")
        await until_text(pilot, "Move 58 points")
        await press(pilot, "y")
        await until(pilot, lambda: site.started)
        assert site.started == [RetainRequest(points=site.view.decision.leaving)]


async def test_above_the_share_the_site_s_name_is_typed() -> None:
    site = RetainedSite(view=make_view(settings=Retention()))
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "NOT BY ITSELF, BY A: 62% of the points would leave")
        await press(pilot, "A")
        await until_text(pilot, "type the site's name, face-swap")
        await press(pilot, "enter")
        await until_text(pilot, "the name has to be typed")
        await press(pilot, *"face", "enter")
        await until_text(pilot, "That is not face-swap")
        assert site.started == []
        await press(pilot, *"-swap", "enter")
        await until(pilot, lambda: site.started)
        request = RetainRequest(points=site.view.decision.leaving, confirmed=True)
        assert site.started == [request]


async def test_while_an_incident_is_open_nothing_is_asked() -> None:
    site = RetainedSite(view=make_view(guard=Guard(incidents=("1122-01",))))
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "NOTHING GOES NOW: An incident is open: 1122-01.")
        await press(pilot, "A")
        await until_text(pilot, "a: why, and what next")
        await press(pilot, "a")
        await until_text(pilot, "Close it first")
        assert site.started == []


async def test_pinning_wants_a_reason_and_unpinning_asks() -> None:
    site = RetainedSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "> today 02:00 CET")
        await press(pilot, "p")
        await until_text(pilot, "Pin today 02:00 CET, daily?")
        await press(pilot, "enter")
        await until_text(pilot, "A pin says why")
        await press(pilot, *"audit", "enter")
        await until_text(pilot, "pinned: audit")
        assert site.pinned == [("daily-000", "audit")]
        await until_text(pilot, "> today 02:00 CET")
        await press(pilot, "p")
        await until_text(pilot, "Unpin today 02:00 CET?")
        await press(pilot, "enter")
        await until_gone(pilot, "Unpin today 02:00 CET?")
        assert len(site.pinned) == 1
        await press(pilot, "p")
        await until_text(pilot, "Unpin today 02:00 CET?")
        await press(pilot, "y")
        await until(pilot, lambda: len(site.pinned) == 2)
        assert site.pinned[-1] == ("daily-000", None)


async def test_the_trash_gives_back_and_frees_only_what_is_past_its_grace() -> None:
    site = RetainedSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "t trash")
        await press(pilot, "t")
        await until_text(pilot, "FREED FROM")
        assert "27 Nov 03:01, 5 d" in screen_text(app)
        assert "by ana on app1" in screen_text(app)
        await press(pilot, "F")
        await until_text(pilot, "nothing has lain here for 7 d yet")
        await press(pilot, "b")
        await until_text(pilot, "It is pinned then")
        await press(pilot, "y")
        await until(pilot, lambda: site.started)
        assert site.started == [TakeBackRequest(point=TRASHED.id)]


async def test_what_is_past_its_grace_is_freed_after_a_question() -> None:
    old = replace(TRASHED, at=NOW - 8 * DAY)
    site = RetainedSite(view=replace(make_view(), trash=(old,)))
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "t trash")
        await press(pilot, "t")
        await until_text(pilot, "now")
        await press(pilot, "F")
        await until_text(pilot, "Free the space of 1 point for good?")
        await press(pilot, "enter")
        await until_gone(pilot, "for good?")
        assert site.started == []
        await press(pilot, "F")
        await until_text(pilot, "for good?")
        await press(pilot, "y")
        await until(pilot, lambda: site.started)
        assert site.started == [EmptyTrashRequest()]


async def test_a_rule_is_tried_in_numbers_and_written_only_when_told() -> None:
    site = RetainedSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "e rules")
        await press(pilot, "e")
        await until_text(pilot, "as in the config")
        await press(pilot, "w")
        await until_text(pilot, "as they are in the config")
        await press(pilot, "j", "h", "h")
        await until_text(pilot, "Removes 12 points more, 3.7 GB.")
        assert "14 d  was 30 d" in screen_text(app)
        assert "24 kept, 70 leave" in screen_text(app)
        assert "X" in next(row for row in text_lines(app) if "a cell" in row)
        assert site.drafted == []
        await press(pilot, "w")
        await until_text(pilot, "Write this into /etc/fsbackup/config.yaml?")
        assert "+    keep: {within: 14d}" in screen_text(app)
        await press(pilot, "enter")
        await until_gone(pilot, "Write this into")
        assert site.written == []
        await press(pilot, "w")
        await until_text(pilot, "Write this into")
        await press(pilot, "y")
        await until_text(pilot, "/etc/fsbackup/config.yaml is written.")
        assert len(site.written) == 1
        keep = Keep(within=14 * DAY, weekly=8, monthly=12)
        assert site.drafted[-1] == ("daily", keep, site.view.settings)


async def test_a_value_is_typed_and_a_wrong_one_told() -> None:
    site = RetainedSite()
    app = make_app(site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "e rules")
        await press(pilot, "e", "j", "enter")
        await until_text(pilot, "within: every good point")
        await press(pilot, *"soon", "enter")
        await until_text(pilot, "A time looks like 30d")
        await press(pilot, "ctrl+u", *"90", "enter")
        await until_text(pilot, "90 d  was 30 d")
        await until_text(pilot, "would leave")
        await press(pilot, "escape")
        await until_text(pilot, "nothing was written")
        assert site.written == []


async def test_an_edit_that_cant_be_made_says_why() -> None:
    site = RetainedSite(refused="NOT EDITED: it is written in a way that can't be changed.")
    app = make_app(site)
    async with app.run_test(size=(100, 24)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "e rules")
        await press(pilot, "e", "l", "w")
        await until_text(pilot, "NOT EDITED")
        assert site.written == []


async def test_read_only_offers_nothing_that_changes() -> None:
    site = RetainedSite(view=replace(make_view(), locked=LOCKED, fixed=LOCKED))
    app = make_app(site)
    async with app.run_test(size=(140, 40)) as pilot:
        await until_text(pilot, "PROD face-swap")
        await press(pilot, "5")
        await until_text(pilot, "58 leave")
        foot = text_lines(app)[-1]
        assert "remove" not in foot
        assert "pin" not in foot
        for key in ("A", "p"):
            await press(pilot, key)
            await until_text(pilot, "READ ONLY")
        await press(pilot, "e", "l")
        await until_text(pilot, "changed, not written")
        assert "WRITE" not in text_lines(app)[-1]
        await press(pilot, "w")
        await until_text(pilot, "READ ONLY")
        assert (site.written, site.started, site.pinned) == ([], [], [])


def test_the_calendar_tells_in_letters_what_its_colours_say() -> None:
    view = make_view()
    points = view.of_plan("daily")
    leaving = frozenset(view.decision.leaving)
    bar, axis = bar_lines(points, leaving, 140, now=NOW, zone=ZONE, cursor=points[0])
    cells = plain(bar)[2:].split()[0]
    assert len(cells) == 94
    assert cells[-1] == "█"
    assert cells[93 - 9 : 93 - 8] == "!"
    assert cells[93 - 47] == "P"
    assert cells.count("x") == 58
    assert plain(axis)[2 + 93] == "^"
    grid = [plain(row) for row in grid_lines(points, leaving, 80, now=NOW, zone=ZONE)]
    assert "".join(grid[1:]).count("x") == 58


def test_rules_in_words_and_steps() -> None:
    assert keep_words(POLICY) == "all of 30 d, 8 weekly, 12 monthly"
    assert keep_words(Keep()) == "keeps everything"
    rules = {rule.name: rule for rule in RULES}
    draft = Draft(Keep(last=1), Retention())
    assert draft.stepped(rules["last"], -1).keep == Keep()
    assert draft.stepped(rules["within"], 1).keep.within == 30 * DAY
    assert draft.stepped(rules["grace"], -1).settings.grace == 5 * DAY
    assert draft.having(rules["grace"], None).settings.grace == 7 * DAY
    assert draft.stepped(rules["most_share"], 1).settings.most_share == 0.55
    assert draft.stepped(rules["minimum_good"], -1).settings.minimum_good == 1
    assert typed_value(rules["within"], "36h") == timedelta(hours=36)
    assert typed_value(rules["most_share"], "30") == 0.3
    assert typed_value(rules["last"], "") is None
    for name, text in (("last", "0"), ("last", "x"), ("within", "0d"), ("most_share", "120")):
        assert typed_wrong(rules[name], text)


def test_what_other_rules_change_is_told_of_the_points_themselves() -> None:
    view = make_view()
    found = consequence_of(view, "daily", Keep(within=90 * DAY), view.settings, NOW)
    assert len(found.fewer) == 54
    assert not found.more
    assert found.now.leaving == 58
    same = consequence_of(view, "daily", POLICY, view.settings, NOW)
    assert not same.changes


def test_the_disk_fills_by_what_stays() -> None:
    view = make_view()
    everything = {"daily": Keep(), "weekly-schema": Keep()}
    filled = growth_of(view.candidates, everything, view.guard, 9_300_000_000, NOW, ZONE)
    assert filled is not None
    assert filled.full is not None
    assert timedelta(days=29) <= filled.full <= timedelta(days=31)
    assert full_words(filled) == f"full in {filled.full.days} d"
    trimmed = growth_of(view.candidates, view.policies, view.guard, 9_300_000_000, NOW, ZONE)
    assert trimmed is not None
    assert trimmed.full is None
    few = some_candidates()[:2]
    assert growth_of(few, everything, view.guard, 10**9, NOW, ZONE) is None
    assert growth_of(view.candidates, everything, view.guard, None, NOW, ZONE) is None
    assert full_words(None) == "full in -"
    assert full_words(Growth(1.0, None, 1)) == "not full in 2 y"


def test_what_keeps_a_point_is_never_cut_without_a_sign() -> None:
    view = make_view()
    point = view.of_plan("daily")[0]
    verdict = next(each for each in view.decision.verdicts if each.id == point.id)
    (cut,) = note_lines(point, verdict, view, 60, 1)
    assert plain(cut).startswith("   Kept by: within 30 d")
    assert plain(cut).endswith("\u2026")
    assert cell_len(plain(cut)) <= 60
    whole = note_lines(point, verdict, view, 60, 4)
    assert not any("\u2026" in plain(row) for row in whole)
