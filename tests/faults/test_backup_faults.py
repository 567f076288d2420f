"""What goes wrong while a backup runs: the server, rights, clients, the clock, sharp falls."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.layout import open_repository
from tests.support.faults import (
    SLOW_RATE,
    assert_clean,
    check_error,
    fill,
    finish,
    moving,
    wait_for_event,
)
from tests.support.points import make_point
from tests.support.servers import FreshServer, MakeDatabase, binaries, execute, query
from tests.support.sites import Site, make_site

ROLE = f"fault_reader_{os.getpid()}"


@pytest.mark.parametrize(
    ("dump_format", "mode"),
    [
        ("custom", "immediate"),
        ("directory", "immediate"),
        ("plain", "immediate"),
        ("custom", "fast"),
    ],
)
def test_the_server_is_stopped_in_mid_dump(
    tmp_path: Path, fresh_server: FreshServer, dump_format: str, mode: str
) -> None:
    server = fresh_server(18)
    fill(server.url())
    site = make_site(
        tmp_path / "site",
        server.url(),
        source={"format": dump_format, "jobs": 2, "max_rate": SLOW_RATE},
    )
    process = site.start("backup", "daily", "--json")
    wait_for_event(site, moving)
    server.stop("immediate" if mode == "immediate" else "fast")
    stopped = time.monotonic()
    result = finish(process)
    assert time.monotonic() - stopped < 20
    check_error(result, exit_code=1, kind="server-unreachable", what="SERVER", fix="server")
    assert_clean(site, None)


def make_reader(url: str) -> str:
    """Make a role that may read all there is now, and return its name."""
    execute(
        url,
        f"DROP ROLE IF EXISTS {ROLE}",
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
    )
    return ROLE


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"{role}@", 1)


@pytest.mark.parametrize(
    ("statement", "why", "fix"),
    [
        (
            "CREATE TABLE locked_away (id int)",
            "table public.locked_away",
            f'GRANT SELECT ON TABLE "public"."locked_away" TO "{ROLE}"',
        ),
        (
            "CREATE SEQUENCE ticket",
            "sequence public.ticket",
            f'GRANT SELECT ON SEQUENCE "public"."ticket" TO "{ROLE}"',
        ),
        ("SELECT lo_create(4711)", "large object 4711", "GRANT SELECT ON LARGE OBJECT 4711"),
        (
            "ALTER TABLE open_to_all ENABLE ROW LEVEL SECURITY",
            "Row-level security hides rows of table public.open_to_all",
            "BYPASSRLS",
        ),
    ],
    ids=["table", "sequence", "large object", "row-level security"],
)
def test_a_role_that_can_not_see_everything(
    tmp_path: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    statement: str,
    why: str,
    fix: str,
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE open_to_all AS SELECT 1 AS id")
    role = make_reader(url)
    site = make_site(tmp_path / "site", as_role(url, role))
    try:
        first = site.run("backup", "daily", "--json")
        assert first.exit_code == 0, first.stdout
        execute(url, statement)
        refused = site.run("backup", "daily", "--json")
        check_error(
            refused,
            exit_code=1,
            kind="rights-missing",
            what="RIGHTS MISSING: this role can't back up the whole database",
            why=why,
            fix=fix,
        )
        assert_clean(site, url, points=1)
        # What it says is to be granted really is what was missing.
        granted = [line for line in refused.error["fix"].splitlines() if line.endswith(";")]
        execute(url, *granted)
        again = site.run("backup", "daily", "--json")
        assert again.exit_code == 0, again.stdout
    finally:
        execute(url, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


def test_every_client_is_older_than_the_server(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """FSBACKUP_CLIENTS names the only directories that are looked at."""
    url = make_database(server)
    site = make_site(tmp_path / "site", url)
    site.environment["FSBACKUP_CLIENTS"] = str(binaries(17))
    check_error(
        site.run("backup", "daily", "--json"),
        exit_code=1,
        kind="client-unsuitable",
        what="the server is PostgreSQL 18; it needs pg_dump 18 or newer",
        why=str(binaries(17)),
        fix="postgresql-client-18",
    )
    assert_clean(site, url)
    site.environment["FSBACKUP_CLIENTS"] = str(tmp_path)
    check_error(
        site.run("backup", "daily", "--json"),
        exit_code=1,
        kind="client-unsuitable",
        what="NO FITTING CLIENT",
        why="No PostgreSQL client was found here",
        fix="postgresql-client-18",
    )
    assert_clean(site, url)


def test_a_clock_set_back_reorders_nothing(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """A point and a record from the future stay, and the newest is still the one taken last."""
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT 1 AS id")
    site = make_site(tmp_path / "site", url)
    future = datetime.now(UTC) + timedelta(days=400)
    early = make_point(open_repository(site.repository), created=future).id
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout
    points = site.points()
    assert [point["id"] for point in points] == [done.document["point"], early]
    assert points[0]["sequence"] == points[1]["sequence"] + 1
    # The early point holds other tables, which have vanished since: that is right here.
    assert site.run("clear", done.document["point"], "--reason", "another site").exit_code == 0
    verified = site.run("verify", "latest", "--json")
    assert verified.document["point"] == done.document["point"]
    assert verified.exit_code == 0, verified.stdout
    listed = site.run("list")
    assert listed.exit_code == 0
    assert listed.stdout.index(done.document["point"][:8]) < listed.stdout.index(early[:8])


@pytest.mark.parametrize("name", ['we"ird; db', "naïve base", "-- drop", "%s {0} $HOME `id`"])
def test_odd_names_go_all_the_way(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    url = make_database(server, name)
    table = sql.SQL("CREATE TABLE {}.{} AS SELECT 1 AS {}").format(
        sql.Identifier('sch"ema; x'), sql.Identifier("naïve table"), sql.Identifier('we"ird; c')
    )
    execute(url, 'CREATE SCHEMA "sch""ema; x"', table)
    copy = f'co"py; {name}'
    site = make_site(tmp_path / "site", url)
    try:
        backed_up = site.run("backup", "daily", "--json")
        assert backed_up.exit_code == 0, backed_up.stdout
        assert site.run("verify", "latest", "--json").document["trust"] == "readable"
        restored = site.run("restore", "latest", "--beside", copy, "--json")
        assert restored.exit_code == 0, restored.stdout
        assert restored.document["target"] == copy
        rows = query(server.url(copy), 'SELECT "we""ird; c" FROM "sch""ema; x"."naïve table"')
        assert rows == [(1,)]
        shown = site.run("show", "latest")
        assert "naïve table" in shown.stdout
        assert_clean(site, url, points=1)
    finally:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        execute(server.url(), statement.format(sql.Identifier(copy)))


def restored_by_latest(site: Site) -> str:
    copy = f"copy_of_latest_{os.getpid()}"
    try:
        restored = site.run("restore", "latest", "--beside", copy, "--json")
        assert restored.exit_code == 0, restored.stdout
        return str(restored.document["point"])
    finally:
        execute(site.url, f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")


def suspects(site: Site) -> list[list[str]]:
    return [point["suspect"] for point in site.points()]


def test_an_emptied_table_makes_a_point_suspect_until_it_is_cleared(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE videos AS SELECT generate_series(1, 5340) AS id",
        "CREATE TABLE users AS SELECT generate_series(1, 100) AS id",
    )
    site = make_site(tmp_path / "site", url)
    good = site.run("backup", "daily", "--json").document
    assert good["suspect"] == []
    execute(url, "TRUNCATE videos")
    bad = site.run("backup", "daily", "--json")
    # It is a whole point; that it is suspect is no failure of the backup.
    assert bad.exit_code == 0
    assert "videos" in bad.document["suspect"][0]
    assert suspects(site) == [bad.document["suspect"], []]
    assert "SUSPECT" in site.run("list").stdout
    assert restored_by_latest(site) == good["point"]
    worse = site.run("backup", "daily", "--json").document
    assert worse["suspect"], "it is compared with the last good one, not with the suspect one"
    human = site.run("backup", "daily")
    assert "SUSPECT" in human.stdout
    assert f"fsbackup --config {site.config} clear" in " ".join(human.stdout.split())
    latest = site.points()[0]["id"]
    assert site.run("clear", latest, "--reason", " ", "--json").exit_code == 2
    cleared = site.run("clear", latest, "--reason", "purged on purpose", "--json")
    assert cleared.exit_code == 0, cleared.stdout
    assert site.points()[0]["suspect"] == []
    assert restored_by_latest(site) == latest
    assert site.run("backup", "daily", "--json").document["suspect"] == []
    assert_clean(site, url, points=5)


def test_a_table_dropped_makes_a_point_suspect(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE a AS SELECT 1 AS id", "CREATE TABLE b AS SELECT 1 AS id")
    site = make_site(tmp_path / "site", url)
    site.run("backup", "daily", "--json")
    execute(url, "DROP TABLE b")
    assert "b vanished (had 1 rows)" in site.run("backup", "daily", "--json").document["suspect"][0]


def test_the_session_is_ended_by_an_administrator_in_mid_dump(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    site = make_site(tmp_path / "site", url, source={"max_rate": SLOW_RATE})
    process = site.start("backup", "daily", "--json")
    wait_for_event(site, moving)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'fsbackup/%%' AND datname = %s",
            [url.rpartition("/")[2].partition("?")[0]],
        )
    result = finish(process)
    check_error(result, exit_code=1, kind="server-unreachable", what="SERVER")
    assert_clean(site, url)
