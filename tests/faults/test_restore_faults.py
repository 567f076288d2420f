"""What goes wrong while a point is restored beside: names, servers, roles, the live one gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from psycopg import sql

from fsbackup_tui.domain.events import CommandStarted, Event, Progress
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.faults import (
    assert_clean,
    check_error,
    databases_of,
    finish,
    make_slow_to_restore,
    moving,
    wait_for_event,
)
from tests.support.servers import FreshServer, MakeDatabase, execute, query
from tests.support.sites import Site, make_site


def backed_up(directory: Path, url: str, **source: object) -> Site:
    site = make_site(directory, url, source=source)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    return site


def drop(url: str, *names: str) -> None:
    for name in names:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        execute(url, statement.format(sql.Identifier(name)))


def test_a_name_that_is_taken(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT 1 AS id")
    taken = make_database(server).rpartition("/")[2].partition("?")[0]
    live = url.rpartition("/")[2].partition("?")[0]
    site = backed_up(tmp_path / "site", url)
    before = databases_of(url)
    for name in (taken, live):
        check_error(
            site.run("restore", "latest", "--beside", name, "--json"),
            exit_code=3,
            kind="refused",
            what=f"NAME TAKEN: a database {name} exists already. Nothing was done.",
            why="never writes into a database that is there",
            fix="another name",
        )
    assert databases_of(url) == before
    assert query(url, "SELECT * FROM t") == [(1,)]
    assert_clean(site, url, points=1)


@pytest.mark.parametrize("name", ["x" * 64, "ü" * 32, ""])
def test_a_name_that_can_not_be(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    url = make_database(server)
    site = backed_up(tmp_path / "site", url)
    before = databases_of(url)
    result = site.run("restore", "latest", "--beside", name, "--json")
    check_error(
        result,
        exit_code=2,
        kind="usage",
        what="NAME TOO LONG" if name else "NO NAME",
        why="would cut it to 63" if name else "",
    )
    assert databases_of(url) == before
    assert_clean(site, url, points=1)


@pytest.mark.parametrize("name", ["y" * 63, "ä" * 31])
def test_the_longest_names(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT 7 AS id")
    site = backed_up(tmp_path / "site", url)
    try:
        restored = site.run("restore", "latest", "--beside", name, "--json")
        assert restored.exit_code == 0, restored.stdout
        assert query(server.url(name), "SELECT id FROM t") == [(7,)]
    finally:
        drop(url, name)


def test_the_live_database_has_been_dropped(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """That is when a restore is wanted most."""
    url = make_database(server)
    live = url.rpartition("/")[2].partition("?")[0]
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 50) AS id")
    site = backed_up(tmp_path / "site", url)
    drop(server.url(), live)
    copy = f"{live}_back"
    try:
        restored = site.run("restore", "latest", "--beside", copy, "--json")
        assert restored.exit_code == 0, restored.stdout
        assert query(server.url(copy), "SELECT count(*) FROM t") == [(50,)]
        # Under its own name too: nothing of that name is there any more.
        again = site.run("restore", "latest", "--beside", live, "--json")
        assert again.exit_code == 0, again.stdout
        assert query(url, "SELECT count(*) FROM t") == [(50,)]
        check_error(
            site.run("restore", "latest", "--beside", live, "--json"),
            exit_code=3,
            kind="refused",
            what="NAME TAKEN",
        )
    finally:
        drop(server.url(), copy)
    assert_clean(site, server.url(), points=1)


def test_another_server_that_lacks_the_roles(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, fresh_server: FreshServer
) -> None:
    url = make_database(server)
    role, reader = f"owner_{os.getpid()}", f"reader_{os.getpid()}"
    execute(
        url,
        f"CREATE ROLE {role}",
        f"CREATE ROLE {reader}",
        "CREATE TABLE orders AS SELECT generate_series(1, 30) AS id",
        f"ALTER TABLE orders OWNER TO {role}",
        f"GRANT SELECT ON orders TO {reader}",
    )
    site = backed_up(tmp_path / "site", url)
    execute(url, f"DROP OWNED BY {role}, {reader}", f"DROP ROLE {role}, {reader}")
    other = fresh_server(18)
    site.url = other.url("postgres")
    restored = site.run("restore", "latest", "--beside", "moved_here", "--json")
    assert restored.exit_code == 0, restored.stdout + restored.stderr
    document = restored.document
    assert document["entries"]["lost"] == 0
    told = " ".join(
        [problem["what"] for problem in document["problems"]]
        + [entry["reason"] for entry in document["benign"]]
    )
    assert role in told
    assert reader in told
    assert query(other.url("moved_here"), "SELECT count(*) FROM orders") == [(30,)]
    human = site.run("restore", "latest", "--beside", "moved_again")
    assert human.exit_code == 0
    assert role in human.stdout
    assert_clean(site, other.url(), points=1)


def runs_psql(event: Event) -> bool:
    return isinstance(event, CommandStarted) and event.argv[0].endswith("/psql")


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
def test_the_server_is_stopped_in_mid_restore(
    tmp_path: Path, fresh_server: FreshServer, dump_format: str
) -> None:
    # A server that forgets the last commits when it is crashed would be another test.
    server = fresh_server(18, settings={"synchronous_commit": "on"})
    make_slow_to_restore(server.url())
    site = backed_up(tmp_path / "site", server.url(), format=dump_format, jobs=2)
    process = site.start("restore", "latest", "--beside", "never_whole", "--json")
    # A plain dump is loaded in one transaction, whose tables nobody else can see yet.
    wait_for_event(site, runs_psql if dump_format == "plain" else moving)
    server.stop("immediate")
    stopped = time.monotonic()
    result = finish(process)
    assert time.monotonic() - stopped < 20
    check_error(result, exit_code=1, kind="server-unreachable", what="SERVER")
    assert_clean(site, None, points=1)
    server.start()
    assert_clean(site, server.url(), points=1)
    # What is left there is marked unfinished, told, and replaced by the next restore.
    assert "never_whole" not in databases_of(server.url())
    assert "never_whole__unfinished" in databases_of(server.url())
    assert "LEFT OVER: never_whole__unfinished" in result.error["fix"]
    execute(
        server.url(),
        "CREATE OR REPLACE FUNCTION public.crawl(bigint) RETURNS boolean LANGUAGE sql"
        " AS 'SELECT true'",
    )
    assert site.run("backup", "daily", "--json").exit_code == 0
    again = site.run("restore", "latest", "--beside", "never_whole", "--json")
    assert again.exit_code == 0, again.stdout
    assert "never_whole__unfinished" not in databases_of(server.url())


def test_an_administrator_ends_the_sessions_of_a_restore(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """The server is there: the unfinished copy is dropped through a new session."""
    url = make_database(server)
    make_slow_to_restore(url)
    site = backed_up(tmp_path / "site", url)
    name = f"ended_{os.getpid()}"
    process = site.start("restore", "latest", "--beside", name, "--json")
    job = wait_for_event(site, moving)
    query(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE application_name = 'fsbackup/{job.id}'",
    )
    check_error(finish(process), exit_code=1, kind="server-unreachable", what="SERVER")
    assert [found for found in databases_of(url) if found.startswith(name)] == []
    assert_clean(site, url, points=1)


def test_a_name_taken_while_the_copy_was_filled(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """The copy is whole by then: it is kept, and the message says under which name."""
    url = make_database(server)
    make_slow_to_restore(url, rows=400)
    site = backed_up(tmp_path / "site", url)
    name = f"contested_{os.getpid()}"
    process = site.start("restore", "latest", "--beside", name, "--json")
    wait_for_event(site, lambda event: isinstance(event, Progress) and bool(event.active))
    make_database(server, name)
    try:
        check_error(
            finish(process),
            exit_code=3,
            kind="refused",
            what=f"NAME TAKEN: a database {name} came into being meanwhile",
            why=f"is called {name}__unfinished",
            fix="RENAME TO",
        )
        rows = query(server.url(f"{name}__unfinished"), "SELECT count(*) FROM crawling")
        assert rows == [(400,)]
    finally:
        drop(url, f"{name}__unfinished")
    assert_clean(site, url, points=1)
