"""A restore that ends early takes its copy back, however impatient somebody is meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.operations.restore import run
from tests.support.contexts import context_of
from tests.support.faults import databases_of, make_slow_to_restore
from tests.support.servers import MakeDatabase, query
from tests.support.sites import make_site
from tests.support.waiting import wait_until_async


async def test_a_cancel_while_the_copy_is_dropped_leaves_nothing(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    make_slow_to_restore(url)
    site = make_site(tmp_path / "site", url)
    backed_up = site.run("backup", "daily", "--json")
    assert backed_up.exit_code == 0, backed_up.stdout
    before = databases_of(url)
    name = f"impatient_{os.getpid()}"

    def running(text: str) -> bool:
        rows = query(
            server.url(),
            f"SELECT 1 FROM pg_stat_activity WHERE query LIKE '{text}%' AND state = 'active'",
        )
        return len(rows) == 1

    request = RestoreBesideRequest(point=backed_up.document["point"], part="db", beside=name)
    restoring = asyncio.create_task(run(request, context_of(site, lambda _event: None)))
    await wait_until_async(lambda: running("COPY public.crawling"), timeout=30)
    with psycopg.connect(server.url()) as blocker:
        blocker.execute("LOCK TABLE pg_catalog.pg_database IN SHARE MODE")
        restoring.cancel()
        await wait_until_async(lambda: running("DROP DATABASE"), timeout=30)
        for _time in range(3):
            restoring.cancel()
            # It does not return before the copy is gone, so it can't do so now.
            done, _pending = await asyncio.wait([restoring], timeout=0.3)
            assert done == set()
    with pytest.raises(asyncio.CancelledError):
        await restoring
    assert databases_of(url) == before
