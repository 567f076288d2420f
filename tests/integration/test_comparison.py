"""A restored copy against what was captured: every change is found, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.comparison import unproven_reason
from fsbackup_tui.domain.events import Event, TableDone
from fsbackup_tui.domain.point import DatabaseSetting
from fsbackup_tui.domain.proof import conclude
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.measure import measure_tables
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.comparing import captured_and_restored, captured_kitchen_sink, compare
from tests.support.servers import MakeDatabase, execute
from tests.support.sessions import address_of, inspected_tables, session
from tests.support.transfers import APPLICATION

# What a faultless restore of the kitchen sink leaves otherwise than captured, as it should.
AS_EXPECTED = {
    "app.far_table": "expected",
    "app.not_filled": "expected",
    "app.video_counts": "expected",
    "constraint constraints": "expected",
}

MOVE_A_ROW = """
UPDATE pg_class SET relispartition = false WHERE relname IN ('events_2026_0', 'events_2026_1');
WITH gone AS (DELETE FROM ONLY app.events_2026_0
              WHERE at = (SELECT min(at) FROM ONLY app.events_2026_0) RETURNING *)
INSERT INTO app.events_2026_1 SELECT * FROM gone;
UPDATE pg_class SET relispartition = true WHERE relname IN ('events_2026_0', 'events_2026_1')
"""

# What is done to a faultless copy, and which verdicts are to follow.
CHANGES: dict[str, dict[str, str]] = {
    "UPDATE app.users SET mood = 'very happy' WHERE nickname = 'Nick7'": {"app.users": "different"},
    "UPDATE app.videos SET title = CASE id WHEN 8 THEN (SELECT title FROM app.videos WHERE id = 9)"
    " ELSE (SELECT title FROM app.videos WHERE id = 8) END WHERE id IN (8, 9)":
        {"app.videos": "different"},
    "DELETE FROM app.videos WHERE id = 7": {"app.videos": "different"},
    "INSERT INTO app.parent SELECT * FROM ONLY app.parent WHERE id = 3":
        {"app.parent": "different"},
    "TRUNCATE app.videos": {"app.videos": "different"},
    "TRUNCATE app.unlogged": {"app.unlogged": "expected"},
    "UPDATE app.unlogged SET id = 3 WHERE id = 2": {"app.unlogged": "different"},
    "DROP TABLE public.dropped_column": {"public.dropped_column": "missing"},
    "DROP TABLE app.events_2025":
        {"app.events_2025": "missing", "app.events": "different", "app.events_2026": "expected"},
    "CREATE TABLE app.one_too_many ()": {"app.one_too_many": "different"},
    "DROP TABLE app.typed; CREATE FOREIGN TABLE app.typed (a integer) SERVER \"far away\"":
        {"app.typed": "different"},
    MOVE_A_ROW: {"app.events_2026_0": "expected", "app.events_2026_1": "expected"},
    "UPDATE app.events_2025 SET what = 'else' WHERE user_id = 1":
        {"app.events_2025": "different", "app.events": "different", "app.events_2026": "expected"},
    "DELETE FROM app.videos WHERE id = 9; REFRESH MATERIALIZED VIEW app.video_counts":
        {"app.videos": "different"},
    "DROP MATERIALIZED VIEW app.video_counts": {"app.video_counts": "missing"},
    "SELECT setval('app.videos_id_seq', 1499)": {"sequence app.videos_id_seq": "different"},
    "SELECT setval('app.videos_id_seq', 1500, false)": {"sequence app.videos_id_seq": "different"},
    "SELECT setval('app.videos_id_seq', 1501)": {"sequence app.videos_id_seq": "expected"},
    "DROP SEQUENCE app.odd_numbers": {"sequence app.odd_numbers": "missing"},
    "SELECT lo_put(4242, 0, 'F')": {"large objects large objects": "different"},
    "SELECT lo_put(4243, 9000, '\\x00')": {"large objects large objects": "different"},
    "SELECT lo_unlink(4244)": {"large objects large objects": "different"},
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.videos_title'::regclass":
        {"index app.videos_title": "different"},
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.events_at'::regclass":
        {"index app.events_at": "expected"},
}  # fmt: skip


@pytest.fixture
def copy_name(matrix_server: ScratchServer) -> Iterator[str]:
    name = f"compared_{os.getpid()}"
    yield name
    execute(matrix_server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def test_the_kitchen_sink_has_no_false_alarm_and_every_change_is_found(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    dumped, accounting = await captured_kitchen_sink(url, matrix_server, copy_name, tmp_path)
    assert accounting.whole
    digest = accounting.schema_sha256
    found = await compare(dumped.address, copy_name, dumped.facts, schema_sha256=digest)
    assert found.not_equal == AS_EXPECTED
    tables, checks = list(found.tables.values()), list(found.checks.values())
    assert conclude(tables, checks) == "ok"
    assert unproven_reason(dumped.facts, tables, checks) is None
    spare = f"{copy_name}_spare"
    for change, verdicts in CHANGES.items():
        execute(matrix_server.url(), f"CREATE DATABASE {spare} TEMPLATE {copy_name}")
        try:
            execute(matrix_server.url(spare), change)
            found = await compare(dumped.address, spare, dumped.facts, schema_sha256=digest)
            wanted = {**AS_EXPECTED, **verdicts}
            assert found.not_equal == wanted, change
        finally:
            execute(matrix_server.url(), f"DROP DATABASE {spare} WITH (FORCE)")


async def test_a_moved_row_is_told_of_and_its_root_is_equal(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    dumped, _accounting = await captured_kitchen_sink(url, matrix_server, copy_name, tmp_path)
    execute(matrix_server.url(copy_name), MOVE_A_ROW)
    found = await compare(dumped.address, copy_name, dumped.facts)
    leaf, root = found.tables["app.events_2026_0"], found.tables["app.events"]
    assert (leaf.captured_rows, leaf.restored_rows) == (186, 185)
    assert "other partitions; app.events is equal as a whole" in leaf.note
    assert (root.captured_rows, root.restored_rows) == (900, 900)
    assert root.captured_fingerprint == root.restored_fingerprint


async def test_counts_alone_compare_rows_and_no_counts_prove_nothing(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE t (id integer, a text)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        "SELECT lo_create(1)",
    )
    dumped, accounting = await captured_and_restored(
        url, matrix_server, copy_name, tmp_path, method="counts"
    )
    digest = accounting.schema_sha256
    facts = dumped.facts
    execute(matrix_server.url(copy_name), "UPDATE t SET a = 'c' WHERE id = 1")
    found = await compare(dumped.address, copy_name, facts, schema_sha256=digest)
    assert found.not_equal == {"large objects large objects": "unknown"}
    assert "number of rows alone" in found.tables["public.t"].note
    assert unproven_reason(facts, list(found.tables.values()), list(found.checks.values())) is None
    execute(matrix_server.url(copy_name), "INSERT INTO t VALUES (3, 'c')")
    found = await compare(dumped.address, copy_name, facts, schema_sha256=digest)
    assert found.failed == {"public.t": "different"}
    uncounted = replace(
        facts, tables=tuple(replace(table, counted=False, rows=None) for table in facts.tables)
    )
    found = await compare(dumped.address, copy_name, uncounted, schema_sha256=digest)
    assert found.tables["public.t"].verdict == "unknown"
    assert found.tables["public.t"].restored_rows == 3
    reason = unproven_reason(uncounted, list(found.tables.values()), list(found.checks.values()))
    assert reason is not None
    assert "public.t" in reason


async def test_rows_left_out_must_be_absent(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE log (id integer)",
        "INSERT INTO log VALUES (1)",
        "CREATE SCHEMA cache",
        "CREATE TABLE cache.page (id integer)",
        "CREATE TABLE scratchpad (id integer)",
    )
    exclusions = Exclusions(
        schemas=("cache",), tables=("public.scratchpad",), table_data=("public.log",)
    )
    dumped, accounting = await captured_and_restored(
        url, matrix_server, copy_name, tmp_path, exclusions=exclusions
    )
    digest = accounting.schema_sha256
    found = await compare(dumped.address, copy_name, dumped.facts, schema_sha256=digest)
    assert found.not_equal == {"public.log": "expected"}
    assert found.tables["public.log"].restored_rows == 0
    # What the capture left out may be there: an extension or the host itself may make it.
    execute(
        matrix_server.url(copy_name),
        "CREATE SCHEMA cache",
        "CREATE TABLE cache.page (id integer)",
        "CREATE TABLE scratchpad (id integer)",
        "INSERT INTO log VALUES (7)",
    )
    found = await compare(dumped.address, copy_name, dumped.facts, schema_sha256=digest)
    assert found.not_equal == {"public.log": "different"}


async def test_a_point_of_definitions_is_compared_by_them_alone(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t (id serial PRIMARY KEY)")
    dumped, accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    facts = replace(dumped.facts, scope="schema", large_objects=5)
    execute(matrix_server.url(copy_name), "SELECT nextval('t_id_seq')")
    found = await compare(dumped.address, copy_name, facts, schema_sha256=accounting.schema_sha256)
    assert found.failed == {}
    assert not [name for kind, name in found.checks if kind in ("sequence", "large objects")]
    tables, checks = list(found.tables.values()), list(found.checks.values())
    assert unproven_reason(facts, tables, checks) is None
    found = await compare(dumped.address, copy_name, facts, schema_sha256="other")
    assert found.failed == {"schema definitions": "different"}
    found = await compare(dumped.address, copy_name, facts)
    reason = unproven_reason(facts, list(found.tables.values()), list(found.checks.values()))
    assert reason is not None
    assert "definitions" in reason


async def test_definitions_of_another_major_are_not_called_different(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t (id integer)")
    dumped, _accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    older = replace(dumped.facts.identity, server_version_num=130005)
    facts = replace(dumped.facts, identity=older)
    found = await compare(dumped.address, copy_name, facts, schema_sha256="other")
    check = found.checks["schema", "definitions"]
    assert check.verdict == "unknown"
    assert "than 13 at capture" in check.note


async def test_a_sequence_behind_its_column_since_capture_is_noted_only(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE t (id serial PRIMARY KEY)",
        "INSERT INTO t VALUES (40)",
        "CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 START -1",
        "CREATE TABLE d (id integer PRIMARY KEY DEFAULT nextval('down'))",
        "ALTER SEQUENCE down OWNED BY d.id",
        "INSERT INTO d VALUES (DEFAULT), (DEFAULT), (DEFAULT)",
    )
    dumped, _accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    found = await compare(dumped.address, copy_name, dumped.facts)
    check = found.checks["sequence", "public.t_id_seq"]
    assert check.verdict == "equal"
    assert "next value 1 is not beyond public.t.id, which reaches 40" in check.note
    assert found.checks["sequence", "public.down"].note == ""
    execute(matrix_server.url(copy_name), "SELECT setval('down', -2)")
    found = await compare(dumped.address, copy_name, dumped.facts)
    assert found.failed == {"sequence public.down": "different"}


async def test_a_role_that_may_not_read_is_blocked_not_told_of_a_loss(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1)")
    dumped, _accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    role = f"few_rights_{os.getpid()}"
    execute(matrix_server.url(), f"CREATE ROLE {role} LOGIN", f"ALTER ROLE {role} PASSWORD 'x'")
    execute(matrix_server.url(), f"GRANT CONNECT ON DATABASE {copy_name} TO {role}")
    try:
        address = address_of(matrix_server.url(copy_name, user=role, password="x"))
        found = await compare(address, copy_name, dumped.facts)
    finally:
        execute(matrix_server.url(), f"DROP OWNED BY {role}")
        execute(matrix_server.url(copy_name), f"DROP OWNED BY {role}")
        execute(matrix_server.url(), f"DROP ROLE {role}")
    assert found.tables["public.t"].verdict == "blocked"
    assert found.failed == {}
    assert conclude(list(found.tables.values()), list(found.checks.values())) == "blocked"


async def test_a_table_that_errors_when_read_is_different(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1)")
    dumped, _accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    # Stored as text of four bytes' length, it is no numeric: what a damaged page may hold.
    execute(
        matrix_server.url(copy_name),
        "UPDATE pg_attribute SET atttypid = 'xid'::regtype, attlen = -1"
        " WHERE attrelid = 't'::regclass AND attname = 'id'",
    )
    found = await compare(dumped.address, copy_name, dumped.facts)
    assert found.tables["public.t"].verdict == "different"


@pytest.mark.parametrize("sessions", [1, 3])
async def test_a_big_table_is_read_in_pieces_that_add_up(
    matrix_server: ScratchServer,
    make_database: MakeDatabase,
    copy_name: str,
    tmp_path: Path,
    sessions: int,
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE big AS SELECT n AS id, md5(n::text) AS a, 1.50::numeric AS b"
        " FROM generate_series(1, 20000) AS n",
        "CREATE TABLE small AS SELECT 1 AS id",
    )
    dumped, _accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    opened: list[Connection] = []
    events: list[Event] = []

    async def open_session() -> Connection:
        opened.append(
            await connect(dumped.address, application_name=APPLICATION, database=copy_name)
        )
        return opened[-1]

    async with session(matrix_server.url(copy_name)) as connection:
        here = await inspected_tables(connection)
    # Sizes as a listing beside locks has them.
    here = {name: replace(table, bytes=2_000_000) for name, table in here.items()}
    found = await measure_tables(
        open_session,
        dumped.facts,
        {(table.schema, table.name): table for table in here.values()},
        sessions=sessions,
        report=events.append,
        smallest_piece=100_000,
    )
    captured = {table.name: table for table in dumped.facts.tables}
    for (_schema, name), measured in found.items():
        assert (measured.rows, measured.fingerprint) == (
            captured[name].rows,
            captured[name].fingerprint,
        )
    assert len(opened) == sessions
    assert all(connection.closed for connection in opened)
    done = [event for event in events if isinstance(event, TableDone)]
    assert {(event.table, event.rows) for event in done} == {
        ("public.big", 20000),
        ("public.small", 1),
    }


async def test_an_extension_s_own_table_is_not_too_many(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(
        url, "CREATE EXTENSION hstore", f"ALTER DATABASE {address_of(url).database} SET x.y = 1"
    )
    dumped, _accounting = await captured_and_restored(url, matrix_server, copy_name, tmp_path)
    assert DatabaseSetting(None, "x.y", "1") in dumped.facts.settings
    execute(
        matrix_server.url(copy_name),
        "CREATE TABLE of_a_newer_version (id integer)",
        "ALTER EXTENSION hstore ADD TABLE of_a_newer_version",
        "UPDATE pg_extension SET extconfig = ARRAY['of_a_newer_version'::regclass::oid],"
        " extcondition = ARRAY[''] WHERE extname = 'hstore'",
    )
    found = await compare(dumped.address, copy_name, dumped.facts)
    table = found.tables["public.of_a_newer_version"]
    assert (table.verdict, table.note) == ("expected", "made by the extension hstore")
