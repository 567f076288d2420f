"""What other tools call a good backup: each of the known false greens, and how it is found out.

Each test first shows the green itself (the stock tool that ends with 0), where there is one.
"""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import RightsMissing
from fsbackup_tui.domain.events import CommandStarted
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.records import read_records
from tests.support.faults import check_error, finish, processes_of, wait_for_event
from tests.support.proving import Bench, make_bench
from tests.support.resealing import reseal
from tests.support.servers import FreshServers, MakeDatabase, execute, query
from tests.support.waiting import wait_until

ROLE = "sees_its_own_rows"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchServer]:
    """The server of the trial restores."""
    servers = FreshServers(lambda: tmp_path_factory.mktemp("scratch"))
    yield servers.start(18)
    servers.remove()


@dataclass
class Shop:
    """A small database on a live server, its site, and a server for trials."""

    url: str
    server: ScratchServer
    scratch: ScratchServer
    bench: Bench
    point: str = ""

    async def back_up(self) -> dict[str, Any]:
        document = await self.bench.back_up()
        self.point = str(document["point"])
        return document

    @property
    def dump(self) -> Path:
        (found,) = self.bench.point_directory(self.point).glob("db/database.*")
        return found

    async def with_another_dump(self, content: bytes) -> dict[str, Any]:
        """Put other bytes where the dump was, sealed as if they had been captured; verify."""
        self.dump.write_bytes(content)
        reseal(self.bench.repository, self.point)
        return await self.bench.verify(self.point)

    def tool(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.server.bin_directory / name), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def loaded_by_hand(self, *options: str) -> tuple[int, int]:
        """Load the dump with psql, as scripts do; returns its exit status and the users there."""
        name = "by_hand"
        execute(self.scratch.url(), f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            done = self.tool(
                "psql", "-X", "-q", *options, f"-d{self.scratch.url(name)}", f"-f{self.dump}"
            )
            there = query(self.scratch.url(name), "SELECT to_regclass('public.users') IS NOT NULL")
            if there != [(True,)]:
                return done.returncode, 0
            users = query(self.scratch.url(name), "SELECT count(*) FROM public.users")
            return done.returncode, int(str(users[0][0]))
        finally:
            execute(self.scratch.url(), f"DROP DATABASE {name} WITH (FORCE)")


def make_shop(
    tmp_path: Path, url: str, server: ScratchServer, scratch: ScratchServer, **source: object
) -> Shop:
    execute(
        url,
        "CREATE TABLE users (id integer PRIMARY KEY, mail text)",
        "INSERT INTO users SELECT i, 'u' || i || '@example.org' FROM generate_series(1, 2000) AS i",
        "CREATE TABLE orders (id integer PRIMARY KEY, user_id integer REFERENCES users)",
        "INSERT INTO orders SELECT i, i FROM generate_series(1, 300) AS i",
    )
    bench = make_bench(tmp_path / "site", url, scratch_url=scratch.url(), source=source)
    return Shop(url, server, scratch, bench)


@pytest.fixture
def plain_shop(
    tmp_path: Path, server: ScratchServer, scratch: ScratchServer, make_database: MakeDatabase
) -> Shop:
    return make_shop(
        tmp_path, make_database(server), server, scratch, format="plain", compression="none"
    )


@pytest.fixture
def shop(
    tmp_path: Path, server: ScratchServer, scratch: ScratchServer, make_database: MakeDatabase
) -> Shop:
    return make_shop(tmp_path, make_database(server), server, scratch, format="custom")


def assert_found(document: dict[str, Any], rung: str, trust: str, words: str) -> None:
    """Assert that the rung failed, what it says, and what is left of the trust."""
    assert document["ok"] is False
    assert document["trust"] == trust, document["problems"]
    failed = [level for level, check in document["levels"].items() if check["ok"] is False]
    assert failed == [rung], document
    texts = [" ".join(str(value) for value in item.values()) for item in document["problems"]]
    assert any(re.search(words, text) for text in texts), texts


HEAD = "--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n"
TRAILER = "\n--\n-- PostgreSQL database dump complete\n--\n"


async def test_psql_ends_with_0_and_nothing_was_restored(plain_shop: Shop) -> None:
    await plain_shop.back_up()
    plain_shop.dump.write_text(HEAD + TRAILER)
    assert plain_shop.loaded_by_hand("-1", "-vON_ERROR_STOP=1") == (0, 0)
    document = await plain_shop.with_another_dump((HEAD + TRAILER).encode())
    assert_found(document, "restored", "readable", "entries")


async def test_psql_ends_with_0_although_every_statement_failed(plain_shop: Shop) -> None:
    await plain_shop.back_up()
    text = plain_shop.dump.read_text()
    broken = text.replace("CREATE TABLE public.users (", "CREATE TABLE public.users (gone gone,")
    plain_shop.dump.write_text(broken)
    assert plain_shop.loaded_by_hand() == (0, 0)
    document = await plain_shop.with_another_dump(broken.encode())
    assert_found(document, "restored", "readable", 'type "gone" does not exist')


async def test_a_plain_dump_cut_off_in_its_rows(plain_shop: Shop) -> None:
    await plain_shop.back_up()
    text = plain_shop.dump.read_bytes()
    torn = text[: text.index(b"\n1000\tu1000@")]
    plain_shop.dump.write_bytes(torn)
    exit_status, users = plain_shop.loaded_by_hand("-1", "-vON_ERROR_STOP=1")
    assert exit_status == 0
    assert 0 < users < 2000
    document = await plain_shop.with_another_dump(torn)
    assert_found(document, "readable", "damaged", "pg_dump was cut off")


async def test_a_plain_dump_that_lacks_rows_and_ends_as_it_should(plain_shop: Shop) -> None:
    await plain_shop.back_up()
    text = plain_shop.dump.read_bytes()
    start, end = text.index(b"\n1000\tu1000@"), text.index(b"\n1200\tu1200@")
    plain_shop.dump.write_bytes(text[:start] + text[end:])
    assert plain_shop.loaded_by_hand("-1", "-vON_ERROR_STOP=1") == (0, 1800)
    document = await plain_shop.with_another_dump(text[:start] + text[end:])
    assert_found(document, "proven", "restored", "1800 rows restored, 2000 captured")


def passes_gunzip(path: Path) -> bool:
    return subprocess.run(["gzip", "-t", str(path)], check=False).returncode == 0


@pytest.mark.parametrize("written", [0.0, 0.5], ids=["no such database", "killed"])
async def test_a_failed_dump_piped_into_gzip(
    tmp_path: Path,
    server: ScratchServer,
    scratch: ScratchServer,
    make_database: MakeDatabase,
    written: float,
) -> None:
    url = make_database(server)
    shop = make_shop(tmp_path, url, server, scratch, format="plain", compression="gzip")
    await shop.back_up()
    text = gzip.decompress(shop.dump.read_bytes())
    piped = gzip.compress(text[: int(len(text) * written)])
    shop.dump.write_bytes(piped)
    assert passes_gunzip(shop.dump)
    document = await shop.with_another_dump(piped)
    assert_found(document, "readable", "damaged", "pg_dump was cut off")


@pytest.mark.parametrize("dump_format", ["custom", "plain"])
async def test_a_dump_of_no_bytes(
    tmp_path: Path,
    server: ScratchServer,
    scratch: ScratchServer,
    make_database: MakeDatabase,
    dump_format: str,
) -> None:
    url = make_database(server)
    shop = make_shop(tmp_path, url, server, scratch, format=dump_format, compression="none")
    await shop.back_up()
    document = await shop.with_another_dump(b"")
    assert_found(document, "readable", "damaged", "database")


def dump_by_hand(shop: Shop, url: str, *options: str) -> bytes:
    done = subprocess.run(
        [str(shop.server.bin_directory / "pg_dump"), *options, f"--dbname={url}"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_whole_dump_of_an_empty_database(shop: Shop, make_database: MakeDatabase) -> None:
    await shop.back_up()
    archive = dump_by_hand(shop, make_database(shop.server), "-Fc")
    document = await shop.with_another_dump(archive)
    assert shop.tool("pg_restore", "-l", str(shop.dump)).returncode == 0
    assert_found(document, "restored", "readable", "entries")


async def test_a_dump_of_the_wrong_database(shop: Shop, make_database: MakeDatabase) -> None:
    """The same tables in another database, of the same number of rows."""
    await shop.back_up()
    other = make_database(shop.server)
    make_shop(shop.bench.site.directory / "other", other, shop.server, shop.scratch)
    execute(other, "UPDATE users SET mail = 'staging' WHERE id = 7")
    document = await shop.with_another_dump(dump_by_hand(shop, other, "-Fc"))
    assert_found(document, "proven", "restored", "users.*content differs")


async def test_the_address_leads_to_another_server(
    shop: Shop, tmp_path: Path, make_database: MakeDatabase
) -> None:
    """As many rows, all alike but for whose they are: told by the server's own identifier."""
    assert (await shop.back_up())["suspect"] == []
    elsewhere = make_database(shop.scratch, shop.url.partition("?")[0].rpartition("/")[2])
    make_shop(tmp_path / "staging", elsewhere, shop.server, shop.scratch)
    shop.bench.site.url = elsewhere
    (reason,) = (await shop.back_up())["suspect"]
    assert "another server" in reason
    assert "system identifier" in reason


async def test_the_address_leads_to_another_database(
    shop: Shop, tmp_path: Path, make_database: MakeDatabase
) -> None:
    await shop.back_up()
    other = make_database(shop.server)
    make_shop(tmp_path / "staging", other, shop.server, shop.scratch)
    shop.bench.site.url = other
    (reason,) = (await shop.back_up())["suspect"]
    assert "another database" in reason


@pytest.fixture
def filtered(shop: Shop) -> Iterator[str]:
    """The URL of a role that sees no rows of users: pg_dump is content with that."""
    execute(
        shop.url,
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"CREATE POLICY own ON users TO {ROLE} USING (mail = current_user)",
    )
    name = query(shop.url, "SELECT current_database()::text")[0][0]
    yield shop.server.url(str(name), user=ROLE)
    execute(shop.url, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


async def test_no_rows_under_row_level_security(shop: Shop, filtered: str) -> None:
    await shop.back_up()
    archive = dump_by_hand(shop, filtered, "-Fc", "--enable-row-security")
    document = await shop.with_another_dump(archive)
    assert_found(document, "restored", "readable", "TABLE DATA public.users: it has 0 rows")


async def test_a_role_that_sees_no_rows_takes_no_backup(shop: Shop, filtered: str) -> None:
    shop.bench.site.url = filtered
    with pytest.raises(RightsMissing) as caught:
        await shop.back_up()
    assert "Row-level security hides rows of table public.users" in caught.value.why
    assert list(shop.bench.repository.points.iterdir()) == []


def runs_postgres(event: object) -> bool:
    return isinstance(event, CommandStarted) and event.argv[0].endswith("/pg_restore")


async def test_a_verification_that_died_half_way_shows_nothing(shop: Shop) -> None:
    await shop.back_up()
    site = shop.bench.site
    execute(
        shop.url,
        "CREATE FUNCTION slow(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_database() LIKE 'fsbackup-%' THEN PERFORM pg_sleep(0.1); END IF;"
        " RETURN true; END $$",
        "ALTER TABLE orders ADD CHECK (public.slow(id))",
    )
    await shop.back_up()
    (before,) = read_records(shop.bench.repository, shop.point)
    process = site.start("verify", shop.point, "--level", "proven", "--json")
    job = wait_for_event(
        site, lambda event: runs_postgres(event) and "--jobs" in str(getattr(event, "argv", ""))
    )
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    check_error(finish(process), exit_code=1, kind="job-lost", what=f"JOB LOST: {job.id}")
    wait_until(lambda: not processes_of(site), timeout=10, what="all processes have ended")
    levels = [
        record.document["level"] for record in read_records(shop.bench.repository, shop.point)
    ]
    assert before.document["level"] == "sealed"
    assert levels == ["sealed", "sealed", "readable"]  # what was shown before it died
    newest = next(point for point in site.points() if point["id"] == shop.point)
    assert newest["trust"] == "readable"


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
async def test_every_format_is_really_tried(
    tmp_path: Path,
    server: ScratchServer,
    scratch: ScratchServer,
    make_database: MakeDatabase,
    dump_format: str,
) -> None:
    """The seed's script passes over formats it does not know, and counts them as good."""
    url = make_database(server)
    shop = make_shop(tmp_path, url, server, scratch, format=dump_format)
    await shop.back_up()
    document = await shop.bench.verify(shop.point)
    assert document["trust"] == "proven"
    assert document["proofs"]["db"]["rows"] == 2300
    assert [level for level, check in document["levels"].items() if check["ok"]] == [
        "sealed",
        "readable",
        "restored",
        "proven",
    ]


async def test_rows_without_their_tables_are_not_called_restored(
    tmp_path: Path, server: ScratchServer, scratch: ScratchServer, make_database: MakeDatabase
) -> None:
    """A part of data alone can't be tried by itself: that is no pass."""
    url = make_database(server)
    shop = make_shop(tmp_path, url, server, scratch, scope="data")
    await shop.back_up()
    document = await shop.bench.verify(shop.point)
    assert document["trust"] == "readable"
    assert "restored" not in document["levels"]
    assert "proven" not in document["levels"]
    assert any("readable is as far" in note for note in document["notes"])


async def proof_of(shop: Shop) -> dict[str, Any]:
    """Back up, and see that all that can be told without a restore is well; then prove."""
    taken = await shop.back_up()
    assert taken["ok"] is True
    read = await shop.bench.verify(shop.point, "readable")
    assert read["trust"] == "readable"
    assert read["problems"] == []
    return await shop.bench.verify(shop.point)


async def test_pg_restore_ignores_errors(shop: Shop) -> None:
    execute(
        shop.url,
        "SET session_replication_role = replica; INSERT INTO orders VALUES (9001, 9999)",
    )
    document = await proof_of(shop)
    # "errors ignored on restore: 1", and a script goes on with what there is.
    assert_found(document, "restored", "readable", "orders_user_id_fkey")


STOCK_PATH = (
    "CREATE FUNCTION highest() RETURNS integer LANGUAGE plpgsql"
    " AS 'BEGIN RETURN (SELECT max(id) FROM users); END'",
    "CREATE FUNCTION in_range(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE"
    " AS 'BEGIN RETURN $1 <= highest(); END'",
)


@pytest.mark.parametrize(
    "use",
    [
        "ALTER TABLE orders ADD CHECK (in_range(id))",
        "ALTER TABLE orders ADD ok boolean GENERATED ALWAYS AS (in_range(id)) STORED",
    ],
    ids=["check", "generated column"],
)
async def test_a_function_that_breaks_without_a_search_path(shop: Shop, use: str) -> None:
    """As soon as the session's path is empty, as in every restore, its tables are not found."""
    execute(shop.url, *STOCK_PATH, use)
    document = await proof_of(shop)
    assert_found(document, "restored", "readable", "public.orders: its rows did not arrive")


async def test_a_duplicate_hidden_by_a_broken_unique_index(shop: Shop) -> None:
    execute(
        shop.url,
        "CREATE UNIQUE INDEX one_mail ON users (mail)",
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'one_mail'::regclass",
        "INSERT INTO users VALUES (5000, 'u1@example.org')",
        "UPDATE pg_index SET indisready = true WHERE indexrelid = 'one_mail'::regclass",
    )
    document = await proof_of(shop)
    assert_found(document, "restored", "readable", "one_mail")


def test_the_words_of_this_module_are_those_of_the_tools(shop: Shop) -> None:
    """The trailer by which a whole plain dump is known is the one that pg_dump writes."""
    text = dump_by_hand(shop, shop.url).decode()
    assert TRAILER in text
    assert text.startswith(HEAD.partition("\n\n")[0])
