"""Who waits for whom: migrations and backups, two backups, a restore beside a backup."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.faults import (
    SLOW_RATE,
    assert_clean,
    check_error,
    fill,
    finish,
    make_slow_to_restore,
    moving,
    wait_for_event,
    warnings_of,
)
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import make_site
from tests.support.waiting import wait_until


@contextmanager
def migration(url: str, statement: str) -> Iterator[threading.Thread]:
    """Run one statement in a session of its own, as a deploy would; ends with the block."""
    failed: list[str] = []

    def work() -> None:
        try:
            with psycopg.connect(url, autocommit=True, application_name="deploy") as connection:
                connection.execute(statement.encode())
        except psycopg.Error as error:
            failed.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()
    assert failed == []


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Hold a table ACCESS EXCLUSIVE in an open transaction inside the block."""
    with psycopg.connect(url, application_name="migrator") as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


@pytest.mark.parametrize("scope", ["full", "schema", "data"])
def test_a_table_stays_locked_by_a_migration(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, scope: str
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE users AS SELECT 1 AS id", "CREATE TABLE videos AS SELECT 1 AS id")
    site = make_site(tmp_path / "site", url, source={"lock_timeout": "1s", "scope": scope})
    with locked(url, "videos"):
        result = site.run("backup", "daily", "--json")
    check_error(
        result,
        exit_code=1,
        kind="table-locked",
        what="TABLE LOCKED: public.videos stayed locked",
        why="(migrator, pid",
        fix="Wait for the migration to end",
    )
    assert_clean(site, url)
    assert site.run("backup", "daily", "--json").exit_code == 0


@pytest.mark.parametrize("dump_format", ["custom", "directory"])
def test_the_backup_gives_way_to_a_migration_and_is_made_again(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, dump_format: str
) -> None:
    url = make_database(server)
    fill(url)
    execute(url, "CREATE TABLE users AS SELECT generate_series(1, 100) AS id")
    site = make_site(
        tmp_path / "site",
        url,
        source={"format": dump_format, "jobs": 2, "yield_after": "1s", "max_rate": "3MB"},
    )
    process = site.start("backup", "daily", "--json")
    wait_for_event(site, moving)
    with migration(url, "ALTER TABLE users ADD COLUMN email text") as thread:
        wait_until(lambda: not thread.is_alive(), timeout=20, what="the ALTER has succeeded")
        assert process.poll() is None
    result = finish(process, timeout=120)
    assert result.exit_code == 0, result.stdout + result.stderr
    (gave_way,) = [text for text in warnings_of(site) if "Gave way" in text]
    assert "(deploy, pid" in gave_way
    assert "users: ALTER TABLE" in gave_way
    assert_clean(site, url, points=1)
    shown = site.run("show", "latest", "--json")
    assert "users" in shown.stdout
    # The second attempt saw the new column.
    copy = f"gave_way_{os.getpid()}_{dump_format}"
    try:
        assert site.run("restore", "latest", "--beside", copy, "--json").exit_code == 0
        columns = query(
            server.url(copy),
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'users'::regclass"
            " AND attnum > 0",
        )
        assert columns == [("id",), ("email",)]
    finally:
        execute(url, f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")


def test_two_backups_of_a_plan_at_once(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    site = make_site(
        tmp_path / "site",
        url,
        source={"max_rate": "2MB"},
        settings={"plans": {"daily": {"sources": ["db"]}, "hourly": {"sources": ["db"]}}},
    )
    first = site.start("backup", "daily", "--json")
    running = wait_for_event(site, moving)
    refused = site.run("backup", "daily", "--json")
    check_error(
        refused,
        exit_code=3,
        kind="locked",
        what="LOCKED: plan daily is in use by",
        why=running.id,
        fix=f"fsbackup attach {running.id}",
    )
    waiting = site.start("backup", "daily", "--wait", "90", "--json")
    wait_for_event(site, lambda event: isinstance(event, Log) and "Waiting" in event.text)
    assert first.poll() is None, "the first backup must still run here"
    other = site.run("backup", "hourly", "--json")
    assert other.exit_code == 0, other.stdout
    for process in (first, waiting):
        result = finish(process, timeout=120)
        assert result.exit_code == 0, result.stdout + result.stderr
    points = site.points()
    assert [point["plan"] for point in points].count("daily") == 2
    assert len({point["sequence"] for point in points}) == 3
    assert_clean(site, url, points=3)


def test_verify_and_restore_go_on_beside_a_backup(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    site = make_site(tmp_path / "site", url)
    whole = site.run("backup", "daily", "--json").document["point"]
    site.source = {"max_rate": SLOW_RATE}
    site.write_config()
    backup = site.start("backup", "daily", "--json")
    wait_for_event(site, moving)
    copy = f"beside_a_backup_{os.getpid()}"
    try:
        verified = site.run("verify", whole, "--json")
        assert verified.exit_code == 0, verified.stdout
        assert verified.document["trust"] == "readable"
        restored = site.run("restore", "latest", "--beside", copy, "--json")
        assert restored.exit_code == 0, restored.stdout
        assert restored.document["point"] == whole
        running = [point for point in site.points() if point["running"]]
        assert len(running) == 1
        assert backup.poll() is None
    finally:
        backup.terminate()
        execute(url, f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")
    assert finish(backup).exit_code == 130
    assert_clean(site, url, points=1)


def test_two_restores_into_one_server_at_once(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    make_slow_to_restore(url)
    site = make_site(tmp_path / "site", url)
    assert site.run("backup", "daily", "--json").exit_code == 0
    first = site.start("restore", "latest", "--beside", f"one_{os.getpid()}", "--json")
    running = wait_for_event(site, moving)
    try:
        check_error(
            site.run("restore", "latest", "--beside", f"two_{os.getpid()}", "--json"),
            exit_code=3,
            kind="locked",
            what="RESTORE RUNNING",
            why=f"fsbackup/{running.id}",
            fix="fsbackup jobs",
        )
    finally:
        first.terminate()
    assert finish(first).exit_code == 130
    assert_clean(site, url, points=1)
