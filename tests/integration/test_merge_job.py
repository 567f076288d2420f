"""Partial recovery by requests: planned, foretold, done, undone; every row checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.merge import LeftOut, Recreated, SampleValue
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.merge.staging import find_stagings
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.operations.merge_documents import choices_text, read_preview
from fsbackup_tui.operations.merge_requests import (
    ExportRequest,
    MergePlanRequest,
    MergePreviewRequest,
    MergeRequest,
    MergeUndoRequest,
)
from fsbackup_tui.operations.request import Request
from tests.support.merge_jobs import Recovery, changed, make_copy, make_recovery, planned
from tests.support.merging import choice, contents, public
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import address_of, session
from tests.support.swapping import oid_of
from tests.support.watched_worker import MODULES

SHOP = (
    "CREATE TABLE plans (code text PRIMARY KEY)",
    "INSERT INTO plans VALUES ('free'), ('paid')",
    "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " email text NOT NULL UNIQUE, name text, plan text NOT NULL DEFAULT 'free')",
    "ALTER TABLE users ADD CONSTRAINT plan_known FOREIGN KEY (plan) REFERENCES plans",
    "CREATE INDEX users_plan ON users (plan)",
    "CREATE TABLE videos (id serial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users"
    " ON DELETE CASCADE, title text NOT NULL, price numeric(9, 2))",
    "CREATE TABLE likes (user_id bigint REFERENCES users ON DELETE CASCADE, video_id int"
    " REFERENCES videos ON DELETE CASCADE, PRIMARY KEY (user_id, video_id))",
    "CREATE TABLE notes (id int PRIMARY KEY, user_id bigint REFERENCES users ON DELETE SET NULL)",
    "CREATE TABLE visits (at timestamptz, page text)",
    "INSERT INTO users (email, name, plan) SELECT 'u' || n || '@x', 'name ' || n,"
    " CASE WHEN n % 3 = 0 THEN 'paid' ELSE 'free' END FROM generate_series(1, 200) AS n",
    "INSERT INTO videos (user_id, title, price) SELECT 1 + n % 200, 'video ' || n, n"
    " FROM generate_series(1, 800) AS n",
    "INSERT INTO likes SELECT 1 + n % 200, n FROM generate_series(1, 800) AS n",
    "INSERT INTO notes SELECT n, n FROM generate_series(1, 200) AS n",
    "INSERT INTO visits SELECT '2026-11-01', 'page ' || n % 5 FROM generate_series(1, 20) AS n",
    "CREATE VIEW payers AS SELECT id, email FROM users WHERE plan = 'paid'",
    "CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, migration_name varchar(255),"
    " finished_at timestamptz, rolled_back_at timestamptz, started_at timestamptz)",
    "INSERT INTO _prisma_migrations VALUES ('1', '20260101_init', now(), NULL, now())",
)
TABLES = ("plans", "users", "videos", "likes", "notes", "visits")


@pytest.fixture
def shop(matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Recovery:
    return make_recovery(matrix_server, make_database, tmp_path, *SHOP)


@pytest.fixture
def worked(server: ScratchServer, make_database: MakeDatabase, tmp_path: Path) -> Recovery:
    """The same, where real workers do the jobs."""
    recovery = make_recovery(server, make_database, tmp_path, *SHOP)
    recovery.workers = True
    return recovery


def all_of(recovery: Recovery, *tables: str, copy: bool = False) -> list[object]:
    url = recovery.copy_url if copy else recovery.live_url
    return [contents(url, table) for table in tables or TABLES]


def test_a_delete_without_where_with_all_that_it_took_along(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    recovery = make_recovery(server, make_database, tmp_path, *SHOP)
    recovery.workers = True
    copy = f"{recovery.live}__from_point"
    recovery.damage("DROP TABLE _prisma_migrations")
    assert recovery.site.run("backup", "daily", "--json").exit_code == 0
    recovery.damage(
        "DELETE FROM users",
        "INSERT INTO users (email, name) SELECT 'new' || n || '@x', 'n' FROM generate_series(1, 9)"
        " AS n",
        "INSERT INTO videos (user_id, title) SELECT id, 'new' FROM users",
        "INSERT INTO users (email, name) VALUES ('u150@x', 'came back')",
    )
    assert recovery.site.run("restore", "latest", "--beside", copy, "--json").exit_code == 0
    try:
        check_delete(recovery, copy)
    finally:
        execute(server.url(), f'DROP DATABASE "{copy}"')


def check_delete(recovery: Recovery, copy: str) -> None:
    damaged = all_of(recovery)
    found = recovery.plan("users", copy=copy)
    users = found.plan.table(public("users"))
    assert users is not None
    assert (users.missing, users.changed, users.only_in_live) == (200, 0, 10)
    first = users.sample[0]
    assert (first.row_class, first.key) == ("missing", ("1",))
    assert SampleValue("email", "u1@x", None) in first.values
    newest = [row for row in users.sample if row.row_class == "only in live"]
    assert SampleValue("email", None, "new1@x") in newest[0].values
    assert {c.table[1]: (c.missing, c.overwrite) for c in found.choices} == {
        "users": (True, ()),
        "videos": (True, ()),
        "likes": (True, ()),
        "notes": (False, ("user_id",)),
    }
    assert found.preview is not None
    clash = LeftOut(public("users"), "missing", "clash", "users_email_key", 1, (("150",),))
    assert clash in found.preview.left_out
    merged = recovery.merge(found.staging, found.choices)
    assert {e.table[1]: (e.inserted, e.overwritten) for e in merged.effects} == {
        "users": (199, 0),
        "videos": (796, 0),
        "likes": (796, 0),
        "notes": (0, 199),
    }
    other = recovery.server.url(copy)
    for table, of in (
        ("users", "id"),
        ("videos", "user_id"),
        ("likes", "user_id"),
        ("notes", "id"),
    ):
        some = f"(SELECT * FROM {table} WHERE {of} <= 200 AND {of} <> 150)"
        assert contents(recovery.live_url, some) == contents(other, some)
    assert recovery.rows("SELECT count(*) FROM videos WHERE title = 'new'") == [(9,)]
    assert recovery.rows("SELECT name FROM users WHERE email = 'u150@x'") == [("came back",)]
    recovery.damage("INSERT INTO users (email) VALUES ('after@x')")
    recovery.damage("DELETE FROM users WHERE email = 'after@x'")
    recovery.undo(found.staging, merged)
    assert all_of(recovery) == damaged


def test_a_bad_update_gets_the_changed_columns_back_and_no_others(worked: Recovery) -> None:
    worked.damage(
        "UPDATE videos SET price = 0",
        "UPDATE videos SET title = 'renamed by its owner' WHERE id = 7",
        "INSERT INTO videos (user_id, title, price) VALUES (1, 'new', 5)",
    )
    damaged = all_of(worked)
    found = worked.plan("videos")
    videos = found.plan.table(public("videos"))
    assert videos is not None
    assert (videos.changed, videos.changed_columns) == (800, {"price": 800, "title": 1})
    (row,) = [row for row in videos.sample if row.key == ("1",)]
    assert row.values == (SampleValue("price", "1.00", "0.00"),)
    assert found.choices == ()  # nothing is missing; what is overwritten is a person's choice
    choices = (choice("videos", missing=False, overwrite=("price",)),)
    merged = worked.merge(found.staging, choices)
    assert merged.effects[0].overwritten == 800
    assert worked.rows("SELECT title, price FROM videos WHERE id = 7") == [
        ("renamed by its owner", 7)
    ]
    some = "(SELECT id, user_id, price FROM videos WHERE title <> 'new')"
    assert contents(worked.live_url, some) == contents(worked.copy_url, some)
    worked.undo(found.staging, merged)
    assert all_of(worked) == damaged


def test_a_truncate_with_all_that_it_took_along(worked: Recovery) -> None:
    worked.damage("TRUNCATE users CASCADE", "ALTER SEQUENCE users_id_seq RESTART")
    assert worked.rows("SELECT count(*) FROM notes") == [(0,)]
    damaged = all_of(worked)
    found = worked.plan("users")
    assert {c.table[1] for c in found.choices} == {"users", "videos", "likes"}
    # TRUNCATE asks no ON DELETE: the notes are gone as well, and named for themselves.
    everything = changed(found.choices, public("notes"), missing=True)
    merged = worked.merge(found.staging, everything)
    assert merged.left_out == ()
    assert merged.sequences[public("users_id_seq")] == 200
    assert all_of(worked) == all_of(worked, copy=True)
    worked.damage("INSERT INTO users (email) VALUES ('next@x')", "DELETE FROM users WHERE id = 201")
    worked.undo(found.staging, merged)
    assert all_of(worked) == damaged


def migrate(recovery: Recovery) -> None:
    recovery.damage(
        "ALTER TABLE users DROP COLUMN plan CASCADE",
        "INSERT INTO _prisma_migrations VALUES ('2', '20261122_drop_plan', now(), NULL, now())",
        "INSERT INTO users (email, name) SELECT 'new' || n || '@x', 'n'"
        " FROM generate_series(1, 40) AS n",
        "INSERT INTO videos (user_id, title) SELECT id, 'new' FROM users WHERE id > 200",
        "DELETE FROM users WHERE id <= 5",
    )


def test_a_dropped_column_comes_back_with_rows_born_since_and_goes_again(worked: Recovery) -> None:
    shape = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass"
        " UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename = 'users'"
        " UNION ALL SELECT column_default || is_nullable FROM information_schema.columns"
        " WHERE table_name = 'users' ORDER BY 1"
    )
    whole = worked.rows(shape)
    migrate(worked)
    damaged = all_of(worked)
    found = worked.plan("users")
    lost = {(d.kind, d.column): d for d in found.plan.drift if d.lost}
    assert set(lost) == {("column", "plan"), ("view", None)}
    column = lost["column", "plan"]
    assert (column.copy, column.default) == ("text NOT NULL", "'free'::text")
    assert (column.rows, column.rows_since, column.needs_value) == (195, 40, True)
    assert set(column.comes_along) == {"users_plan", "plan_known"}
    psql, resolve = found.document["resolve"]
    assert resolve == "npx prisma migrate resolve --rolled-back 20261122_drop_plan"
    assert psql.startswith('psql "$DATABASE_URL" -c ')
    assert any("20261122_drop_plan" in note for note in found.plan.notes)
    chosen = changed(found.choices, public("users"), columns=("plan",))
    problem = worked.problem(
        MergePreviewRequest("db", staging=found.staging, choices=choices_text(chosen))
    )
    assert problem.what.startswith("VALUE NEEDED: 40 rows of public.users")
    assert "'free'::text" in problem.fix
    chosen = changed(chosen, public("users"), values={"plan": "paid"})
    chosen = changed(chosen, public("payers"), recreate=True)
    merged = worked.merge(found.staging, chosen)
    assert set(merged.recreated) == {
        Recreated("column", public("users"), "plan", filled=200, rows_since=40),
        Recreated("view", public("payers"), None),
    }
    assert worked.rows(shape) == whole
    some = "(SELECT id, email, name, plan FROM users WHERE id <= 200)"
    assert contents(worked.live_url, some) == contents(worked.copy_url, some)
    assert worked.rows("SELECT DISTINCT plan FROM users WHERE id > 200") == [("paid",)]
    assert worked.rows("SELECT count(*) FROM videos WHERE title = 'new'") == [(40,)]
    assert worked.rows("SELECT count(*) FROM payers") == [(66 + 40,)]
    undone = worked.undo(found.staging, merged)
    assert {each.kind for each in undone.removed} == {"column", "view"}
    assert all_of(worked) == damaged
    assert worked.rows("SELECT to_regclass('payers')") == [(None,)]
    again = MergeUndoRequest("db", staging=found.staging, set_number=undone.set_number)
    assert "Plan the merge anew" in worked.problem(again).fix
    # Anew, under another name: the first is kept, as it undoes what was undone.
    anew = worked.plan("users")
    assert anew.staging != found.staging
    chosen = changed(anew.choices, public("users"), columns=("plan",), by_default=("plan",))
    worked.merge(anew.staging, chosen)
    assert worked.rows("SELECT DISTINCT plan FROM users WHERE id > 200") == [("free",)]


def test_dropped_tables_come_back_with_each_other_and_go_again(shop: Recovery) -> None:
    whole = all_of(shop)
    shape = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    )
    before = shop.rows(shape)
    shop.damage("DROP TABLE users, videos CASCADE")
    found = shop.plan("public.users", "videos")
    drift = {(d.kind, d.table[1]): d for d in found.plan.drift if d.lost}
    assert drift["table", "users"].rows == 200
    assert "public.likes: likes_user_id_fkey" in drift["table", "users"].comes_along
    assert set(drift) == {("table", "users"), ("table", "videos"), ("view", "payers")}
    assert [(c.table[1], c.recreate) for c in found.choices] == [("users", True), ("videos", True)]
    chosen = changed(found.choices, public("payers"), recreate=True)
    merged = shop.merge(found.staging, chosen)
    assert all_of(shop) == whole
    assert shop.rows(shape) == before
    assert shop.rows("SELECT count(*) FROM payers") == [(66,)]
    shop.damage("INSERT INTO users (email) VALUES ('next@x')")
    assert shop.rows("SELECT max(id) FROM users") == [(201,)]
    shop.undo(found.staging, merged)
    assert shop.rows("SELECT to_regclass('users'), to_regclass('payers')") == [(None, None)]
    kept = f'"{found.staging}".users'
    assert shop.rows(f"SELECT count(*) FROM {kept}") == [(201,)]
    assert all_of(shop, "likes", "notes", "visits") == whole[3:]


def test_lost_indexes_triggers_policies_and_constraints_are_listed_and_made_again(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    recovery = make_recovery(
        matrix_server,
        make_database,
        tmp_path,
        "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, n int CHECK (n > 0), up int)",
        "ALTER TABLE t ADD CONSTRAINT up_there FOREIGN KEY (up) REFERENCES t ON DELETE CASCADE",
        "CREATE INDEX t_n ON t (n) WHERE n > 5",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER told AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "ALTER TABLE t DISABLE TRIGGER told",
        "CREATE POLICY mine ON t AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (n > 1)"
        " WITH CHECK (n > 2)",
        "INSERT INTO t SELECT n, 'c' || n, n FROM generate_series(1, 9) AS n",
    )
    shape = (
        "SELECT indexdef FROM pg_indexes WHERE tablename = 't'"
        " UNION ALL SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger"
        " WHERE NOT tgisinternal"
        " UNION ALL SELECT concat_ws(' ', policyname, permissive, roles, cmd, qual, with_check)"
        " FROM pg_policies"
        " UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 't'::regclass ORDER BY 1"
    )
    whole = recovery.rows(shape)
    recovery.damage(
        "DROP INDEX t_n",
        "DROP TRIGGER told ON t",
        "DROP POLICY mine ON t",
        "ALTER TABLE t DROP CONSTRAINT t_code_key, DROP CONSTRAINT t_n_check,"
        " DROP CONSTRAINT up_there",
        "DELETE FROM t WHERE id = 4",
    )
    damaged = recovery.rows(shape)
    found = recovery.plan("t")
    lost = {(d.kind, d.column) for d in found.plan.drift}
    assert lost == {
        ("index", "t_n"),
        ("trigger", "told"),
        ("policy", "mine"),
        ("constraint", "t_code_key"),
        ("constraint", "t_n_check"),
        ("constraint", "up_there"),
    }
    merged = recovery.merge(found.staging, found.choices)
    assert len(merged.recreated) == 6
    assert recovery.rows(shape) == whole
    assert recovery.rows("SELECT code FROM t WHERE id = 4") == [("c4",)]
    recovery.undo(found.staging, merged)
    assert recovery.rows(shape) == damaged
    assert recovery.rows("SELECT count(*) FROM t") == [(8,)]


def test_a_condition_takes_rows_of_the_copy_and_what_belongs_to_them(shop: Recovery) -> None:
    shop.damage("DELETE FROM users")
    found = shop.plan("users", where="email ~ '^u[1-9]@' AND name <> 'a;b)' -- ours")
    users = found.plan.table(public("users"))
    assert users is not None
    assert (users.missing, users.filtered) == (200, 9)
    assert {row.key[0] for row in users.sample} <= {str(n) for n in range(1, 10)}
    merged = shop.merge(found.staging, found.choices)
    effects = {e.table[1]: e.inserted + e.overwritten for e in merged.effects}
    assert effects == {"users": 9, "videos": 36, "likes": 36, "notes": 9}
    some = "(SELECT * FROM users WHERE id < 10)"
    assert contents(shop.live_url, "users") == contents(shop.copy_url, some)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("true) OR (true", "closes a parenthesis"),
        ("true; DELETE FROM users", "semicolon"),
        ("email = 'x", "quote"),
        ("nowhere = 1", "nowhere"),
        ("id IN (SELECT nextval('users_id_seq'))", "read-only"),
    ],
)
def test_a_condition_that_is_none_is_refused_and_nothing_stays_staged(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, where: str, why: str
) -> None:
    recovery = make_recovery(server, make_database, tmp_path, *SHOP)
    recovery.damage("DELETE FROM notes WHERE id < 5", "DELETE FROM users WHERE id = 4")
    problem = recovery.problem(recovery.plan_request("users", where=where))
    assert problem.what.startswith("FILTER NOT UNDERSTOOD")
    assert why in problem.why
    assert stagings(recovery) == []


def stagings(recovery: Recovery) -> list[object]:
    rows = recovery.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fsbackup%'")
    return [name for (name,) in rows]


def test_rows_without_a_key_come_back_only_if_chosen(shop: Recovery) -> None:
    shop.damage(
        "DELETE FROM visits WHERE ctid IN (SELECT ctid FROM visits WHERE page = 'page 3' LIMIT 2)",
        "INSERT INTO visits VALUES (NULL, 'new'), (NULL, 'new')",
    )
    damaged = all_of(shop)
    found = shop.plan()
    visits = found.plan.table(public("visits"))
    assert visits is not None
    assert (visits.whole_rows, visits.missing, visits.only_in_live) == (True, 2, 2)
    assert found.choices == ()
    assert visits.sample[0].values[1] == SampleValue("page", "page 3", None)
    merged = shop.merge(found.staging, [choice("visits", delete_only_in_live=True)])
    assert all_of(shop) == all_of(shop, copy=True)
    shop.undo(found.staging, merged)
    assert all_of(shop) == damaged


def test_rows_that_only_live_has_are_exported_with_a_key_or_without(shop: Recovery) -> None:
    shop.incident = "1122-01"
    (shop.site.directory / "1122-01").mkdir()
    shop.damage("INSERT INTO visits VALUES (NULL, 'new')", "INSERT INTO plans VALUES ('big')")
    found = shop.plan()
    told = shop.result(ExportRequest("db", staging=found.staging))["tables"]
    files = {each["table"]: (each["rows"], Path(each["file"]).read_text()) for each in told}
    assert files == {
        "public.plans": (1, "code\nbig\n"),
        "public.visits": (1, "at,page\n,new\n"),
    }


def test_rows_without_a_key_that_came_or_went_since_are_not_guessed(shop: Recovery) -> None:
    shop.damage("DELETE FROM visits WHERE page IN ('page 1', 'page 2')")
    found = shop.plan()
    shop.damage("INSERT INTO visits VALUES ('2026-11-01', 'page 1')")
    preview = shop.preview(found.staging, [choice("visits")])
    assert preview.effects[0].inserted == 4
    (left,) = preview.left_out
    assert (left.reason, left.rows) == ("moved", 4)
    merged = shop.merge(found.staging, [choice("visits")])
    shop.damage("INSERT INTO visits VALUES ('2026-11-01', 'page 2')")
    undone = shop.undo(found.staging, merged)
    assert [(x.reason, x.rows) for x in undone.left_out] == [("moved", 4)]
    rows = "SELECT page, count(*) FROM visits WHERE page IN ('page 1', 'page 2') GROUP BY 1"
    assert sorted(shop.rows(rows)) == [("page 1", 1), ("page 2", 5)]


def test_rows_written_to_the_newer_database_are_merged_after_a_rollback(
    shop: Recovery, make_database: MakeDatabase
) -> None:
    """What was live is live again; what was written to the one between is missing in it."""
    after = f"{shop.live}__after_k3f9"
    make_copy(shop.server, make_database, shop.live, after)
    execute(
        shop.server.url(after),
        "INSERT INTO users (email, name) VALUES ('born@x', 'between')",
        "INSERT INTO videos (user_id, title) SELECT id, 'between' FROM users"
        " WHERE email = 'born@x'",
        "UPDATE users SET name = 'changed between' WHERE id = 3",
        "DELETE FROM users WHERE id = 9",
    )
    shop.damage("UPDATE users SET name = 'changed before' WHERE id = 4")
    found = shop.plan(copy=after)
    assert {c.table[1]: (c.missing, c.overwrite) for c in found.choices} == {
        "users": (True, ()),
        "videos": (True, ()),
    }
    merged = shop.merge(found.staging, found.choices)
    assert {e.table[1]: (e.inserted, e.overwritten, e.deleted) for e in merged.effects} == {
        "users": (1, 0, 0),
        "videos": (1, 0, 0),
    }
    rows = shop.rows("SELECT id, name FROM users WHERE id IN (3, 4, 9, 201) ORDER BY 1")
    assert rows == [
        (3, "name 3"),
        (4, "changed before"),
        (9, "name 9"),
        (201, "between"),
    ]
    shop.damage("INSERT INTO users (email) VALUES ('next@x')")
    assert shop.rows("SELECT max(id) FROM users") == [(202,)]


def test_what_was_done_already_is_done_and_a_second_undo_too(shop: Recovery) -> None:
    shop.damage("DELETE FROM notes WHERE id < 50")
    damaged = all_of(shop)
    found = shop.plan("notes")
    request = shop.merge_request(found.staging, found.choices)
    first = shop.result(request)["merged"]
    assert shop.result(request)["merged"] == first
    assert all_of(shop) == all_of(shop, copy=True)
    undo = MergeUndoRequest("db", staging=found.staging, set_number=1)
    told = shop.result(
        MergeUndoRequest("db", staging=found.staging, set_number=1, preview_only=True)
    )
    assert told["merged"] is None
    preview = read_preview(told["preview"])
    assert preview is not None
    assert preview.effects[0].deleted == 49
    assert all_of(shop) == all_of(shop, copy=True)
    once = shop.result(undo)["merged"]
    assert shop.result(undo)["merged"] == once
    assert all_of(shop) == damaged


def test_a_plan_made_anew_replaces_the_former_but_never_an_undo(shop: Recovery) -> None:
    shop.incident = "1122-01"
    shop.damage("DELETE FROM notes WHERE id < 50", "DELETE FROM visits")
    first = shop.plan("notes")
    second = shop.plan("notes", where="id < 9")
    assert first.staging == second.staging
    shop.merge(second.staging, second.choices)
    third = shop.plan()
    assert stagings(shop) == [second.staging, third.staging]


async def test_the_mark_tells_incident_and_job(shop: Recovery) -> None:
    shop.incident = "1122-01"
    shop.damage("DELETE FROM notes WHERE id < 50")
    found = shop.plan("notes")
    async with session(shop.live_url) as live:
        (left,) = await find_stagings(live)
    assert (left.schema, left.incident) == (found.staging, "1122-01")
    assert left.job == "20261122T020000Z-restore-k3f9"


async def test_another_database_another_server_and_another_restore_are_refused(
    shop: Recovery, make_database: MakeDatabase
) -> None:
    shop.damage("DELETE FROM notes WHERE id < 50")
    found = shop.plan("notes")
    request = shop.merge_request(found.staging, found.choices)
    before = all_of(shop)
    async with session(shop.server.url()) as admin:
        identity = await read_identity(admin, address_of(shop.server.url()))
        async with restore_lock(admin, identity, "fsbackup/another"):
            for busy in (
                request,
                MergeUndoRequest("db", staging=found.staging, set_number=1),
            ):
                assert shop.problem(busy).what.startswith("RESTORE RUNNING")
    wrong = oid_of(shop.server, shop.live) + 1
    for other, words in (
        (MergePlanRequest("db", copy=shop.copy, copy_oid=wrong), "ANOTHER DATABASE"),
        (MergePlanRequest("db", copy="nowhere", copy_oid=wrong), "DATABASE MISSING"),
        (
            MergeRequest(
                "db",
                staging=request.staging,
                choices=request.choices,
                expected=request.expected,
                live_oid=wrong,
            ),
            "ANOTHER DATABASE",
        ),
        (MergeRequest("db", staging=request.staging, choices=request.choices), "NOT UNDERSTOOD"),
        (MergeRequest("db", staging="public", choices="[]", expected=request.expected), "NOT OURS"),
    ):
        assert shop.problem(other).what.startswith(words)
    assert all_of(shop) == before


@pytest.fixture
def plain_owner(matrix_server: ScratchServer) -> Iterator[str]:
    execute(matrix_server.url(), "CREATE ROLE merge_job_owner LOGIN")
    yield "merge_job_owner"
    execute(matrix_server.url(), "DROP ROLE merge_job_owner")


def test_a_plain_owner_merges_partitions_with_triggers(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, plain_owner: str
) -> None:
    recovery = make_recovery(
        matrix_server,
        make_database,
        tmp_path,
        "CREATE TABLE events (id int, kind int, what text, PRIMARY KEY (id, kind))"
        " PARTITION BY LIST (kind)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1)",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES IN (2)",
        "INSERT INTO events SELECT n, 1 + n % 2, 'e' FROM generate_series(1, 100) AS n",
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'fired'; END$$",
        "CREATE TRIGGER never BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION never()",
        "ALTER TABLE events_2 DISABLE TRIGGER never",
        *(
            f"ALTER TABLE {name} OWNER TO {plain_owner}"
            for name in ("events", "events_1", "events_2")
        ),
    )
    execute(
        recovery.server.url(),
        f'GRANT ALL ON DATABASE "{recovery.live}" TO {plain_owner}',
    )
    recovery.site.url = recovery.server.url(recovery.live, user=plain_owner)
    recovery.damage("DELETE FROM events WHERE id <= 40")
    states = "SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger WHERE tgname = 'never'"
    states += " ORDER BY 1"
    before = recovery.rows(states)
    try:
        found = recovery.plan("events")
        merged = recovery.merge(found.staging, found.choices)
        assert len(merged.triggers_off) == 2
        assert all_of(recovery, "events") == all_of(recovery, "events", copy=True)
        assert recovery.rows(states) == before
        with pytest.raises(psycopg.errors.RaiseException, match="fired"):
            recovery.damage("INSERT INTO events VALUES (1000, 1, 'x')")
        recovery.undo(found.staging, merged)
        assert recovery.rows("SELECT count(*) FROM events") == [(60,)]
    finally:
        for url in (recovery.live_url, recovery.copy_url):
            execute(url, f"DROP OWNED BY {plain_owner} CASCADE")


def test_a_drills_copy_stands_in_for_live(shop: Recovery, make_database: MakeDatabase) -> None:
    drill = f"{shop.live}__drill"
    make_copy(shop.server, make_database, shop.live, drill)
    execute(shop.server.url(drill), "DELETE FROM notes WHERE id < 9")
    request = MergePlanRequest(
        "db", copy=shop.copy, copy_oid=oid_of(shop.server, shop.copy), database=drill
    )
    found = planned(shop.result(request))
    notes = found.plan.table(public("notes"))
    assert notes is not None
    assert notes.missing == 8
    assert stagings(shop) == []
    assert query(shop.server.url(drill), "SELECT nspname FROM pg_namespace WHERE nspname ~ '^fsb'")


def test_nothing_is_imported_in_mid_job(worked: Recovery) -> None:
    worked.damage("DELETE FROM users", "DROP TABLE notes")
    request: Request = worked.plan_request("users", "notes")
    for step in range(2):
        directory, process = worked.start(request, module="tests.support.watched_worker")
        process.wait(timeout=120)
        job = load_job(directory)
        assert job.problem is None, job.problem
        assert (directory / MODULES).read_text().split() == [], step
        if not step:
            found = planned(job.result)
            chosen = changed(found.choices, public("notes"), recreate=True)
            request = worked.merge_request(found.staging, chosen)
