"""Partial recovery by merge, end to end: the scenario of reference/ops.md o on real servers."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.merge import ALL_COLUMNS, LeftOut, TableEffect
from fsbackup_tui.domain.merge_proposal import propose
from fsbackup_tui.engines.postgres.merge.staging import (
    drop_staging,
    find_stagings,
    open_staging,
    read_sets,
)
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.benchmarks.merge import measure
from tests.support.merging import Pair, choice, contents, make_pair, merging, public
from tests.support.servers import MakeDatabase, execute, query

SHOP = (
    "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " email text NOT NULL UNIQUE, name text, at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE videos (id serial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users"
    " ON DELETE CASCADE, title text NOT NULL)",
    "CREATE TABLE likes (user_id bigint REFERENCES users ON DELETE CASCADE, video_id int"
    " REFERENCES videos ON DELETE CASCADE, stars real, PRIMARY KEY (user_id, video_id))",
    "CREATE TABLE notes (id int PRIMARY KEY, user_id bigint REFERENCES users ON DELETE SET NULL,"
    " body text)",
    "CREATE TABLE audit (id bigserial PRIMARY KEY, what text)",
    "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN INSERT INTO public.audit (what) VALUES (TG_OP); RETURN NULL; END$$",
    "INSERT INTO users (email, name, at) SELECT 'u' || n || '@x', 'name ' || n,"
    " '2026-11-01'::timestamptz + n * interval '1 minute' FROM generate_series(1, 500) AS n",
    "INSERT INTO videos (user_id, title) SELECT 1 + n % 500, 'video ' || n"
    " FROM generate_series(1, 2000) AS n",
    "INSERT INTO likes SELECT 1 + n % 500, n, n / 7.0::real FROM generate_series(1, 2000) AS n",
    "INSERT INTO notes SELECT n, n, 'note ' || n FROM generate_series(1, 500) AS n",
    "CREATE TRIGGER audit_users AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW"
    " EXECUTE FUNCTION tell()",
    "CREATE MATERIALIZED VIEW user_count AS SELECT count(*) FROM users",
)
DAMAGE = (
    "DELETE FROM videos WHERE id = 2000",  # on purpose, before; its user lives on
    "UPDATE users SET name = 'renamed by its owner' WHERE id = 400",
    "DELETE FROM users WHERE id BETWEEN 100 AND 199",
    "INSERT INTO users (email, name) SELECT 'new' || n || '@x', 'n' FROM generate_series(1, 31) n",
    "INSERT INTO users (email, name) VALUES ('u150@x', 'came back')",
    "ANALYZE",
)


@pytest.fixture
def server(matrix_server: ScratchServer) -> ScratchServer:
    """Stand in for the one shared server: every major that this run covers."""
    return matrix_server


@pytest.fixture
def shop(matrix_server: ScratchServer, make_database: MakeDatabase) -> Pair:
    pair = make_pair(make_database, matrix_server, *SHOP)
    pair.damage(*DAMAGE)
    return pair


async def test_rows_lost_by_cascade_come_back_and_the_clash_is_reported(shop: Pair) -> None:
    audit = contents(shop.live, "audit")
    async with merging(shop, tables=[public("users")]) as merge:
        users = merge.plan.table(public("users"))
        assert users is not None
        assert (users.missing, users.changed, users.only_in_live) == (100, 1, 32)
        assert (users.rows_in_copy, users.rows_in_live) == (500, 432)
        assert users.changed_columns == {"name": 1}
        assert users.triggers == ("public.users: audit_users",)
        assert merge.plan.refused == {}
        proposed = propose(merge.plan, [public("users")])
        chosen = {p.choice.table[1]: p.choice for p in proposed}
        assert set(chosen) == {"users", "videos", "likes", "notes"}
        assert chosen["notes"].overwrite == ("user_id",)
        assert not chosen["notes"].missing
        preview = await merge.preview(*chosen.values())
        assert {e.table[1]: (e.inserted, e.overwritten) for e in preview.effects} == {
            "users": (99, 0),
            "videos": (396, 0),
            "likes": (396, 0),
            "notes": (0, 99),
        }
        left = {(x.table[1], x.row_class, x.reason, x.name): x for x in preview.left_out}
        clash = left["users", "missing", "clash", "users_email_key"]
        assert clash == LeftOut(
            public("users"), "missing", "clash", "users_email_key", 1, (("150",),)
        )
        assert clash.text == "another row has what must be unique: users_email_key"
        assert left["videos", "missing", "no parent", "videos_user_id_fkey"].rows == 4
        assert left["videos", "missing", "unrelated", ""].sample == (("2000",),)
        assert left["notes", "changed", "no parent", "notes_user_id_fkey"].rows == 1
        merged = await merge.apply(*chosen.values())
    assert merged.triggers_off == ("public.users: audit_users",)
    assert merged.stale == (public("user_count"),)
    lost = "id <> 150 AND id BETWEEN 100 AND 199"
    for table, what in (
        ("users", lost),
        ("videos", f"user_id IN (SELECT id FROM users WHERE {lost})"),
        ("likes", f"user_id IN (SELECT id FROM users WHERE {lost})"),
        ("notes", "id <> 150"),
    ):
        some = f"(SELECT * FROM {table} WHERE {what})"
        assert contents(shop.live, some) == contents(shop.copy, some)
    assert shop.rows("SELECT name FROM users WHERE id = 400") == [("renamed by its owner",)]
    assert shop.rows("SELECT count(*) FROM users WHERE email LIKE 'new%'") == [(31,)]
    assert shop.rows("SELECT id FROM videos WHERE id = 2000 OR user_id = 150") == []
    assert contents(shop.live, "audit") == audit
    shop.damage("INSERT INTO users (email) VALUES ('after@x')")
    assert len(contents(shop.live, "audit")) == len(audit) + 1


async def test_undo_brings_back_exactly_what_was_and_undoing_that_the_merge(shop: Pair) -> None:
    tables = ("users", "videos", "likes", "notes", "audit")
    before = [contents(shop.live, table) for table in tables]
    async with merging(shop) as merge:
        choices = [
            choice("users", overwrite=ALL_COLUMNS, delete_only_in_live=True),
            choice("videos"),
            choice("likes"),
            choice("notes", overwrite=ALL_COLUMNS),
        ]
        merged = await merge.apply(*choices)
        # With the new rows gone, nothing clashes: live is what the copy is.
        assert shop.same("users", "videos", "likes", "notes")
        assert sum(e.deleted for e in merged.effects) == 32
        assert merged.left_out == ()
        undone = await merge.undo(merged)
        assert [contents(shop.live, table) for table in tables] == before
        assert undone.left_out == ()
        with pytest.raises(SafetyRefusal, match="UNDONE ALREADY"):
            await merge.undo(merged)
        again = await merge.undo(undone)
        assert shop.same("users", "videos", "likes", "notes")
        await merge.undo(again)
    assert [contents(shop.live, table) for table in tables] == before


async def test_undo_leaves_what_was_written_since_unless_chosen(shop: Pair) -> None:
    shop.damage("DELETE FROM users WHERE email = 'u150@x'")
    async with merging(shop) as merge:
        merged = await merge.apply(
            choice("users", overwrite=("name",)), choice("videos"), choice("likes")
        )
        assert merged.left_out == ()
        shop.damage(
            "UPDATE users SET name = 'wrote since' WHERE id IN (101, 400)",
            "INSERT INTO notes VALUES (9001, 102, 'refers to one that came back')",
            "DELETE FROM users WHERE id = 103",
        )
        undone = await merge.undo(merged)
        left = {(x.table[1], x.row_class, x.reason, x.name): x.rows for x in undone.left_out}
        assert left["users", "only in live", "moved", ""] == 2  # 101, 103
        assert left["users", "changed", "moved", ""] == 1
        assert left["users", "only in live", "has children", "notes_user_id_fkey"] == 1
        assert ("videos", "only in live", "has children", "likes_video_id_fkey") not in left
        kept = shop.rows("SELECT id, name FROM users WHERE id BETWEEN 100 AND 199 OR id = 400")
        assert sorted(kept) == [
            (101, "wrote since"),
            (102, "name 102"),
            (400, "wrote since"),
        ]
        assert shop.rows("SELECT count(*) FROM videos WHERE user_id BETWEEN 100 AND 199") == [(0,)]


async def test_undo_overwrites_later_writes_if_that_is_chosen(shop: Pair) -> None:
    async with merging(shop) as merge:
        merged = await merge.apply(choice("users", missing=False, overwrite=("name",)))
        assert merged.effects == (TableEffect(public("users"), 0, 1, 0),)
        shop.damage("UPDATE users SET name = 'wrote since' WHERE id = 400")
        await merge.undo(merged, including_moved=True)
        assert shop.rows("SELECT name FROM users WHERE id = 400") == [("renamed by its owner",)]


async def test_the_staging_schema_is_found_by_its_mark_and_dropped_by_name(shop: Pair) -> None:
    execute(shop.live, "CREATE SCHEMA fsbackup_merge_of_somebody")
    async with merging(shop, tables=[public("notes")]) as merge:
        await merge.apply(choice("users"))
        schema = merge.staging.schema
        (found,) = await find_stagings(merge.live)
        assert (found.schema, found.incident) == (schema, merge.staging.incident)
        assert found.bytes > 0
        assert await open_staging(merge.live, schema) == merge.staging
        assert [s.number for s in await read_sets(merge.live, merge.staging)] == [0, 1]
        with pytest.raises(SafetyRefusal, match="NOT OURS"):
            await drop_staging(merge.live, "fsbackup_merge_of_somebody")
        await drop_staging(merge.live, schema)
        assert await find_stagings(merge.live) == ()
    assert query(shop.live, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fsbackup%'") == [
        ("fsbackup_merge_of_somebody",)
    ]


async def test_tens_of_thousands_of_rows_as_the_benchmark_has_millions(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    figures = await measure(make_database(server), make_database(server), 20_000)
    assert figures.rows == 800
    assert figures.as_in_copy
    assert figures.as_before
