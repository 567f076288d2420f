"""Two databases to be swapped, and applications that write to one of them all the time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.swap import Database, Swap, standing
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import APPLICATION, address_of
from tests.support.waiting import wait_until


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


def make_pair(server: ScratchServer, make_database: MakeDatabase) -> Pair:
    """Make a live database and its copy; all that they may be renamed to goes with the test."""
    live = make_database(server).partition("?")[0].rpartition("/")[2]
    side = f"{live}__restore"
    make_database(server, side)
    for name, word in ((live, "old"), (side, "new")):
        execute(
            server.url(name),
            "CREATE TABLE which (name text)",
            f"INSERT INTO which VALUES ('{word}')",
            "CREATE TABLE events (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        )
    swap = Swap(
        Database(live, oid_of(server, live)),
        Database(side, oid_of(server, side)),
        f"{live}__before",
        "kept by fsbackup",
        "the shop",
    )
    return Pair(server, swap)


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
                with psycopg.connect(
                    self.url, autocommit=True, prepare_threshold=None
                ) as connection:
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
