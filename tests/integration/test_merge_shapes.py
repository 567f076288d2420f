"""Merging tables of every shape: keys, cycles, partitions, odd names, all types."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.merge import ALL_COLUMNS, SampleValue, TableChoice
from fsbackup_tui.domain.merge_proposal import propose
from fsbackup_tui.engines.postgres.merge.samples import with_samples
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.merging import Pair, choice, contents, make_pair, merging, public
from tests.support.servers import MakeDatabase

ODD = '"Odd %s schema"'
WEIRD = f'{ODD}."we""ird {{x}} %(y)s"'


@pytest.fixture
def server(matrix_server: ScratchServer) -> ScratchServer:
    """Stand in for the one shared server: every major that this run covers."""
    return matrix_server


async def merge_all(pair: Pair, *tables: str) -> None:
    """Make these tables what they are in the copy, check it row by row, and undo it."""
    before = [contents(pair.live, f'"{table}"') for table in tables]
    async with merging(pair) as merge:
        differing = {table.table[1] for table in merge.plan.tables if not table.equal}
        choices = [
            choice(table, overwrite=ALL_COLUMNS, delete_only_in_live=True)
            for table in tables
            if table in differing
        ]
        merged = await merge.apply(*choices)
        assert merged.left_out == ()
        assert pair.same(*(f'"{table}"' for table in tables))
        await merge.undo(merged)
    assert [contents(pair.live, f'"{table}"') for table in tables] == before


async def test_composite_text_and_case_blind_keys(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE SCHEMA ext",
        "CREATE EXTENSION citext SCHEMA ext",
        "CREATE TABLE places (country text, city varchar(40), people int,"
        " PRIMARY KEY (city, country))",
        "INSERT INTO places SELECT 'c' || n % 7, 'city ' || n, n FROM generate_series(1, 300) AS n",
        "CREATE TABLE people (name ext.citext PRIMARY KEY, age numeric, boss ext.citext"
        " REFERENCES people ON DELETE CASCADE)",
        "INSERT INTO people SELECT 'Person ' || n, n, CASE WHEN n > 1 THEN 'PERSON ' || n / 2 END"
        " FROM generate_series(1, 200) AS n",
        'CREATE TABLE badges (code char(8) COLLATE "C" PRIMARY KEY, owner ext.citext'
        " REFERENCES people ON DELETE SET NULL)",
        "INSERT INTO badges SELECT 'b' || n, 'person ' || n FROM generate_series(1, 200) AS n",
    )
    pair.damage(
        "DELETE FROM places WHERE people % 10 = 0",
        "UPDATE places SET people = -people WHERE people % 10 = 1",
        "INSERT INTO places VALUES ('new', 'new', 1)",
        "DELETE FROM people WHERE name = 'Person 3'",
        "UPDATE people SET age = 2.0 WHERE name = 'Person 2'",
    )
    async with merging(pair) as merge:
        found = {table.table[1]: table for table in merge.plan.tables}
        assert (found["places"].missing, found["places"].changed) == (30, 30)
        assert found["places"].only_in_live == 1
        assert found["people"].changed_columns == {"age": 1}
        assert found["people"].missing == 1 + 2 + 4 + 8 + 16 + 32 + 9
        links = {link.key.name: link for link in merge.plan.links}
        assert links["people_boss_fkey"].lost_with_parent == found["people"].missing - 1
        assert links["badges_owner_fkey"].unlinked == found["people"].missing
    await merge_all(pair, "places", "people", "badges")


async def test_cycles_and_self_references_that_are_checked_at_once(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE teams (id int PRIMARY KEY, lead int NOT NULL)",
        "CREATE TABLE members (id int PRIMARY KEY, team int NOT NULL REFERENCES teams"
        " ON DELETE CASCADE, mentor int REFERENCES members ON DELETE SET NULL)",
        "BEGIN; INSERT INTO teams SELECT n, n * 10 FROM generate_series(1, 50) AS n;"
        " INSERT INTO members SELECT n, (n + 9) / 10, nullif(n - 1, 0)"
        " FROM generate_series(1, 500) AS n; COMMIT",
        "ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES members ON DELETE CASCADE",
    )
    pair.damage("DELETE FROM members WHERE id BETWEEN 95 AND 105")
    assert pair.rows("SELECT count(*) FROM teams") == [(49,)]
    async with merging(pair, tables=[public("teams")]) as merge:
        chosen = [proposed.choice for proposed in propose(merge.plan, [public("teams")])]
        preview = await merge.preview(*chosen)
        effects = {e.table[1]: e.inserted for e in preview.effects}
        # The team, and those that went with it; not the five that were deleted from another.
        assert effects == {"teams": 1, "members": 10}
        everything = [choice("teams"), choice("members", overwrite=ALL_COLUMNS)]
        merged = await merge.apply(*everything)
        assert merged.left_out == ()
        assert pair.same("teams", "members")
        await merge.undo(merged)
    assert pair.rows("SELECT count(*) FROM members") == [(485,)]


async def test_sequences_go_forward_in_their_direction_and_never_back(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE up (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x int)",
        "CREATE SEQUENCE down_ids INCREMENT BY -5 MAXVALUE -1 START -1",
        "CREATE TABLE down (id bigint PRIMARY KEY DEFAULT nextval('down_ids'))",
        "CREATE TABLE far (id serial PRIMARY KEY)",
        "INSERT INTO up (x) SELECT n FROM generate_series(1, 90) AS n",
        "INSERT INTO down SELECT FROM generate_series(1, 40)",
        "INSERT INTO far SELECT FROM generate_series(1, 40)",
    )
    pair.damage(
        "TRUNCATE up RESTART IDENTITY",
        "TRUNCATE down",
        "ALTER SEQUENCE down_ids RESTART",
        "DELETE FROM far WHERE id > 3",
        "SELECT setval('far_id_seq', 7000)",
    )
    async with merging(pair) as merge:
        merged = await merge.apply(choice("up"), choice("down"), choice("far"))
        assert merged.sequences == {
            public("up_id_seq"): 90,
            public("down_ids"): -196,
        }
    assert pair.same("up", "down", "far")
    pair.damage(*(f"INSERT INTO {table} DEFAULT VALUES" for table in ("up", "down", "far")))
    assert pair.rows("SELECT max(id), (SELECT min(id) FROM down) FROM up") == [(91, -201)]
    assert pair.rows("SELECT max(id) FROM far") == [(7001,)]


async def test_computed_columns_are_computed_and_their_unique_keys_respected(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    kind = "VIRTUAL" if server.version_num >= 180000 else "STORED"
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (id int PRIMARY KEY, name text, slug text GENERATED ALWAYS AS"
        f" (lower(name)) STORED UNIQUE, twice int GENERATED ALWAYS AS (id * 2) {kind})",
        "INSERT INTO t SELECT n, 'Name ' || n FROM generate_series(1, 50) AS n",
    )
    pair.damage(
        "DELETE FROM t WHERE id BETWEEN 10 AND 19",
        "UPDATE t SET name = 'bad' || id WHERE id = 3",
        "INSERT INTO t VALUES (1000, 'NAME 12')",
    )
    async with merging(pair) as merge:
        merged = await merge.apply(choice("t", overwrite=ALL_COLUMNS))
        ((left),) = merged.left_out
        assert (left.reason, left.name, left.sample) == ("clash", "t_slug_key", (("12",),))
        assert pair.rows("SELECT slug, twice FROM t WHERE id = 3") == [("name 3", 6)]
        some = "(SELECT * FROM t WHERE id NOT IN (12, 1000))"
        assert contents(pair.live, some) == contents(pair.copy, some)
        await merge.undo(merged)
    assert pair.rows("SELECT count(*), max(slug) FROM t WHERE id = 3 OR id = 12") == [(1, "bad3")]


async def test_partitions_go_by_their_root_even_if_rows_moved(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE kinds (id int PRIMARY KEY)",
        "INSERT INTO kinds SELECT generate_series(0, 4)",
        "CREATE TABLE events (id int, kind int REFERENCES kinds ON DELETE CASCADE, what text,"
        " PRIMARY KEY (id, kind)) PARTITION BY LIST (kind)",
        "CREATE TABLE events_low PARTITION OF events FOR VALUES IN (0, 1, 2)",
        "CREATE TABLE events_high PARTITION OF events FOR VALUES IN (3, 4) PARTITION BY HASH (id)",
        "CREATE TABLE events_high_0 PARTITION OF events_high"
        " FOR VALUES WITH (modulus 2, remainder 0)",
        "CREATE TABLE events_high_1 PARTITION OF events_high"
        " FOR VALUES WITH (modulus 2, remainder 1)",
        "INSERT INTO events SELECT n, n % 5, 'e' || n FROM generate_series(1, 500) AS n",
        "CREATE TABLE moving (id int PRIMARY KEY, at date) PARTITION BY RANGE (id)",
        "CREATE TABLE moving_1 PARTITION OF moving DEFAULT",
        "INSERT INTO moving SELECT n, '2026-01-01' FROM generate_series(1, 20) AS n",
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'fired'; END$$",
    )
    pair.damage(
        "DELETE FROM kinds WHERE id = 4",
        "UPDATE events SET what = 'bad' WHERE kind = 2",
        "DELETE FROM moving WHERE id < 5",
        "CREATE TRIGGER on_root BEFORE INSERT OR UPDATE ON events FOR EACH ROW"
        " EXECUTE FUNCTION never()",
        "CREATE TRIGGER on_leaf AFTER INSERT ON moving_1 FOR EACH ROW EXECUTE FUNCTION never()",
        "ALTER TABLE moving_1 ENABLE ALWAYS TRIGGER on_leaf",
        "ALTER TABLE events_low DISABLE TRIGGER on_root",
    )
    states = (
        "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger"
        " WHERE tgname LIKE 'on\\_%' ORDER BY 1"
    )
    before = pair.rows(states)
    await merge_all(pair, "kinds", "events", "moving")
    assert pair.rows(states) == before
    assert len(before) == 6


async def test_rows_that_changed_their_partition_come_back_into_the_former(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (id int NOT NULL, at int NOT NULL, what text) PARTITION BY RANGE (at)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200)",
        "CREATE UNIQUE INDEX t_key ON t (id, at)",
        "INSERT INTO t SELECT n, n, 'w' FROM generate_series(1, 150) AS n",
    )
    pair.damage("UPDATE t SET at = 199 - at WHERE id BETWEEN 90 AND 110")
    await merge_all(pair, "t")


async def test_odd_names_everywhere(server: ScratchServer, make_database: MakeDatabase) -> None:
    pair = make_pair(
        make_database,
        server,
        f"CREATE SCHEMA {ODD}",
        f'CREATE TABLE {WEIRD} ("fsbackup_row" int, "r" text UNIQUE, "d" int, "select" text,'
        ' "%s {0} ""x""" text, "id; DROP TABLE x --" int,'
        ' "row" int GENERATED ALWAYS AS ("d" + 1) STORED, PRIMARY KEY ("id; DROP TABLE x --"))',
        f'CREATE UNIQUE INDEX "in""d %" ON {WEIRD} (lower("%s {{0}} ""x"""), ("d" % 100000))'
        " WHERE \"select\" <> '{}'",
        f'ALTER TABLE {WEIRD} ADD CONSTRAINT "f%k" FOREIGN KEY ("d") REFERENCES {WEIRD}'
        " ON DELETE CASCADE",
        f"INSERT INTO {WEIRD} SELECT n, 'r' || n, nullif(n / 2, 0), 's', 'X' || n, n"
        " FROM generate_series(1, 64) AS n",
    )
    before = contents(pair.copy, WEIRD)
    pair.damage(
        f'DELETE FROM {WEIRD} WHERE "fsbackup_row" = 5',
        f'UPDATE {WEIRD} SET "select" = \'other\' WHERE "fsbackup_row" = 7',
    )
    damaged = contents(pair.live, WEIRD)
    name = ("Odd %s schema", 'we"ird {x} %(y)s')
    async with merging(pair, tables=[name]) as merge:
        (table,) = (await with_samples(merge.live, merge.staging, merge.plan)).tables
        gone, *_more = [row for row in table.sample if row.row_class == "missing"]
        assert (gone.key, gone.values[1]) == (("5",), SampleValue("r", "r5", None))
        (changed,) = [row for row in table.sample if row.row_class == "changed"]
        assert (changed.key, changed.values) == (("7",), (SampleValue("select", "s", "other"),))
        merged = await merge.apply(TableChoice(name, overwrite=ALL_COLUMNS))
        assert contents(pair.live, WEIRD) == before
        await merge.undo(merged)
    assert contents(pair.live, WEIRD) == damaged


async def test_values_of_every_kind_arrive_as_they_were(
    server: ScratchServer, server17: ScratchServer, make_database: MakeDatabase
) -> None:
    # From another server of another version: nothing may hang on an OID.
    pair = make_pair(
        make_database,
        server,
        "CREATE SCHEMA ext",
        "CREATE EXTENSION hstore SCHEMA ext",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE DOMAIN email AS text CHECK (VALUE ~ '@')",
        "CREATE TABLE things (id uuid PRIMARY KEY, m mood, ms mood[], p pair, ps pair[], e email,"
        " h ext.hstore, j json, b jsonb, x bytea, n numeric, f float8, f4 real, ts timestamptz,"
        " i interval, r int4range, mr int4multirange, ip inet, t tsvector, pt point, o oid,"
        " c regclass, a text[], bits varbit, money money)",
        "INSERT INTO things SELECT md5(n::text)::uuid, 'happy', '{sad,NULL,happy}',"
        " ROW(n, '')::pair, ARRAY[ROW(n, NULL)::pair], n || '@x', ext.hstore('k', n::text),"
        " '{ \"a\" :  1}', '{\"a\":1}',"
        " decode('00ff5c27', 'hex'), CASE n % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN 1.00 ELSE 1e40 END,"
        " CASE n % 3 WHEN 0 THEN '-0' WHEN 1 THEN 'Infinity' ELSE 0.1 END, 1.1, '-infinity',"
        " '1 mon -3 days 00:00:01', '[1,5)', '{[1,5),[8,9)}', '10.0.0.1/8', 'a fat cat', '(1,2)',"
        " n, 'pg_class', ARRAY['\\', E'tab\\there', NULL, ''], B'101', 3.5"
        " FROM generate_series(1, 60) AS n",
        copy_server=server17,
    )
    async with merging(pair) as merge:
        (table,) = merge.plan.tables
        assert table.equal
        assert table.rows_in_copy == 60
    pair.damage(
        "DELETE FROM things WHERE n = 'NaN'",
        "UPDATE things SET f = 0 WHERE f = 0 AND n <> 'NaN'",
        "UPDATE things SET n = 1.0 WHERE n = 1 AND f <> 0",
        "UPDATE things SET j = '{\"a\":1}' WHERE f = 0.1",
    )
    await merge_all(pair, "things")


async def test_a_row_that_is_equal_but_written_otherwise_counts_as_changed(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8)",
        "INSERT INTO t VALUES (1, 1.00, '-0'), (2, 2, 2)",
    )
    pair.damage("UPDATE t SET n = 1, f = 0 WHERE id = 1")
    async with merging(pair) as merge:
        assert merge.plan.tables[0].changed_columns == {"n": 1, "f": 1}
        await merge.apply(choice("t", missing=False, overwrite=("n",)))
    assert pair.rows("SELECT n::text, f::text FROM t ORDER BY id") == [("1.00", "0"), ("2", "2")]


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_table_without_a_primary_key(
    server: ScratchServer, make_database: MakeDatabase, *, keyed: bool
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (id int NOT NULL, code text, what text)",
        "CREATE UNIQUE INDEX not_for_keys ON t (code)",
        "CREATE UNIQUE INDEX t_some ON t (id) WHERE id > 5",
        "INSERT INTO t SELECT n, 'c' || n, 'w' FROM generate_series(1, 30) AS n",
        *(["CREATE UNIQUE INDEX t_id ON t (id)"] if keyed else []),
    )
    pair.damage("DELETE FROM t WHERE id < 5", "UPDATE t SET what = 'x' WHERE id = 9")
    if keyed:
        await merge_all(pair, "t")
        return
    async with merging(pair) as merge:
        (table,) = merge.plan.tables
        assert (table.whole_rows, table.key) == (True, ())
        assert (table.missing, table.changed, table.only_in_live) == (5, 0, 1)
        assert "has no key: 5 whole rows" in merge.plan.notes[0]
        assert propose(merge.plan, [public("t")]) == ()
    # One that was changed counts in both classes, and its code is taken until it goes.
    pair.damage("DELETE FROM t WHERE id = 9")
    await merge_all(pair, "t")


async def test_rows_without_a_key_are_not_taken_for_others_of_the_same_short_hash(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    # hashint8extended folds these two to the same 32 bits.
    pair = make_pair(
        make_database,
        server,
        "CREATE TABLE t (n bigint)",
        "INSERT INTO t VALUES (0), (4294967297), (0), (4294967297), (7)",
    )
    pair.damage("DELETE FROM t WHERE n = 0")
    async with merging(pair) as merge:
        assert merge.plan.tables[0].missing == 2
        await merge.apply(choice("t"))
    assert pair.same("t")
