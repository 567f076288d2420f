"""A host whose place was taken neither backs up nor adopts; looking goes on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.writers import Retirement, retire, writers
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site


@pytest.fixture
def site(tmp_path: Path, server: ScratchServer, make_database: MakeDatabase) -> Site:
    url = make_database(server)
    execute(url, "CREATE TABLE users (id int PRIMARY KEY)", "INSERT INTO users VALUES (1)")
    return make_site(tmp_path / "site", url)


def test_a_retired_host_takes_no_backup(site: Site) -> None:
    assert site.run("backup", "daily").exit_code == 0
    repository = open_repository(site.repository)
    (writer,) = writers(repository)
    own = json.loads((site.state / repository.id / "writer.json").read_text())
    assert own["id"] == writer.id
    why = "new-host took its place"
    retire(repository, Retirement(writer.id, writer.host, "ana", datetime.now(UTC), why))

    refused = site.run("backup", "daily", "--json")
    assert refused.exit_code == 3
    assert refused.error["kind"] == "writer-retired"
    assert why in refused.error["why"]
    assert len(site.points()) == 1
    assert site.run("verify", "latest").exit_code == 0


def test_a_repository_that_has_no_writers_yet_gets_its_first(site: Site) -> None:
    assert not (site.repository / "writers").exists()
    assert site.run("backup", "daily").exit_code == 0
    assert site.run("backup", "daily").exit_code == 0
    assert len(writers(open_repository(site.repository))) == 1
