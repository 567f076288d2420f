"""Swapping databases on real servers: under load, back again, and refused whole."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import sql

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal, UsageError
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.swap import (
    Database,
    Swap,
    find_obstacles,
    standing,
    swap_databases,
)
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import APPLICATION, address_of
from tests.support.waiting import wait_until

UNREACHABLE_SECONDS = 1.0


@dataclass
class Pair:
    """A live database and its restored copy, each with one table that tells which it is."""

    server: ScratchServer
    swap: Swap

    async def open_admin(self) -> Connection:
        return await connect(address_of(self.server.url()), application_name=APPLICATION)

    async def stands(self, swap: Swap | None = None) -> str:
        async with await self.open_admin() as admin:
            return await standing(admin, swap or self.swap)

    def which(self, database: str) -> str:
        return str(query(self.server.url(database), "SELECT name FROM which")[0][0])


def oid_of(server: ScratchServer, name: str) -> int:
    return int(
        str(
            query(server.url(), f"SELECT oid::int8 FROM pg_database WHERE datname = '{name}'")[0][0]
        )
    )


@pytest.fixture
def pair(matrix_server: ScratchServer, make_database: MakeDatabase) -> Iterator[Pair]:
    live = make_database(matrix_server).partition("?")[0].rpartition("/")[2]
    side, kept = f"{live}__restore", f"{live}__before"
    make_database(matrix_server, side)
    for name, word in ((live, "old"), (side, "new")):
        execute(
            matrix_server.url(name),
            "CREATE TABLE which (name text)",
            f"INSERT INTO which VALUES ('{word}')",
            "CREATE TABLE events (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        )
    swap = Swap(
        Database(live, oid_of(matrix_server, live)),
        Database(side, oid_of(matrix_server, side)),
        kept,
        "kept by fsbackup",
        "the shop",
    )
    yield Pair(matrix_server, swap)
    for name in (live, side, kept, f"{live}__after"):
        execute(
            matrix_server.url(),
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)),
        )


@dataclass
class Writer:
    """An application that writes all the time and comes back whenever it is thrown out."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    rows: int = 0
    errors: int = 0
    longest_gap: float = 0.0

    def run(self) -> None:
        last = time.monotonic()
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self.stop.is_set():
                        connection.execute("INSERT INTO events DEFAULT VALUES")
                        self.rows += 1
                        now = time.monotonic()
                        self.longest_gap, last = max(self.longest_gap, now - last), now
            except psycopg.Error:
                self.errors += 1


@asynccontextmanager
async def writing(url: str, count: int = 3) -> AsyncIterator[list[Writer]]:
    writers = [Writer(url) for _ in range(count)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        await asyncio.to_thread(wait_until, lambda: all(writer.rows > 20 for writer in writers))
        yield writers
    finally:
        for writer in writers:
            writer.stop.set()
        for thread in threads:
            thread.join()


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
    assert max(there.closed_seconds, again.closed_seconds) < UNREACHABLE_SECONDS
    assert max(writer.longest_gap for writer in writers) < UNREACHABLE_SECONDS
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
