"""The site's own integrity queries: asked in the dump's snapshot and of a copy, never writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fsbackup_tui.config.model import IntegrityQuery
from fsbackup_tui.domain.events import Event, Log
from fsbackup_tui.domain.point import DatabaseSetting, IntegrityResult
from fsbackup_tui.engines.postgres.integrity import (
    ask_at_capture,
    check_integrity,
    judge_integrity,
    run_integrity_query,
)
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.manifest import read_part
from tests.support.points import facts as make_facts
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import session
from tests.support.sites import make_site


def asked(statement: str, expect: object = "no rows", name: str = "q") -> IntegrityQuery:
    return IntegrityQuery.model_validate({"name": name, "sql": statement, "expect": expect})


async def answer(url: str, statement: str, *, timeout_seconds: float = 60) -> IntegrityResult:
    async with session(url) as connection:
        result = await run_integrity_query(
            connection, asked(statement), timeout_seconds=timeout_seconds
        )
        assert connection.info.transaction_status.name == "IDLE"
        return result


@pytest.mark.parametrize(
    ("statement", "rows", "value"),
    [
        ("SELECT id FROM t ORDER BY id", 3, "1"),
        ("SELECT id FROM t ORDER BY id; ", 3, "1"),
        ("SELECT id FROM t WHERE id > 1 -- a comment", 2, "2"),
        ("SELECT id FROM t WHERE false", 0, None),
        ("SELECT FROM t", 3, None),
        ("SELECT NULL", 1, None),
        ("SELECT ''", 1, ""),
        ("VALUES (true)", 1, "t"),
        ("TABLE t", 3, "1"),
        ("SELECT 'infinity'::date", 1, "infinity"),
        ("SELECT '100%%s'", 1, "100%%s"),
        ("WITH x AS (SELECT 1.50 AS a) SELECT a FROM x", 1, "1.50"),
        ("SELECT n FROM generate_series(1, 100000) AS n", 100000, "1"),
        ("SELECT current_setting('transaction_read_only')", 1, "on"),
    ],
)
async def test_answers(
    matrix_server: ScratchServer,
    make_database: MakeDatabase,
    statement: str,
    rows: int,
    value: str | None,
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1), (2), (3)")
    assert await answer(url, statement) == IntegrityResult("q", rows, value)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1; DROP TABLE t",
        "DELETE FROM t",
        "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone",
        "SELECT writes()",
        "SELECT nextval('s')",
        "SELECT set_config('transaction_read_only', 'off', true), writes()",
        "COMMIT",
        "COMMIT; DROP TABLE t",
        "SET transaction_read_only = off",
        "COPY t TO PROGRAM 'true'",
        "SELECT id FROM t FOR UPDATE",
        "SELECT id INTO other FROM t",
        "CALL p()",
        "EXPLAIN ANALYZE DELETE FROM t",
        "-- nothing",
        "no SQL at all",
        "SELECT 1 / (SELECT 0)",
    ],
)
async def test_what_is_no_question_is_refused(
    matrix_server: ScratchServer, make_database: MakeDatabase, statement: str
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE TABLE t (id integer)",
        "INSERT INTO t VALUES (1)",
        "CREATE SEQUENCE s",
        "CREATE FUNCTION writes() RETURNS integer LANGUAGE sql AS"
        " 'INSERT INTO t VALUES (9) RETURNING id'",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'",
    )
    found = await answer(url, statement)
    assert found.rows is None
    assert found.note
    assert judge_integrity(asked(statement), None, found).failed
    assert query(url, "SELECT count(*), max(id) FROM t") == [(1, 1)]
    assert query(url, "SELECT is_called FROM s") == [(False,)]


async def test_a_query_that_takes_too_long_blocks(server: ScratchServer) -> None:
    found = await answer(server.url(), "SELECT pg_sleep(60)", timeout_seconds=0.2)
    assert "no answer within 0.2 s" in found.note
    assert judge_integrity(asked("SELECT 1"), None, found).verdict == "blocked"


async def test_a_long_value_is_cut_and_still_compares(server: ScratchServer) -> None:
    first = await answer(server.url(), "SELECT repeat('x', 100000) || 'a'")
    second = await answer(server.url(), "SELECT repeat('x', 100000) || 'b'")
    assert first.value is not None
    assert len(first.value) < 700
    query_ = asked("SELECT 1", "same as at capture")
    assert judge_integrity(query_, first, first).verdict == "equal"
    assert judge_integrity(query_, first, second).verdict == "different"


async def test_a_lost_session_is_raised_not_judged(server: ScratchServer) -> None:
    async with session(server.url()) as connection:
        with pytest.raises(psycopg.OperationalError):
            await run_integrity_query(
                connection, asked("SELECT pg_terminate_backend(pg_backend_pid())")
            )


async def test_the_database_s_own_search_path_counts(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(
        url,
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.t AS SELECT 1 AS id",
        "CREATE SCHEMA app",
        "CREATE TABLE app.mine AS SELECT 2 AS id",
    )
    setting = DatabaseSetting(None, "search_path", '"$user", shop')
    facts = make_facts(
        settings=(setting, DatabaseSetting("other", "search_path", "nowhere")),
        integrity=(IntegrityResult("kept", 1, "1"),),
    )
    queries = (
        asked("SELECT id FROM t", "same as at capture", "kept"),
        asked("SELECT id FROM t", "same as at capture", "new"),
        asked("SELECT id FROM mine", {"value": 2}, "of the capturing role"),
        asked("SELECT id FROM t", {"min": 2}, "too few"),
    )
    async with session(url) as connection:
        checks = await check_integrity(connection, facts, queries)
    assert {check.name: check.verdict for check in checks} == {
        "kept": "equal",
        "new": "unknown",
        "of the capturing role": "equal",
        "too few": "different",
    }


async def test_at_capture_trouble_is_an_answer_s_note_and_the_snapshot_goes_on(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE public.t (id integer)")
    queries = (
        asked("SELECT 1 / (SELECT 0)", name="bad"),
        asked("COMMIT", name="commit"),
        asked("SELECT pg_sleep(60)", name="slow"),
        asked("SELECT count(*) FROM t", name="good"),
    )
    events: list[Event] = []
    async with session(url) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute("SELECT 1 FROM public.t")
        execute(url, "INSERT INTO t VALUES (1)")
        answers = await ask_at_capture(
            connection,
            queries,
            search_path="public",
            report=events.append,
            timeout_seconds=0.2,
        )
        assert connection.info.transaction_status.name == "INTRANS"
        last = await ask_at_capture(
            connection,
            (asked("SELECT pg_terminate_backend(pg_backend_pid())"), *queries[3:]),
            search_path="public",
            report=events.append,
        )
    by_name = {one.name: one for one in answers}
    assert by_name["good"] == IntegrityResult("good", 1, "0")
    assert by_name["bad"].note == "division by zero"
    assert by_name["commit"].rows is None
    assert "no answer within 0.2 s" in by_name["slow"].note
    assert [one.rows for one in last] == [None, None]
    assert all(one.note.startswith("not asked") for one in last)
    assert len([event for event in events if isinstance(event, Log)]) == 5


def test_a_backup_keeps_the_answers_and_the_large_objects_content(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1)", "SELECT lo_create(7)")
    settings: dict[str, Any] = {
        "integrity": [
            {"name": "how many", "sql": "SELECT count(*) FROM t", "expect": "same as at capture"},
            {"name": "broken", "sql": "SELECT * FROM nowhere", "expect": "no rows"},
            {
                "name": "of another",
                "sql": "SELECT 1",
                "expect": "no rows",
                "source": "elsewhere",
            },
        ]
    }
    site = make_site(tmp_path / "site", url, settings=settings)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    (path,) = site.repository.glob("points/*/db/part.json")
    facts = read_part(path).postgres
    assert facts is not None
    assert facts.integrity == (
        IntegrityResult("how many", 1, "1"),
        IntegrityResult("broken", None, None, 'relation "nowhere" does not exist'),
    )
    assert facts.large_object_fingerprint is not None
    assert facts.large_object_fingerprint.method == "fsb1-pages-2048"
    # What an earlier fsbackup wrote is read as well.
    document = json.loads(path.read_text())
    del document["postgres"]["integrity"], document["postgres"]["large_object_fingerprint"]
    older = tmp_path / "part.json"
    older.write_text(json.dumps(document))
    again = read_part(older).postgres
    assert again is not None
    assert (again.integrity, again.large_object_fingerprint) == ((), None)
