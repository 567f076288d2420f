"""pg_dump as fsbackup runs it: what it leaves, and how its failures are told."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fsbackup_tui.config.model import Limits
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import ClientUnsuitable, FsbackupError, RightsMissing, TableLocked
from fsbackup_tui.domain.events import Event, Log
from fsbackup_tui.domain.point import DumpFormat
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.chain import Chain, read_artifact
from fsbackup_tui.engines.encryption.age import AgeIdentities, AgeKey, new_identity
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import client_environment
from fsbackup_tui.engines.postgres.dump import DumpPlan, dump_globals, plan_dump
from fsbackup_tui.engines.postgres.dump_encrypted import dump_globals_encrypted
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import address_of
from tests.support.transfers import APPLICATION, client_of, dump
from tests.support.waiting import wait_until_async

MEGABYTE = 1_000_000


@pytest.fixture
def plain_role(server: ScratchServer) -> Iterator[str]:
    """A role without any right of its own."""
    name = f"plain_{os.getpid()}"
    execute(server.url(), f"CREATE ROLE {name} LOGIN")
    yield name
    execute(server.url(), f"DROP ROLE {name}")


def source(**settings: object) -> PostgresSource:
    return PostgresSource.model_validate({"kind": "postgres", "url": "unused", **settings})


def tools(major: int, *, zstd: bool) -> ClientTools:
    return ClientTools(Path("/nowhere"), f"{major}.1", major, zstd, True, False, {})


def plan(client: ClientTools, size: int = 0, **settings: object) -> DumpPlan:
    return plan_dump(source(**settings), Limits(), client, size_bytes=size, tables=10, cpu_count=4)


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        (5 * MEGABYTE, {}, ("custom", 1, "database.dump")),
        (500 * MEGABYTE, {}, ("directory", 4, "database")),
        (500 * MEGABYTE, {"scope": "schema"}, ("custom", 1, "database.dump")),
        (500 * MEGABYTE, {"jobs": 1}, ("custom", 1, "database.dump")),
        (5 * MEGABYTE, {"format": "directory"}, ("directory", 4, "database")),
        (5, {"format": "plain"}, ("plain", 1, "database.sql.zst")),
        (5, {"format": "plain", "compression": "gzip:3"}, ("plain", 1, "database.sql.gz")),
        (5, {"format": "plain", "compression": "none"}, ("plain", 1, "database.sql")),
    ],
)
def test_format_and_jobs_follow_size_and_wishes(
    size: int, settings: dict[str, object], expected: tuple[DumpFormat, int, str]
) -> None:
    chosen = plan(tools(17, zstd=True), size, **settings)
    assert (chosen.format, chosen.jobs, chosen.name) == expected


def test_jobs_are_given_up_where_their_locks_would_not_fit() -> None:
    chosen = plan_dump(
        source(format="directory"),
        Limits(),
        tools(17, zstd=True),
        size_bytes=500 * MEGABYTE,
        tables=12_000,
        cpu_count=4,
        lock_slots=6400,
    )
    assert chosen.jobs == 1


def test_zstd_is_used_only_where_the_client_has_it() -> None:
    assert plan(tools(17, zstd=True)).compression == "zstd:1"
    assert plan(tools(14, zstd=False)).compression == "gzip:1"
    # pg_dump 14 would take the word for level 0 and dump uncompressed, with exit code 0.
    with pytest.raises(ClientUnsuitable, match="NO ZSTD"):
        plan(tools(14, zstd=False), compression="zstd:3")


async def test_a_dump_is_whole_and_private(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE TABLE t AS SELECT generate_series(1, 100) AS id")
    old = os.umask(0o077)
    try:
        dumped = await dump(
            url, await client_of(matrix_server), tmp_path / "part", dump_format="directory"
        )
    finally:
        os.umask(old)
    names = {name for name, _role in dumped.result.artifacts}
    there = {
        path.relative_to(dumped.directory).as_posix()
        for path in dumped.directory.rglob("*")
        if path.is_file()
    }
    assert names | {"schema.sql"} == there
    assert dict(dumped.result.artifacts)["restore.list"] == "list"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in dumped.directory.rglob("*")}
    assert modes <= {0o600, 0o700}
    assert any("dumping contents of table" in line for line in dumped.log)


async def test_what_is_excluded_is_not_there(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE SCHEMA gone; CREATE TABLE gone.t (id integer)",
        "CREATE TABLE also_gone (id integer)",
        "CREATE TABLE log AS SELECT 1 AS id",
    )
    dumped = await dump(
        url,
        await client_of(server),
        tmp_path / "part",
        exclusions=Exclusions(("gone",), ("public.also_gone",), ("public.log",)),
    )
    listing = (dumped.directory / "restore.list").read_text()
    assert "gone" not in listing
    assert " TABLE public log " in listing
    assert "TABLE DATA" not in listing


async def test_a_locked_table_is_said_to_be_locked(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t (id integer)")
    with psycopg.connect(url) as migration:
        migration.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TableLocked, match="TABLE LOCKED"):
            await dump(url, await client_of(server), tmp_path / "part")


async def test_rows_one_may_not_see_are_an_error(
    server: ScratchServer, make_database: MakeDatabase, plain_role: str, tmp_path: Path
) -> None:
    url = make_database(server)
    name = query(url, "SELECT current_database()")[0][0]
    execute(
        url,
        "CREATE TABLE hidden AS SELECT generate_series(1, 10) AS id",
        "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON hidden TO {plain_role}",
    )
    client = await client_of(server)
    with pytest.raises(RightsMissing, match="ROWS HIDDEN"):
        await dump(server.url(str(name), user=plain_role), client, tmp_path / "hidden")
    execute(url, "ALTER TABLE hidden DISABLE ROW LEVEL SECURITY", "CREATE TABLE closed (id int)")
    with pytest.raises(RightsMissing, match="RIGHTS MISSING"):
        await dump(server.url(str(name), user=plain_role), client, tmp_path / "closed")
    execute(url, f"DROP OWNED BY {plain_role}")


async def test_globals_hold_roles_and_no_passwords(
    server: ScratchServer, make_database: MakeDatabase, plain_role: str, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, f"ALTER ROLE {plain_role} PASSWORD 'correct horse'")
    client = await client_of(server)
    for user, expected in ((None, "globals.sql"), (plain_role, "globals.sql")):
        address = address_of(server.url(address_of(url).database, user=user))
        work = tmp_path / str(user)
        work.mkdir()
        with client_environment(
            address, directory=work, application_name=APPLICATION
        ) as environment:
            name, why = await dump_globals(
                client, environment, database=address.database, directory=work
            )
        assert (name, why) == (expected, "")
        text = (work / "globals.sql").read_text()
        assert f"CREATE ROLE {plain_role}" in text
        assert "SCRAM" not in text
        # Encrypted, they have the hashes: a server that is lost needs no new passwords.
        identity, recipient = new_identity()
        chain = Chain("zstd:3", AgeKey(KeyFacts("age", "k"), (recipient,)))
        told: list[Event] = []
        with client_environment(
            address, directory=work, application_name=APPLICATION
        ) as environment:
            made, why = await dump_globals_encrypted(
                client,
                environment,
                chain=chain,
                database=address.database,
                directory=work,
                report=told.append,
            )
        assert made is not None, why
        keys = ReadingKeys(age=AgeIdentities((identity,)))
        sealed = made[1].artifact(work, made[0], "globals")
        content = await read_artifact(work / made[0], sealed, keys, lambda one: one.read(1 << 20))
        assert f"CREATE ROLE {plain_role}".encode() in content
        assert (b"SCRAM" in content) is (user is None)
        said = [each.text for each in told if isinstance(each, Log)]
        assert [("without their passwords" in each) for each in said] == [True] * (user is not None)


@pytest.mark.parametrize("dump_format", ["custom", "directory"])
async def test_a_cancelled_dump_leaves_nothing_on_the_server(
    server17: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    dump_format: DumpFormat,
) -> None:
    url = make_database(server17)
    name = address_of(url).database
    execute(
        url,
        "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS t"
        " FROM generate_series(1, 400000) AS n",
    )
    dumping = asyncio.create_task(
        dump(
            url,
            await client_of(server17),
            tmp_path / "part",
            dump_format=dump_format,
            compression="gzip:9",
        )
    )

    def copying() -> int:
        return len(
            query(
                server17.url(),
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%'"
                f" AND application_name = '{APPLICATION}' AND datname = '{name}'",
            )
        )

    def sessions() -> int:
        return len(
            query(server17.url(), f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}'")
        )

    await wait_until_async(lambda: copying() > 0, timeout=20)
    dumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dumping
    await wait_until_async(lambda: sessions() == 0, timeout=5)


async def test_a_server_that_goes_away_is_named(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS t"
        " FROM generate_series(1, 300000) AS n",
    )
    name = address_of(url).database
    dumping = asyncio.create_task(
        dump(url, await client_of(server), tmp_path / "part", compression="gzip:9")
    )
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND query LIKE 'COPY%'"
    )
    await wait_until_async(lambda: len(query(server.url(), ended)) > 0, timeout=20)
    with pytest.raises(FsbackupError, match=r"SERVER LOST: pg_dump ended with 1"):
        await dumping
