"""A restore that nobody else can look into yet still shows where it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.events import Event, Progress, TableDone
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.filling import Dump, Filling, fill_and_account
from tests.support.contexts import context_of
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import make_site
from tests.support.transfers import client_of, dump, make_copy
from tests.support.waiting import wait_until_async

ROWS, STOPS_AT = 100, 50
ROWS_LOCK, INDEX_LOCK = 42, 43


@pytest.fixture
def copy_name(server: ScratchServer) -> Iterator[str]:
    name = f"copy_{os.getpid()}"
    yield name
    execute(server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def make_halting(url: str) -> None:
    """Make a table whose restore waits for a lock within its rows, and one within its index."""
    execute(
        url,
        "CREATE FUNCTION halt(integer, integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$"
        f" BEGIN IF pg_catalog.current_database() LIKE 'copy%' AND $1 = {STOPS_AT} THEN"
        " PERFORM pg_catalog.pg_advisory_xact_lock_shared($2); END IF; RETURN $1; END $$",
        "CREATE TABLE small AS SELECT 1 AS id",
        "CREATE TABLE big (id integer, body text,"
        f" CHECK (public.halt(id, {ROWS_LOCK}) IS NOT NULL))",
        f"INSERT INTO big SELECT n, repeat('x', 100000) FROM generate_series(1, {ROWS}) AS n",
        f"CREATE INDEX big_halts ON big (public.halt(id, {INDEX_LOCK}))",
    )


async def test_a_plain_restore_tells_its_table_and_its_index(
    server: ScratchServer, make_database: MakeDatabase, copy_name: str, tmp_path: Path
) -> None:
    url = make_database(server)
    make_halting(url)
    client = await client_of(server)
    dumped = await dump(url, client, tmp_path / "part", dump_format="plain")
    await make_copy(dumped, copy_name)
    events: list[Event] = []
    filling = Filling(
        context_of(make_site(tmp_path / "site", url), events.append),
        dumped.address.with_database(copy_name),
        client,
        int(str(query(server.url(copy_name), "SELECT oid::int8 FROM pg_database"
            " WHERE datname = current_database()")[0][0])),
        jobs=1,
    )  # fmt: skip

    def seen(name: str) -> list[Progress]:
        return [e for e in events if isinstance(e, Progress) and e.active == (name,)]

    with psycopg.connect(server.url(copy_name), autocommit=True) as blocker:
        for lock in (ROWS_LOCK, INDEX_LOCK):
            blocker.execute("SELECT pg_advisory_lock(%s)", [lock])
        filled = asyncio.create_task(fill_and_account(filling, Dump(dumped.path, dumped.facts)))
        await wait_until_async(lambda: len(seen("public.big")) > 1, timeout=30)
        loading = seen("public.big")[-1]
        assert loading.total is not None
        # Some of the text lies in buffers between the decompressor and the server.
        assert 0.3 < loading.done / loading.total < 0.7
        assert loading.eta_seconds is None or loading.eta_seconds >= 0
        blocker.execute("SELECT pg_advisory_unlock(%s)", [ROWS_LOCK])
        await wait_until_async(lambda: seen("INDEX public.big_halts"), timeout=30)
        building = seen("INDEX public.big_halts")[-1]
        assert building.total is not None
        assert loading.done < building.done < building.total
        blocker.execute("SELECT pg_advisory_unlock(%s)", [INDEX_LOCK])
        accounting = await filled
    assert accounting.problems() == []
    done = {event.table: event.rows for event in events if isinstance(event, TableDone)}
    assert done["public.big"] == ROWS
    assert done["public.small"] == 1
