"""A swap with followers: readers on a hot standby, and a subscriber with its slot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.restored_copies import Trouble, trouble_on
from tests.support.servers import FreshServer, execute, query
from tests.support.standby import make_standby
from tests.support.waiting import wait_until

_SUBSCRIBED = "SELECT count(*) FROM users"


@pytest.fixture
def primary(fresh_server: FreshServer) -> ScratchServer:
    server = fresh_server(tcp=True, settings={"wal_level": "logical"})
    execute(server.url(), "CREATE DATABASE shop")
    return server


async def test_readers_on_a_standby_are_ended_and_read_the_restored_one(
    primary: ScratchServer, fresh_server: FreshServer, tmp_path: Path
) -> None:
    standby = fresh_server()
    make_standby(primary, standby, tmp_path)
    other = fresh_server()
    standbys = [standby.url(), other.url(), primary.url(), "${NOT_SET_ANYWHERE}"]
    with trouble_on(
        primary, primary.url("shop"), tmp_path, source={"standbys": standbys}
    ) as trouble:
        wait_until(lambda: query(standby.url("shop"), "SELECT count(*) FROM users") == [(3,)])
        with writing(trouble), psycopg.connect(standby.url("shop"), autocommit=True) as reader:
            assert reader.execute("SELECT count(*) FROM users").fetchall() == [(3,)]
            await asyncio.to_thread(wait_until, lambda: total_on(standby) > 10)
            done = await trouble.swap()
            with pytest.raises(psycopg.OperationalError):
                reader.execute("SELECT count(*) FROM users")
            # Who wrote to the primary writes to the restored one, and the standby follows.
            so_far = total_on(standby)
            await asyncio.to_thread(wait_until, lambda: total_on(standby) > so_far + 10)
        assert query(standby.url("shop"), "SELECT count(*) FROM users") == [(100,)]
        there, another, itself = done["standbys"]
        assert (there["ended"], there["left"], there["replayed"], there["note"]) == (
            1,
            0,
            True,
            "",
        )
        assert "another server" in another["note"]
        assert "no standby" in itself["note"]
        assert any("NOT_SET_ANYWHERE" in note for note in done["notes"])
        # And back, with a reader again.
        with psycopg.connect(standby.url("shop"), autocommit=True) as reader:
            reader.execute("SELECT 1")
            undone = await trouble.swap(trouble.back(done))
            assert undone["standbys"][0]["ended"] == 1
        assert query(standby.url("shop"), "SELECT count(*) FROM users") == [(3,)]


async def test_a_standby_that_lags_or_is_gone_is_told_and_keeps_nobody_waiting(
    primary: ScratchServer,
    fresh_server: FreshServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fsbackup_tui.operations.swap._STANDBY_SECONDS", 1.0)
    standby = fresh_server()
    make_standby(primary, standby, tmp_path)
    with trouble_on(
        primary, primary.url("shop"), tmp_path, source={"standbys": [standby.url()]}
    ) as trouble:
        wait_until(lambda: query(standby.url("shop"), "SELECT count(*) FROM users") == [(3,)])
        execute(standby.url(), "SELECT pg_wal_replay_pause()")
        with psycopg.connect(standby.url("shop"), autocommit=True) as reader:
            reader.execute("SELECT 1")
            request = trouble.request()
            done = await trouble.swap(request)
            (there,) = done["standbys"]
            assert (there["replayed"], there["ended"], there["left"]) == (False, 0, 1)
            assert "had not replayed the swap" in done["notes"][-1]
            execute(standby.url(), "SELECT pg_wal_replay_resume()")
            # The same request again, once it has caught up, ends them.
            wait_until(
                lambda: query(
                    standby.url(), "SELECT 1 FROM pg_database WHERE datname = 'shop__before_k3f9'"
                )
            )
            assert (await trouble.swap(request))["standbys"][0]["ended"] == 1
        standby.stop()
        undone = await trouble.swap(trouble.back(done))
        assert undone["standbys"][0]["replayed"] is False
        assert "may still read" in undone["standbys"][0]["note"]
        assert trouble.users() == 3


@contextmanager
def writing(trouble: Trouble) -> Iterator[None]:
    """Let the application write to the primary inside the block, reconnecting when thrown out."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with suppress(psycopg.Error):
                url = trouble.url(user=trouble.role)
                with psycopg.connect(url, autocommit=True) as connection:
                    while not stop.is_set():
                        connection.execute("UPDATE orders SET total = total + 1 WHERE id = 1")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def total_on(server: ScratchServer) -> float:
    """What the application has written, as a server shows it."""
    rows = query(server.url("shop"), "SELECT total FROM orders WHERE id = 1")
    return float(str(rows[0][0])) if rows else 0.0


@dataclass
class Followed:
    """A publisher in trouble, and the database that subscribes to it."""

    trouble: Trouble
    subscriber: str

    def has(self, users: int) -> bool:
        return query(self.subscriber, _SUBSCRIBED) == [(users,)]

    def slots(self) -> list[tuple[object, ...]]:
        return query(
            self.trouble.server.url(),
            "SELECT slot_name::text, database::text FROM pg_replication_slots ORDER BY 1",
        )


@pytest.fixture
def followed(
    primary: ScratchServer, fresh_server: FreshServer, tmp_path: Path
) -> Iterator[Followed]:
    url = primary.url("shop")
    execute(url, "CREATE PUBLICATION everything FOR ALL TABLES")
    with trouble_on(primary, url, tmp_path) as trouble:
        other = fresh_server(settings={"wal_level": "logical"})
        execute(other.url(), "CREATE DATABASE mirror")
        subscriber = other.url("mirror")
        execute(
            subscriber,
            "CREATE TABLE users (id int PRIMARY KEY, mail text NOT NULL)",
            "CREATE TABLE orders (id bigint PRIMARY KEY, user_id int, total numeric)",
            f"CREATE SUBSCRIPTION mirror CONNECTION '{url}' PUBLICATION everything",
        )
        followed = Followed(trouble, subscriber)
        try:
            wait_until(lambda: followed.has(3))
            execute(url, "INSERT INTO users VALUES (700, 'streamed')")
            wait_until(lambda: followed.has(4))
            yield followed
        finally:
            execute(
                subscriber,
                "ALTER SUBSCRIPTION mirror DISABLE",
                "ALTER SUBSCRIPTION mirror SET (slot_name = NONE)",
                "DROP SUBSCRIPTION mirror",
            )
            for name, _database in followed.slots():
                run_when_free(primary.url(), f"SELECT pg_drop_replication_slot('{name}')")


def run_when_free(url: str, statement: str) -> None:
    """Run a statement; a slot whose walsender is still about is free in a moment."""

    def runs() -> bool:
        try:
            execute(url, statement)
        except psycopg.errors.ObjectInUse:
            return False
        return True

    wait_until(runs)


async def test_a_subscriber_waits_and_goes_on_after_a_rollback_having_missed_nothing(
    followed: Followed,
) -> None:
    trouble = followed.trouble
    done = await trouble.swap()
    (slot,) = done["slots"]
    assert (slot["name"], slot["plugin"]) == ("mirror", "pgoutput")
    assert slot["retained_bytes"] >= 0
    assert followed.slots() == [("mirror", done["kept_as"])]
    assert any("holds" in str(event) and "WAL" in str(event) for event in trouble.told)
    execute(trouble.url(), "INSERT INTO users VALUES (800, 'not seen by the subscriber')")
    undone = await trouble.swap(trouble.back(done))
    assert undone["slots"] == []
    assert followed.slots() == [("mirror", trouble.live)]
    execute(trouble.url(), "INSERT INTO users VALUES (701, 'streamed again')")
    await asyncio.to_thread(wait_until, lambda: followed.has(5), timeout=60)
    assert query(followed.subscriber, "SELECT id FROM users WHERE id > 600 ORDER BY 1") == [
        (700,),
        (701,),
    ]


def run_lines(lines: list[str], places: dict[str, str]) -> list[str]:
    """Run each line of SQL in its place, as somebody pastes it; return the places' names."""
    ran = []
    for line in lines:
        place, colon, statement = line.strip().partition(": ")
        if colon and place in places and statement.endswith(";"):
            run_when_free(places[place], statement)
            ran.append(place)
    return ran


async def test_what_the_result_says_to_run_lets_the_subscriber_follow_the_restored_one(
    followed: Followed,
) -> None:
    trouble = followed.trouble
    done = await trouble.swap()
    kept = done["kept_as"]
    places = {
        "subscriber": followed.subscriber,
        kept: trouble.url(kept),
        trouble.live: trouble.url(),
    }
    ran = await asyncio.to_thread(run_lines, done["follow_up"], places)
    assert ran == [
        "subscriber",
        "subscriber",
        kept,
        trouble.live,
        "subscriber",
        "subscriber",
        "subscriber",
    ]
    assert followed.slots() == [("mirror", trouble.live)]
    before = int(str(query(followed.subscriber, _SUBSCRIBED)[0][0]))
    execute(trouble.url(), "INSERT INTO users VALUES (900, 'after the swap')")
    await asyncio.to_thread(wait_until, lambda: followed.has(before + 1), timeout=60)
