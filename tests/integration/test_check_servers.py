"""What ``check`` asks of real servers, programs and keys: it rings, and falls silent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.check import PROBES, look
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site

LIVE = tuple(probe for probe in PROBES if probe.live)


def found(site: Site, **environ: str) -> dict[str, Finding]:
    known = {**site.environ(), **environ}
    loaded = load_config(site.config, known)
    check = asyncio.run(look(loaded, known, datetime.now(UTC), probes=LIVE))
    return {finding.id: finding for finding in check.findings}


def test_a_server_that_is_not_there_is_told_until_it_is(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    site = make_site(tmp_path / "site", url)
    assert found(site) == {}
    gone = found(site, DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert gone["database:db"].severity == "critical"
    missing = found(site, DATABASE_URL="")
    assert missing["database:db"].what.startswith("DATABASE ADDRESS")
    assert found(site) == {}


def test_a_passphrase_that_is_missing_or_wrong_is_told(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    settings = {"encryption": {"method": "age", "passphrase": {"env": "PHRASE"}}}
    site = make_site(tmp_path / "site", url, settings=settings)
    wanted = site.environment["PHRASE"] = "its own passphrase"
    assert site.run("backup", "daily").exit_code == 0
    assert found(site) == {}
    assert found(site, PHRASE="") != {}
    site.environment.pop("PHRASE")
    assert found(site)["key"].severity == "critical"
    path = next(iter((site.state).glob("*/key-tried.json")))
    path.unlink()
    wrong = found(site, PHRASE="another")["key"]
    assert wrong.what.startswith("KEY WRONG")
    assert found(site, PHRASE=wanted) == {}


def test_a_slot_that_holds_wal_for_a_renamed_database_is_told_until_it_is_dropped(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    name = url.rpartition("/")[2].partition("?")[0]
    site = make_site(tmp_path / "site", url)
    kept = make_database(server)
    kept_name = kept.rpartition("/")[2].partition("?")[0]
    execute(kept, "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
    execute(url, f'ALTER DATABASE "{kept_name}" RENAME TO "{name}__before_x1"')
    try:
        slot = found(site)["slot:feed"]
        assert slot.severity == "warning"
        assert f"for {name}__before_x1" in slot.what
        assert "pg_drop_replication_slot('feed')" in slot.fix
    finally:
        execute(url, "SELECT pg_drop_replication_slot('feed')")
        execute(url, f'ALTER DATABASE "{name}__before_x1" RENAME TO "{kept_name}"')
    assert found(site) == {}


def test_the_last_look_of_doctor_is_what_restore_rights_are_told_by(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    settings = {"plans": {"daily": {"sources": ["db"], "verify": "proven"}}}
    site = make_site(tmp_path / "site", url, settings=settings)
    assert site.run("backup", "daily").exit_code == 0
    ids = [finding["id"] for finding in site.run("check", "--json").document["findings"]]
    assert ids == ["restore-rights"]
    assert site.run("check").exit_code == 1
    assert site.run("doctor").exit_code == 0
    result = site.run("check")
    assert (result.exit_code, result.stdout.startswith("FSBACKUP OK - face-swap")) == (0, True)
