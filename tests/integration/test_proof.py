"""A point is proven by really restoring it, and every weakness of one is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site


def small_shop(url: str) -> None:
    execute(
        url,
        "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text)",
        "INSERT INTO users (mail) SELECT 'u' || i || '@example.org' FROM generate_series(1, 500) i",
        "CREATE VIEW mails AS SELECT mail FROM users",
        "CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users, total numeric)",
        "INSERT INTO orders SELECT i, 1 + i % 500, i * 1.50 FROM generate_series(1, 900) i",
    )


def verify(site: Site, level: str = "proven") -> Any:
    return site.run("verify", "latest", "--level", level, "--json")


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
def test_a_backup_is_proven(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, dump_format: str
) -> None:
    url = make_database(server)
    small_shop(url)
    site = make_site(tmp_path / "site", url, source={"format": dump_format})
    assert site.run("backup", "daily", "--json").exit_code == 0
    result = verify(site)
    assert result.exit_code == 0, result.stdout + result.stderr
    document = result.document
    assert document["trust"] == "proven"
    assert [level for level, check in document["levels"].items() if check["ok"]] == [
        "sealed",
        "readable",
        "restored",
        "proven",
    ]
    assert document["problems"] == []
    assert document["proofs"]["db"]["tables"] == {"equal": 2}
    assert document["proofs"]["db"]["rows"] == 1400
    (point,) = site.points()
    assert point["trust"] == "proven"
