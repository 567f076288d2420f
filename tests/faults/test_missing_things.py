"""It opens: without its variable, its env_file or its server, all works that needs none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.faults import jobs_of
from tests.support.servers import execute, query
from tests.support.sites import Site, make_site
from tests.support.tty import Tty, answer


@pytest.fixture(scope="module")
def url(server: ScratchServer) -> Iterator[str]:
    execute(server.url(), "CREATE DATABASE missing_things")
    url = server.url("missing_things")
    execute(url, "CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    yield url
    execute(server.url(), "DROP DATABASE missing_things WITH (FORCE)")


@pytest.fixture(scope="module")
def made(url: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("missing") / "site", url)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    return site


def without_variable(site: Site) -> str:
    site.environment["DATABASE_URL"] = ""
    return "DATABASE_URL is empty"


def without_env_file(site: Site) -> str:
    site.settings = {"env_file": "gone.env"}
    return "ENV FILE NOT READ"


def with_unreadable_env_file(site: Site) -> str:
    (site.directory / "dir.env").mkdir(exist_ok=True)
    site.settings = {"env_file": "dir.env"}
    return "ENV FILE NOT READ"


def without_server(site: Site) -> str:
    site.url = "postgresql://postgres@127.0.0.1:1/missing_things?connect_timeout=2"
    return "SERVER NOT REACHED"


LACKS = [without_variable, without_env_file, with_unreadable_env_file, without_server]


@pytest.fixture(params=LACKS, ids=lambda lack: lack.__name__)
def lacking(request: pytest.FixtureRequest, made: Site) -> Iterator[tuple[Site, str]]:
    """A site with a point that lacks something, and the words that name it."""
    site = Site(made.directory, made.url)
    words = request.param(site)
    site.write_config()
    yield site, words
    made.write_config()


def test_the_command_line_works_without(lacking: tuple[Site, str]) -> None:
    site, words = lacking
    listed = site.run("list", "--json")
    assert listed.exit_code == 0, listed.stdout
    (point,) = listed.document["points"]
    shown = site.run("show", point["id"], "--json")
    assert shown.exit_code == 0, shown.stdout
    verified = site.run("verify", point["id"], "--json")
    assert verified.exit_code == 0, verified.stdout
    assert verified.document["trust"] == "readable"
    assert site.run("jobs", "--json").exit_code == 0

    failed = site.run("backup", "daily", "--json")
    assert failed.exit_code == 1
    assert words in failed.error["what"]
    assert failed.error["fix"]
    assert failed.error["kind"] in ("secret-unavailable", "server-unreachable")
    refused = site.run("restore", "latest", "--beside", "never_made", "--json")
    assert refused.exit_code == 1
    assert words in refused.error["what"]
    assert len(site.points()) == 1
    assert site.partial_remains() == []


def test_the_application_opens_and_verifies_without(lacking: tuple[Site, str]) -> None:
    site, words = lacking
    before = len(jobs_of(site))
    screen = Tty(site.command(), site.environ(), site.directory)
    try:
        screen.until_text("PROD face-swap", "daily")
        if "SERVER" not in words:
            screen.until_text(" alert")
            screen.type("a")
            screen.until_text(words)
            screen.type("\x1b")
        screen.until(lambda text: words not in text, what="the inventory is back")
        screen.type("v")
        screen.until_text("Verify readable")
        answer(screen, "1", question="No, nothing")
        screen.until(lambda _: len(jobs_of(site)) > before, what="the job is started")
        screen.until(lambda _: jobs_of(site)[0].state == "ok", what="the verification ended")
        assert jobs_of(site)[0].operation == "verify"
        screen.type("q")
        assert screen.wait() == 0
    finally:
        screen.close()


def test_an_unset_variable_is_named(made: Site, url: str, tmp_path: Path) -> None:
    site = Site(made.directory, url, source={"url": "${NOT_SET_ANYWHERE}"})
    site.write_config()
    try:
        failed = site.run("backup", "daily", "--json")
        assert failed.exit_code == 1
        assert "NOT_SET_ANYWHERE is not set" in failed.error["what"]
        assert "env_file" in failed.error["fix"]
        assert query(url, "SELECT count(*) FROM users") == [(1000,)]
    finally:
        made.write_config()
