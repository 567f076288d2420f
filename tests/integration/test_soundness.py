"""What a copy defines is tried without being called: views planned, bodies and keys checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.domain.events import Event, Log
from fsbackup_tui.domain.point import DatabaseSetting, PostgresFacts
from fsbackup_tui.domain.proof import ProofCheck
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.soundness import check_soundness
from tests.support.comparing import captured_kitchen_sink
from tests.support.points import facts as make_facts
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session

FACTS = make_facts()


async def sound(
    url: str, facts: PostgresFacts = FACTS, *, recheck_foreign_keys: bool = False
) -> tuple[dict[tuple[str, str], ProofCheck], tuple[str, ...]]:
    events: list[Event] = []
    async with session(url) as connection:
        checks, notes = await check_soundness(
            connection, facts, events.append, recheck_foreign_keys=recheck_foreign_keys
        )
        assert connection.info.transaction_status.name == "IDLE"
    assert [event.text for event in events if isinstance(event, Log)] == list(notes)
    return {(check.kind, check.name): check for check in checks}, notes


@pytest.fixture
def copy_name(matrix_server: ScratchServer) -> Iterator[str]:
    name = f"sound_{os.getpid()}"
    yield name
    execute(matrix_server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def test_a_restored_kitchen_sink_is_sound(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    dumped, _accounting = await captured_kitchen_sink(url, matrix_server, copy_name, tmp_path)
    copy = matrix_server.url(copy_name)
    execute(copy, "ALTER EVENT TRIGGER watch_commands ENABLE ALWAYS")
    checks, notes = await sound(copy, dumped.facts, recheck_foreign_keys=True)
    assert notes == ()
    assert {key: check.verdict for key, check in checks.items()} == {
        ("view", "views"): "equal",
        # The two read each other.
        ("view", "app.first_view"): "expected",
        ("view", "app.second_view"): "expected",
        ("function", "functions"): "equal",
        ("constraint", "foreign keys"): "equal",
    }
    assert checks["view", "views"].note == "1 can be planned"
    assert "infinite recursion" in checks["view", "app.first_view"].note


async def test_a_view_whose_function_has_lost_its_ground_is_found(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE FUNCTION inner_one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION outer_one() RETURNS integer LANGUAGE sql AS 'SELECT inner_one()'",
        "CREATE VIEW v AS SELECT outer_one() AS one",
        "CREATE VIEW fine AS SELECT 1 AS one",
    )
    checks, notes = await sound(url)
    assert {check.verdict for check in checks.values()} == {"equal"}
    assert notes == ()
    execute(url, "DROP FUNCTION inner_one()")
    checks, notes = await sound(url)
    assert checks["view", "public.v"].failed
    assert "inner_one() does not exist" in checks["view", "public.v"].note
    assert checks["view", "views"].note == "1 can be planned"
    # A body that fails its check is told of, and fails nothing.
    assert not checks["function", "functions"].failed
    assert checks["function", "functions"].note.startswith("0 bodies hold, 1 don't")
    (note,) = notes
    assert note.startswith("function public.outer_one(): its body fails its check: function inner")


async def test_nothing_is_called(matrix_server: ScratchServer, make_database: MakeDatabase) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE trace (what text)",
        "CREATE SEQUENCE calls",
        "CREATE FUNCTION leaves_a_trace() RETURNS integer LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM nextval('public.calls'); INSERT INTO public.trace VALUES ('called');"
        " RETURN 1; END$$",
        "CREATE VIEW v AS SELECT leaves_a_trace() AS one",
        "CREATE PROCEDURE p() LANGUAGE sql AS $$INSERT INTO trace VALUES ('called')$$",
        "CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM nextval('public.calls'); END$$",
        "CREATE TABLE a (id integer PRIMARY KEY)",
        "CREATE TABLE b (id integer REFERENCES a)",
        "CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION on_ddl()",
        "CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION on_ddl()",
        "SELECT setval('calls', 1, false)",
    )
    for setting in ("on", "off"):
        async with session(url) as connection:
            if matrix_server.version_num >= 170000:
                await connection.execute(f"SET event_triggers = {setting}".encode())
            checks, notes = await check_soundness(
                connection, FACTS, lambda _: None, recheck_foreign_keys=True
            )
        assert {check.verdict for check in checks} == {"equal"}
        assert notes == ()
    assert query(url, "SELECT count(*) FROM trace") == [(0,)]
    assert query(url, "SELECT is_called FROM calls") == [(False,)]
    assert query(url, "SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'O'") == [(2,)]


async def test_the_database_s_own_search_path_counts_and_a_role_s_is_granted(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE SCHEMA app",
        "CREATE SCHEMA other",
        "CREATE TABLE app.t (id integer)",
        "CREATE TABLE other.t (no_id integer)",
        "SET check_function_bodies = off",
    )
    with_bodies_unchecked = "SET check_function_bodies = off; "
    execute(
        url,
        with_bodies_unchecked
        + "CREATE FUNCTION app.f() RETURNS bigint LANGUAGE sql AS 'SELECT count(id) FROM t'",
        with_bodies_unchecked
        + "CREATE FUNCTION app.g() RETURNS bigint LANGUAGE sql SET search_path = app"
        " AS 'SELECT count(id) FROM t'",
        with_bodies_unchecked
        + "CREATE FUNCTION app.bad() RETURNS bigint LANGUAGE sql SET search_path = other"
        " AS 'SELECT count(id) FROM t'",
        with_bodies_unchecked
        + "CREATE FUNCTION app.syntax() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETRUN 1; END'",
        with_bodies_unchecked + "CREATE VIEW app.v AS SELECT app.f() AS n",
    )
    setting = DatabaseSetting(None, "search_path", '"$user", app')
    for facts in (make_facts(settings=(setting,)), FACTS):
        checks, notes = await sound(url, facts)
        assert checks["view", "views"].note == "1 can be planned"
        assert [note.split(":")[0] for note in notes] == [
            "function app.syntax()",
            "function app.bad()",
        ]


async def test_a_view_of_a_foreign_table_asks_no_other_server(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw"
        " OPTIONS (host 'nowhere.invalid', use_remote_estimate 'true')",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'x', password 'y')",
        "CREATE TABLE t (id integer) PARTITION BY RANGE (id)",
        "CREATE FOREIGN TABLE t_far PARTITION OF t FOR VALUES FROM (1) TO (2) SERVER far",
        "CREATE VIEW near AS SELECT 1 AS id",
        "CREATE VIEW far_away AS SELECT * FROM t_far",
        "CREATE VIEW through_its_root AS SELECT id FROM t",
        "CREATE VIEW twice AS SELECT n.id FROM far_away AS f JOIN near AS n USING (id)",
    )
    checks, _notes = await sound(url)
    assert checks["view", "views"].note == "1 can be planned"
    for name in ("far_away", "through_its_root", "twice"):
        check = checks["view", f"public.{name}"]
        assert check.verdict == "unknown"
        assert "foreign table" in check.note


async def test_orphans_of_a_load_with_triggers_off_are_found(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE a (id integer PRIMARY KEY)",
        "CREATE TABLE b (id integer REFERENCES a DEFERRABLE)",
        "CREATE TABLE c (id integer REFERENCES a) PARTITION BY RANGE (id)",
        "CREATE TABLE c_1 PARTITION OF c FOR VALUES FROM (0) TO (100)",
        "INSERT INTO a VALUES (1)",
        "SET session_replication_role = replica; INSERT INTO b VALUES (1), (2);"
        " INSERT INTO c VALUES (3)",
    )
    checks, _notes = await sound(url)
    assert not any(check.failed for check in checks.values())
    checks, _notes = await sound(url, recheck_foreign_keys=True)
    failed = {check.name: check.verdict for check in checks.values() if check.failed}
    assert failed == {"public.b.b_id_fkey": "different", "public.c.c_id_fkey": "different"}
    assert query(url, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(3,)]
