"""A database that can't be reached, or that refuses us: said, and nothing left behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.faults import (
    CANARY,
    assert_clean,
    check_error,
    files_with,
    jobs_of,
    onlooker,
)
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that refuses connections (bound, not listening)."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def back_up_refused(site: Site, *, kind: str, what: str, why: str, fix: str, code: int = 1) -> None:
    with onlooker(CANARY) as others:
        result = site.run("backup", "daily", "--json")
    check_error(result, exit_code=code, kind=kind, what=what, why=why, fix=fix)
    assert others.looks > 5
    assert others.seen == set()
    # For people the words are wrapped, but a path in them is whole.
    human = site.run("backup", "daily")
    assert human.exit_code == code
    assert human.stdout == ""
    assert what in " ".join(human.stderr.split())
    assert CANARY not in human.stderr


def test_a_host_that_nobody_knows(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", f"postgresql://app:{CANARY}@no-such-host.invalid:5432/shop")
    back_up_refused(
        site,
        kind="server-unreachable",
        what="SERVER NOT REACHED: no-such-host.invalid:5432 is no host that this machine knows",
        why="no-such-host.invalid",
        fix="app@no-such-host.invalid:5432/shop",
    )
    assert_clean(site, None)


def test_a_port_that_nobody_listens_on(tmp_path: Path, closed_port: int) -> None:
    site = make_site(tmp_path / "site", f"postgresql://app:{CANARY}@127.0.0.1:{closed_port}/shop")
    back_up_refused(
        site,
        kind="server-unreachable",
        what=f"SERVER NOT REACHED: 127.0.0.1:{closed_port} refused the connection",
        why="refused",
        fix="Check that the server runs",
    )
    assert_clean(site, None)


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    nowhere = quote("/no-such-directory", safe="")
    site = make_site(tmp_path / "site", f"postgresql://app:{CANARY}@/shop?host={nowhere}")
    back_up_refused(
        site,
        kind="server-unreachable",
        what="has no socket: no server runs there",
        why="No such file",
        fix="Check that the server runs",
    )
    assert_clean(site, None)


def test_a_wrong_password(tmp_path: Path, canary_server: ScratchServer) -> None:
    wrong = f"{CANARY}-but-wrong"
    site = make_site(tmp_path / "site", canary_server.url("postgres", password=wrong))
    back_up_refused(
        site,
        kind="authentication-failed",
        what="LOGIN REFUSED",
        why="password authentication failed",
        fix="Check user and password in the URL",
    )
    assert_clean(site, canary_server.url())


def test_a_role_that_is_not_there(tmp_path: Path, canary_server: ScratchServer) -> None:
    site = make_site(tmp_path / "site", canary_server.url("postgres", "nobody_here", CANARY))
    back_up_refused(
        site,
        kind="authentication-failed",
        what="refused the role 'nobody_here'",
        why="password authentication failed",
        fix="Check user and password",
    )
    assert_clean(site, canary_server.url())


def test_a_database_that_is_not_there(tmp_path: Path, canary_server: ScratchServer) -> None:
    site = make_site(tmp_path / "site", canary_server.url("shop_of_another_name"))
    back_up_refused(
        site,
        kind="database-missing",
        what="DATABASE MISSING",
        why="shop_of_another_name",
        fix="psql -l",
    )
    assert_clean(site, canary_server.url())


def test_an_address_that_is_not_set(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", "")
    site.environment["DATABASE_URL"] = ""
    back_up_refused(
        site,
        kind="secret-unavailable",
        what="DATABASE_URL",
        why="fsbackup.yaml:",
        fix="env_file",
    )
    assert_clean(site, None)


def test_the_hosts_placeholder_for_the_password(tmp_path: Path) -> None:
    site = make_site(
        tmp_path / "site",
        "postgresql://postgres:[YOUR-PASSWORD]@db.abcdefghijklmnopqrst.supabase.co:5432/postgres",
    )
    back_up_refused(
        site,
        kind="usage",
        code=2,
        what="PASSWORD NOT FILLED IN",
        why="hosting panel",
        fix="with its brackets",
    )
    assert_clean(site, None)


def test_the_password_is_nowhere_after_all_went_well(
    tmp_path: Path, canary_server: ScratchServer, make_database: MakeDatabase
) -> None:
    """Neither in the point, the journal, the state, the output nor on any command line."""
    url = make_database(canary_server)
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    site = make_site(tmp_path / "site", url)
    with onlooker(CANARY) as others:
        backed_up = site.run("backup", "daily", "--json")
        verified = site.run("verify", "latest", "--json")
        restored = site.run("restore", "latest", "--beside", "canary_copy", "--json")
        doctor = site.run("doctor", "--json")
    execute(canary_server.url(), "DROP DATABASE canary_copy WITH (FORCE)")
    for result in (backed_up, verified, restored):
        assert result.exit_code == 0, result.stdout + result.stderr
    for result in (backed_up, verified, restored, doctor):
        assert CANARY not in result.stdout + result.stderr
    assert others.looks > 10
    assert others.seen == set()
    assert len(jobs_of(site)) == 3
    assert_clean(site, canary_server.url(), points=1)


def test_a_password_in_the_env_file_stays_in_the_env_file(
    tmp_path: Path, canary_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(canary_server)
    site = make_site(tmp_path / "site", "", settings={"env_file": "app.env"})
    env_file = site.directory / "app.env"
    env_file.touch(mode=0o600)
    env_file.write_text(f"DATABASE_URL={url}\n")
    site.write_config()
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert files_with(site.directory, CANARY) == [env_file]


@pytest.mark.parametrize("form", ["file", "command"])
def test_a_secret_that_can_not_be_read_says_which(tmp_path: Path, form: str) -> None:
    described: dict[str, object] = {
        "file": {"file": str(tmp_path / "no-such-file")},
        "command": {"command": ["false"]},
    }[form]  # type: ignore[assignment]
    site = make_site(tmp_path / "site", "", source={"url": described})
    back_up_refused(
        site,
        kind="secret-unavailable",
        what="no-such-file can't be read" if form == "file" else "command that should print it",
        why="fsbackup.yaml:" if form == "file" else "false ended with exit status 1",
        fix="Inventory and verify work without it",
    )
    assert_clean(site, None)
