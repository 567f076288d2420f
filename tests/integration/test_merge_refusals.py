"""What a merge leaves out, and when it does nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from fsbackup_tui.domain.errors import (
    LockHeld,
    PostgresError,
    RightsMissing,
    SafetyRefusal,
    TableLocked,
    UsageError,
)
from fsbackup_tui.domain.merge import ALL_COLUMNS, Drift
from fsbackup_tui.domain.merge_proposal import propose
from fsbackup_tui.engines.postgres.merge import changing
from fsbackup_tui.engines.postgres.merge.merging import apply_merge, preview_merge
from fsbackup_tui.engines.postgres.merge.planning import narrow, plan_merge
from fsbackup_tui.engines.postgres.merge.staging import create_staging, read_sets
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.merging import Pair, choice, contents, ignore, make_pair, merging, public
from tests.support.servers import MakeDatabase, execute
from tests.support.sessions import session

ITEMS = (
    "CREATE TABLE items (id int PRIMARY KEY, code text, a int, b int, at date)",
    "CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items ON DELETE CASCADE)",
    "INSERT INTO items SELECT n, 'c' || n, n, n, date '2026-01-01' + n"
    " FROM generate_series(1, 100) AS n",
    "INSERT INTO parts SELECT n, n FROM generate_series(1, 100) AS n",
)


@pytest.fixture
def server(matrix_server: ScratchServer) -> ScratchServer:
    """Stand in for the one shared server: every major that this run covers."""
    return matrix_server


@pytest.fixture
def items(server: ScratchServer, make_database: MakeDatabase) -> Pair:
    return make_pair(make_database, server, *ITEMS)


@pytest.mark.parametrize(
    ("index", "clashing", "out"),
    [
        ("(code)", "(200, 'c5', 0, 0)", {5}),
        ("(lower(code))", "(200, 'C5', 0, 0)", {5}),
        ("(code) WHERE a < 8", "(200, 'c5', 0, 0), (201, 'c9', 9, 0)", {5}),
        ("(code) WHERE a < 8", "(200, 'c5', 50, 0)", set()),
        ("(a, b) NULLS NOT DISTINCT", "(200, '', NULL, 5), (201, '', 6, 6)", {5, 6}),
        ("(a, b)", "(200, '', NULL, 5), (201, '', 6, 6)", {6}),
    ],
)
async def test_a_unique_key_that_is_taken_keeps_the_row_and_its_children_out(
    items: Pair, server: ScratchServer, index: str, clashing: str, out: set[int]
) -> None:
    if "NOT DISTINCT" in index and server.version_num < 150000:
        index, out = index.removesuffix(" NULLS NOT DISTINCT"), {6}
    if "NOT DISTINCT" in index:
        for url in (items.live, items.copy):
            execute(url, "UPDATE items SET a = NULL WHERE id = 5")
    items.damage(
        f"CREATE UNIQUE INDEX taken ON items {index}",
        "DELETE FROM items WHERE id BETWEEN 4 AND 9",
        f"INSERT INTO items (id, code, a, b) VALUES {clashing}",
    )
    await put_back_without(items, out)


async def put_back_without(items: Pair, out: set[int]) -> None:
    """Merge 4 to 9, of which these clash and stay out with their parts; and undo it."""
    async with merging(items) as merge:
        merged = await merge.apply(choice("items"), choice("parts"))
        left = {(x.table[1], x.reason, x.name): x.rows for x in merged.left_out}
        clashes = {
            ("items", "clash", "taken"): len(out),
            ("parts", "no parent", "parts_item_fkey"): len(out),
        }
        assert left == (clashes if out else {})
        found = items.rows("SELECT id FROM items WHERE id BETWEEN 4 AND 9 ORDER BY 1")
        assert {int(str(row[0])) for row in found} == set(range(4, 10)) - out
        assert found == items.rows("SELECT item FROM parts WHERE id BETWEEN 4 AND 9 ORDER BY 1")
        before = contents(items.live, "items")
        await merge.undo(await merge.undo(merged))
        assert contents(items.live, "items") == before


async def test_an_excluding_constraint_keeps_rows_out_as_well(items: Pair) -> None:
    execute(items.copy, "UPDATE items SET a = a * 10")
    items.damage(
        "UPDATE items SET a = a * 10",
        "DELETE FROM items WHERE id BETWEEN 4 AND 9",
        "ALTER TABLE items ADD CONSTRAINT taken EXCLUDE USING gist"
        " (int4range(a, a + 5) WITH &&) WHERE (b < 1000)",
        "INSERT INTO items (id, a, b) VALUES (200, 53, 0), (201, 64, 0), (202, 70, 1000)",
    )
    await put_back_without(items, {5, 6})


async def test_overwriting_can_bring_a_row_under_an_index_that_holds_for_some(
    items: Pair,
) -> None:
    items.damage(
        "UPDATE items SET b = 1000 WHERE id = 5",
        "CREATE UNIQUE INDEX taken ON items (code) WHERE b < 1000",
        "INSERT INTO items (id, code, b) VALUES (200, 'c5', 0)",
    )
    async with merging(items) as merge:
        preview = await merge.preview(choice("items", overwrite=("b",)))
        assert [(x.reason, x.name) for x in preview.left_out] == [("clash", "taken")]


async def test_a_row_that_got_another_parent_since_keeps_it(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE users (id int PRIMARY KEY)",
        "CREATE TABLE notes (id int PRIMARY KEY, owner int REFERENCES users ON DELETE SET NULL,"
        " reader int DEFAULT 1 REFERENCES users ON DELETE SET DEFAULT, body text)",
        "INSERT INTO users SELECT generate_series(1, 9)",
        "INSERT INTO notes SELECT n, n, n, 'b' FROM generate_series(1, 9) AS n",
    )
    pair.damage(
        "DELETE FROM users WHERE id > 4",
        "UPDATE notes SET owner = 2 WHERE id = 5",
        "UPDATE notes SET reader = 3 WHERE id = 6",
        "UPDATE notes SET body = 'new' WHERE id = 7",
    )
    async with merging(pair) as merge:
        links = {link.key.name: link.unlinked for link in merge.plan.links}
        assert links == {"notes_owner_fkey": 4, "notes_reader_fkey": 4}
        proposed = {p.choice.table[1]: p.choice for p in propose(merge.plan, [public("users")])}
        chosen = [
            choice("users"),
            choice("notes", missing=False, overwrite=("owner", "reader"), narrow=("with parents",)),
        ]
        assert [proposed["users"], proposed["notes"]] == chosen
        merged = await merge.apply(*chosen)
        (left,) = merged.left_out
        assert (left.reason, left.sample) == ("unrelated", (("5",), ("6",)))
        assert pair.rows("SELECT * FROM notes WHERE id > 4 ORDER BY id") == [
            (5, 2, 1, "b"),
            (6, None, 3, "b"),
            (7, 7, 7, "new"),
            (8, 8, 8, "b"),
            (9, 9, 9, "b"),
        ]


async def test_overwriting_respects_unique_keys_and_those_who_refer(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE, place int,"
        " CONSTRAINT place_once UNIQUE (place) DEFERRABLE)",
        "CREATE TABLE refers (id int PRIMARY KEY, email text REFERENCES t (email)"
        " ON UPDATE CASCADE)",
        "INSERT INTO t SELECT n, 'e' || n, n FROM generate_series(1, 20) AS n",
        "INSERT INTO refers VALUES (1, 'e1'), (2, 'e2')",
    )
    pair.damage(
        "UPDATE t SET email = 'wrong' || id WHERE id IN (1, 3, 4)",  # refers follows 1
        "INSERT INTO t VALUES (30, 'e4', 30)",
        "UPDATE t SET place = 21 - place WHERE id <= 20",
    )
    async with merging(pair) as merge:
        merged = await merge.apply(choice("t", overwrite=ALL_COLUMNS))
        assert {(x.reason, x.name): x.sample for x in merged.left_out} == {
            ("has children", "refers_email_fkey"): (("1",),),
            ("clash", "t_email_key"): (("4",),),
            # The places that 1 and 4 keep: the others may change theirs with each other.
            ("clash", "place_once"): (("17",), ("20",)),
        }
        rows = pair.rows("SELECT id, email, place FROM t WHERE id IN (1, 3, 4) ORDER BY id")
        assert rows == [(1, "wrong1", 20), (3, "e3", 3), (4, "wrong4", 17)]
        assert pair.rows("SELECT email FROM refers ORDER BY id") == [("wrong1",), ("e2",)]


async def test_a_row_that_others_refer_to_is_not_deleted(items: Pair) -> None:
    items.damage(
        "INSERT INTO items (id) VALUES (200), (201)", "INSERT INTO parts VALUES (200, 200)"
    )
    async with merging(items) as merge:
        merged = await merge.apply(choice("items", delete_only_in_live=True))
        (left,) = merged.left_out
        assert (left.reason, left.name, left.sample) == (
            "has children",
            "parts_item_fkey",
            (("200",),),
        )
        assert items.rows("SELECT id FROM items WHERE id >= 200") == [(200,)]
        both = [choice(name, delete_only_in_live=True) for name in ("items", "parts")]
        merged = await merge.apply(*both)
        assert sum(effect.deleted for effect in merged.effects) == 2
        assert items.same("items", "parts")


async def test_drift_is_listed_and_values_are_asked_for(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (id int PRIMARY KEY, gone text, n int, s text)",
        "CREATE TABLE dropped (id int PRIMARY KEY)",
        "INSERT INTO t SELECT n, 'g', n, n::text FROM generate_series(1, 30) AS n",
    )
    pair.damage(
        "DELETE FROM t WHERE id BETWEEN 3 AND 7",
        "DROP TABLE dropped",
        "ALTER TABLE t DROP COLUMN gone, ALTER COLUMN n TYPE bigint,"
        " ALTER COLUMN s TYPE int USING s::int",
        "ALTER TABLE t ADD COLUMN needed varchar(5)",
        "UPDATE t SET needed = 'old'",
        "ALTER TABLE t ALTER COLUMN needed SET NOT NULL",
        "ALTER TABLE t ADD COLUMN filled int NOT NULL DEFAULT 4",
        "UPDATE t SET n = -1 WHERE id = 20",
    )
    async with merging(pair) as merge:
        assert set(merge.plan.drift) == {
            Drift("table", public("dropped"), None, "a table", None, rows=0),
            Drift("column", public("t"), "gone", "text", None, rows=25, rows_since=0),
            Drift("type", public("t"), "n", "integer", "bigint"),
            Drift("type", public("t"), "s", "text", "integer"),
            Drift("column", public("t"), "needed", None, "character varying(5) NOT NULL", True),
            Drift("column", public("t"), "filled", None, "integer NOT NULL"),
        }
        assert merge.plan.refused == {public("dropped"): "live has no such table"}
        (table,) = merge.plan.tables
        assert (table.missing, table.changed, table.columns) == (5, 1, ("id", "n", "s"))
        with pytest.raises(UsageError, match="VALUE NEEDED") as raised:
            await merge.preview(choice("t"))
        assert "needed" in raised.value.what
        for wrong in ("gone", "id", "nowhere"):
            with pytest.raises(UsageError, match="NO SUCH COLUMN"):
                await merge.preview(choice("t", values={wrong: "1"}))
        with pytest.raises(PostgresError, match=r"NOT MERGED. Nothing changed"):
            await merge.apply(choice("t", values={"needed": "much too long"}))
        merged = await merge.apply(choice("t", overwrite=("n",), values={"needed": "it's"}))
        rows = pair.rows("SELECT id, n, s, needed, filled FROM t WHERE id IN (5, 20) ORDER BY 1")
        assert rows == [(5, 5, 5, "it's", 4), (20, 20, 20, "old", 4)]
        await merge.undo(merged)
        assert pair.rows("SELECT count(*), min(n) FROM t") == [(25, -1)]


async def test_values_that_do_not_fit_any_more_keep_their_table_out_and_no_other(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE a (id int PRIMARY KEY, s text)",
        "CREATE TABLE b (id int PRIMARY KEY, s text)",
        "INSERT INTO a VALUES (1, 'not a number'), (2, '2')",
        "INSERT INTO b VALUES (1, 'not a number'), (2, '2')",
    )
    pair.damage(
        "DELETE FROM a WHERE id = 1",
        "DELETE FROM b WHERE id = 1",
        "ALTER TABLE a ALTER s TYPE int USING s::int",
    )
    async with merging(pair) as merge:
        assert "not a number" in merge.plan.refused[public("a")]
        await merge.apply(choice("b"))
    assert pair.same("b")


async def test_a_comparison_that_was_ended_is_begun_again(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 10")
    async with merging(items) as merge:
        execute(
            items.live,
            sql.SQL("DELETE FROM {}").format(sql.Identifier(merge.staging.schema, "sets")),
        )
        plan = await plan_merge(merge.copy, merge.live, merge.staging, report=ignore)
        assert plan == merge.plan
        await merge.apply(choice("items"), choice("parts"))
        assert items.same("items", "parts")


async def test_a_filter_is_about_the_copys_rows_and_can_do_no_harm(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 40", "UPDATE items SET b = 0 WHERE id > 90")
    async with merging(items) as merge:
        table = public("items")

        async def filtered(where: str | None) -> int:
            return await narrow(merge.copy, merge.live, merge.staging, table, where)

        assert await filtered("at < '2026-01-11' OR items.id = 95 -- the rest is right") == 10
        preview = await merge.preview(choice("items", overwrite=ALL_COLUMNS), choice("parts"))
        effects = {e.table[1]: (e.inserted, e.overwritten) for e in preview.effects}
        assert effects == {"items": (9, 1), "parts": (9, 0)}
        for bad in (
            "nowhere = 1",
            "a / 0 > 1",
            "true) TO STDOUT; DROP TABLE items; --",
            "true); DELETE FROM items; SELECT (1",
            "id IN (SELECT setval('s', 1))",
        ):
            with pytest.raises(UsageError, match="FILTER NOT UNDERSTOOD"):
                await filtered(bad)
        assert await filtered(None) == 50
        assert await filtered("id = 1 OR NULL") == 1
        with pytest.raises(UsageError, match="NOT BOTH"):
            await merge.preview(choice("items", delete_only_in_live=True))
        merged = await merge.apply(choice("items"), choice("parts"))
        assert [effect.inserted for effect in merged.effects] == [1, 1]


async def test_parents_that_named_rows_need_come_along_and_no_more(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 10", "INSERT INTO items (id) VALUES (3)")
    async with merging(items, tables=[public("parts")]) as merge:
        await narrow(merge.copy, merge.live, merge.staging, public("parts"), "id < 5")
        proposed = propose(merge.plan, [public("parts")])
        assert {p.choice.table[1]: p.choice.narrow for p in proposed} == {
            "items": ("needed",),
            "parts": (),
        }
        merged = await merge.apply(*(p.choice for p in proposed))
        assert {e.table[1]: e.inserted for e in merged.effects} == {"items": 3, "parts": 4}
        assert items.rows("SELECT id FROM items WHERE id < 11 ORDER BY 1") == [
            (1,),
            (2,),
            (3,),
            (4,),
        ]


async def test_what_changed_since_the_preview_is_not_merged(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 10", "UPDATE items SET b = 0 WHERE id > 90")
    chosen = [choice("items", overwrite=("b",))]
    async with merging(items) as merge:
        for write, reason in (
            ("UPDATE items SET a = 7 WHERE id = 95", ("changed", "moved")),
            ("INSERT INTO items (id) VALUES (4)", ("missing", "moved")),
        ):
            preview = await merge.preview(*chosen)
            items.damage(write)
            with pytest.raises(SafetyRefusal, match="live changed since") as raised:
                await apply_merge(merge.live, merge.staging, chosen, preview)
            assert "public.items" in raised.value.why
            left = (await merge.preview(*chosen)).left_out
            assert reason in {(x.row_class, x.reason) for x in left}
        # Rows that nobody chose may come and go.
        preview = await merge.preview(*chosen)
        items.damage("INSERT INTO items (id) VALUES (500)", "DELETE FROM items WHERE id = 50")
        merged = await apply_merge(merge.live, merge.staging, chosen, preview)
        assert [(e.inserted, e.overwritten) for e in merged.effects] == [(9, 9)]


async def test_writers_wait_for_the_commit_and_a_locked_table_is_told(
    items: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.damage("DELETE FROM items WHERE id <= 10")
    chosen = [choice("items"), choice("parts")]
    monkeypatch.setattr(changing, "LOCK_SECONDS", 1)
    async with merging(items) as merge:
        preview = await merge.preview(*chosen)
        with psycopg.connect(items.live) as writer:
            writer.execute("UPDATE items SET b = b + 1 WHERE id = 60")
            with pytest.raises(TableLocked, match="Nothing changed"):
                await apply_merge(merge.live, merge.staging, chosen, preview)
        seen: list[str] = []

        async def while_locked() -> None:
            with psycopg.connect(items.live, autocommit=True) as other:
                other.execute("SET lock_timeout = '200ms'")
                seen.append(str(other.execute("SELECT count(*) FROM items").fetchall()))
                try:
                    other.execute("INSERT INTO items (id) VALUES (5)")
                except psycopg.errors.LockNotAvailable:
                    seen.append("waits")
            async with session(items.live) as second:
                try:
                    await apply_merge(second, merge.staging, chosen, preview)
                except LockHeld as error:
                    seen.append(error.what)

        await apply_merge(merge.live, merge.staging, chosen, preview, on_ready=while_locked)
        assert seen[:2] == ["[(90,)]", "waits"]
        assert seen[2].startswith("MERGE RUNNING")
        assert items.rows("SELECT count(*) FROM items") == [(100,)]


async def test_a_merge_that_ends_before_its_commit_did_nothing(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 10", "CREATE SEQUENCE s OWNED BY items.id")
    before = [contents(items.live, table) for table in ("items", "parts")]
    chosen = [choice("items"), choice("parts")]

    async def cancel() -> None:
        raise asyncio.CancelledError

    async def kill() -> None:
        execute(
            items.live,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'",
        )

    async with merging(items) as merge:
        preview = await merge.preview(*chosen)
        with pytest.raises(asyncio.CancelledError):
            await apply_merge(merge.live, merge.staging, chosen, preview, on_ready=cancel)
        with pytest.raises(PostgresError, match="MERGE UNSURE"):
            await apply_merge(merge.live, merge.staging, chosen, preview, on_ready=kill)
        async with session(items.live) as live:
            assert [s.number for s in await read_sets(live, merge.staging)] == [0]
            assert [contents(items.live, table) for table in ("items", "parts")] == before
            assert items.rows("SELECT last_value FROM s") == [(1,)]
            merged = await apply_merge(
                live, merge.staging, chosen, await preview_merge(live, merge.staging, chosen)
            )
        assert merged.sequences == {public("s"): 10}
        assert items.same("items", "parts")


async def test_rows_touched_beside_the_foretold_ones_undo_it_all(items: Pair) -> None:
    items.damage(
        "DELETE FROM items WHERE id <= 10",
        "CREATE TABLE log (x int)",
        "CREATE FUNCTION logs() RETURNS int LANGUAGE sql AS"
        " 'INSERT INTO public.log VALUES (1); SELECT 1'",
        "ALTER TABLE items ADD COLUMN extra int",
        "ALTER TABLE items ALTER COLUMN extra SET DEFAULT logs()",
    )
    async with merging(items) as merge:
        with pytest.raises(PostgresError, match="other rows than foretold") as raised:
            await merge.apply(choice("items"))
        assert "public.log: 10 rows in" in raised.value.why
        assert items.rows("SELECT count(*) FROM log") == [(0,)]
        assert items.rows("SELECT count(*) FROM items") == [(90,)]


async def test_what_a_rule_or_row_security_would_rewrite_is_refused(items: Pair) -> None:
    items.damage(
        "CREATE RULE r AS ON INSERT TO parts DO INSTEAD NOTHING", "DELETE FROM parts WHERE id < 5"
    )
    async with merging(items) as merge:
        assert "rules" in merge.plan.refused[public("parts")]


@pytest.fixture
def owner(server: ScratchServer) -> Iterator[str]:
    execute(server.url(), "CREATE ROLE merge_owner LOGIN")
    yield "merge_owner"
    execute(server.url(), "DROP ROLE merge_owner")


async def test_a_plain_owner_may_merge_and_another_is_told_what_it_lacks(
    items: Pair, owner: str, make_database: MakeDatabase
) -> None:
    name = items.live.partition("?")[0].rpartition("/")[2]
    items.damage(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$",
        "DELETE FROM items WHERE id <= 10",
        "CREATE TRIGGER never BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION never()",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON items, parts TO {owner}",
    )
    try:
        with pytest.raises(RightsMissing, match="NOTHING STAGED"):
            async with merging(items, as_role=owner):
                pass
        execute(items.live, f"GRANT CREATE ON DATABASE {name} TO {owner}")
        async with merging(items, as_role=owner) as merge:
            with pytest.raises(RightsMissing, match="NOT MERGED"):
                await merge.apply(choice("items"))
            items.damage(
                f"ALTER TABLE items OWNER TO {owner}", f"ALTER TABLE parts OWNER TO {owner}"
            )
            merged = await merge.apply(choice("items"), choice("parts"))
            assert items.same("items", "parts")
            await merge.undo(merged)
    finally:
        execute(items.live, f"DROP OWNED BY {owner} CASCADE")


async def test_staged_rows_that_a_crash_emptied_are_missed(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 10")
    async with merging(items) as merge:
        staged = sql.Identifier(merge.staging.schema, "s0_rows_1")
        execute(items.live, sql.SQL("TRUNCATE {}").format(staged))
        with pytest.raises(PostgresError, match="STAGED ROWS LOST"):
            await merge.preview(choice("items"))


async def test_where_all_tables_are_published_nothing_of_ours_is(items: Pair) -> None:
    items.damage("CREATE PUBLICATION everything FOR ALL TABLES", "DELETE FROM items WHERE id < 9")
    async with merging(items) as merge:
        assert not merge.staging.crash_safe
        assert "a crash" in merge.plan.notes[0]
        merged = await merge.apply(choice("items"), choice("parts"))
        logged = items.rows(
            "SELECT relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE nspname LIKE 'fsbackup%' AND relkind = 'r' AND relpersistence = 'p'"
        )
        assert logged == []
        await merge.undo(merged)
        assert items.rows("SELECT count(*) FROM items") == [(92,)]


async def test_a_second_comparison_and_a_missing_table_are_refused(items: Pair) -> None:
    items.damage("DELETE FROM items WHERE id <= 10")
    async with merging(items) as merge:
        with pytest.raises(SafetyRefusal, match="ALREADY STAGED"):
            await plan_merge(merge.copy, merge.live, merge.staging, report=ignore)
        with pytest.raises(SafetyRefusal, match="ALREADY STAGED"):
            await create_staging(merge.live, merge.staging.incident)
        with pytest.raises(UsageError, match="NOTHING STAGED"):
            await merge.preview(choice("nowhere"))
        with pytest.raises(UsageError, match="NO SUCH TABLE"):
            await plan_merge(
                merge.copy, merge.live, merge.staging, tables=[public("nope")], report=ignore
            )
