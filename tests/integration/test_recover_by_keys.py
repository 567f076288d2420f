"""Recoveries of every kind by keys alone: real servers, real jobs, a busy application.

Whoever presses the keys reads the screen of 80x24 and knows nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.text import count_text
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.recovery.past import read_incident
from fsbackup_tui.recovery.report import handover_text, report_markdown
from fsbackup_tui.repository.incidents import list_incidents
from tests.support.figures import check_figures
from tests.support.keys import at_the_keys
from tests.support.shop import Application, Shop, open_shop, spoil_page
from tests.support.walking import desk_of

pytestmark = pytest.mark.timeout(600)

GONE = "table or column gone"
WRONG = "rows gone or wrong"
ERRORS = "errors, bad blocks"
NOW = "0 s ago"
# What comes after is done by hand, or shown by the recoveries that are led to their end.
END = "Start the application"
VISITS = "SELECT id, at FROM visits"
ALL = ("users", "videos", "likes", "visits")


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_shop(tmp_path, server) as made:
        yield made


def check_visits(shop: Shop, client: Application, *databases: str) -> None:
    """Check that every visit the application knows to be written is in one of the databases."""
    written = client.written
    assert sum(shop.count("visits", name) for name in (shop.live, *databases)) >= written


async def test_a_dropped_table_by_swap_and_back_and_what_was_written_since_merged(
    shop: Shop,
) -> None:
    before = shop.content()
    shop.back_up()
    async with at_the_keys(shop.site) as keys:
        with shop.application() as client:
            shop.execute("DROP TABLE likes, videos CASCADE")
            await keys.declare(NOW, GONE)
            await keys.walk({"Choose the way": "swap"})
        assert shop.content() == before
        found = re.search(r"^ Kept +(\S+) is the database", keys.text, re.MULTILINE)
        assert found is not None, keys.text
        kept = found[1]
        check_visits(shop, client, kept)
        assert shop.query("SELECT to_regclass('videos') IS NULL", kept) == [(True,)]
        assert shop.works_for_the_application()

        # And back, with what was written to the restored one since counted and kept.
        damaged = shop.content(("users", "visits"), kept)
        visits_then = shop.query(VISITS, kept)
        shop.execute("INSERT INTO videos (user_id, title) VALUES (7, 'after the swap')")
        newer, visits_since = shop.content(ALL), shop.query(VISITS)
        told = await keys.undo("Swap it in")
        assert f"public.visits: {count_text(len(visits_since))} inserted" in told
        assert "public.videos: 1 inserted" in told
        assert shop.content(("users", "visits")) == damaged
        (after,) = (name for name in shop.databases() if "__after_" in name)
        assert after in keys.text
        assert shop.content(ALL, after) == newer

        # What was written to it since is put back into what is live again.
        await keys.switch_runbook("partial-loss")
        with shop.application():
            await keys.walk(until="Start the application")
        assert shop.content(("users", "videos", "likes")) == {
            name: newer[name] for name in ("users", "videos", "likes")
        }
        assert {*visits_then, *visits_since} <= set(shop.query(VISITS))
        assert shop.works_for_the_application()
        handed_over = await keys.hand_over()
        await keys.close("rows are where they were")
        read = await keys.past_incident()
    check_report(shop, handed_over, read)


def check_report(shop: Shop, handed_over: str, read: str) -> None:
    """Print the report and the hand-over, and find every figure of them in the journal."""
    desk = desk_of(shop.site)
    (journal,) = list_incidents(desk.state)
    reading = read_incident(desk, journal)
    report, handover = report_markdown(reading, journal.entries()), handover_text(reading)
    sys.stdout.write(f"{report}\n{handover}")
    assert check_figures(journal, reading, report) > 300
    assert check_figures(journal, reading, handover) > 8
    # It is what stood on the screen, too.
    assert "MERGED: rows were put back into live" in handed_over
    assert f"fsbackup recover --resume {journal.id}" in handed_over
    assert f"# Incident {journal.id}: " in read
    assert all(line[:70].strip() in read for line in report.splitlines() if line.startswith("- "))


async def test_a_delete_without_where_by_merge_keeps_what_was_written_since(shop: Shop) -> None:
    point = shop.back_up()
    before = shop.content()
    right = datetime.now(UTC)
    with shop.application() as client:
        shop.execute("DELETE FROM users", "INSERT INTO users (mail) VALUES ('new@example.org')")
        # A point taken after the damage lies on top.
        assert shop.site.run("backup", "daily", "--json").exit_code == 0
        async with at_the_keys(shop.site) as keys:
            await keys.declare(f"{right:%H:%M:%S}", WRONG)
            await keys.walk({"Keep the evidence": "users"}, until="Choose the point")
            points = await keys.whole_card()
            assert re.search(r"^    *1 .* \(needs a reason\)\n +AFTER DAMAGE\n", points, re.M), (
                points
            )
            assert re.search(r"^  >  2 .* PROVEN .* \(recommended\)", points, re.M), points
            await keys.walk({"Choose the way": "merge"}, until="Put the rows back")
            assert any(point in screen for screen in keys.screens)
            await keys.leave()
        # One leaves, looks at what only live has, and comes back to the same step.
        check_export(shop)
        async with at_the_keys(shop.site) as keys:
            await keys.walk()
            assert client.errors == []
            assert shop.count("users") == before["users"][0] + 1
            for table in ("videos", "likes"):
                assert shop.content([table])[table] == before[table]
            assert shop.works_for_the_application()
            check_visits(shop, client)
            await keys.undo("Put the rows back")
            assert [shop.count(table) for table in ("users", "videos", "likes")] == [1, 0, 0]
            await keys.close("practised")


def check_export(shop: Shop) -> None:
    """Check that the rows which only live has can be had in the middle of it."""
    exported = shop.site.run("incidents", "export", "--json")
    assert exported.exit_code == 0, exported.stderr
    files = {each["table"]: each for each in exported.document["tables"]}
    assert files["public.users"]["rows"] == 1


async def test_a_bad_update_is_set_back(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    shop.execute("UPDATE videos SET title = 'oops'")
    async with at_the_keys(shop.site) as keys:
        with shop.application() as client:
            await keys.declare(NOW, WRONG)
            answers = {"Choose the way": "merge", "Choose what is put back": "public.videos: set"}
            await keys.walk(answers, until=END)
            assert client.errors == []
        assert shop.content() == before
        check_visits(shop, client)
        assert shop.works_for_the_application()
        await keys.close("set back")


async def test_a_truncate_is_swapped_away_while_the_application_is_kept_out(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    async with at_the_keys(shop.site) as keys:
        with shop.application() as client:
            shop.execute("TRUNCATE users CASCADE")
            await keys.declare(NOW, WRONG)
            answers = {"Freeze writing?": "it can't connect", "Choose the way": "swap"}
            await keys.walk(answers, until="Let writing go on")
            assert "FROZEN" in keys.lines[2]
            assert any("permission denied" in error for error in client.errors)
            kept_out = client.written
            await keys.walk(until=END)
            assert "FROZEN" not in keys.text
            await keys.until(lambda: client.written > kept_out, "the application is back")
        assert shop.content() == before
        check_visits(shop, client, await keys.kept_by_the_swap())
        assert shop.works_for_the_application()
        await keys.close("recovered")


async def test_a_column_that_a_migration_dropped_comes_back_under_new_rows(shop: Shop) -> None:
    shop.execute(
        "ALTER TABLE users ADD COLUMN plan text NOT NULL DEFAULT 'free'",
        "UPDATE users SET plan = 'paid' WHERE id % 3 = 0",
        "ALTER TABLE users ALTER COLUMN plan DROP DEFAULT",
    )
    shop.back_up()
    old = "(SELECT id, mail, plan FROM users WHERE id <= 300)"
    before = shop.content([old])
    shop.execute(
        "ALTER TABLE users DROP COLUMN plan",
        "INSERT INTO users (mail) SELECT 'new' || i FROM generate_series(1, 40) i",
    )
    async with at_the_keys(shop.site) as keys:
        with shop.application() as client:
            await keys.declare(NOW, GONE)
            await keys.walk({"Choose the way": "merge"}, until="Fill what nobody knows")
            column = re.search(r"never had one\? (\S+)", keys.text)
            assert column is not None, keys.text
            await keys.walk({"Fill what nobody knows": f"{column[1]}=free"}, until=END)
            assert client.errors == []
        assert shop.content([old]) == before
        plans = dict(shop.query("SELECT plan, count(*) FROM users GROUP BY 1"))
        assert plans == {"free": 240, "paid": 100}
        rows = shop.query(
            "SELECT is_nullable FROM information_schema.columns"
            " WHERE table_name = 'users' AND column_name = 'plan'"
        )
        assert rows == [("NO",)]
        check_visits(shop, client)
        await keys.close("the column is back")


async def test_a_corrupted_page_costs_only_what_nobody_can_read(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    with shop.application() as client:
        # Rows younger than the point, which only the damaged database has.
        shop.execute("INSERT INTO visits SELECT FROM generate_series(1, 500)")
        spoil_page(shop, "videos", 2)
        async with at_the_keys(shop.site) as keys:
            await keys.declare(NOW, ERRORS)
            answers = {
                "Freeze writing?": "it can't connect",
                "Keep what there is": ("a dump of every table", "around bad blocks"),
                "Choose the way": "swap",
            }
            await keys.walk(answers, until="Save what can be read")
            await keys.go_to("Keep what there is")
            preserved = await keys.whole_card()
            assert re.search(r"public\.videos: part, [\d ]+ rows, 1 bad block", preserved), (
                preserved
            )
            await keys.press("escape")
            await keys.walk(answers, until=END)
            kept = await keys.kept_by_the_swap()
            assert shop.content() == before
            # All that was written to the damaged one is in both: it was readable.
            assert {*shop.query(VISITS, kept)} <= set(shop.query(VISITS))
            check_visits(shop, client)
            assert shop.works_for_the_application()
            await keys.close("recovered")


async def test_a_drill_plays_on_a_copy_and_leaves_nothing(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    there = shop.databases()
    with shop.application() as client:
        async with at_the_keys(shop.site) as keys:
            await keys.drill("data-loss")
            await keys.walk({"Choose the way": "swap"})
            await keys.close("practised")
        assert client.errors == []
    assert shop.content() == before
    left = shop.databases() - there
    assert all("drill" in name for name in left), left
