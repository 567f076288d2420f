"""A real PgBouncer: clients wait while the database behind it changes, and see no error."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.engines.postgres.pooler import paused, pooled_databases, resume, resume_command
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.swap import swap_databases
from tests.support.pooler import running_pooler
from tests.support.servers import MakeDatabase
from tests.support.sessions import address_of
from tests.support.swapping import Pair, make_pair, writing
from tests.support.waiting import wait_until

pytestmark = pytest.mark.machine


@pytest.fixture
def pair(server: ScratchServer, make_database: MakeDatabase) -> Pair:
    return make_pair(server, make_database)


async def test_behind_a_paused_pooler_no_client_sees_an_error(pair: Pair, tmp_path: Path) -> None:
    live = pair.swap.leaving.name
    with running_pooler(
        pair.server, tmp_path / "pooler", {"app": live, "other": "postgres"}
    ) as pooler:
        admin = address_of(pooler.admin)
        (entry,) = await pooled_databases(admin, live)
        assert (entry.name, entry.is_paused) == ("app", False)
        async with writing(pooler.url("app")) as writers:
            async with paused([admin], live, limit_seconds=5) as names:
                assert names == ("app",)
                assert (await pooled_databases(admin, live))[0].is_paused
                await swap_databases(pair.open_admin, pair.swap)
            assert not (await pooled_databases(admin, live))[0].is_paused
            written = [writer.rows for writer in writers]
            await asyncio.to_thread(
                wait_until,
                lambda: all(w.rows > r + 20 for w, r in zip(writers, written, strict=True)),
            )
        assert pair.which(live) == "new"
        assert [writer.errors for writer in writers] == [0] * len(writers)


async def test_a_transaction_that_goes_on_keeps_it_from_pausing_and_it_serves_again(
    pair: Pair, tmp_path: Path
) -> None:
    live = pair.swap.leaving.name
    with running_pooler(pair.server, tmp_path / "pooler", {"app": live}) as pooler:
        admin = address_of(pooler.admin)
        with psycopg.connect(pooler.url("app")) as busy:
            busy.execute("SELECT 1")
            with pytest.raises(PostgresError, match="POOLER NOT PAUSED"):
                async with paused([admin], live, limit_seconds=0.5):
                    raise AssertionError("it was paused although a transaction goes on")
        assert not (await pooled_databases(admin, live))[0].is_paused
        with psycopg.connect(pooler.url("app")) as again:
            assert again.execute("SELECT 1").fetchall() == [(1,)]


async def test_it_is_resumed_when_the_work_inside_fails_or_is_cancelled(
    pair: Pair, tmp_path: Path
) -> None:
    live = pair.swap.leaving.name
    with running_pooler(pair.server, tmp_path / "pooler", {"odd-name": live}) as pooler:
        admin = address_of(pooler.admin)
        for error in (RuntimeError("swap failed"), asyncio.CancelledError()):
            with pytest.raises(type(error)):
                async with paused([admin], live, limit_seconds=5):
                    raise error
            assert not (await pooled_databases(admin, live))[0].is_paused
        await resume(admin, "odd-name")
        assert 'RESUME "odd-name"' in resume_command(admin, "odd-name")
        pooler.process.kill()
        pooler.process.wait()
        with pytest.raises(PostgresError):
            await pooled_databases(admin, live)


async def test_what_was_paused_before_stays_paused(pair: Pair, tmp_path: Path) -> None:
    live = pair.swap.leaving.name
    with running_pooler(pair.server, tmp_path / "pooler", {"app": live}) as pooler:
        admin = address_of(pooler.admin)
        with psycopg.connect(pooler.admin, autocommit=True) as console:
            console.execute("PAUSE app")
        async with paused([admin], live, limit_seconds=5) as names:
            assert names == ()
        assert (await pooled_databases(admin, live))[0].is_paused
