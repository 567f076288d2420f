"""Columns and tables that were dropped, made again and filled, with rows born since."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import PostgresError, SafetyRefusal, UsageError
from fsbackup_tui.engines.postgres.connection import client_environment
from fsbackup_tui.engines.postgres.merge.columns import (
    ForNewRows,
    drop_column,
    restore_column,
    stage_column,
)
from fsbackup_tui.engines.postgres.merge.tables import (
    LostTables,
    read_lost_tables,
    remove_restored_tables,
    restore_tables,
)
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.merging import Merging, Pair, contents, make_pair, merging, public
from tests.support.servers import MakeDatabase
from tests.support.sessions import APPLICATION, address_of
from tests.support.transfers import client_of

TABLE = "users"
SETUP = (
    "CREATE SCHEMA other",
    "CREATE COLLATION other.bytewise (LOCALE = 'C')",
    "CREATE TYPE other.mood AS ENUM ('sad', 'happy')",
    "CREATE TABLE plans (code varchar(9) PRIMARY KEY)",
    "INSERT INTO plans VALUES ('free'), ('paid')",
    "CREATE TABLE users (id int PRIMARY KEY, name text, plan varchar(9) COLLATE other.bytewise"
    " NOT NULL DEFAULT 'free', moods other.mood[], \"x %s {}\" int)",
    "INSERT INTO users SELECT n, 'n' || n, CASE WHEN n % 3 = 0 THEN 'paid' ELSE 'free' END,"
    " CASE WHEN n % 2 = 0 THEN '{sad,NULL}'::other.mood[] END, n"
    " FROM generate_series(1, 300) AS n",
    "ALTER TABLE users ADD CONSTRAINT plan_known FOREIGN KEY (plan) REFERENCES plans",
    "ALTER TABLE users ADD CHECK (plan <> 'bad')",
    "ALTER TABLE users ADD CONSTRAINT once UNIQUE (plan, id)",
    "CREATE INDEX users_paid ON users (lower(name)) WHERE plan = 'paid'",
    "COMMENT ON COLUMN users.plan IS 'it''s what they pay'",
    "CREATE VIEW payers AS SELECT id FROM users WHERE plan = 'paid'",
    "ALTER TABLE users ADD COLUMN loud text GENERATED ALWAYS AS (upper(name)) STORED",
    "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'fired'; END$$",
)
SHAPE = (
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass"
    " UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index"
    " WHERE indrelid = 'users'::regclass UNION ALL SELECT concat_ws(' ', attname,"
    " format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation,"
    " col_description(attrelid, attnum), (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef"
    " WHERE adrelid = attrelid AND adnum = attnum)) FROM pg_attribute"
    " WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1"
)


@pytest.fixture
def server(matrix_server: ScratchServer) -> ScratchServer:
    """Stand in for the one shared server: every major that this run covers."""
    return matrix_server


@pytest.fixture
def migrated(server: ScratchServer, make_database: MakeDatabase) -> Pair:
    pair = make_pair(make_database, server, *SETUP)
    pair.damage(
        "ALTER TABLE users DROP COLUMN plan CASCADE, DROP COLUMN moods, DROP COLUMN loud",
        "DELETE FROM users WHERE id <= 10",
        "INSERT INTO users SELECT n, 'new' FROM generate_series(1001, 1040) AS n",
        "CREATE TRIGGER never BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION never()",
    )
    return pair


async def test_a_dropped_not_null_column_comes_back_with_all_it_had(migrated: Pair) -> None:
    before = contents(migrated.live, TABLE)
    async with merging(migrated) as merge:
        lost = await stage_column(merge.copy, merge.live, merge.staging, public(TABLE), "plan")
        assert (lost.filled, lost.born_since, lost.needs_value) == (290, 40, True)
        assert lost.others == ("rule _RETURN on view public.payers",)
        for given in (None, ForNewRows(), ForNewRows(value=None)):
            with pytest.raises(UsageError, match="VALUE NEEDED: 40 rows"):
                await restore_column(merge.live, merge.staging, lost, for_new_rows=given)
        with pytest.raises(PostgresError, match="Nothing changed"):
            await restore_column(
                merge.live, merge.staging, lost, for_new_rows=ForNewRows("much too long")
            )
        with pytest.raises(PostgresError, match="Nothing changed") as raised:
            await restore_column(merge.live, merge.staging, lost, for_new_rows=ForNewRows("odd"))
        assert "plan_known" in raised.value.why
        assert contents(migrated.live, TABLE) == before
        done = await restore_column(
            merge.live, merge.staging, lost, for_new_rows=ForNewRows("paid")
        )
        assert (done.filled, done.born_since) == (290, 40)
        for column in ("moods", "loud"):
            lost = await stage_column(merge.copy, merge.live, merge.staging, public(TABLE), column)
            assert not lost.needs_value
            await restore_column(merge.live, merge.staging, lost)
    assert migrated.rows(SHAPE) == Pair(migrated.copy, migrated.copy).rows(SHAPE)
    some = "(SELECT id, name, plan, moods, loud FROM users WHERE id BETWEEN 11 AND 300)"
    assert contents(migrated.live, some) == contents(migrated.copy, some)
    assert migrated.rows("SELECT DISTINCT plan FROM users WHERE id > 1000") == [("paid",)]
    with pytest.raises(psycopg.errors.RaiseException, match="fired"):
        migrated.damage("UPDATE users SET name = ''")


async def test_its_default_serves_the_rows_born_since_and_it_can_be_dropped_again(
    migrated: Pair,
) -> None:
    before = contents(migrated.live, TABLE)
    async with merging(migrated) as merge:
        lost = await stage_column(merge.copy, merge.live, merge.staging, public(TABLE), "plan")
        by_default = ForNewRows(by_default=True)
        await restore_column(merge.live, merge.staging, lost, for_new_rows=by_default)
        assert migrated.rows("SELECT DISTINCT plan FROM users WHERE id > 1000") == [("free",)]
        with pytest.raises(UsageError, match="NOT LOST"):
            await stage_column(merge.copy, merge.live, merge.staging, public(TABLE), "plan")
        migrated.damage("CREATE VIEW payers AS SELECT id FROM users WHERE plan = 'paid'")
        with pytest.raises(PostgresError, match="Nothing changed"):
            await drop_column(merge.live, merge.staging, lost)
        migrated.damage("DROP VIEW payers")
        assert await drop_column(merge.live, merge.staging, lost) == 330
        assert contents(migrated.live, TABLE) == before


async def test_what_can_not_be_made_again_is_said(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    pair = make_pair(
        make_database,
        server,
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE TABLE t (id int PRIMARY KEY, n serial, m mood)",
        "CREATE TABLE keyless (id int, x int)",
        "INSERT INTO t VALUES (1, 1, 'sad')",
    )
    pair.damage(
        "ALTER TABLE t DROP COLUMN n, DROP COLUMN m",
        "DROP TYPE mood",
        "ALTER TABLE keyless DROP COLUMN x",
    )
    async with merging(pair) as merge:
        for table, column, kind, words in (
            ("t", "n", SafetyRefusal, "NUMBERS ITSELF"),
            ("t", "m", PostgresError, "TYPE MISSING"),
            ("keyless", "x", SafetyRefusal, "NO KEY"),
            ("t", "id", UsageError, "NOT LOST"),
            ("t", "nothing", UsageError, "NOT LOST"),
        ):
            with pytest.raises(kind, match=words):
                await stage_column(merge.copy, merge.live, merge.staging, public(table), column)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def lost_table(
    pair: Pair, merge: Merging, server: ScratchServer, directory: Path, name: str
) -> LostTables:
    address = address_of(pair.copy)
    with client_environment(
        address, directory=directory, application_name=APPLICATION
    ) as environment:
        return await read_lost_tables(
            merge.copy,
            merge.live,
            [public(name)],
            client=await client_of(server),
            environment=environment,
            directory=directory,
        )


async def test_a_dropped_table_comes_back_whole_and_goes_again(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    odd = 'we"ird %s'
    pair = make_pair(
        make_database,
        server,
        'CREATE TABLE "we""ird %s" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text UNIQUE,'
        " up text GENERATED ALWAYS AS (upper(a)) STORED, n serial, self int REFERENCES"
        ' "we""ird %s", CHECK (n > 0))',
        'CREATE TABLE refers (id int PRIMARY KEY, x int REFERENCES "we""ird %s", y int)',
        'ALTER TABLE refers ADD CONSTRAINT other FOREIGN KEY (y) REFERENCES "we""ird %s"',
        'INSERT INTO "we""ird %s" (a) SELECT \'a\' || n FROM generate_series(1, 100) AS n',
        "INSERT INTO refers SELECT n, n, n FROM generate_series(1, 100) AS n",
        'CREATE VIEW over AS SELECT a FROM "we""ird %s"',
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'fired'; END$$",
        'CREATE TRIGGER never BEFORE INSERT ON "we""ird %s" FOR EACH ROW EXECUTE FUNCTION never()',
        "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (50)",
        "CREATE TABLE parted_rest PARTITION OF parted DEFAULT",
        "INSERT INTO parted SELECT generate_series(1, 100)",
    )
    shape = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    )
    whole = pair.rows(shape)
    pair.damage(
        'DROP TABLE "we""ird %s" CASCADE',
        "DROP TABLE parted",
        "UPDATE refers SET y = 7777 WHERE id = 3",
    )
    async with merging(pair) as merge:
        lost = await lost_table(pair, merge, server, tmp_path, odd)
        assert lost.others == ("rule _RETURN on view public.over",)
        done = await restore_tables(merge.copy, merge.live, merge.staging, lost)
        assert done.rows == {public(odd): 100}
        assert done.keys == ("public.refers: refers_x_fkey",)
        ((label, why),) = done.keys_lacking
        assert label == "public.refers: other"
        assert "violates foreign key" in why
        assert pair.same('"we""ird %s"')
        parted = await lost_table(pair, merge, server, tmp_path, "parted")
        assert (await restore_tables(merge.copy, merge.live, merge.staging, parted)).rows == {
            public("parted"): 100
        }
        assert pair.same("parted", "parted_low", "parted_rest")
        assert [row for row in whole if row[1] != "other"] == pair.rows(shape)
        with pytest.raises(UsageError, match="NOT LOST"):
            await lost_table(pair, merge, server, tmp_path, odd)
        with pytest.raises(psycopg.errors.RaiseException, match="fired"):
            pair.damage('INSERT INTO "we""ird %s" (a) VALUES (1)')
        pair.damage('DROP TRIGGER never ON "we""ird %s"', 'INSERT INTO "we""ird %s" (a) VALUES (1)')
        # The one that the trigger refused took 101.
        assert pair.rows('SELECT max(id), max(n) FROM "we""ird %s"') == [(102, 102)]
        await remove_restored_tables(merge.live, merge.staging, [public(odd), public("parted")])
        kept = f'"{merge.staging.schema}"."we""ird %s"'
        assert pair.rows(f"SELECT count(*) FROM {kept}") == [(101,)]
        assert pair.rows('SELECT to_regclass(\'public."we""ird %s"\')') == [(None,)]
        kept = f'"{merge.staging.schema}".parted'
        assert pair.rows(f"SELECT count(*) FROM {kept}") == [(100,)]
        assert pair.rows("SELECT to_regclass('public.parted_low')") == [(None,)]
    assert names_in(tmp_path) == []
