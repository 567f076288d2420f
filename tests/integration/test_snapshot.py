"""The shared snapshot: what may happen around it, and that what it shows is what is dumped."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.domain.errors import RightsMissing, TableLocked
from fsbackup_tui.domain.events import Event, Warned
from fsbackup_tui.engines.postgres.fingerprint import fingerprint_tables
from fsbackup_tui.engines.postgres.inspect import TableCount
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.snapshot import (
    SharedSnapshot,
    StageHook,
    blocked_by_us,
    shared_snapshot,
)
from tests.support.servers import FreshServer, MakeDatabase, binaries, execute, query
from tests.support.sessions import APPLICATION, address_of, session
from tests.support.waiting import wait_until_async

STAGES = ("listed", "locked", "exported", "ready")
ROWS = 500


def discard(_: Event) -> None:
    """Take an event and forget it."""


@asynccontextmanager
async def snapshot_of(
    url: str,
    *,
    sessions: int = 2,
    lock_timeout: float = 10,
    on_stage: StageHook | None = None,
    events: list[Event] | None = None,
) -> AsyncIterator[SharedSnapshot]:
    async with shared_snapshot(
        address_of(url),
        application_name=APPLICATION,
        exclusions=Exclusions(),
        lock_timeout_seconds=lock_timeout,
        counting_connections=sessions,
        report=discard if events is None else events.append,
        on_stage=on_stage,
    ) as snapshot:
        yield snapshot


async def count(snapshot: SharedSnapshot) -> dict[str, int | None]:
    counts = await fingerprint_tables(snapshot, method="content", report=discard)
    return {item.table.qualified: item.rows for item in counts}


async def dumped_rows(url: str, server: ScratchServer, snapshot: SharedSnapshot) -> dict[str, int]:
    """Return the rows of each table in a real dump of the snapshot."""
    process = await asyncio.create_subprocess_exec(
        str(binaries(server.version_num // 10000) / "pg_dump"),
        f"--snapshot={snapshot.snapshot_id}",
        "--data-only",
        url,
        stdout=subprocess.PIPE,
        env={"LC_ALL": "C"},
    )
    text, _ = await process.communicate()
    assert process.returncode == 0
    rows: dict[str, int] = {}
    table = ""
    for line in text.decode().splitlines():
        if line.startswith("COPY "):
            table = line.split()[1]
            rows[table] = 0
        elif line == "\\.":
            table = ""
        elif table:
            rows[table] += 1
    return rows


@pytest.fixture
def three_tables(server: ScratchServer, make_database: MakeDatabase) -> str:
    url = make_database(server)
    for name in ("a", "b", "c"):
        execute(
            url,
            f"CREATE TABLE {name} (id int PRIMARY KEY, name text)",
            f"INSERT INTO {name} SELECT n, 'row ' || n FROM generate_series(1, {ROWS}) AS n",
        )
    return url


async def run_or_time_out(url: str, statement: str) -> bool:
    """Run a statement with a short lock time-out; whether it went through."""
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    async with connection:
        await connection.execute("SET lock_timeout = '200ms'")
        try:
            await connection.execute(statement.encode())
        except psycopg.errors.LockNotAvailable:
            return False
    return True


DISTURBANCES = {
    "truncate": ("TRUNCATE b", {"listed": 0}),
    "rewriting alter": ("ALTER TABLE b ALTER COLUMN id TYPE bigint", {"listed": ROWS}),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("disturbance", DISTURBANCES)
async def test_truncate_or_rewrite_in_any_gap_leaves_count_and_dump_right(
    server: ScratchServer, three_tables: str, disturbance: str, stage: str
) -> None:
    statement, rows_if_through = DISTURBANCES[disturbance]
    went_through: list[bool] = []

    async def disturb(name: str) -> None:
        if name == stage and not went_through:
            went_through.append(await run_or_time_out(three_tables, statement))

    async with snapshot_of(three_tables, on_stage=disturb) as snapshot:
        counts = await count(snapshot)
        dumped = await dumped_rows(three_tables, server, snapshot)
    assert went_through == [stage == "listed"]
    expected = {"public.a": ROWS, "public.b": rows_if_through.get(stage, ROWS), "public.c": ROWS}
    assert counts == expected
    assert dumped == expected


@pytest.mark.parametrize("stage", STAGES[1:])
async def test_an_alter_in_the_queue_blocks_no_count(three_tables: str, stage: str) -> None:
    waiting: list[asyncio.Task[bool]] = []

    async def alter() -> bool:
        async with await psycopg.AsyncConnection.connect(
            three_tables, autocommit=True, application_name="migrate"
        ) as connection:
            await connection.execute("ALTER TABLE b ALTER COLUMN id TYPE bigint")
        return True

    async def queue_it(name: str) -> None:
        if name == stage:
            waiting.append(asyncio.create_task(alter()))
            async with session(three_tables) as monitor:

                async def is_queued() -> bool:
                    return len(await blocked_by_us(monitor, APPLICATION)) == 1

                await wait_until_async(is_queued, what="the ALTER waits for us")

    async with snapshot_of(three_tables, on_stage=queue_it, sessions=3) as snapshot:
        async with asyncio.timeout(20):
            counts = await count(snapshot)
        assert counts == {"public.a": ROWS, "public.b": ROWS, "public.c": ROWS}
        assert not waiting[0].done()
        async with session(three_tables) as monitor:
            (blocked,) = await blocked_by_us(monitor, APPLICATION)
            assert "migrate" in blocked
            assert blocked.endswith("public.b: ALTER TABLE")
            assert await blocked_by_us(monitor, APPLICATION, longer_than_seconds=3600) == []
    async with asyncio.timeout(20):
        assert await waiting[0]


async def test_a_table_made_or_dropped_in_the_gap_starts_it_again(three_tables: str) -> None:
    done: list[str] = []

    async def disturb(name: str) -> None:
        if name == "locked" and not done:
            done.append(name)
            execute(three_tables, "CREATE TABLE d (id int)", "INSERT INTO d VALUES (1)")
        elif name == "listed" and len(done) == 1:
            done.append(name)
            execute(three_tables, "DROP TABLE c", "ALTER TABLE a RENAME TO e")

    async with snapshot_of(three_tables, on_stage=disturb) as snapshot:
        counts = await count(snapshot)
    assert len(done) == 2
    assert counts == {"public.b": ROWS, "public.d": 1, "public.e": ROWS}


async def test_tables_that_appear_every_time_don_t_stop_a_backup(three_tables: str) -> None:
    made: list[str] = []

    async def disturb(name: str) -> None:
        if name == "locked":
            made.append(f"d{len(made)}")
            execute(three_tables, f"CREATE TABLE {made[-1]} (id int)")

    async with snapshot_of(three_tables, on_stage=disturb) as snapshot:
        counts = await count(snapshot)
        tables = {table.name: table for table in snapshot.inspection.tables}
    assert len(made) > 1
    assert counts["public.a"] == ROWS
    assert f"public.{made[-1]}" not in counts
    assert tables[made[-1]].note == "not counted: it appeared while the snapshot was taken"


async def test_counts_equal_the_dump_while_writers_are_busy(
    server: ScratchServer, three_tables: str
) -> None:
    stop = asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        async with await psycopg.AsyncConnection.connect(
            three_tables, autocommit=True
        ) as connection:
            while not stop.is_set():
                written += 1
                await connection.execute("INSERT INTO b VALUES (%s, 'new')", [ROWS + written])
                await connection.execute("DELETE FROM c WHERE id = %s", [written])

    writer = asyncio.create_task(write())
    await wait_until_async(lambda: written > 5, what="the writer writes")
    async with snapshot_of(three_tables) as snapshot:
        seen = written
        await wait_until_async(lambda: written > seen + 5, what="it writes on")
        counts = await count(snapshot)
        dumped = await dumped_rows(three_tables, server, snapshot)
    stop.set()
    await writer
    assert counts == dumped
    assert query(three_tables, "SELECT count(*) FROM b") != [(counts["public.b"],)]


async def test_fingerprints_come_with_the_counts(three_tables: str) -> None:
    async with snapshot_of(three_tables) as snapshot:
        assert len(snapshot.counters) == 2
        counts: list[TableCount] = await fingerprint_tables(
            snapshot, method="content", report=discard
        )
        facts = snapshot.inspection.to_facts(
            client_version="18.6",
            scope="full",
            format="custom",
            toc_entries=9,
            schema_sha256=None,
            snapshot_at=snapshot.at,
            snapshot_lsn=snapshot.lsn,
            counts={item.table.oid: item for item in counts},
            count_method="content",
        )
    assert [table.qualified for table in facts.tables] == ["public.a", "public.b", "public.c"]
    assert all(table.counted and table.rows == ROWS for table in facts.tables)
    fingerprints = [table.fingerprint for table in facts.tables]
    assert fingerprints[0] is not None
    assert fingerprints[0].method == "fsb1-mixed"
    assert fingerprints == [fingerprints[0]] * 3
    assert facts.tables[0].primary_key == ("id",)
    assert (facts.tables[0].bytes or 0) > 8192
    assert snapshot.lsn is not None


async def test_a_locked_table_is_named_with_who_locks_it(three_tables: str) -> None:
    with psycopg.connect(three_tables, application_name="migrate") as migration:
        migration.execute("LOCK TABLE b IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TableLocked) as caught:
            async with snapshot_of(three_tables, lock_timeout=0.3):
                pytest.fail("the snapshot was taken in spite of the lock")
    assert "public.b" in caught.value.what
    assert "migrate" in caught.value.why
    assert query(
        three_tables,
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessShareLock' AND relation = 'a'::regclass",
    ) == [(0,)]


async def test_only_tables_stay_locked(three_tables: str) -> None:
    execute(three_tables, "CREATE SEQUENCE numbers", "CREATE INDEX ON a (name)")
    async with snapshot_of(three_tables) as snapshot:
        await count(snapshot)
        held = query(
            three_tables,
            "SELECT DISTINCT relation::regclass::text FROM pg_locks AS l"
            " JOIN pg_stat_activity AS s USING (pid) WHERE relation >= 16384"
            f" AND application_name = '{APPLICATION}' ORDER BY 1",
        )
        execute(three_tables, "DROP SEQUENCE numbers")
    assert held == [("a",), ("b",), ("c",)]


async def test_no_session_is_left_behind(three_tables: str) -> None:
    async with snapshot_of(three_tables, sessions=3):
        pass

    def ours() -> bool:
        return query(
            three_tables,
            f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{APPLICATION}'",
        ) == [(0,)]

    await wait_until_async(ours, what="our sessions are gone")


@pytest.fixture
def plain_role(server: ScratchServer, three_tables: str) -> Iterator[str]:
    execute(
        three_tables,
        "CREATE ROLE plain_dumper LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain_dumper",
    )
    database = address_of(three_tables).database
    yield server.url(database, user="plain_dumper")
    execute(three_tables, "DROP OWNED BY plain_dumper", "DROP ROLE plain_dumper")


async def test_a_role_that_may_read_all_can_dump(plain_role: str) -> None:
    async with snapshot_of(plain_role) as snapshot:
        assert (await count(snapshot))["public.b"] == ROWS


async def test_missing_rights_are_named_before_anything_begins(
    three_tables: str, plain_role: str
) -> None:
    execute(
        three_tables,
        "REVOKE SELECT ON b FROM plain_dumper",
        "CREATE SEQUENCE numbers",
        'CREATE SCHEMA "hidden one"',
        'CREATE TABLE "hidden one"."T" (id int)',
        "SELECT lo_create(4711)",
    )
    with pytest.raises(RightsMissing) as caught:
        async with snapshot_of(plain_role):
            pytest.fail("the snapshot was taken in spite of missing rights")
    error = caught.value
    for name in ("hidden one.T", "public.b", "public.numbers", "4711"):
        assert name in error.why
    assert "public.a" not in error.why
    grants = [line for line in error.fix.splitlines() if line.endswith(";")]
    assert 'GRANT SELECT ON TABLE "public"."b" TO "plain_dumper";' in grants
    execute(three_tables, *grants)
    async with snapshot_of(plain_role) as snapshot:
        assert (await count(snapshot))["hidden one.T"] == 0


async def test_row_level_security_is_refused_never_worked_around(
    three_tables: str, plain_role: str
) -> None:
    execute(three_tables, "ALTER TABLE b ENABLE ROW LEVEL SECURITY")
    with pytest.raises(RightsMissing) as caught:
        async with snapshot_of(plain_role):
            pytest.fail("the snapshot was taken although rows are hidden")
    assert "public.b" in caught.value.why
    assert "Row-level security" in caught.value.why
    assert "public.a" not in caught.value.why
    execute(three_tables, *[line for line in caught.value.fix.splitlines() if line[-1] == ";"])
    async with snapshot_of(plain_role) as snapshot:
        assert (await count(snapshot))["public.b"] == ROWS


MANY = 12_000


@pytest.fixture(scope="module")
def many_tables(server: ScratchServer) -> Iterator[str]:
    execute(server.url(), "CREATE DATABASE many_tables TEMPLATE template0")
    url = server.url("many_tables")
    batch = 2000
    for start in range(0, MANY, batch):
        execute(
            url,
            f"DO $$ BEGIN FOR i IN {start}..{start + batch - 1} LOOP"
            " EXECUTE format('CREATE TABLE t%s (id int)', i); END LOOP; END $$",
        )
    yield url
    execute(server.url(), "DROP DATABASE many_tables WITH (FORCE)")


async def test_12_000_tables_at_default_settings(
    server: ScratchServer, many_tables: str, tmp_path: Path
) -> None:
    events: list[Event] = []
    began = time.monotonic()
    async with snapshot_of(many_tables, events=events) as snapshot:
        assert time.monotonic() - began < 3 * 3  # 0.7 s alone on two cores; others may be at work
        assert len(snapshot.inspection.tables) == MANY
        assert snapshot.counters == ()
        assert "max_locks_per_transaction" in snapshot.count_note
        assert not snapshot.parallel_dump_fits
        assert await count(snapshot) == {}
        process = await asyncio.create_subprocess_exec(
            str(binaries(18) / "pg_dump"),
            f"--snapshot={snapshot.snapshot_id}",
            "-Fc",
            f"--file={tmp_path / 'many.dump'}",
            many_tables,
            env={"LC_ALL": "C"},
        )
        assert await process.wait() == 0
    assert [event for event in events if isinstance(event, Warned)]


async def test_fewer_sessions_count_where_locks_are_short(
    fresh_server: FreshServer,
) -> None:
    server = fresh_server(settings={"max_connections": "20", "max_locks_per_transaction": "10"})
    url = server.url()
    execute(
        url,
        "DO $$ BEGIN FOR i IN 1..150 LOOP"
        " EXECUTE format('CREATE TABLE t%s (id int)', i); END LOOP; END $$",
    )
    async with snapshot_of(url, sessions=4) as snapshot:
        assert 1 <= len(snapshot.counters) < 4
        assert len(await count(snapshot)) == 150


async def test_too_few_connections_leave_the_counting_to_the_holder(
    fresh_server: FreshServer,
) -> None:
    server = fresh_server(settings={"max_connections": "5", "superuser_reserved_connections": "0"})
    url = server.url()
    execute(url, "CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "INSERT INTO b VALUES (1)")
    others = [psycopg.connect(url) for _ in range(3)]
    try:
        async with snapshot_of(url, sessions=4) as snapshot:
            assert len(snapshot.counters) <= 2
            assert await count(snapshot) == {"public.a": 0, "public.b": 1}
    finally:
        for connection in others:
            connection.close()


async def test_a_standby_is_a_source(fresh_server: FreshServer) -> None:
    server = fresh_server()
    execute(
        server.url(),
        "CREATE TABLE a (id int)",
        "INSERT INTO a SELECT generate_series(1, 100)",
        "CREATE UNLOGGED TABLE passing (id int)",
        "CREATE SEQUENCE s",
    )
    server.stop()
    signal = server.data_directory / "standby.signal"
    signal.touch()
    owner = server.data_directory.stat()
    shutil.chown(signal, owner.st_uid, owner.st_gid)
    server.start()
    async with snapshot_of(server.url()) as snapshot:
        counts = await count(snapshot)
        tables = {table.name: table for table in snapshot.inspection.tables}
    assert snapshot.inspection.identity.standby
    assert counts == {"public.a": 100}
    assert snapshot.lsn is not None
    assert tables["passing"].data_excluded
    assert "standby" in tables["passing"].note


async def test_a_session_that_is_ended_costs_its_counts_not_the_backup(
    three_tables: str,
) -> None:
    async with snapshot_of(three_tables) as snapshot:
        lost = snapshot.counters[1]
        execute(three_tables, f"SELECT pg_terminate_backend({lost.connection.info.backend_pid})")
        counts = await fingerprint_tables(snapshot, method="counts", report=discard)
    by_name = {item.table.name: item for item in counts}
    assert len(by_name) == 3
    for table in lost.tables:
        assert by_name[table.name].rows is None
        assert by_name[table.name].note.startswith("not counted: ")
    assert sum(item.rows == ROWS for item in counts) == 3 - len(lost.tables)


async def test_a_statement_of_one_word_that_waits_for_us_is_told(three_tables: str) -> None:
    async def queue_it() -> None:
        async with await psycopg.AsyncConnection.connect(
            three_tables, application_name="migrate"
        ) as connection:
            await connection.execute(
                "DO $$ BEGIN LOCK TABLE public.b IN ACCESS EXCLUSIVE MODE; END $$"
            )

    async with snapshot_of(three_tables), session(three_tables) as monitor:
        waiting = asyncio.create_task(queue_it())

        async def is_queued() -> bool:
            return len(await blocked_by_us(monitor, APPLICATION)) == 1

        await wait_until_async(is_queued, what="the block waits for us")
        (blocked,) = await blocked_by_us(monitor, APPLICATION)
        assert blocked.endswith("public.b: DO")
    async with asyncio.timeout(20):
        await waiting
