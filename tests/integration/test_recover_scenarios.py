"""Recoveries of every kind on real servers, under a busy application, with real jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.recovery.question import Answer
from tests.support.shop import Shop, open_shop
from tests.support.walking import declare_at, do, undo, walk

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_shop(tmp_path, server) as made:
        yield made


def test_a_dropped_table_by_swap_and_back(shop: Shop) -> None:
    before = shop.content()
    shop.back_up()
    with shop.application() as client:
        shop.execute("DROP TABLE likes, videos CASCADE")
        session = declare_at(shop.site, "structure", runbook="data-loss")
        walk(session, {"choose-way": "swap"})
        assert client.written
    assert shop.content() == before
    assert shop.works_for_the_application()
    swapped = session.read().facts.document("swapped")
    kept = str(swapped["kept_as"])
    # Nothing of the old database is gone: what it had at the swap is there under its new name.
    assert shop.count("visits", kept) > 0
    assert shop.query("SELECT to_regclass('videos') IS NULL", kept) == [(True,)]
    session.close("recovered")


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


def test_a_bad_update_is_set_back(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    shop.execute("UPDATE videos SET title = 'oops'")
    session = declare_at(shop.site, "rows")
    answers: dict[str, Answer | str] = {
        "choose-way": "merge",
        "choose-rows": "public.videos:changed",
    }
    walk(session, answers)
    assert shop.content() == before


def test_a_frozen_application_comes_back_as_its_own_role(shop: Shop) -> None:
    shop.back_up()
    before = shop.content()
    shop.execute("TRUNCATE users CASCADE")
    with shop.application() as client:
        session = declare_at(shop.site, "rows", runbook="data-loss")
        walk(session, {"freeze": "role", "choose-way": "swap"}, until="thaw")
        assert session.read().incident.freezes
        assert any("permission denied" in error for error in client.errors)
        walk(session)
        assert not session.read().incident.freezes
    assert shop.content() == before
    assert shop.works_for_the_application()
    session.close("recovered")
