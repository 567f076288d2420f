"""PostgreSQL's own torture in one database: backed up, and proven by a trial restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.proving import make_bench
from tests.support.servers import execute

TORTURE = Path(__file__).parents[1] / "support" / "torture.sql"
NAME = 'folter "ü"; db'


@pytest.fixture
def url(matrix_server: ScratchServer) -> Iterator[str]:
    """A database with everything in it."""
    quoted = '"' + NAME.replace('"', '""') + '"'
    execute(matrix_server.url(), f"CREATE DATABASE {quoted} TEMPLATE template0")
    try:
        execute(matrix_server.url(NAME), *TORTURE.read_text(encoding="utf-8").split("-- commit:"))
        yield matrix_server.url(NAME)
    finally:
        execute(matrix_server.url(), f"DROP DATABASE {quoted} WITH (FORCE)")


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
async def test_torture_is_proven(
    matrix_server: ScratchServer, url: str, tmp_path: Path, dump_format: str
) -> None:
    bench = make_bench(
        tmp_path / "site",
        url,
        source={"format": dump_format, "jobs": 2},
        settings={"clients": [str(matrix_server.bin_directory)]},
    )
    taken = await bench.back_up()
    assert taken["ok"], taken
    assert taken["suspect"] == []
    document = await bench.verify(str(taken["point"]))
    assert document["problems"] == []
    assert document["blocked"] == []
    assert document["trust"] == "proven", document
    tables = document["proofs"]["db"]["tables"]
    # Not filled, refreshed, or on another server.
    assert set(tables) <= {"equal", "expected"}
    assert tables["equal"] >= 20
    assert document["proofs"]["db"]["entries"]["lost"] == 0
    assert document["proofs"]["db"]["rows"] > 2000
