"""A disk that is full, read-only, gone, or of another format: real file systems, mounted here.

Mounting needs root, or a namespace in which one is root (``unshare --user --map-root-user
--mount pytest …``).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.elsewhere import PLACES
from fsbackup_tui.repository.layout import create_repository
from tests.support.disks import fill_disk, mount, small_disk
from tests.support.faults import (
    assert_clean,
    check_error,
    fill,
    finish,
    moving,
    newest_job,
    sessions_of,
    state_of,
    wait_for_event,
)
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site

pytestmark = pytest.mark.machine


@contextmanager
def site_on_disk(tmp_path: Path, url: str, megabytes: int, **source: object) -> Iterator[Site]:
    """Give a site whose repository is a file system of its own."""
    site = make_site(tmp_path / "site", url, source=source)
    shutil.rmtree(site.repository)
    with small_disk(site.repository, megabytes):
        create_repository(site.repository, "face-swap", datetime.now(UTC))
        yield site


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
def test_the_disk_is_full_in_mid_dump(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, dump_format: str
) -> None:
    url = make_database(server)
    fill(url)
    with site_on_disk(tmp_path, url, 12, format=dump_format, jobs=2, compression="none") as site:
        before = os.statvfs(site.repository).f_bavail
        check_error(
            site.run("backup", "daily", "--json"),
            exit_code=1,
            kind="disk-full",
            what="DISK FULL: pg_dump had no space left for",
            why="No space left on device",
            fix="Free space there",
        )
        assert_clean(site, url)
        assert os.statvfs(site.repository).f_bavail > before - 100


def test_the_disk_is_full_when_the_dump_is_done(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """What comes behind the dump (here a file of ``also:``) has no room left."""
    url = make_database(server)
    large = tmp_path / "schema.prisma"
    large.write_bytes(bytes(20_000_000))
    with site_on_disk(tmp_path, url, 12, also=[str(large)]) as site:
        check_error(
            site.run("backup", "daily", "--json"),
            exit_code=1,
            kind="disk-full",
            what="DISK FULL: no space left",
            fix="Free space there",
        )
        assert_clean(site, url)


def test_the_disk_fills_slowly_and_the_dump_is_stopped_before_it_is_full(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    fill(url)
    with site_on_disk(tmp_path, url, 200, compression="none", max_rate="3MB") as site:
        process = site.start("backup", "daily", "--json")
        wait_for_event(site, moving)
        theirs = fill_disk(site.repository, leaving=20_000_000)
        check_error(
            finish(process),
            exit_code=1,
            kind="disk-full",
            what="NOT ENOUGH SPACE",
            why="fill the disk",
            fix="Free space",
        )
        theirs.unlink()
        assert_clean(site, url)
        site.source = {}
        site.write_config()
        assert site.run("backup", "daily", "--json").exit_code == 0
        # What the next one takes is known by now, and asked for before it begins.
        fill_disk(site.repository, leaving=5_000_000)
        check_error(
            site.run("backup", "daily", "--json"),
            exit_code=1,
            kind="disk-full",
            what="bytes needed",
            fix="Free space",
        )
        assert_clean(site, url, points=1)


def test_the_state_directory_is_full_while_a_backup_runs(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """The backup goes on, ends well, and says so, although nothing can be noted."""
    url = make_database(server)
    fill(url)
    site = make_site(tmp_path / "site", url, source={"max_rate": "8MB"})
    with small_disk(site.state, 8):
        process = site.start("backup", "daily", "--json")
        wait_for_event(site, moving)
        theirs = fill_disk(site.state)
        result = finish(process, timeout=90)
        assert result.exit_code == 0, result.stdout + result.stderr
        assert result.document["trust"] == "sealed"
        # With the disk still full: looked at, verified or refused in words, never broken.
        assert [point["id"] for point in site.points()] == [result.document["point"]]
        check_error(
            site.run("backup", "daily", "--json"),
            exit_code=1,
            kind="disk-full",
            what="STATE DIRECTORY FULL",
            why="No space left",
            fix="state: in the config",
        )
        theirs.unlink()
        assert newest_job(site).state == "ok"
        assert site.run("backup", "daily", "--json").exit_code == 0
        assert_clean(site, url, points=2)


def test_a_recovery_begins_although_the_state_directory_is_full(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 100) AS id")
    site = make_site(tmp_path / "site", url, settings={"environment": "test"})
    assert site.run("backup", "daily", "--json").exit_code == 0
    execute(url, "DELETE FROM t")
    state = state_of(site)
    shutil.rmtree(site.state)
    elsewhere = [place / f"fsbackup-{os.geteuid()}" / state.name for place in PLACES]
    try:
        with small_disk(site.state, 8):
            fill_disk(site.state)
            swap = ("restore", "latest", "--swap", "--reason", "tried", "--confirm", live)
            done = site.run(*swap, "--json")
            assert done.exit_code == 0, done.stdout + done.stderr
            assert query(url, "SELECT count(*) FROM t") == [(100,)]
            (incident,) = site.run("incidents", "--json").document["incidents"]
            report = site.run("incidents", "report", incident["id"]).stdout
            assert f"The state directory {state} can't be written" in report
            (place,) = [place for place in elsewhere if place.is_dir()]
            assert (place / "incidents" / incident["id"] / "NOW.txt").is_file()
            assert list((place / "jobs").iterdir())
    finally:
        for place in elsewhere:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):  # not there, or another's are in it
                place.parent.rmdir()
        for (name,) in query(
            server.url(), f"SELECT datname FROM pg_database WHERE datname ~ '^{live}__'"
        ):
            execute(server.url(), f'DROP DATABASE "{name}" WITH (FORCE)')


def test_the_repository_is_read_only(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT 1 AS id")
    with site_on_disk(tmp_path, url, 50) as site:
        assert site.run("backup", "daily", "--json").exit_code == 0
        mount("-o", "remount,ro", str(site.repository))
        check_error(
            site.run("backup", "daily", "--json"),
            exit_code=1,
            kind="repository-unwritable",
            what="REPOSITORY NOT WRITABLE",
            why="list, show, verify and restore still work",
            fix="writable",
        )
        assert_clean(site, url, points=1)
        verified = site.run("verify", "latest", "--json")
        assert verified.exit_code == 0, verified.stdout
        assert verified.document["trust"] == "readable"
        assert any("Not recorded" in note for note in verified.document["notes"])
        assert site.run("show", "latest", "--json").exit_code == 0
        copy = f"from_read_only_{os.getpid()}"
        try:
            restored = site.run("restore", "latest", "--beside", copy, "--json")
            assert restored.exit_code == 0, restored.stdout
            assert query(server.url(copy), "SELECT id FROM t") == [(1,)]
        finally:
            execute(url, f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")


def test_the_disk_is_not_mounted(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    with site_on_disk(tmp_path, url, 50) as site:
        assert site.run("backup", "daily", "--json").exit_code == 0
    # The mount is gone; an empty directory is in its place.
    assert list(site.repository.iterdir()) == []
    for remove in (True, False):
        check_error(
            site.run("backup", "daily", "--json"),
            exit_code=1,
            kind="repository-missing",
            what="REPOSITORY NOT MOUNTED",
            why="It was there before",
            fix="Mount its disk",
        )
        if remove:
            site.repository.rmdir()
    assert not site.repository.exists()
    shown = site.run("list")
    assert "REPOSITORY NOT MOUNTED" in shown.stdout + shown.stderr


def test_a_repository_of_a_newer_format(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    site = make_site(tmp_path / "site", url)
    path = site.repository / "fsbackup.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": 2, "news": ["of the future"]}))
    before = sorted(site.repository.rglob("*"))
    for command in (("backup", "daily"), ("restore", "latest", "--beside", "x"), ("list",)):
        check_error(
            site.run(*command, "--json"),
            exit_code=1,
            kind="repository-newer",
            what="has format 2",
            why="reads format 1",
            fix="pip install --upgrade fsbackup-tui",
        )
    assert sorted(site.repository.rglob("*")) == before
    assert sessions_of(site, url) == []


def test_the_repository_of_another_site(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    site = make_site(tmp_path / "site", url)
    site.settings = {"site": "another-site"}
    site.write_config()
    check_error(
        site.run("backup", "daily", "--json"),
        exit_code=1,
        kind="repository",
        what="belongs to face-swap",
        why="another-site",
        fix="repository: or site:",
    )
