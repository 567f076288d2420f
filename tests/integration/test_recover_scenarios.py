"""Recoveries on real servers with real jobs, step by step: undone, exported, practised.

The six kinds of damage by prompts, by commands and by keys are led out of elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.question import Answer
from tests.support.shop import Shop, open_shop
from tests.support.walking import declare_at, do, undo, walk

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_shop(tmp_path, server) as made:
        yield made


def test_a_delete_without_where_by_merge_keeps_what_was_written_since(shop: Shop) -> None:
    point = shop.back_up()
    before = shop.content()
    with shop.application() as client:
        shop.execute("DELETE FROM users")
        shop.execute("INSERT INTO users (mail) VALUES ('new@example.org')")
        # A point taken after the damage lies on top.
        assert shop.site.run("backup", "daily", "--json").exit_code == 0
        session = declare_at(shop.site, "rows")
        walk(session, {"keep-evidence": "users", "choose-way": "merge"}, until="merge")
        assert session.read().facts.point == point
        session.leave()
        exported = shop.site.run("incidents", "export", "--json")
        assert exported.exit_code == 0, exported.stderr
        files = {each["table"]: each for each in exported.document["tables"]}
        assert files["public.users"]["rows"] == 1
        session = attach(session.desk, session.journal)
        do(session, "merge")
        walk(session)
        assert client.errors == []
    assert shop.count("users") == before["users"][0] + 1
    for table in ("videos", "likes"):
        assert shop.content([table])[table] == before[table]
    assert shop.works_for_the_application()
    undo(session, "merge")
    assert (shop.count("users"), shop.count("videos"), shop.count("likes")) == (1, 0, 0)
    session.close("practised")


def test_a_column_that_a_migration_dropped_comes_back_under_new_rows(shop: Shop) -> None:
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
    session = declare_at(shop.site, "structure")
    answers: dict[str, Answer | str] = {
        "choose-way": "merge",
        "fill-values": "public.users.plan=free",
    }
    walk(session, answers)
    assert shop.content([old]) == before
    plans = dict(shop.query("SELECT plan, count(*) FROM users GROUP BY 1"))
    assert plans == {"free": 240, "paid": 100}
    rows = shop.query(
        "SELECT is_nullable FROM information_schema.columns"
        " WHERE table_name = 'users' AND column_name = 'plan'"
    )
    assert rows == [("NO",)]
    undo(session, "merge")
    assert shop.count("users") == 340


def test_what_was_truncated_with_all_that_refers_to_it_is_merged_back(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    shop.execute("TRUNCATE users CASCADE", "INSERT INTO users (mail) VALUES ('first@example.org')")
    session = declare_at(shop.site, "rows")
    walk(session, {"choose-way": "merge"})
    assert shop.count("users") == before["users"][0] + 1
    assert shop.content(["videos", "likes"]) == {name: before[name] for name in ("videos", "likes")}


def test_a_drill_plays_on_a_copy_and_leaves_nothing(shop: Shop) -> None:
    shop.back_up()
    before = shop.content(("users", "videos", "likes"))
    there = shop.databases()
    with shop.application() as client:
        session = declare_at(shop.site, "rows", runbook="data-loss", is_drill=True)
        walk(session, {"choose-way": "swap"})
        session.close("practised")
        assert client.errors == []
    assert shop.content() == before
    left = shop.databases() - there
    assert all("drill" in name for name in left), left
