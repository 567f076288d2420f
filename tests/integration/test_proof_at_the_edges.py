"""Proofs where there is little to prove, or nothing here to prove it with."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import clients, drill, verification
from fsbackup_tui.operations.requests import DrillRequest
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.layout import Repository
from tests.support.proving import Bench, make_bench
from tests.support.servers import MakeDatabase


@pytest.fixture
def empty(
    tmp_path: Path, server: ScratchServer, server17: ScratchServer, make_database: MakeDatabase
) -> Bench:
    """A site whose database holds nothing yet; trial restores go to the newer server."""
    plain = {"compression": "none"}  # what every client here reads
    return make_bench(
        tmp_path / "site", make_database(server17), scratch_url=server.url(), source=plain
    )


async def test_an_empty_database_is_proven(empty: Bench) -> None:
    point = str((await empty.back_up())["point"])
    document = await empty.verify(point)
    assert (document["ok"], document["trust"]) == (True, "proven"), (
        document["blocked"] + document["problems"]
    )


async def test_without_a_client_that_reads_the_dump_reading_it_is_blocked(
    empty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = str((await empty.back_up())["point"])

    async def none_here(*_: object) -> Sequence[ClientTools]:
        return []

    monkeypatch.setattr(clients, "find_clients", none_here)
    document = await empty.verify(point)
    assert document["ok"] is False
    assert document["trust"] == "sealed"
    assert document["problems"] == []
    assert list(document["levels"]) == ["sealed", "readable"]
    assert document["levels"]["readable"]["ok"] is None
    (blocked,) = document["blocked"]
    assert blocked["what"].startswith("NO FITTING CLIENT: the dump needs pg_restore 17 or newer")
    assert "postgresql-client-17" in blocked["fix"]


async def test_where_nothing_can_be_recorded_a_drill_still_tells_what_it_measured(
    empty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = str((await empty.back_up())["point"])

    def refuse(repository: Repository, *_: object, **__: object) -> None:
        with writing(repository.records):
            raise OSError(errno.EROFS, "Read-only file system", str(repository.records / "x"))

    for module in (verification, drill):
        monkeypatch.setattr(module, "write_record", refuse)
    with empty.job("drill") as context:
        document = await drill.run(DrillRequest(point, "named"), context)
    assert (document["ok"], document["trust"]) == (True, "proven")
    assert document["notes"] == [
        f"Not recorded: {empty.repository.records} can't be written (Read-only file system)."
    ]
