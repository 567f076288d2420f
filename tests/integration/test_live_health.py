"""``verify --live`` on sound databases: no false alarm, nothing in anybody's way, gaps named."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.engines.postgres.health_collations import check_collations
from fsbackup_tui.engines.postgres.health_references import count_orphans, list_foreign_keys
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session
from tests.support.sites import CommandResult, Site, make_site
from tests.support.transfers import KITCHEN_SINK
from tests.support.writers import MAKE_BUSY, busy_writers

_UNSEEN_AMCHECK = "an index in the wrong order"


def look(site: Site) -> CommandResult:
    return site.run("verify", "--live", "--json")


def unseen(result: CommandResult) -> str:
    return "\n".join(f"{item['what']}: {item['why']}" for item in result.document["not_seen"])


@pytest.mark.parametrize("amcheck", [False, True], ids=["alone", "amcheck"])
def test_a_sound_database_of_every_kind_of_thing_raises_no_alarm(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, amcheck: bool
) -> None:
    url = make_database(matrix_server)
    execute(url, KITCHEN_SINK.read_text(encoding="utf-8"))
    if amcheck:
        execute(url, "CREATE EXTENSION amcheck SCHEMA public")
    site = make_site(tmp_path / "site", url)
    assert site.run("backup", "daily").exit_code == 0
    result = look(site)
    execute(url, "DROP SUBSCRIPTION from_elsewhere")  # which would keep the database
    document = result.document
    assert document["findings"] == []
    assert document["unchecked"] == []
    assert result.exit_code == 0
    rows = {table["table"]: table["rows"] for table in document["tables"]}
    for table, count in rows.items():
        schema, name = table.split(".", 1)
        quoted = '"' + schema + '"."' + name.replace('"', '""') + '"'
        assert query(url, f"SELECT count(*) FROM ONLY {quoted}") == [(count,)], table
    captured = {table["table"]: table["captured_rows"] for table in document["tables"]}
    assert captured["app.users"] == rows["app.users"] == 500
    assert (_UNSEEN_AMCHECK in unseen(result)) is not amcheck
    assert "1 foreign tables" in unseen(result)


def test_busy_writers_raise_no_alarm(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, MAKE_BUSY, "CREATE EXTENSION amcheck", "CREATE INDEX ON busy (label, amount)")
    execute(
        url,
        "CREATE TABLE parents (id int PRIMARY KEY)",
        "CREATE TABLE children (id int REFERENCES parents ON DELETE CASCADE)",
        "CREATE TABLE emptied (id int PRIMARY KEY)",
    )
    site = make_site(tmp_path / "site", url)
    stop = threading.Event()
    rounds = 0

    def churn() -> None:
        nonlocal rounds
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.is_set():
                for statement in (
                    "CREATE TABLE passing AS SELECT n FROM generate_series(1, 500) AS n",
                    "CREATE INDEX ON passing (n)",
                    "INSERT INTO parents SELECT generate_series(1, 300)",
                    "INSERT INTO children SELECT generate_series(1, 300)",
                    "VACUUM busy",
                    "BEGIN; TRUNCATE emptied;"
                    " INSERT INTO emptied SELECT generate_series(1, 200); COMMIT",
                    "DROP TABLE passing",
                    "DELETE FROM parents",
                    "VACUUM (TRUNCATE false) parents, children, emptied",
                ):
                    connection.execute(statement.encode())
                rounds += 1

    churner = threading.Thread(target=churn)
    churner.start()
    try:
        with busy_writers(url) as written:
            for _ in range(6):
                before = written.commits, rounds
                result = look(site)
                assert result.exit_code == 0, result.stdout
                assert (written.commits, rounds) > before
    finally:
        stop.set()
        churner.join()
    assert written.errors == []


def test_what_fell_since_the_last_good_point_is_named(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE kept AS SELECT generate_series(1, 100) AS id",
        "CREATE TABLE emptied AS SELECT generate_series(1, 100) AS id",
        "CREATE TABLE fell AS SELECT generate_series(1, 100) AS id",
        "CREATE TABLE vanished AS SELECT generate_series(1, 100) AS id",
    )
    site = make_site(tmp_path / "site", url)
    assert "There is no good point" in unseen(look(site))
    assert site.run("backup", "daily").exit_code == 0
    assert look(site).exit_code == 0
    execute(
        url,
        "DELETE FROM emptied",
        "DELETE FROM fell WHERE id > 40",
        "DELETE FROM kept WHERE id > 95",
        "DROP TABLE vanished",
    )
    result = look(site)
    assert result.exit_code == 1
    found = {item["table"]: item["what"] for item in result.document["findings"]}
    assert set(found) == {"public.emptied", "public.fell", "public.vanished"}
    assert found["public.fell"].startswith("fell 100 to 40 since ")
    assert "stop what writes to it" in result.document["findings"][0]["fix"]
    assert result.document["problems"][0]["table"] == "public.vanished"


def test_a_role_with_few_rights_says_what_it_could_not_look_at(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "DROP ROLE IF EXISTS few_rights",
        "CREATE ROLE few_rights LOGIN",
        "CREATE EXTENSION amcheck",
        "CREATE TABLE open (id int PRIMARY KEY)",
        "CREATE TABLE closed (id int PRIMARY KEY)",
        "CREATE TABLE hidden (id int PRIMARY KEY)",
        "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY",
        "GRANT SELECT ON open, hidden TO few_rights",
    )
    name = url.rpartition("/")[2].partition("?")[0]
    site = make_site(tmp_path / "site", server.url(name, user="few_rights"))
    try:
        result = look(site)
        assert result.exit_code == 1, "not all was looked at: that is no all-clear"
        assert result.document["findings"] == []
        unchecked = {item["table"]: item for item in result.document["unchecked"]}
        assert set(unchecked) == {"public.closed", "public.hidden"}
        assert unchecked["public.closed"]["fix"] == "GRANT SELECT on it to few_rights."
        assert "The role may not call amcheck's functions." in unseen(result)
        assert "system or managed tables" in unseen(result)
        told = site.run("verify", "--live")
        assert "NOT ALL CHECKED; no damage found so far; 1 of 3 tables read" in told.stdout
    finally:
        execute(url, "DROP OWNED BY few_rights", "DROP ROLE few_rights")


def test_a_locked_table_is_not_checked_and_the_rest_is(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE busy (id int PRIMARY KEY)", "CREATE TABLE free (id int)")
    site = make_site(tmp_path / "site", url, source={"lock_timeout": "1s"})
    with psycopg.connect(url) as migration:
        migration.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        result = look(site)
    assert result.exit_code == 1
    (unchecked,) = result.document["unchecked"]
    assert (unchecked["table"], unchecked["check"]) == ("public.busy", "read")
    assert "lock timeout" in unchecked["why"]
    read = {table["table"]: table["rows"] for table in result.document["tables"]}
    assert read == {"public.busy": None, "public.free": 0}
    assert look(site).exit_code == 0


def test_it_gives_way_to_a_migration(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    name = url.rpartition("/")[2].partition("?")[0]
    execute(
        url,
        "CREATE EXTENSION amcheck",
        "CREATE FUNCTION public.slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$"
        " BEGIN IF pg_catalog.current_setting('site.slow', true) = 'on'"
        " THEN PERFORM pg_catalog.pg_sleep(0.1); END IF; RETURN $1; END $$",
        "CREATE TABLE events (id int)",
        "INSERT INTO events SELECT generate_series(1, 40)",
        "CREATE INDEX events_slow ON events (public.slow(id))",
        f"ALTER DATABASE {name} SET site.slow = 'on'",
    )
    site = make_site(tmp_path / "site", url, source={"yield_after": "1s"})
    running = site.start("verify", "--live", "--json")
    with psycopg.connect(url, autocommit=True) as migration:
        busy = (
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%bt_index_check%'"
            " AND application_name LIKE 'fsbackup/%' AND state = 'active'"
            " AND query_start < now() - interval '1 s'"
        )
        while not query(url, busy):
            assert running.poll() is None, "it was to be slow"
        migration.execute("ALTER TABLE events ADD COLUMN added int")
        migration.execute(f"ALTER DATABASE {name} RESET site.slow".encode())
        ((waits,),) = query(url, f"SELECT count(*) FROM ({busy}) AS s")
        assert waits == 0, "the check was interrupted, not finished"
    stdout, stderr = running.communicate(timeout=120)
    assert "tried again later: gave way to others" in stderr
    assert '"findings": []' in stdout


async def test_orphans_of_every_kind_of_foreign_key(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE COLLATION folding (provider = 'libc', locale = 'C')",
        "CREATE TABLE parents (a int, b int, t text COLLATE folding UNIQUE, PRIMARY KEY (a, b))",
        "INSERT INTO parents VALUES (1, 1, 'x'), (2, 2, 'y')",
        "CREATE TABLE simple (id bigint, b int, FOREIGN KEY (id, b) REFERENCES parents)",
        'CREATE TABLE "full" (a int, b int, FOREIGN KEY (a, b) REFERENCES parents MATCH FULL)',
        "CREATE TABLE texts (t varchar(9) REFERENCES parents (t))",
        "CREATE TABLE parted (a int, b int, FOREIGN KEY (a, b) REFERENCES parents)"
        " PARTITION BY LIST (a)",
        "CREATE TABLE parted_rest PARTITION OF parted DEFAULT",
        "CREATE TABLE roots (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE roots_1 PARTITION OF roots FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE to_parted (id int REFERENCES roots)",
        "CREATE TABLE self (id int PRIMARY KEY, up int REFERENCES self DEFERRABLE)",
        "CREATE TABLE loose (t text)",
    )
    execute(
        url,
        "SET session_replication_role = replica;"
        " INSERT INTO simple VALUES (1, 1), (NULL, 9), (9, NULL), (9, 9), (1, 2);"
        ' INSERT INTO "full" VALUES (1, 1), (NULL, NULL), (NULL, 1), (9, 9);'
        " INSERT INTO texts VALUES ('x'), (NULL), ('X'), ('z');"
        " INSERT INTO parted VALUES (2, 2), (3, 3), (4, NULL);"
        " INSERT INTO roots VALUES (1); INSERT INTO to_parted VALUES (1), (2), (NULL);"
        " INSERT INTO self VALUES (1, 2), (2, 1), (3, 4);"
        " INSERT INTO loose VALUES ('z'), ('x')",
        "ALTER TABLE loose ADD CONSTRAINT loose_key FOREIGN KEY (t) REFERENCES parents (t)"
        " NOT VALID",
    )
    expected: dict[str, int | None] = {
        "public.simple": 2,
        "public.full": 2,
        "public.texts": 2,
        "public.parted": 1,
        "public.to_parted": 1,
        "public.self": 1,
        "public.loose": 1,
    }
    if matrix_server.version_num >= 180000:
        execute(
            url,
            "CREATE EXTENSION IF NOT EXISTS btree_gist",
            "CREATE TABLE rates (id int, during daterange,"
            " PRIMARY KEY (id, during WITHOUT OVERLAPS))",
            "INSERT INTO rates VALUES (1, '[2026-01-01,2026-02-01)'),"
            " (1, '[2026-02-01,2026-03-01)')",
            "CREATE TABLE stays (id int, during daterange,"
            " FOREIGN KEY (id, PERIOD during) REFERENCES rates (id, PERIOD during))",
            "SET session_replication_role = replica;"
            " INSERT INTO stays VALUES (1, '[2026-01-05,2026-02-05)'),"
            " (1, '[2026-02-05,2026-03-05)'), (2, '[2026-01-05,2026-02-05)'), (NULL, NULL)",
        )
        expected["public.stays"] = 2
    async with session(url) as connection:
        keys = await list_foreign_keys(connection)
        found = {key.child_name: await count_orphans(connection, key) for key in keys}
    assert found == expected
    assert [key.child_name for key in keys if not key.believed] == ["public.loose"]


def test_the_sites_own_queries_are_asked_of_the_live_database(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE bills (id int, paid int)", "INSERT INTO bills VALUES (1, 5)")
    integrity = [
        {"name": "none unpaid", "sql": "SELECT id FROM bills WHERE paid < 0", "expect": "no rows"},
        {"name": "some", "sql": "SELECT count(*) FROM bills", "expect": "same as at capture"},
    ]
    site = make_site(tmp_path / "site", url, settings={"integrity": integrity})
    assert look(site).exit_code == 0
    execute(url, "INSERT INTO bills VALUES (2, -1)")
    result = look(site)
    assert result.exit_code == 1
    (finding,) = result.document["findings"]
    assert finding["check"] == "integrity"
    assert finding["what"].startswith("none unpaid: ")


def test_which_database_is_asked_for_where_there_are_several(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    both = {name: {"kind": "postgres", "url": "${DATABASE_URL}"} for name in ("db", "other")}
    site = make_site(tmp_path / "site", url, settings={"sources": both})
    refused = look(site)
    assert refused.exit_code == 2
    assert refused.error["what"] == "WHICH DATABASE: the site has 2."
    assert site.run("verify", "--live", "--source", "other", "--json").document["ok"] is True
    assert site.run("verify", "--live", "--source", "none").exit_code == 2
    assert site.run("verify", "--live", "latest").exit_code == 2
    assert site.run("verify").exit_code == 2


async def test_a_collation_of_another_version_is_named_with_its_indexes(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    # The servers here have no ICU; a libc collation of C has no version that it could have now.
    builtin = matrix_server.version_num >= 170000
    provider = "builtin, locale = 'C.UTF-8'" if builtin else "libc, locale = 'C'"
    execute(
        url,
        "CREATE SCHEMA app",
        f'CREATE COLLATION app."Ger man" (provider = {provider})',
        f"CREATE COLLATION app.idle (provider = {provider})",
        'CREATE TABLE people (id int PRIMARY KEY, name text COLLATE app."Ger man" UNIQUE)',
        'CREATE INDEX by_name ON people (lower(name) COLLATE app."Ger man")',
        "CREATE TABLE notes (id int, note text)",
        "CREATE INDEX by_note ON notes (note)",
    )
    async with session(url) as connection:
        known, findings = await check_collations(connection)
    assert findings == []
    execute(url, "UPDATE pg_collation SET collversion = '0' WHERE collprovider <> 'd'")
    async with session(url) as connection:
        _, findings = await check_collations(connection)
    (german,) = findings
    assert (german.check, german.table) == ("collations", None)
    assert 'the collation app."Ger man" was of version 0, the server\'s is ' in german.what
    assert "2 indexes may be in another order than the server's: by_name, people_name_key" in (
        german.what.replace("public.", "")
    )
    assert german.fix.endswith('then: ALTER COLLATION app."Ger man" REFRESH VERSION;')
    assert known
    if builtin:
        execute(url, 'ALTER COLLATION app."Ger man" REFRESH VERSION')
        async with session(url) as connection:
            assert (await check_collations(connection))[1] == []
    else:
        assert "the server's is none that it tells" in german.what


def test_a_database_s_own_collation_of_another_version_is_a_finding(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    name = f"{url.partition('?')[0].rpartition('/')[2]}_utf8"
    provider = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
    execute(url, f"CREATE DATABASE {name} TEMPLATE template0 {provider}")
    url = server.url(name)
    try:
        execute(url, "CREATE TABLE people (name text PRIMARY KEY)")
        site = make_site(tmp_path / "site", url)
        assert look(site).document["findings"] == []
        execute(url, f"UPDATE pg_database SET datcollversion = '0' WHERE datname = '{name}'")
        result = look(site)
        assert result.exit_code == 1
        (finding,) = result.document["findings"]
        assert finding["check"] == "collations"
        assert finding["what"].startswith("the database's own collation was of version 0, the ")
        assert finding["what"].endswith(
            "1 index may be in another order than the server's: public.people_pkey"
        )
        assert finding["fix"].endswith(f"ALTER DATABASE {name} REFRESH COLLATION VERSION;")
        assert "REFRESH COLLATION VERSION" in site.run("verify", "--live").stdout
        execute(url, f"REINDEX DATABASE {name}")
        execute(url, f"ALTER DATABASE {name} REFRESH COLLATION VERSION")
        assert look(site).exit_code == 0
    finally:
        execute(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


def test_no_snapshot_is_held_for_longer_than_the_limit(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE big AS SELECT i, repeat('x', 50) FROM generate_series(1, 1500000) i",
        "CREATE TABLE small (id int)",
    )
    site = make_site(tmp_path / "site", url, settings={"limits": {"snapshot_age": "40ms"}})
    result = look(site)
    assert result.exit_code == 1
    unchecked = {item["table"]: item for item in result.document["unchecked"]}
    assert "limits.snapshot_age is 0.04 s: an old" in unchecked["public.big"]["why"]
    assert unchecked["public.big"]["fix"].startswith("Raise limits.snapshot_age")
    assert result.document["findings"] == []
    assert query(url, "SELECT 1 FROM pg_stat_activity WHERE application_name ~ '^fsbackup/'") == []
