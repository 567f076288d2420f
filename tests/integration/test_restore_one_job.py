"""Several jobs that write their errors over each other: once more by one, from the beginning."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.one_job import ONCE_MORE
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site

# What two jobs wrote at once, as pg_restore's pieces of a message come out of a real one.
_STUB = """\
#!/bin/sh
echo "$*" >> {calls}
{real} "$@"
status=$?
case " $* " in
*" --dbname="*" --jobs=1 "*) ;;
*" --dbname="*)
    echo 'pg_restore: pg_restore: errorerror: : could not execute' >&2
    echo 'pg_restore: error: could not execute query: ERpg_restore: ' >&2
    echo 'pg_restore: warning: errors ignored on restore: 9' >&2
    status=1 ;;
esac
exit $status
"""


def stub_clients(directory: Path, real: Path, calls: Path) -> Path:
    """Make client programs whose pg_restore is not to be understood, but with one job."""
    directory.mkdir()
    for program in real.iterdir():
        (directory / program.name).symlink_to(program)
    stub = directory / "pg_restore"
    stub.unlink()
    text = _STUB.format(real=shlex.quote(str(real / "pg_restore")), calls=shlex.quote(str(calls)))
    stub.write_text(text)
    stub.chmod(0o755)
    return directory


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def site(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, calls: Path
) -> Iterator[Site]:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 10) AS id", "CREATE TABLE u ()")
    made = make_site(tmp_path / "site", url)
    clients = stub_clients(tmp_path / "clients", server.bin_directory, calls)
    made.environment["FSBACKUP_CLIENTS"] = str(clients)
    done = made.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    yield made
    for name in databases(server, made):
        execute(server.url(), f'DROP DATABASE "{name}" WITH (FORCE)')


def databases(server: ScratchServer, site: Site) -> list[str]:
    """The databases made beside the live one."""
    live = site.url.partition("?")[0].rpartition("/")[2]
    rows = query(
        server.url(), f"SELECT datname::text FROM pg_database WHERE datname LIKE '{live}\\_%'"
    )
    return [str(name) for (name,) in rows]


def loads(calls: Path) -> list[str]:
    """The options by which pg_restore was asked to fill a database, in order."""
    asked = [line for line in calls.read_text().splitlines() if "--dbname=" in line]
    return [next(word for word in line.split() if word.startswith("--jobs=")) for line in asked]


def test_a_restore_is_done_again_by_one_job_in_a_new_database(
    server: ScratchServer, site: Site, calls: Path
) -> None:
    live = site.url.partition("?")[0].rpartition("/")[2]
    copy = f"{live}_copy"
    calls.write_text("")
    done = site.run("restore", "latest", "--beside", copy, "--jobs", "3", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert loads(calls) == ["--jobs=3", "--jobs=1"]
    assert {"what": ONCE_MORE} in done.document["problems"]
    assert done.document["entries"]["lost"] == 0
    # Resumed into, the tables would have been there, and their rows twice.
    assert query(server.url(copy), "SELECT count(*) FROM t") == [(10,)]
    assert databases(server, site) == [copy]
    (journal,) = site.state.glob("*/jobs/*restore*/journal.jsonl")
    assert "Several jobs wrote their errors over each other" in journal.read_text()


def test_a_proof_is_done_again_by_one_job(server: ScratchServer, site: Site, calls: Path) -> None:
    calls.write_text("")
    proven = site.run("verify", "latest", "--level", "proven", "--json")
    assert proven.exit_code == 0, proven.stdout + proven.stderr
    assert proven.document["trust"] == "proven"
    first, second = loads(calls)
    assert (first != "--jobs=1", second) == (True, "--jobs=1")
    assert databases(server, site) == []
