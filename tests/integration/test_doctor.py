"""``fsbackup doctor`` on real servers: what it tries, what it says, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.cli.main import run_command_line
from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.events import Event
from fsbackup_tui.engines.postgres.fingerprint import fingerprint_tables
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.snapshot import shared_snapshot
from fsbackup_tui.operations.doctor import Finding, diagnose
from fsbackup_tui.repository.layout import create_repository
from tests.support.servers import (
    PACKAGES,
    MakeDatabase,
    binaries,
    execute,
    package_binaries,
    query,
)
from tests.support.sessions import address_of


@dataclass(frozen=True)
class Site:
    """A configuration on disk with its repository."""

    config: Path
    repository: Path

    def diagnose(self, *, fix: bool = False) -> dict[str, Finding]:
        """Return the findings by their ids."""
        environ = {"HOME": str(self.config.parent)}
        found = asyncio.run(diagnose(load_config(self.config, environ), environ, fix=fix))
        return {finding.id: finding for finding in found}


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path) -> MakeSite:
    def make(
        url: str, *, admin: str | None = None, repository: bool = True, more: str = ""
    ) -> Site:
        directory = tmp_path / "site"
        directory.mkdir(mode=0o700)
        config = directory / "fsbackup.yaml"
        place = tmp_path / "repository"
        admin_text = "" if admin is None else f"\n    admin: {{url: '{admin}'}}"
        config.write_text(
            f"site: shop\nrepository: {place}\nstate: {tmp_path / 'state'}\n"
            "plans: {daily: {sources: [db]}}\n"
            f"sources:\n  db:\n    kind: postgres\n    url: '{url}'{admin_text}\n{more}",
            encoding="utf-8",
        )
        config.chmod(0o600)
        if repository:
            create_repository(place, "shop", datetime(2026, 11, 22, tzinfo=UTC))
        return Site(config, place)

    return make


def severities(found: dict[str, Finding]) -> dict[str, str]:
    return {identifier: finding.severity for identifier, finding in found.items()}


def doctor_databases(server: ScratchServer) -> list[tuple[object, ...]]:
    return query(
        server.url(), "SELECT datname FROM pg_database WHERE datname LIKE 'fsbackup_doctor%'"
    )


def test_all_is_well(
    matrix_server: ScratchServer, make_database: MakeDatabase, make_site: MakeSite
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t (id serial PRIMARY KEY)")
    clients = f"clients: ['{binaries(matrix_server.version_num // 10000)}']\n"
    found = make_site(url, more=clients).diagnose()
    assert set(severities(found).values()) == {"ok"}
    assert set(found) == {
        "config",
        "repository",
        "state",
        "clients",
        "db.connection",
        "db.client",
        "db.backup-rights",
        "db.restore-rights",
    }
    assert doctor_databases(matrix_server) == []


@pytest.fixture
def roles(server: ScratchServer) -> Iterator[None]:
    names = ("doctor_plain", "doctor_maker", "fsbackup_dump", "fsbackup_admin", "doctor_owner")
    yield
    for name in names:
        if query(server.url(), f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):
            execute(server.url(), f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.usefixtures("roles")
def test_a_plain_role_can_neither_read_all_nor_restore(
    server: ScratchServer, make_database: MakeDatabase, make_site: MakeSite
) -> None:
    url = make_database(server)
    execute(url, "CREATE ROLE doctor_plain LOGIN", "CREATE TABLE t (id serial PRIMARY KEY)")
    site = make_site(server.url(address_of(url).database, user="doctor_plain"))
    found = site.diagnose()
    assert found["db.backup-rights"].severity == "error"
    assert "public.t" in found["db.backup-rights"].why
    assert "public.t_id_seq" in found["db.backup-rights"].why
    assert found["db.restore-create"].severity == "error"
    assert "permission denied to create database" in found["db.restore-create"].why
    assert 'ALTER ROLE "doctor_plain" CREATEDB;' in found["db.restore-create"].fix
    assert found["db.swap-rights"].severity == "warning"
    assert doctor_databases(server) == []
    execute(url, "DROP TABLE t")


@pytest.mark.usefixtures("roles")
def test_admin_credentials_are_tried_apart_from_the_source_s(
    server: ScratchServer, make_database: MakeDatabase, make_site: MakeSite
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE ROLE doctor_plain LOGIN",
        "CREATE ROLE doctor_maker LOGIN CREATEDB",
        "CREATE ROLE doctor_owner",
        "CREATE TABLE t (id int)",
        "ALTER TABLE t OWNER TO doctor_owner",
        "GRANT SELECT ON t TO doctor_plain",
    )
    site = make_site(
        server.url(address_of(url).database, user="doctor_plain"),
        admin=server.url("postgres", user="doctor_maker"),
    )
    found = site.diagnose()
    name = address_of(url).database
    execute(url, f'ALTER DATABASE "{name}" OWNER TO doctor_owner')
    without_superuser = site.diagnose()
    execute(url, "DROP TABLE t", f'ALTER DATABASE "{name}" OWNER TO postgres')
    assert found["db.backup-rights"].severity == "ok"
    assert not any(identifier.startswith("db.restore-") for identifier in found)
    assert found["db.owners"].what.startswith("OWNERS OUT OF REACH: ")
    assert "doctor_owner" in found["db.owners"].what
    # Nobody is told to become a member of a superuser, who owns the database here.
    assert found["db.owners"].fix == "Name a superuser as admin: url:."
    assert 'GRANT "doctor_owner" TO "doctor_maker";' in without_superuser["db.owners"].fix
    assert "pg_signal_backend" in found["db.swap-rights"].why
    assert doctor_databases(server) == []


def test_what_is_down_or_missing_is_a_finding(make_site: MakeSite, tmp_path: Path) -> None:
    more = (
        "  other: {kind: postgres, url: '${NO_SUCH_VARIABLE}'}\n"
        "  broken: {kind: postgres, url: 'mysql://x/y'}\n"
    )
    site = make_site("postgresql://app:hush@127.0.0.1:1/shop", repository=False, more=more)
    found = site.diagnose()
    assert severities(found) == {
        "config": "ok",
        "repository": "error",
        "state": "ok",
        "clients": "ok",
        "db.connection": "error",
        "other.connection": "error",
        "broken.connection": "error",
    }
    assert "refused the connection" in found["db.connection"].what
    assert "NO_SUCH_VARIABLE" in found["other.connection"].what
    assert all("hush" not in finding.what + finding.why + finding.fix for finding in found.values())
    assert not (tmp_path / "repository").exists()


def test_fix_closes_the_repository(
    server: ScratchServer, make_database: MakeDatabase, make_site: MakeSite
) -> None:
    site = make_site(make_database(server))
    points = site.repository / "points"
    points.chmod(0o755)
    found = site.diagnose()
    assert found["repository-modes"].severity == "warning"
    assert str(points) in found["repository-modes"].why
    assert stat.S_IMODE(points.stat().st_mode) == 0o755
    assert site.diagnose(fix=True)["repository-modes"].severity == "ok"
    assert stat.S_IMODE(points.stat().st_mode) == 0o700
    assert "repository-modes" not in site.diagnose()


def test_fix_puts_the_lost_identity_file_back(
    server: ScratchServer, make_database: MakeDatabase, make_site: MakeSite
) -> None:
    site = make_site(make_database(server))
    head = site.repository / "fsbackup.json"
    assert site.diagnose()["repository"].severity == "ok"
    identity = json.loads(head.read_text(encoding="utf-8"))
    head.unlink()
    found = site.diagnose()["repository"]
    assert found.what.startswith("IDENTITY FILE MISSING: ")
    assert found.fix.endswith(": fsbackup doctor --fix")
    assert not head.exists()
    mended = site.diagnose(fix=True)
    assert mended["repository-identity"].severity == mended["repository"].severity == "ok"
    assert json.loads(head.read_text(encoding="utf-8"))["id"] == identity["id"]


def test_a_newer_client_has_its_remedy_where_remedies_stand(
    server17: ScratchServer,
    make_database: MakeDatabase,
    make_site: MakeSite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_database(server17)
    monkeypatch.setenv("FSBACKUP_CLIENTS", str(package_binaries(PACKAGES[18])))
    found = make_site(url).diagnose()["db.client"]
    assert found.severity == "warning"
    assert found.what.startswith("CLIENT NEWER: 18.")
    assert "Install" not in found.why
    assert found.fix.startswith("Install postgresql-client-17 ")


def test_an_extension_that_left_the_server_is_found(
    server: ScratchServer, make_database: MakeDatabase, make_site: MakeSite
) -> None:
    url = make_database(server)
    # What a package's removal leaves: the catalogue knows it, the server's files don't.
    execute(
        url,
        "CREATE EXTENSION hstore",
        "UPDATE pg_extension SET extname = 'long_gone' WHERE extname = 'hstore'",
    )
    found = make_site(url).diagnose()
    assert found["db.extensions"].severity == "error"
    assert found["db.extensions"].what == "EXTENSIONS MISSING: long_gone."


def test_prepared_transactions_and_too_many_tables_are_warned_of(
    fresh_server: Callable[..., ScratchServer], make_site: MakeSite
) -> None:
    server = fresh_server(
        settings={
            "max_prepared_transactions": "2",
            "max_connections": "10",
            "max_locks_per_transaction": "10",
        }
    )
    execute(
        server.url(),
        "CREATE TABLE t (id int)",
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'pay-771'",
        "DO $$ BEGIN FOR i IN 1..130 LOOP"
        " EXECUTE format('CREATE TABLE t%s (id int)', i); END LOOP; END $$",
    )
    found = make_site(server.url()).diagnose()
    assert found["db.prepared"].what == "PREPARED TRANSACTIONS: pay-771."
    assert "COMMIT PREPARED 'pay-771';   or   ROLLBACK PREPARED 'pay-771';" in (
        found["db.prepared"].fix
    )
    assert found["db.locks"].severity == "warning"
    assert "max_locks_per_transaction" in found["db.locks"].fix
    assert not [one for one in found.values() if one.severity == "error"]


def test_the_command_answers_in_json_and_by_its_exit_code(
    server: ScratchServer,
    make_database: MakeDatabase,
    make_site: MakeSite,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = make_site(make_database(server))
    assert run_command_line(["doctor", "--config", str(site.config), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert {"id", "severity", "what", "why", "fix"} == set(document["findings"][0])
    (site.repository / "fsbackup.json").unlink()
    assert run_command_line(["doctor", "--config", str(site.config)]) == 1
    text = capsys.readouterr().out
    assert "ERROR    " in text
    assert "1 would fail" in text


async def test_the_printed_rights_are_enough_and_no_more_is_needed(
    matrix_server: ScratchServer,
    make_database: MakeDatabase,
    make_site: MakeSite,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    url = make_database(matrix_server)
    database = address_of(url).database
    execute(
        url,
        "CREATE ROLE doctor_owner",
        f'ALTER DATABASE "{database}" OWNER TO doctor_owner',
        f'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC',
        "CREATE SCHEMA hidden AUTHORIZATION doctor_owner",
        "REVOKE ALL ON SCHEMA hidden FROM PUBLIC",
        "CREATE TABLE hidden.t (id bigint GENERATED ALWAYS AS IDENTITY, n serial, name text)",
        "INSERT INTO hidden.t (name) SELECT 'x' FROM generate_series(1, 50)",
        "ALTER TABLE hidden.t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE hidden.t FORCE ROW LEVEL SECURITY",
        "ALTER TABLE hidden.t OWNER TO doctor_owner",
        "SELECT lo_from_bytea(4712, '\\x0102')",
        "ALTER LARGE OBJECT 4712 OWNER TO doctor_owner",
    )
    site = make_site(url)
    status = await asyncio.to_thread(
        run_command_line, ["doctor", "--sql", "--json", "--config", str(site.config)]
    )
    assert status == 0
    scripts = json.loads(capsys.readouterr().out)["sources"]["db"]
    try:
        for statements in scripts.values():
            execute(url, *statements)
        await _dump_as("fsbackup_dump", matrix_server, database, tmp_path)
        config = site.config.read_text(encoding="utf-8")
        admin = matrix_server.url("postgres", user="fsbackup_admin")
        dumper = matrix_server.url(database, user="fsbackup_dump")
        site.config.write_text(
            config.replace(f"url: '{url}'", f"url: '{dumper}'\n    admin: {{url: '{admin}'}}"),
            encoding="utf-8",
        )
        found = await asyncio.to_thread(site.diagnose)
    finally:
        for role in ("fsbackup_dump", "fsbackup_admin"):
            execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
        execute(
            url,
            f'ALTER DATABASE "{database}" OWNER TO postgres',
            "DROP OWNED BY doctor_owner",
            "DROP ROLE doctor_owner",
        )
    assert severities(found)["db.backup-rights"] == "ok"
    assert severities(found)["db.restore-rights"] == "ok"
    assert doctor_databases(matrix_server) == []


async def _dump_as(role: str, server: ScratchServer, database: str, directory: Path) -> None:
    """Take a snapshot, count and dump with real tools; every row and large object is in it."""
    url = server.url(database, user=role)
    target = directory / "dump.sql"

    def discard(_: Event) -> None:
        return None

    async with shared_snapshot(
        address_of(url),
        application_name="fsbackup/test",
        exclusions=Exclusions(),
        lock_timeout_seconds=5,
        counting_connections=2,
        report=discard,
    ) as snapshot:
        counts = await fingerprint_tables(snapshot, method="content", report=discard)
        process = await asyncio.create_subprocess_exec(
            str(binaries(server.version_num // 10000) / "pg_dump"),
            f"--snapshot={snapshot.snapshot_id}",
            f"--file={target}",
            url,
            env={"LC_ALL": "C"},
        )
        assert await process.wait() == 0
    assert [(count.table.qualified, count.rows) for count in counts] == [("hidden.t", 50)]
    text = target.read_text(encoding="utf-8")
    assert text.count("\tx\n") == 50
    assert "lo_open('4712'" in text


def test_membership_in_a_superuser_is_never_printed(
    server: ScratchServer,
    make_database: MakeDatabase,
    make_site: MakeSite,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = make_site(make_database(server))
    assert run_command_line(["doctor", "--sql", "--config", str(site.config)]) == 0
    text = capsys.readouterr().out
    assert "CREATE ROLE" in text
    assert "pg_signal_backend" in text
    assert 'GRANT "postgres"' not in text
    assert "superuser; a swap by less needs another one" in text


def test_the_rights_are_printed_without_the_server(
    make_site: MakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site("postgresql://app:hush@127.0.0.1:1/shop")
    assert run_command_line(["doctor", "--sql", "--config", str(site.config)]) == 0
    text = capsys.readouterr().out
    assert 'GRANT CONNECT ON DATABASE "shop" TO "fsbackup_dump";' in text
    assert "hush" not in text
