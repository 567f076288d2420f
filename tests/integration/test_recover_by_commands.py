"""The same six kinds of damage by ``restore``, ``rollback`` and no question: for scripts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.damages import (
    check_column,
    delete_all,
    drop_column,
    drop_tables,
    open_damaged_shop,
    spoil,
    truncate_all,
    update_all,
)
from tests.support.shop import Shop
from tests.support.sites import CommandResult

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_damaged_shop(tmp_path, server) as made:
        yield made


def run(shop: Shop, *arguments: str, exit_code: int = 0) -> CommandResult:
    done = shop.site.run(*arguments, "--confirm", shop.live, "--json")
    assert done.exit_code == exit_code, done.stdout + done.stderr
    return done


def test_dropped_tables_by_swap_and_back_and_what_was_written_since_by_merge(shop: Shop) -> None:
    with shop.application():
        damage = drop_tables(shop)
        swapped = run(shop, "restore", damage.point, "--swap").document
        damage.check_back()
    kept = swapped["swapped"]["kept_as"]
    at_the_swap, newer = damage.visits(kept), damage.visits()
    since = newer - at_the_swap
    assert since
    users = shop.content(["users"], kept)

    back = run(shop, "rollback", "--incident", swapped["incident"]).document
    assert damage.visits() == at_the_swap
    assert shop.content(["users"]) == users
    assert shop.query("SELECT to_regclass('videos') IS NULL") == [(True,)]
    counted = {table["table"]: table["inserted"] for table in back["written"]["tables"]}
    assert counted["public.visits"] == len(since)
    assert damage.visits(back["kept_as"]) == newer

    command = shlex.split(back["merge"])
    assert command[:3] == ["fsbackup", "restore", back["kept_as"]]
    with shop.application() as client:
        merged = run(shop, *command[1:3], "--tables", "visits,videos,likes").document
        assert client.errors == []
    assert (merged["point"], merged["kept"]) == (None, back["kept_as"])
    damage.check_back()
    assert at_the_swap | since <= damage.visits()


def test_a_delete_without_where_by_its_table_under_a_later_point(shop: Shop) -> None:
    with shop.application() as client:
        damage = delete_all(shop)
        done = run(shop, "restore", "latest", "--tables", "users").document
        assert client.errors == []
        assert client.written
    assert done["point"] == damage.point
    effects = {effect["table"][1]: effect["inserted"] for effect in done["merged"]["effects"]}
    assert effects == {"users": 300, "videos": 1500, "likes": 1499}
    damage.check_back()
    assert shop.query("SELECT mail FROM users WHERE id > 300") == [("new@example.org",)]
    assert shop.count("visits") > client.written


def test_a_bad_update_is_set_back_only_where_it_is_asked_for(shop: Shop) -> None:
    with shop.application() as client:
        damage = update_all(shop)
        none = run(shop, "restore", "latest", "--tables", "videos", exit_code=2)
        assert none.error["what"].startswith("NOTHING TO PUT BACK")
        assert "set 1 500 changed rows back" in none.error["why"]
        assert "--changed" in none.error["fix"]
        done = run(shop, "restore", "latest", "--tables", "videos", "--changed").document
        assert client.errors == []
    assert [effect["overwritten"] for effect in done["merged"]["effects"]] == [1500]
    damage.check_back()


def test_what_was_truncated_by_swap_while_the_application_is_kept_out(shop: Shop) -> None:
    with shop.application() as client:
        damage = truncate_all(shop)
        done = run(shop, "restore", "latest", "--swap", "--freeze").document
        assert any("permission denied" in error for error in client.errors)
        damage.check_back()
    incident = shop.site.run("incidents", "show", done["incident"], "--json").document
    assert (incident["state"], incident["frozen"]) == ("closed", [])
    assert damage.visits(done["swapped"]["kept_as"]) - damage.visits()


def test_a_dropped_column_with_the_value_that_new_rows_get(shop: Shop) -> None:
    with shop.application() as client:
        damage = drop_column(shop)
        value = ("--value", "public.users.plan=free")
        run(shop, "restore", "latest", "--tables", "users", *value)
        assert client.errors == []
    check_column(damage)


def test_a_corrupted_page_by_swap_and_what_only_the_damaged_one_had(shop: Shop) -> None:
    damage = spoil(shop)
    with shop.application():
        done = run(shop, "restore", "latest", "--swap").document
    kept = done["swapped"]["kept_as"]
    damage.check_back()
    only_before = damage.visits(kept)
    assert len(only_before) >= 500
    run(shop, "restore", kept, "--tables", "visits")
    assert only_before <= damage.visits()
    damage.check_back()
