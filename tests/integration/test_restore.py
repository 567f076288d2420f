"""Dumps of every format and scope, read through, restored beside, and equal to the original."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import PointDamaged, PostgresError, SafetyRefusal
from fsbackup_tui.domain.point import DumpFormat
from fsbackup_tui.engines.postgres.accounting import account
from fsbackup_tui.engines.postgres.archive import list_archive, read_through
from fsbackup_tui.engines.postgres.connection import client_environment, connect
from fsbackup_tui.engines.postgres.replay import (
    create_database,
    finish_database,
    unfinished_name,
)
from fsbackup_tui.engines.postgres.restore import RestoreRun, Section, restore_archive
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.vacuum import vacuum_analyze
from fsbackup_tui.engines.process import RunningChild
from tests.support.servers import MakeDatabase, execute, query
from tests.support.transfers import (
    APPLICATION,
    Dumped,
    client_of,
    dump,
    empty_kitchen_sink,
    fill,
    fill_kitchen_sink,
    make_copy,
    restore,
    text_of,
)
from tests.support.waiting import wait_until_async

FORMATS: tuple[DumpFormat, ...] = ("custom", "directory", "plain")


@pytest.fixture
def sink(matrix_server: ScratchServer, make_database: MakeDatabase) -> Iterator[str]:
    """A database with every kind of object, on each major."""
    url = make_database(matrix_server)
    fill_kitchen_sink(url)
    yield url
    empty_kitchen_sink(url)


@pytest.fixture
def copy_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for a copy, dropped from whichever server the test used."""
    name = f'copy "of; {os.getpid()}'
    yield name
    for fixture in ("matrix_server", "server", "server17"):
        if fixture in request.fixturenames:
            server: ScratchServer = request.getfixturevalue(fixture)
            for database in (name, unfinished_name(name)):
                quoted = database.replace('"', '""')
                execute(server.url(), f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)')


async def same(dumped: Dumped, name: str, work: Path, *options: str) -> None:
    client, address = dumped.client, dumped.address
    original = await text_of(client, address, address.database, work, *options)
    assert await text_of(client, address, name, work, *options) == original
    assert len(original) > 100


@pytest.mark.parametrize("dump_format", FORMATS)
async def test_a_restored_copy_equals_its_original(
    matrix_server: ScratchServer,
    sink: str,
    copy_name: str,
    tmp_path: Path,
    dump_format: DumpFormat,
) -> None:
    client = await client_of(matrix_server)
    dumped = await dump(sink, client, tmp_path / "part", dump_format=dump_format)
    assert dumped.result.warnings == ()
    await read_through(client, dumped.path, dump_format)

    done, accounting = await restore(dumped, copy_name, tmp_path)

    assert done.exit_status == 0
    assert accounting.problems() == []
    assert {entry.kind for entry in accounting.deferred} == {"SUBSCRIPTION", "COMMENT"}
    assert accounting.restored + len(accounting.deferred) == dumped.result.toc_entries
    assert accounting.schema_sha256 == dumped.facts.schema_sha256
    await same(dumped, copy_name, tmp_path)


async def test_an_empty_database_comes_back_empty(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    for dump_format in FORMATS:
        work = tmp_path / dump_format
        dumped = await dump(
            url, await client_of(matrix_server), work / "part", dump_format=dump_format
        )
        await read_through(dumped.client, dumped.path, dump_format)
        name = f"{copy_name[:-1]}{dump_format}"
        try:
            done, accounting = await restore(dumped, name, work)
            assert (done.exit_status, accounting.problems()) == (0, [])
        finally:
            quoted = name.replace('"', '""')
            execute(matrix_server.url(), f'DROP DATABASE IF EXISTS "{quoted}"')


async def test_a_schema_comes_back_without_rows(
    matrix_server: ScratchServer, sink: str, copy_name: str, tmp_path: Path
) -> None:
    client = await client_of(matrix_server)
    dumped = await dump(sink, client, tmp_path / "part", scope="schema")
    _done, accounting = await restore(dumped, copy_name, tmp_path)
    assert accounting.problems() == []
    assert accounting.schema_sha256 == dumped.facts.schema_sha256
    await same(dumped, copy_name, tmp_path, "--schema-only")
    with psycopg.connect(matrix_server.url(copy_name)) as connection:
        assert connection.execute("SELECT count(*) FROM app.users").fetchall() == [(0,)]


@pytest.mark.parametrize("dump_format", ["custom", "directory"])
async def test_data_is_loaded_into_the_schema_of_another_point(
    matrix_server: ScratchServer,
    sink: str,
    copy_name: str,
    tmp_path: Path,
    dump_format: DumpFormat,
) -> None:
    client = await client_of(matrix_server)
    schema = await dump(sink, client, tmp_path / "schema", scope="schema")
    data = await dump(sink, client, tmp_path / "data", scope="data", dump_format=dump_format)
    await make_copy(schema, copy_name)
    with client_environment(
        schema.address, directory=tmp_path, application_name=APPLICATION, database=copy_name
    ) as environment:

        async def load(dumped: Dumped, section: Section | None = None) -> RestoreRun:
            _text, entries = await list_archive(client, dumped.path)
            return await restore_archive(
                client, environment, dumped.path,
                entries=entries, work=tmp_path, jobs=2, section=section,
            )  # fmt: skip

        before = await load(schema, "pre-data")
        rows = await load(data)
        after = await load(schema, "post-data")
        side = await connect(schema.address, application_name=APPLICATION, database=copy_name)
        async with side:
            both = [
                await account(
                    side, (await list_archive(client, dumped.path))[1], done, schema.facts,
                    client=client, environment=environment, work=tmp_path,
                )
                for dumped, done in ((schema, before.then(after)), (data, rows))
            ]  # fmt: skip
    accounting = both[0].together(both[1])
    assert accounting.problems() == []
    assert accounting.restored > both[0].restored
    await same(schema, copy_name, tmp_path)


async def test_the_databases_own_properties_come_back(
    matrix_server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    database = f'"{query(url, "SELECT current_database()")[0][0]}"'
    execute(
        url,
        "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)",
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'o\"dd role') THEN"
        ' CREATE ROLE "o""dd role"; END IF; END $$',
        f"""ALTER DATABASE {database} SET search_path TO "$user", public, "a,b" """,
        f"ALTER DATABASE {database} SET work_mem TO '5MB'",
        f"ALTER DATABASE {database} SET app.greeting TO 'it''s, \"me\"'",
        f'ALTER ROLE "o""dd role" IN DATABASE {database} SET statement_timeout TO 1234',
        f"ALTER DATABASE {database} CONNECTION LIMIT 7",
        f"COMMENT ON DATABASE {database} IS 'it''s ours'",
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        f"""GRANT CONNECT ON DATABASE {database} TO "o""dd role" WITH GRANT OPTION""",
    )
    dumped = await dump(url, await client_of(matrix_server), tmp_path / "part")
    unfinished = unfinished_name(copy_name)
    admin = await connect(dumped.address, application_name=APPLICATION, database="postgres")
    async with admin:
        await create_database(admin, unfinished, dumped.facts, comment="unfinished")
        await fill(dumped, unfinished, tmp_path)
        vacuumed = await vacuum_analyze(
            lambda: connect(dumped.address, application_name=APPLICATION, database=unfinished),
            jobs=2,
        )
        assert vacuumed == ()
        assert await finish_database(admin, unfinished, copy_name, dumped.facts) == ()
    facts = (
        "SELECT datconnlimit, datacl::text, shobj_description(d.oid, 'pg_database'), datctype,"
        " (SELECT array_agg(setrole || ':' || item ORDER BY setrole, item)"
        "  FROM pg_db_role_setting, unnest(setconfig) AS item WHERE setdatabase = d.oid)"
        " FROM pg_database AS d WHERE datname = "
    )
    literal = copy_name.replace("'", "''")
    assert query(matrix_server.url(), f"{facts} '{literal}'") == query(
        matrix_server.url(), f"{facts} '{database[1:-1]}'"
    )
    with psycopg.connect(matrix_server.url(copy_name)) as connection:
        rows = connection.execute(
            "SELECT reltuples, relallvisible > 0 FROM pg_class WHERE relname = 't'"
        ).fetchall()
        assert rows == [(1000.0, True)]


async def test_a_copy_is_never_made_over_something(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE kept (id integer)")
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    with pytest.raises(SafetyRefusal, match="NAME TAKEN"):
        await make_copy(dumped, dumped.address.database)
    assert query(url, "SELECT count(*) FROM kept") == [(0,)]


async def test_a_locale_the_server_lacks_is_named(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    dumped = await dump(make_database(server), await client_of(server), tmp_path / "part")
    dumped.facts = replace(dumped.facts, collate="tlh_QO.UTF-8", ctype="tlh_QO.UTF-8")
    with pytest.raises(PostgresError, match=r"LOCALE MISSING.*tlh_QO"):
        await make_copy(dumped, copy_name)


async def test_a_cancelled_restore_leaves_no_session(
    server17: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server17)
    execute(
        url,
        "CREATE FUNCTION slow(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN IF pg_catalog.current_database() LIKE ''copy%'' THEN"
        "  PERFORM pg_catalog.pg_sleep(60); END IF; RETURN $1; END'",
        "CREATE TABLE t AS SELECT 1 AS id",
        "CREATE INDEX slow_index ON t (slow(id))",
    )
    dumped = await dump(url, await client_of(server17), tmp_path / "part")
    await make_copy(dumped, copy_name)
    _text, entries = await list_archive(dumped.client, dumped.path)
    started: list[RunningChild] = []
    with client_environment(
        dumped.address, directory=tmp_path, application_name=APPLICATION, database=copy_name
    ) as environment:
        restoring = asyncio.create_task(
            restore_archive(
                dumped.client, environment, dumped.path,
                entries=entries, work=tmp_path, jobs=2, on_started=started.append,
            )
        )  # fmt: skip

        def sessions(state: str) -> int:
            return len(
                query(
                    server17.url(),
                    "SELECT 1 FROM pg_stat_activity WHERE datname LIKE 'copy%'"
                    f" AND query LIKE '%{state}%'",
                )
            )

        await wait_until_async(lambda: sessions("CREATE INDEX slow_index") > 0, timeout=20)
        restoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoring
        await wait_until_async(lambda: sessions("") == 0, timeout=10)
    assert len(started) == 1


async def test_a_torn_dump_is_not_begun(
    server: ScratchServer,
    make_database: MakeDatabase,
    copy_name: str,
    tmp_path: Path,
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 5000) AS id")
    client = await client_of(server)
    dumped = await dump(url, client, tmp_path / "part", dump_format="plain", compression="none")
    text = dumped.path.read_bytes()
    dumped.path.write_bytes(text[: text.index(b"\n4000\n")])
    await make_copy(dumped, copy_name)
    with pytest.raises(PointDamaged, match="does not end as a whole dump"):
        await fill(dumped, copy_name, tmp_path)
    with psycopg.connect(server.url(copy_name)) as connection:
        assert connection.execute("SELECT to_regclass('public.t')").fetchall() == [(None,)]


async def test_commands_for_psql_are_never_carried_out(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    client = await client_of(server)
    dumped = await dump(url, client, tmp_path / "part", dump_format="plain", compression="none")
    touched = tmp_path / "touched"
    text = dumped.path.read_bytes()
    await make_copy(dumped, copy_name)
    for command in (f"\\! touch {touched}", f"\\unrestrict `touch {touched}`"):
        dumped.path.write_bytes(f"{command}\n".encode() + text)
        with pytest.raises(SafetyRefusal, match="holds commands for psql"):
            await fill(dumped, copy_name, tmp_path)
    assert not touched.exists()
