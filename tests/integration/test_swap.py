"""Swapping databases on real servers: under load, back again, and refused whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal, UsageError
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.swap import (
    Swap,
    find_obstacles,
    swap_databases,
)
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import APPLICATION, address_of
from tests.support.swapping import Pair, make_pair, writing
from tests.support.waiting import wait_until


@pytest.fixture
def pair(matrix_server: ScratchServer, make_database: MakeDatabase) -> Iterator[Pair]:
    pair = make_pair(matrix_server, make_database)
    yield pair
    live = pair.swap.leaving.name
    for name in (f"{live}__before", f"{live}__after"):
        execute(
            matrix_server.url(),
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)),
        )


async def test_swapped_and_back_under_load_each_row_is_in_the_one_it_was_written_to(
    pair: Pair,
) -> None:
    live, kept = pair.swap.leaving.name, pair.swap.kept_as
    url = pair.server.url(live)
    async with writing(url) as writers:
        there = await swap_databases(pair.open_admin, pair.swap)
        assert await pair.stands() == "after"
        written = [writer.rows for writer in writers]
        await asyncio.to_thread(
            wait_until, lambda: all(w.rows > r + 20 for w, r in zip(writers, written, strict=True))
        )
        back = pair.swap.back(f"{live}__after", comment="the shop", kept_comment="newer")
        again = await swap_databases(pair.open_admin, back)
        assert await pair.stands(back) == "after"
    assert pair.which(live) == "old"
    assert pair.which(f"{live}__after") == "new"
    counts = [
        query(pair.server.url(name), "SELECT count(*) FROM events")
        for name in (live, f"{live}__after")
    ]
    # Every row that an application was told of is in one of the two; one in flight may be more.
    acknowledged = sum(writer.rows for writer in writers)
    stored = sum(int(str(count[0][0])) for count in counts)
    assert acknowledged <= stored <= acknowledged + sum(writer.errors for writer in writers)
    assert all(int(str(count[0][0])) > 0 for count in counts)
    assert there.sessions_ended >= len(writers)
    assert again.sessions_ended >= len(writers)
    assert kept not in [
        row[0] for row in query(pair.server.url(), "SELECT datname FROM pg_database")
    ]


async def test_comments_and_a_fence_go_with_it(pair: Pair) -> None:
    live, side = pair.swap.leaving.name, pair.swap.coming.name
    execute(pair.server.url(), f'ALTER DATABASE "{side}" ALLOW_CONNECTIONS false')
    await swap_databases(pair.open_admin, pair.swap)
    assert pair.which(live) == "new"
    rows = query(
        pair.server.url(),
        "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database"
        f" WHERE datname IN ('{live}', '{pair.swap.kept_as}') ORDER BY 1",
    )
    assert rows == [(live, "the shop"), (pair.swap.kept_as, "kept by fsbackup")]


async def test_a_prepared_transaction_is_named_and_nothing_changes(pair: Pair) -> None:
    url = pair.server.url(pair.swap.leaving.name)
    execute(url, "BEGIN", "INSERT INTO which VALUES ('unsure')", "PREPARE TRANSACTION 'pay-771'")
    try:
        async with await pair.open_admin() as admin:
            found = await find_obstacles(admin, pair.swap.leaving)
        assert found.forbids
        assert "'pay-771' of postgres" in found.prepared[0]
        with pytest.raises(PostgresError, match="NOT SWAPPED") as raised:
            await swap_databases(pair.open_admin, pair.swap)
        assert "pay-771" in raised.value.why
        assert await pair.stands() == "before"
    finally:
        execute(url, "ROLLBACK PREPARED 'pay-771'")


async def test_who_may_not_rename_or_end_sessions_is_told(pair: Pair) -> None:
    execute(pair.server.url(), "DROP ROLE IF EXISTS mover", "CREATE ROLE mover LOGIN CREATEDB")
    try:
        as_mover = address_of(pair.server.url(user="mover"))

        async def open_mover() -> Connection:
            return await connect(as_mover, application_name=APPLICATION)

        with psycopg.connect(pair.server.url(pair.swap.leaving.name)) as other:
            other.execute("SELECT 1")
            async with await open_mover() as admin:
                found = await find_obstacles(admin, pair.swap.leaving)
            assert found.sessions == 1
            assert f"pid {other.info.backend_pid}" in found.closed_sessions[0]
            async with await pair.open_admin() as admin:
                assert not (await find_obstacles(admin, pair.swap.leaving)).forbids
        with pytest.raises(RightsMissing, match="Nothing changed"):
            await swap_databases(open_mover, pair.swap)
        assert await pair.stands() == "before"
    finally:
        execute(pair.server.url(), "DROP ROLE mover")


async def test_what_is_not_the_same_database_any_more_is_left_alone(
    pair: Pair, make_database: MakeDatabase
) -> None:
    live = pair.swap.leaving.name
    make_database(pair.server, pair.swap.kept_as)
    with pytest.raises(SafetyRefusal, match="Nothing changed"):
        await swap_databases(pair.open_admin, pair.swap)
    assert await pair.stands() == "before"
    execute(pair.server.url(), f'DROP DATABASE "{pair.swap.kept_as}"', f'DROP DATABASE "{live}"')
    make_database(pair.server, live)
    with pytest.raises(SafetyRefusal, match="is not what it was"):
        await swap_databases(pair.open_admin, pair.swap)
    assert await pair.stands() == "neither"
    too_long = Swap(pair.swap.leaving, pair.swap.coming, "x" * 64, None, None)
    with pytest.raises(UsageError, match="NAME TOO LONG"):
        await swap_databases(pair.open_admin, too_long)


async def interrupted(pair: Pair, interrupt: Callable[[], Awaitable[None]]) -> None:
    """Swap, with something that happens when only the commit is left."""
    await swap_databases(pair.open_admin, pair.swap, on_ready=interrupt)


async def test_ended_between_the_renames_and_the_commit_both_names_are_as_they_were(
    pair: Pair,
) -> None:
    async def end_the_mover() -> None:
        execute(
            pair.server.url(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name = '{APPLICATION}' AND state = 'idle in transaction'",
        )

    with pytest.raises(PostgresError, match="SWAP UNSURE"):
        await interrupted(pair, end_the_mover)
    assert await pair.stands() == "before"

    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await interrupted(pair, cancel)
    assert await pair.stands() == "before"
    assert pair.which(pair.swap.leaving.name) == "old"


async def test_slots_stay_with_the_old_database_and_are_told(pair: Pair) -> None:
    live = pair.swap.leaving.name
    execute(
        pair.server.url(live), "SELECT pg_create_logical_replication_slot('cdc_swap', 'pgoutput')"
    )
    try:
        async with await pair.open_admin() as admin:
            found = await find_obstacles(admin, pair.swap.leaving)
        assert (found.slots, found.forbids) == (("cdc_swap",), False)
        await swap_databases(pair.open_admin, pair.swap)
        assert await pair.stands() == "after"
    finally:
        execute(pair.server.url(), "SELECT pg_drop_replication_slot('cdc_swap')")
