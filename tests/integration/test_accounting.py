"""What a restore loses is found in the copy, whatever pg_restore's log and exit status say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import RestoreIncomplete
from fsbackup_tui.domain.point import TableFacts
from fsbackup_tui.engines.postgres.accounting import Accounting, account
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.connection import client_environment, connect
from fsbackup_tui.engines.postgres.restore import RestoreRun
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.toc import TocEntry
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
)


@pytest.fixture
def copy_name(server: ScratchServer) -> Iterator[str]:
    name = f"copy_{os.getpid()}"
    yield name
    execute(server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def account_again(
    dumped: Dumped, name: str, work: Path, done: RestoreRun, *, archive: Path | None = None
) -> Accounting:
    """Account once more for a copy that was changed after its restore; rows as in the facts.

    With ``archive`` what is absent is tried again.
    """
    _text, entries = await list_archive(dumped.client, dumped.path)
    with client_environment(
        dumped.address, directory=work, application_name=APPLICATION, database=name
    ) as environment:
        side = await connect(dumped.address, application_name=APPLICATION, database=name)
        async with side:
            return await account(
                side, entries, done, dumped.facts,
                client=dumped.client, environment=environment, work=work, archive=archive,
            )  # fmt: skip


def lost(accounting: Accounting) -> set[str]:
    return {entry.label for entry, _why in accounting.lost}


async def test_an_index_over_hidden_duplicates_is_lost(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    # A unique index that its table broke meanwhile, as corruption leaves it.
    execute(
        url,
        "CREATE TABLE t (id integer)",
        "INSERT INTO t VALUES (1), (1)",
        "CREATE INDEX t_id ON t (id)",
        "UPDATE pg_index SET indisunique = true WHERE indexrelid = 't_id'::regclass",
        "CREATE TABLE other (id integer PRIMARY KEY)",
    )
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    done, accounting = await restore(dumped, copy_name, tmp_path, jobs=4)
    assert done.exit_status == 1
    assert lost(accounting) == {"INDEX public.t_id"}
    ((_entry, why),) = accounting.lost
    assert "could not create unique index" in why
    assert accounting.counts()["lost"] == 1
    with pytest.raises(RestoreIncomplete, match="1 of the archive's entries"):
        accounting.require_whole(copy_name)


async def entry_of(dumped: Dumped, label: str) -> TocEntry:
    _text, entries = await list_archive(dumped.client, dumped.path)
    (entry,) = [entry for entry in entries if entry.label == label]
    return entry


@pytest.mark.parametrize("heard", ["of another entry", "of no entry", "not at all"])
async def test_an_error_that_several_jobs_wrote_over_each_other_finds_its_entry(
    server: ScratchServer,
    make_database: MakeDatabase,
    copy_name: str,
    tmp_path: Path,
    heard: str,
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE t (id integer)",
        "INSERT INTO t VALUES (1), (1)",
        "CREATE INDEX t_id ON t (id)",
        "UPDATE pg_index SET indisunique = true WHERE indexrelid = 't_id'::regclass",
        "CREATE TABLE other (id integer)",
        "CREATE INDEX innocent ON other (id)",
    )
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    done, accounting = await restore(dumped, copy_name, tmp_path, jobs=1)
    ((_entry, reason),) = accounting.lost
    assert "could not create unique index" in reason
    (error,) = done.errors
    guilty = (await entry_of(dumped, "INDEX public.t_id")).dump_id
    innocent = (await entry_of(dumped, "INDEX public.innocent")).dump_id
    assert f"(from TOC entry {guilty};" in error
    told = {
        "of another entry": (error.replace(f"entry {guilty};", f"entry {innocent};"),),
        "of no entry": (error.replace("(from TOC entry", "pg_restore: (from"),),
        "not at all": (),
    }[heard]
    parallel = replace(done, jobs=4, errors=told, errors_counted=2)
    assert done.errors_counted == 1
    again = await account_again(dumped, copy_name, tmp_path, parallel, archive=dumped.path)
    assert again.lost == accounting.lost
    assert again.unexplained == ()
    assert again.restored == accounting.restored


async def test_what_comes_alone_is_restored(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        "CREATE INDEX t_id ON t (id)",
        "ALTER TABLE t ADD PRIMARY KEY (id)",
    )
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    done, accounting = await restore(dumped, copy_name, tmp_path)
    assert accounting.whole
    execute(server.url(copy_name), "DROP INDEX t_id")
    number = (await entry_of(dumped, "INDEX public.t_id")).dump_id
    troubled = replace(
        done,
        exit_status=1,
        errors=(f"could not execute query: ERROR:  deadlock (from TOC entry {number}; 1 2 I)",),
        errors_counted=1,
    )
    # Nothing is tried again where nobody can have disturbed anybody.
    alone = replace(troubled, jobs=1)
    assert not (await account_again(dumped, copy_name, tmp_path, alone, archive=dumped.path)).whole
    again = await account_again(dumped, copy_name, tmp_path, troubled, archive=dumped.path)
    assert again.problems() == []
    assert again.restored == accounting.restored
    assert "INDEX public.t_id failed beside others, and came alone" in again.notes
    found = query(server.url(copy_name), "SELECT indexdef FROM pg_indexes WHERE indexname = 't_id'")
    assert found == [("CREATE INDEX t_id ON public.t USING btree (id)",)]


@pytest.mark.parametrize("fires", [True, False])
async def test_rows_are_never_loaded_late(
    server: ScratchServer,
    make_database: MakeDatabase,
    copy_name: str,
    tmp_path: Path,
    *,
    fires: bool,
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS id",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS rows FROM t",
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
    )
    if fires:
        execute(url, "CREATE TRIGGER fires BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fire()")
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    done, accounting = await restore(dumped, copy_name, tmp_path)
    assert accounting.whole
    execute(server.url(copy_name), "TRUNCATE t")
    dumped.facts = replace(
        dumped.facts, tables=(TableFacts("public", "t", "table", 10, True, None),)
    )
    troubled = replace(done, exit_status=1)
    again = await account_again(dumped, copy_name, tmp_path, troubled, archive=dumped.path)
    ((entry, why),) = again.lost
    assert entry.label == "TABLE DATA public.t"
    assert why.startswith("it has 0 rows, the archive 10")
    assert ("its rows can be loaded: restore again" in why) is not fires
    assert query(server.url(copy_name), "SELECT count(*) FROM t") == [(0,)]


async def test_errors_that_nobody_could_read_are_not_passed_over(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t (id integer)")
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    done, accounting = await restore(dumped, copy_name, tmp_path)
    assert accounting.whole
    troubled = replace(done, exit_status=1, errors_counted=1)
    again = await account_again(dumped, copy_name, tmp_path, troubled, archive=dumped.path)
    (problem,) = again.problems()
    assert "errors that can't be read" in problem


async def test_rows_kept_out_by_a_check_are_lost(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    # The function needs a search_path that a restore does not have.
    execute(
        url,
        "CREATE TABLE allowed (word text)",
        "INSERT INTO allowed VALUES ('yes')",
        "CREATE FUNCTION is_allowed(text) RETURNS boolean LANGUAGE sql AS"
        " 'SELECT EXISTS (SELECT FROM allowed WHERE word = $1)'",
        "CREATE TABLE t (word text CHECK (is_allowed(word)))",
        "INSERT INTO t VALUES ('yes'), ('yes')",
    )
    dumped = await dump(url, await client_of(server), tmp_path / "part", dump_format="directory")
    _done, accounting = await restore(dumped, copy_name, tmp_path)
    assert lost(accounting) == {"TABLE DATA public.t"}
    assert all('relation "allowed" does not exist' in why for _entry, why in accounting.lost)
    assert accounting.unexplained == ()


async def test_a_language_without_its_handler_is_lost(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    # pg_dump leaves the handler out where it belongs to an extension: the dump ends well.
    execute(url, "CREATE LANGUAGE second_language HANDLER plpgsql_call_handler")
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    assert dumped.result.warnings == ()
    _done, accounting = await restore(dumped, copy_name, tmp_path)
    assert lost(accounting) == {"PROCEDURAL LANGUAGE second_language"}


CHANGES = {
    "DELETE FROM app.videos WHERE id = 7": "TABLE DATA app.videos",
    "ALTER TABLE app.users DISABLE ROW LEVEL SECURITY; ALTER TABLE app.videos DISABLE ROW"
    " LEVEL SECURITY": "ROW SECURITY app.videos",
    "DROP POLICY own_videos ON app.videos": "POLICY app.videos own_videos",
    "DROP TRIGGER touch_users ON app.users": "TRIGGER app.users touch_users",
    "DROP INDEX app.videos_partial": "INDEX app.videos_partial",
    "ALTER TABLE app.videos DROP CONSTRAINT videos_user": "FK CONSTRAINT app.videos videos_user",
    "ALTER TABLE app.videos DROP CONSTRAINT title_is_short":
        "CHECK CONSTRAINT app.videos title_is_short",
    "ALTER TABLE app.videos ALTER COLUMN id DROP DEFAULT": "DEFAULT app.videos id",
    "ALTER SEQUENCE app.videos_id_seq OWNED BY NONE": "SEQUENCE OWNED BY app.videos_id_seq",
    "SELECT setval('app.odd_numbers', 11)": "SEQUENCE SET app.odd_numbers",
    "ALTER TABLE app.events DETACH PARTITION app.events_2025": "TABLE ATTACH app.events_2025",
    "REVOKE SELECT ON app.users FROM küche": "ACL app.TABLE users",
    "REVOKE SELECT (email) ON app.users FROM \"kitchen reader\"": "ACL app.COLUMN users.email",
    "ALTER DEFAULT PRIVILEGES FOR ROLE kitchen_owner IN SCHEMA app REVOKE SELECT ON TABLES FROM"
    " \"kitchen reader\"": "DEFAULT ACL app.DEFAULT PRIVILEGES FOR TABLES",
    "COMMENT ON TABLE app.users IS 'other'": "COMMENT app.TABLE users",
    "COMMENT ON EVENT TRIGGER watch_commands IS NULL": "COMMENT EVENT TRIGGER watch_commands",
    "ALTER FUNCTION app.touch() OWNER TO postgres": "FUNCTION app.touch()",
    "DROP EVENT TRIGGER watch_commands": "EVENT TRIGGER watch_commands",
    "REFRESH MATERIALIZED VIEW app.video_counts WITH NO DATA":
        "MATERIALIZED VIEW DATA app.video_counts",
    "SELECT lo_unlink(4243)": "BLOB METADATA 4243",
    "REVOKE SELECT ON LARGE OBJECT 4244 FROM \"kitchen reader\"; UPDATE"
    " pg_largeobject_metadata SET lomacl = NULL WHERE oid = 4244": "ACL LARGE OBJECT 4244",
    "COMMENT ON LARGE OBJECT 4242 IS NULL": "COMMENT LARGE OBJECT 4242",
    "ALTER PUBLICATION some_tables DROP TABLE app.users": "PUBLICATION TABLE app.some_tables users",
    "DROP USER MAPPING FOR \"kitchen reader\" SERVER \"far away\"":
        "USER MAPPING USER MAPPING kitchen reader SERVER far away",
    "DROP CAST (app.pair AS text)": "CAST CAST (app.pair AS text)",
    "DROP RULE no_delete ON public.dropped_column": "RULE public.dropped_column no_delete",
    "DROP STATISTICS app.videos_statistics": "STATISTICS app.videos_statistics",
    "DROP SCHEMA empty_one": "SCHEMA empty_one",
    "DROP EXTENSION postgres_fdw CASCADE": "EXTENSION postgres_fdw",
    "ALTER DOMAIN app.positive DROP CONSTRAINT positive_is_positive":
        "CHECK CONSTRAINT app.positive positive_is_positive",
    "ALTER VIEW app.happy_users ALTER COLUMN email DROP DEFAULT": "DEFAULT app.happy_users email",
    "DROP TABLE public.\"line\nbreak\"": "TABLE public.line\nbreak",
    "DROP TABLE public.\"we\"\"ird; db\"": "TABLE DATA public.we\"ird; db",
}  # fmt: skip


async def test_whatever_is_missing_in_the_copy_is_found(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    fill_kitchen_sink(url)
    try:
        dumped = await dump(url, await client_of(server), tmp_path / "part")
        videos = TableFacts("app", "videos", "table", 1500, True, None)
        others = [table for table in dumped.facts.tables if table.qualified != "app.videos"]
        dumped.facts = replace(dumped.facts, tables=(*others, videos))
        done, accounting = await restore(dumped, copy_name, tmp_path)
        assert accounting.whole
        spare = f"{copy_name}_spare"
        for change, label in CHANGES.items():
            execute(server.url(), f"CREATE DATABASE {spare} TEMPLATE {copy_name}")
            try:
                execute(server.url(spare), change)
                found = lost(await account_again(dumped, spare, tmp_path, done))
                assert label in found, change
            finally:
                execute(server.url(), f"DROP DATABASE {spare} WITH (FORCE)")
    finally:
        empty_kitchen_sink(url)


async def test_rows_are_compared_with_the_count_at_capture(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 10) AS id")
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    dumped.facts = replace(
        dumped.facts, tables=(TableFacts("public", "t", "table", 11, True, None),)
    )
    await make_copy(dumped, copy_name)
    _done, accounting = await fill(dumped, copy_name, tmp_path, rows={})
    ((entry, why),) = accounting.lost
    assert (entry.label, why) == ("TABLE DATA public.t", "it has 10 rows, the archive 11")


async def test_errors_that_belong_to_no_entry_are_not_passed_over(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t (id integer)")
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    done, accounting = await restore(dumped, copy_name, tmp_path)
    assert accounting.whole
    troubled = replace(done, errors=("something nobody can place",), exit_status=1)
    again = await account_again(dumped, copy_name, tmp_path, troubled)
    assert again.problems() == ["something nobody can place"]
    assert not again.whole
