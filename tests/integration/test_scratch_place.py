"""Places for trial restores: what each kind gives, what it refuses, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import DiskFull, ScratchUnavailable
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.scratch_room import ROOM_PREFIX, sweep_linked_rooms
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.scratch_place import (
    ROOM_LINK,
    prepare_roles,
    scratch_place,
    sort_losses,
)
from fsbackup_tui.operations.trial_database import trial_database
from fsbackup_tui.repository.manifest import write_json
from tests.support.processes import is_running
from tests.support.servers import FreshServer, MakeDatabase, execute, query
from tests.support.transfers import (
    client_of,
    dump,
    empty_kitchen_sink,
    fill_kitchen_sink,
)
from tests.support.trials import fill_trial, make_context, part_of
from tests.support.waiting import wait_until, wait_until_async


@dataclass(frozen=True)
class Process:
    """What the kernel tells of a process."""

    user: int
    network: str
    user_namespace: str
    memory_manners: str


def process_of(pid: int) -> Process:
    place = Path(f"/proc/{pid}")
    return Process(
        place.stat().st_uid,
        str((place / "ns/net").readlink()),
        str((place / "ns/user").readlink()),
        (place / "oom_score_adj").read_text().strip(),
    )


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def nobody_alive(_job: str) -> bool:
    return False


def room_of(work: Path) -> Path:
    return (work / ROOM_LINK).readlink()


@pytest.fixture
def sink(fresh_server: FreshServer, request: pytest.FixtureRequest) -> Iterator[ScratchServer]:
    """A server of its own with every kind of object, and roles that no other server knows."""
    server = fresh_server(getattr(request, "param", 18), settings={"wal_level": "logical"})
    execute(server.url(), "CREATE DATABASE sink")
    fill_kitchen_sink(server.url("sink"))
    yield server
    empty_kitchen_sink(server.url("sink"))


async def small_facts(url: str, server: ScratchServer, directory: Path) -> PostgresFacts:
    return (await dump(url, await client_of(server), directory / "part")).facts


async def globals_of(server: ScratchServer, path: Path) -> Path:
    client = await client_of(server)
    argv = (client.tool("pg_dumpall"), "--globals-only", f"--file={path}", "-d", server.url())
    await run(Command(argv, env=client.env))
    return path


@pytest.mark.parametrize("sink", [17, 18], indirect=True)
async def test_an_own_server_takes_everything_and_goes(sink: ScratchServer, tmp_path: Path) -> None:
    dumped = await dump(sink.url("sink"), await client_of(sink), tmp_path / "part")
    programs = {"clients": [str(sink.bin_directory)]}
    context, told = make_context(tmp_path, sink.url("sink"), settings=programs)
    told_globals = await globals_of(sink, tmp_path / "globals.sql")
    async with scratch_place(context, part_of(dumped.facts)) as place:
        assert place.kind == "own"
        assert place.text == f"own server {place.identity.server_version}"
        assert place.identity.server_version_num == sink.version_num
        assert place.lacks == ()
        assert place.start_seconds > 0
        room = room_of(context.work)
        assert place.data_directory is not None
        assert room in place.data_directory.parents
        assert await prepare_roles(place, context, dumped.facts, told_globals) == []
        async with trial_database(context, place, dumped.facts, is_alive=nobody_alive) as database:
            accounting, entries = await fill_trial(context, place, database, dumped)
        # The foreign table of the sink is read by no view, so that nothing is left out for it.
        assert {entry.kind for entry in accounting.deferred} == {"SUBSCRIPTION", "COMMENT"}
        assert sort_losses(accounting, place, entries) == ((), ())
        assert accounting.whole
        assert not any("Owners were not restored" in note for note in accounting.notes)
    (server,) = told.servers()
    assert not is_running(server.pid)
    assert not room.exists()
    assert not (context.work / ROOM_LINK).is_symlink()


async def test_the_own_server_is_shut_off_and_tuned_for_loading(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    context, told = make_context(
        tmp_path, url, settings={"scratch": {"memory": "256MB", "jobs": 3}, "limits": {"nice": 7}}
    )
    async with scratch_place(context, part_of(facts)) as place:
        at = place.address.url().reveal()
        rows = query(at, "SELECT name, setting FROM pg_settings")
        settings = {str(name): str(setting) for name, setting in rows}
        memory = 8192 * int(settings["shared_buffers"])
        memory += 3 * 1024 * int(settings["maintenance_work_mem"])
        memory += 3 * 1024 * int(settings["work_mem"])
        (started,) = told.servers()
        process = process_of(started.pid)
        assert place.jobs == 3
        assert settings["listen_addresses"] == ""
        assert settings["wal_level"] == "minimal"
        assert settings["autovacuum"] == "off"
        assert settings["fsync"] == "off"
        assert settings["event_triggers"] == "off"
        assert memory <= 256_000_000
        assert os.getpriority(os.PRIO_PROCESS, started.pid) == 7
        assert process.memory_manners == "500"
        assert place.data_directory is not None
        assert mode_of(place.data_directory) == 0o700
        assert (process.network != process_of(os.getpid()).network) is place.offline
        if os.geteuid() == 0:
            assert process.user != 0
            # A really different user, not root in a namespace of its own.
            assert process.user_namespace == process_of(os.getpid()).user_namespace


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory into which everybody may write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


async def test_what_a_dump_runs_is_not_us(
    server: ScratchServer, make_database: MakeDatabase, open_directory: Path, tmp_path: Path
) -> None:
    url = make_database(server)
    mark = open_directory / "mark"
    execute(
        url,
        "CREATE FUNCTION runs() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        f" COPY (SELECT 1) TO PROGRAM 'cat > {mark}'; RETURN 1; END $$",
        "CREATE MATERIALIZED VIEW runner AS SELECT public.runs() AS a",
    )
    mark.unlink()
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    context, told = make_context(tmp_path, url)
    async with scratch_place(context, part_of(dumped.facts)) as place:
        async with trial_database(context, place, dumped.facts, is_alive=nobody_alive) as database:
            accounting, _entries = await fill_trial(context, place, database, dumped)
            assert accounting.whole, accounting.problems()
        (started,) = told.servers()
        writer = mark.stat().st_uid
        assert writer == process_of(started.pid).user
        assert os.geteuid() != 0 or writer not in (0, process_of(server.pid or 0).user)


async def test_the_event_loop_goes_on_while_it_starts(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    context, _told = make_context(tmp_path, url)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    async def start() -> int:
        before = ticks
        async with scratch_place(context, part_of(facts)):
            return ticks - before

    assert await guarded(start(), tick()) >= 10


@pytest.mark.parametrize("when", ["while it starts", "when it runs", "by an error"])
async def test_however_it_ends_nothing_is_left(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, when: str
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    context, told = make_context(tmp_path, url)
    rooms: list[Path] = []

    async def use() -> None:
        async with scratch_place(context, part_of(facts)):
            rooms.append(room_of(context.work))
            if when == "by an error":
                raise ValueError(when)
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    if when == "while it starts":
        await wait_until_async((context.work / ROOM_LINK).is_symlink)
        rooms.append(room_of(context.work))
        using.cancel()
    elif when == "when it runs":
        await wait_until_async(lambda: rooms)
        using.cancel()
    with pytest.raises(ValueError if when == "by an error" else asyncio.CancelledError):
        await using
    assert len(rooms) == 1
    assert not rooms[0].exists()
    assert not any(is_running(server.pid) for server in told.servers())


WORKER = """
import asyncio, pathlib, sys
from tests.support.trials import make_context
from fsbackup_tui.repository.manifest import read_part
from fsbackup_tui.operations.scratch_place import scratch_place

async def main():
    directory = pathlib.Path(sys.argv[1])
    context, told = make_context(directory, sys.argv[2])
    async with scratch_place(context, read_part(directory / "part.json")):
        (server,) = told.servers()
        print(server.pid, (context.work / "scratch-room").readlink(), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_worker_leaves_nothing_for_long(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = asyncio.run(small_facts(url, server, tmp_path / "dump"))
    write_json(tmp_path / "part.json", part_of(facts))
    worker = subprocess.Popen(
        [sys.executable, "-P", "-c", WORKER, str(tmp_path), url],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with worker:
        assert worker.stdout is not None
        pid, _, room = worker.stdout.readline().strip().partition(" ")
        assert is_running(int(pid))
        worker.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(int(pid)), timeout=5)
    assert Path(room).name.startswith(ROOM_PREFIX)
    assert Path(room).exists()
    sweep_linked_rooms(tmp_path / "site" / "work")
    assert not Path(room).exists()


async def test_too_little_space_is_said_before_anything_is_made(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    huge = replace(facts, identity=replace(facts.identity, size_bytes=10**15))
    roomy, _told = make_context(tmp_path / "a", url, settings={"scratch": {"disk": "1GB"}})
    for context, words in (
        (make_context(tmp_path / "b", url)[0], "MB free"),
        (roomy, "scratch: disk allows 1000 MB"),
    ):
        with pytest.raises(ScratchUnavailable, match="NOT ENOUGH SPACE") as caught:
            async with scratch_place(context, part_of(huge)):
                raise AssertionError("there is no such disk")
        assert words in caught.value.why
        assert caught.value.lacks
        assert list(context.work.iterdir()) == []
    schema = replace(huge, scope="schema")
    async with scratch_place(roomy, part_of(schema)) as place:
        assert place.kind == "own"


async def test_the_data_may_not_outgrow_their_limit(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    context, _told = make_context(tmp_path, url, settings={"scratch": {"disk": "230MB"}})

    async def overfill(at: str) -> None:
        sql = (
            "CREATE TABLE big AS SELECT repeat(md5(i::text), 60) FROM generate_series(1, 150000) i"
        )
        await asyncio.to_thread(execute, at, sql)
        await asyncio.Event().wait()

    async with scratch_place(context, part_of(facts)) as place:
        at = place.address.url().reveal()
        with pytest.raises(DiskFull, match="DISK LIMIT REACHED"):
            await guarded(overfill(at), *place.space_guards())


async def test_its_directory_is_chosen_by_the_config(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    # pytest's own directories are closed to others, as a configured one may be.
    closed, _told = make_context(
        tmp_path / "a", url, settings={"scratch": {"directory": str(tmp_path / "scratch")}}
    )
    if os.geteuid() == 0:
        with pytest.raises(ScratchUnavailable, match="NO PLACE FOR A SCRATCH SERVER") as caught:
            async with scratch_place(closed, part_of(facts)):
                raise AssertionError("its own user can't get there")
        assert "chmod o+x" in caught.value.fix
    else:
        async with scratch_place(closed, part_of(facts)) as place:
            assert place.data_directory is not None
            assert tmp_path / "scratch" in place.data_directory.parents


async def test_no_older_server_is_taken(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    future = replace(facts, identity=replace(facts.identity, server_version_num=990000))
    context, _told = make_context(tmp_path, url)
    with pytest.raises(ScratchUnavailable, match="no server programs of PostgreSQL 99") as caught:
        async with scratch_place(context, part_of(future)):
            raise AssertionError("from the future")
    assert "postgresql-99" in caught.value.fix
    past = replace(facts, identity=replace(facts.identity, server_version_num=130000))
    async with scratch_place(context, part_of(past)) as place:
        assert place.identity.server_version_num > 140000


async def test_what_the_scratch_lacks_is_told_from_what_is_lost(
    server: ScratchServer, server17: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """18's package was built without OpenSSL, libxml and lz4; 17's has them all."""
    url = make_database(server17)
    execute(
        url,
        "CREATE EXTENSION pgcrypto",
        "CREATE FUNCTION secret(t text) RETURNS text LANGUAGE sql"
        " RETURN public.crypt(t, public.gen_salt('bf'))",
        "CREATE VIEW secrets AS SELECT public.secret('x') AS s",
        "CREATE TABLE documents (id int PRIMARY KEY, body xml)",
        "INSERT INTO documents SELECT i, '<a/>' FROM generate_series(1, 5) i",
        "CREATE TABLE squeezed (id int PRIMARY KEY, body text COMPRESSION lz4)",
        "INSERT INTO squeezed SELECT i, 'x' FROM generate_series(1, 5) i",
        "CREATE VIEW ids AS SELECT id FROM squeezed",
        "CREATE TABLE whole AS SELECT 1 AS a",
        # Damage of the database's own: a unique index that its table broke.
        "CREATE TABLE twice AS SELECT 1 AS id FROM generate_series(1, 2)",
        "CREATE INDEX twice_id ON twice (id)",
        "UPDATE pg_index SET indisunique = true WHERE indexrelid = 'twice_id'::regclass",
    )
    client = await client_of(server17)
    dumped = await dump(url, client, tmp_path / "part", compression="gzip:1")
    context, _told = make_context(tmp_path, url, settings={"scratch": {"url": server.url()}})
    async with scratch_place(context, part_of(dumped.facts)) as place:
        assert place.kind == "server"
        assert [lack.what for lack in place.lacks] == [
            "extension pgcrypto is missing on the scratch server"
        ]
        async with trial_database(context, place, dumped.facts, is_alive=nobody_alive) as database:
            accounting, entries = await fill_trial(context, place, database, dumped)
    blockers, lost = sort_losses(accounting, place, entries)
    assert {blocker.what for blocker in blockers} == {
        "extension pgcrypto is missing on the scratch server",
        "xml is not supported by the scratch server",
        "lz4 compression is not supported by the scratch server",
    }
    assert len(lost) == 1, lost
    assert "public.twice_id" in lost[0]
    assert len(accounting.lost) > len(blockers) + len(lost)
    assert query(server.url(), "SELECT 1 FROM pg_database WHERE datname LIKE 'fsbackup-%'") == []


async def test_an_archive_that_no_client_decompresses_is_blocked(
    server: ScratchServer, server17: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """17's package compresses with zstd; 18's, which alone may look into the copy, can't."""
    url = make_database(server17)
    execute(url, "CREATE TABLE t AS SELECT 1 AS a")
    client = await client_of(server17)
    dumped = await dump(url, client, tmp_path / "part", compression="zstd:1")
    context, _told = make_context(tmp_path, url, settings={"scratch": {"url": server.url()}})
    part = part_of(dumped.facts)
    with pytest.raises(ScratchUnavailable, match="ARCHIVE NOT READABLE HERE") as caught:
        async with scratch_place(context, part, archive=dumped.path):
            raise AssertionError("18 was built without zstd")
    ((what, fix),) = caught.value.lacks
    assert what == "no pg_restore 18 or newer on this machine decompresses zstd"
    assert "postgresql-client-18" in fix
    async with scratch_place(context, part, where="own", archive=dumped.path) as place:
        assert place.client.major == 17


async def test_a_locale_that_is_not_there_blocks_the_place(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    facts = await small_facts(url, server, tmp_path)
    context, told = make_context(tmp_path, url)
    for changed, word in (
        (replace(facts, collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8"), "locale xx_XX.UTF-8"),
        (replace(facts, locale_provider="icu", locale="und"), "ICU"),
    ):
        with pytest.raises(ScratchUnavailable, match="LOCALE MISSING") as caught:
            async with scratch_place(context, part_of(changed)):
                raise AssertionError("no such locale")
        assert [word in what for what, _fix in caught.value.lacks] == [True]
    assert len(told.servers()) == 2
    assert not any(is_running(started.pid) for started in told.servers())


async def test_nothing_outside_is_contacted(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    listener = await asyncio.start_server(lambda _r, _w: callers.append(1), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    callers: list[int] = []
    execute(
        url,
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw"
        f" OPTIONS (host '127.0.0.1', port '{port}')",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'u', password 'p')",
        "CREATE FOREIGN TABLE far_table (id int) SERVER far",
        "CREATE MATERIALIZED VIEW near AS SELECT id FROM far_table WITH NO DATA",
        # As if it were filled: the dump then asks for it to be filled again.
        "UPDATE pg_class SET relispopulated = true WHERE relname = 'near'",
        "CREATE EXTENSION dblink",
        "CREATE FUNCTION calls() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY"
        f" SELECT * FROM public.dblink('host=127.0.0.1 port={port} user=u','SELECT 1') AS t(a int);"
        " END $$",
        "CREATE MATERIALIZED VIEW hidden AS SELECT calls() WITH NO DATA",
        "UPDATE pg_class SET relispopulated = true WHERE relname = 'hidden'",
    )
    dumped = await dump(url, await client_of(server), tmp_path / "part")
    context, _told = make_context(tmp_path, url)
    async with listener, scratch_place(context, part_of(dumped.facts)) as place:
        async with trial_database(context, place, dumped.facts, is_alive=nobody_alive) as database:
            accounting, entries = await fill_trial(context, place, database, dumped)
        assert [entry.label for entry in accounting.deferred] == [
            "MATERIALIZED VIEW DATA public.near"
        ]
        blockers, lost = sort_losses(accounting, place, entries)
        if place.offline:
            assert callers == []
            assert [blocker.what for blocker in blockers] == [
                "MATERIALIZED VIEW DATA public.hidden reads from another server, "
                "which a trial restore never contacts"
            ]
            assert lost == ()
