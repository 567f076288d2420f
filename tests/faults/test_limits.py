"""Limits and a read-only configuration: they act, and say so."""

from __future__ import annotations

import time
from pathlib import Path

from fsbackup_tui.domain.events import CommandStarted
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.manifest import read_manifest
from tests.support.faults import (
    assert_clean,
    check_error,
    databases_of,
    fill,
    newest_job,
    of_process,
    processes_of,
    wait_for_event,
)
from tests.support.jobs import journal_lines
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until


def dump_command(site: Site) -> str:
    """Return the command line of the newest job's pg_dump, as its journal shows it."""
    commands = [
        " ".join(line.event.argv)
        for line in journal_lines(newest_job(site).directory)
        if isinstance(line.event, CommandStarted)
    ]
    (found,) = [command for command in commands if "--snapshot" in command]
    return found


def test_read_only_refuses_what_would_write(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT 1 AS id")
    site = make_site(tmp_path / "site", url)
    assert site.run("backup", "daily", "--json").exit_code == 0
    before = databases_of(url)
    stored = sorted(site.repository.rglob("*"))
    site.settings = {"read_only": True}
    site.write_config()
    for command, words in (
        (("backup", "daily"), "takes no backups"),
        (("restore", "latest", "--beside", "never_made"), "restores nothing"),
        (("clear", "latest", "--reason", "it is right"), "clears no point"),
    ):
        check_error(
            site.run(*command, "--json"),
            exit_code=3,
            kind="refused",
            what=f"READ ONLY: this configuration {words}. Nothing was done.",
            why="read_only: true",
        )
    verified = site.run("verify", "latest", "--json")
    assert verified.exit_code == 0
    assert verified.document["trust"] == "readable"
    assert "read_only: true" in verified.document["notes"][0]
    assert site.run("doctor", "--json").exit_code in (0, 1)
    assert databases_of(url) == before
    # A lock is held, not kept: it is the one thing a reader leaves.
    kept = [path for path in sorted(site.repository.rglob("*")) if "locks" not in path.parts]
    assert kept == [path for path in stored if "locks" not in path.parts]
    assert_clean(site, url, points=1)


def test_max_rate_holds_a_dump_back(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    for number in range(20):
        execute(url, f"CREATE TABLE small_{number} AS SELECT * FROM events_0 WHERE id <= 200")
    site = make_site(tmp_path / "site", url, source={"max_rate": "3MB", "fingerprints": "counts"})
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout
    manifest = read_manifest(Path(done.document["path"]) / "manifest.json")
    # 40 MB at 3 MB a second; what passes between two looks comes for free.
    assert manifest.parts[0].phases["dump"] > 3


def test_a_snapshot_may_not_grow_older_than_allowed(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    site = make_site(
        tmp_path / "site",
        url,
        source={"max_rate": "500kB"},
        settings={"limits": {"snapshot_age": "3s"}},
    )
    started = time.monotonic()
    check_error(
        site.run("backup", "daily", "--json"),
        exit_code=1,
        kind="postgres",
        what="SNAPSHOT TOO OLD",
        why="limits.snapshot_age is 3 s",
        fix="Raise limits.snapshot_age",
    )
    assert time.monotonic() - started < 30
    assert_clean(site, url)


def test_limits_jobs_and_nice_act_on_the_clients(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    site = make_site(
        tmp_path / "site",
        url,
        source={"format": "directory", "jobs": 4, "max_rate": "500kB"},
        settings={"limits": {"jobs": 2, "nice": 7}},
    )
    process = site.start("backup", "daily", "--json")
    wait_for_event(
        site, lambda event: isinstance(event, CommandStarted) and "--jobs=2" in event.argv
    )
    assert "--jobs=2" in dump_command(site)

    def niceness() -> set[int]:
        clients = [pid for pid in processes_of(site) if b"PGAPPNAME=" in of_process(pid, "environ")]
        fields = [of_process(pid, "stat").rpartition(b")")[2].split() for pid in clients]
        return {int(stat[16]) for stat in fields if stat}

    wait_until(lambda: niceness() == {7}, what="the clients have the niceness")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert_clean(site, url)
