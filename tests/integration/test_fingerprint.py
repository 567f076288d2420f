"""Fingerprints see every change of content, and nothing but content."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fsbackup_tui.domain.point import Fingerprint
from fsbackup_tui.engines.postgres.fingerprint import Form, fingerprint_table
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, binaries, execute
from tests.support.sessions import inspected_tables, session

FORMS: tuple[Form, ...] = ("fsb1-text", "fsb1-mixed")

Content = tuple[int | None, Fingerprint | None, str]


async def content_of(url: str, table: str = "public.t", form: Form | None = None) -> Content:
    async with session(url) as connection:
        tables = await inspected_tables(connection)
        return await fingerprint_table(connection, tables[table], method="content", form=form)


# What stands in the table before, and what is done to it; the count stays the same.
CHANGES = {
    "values swapped between rows": (
        "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        "UPDATE t SET name = CASE id WHEN 1 THEN 'b' ELSE 'a' END",
    ),
    "values swapped, both columns raw": (
        "CREATE TABLE t (id int, n int); INSERT INTO t VALUES (1, 10), (2, 20)",
        "UPDATE t SET n = 30 - n",
    ),
    "values swapped between columns": (
        "CREATE TABLE t (id int, a text, b text); INSERT INTO t VALUES (1, 'x', 'y')",
        "UPDATE t SET a = b, b = a",
    ),
    "values swapped, text types": (
        "CREATE TABLE t (id int, n numeric, f float8); INSERT INTO t VALUES (1, 1, 2), (2, 3, 4)",
        "UPDATE t SET n = 4 - n",
    ),
    "a row replaced by a copy of another": (
        "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "UPDATE t SET id = 2, name = 'b' WHERE id = 3",
    ),
    "minus zero": (
        "CREATE TABLE t (id int, f float8); INSERT INTO t VALUES (1, 0)",
        "UPDATE t SET f = '-0'",
    ),
    "1.0 to 1.00": (
        "CREATE TABLE t (id int, n numeric); INSERT INTO t VALUES (1, 1.0)",
        "UPDATE t SET n = 1.00",
    ),
    "array bounds": (
        "CREATE TABLE t (id int, a int[]); INSERT INTO t VALUES (1, '{1,2}')",
        "UPDATE t SET a = '[0:1]={1,2}'",
    ),
    "enum label": (
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE t (id int, m mood);"
        " INSERT INTO t VALUES (1, 'sad')",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'gloomy'",
    ),
    "null and empty": (
        "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1, '')",
        "UPDATE t SET name = NULL",
    ),
    "trailing blank of a char": (
        "CREATE TABLE t (id int, name varchar); INSERT INTO t VALUES (1, 'a')",
        "UPDATE t SET name = 'a '",
    ),
    "a microsecond": (
        "CREATE TABLE t (id int, at timestamptz);"
        " INSERT INTO t VALUES (1, '2026-11-22 02:00:00+00')",
        "UPDATE t SET at = at + interval '1 microsecond'",
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_content_is_seen(
    server: ScratchServer, make_database: MakeDatabase, change: str, form: Form
) -> None:
    before, act = CHANGES[change]
    url = make_database(server)
    execute(url, *before.split("; "))
    was = await content_of(url, form=form)
    execute(url, act)
    now = await content_of(url, form=form)
    assert was[1] is not None
    assert now[1] is not None
    assert was[0] == now[0]
    assert was[1] != now[1]


async def test_text_under_a_collation_that_ignores_case_is_not_hashed_raw(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    # The tests' servers have no ICU, which alone makes such collations: the catalogue is told so.
    execute(
        url,
        "CREATE COLLATION anycase (LOCALE = 'C')",
        "UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'anycase'",
        'CREATE TABLE t (a text COLLATE anycase, b text COLLATE "C", c text, d varchar)',
    )
    async with session(url) as connection:
        table = (await inspected_tables(connection))["public.t"]
    assert {column.name: column.raw for column in table.columns} == {
        "a": False,
        "b": True,
        "c": True,
        "d": True,
    }


async def test_a_doubled_row_changes_count_and_fingerprint(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t (id int, name text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    was = await content_of(url)
    execute(url, "INSERT INTO t VALUES (2, 'b')")
    now = await content_of(url)
    assert (was[0], now[0]) == (2, 3)
    assert was[1] != now[1]


@pytest.mark.parametrize("form", FORMS)
async def test_order_of_rows_and_columns_and_dropped_columns_are_no_content(
    server: ScratchServer, make_database: MakeDatabase, form: Form
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE t (id int, name text, m mood)",
        "INSERT INTO t VALUES (1, 'a', 'sad'), (2, 'b', 'happy')",
    )
    was = await content_of(url, form=form)
    execute(
        url,
        "DROP TABLE t",
        "DROP TYPE mood",
        "CREATE TYPE mood AS ENUM ('other', 'happy', 'sad')",
        "CREATE TABLE t (gone int, m mood, name text, id int)",
        "ALTER TABLE t DROP COLUMN gone",
        "INSERT INTO t VALUES ('happy', 'b', 2), ('sad', 'a', 1)",
    )
    assert await content_of(url, form=form) == was


TEXT_SETTINGS = {
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Tokyo",
    "extra_float_digits": "-5",
    "bytea_output": "escape",
    "quote_all_identifiers": "on",
    "search_path": "other",
    "row_security": "on",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1",  # the last: it holds for the test's own sessions from then on
}


@pytest.mark.parametrize("form", FORMS)
async def test_settings_of_the_database_don_t_change_it(
    server: ScratchServer, make_database: MakeDatabase, form: Form
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE t (id int, d date, i interval, at timestamptz, f float8, b bytea,"
        " c regclass, m money, dates date[])",
        "INSERT INTO t SELECT n, '2026-11-22', '1 day 2 hours', '2026-11-22 02:00:00+00',"
        " 1 / 3.0::float8, '\\x00ff', 't', 5, '{2026-02-03}' FROM generate_series(1, 20000) AS n",
    )
    was = await content_of(url, form=form)
    for name, value in TEXT_SETTINGS.items():
        execute(
            url,
            f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = ''{value}''',"
            " current_database()); END $$",
        )
    assert was[0] == 20000
    assert await content_of(url, form=form) == was


async def test_a_cast_made_by_a_user_is_never_run(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE TABLE t (p pair, q int)",
        "CREATE FUNCTION public.trap(pair) RETURNS text LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'the cast ran'; END $$",
        "CREATE FUNCTION public.trap_row(t) RETURNS text LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'the cast ran'; END $$",
        "CREATE CAST (pair AS text) WITH FUNCTION public.trap(pair) AS IMPLICIT",
        "CREATE CAST (t AS text) WITH FUNCTION public.trap_row(t) AS IMPLICIT",
        "INSERT INTO t VALUES ((1, 2), 3)",
    )
    for form in FORMS:
        rows, fingerprint, note = await content_of(url, form=form)
        assert rows == 1
        assert fingerprint is not None
        assert note == ""


@pytest.mark.parametrize("name", ["t", "r", 'we"ird; col', "naïve", "count"])
async def test_odd_names_of_tables_and_columns(
    server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    url = make_database(server)
    quoted = '"' + name.replace('"', '""') + '"'
    execute(
        url,
        f"CREATE SCHEMA {quoted}",
        f"CREATE TABLE {quoted}.{quoted} ({quoted} text, other int)",
        f"INSERT INTO {quoted}.{quoted} VALUES ('a', 1), ('b', 2)",
    )
    qualified = f"{name}.{name}"
    was = await content_of(url, qualified)
    execute(url, f"UPDATE {quoted}.{quoted} SET {quoted} = 'c' WHERE other = 2")
    now = await content_of(url, qualified)
    assert was[0] == now[0] == 2
    assert was[1] != now[1]


async def test_only_the_table_s_own_rows(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE parent (id int)",
        "CREATE TABLE child () INHERITS (parent)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (2), (3)",
    )
    assert (await content_of(url, "public.parent"))[0] == 1
    assert (await content_of(url, "public.child"))[0] == 2


async def test_a_table_without_columns_is_counted(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t ()", "INSERT INTO t DEFAULT VALUES")
    execute(url, "INSERT INTO t DEFAULT VALUES")
    rows, fingerprint, note = await content_of(url)
    assert rows == 2
    assert fingerprint is not None
    assert fingerprint.method == "fsb1-text"
    assert fingerprint.value != "0"
    assert note == ""


async def test_stored_generated_columns_count_and_virtual_ones_are_left_alone(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE t (id int, twice int GENERATED ALWAYS AS (id * 2) STORED,"
        " broken int GENERATED ALWAYS AS (1 / id) VIRTUAL)",
        "INSERT INTO t (id) VALUES (0)",
    )
    async with session(url) as connection:
        table = (await inspected_tables(connection))["public.t"]
        assert [column.name for column in table.columns] == ["id", "twice"]
        rows, fingerprint, _ = await fingerprint_table(connection, table, method="content")
    assert rows == 1
    assert fingerprint is not None


async def test_what_can_t_be_written_as_text_is_counted_and_said(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TYPE mute",
        "CREATE FUNCTION mute_in(cstring) RETURNS mute LANGUAGE internal IMMUTABLE STRICT"
        " AS 'int4in'",
        "CREATE FUNCTION mute_out(mute) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT"
        " AS 'any_out'",
        "CREATE TYPE mute (INPUT = mute_in, OUTPUT = mute_out, INTERNALLENGTH = 4,"
        " PASSEDBYVALUE, ALIGNMENT = int4)",
        "CREATE TABLE t (id int, m mute)",
        "INSERT INTO t VALUES (1, '1'), (2, '2')",
    )
    rows, fingerprint, note = await content_of(url)
    assert (rows, fingerprint) == (2, None)
    assert note.startswith("no fingerprint: cannot display a value of type")


async def test_counts_alone_make_no_fingerprint(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    async with session(url) as connection:
        table = (await inspected_tables(connection))["public.t"]
        assert await fingerprint_table(connection, table, method="counts") == (2, None, "")


# One of each family of types: what their text looks like must be the same on every version.
MANY_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE t (
    a bool, b bytea, c "char", d name, e bigint, f smallint, g int, h text, i varchar(9), j char(4),
    k date, l time, m timestamp, n timestamptz, o timetz, p uuid, q float4, r float8, s numeric,
    t money, u json, v jsonb, x interval, y inet, z cidr, aa macaddr, ab macaddr8, ac bit(3),
    ad varbit, ae point, af line, ag lseg, ah box, ai path, aj polygon, ak circle, al int4range,
    am tstzrange, an nummultirange, ao tsvector, ap tsquery, aq int[], ar text[], at mood,
    au pair, av positive, aw oid, ax regclass, ay pg_lsn, az mood[], ba pair[], bb jsonpath
);
INSERT INTO t SELECT
    n % 2 = 0, decode(md5(n::text), 'hex'), 'x', 'name' || n, n * 10::bigint ^ 12, n, -n,
    'tëxt' || n,    'v' || n, 'c', date '2026-01-01' + n, time '01:02:03.000004',
    '2026-01-01'::timestamp + n * '1 s'::interval,
    '2026-01-01 00:00+03'::timestamptz - n * '1 d'::interval, '01:02:03+02',
    md5(n::text)::uuid, n / 7.0, n / 11.0,
    n / 13.0, n, json_build_object('n', n), jsonb_build_object('n', n, 'b', null),
    n * '1 day 3 hours'::interval, '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03',
    '08:00:2b:01:02:03:04:05',
    B'101', B'11', '(1,2.5)', '{1,2,3}', '[(1,2),(3,4)]', '(1,2),(3,4)', '[(1,2),(3,4)]',
    '((1,2),(3,4))', '<(1,2),3>',
    int4range(1, n + 2), tstzrange('2026-01-01'::timestamptz, NULL), '{[1,2),[4,5)}',
    'a fat cat',
    'fat & cat', ARRAY[n, NULL, 3], '[5:6]={a,"b c"}',
    'happy', ROW(n, 'x,"y'::text)::pair, n + 1, n, 'pg_class', '0/16B3748',
    '{sad,happy}', ARRAY[ROW(1, NULL)::pair], '$.a[*] ? (@ > 1)'
FROM generate_series(0, 999) AS n;
INSERT INTO t DEFAULT VALUES;
"""


@pytest.mark.parametrize("form", FORMS)
async def test_equal_on_two_major_versions(
    server: ScratchServer, server17: ScratchServer, make_database: MakeDatabase, form: Form
) -> None:
    contents = []
    for one in (server, server17):
        url = make_database(one)
        execute(url, MANY_TYPES)
        contents.append(await content_of(url, form=form))
    assert contents[0] == contents[1]
    assert contents[0][0] == 1001
    assert contents[0][1] is not None


async def test_equal_after_dump_and_restore(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    source = make_database(matrix_server)
    execute(source, MANY_TYPES)
    kitchen = Path(__file__).parent.parent / "support" / "kitchen_sink.sql"
    execute(source, kitchen.read_text(encoding="utf-8"))
    execute(source, "DROP SUBSCRIPTION from_elsewhere")
    target = make_database(matrix_server)
    _copy(binaries(matrix_server.version_num // 10000), source, target, tmp_path)
    assert await _all_contents(target) == await _all_contents(source)


def _copy(tools: Path, source: str, target: str, directory: Path) -> None:
    archive = str(directory / "database.dump")
    dump = [str(tools / "pg_dump"), "-Fc", "-f", archive, source]
    subprocess.run(dump, check=True, env={"LC_ALL": "C"})
    # Some of the kitchen sink is refused without a second server; the tables are what counts.
    restore = [str(tools / "pg_restore"), "-d", target, "--no-subscriptions", archive]
    subprocess.run(restore, check=False, env={"LC_ALL": "C"})


async def _all_contents(url: str) -> dict[str, Content]:
    async with session(url) as connection:
        tables = await inspected_tables(connection)
        contents = {
            name: await fingerprint_table(connection, table, method="content")
            for name, table in tables.items()
            if table.dumps_rows
        }
    assert len(contents) > 5
    return contents
