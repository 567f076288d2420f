"""A proven copy stays beside live as the spare: fenced, as proven, and one at a time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.spare import close_off, find_standing, spare_name, unfence
from fsbackup_tui.operations import spare as spare_module
from fsbackup_tui.operations.spare import check_spare
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.spares import Spare, spares_of
from tests.support.faults import databases_of, finish, newest_job
from tests.support.jobs import journal_lines
from tests.support.matrix import matrix_wanted
from tests.support.proving import make_bench
from tests.support.servers import (
    FreshServer,
    MakeDatabase,
    ServerPool,
    binaries,
    execute,
    majors,
    query,
)
from tests.support.sessions import session
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until


def small_shop(url: str, *, rows: int = 500) -> None:
    name = name_in(url)
    execute(
        url,
        "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text)",
        f"INSERT INTO users (mail) SELECT 'u' || i FROM generate_series(1, {rows}) i",
        "CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users, total numeric)",
        "INSERT INTO orders SELECT i, 1 + i % 50, i * 1.50 FROM generate_series(1, 900) i",
        sql.SQL("ALTER DATABASE {} SET work_mem TO '7MB'").format(sql.Identifier(name)),
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 41").format(sql.Identifier(name)),
        sql.SQL("COMMENT ON DATABASE {} IS 'the shop'").format(sql.Identifier(name)),
        sql.SQL("GRANT CREATE ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)),
    )


def name_in(url: str) -> str:
    return str(query(url, "SELECT current_database()")[0][0])


def backed_up(directory: Path, url: str, **settings: object) -> Site:
    site = make_site(directory, url, settings=settings)
    back_up(site)
    return site


def back_up(site: Site) -> str:
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    return str(done.document["point"])


def keep(site: Site, point: str = "latest") -> dict[str, Any]:
    done = site.run("verify", point, "--keep-spare", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    spare = done.document["spares"]["db"]
    assert spare["kept"] is True
    return dict(spare)


def spares_on(url: str, site: Site) -> list[str]:
    """The spares of the site's repository on the server, by their mark alone."""
    mark = f"%repository {open_repository(site.repository).id}"
    found = query(
        url,
        sql.SQL(
            "SELECT datname::text FROM pg_database WHERE shobj_description(oid, 'pg_database')"
            " LIKE {} ORDER BY 1"
        )
        .format(sql.Literal(mark))
        .as_string(None),
    )
    return [str(name) for (name,) in found]


def recorded(site: Site, point: str) -> Spare:
    (spare,) = spares_of(open_repository(site.repository), point)
    return spare


def drop(url: str, *names: str) -> None:
    for name in names:
        execute(url, sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


@asynccontextmanager
async def opened(url: str, spare: Spare, name: str) -> AsyncIterator[Connection]:
    """Open the spare as ``name`` for the block, drop it after."""
    try:
        async with session(url) as admin:
            await unfence(admin, await check_spare(admin, spare), name, comment="the shop")
            yield admin
    finally:
        drop(url, name)


def dump_of(server: ScratchServer, name: str) -> list[str]:
    done = subprocess.run(
        [str(binaries(18) / "pg_dump"), "--create", server.url(name)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line for line in done.stdout.splitlines() if not re.match(r"\\(un)?restrict", line)]
    return sorted(line.replace(name, "NAME") for line in told)


@pytest.fixture(scope="module", params=majors() if matrix_wanted() else (18,))
def each_server(request: pytest.FixtureRequest, server_pool: ServerPool) -> ScratchServer:
    """Each major in turn in the matrix; else 18 alone, and 17 is where TCP is."""
    return server_pool.matrix(request.param)


async def test_a_spare_equals_the_original_and_nobody_gets_in(
    tmp_path: Path, each_server: ScratchServer, make_database: MakeDatabase
) -> None:
    server = each_server
    url = make_database(server)
    small_shop(url)
    site = backed_up(tmp_path / "site", url, clients=[str(server.bin_directory)])
    (point,) = (item["id"] for item in site.points())
    done = site.run("verify", "latest", "--keep-spare")
    spare = recorded(site, point)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert f"spare {spare.name} on" in done.stdout
    assert f'DROP DATABASE "{spare.name}"' in done.stdout
    assert any("of WAL each time" in text for text in logged(site))
    assert spare.name == f"{name_in(url)}__spare_{point[-4:]}"
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        query(server.url(spare.name), "SELECT 1")
    shown = site.run("show", point, "--json").document["spares"]["db"]
    assert (shown["name"], shown["remove"]) == (spare.name, f'DROP DATABASE "{spare.name}"')
    told = " ".join(site.run("show", point).stdout.split())
    assert f"spare {spare.name} on {spare.server}, fenced off, proven today" in told
    listed = site.points()[0]["spares"]["db"]
    assert listed == {key: shown[key] for key in ("name", "server", "proven_at")}
    async with opened(url, spare, f"{name_in(url)}_recovered"):
        recovered = f"{name_in(url)}_recovered"
        assert dump_of(server, recovered) == dump_of(server, name_in(url))
        assert query(server.url(recovered), "SHOW work_mem") == [("7MB",)]
        assert spares_on(url, site) == []


async def test_over_tcp_with_a_password(
    tmp_path: Path, tls_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(tls_server)
    small_shop(url)
    assert "127.0.0.1" in url
    site = make_site(tmp_path / "site", f"{url}?sslmode=require")
    point = back_up(site)
    spare = keep(site)
    assert spare["server"] == f"127.0.0.1:{tls_server.port}"
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        query(tls_server.url(str(spare["name"])), "SELECT 1")
    assert keep(site, back_up(site))["replaced"] == [spare["name"]]
    (point,) = (item["id"] for item in site.points()[:1])
    secret = tls_server.password
    assert secret is not None
    told = [path for path in site.directory.rglob("*") if path.is_file()]
    assert not [path for path in told if secret.reveal().encode() in path.read_bytes()]
    async with opened(url, recorded(site, point), recovered := f"{name_in(url)}_recovered"):
        assert dump_of(tls_server, recovered) == dump_of(tls_server, name_in(url))


async def test_what_was_used_since_is_refused(
    tmp_path: Path, each_server: ScratchServer, make_database: MakeDatabase
) -> None:
    server = each_server
    url = make_database(server)
    small_shop(url)
    site = backed_up(tmp_path / "site", url, clients=[str(server.bin_directory)])
    keep(site)
    (point,) = (item["id"] for item in site.points())
    spare = recorded(site, point)
    mark = sql.SQL("COMMENT ON DATABASE {} IS {}").format(
        sql.Identifier(spare.name), sql.Literal(spare.comment)
    )
    async with session(url) as admin:
        (standing,) = await find_standing(admin, [(spare.oid, spare.comment)])
        assert await check_spare(admin, spare) == standing
        await unfence(admin, standing, spare.name, comment=spare.comment)
        with psycopg.connect(server.url(spare.name)):
            await close_off(admin, spare.name)
            with pytest.raises(SafetyRefusal) as visited:
                await check_spare(admin, spare)
        assert "Somebody is in it" in visited.value.why
        await close_off(admin, spare.name, closed=False)
        with pytest.raises(SafetyRefusal) as open_to_all:
            await check_spare(admin, spare)
        assert "not fenced off" in open_to_all.value.why
        execute(server.url(spare.name), "INSERT INTO users (mail) VALUES ('new')")
        await close_off(admin, spare.name)
        await admin.execute(mark)
        inside = f"SELECT 1 FROM pg_stat_activity WHERE datid = {spare.oid}"
        wait_until(lambda: not query(url, inside))
        # At once: on PostgreSQL 14 the statistics are late.
        with pytest.raises(SafetyRefusal) as written:
            await check_spare(admin, spare)
        assert "It was used since it was proven" in written.value.why
        assert spare.name in written.value.what
    drop(url, spare.name)
    async with session(url) as admin:
        with pytest.raises(SafetyRefusal) as gone:
            await check_spare(admin, spare)
        assert "It is gone" in gone.value.why


def test_the_next_proven_point_replaces_it(
    tmp_path: Path, each_server: ScratchServer, make_database: MakeDatabase
) -> None:
    server = each_server
    url = make_database(server)
    small_shop(url)
    site = backed_up(tmp_path / "site", url, clients=[str(server.bin_directory)])
    first = keep(site)
    again = keep(site)
    assert again["name"] == first["name"]
    assert again["oid"] != first["oid"]
    assert again["replaced"] == [first["name"]]
    old = site.points()[0]["id"]
    execute(url, "INSERT INTO users (mail) VALUES ('later')")
    new = back_up(site)
    second = keep(site, new)
    assert second["replaced"] == [first["name"]]
    assert spares_on(url, site) == [second["name"]]
    assert site.run("show", old, "--json").document["spares"] == {}
    assert site.run("show", new, "--json").document["spares"]["db"]["name"] == second["name"]
    assert not [name for name in databases_of(url) if name.startswith("fsbackup-")]
    drop(url, str(second["name"]))


def test_points_under_another_key_keep_their_spare(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    """It was nobody's, stood for ever, and no recovery was a swap alone any more."""
    url = make_database(server)
    small_shop(url)
    key = {"method": "age", "passphrase": "the first"}
    site = backed_up(tmp_path / "site", url, encryption=key, environment="test")
    first = keep(site)
    anew = {"method": "age", "passphrase": "the second", "former": [{"passphrase": "the first"}]}
    site.settings = {**site.settings, "encryption": anew}
    site.write_config()
    done = site.run("rekey", "--all", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    (changed,) = done.document["rekeyed"]
    shown = site.run("show", "latest", "--json").document
    assert shown["id"] == changed["became"]
    assert shown["spares"]["db"]["name"] == first["name"]
    execute(url, "DELETE FROM users WHERE id > 400 AND id NOT IN (SELECT user_id FROM orders)")
    words = ("restore", "latest", "--swap", "--confirm", name_in(url), "--reason", "r", "--json")
    swapped = site.run(*words)
    assert swapped.exit_code == 0, swapped.stdout + swapped.stderr
    assert query(url, "SELECT count(*) FROM users") == [(500,)]
    # The spare itself is live now: nothing was restored.
    oid = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
    assert query(url, oid) == [(first["oid"],)]
    assert spares_on(url, site) == []
    drop(url, *(name for name in databases_of(url) if "__before_" in name))


def test_a_spare_that_somebody_opened_is_left_to_them(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    small_shop(url)
    site = backed_up(tmp_path / "site", url)
    first = str(keep(site)["name"])
    execute(url, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(first)))
    again = site.run("verify", "latest", "--keep-spare", "--json")
    assert again.exit_code == 1
    assert f"somebody opened the former spare, {first}" in again.document["spares"]["db"]["why"]
    second = keep(site, back_up(site))
    assert second["replaced"] == []
    assert spares_on(url, site) == sorted([first, second["name"]])
    assert f"LEFT OVER: the former spare {first} was opened" in " ".join(warned(site))
    # It is known for as long as it stands, and goes when it is closed again.
    execute(url, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(first)))
    third = keep(site, back_up(site))
    assert sorted(third["replaced"]) == sorted([first, second["name"]])
    assert spares_on(url, site) == [third["name"]]
    drop(url, str(third["name"]))


def test_a_plan_keeps_it_and_a_suspect_point_leaves_the_former(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    small_shop(url)
    plans = {"daily": {"sources": ["db"], "keep_spare": True}}
    site = make_site(tmp_path / "site", url, settings={"plans": plans})
    point = back_up(site)
    spare = recorded(site, point)
    assert spares_on(url, site) == [spare.name]
    assert site.points()[0]["trust"] == "proven"
    execute(url, "TRUNCATE users, orders")
    done = site.run("backup", "daily", "--json")
    document = done.document
    assert document["suspect"]
    assert document["trust"] == "proven"
    problem = document["stages"]["verify"]["problem"]
    assert problem["kind"] == "spare-not-kept"
    assert "suspect point never replaces a spare" in problem["why"]
    assert document["spares"]["db"]["kept"] is False
    assert spares_on(url, site) == [spare.name]
    drop(url, spare.name)


@pytest.mark.parametrize("name", ["n" * 63, "ä" * 31])
def test_a_long_name_is_shortened_never_the_rest(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, name: str
) -> None:
    url = make_database(server, name)
    small_shop(url)
    site = backed_up(tmp_path / "site", url)
    point = str(site.points()[0]["id"])
    spare = keep(site)["name"]
    assert spare == spare_name(name, point[-4:])
    assert len(spare.encode()) in (62, 63)
    assert re.fullmatch(rf"[nä]+__spare_{point[-4:]}", spare)
    assert spares_on(url, site) == [spare]
    drop(url, spare)


def logged(site: Site) -> list[str]:
    """Return what the site's newest job wrote into its log."""
    lines = journal_lines(newest_job(site).directory)
    return [line.event.text for line in lines if isinstance(line.event, Log)]


def warned(site: Site) -> list[str]:
    """Return what the site's newest job warned of."""
    lines = journal_lines(newest_job(site).directory)
    return [line.event.text for line in lines if isinstance(line.event, Warned)]


# What holds the job up, and what it waits with.
MOMENTS = {
    # The record is written, the transaction of the renames is under way.
    "recorded": (
        "LOCK TABLE pg_shdescription IN SHARE MODE",
        'COMMENT ON DATABASE "fsbackup-.*the shop',
    ),
    # The new one stands, the former is about to go.
    "standing": ("COMMENT ON DATABASE {} IS {}", 'DROP DATABASE "{former}"'),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_between(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase, moment: str
) -> None:
    url = make_database(server)
    small_shop(url)
    site = backed_up(tmp_path / "site", url)
    former = recorded(site, str(site.points()[0]["id"])) if keep(site) else None
    assert former is not None
    point = back_up(site)
    lock, held_up = MOMENTS[moment]
    with psycopg.connect(url) as blocker:
        running = site.start("verify", point, "--keep-spare", "--json")
        wait_until(lambda: query(url, MARKED), timeout=60)
        names = sql.Identifier(former.name), sql.Literal(former.comment)
        blocker.execute(sql.SQL(lock).format(*names))
        held_up = waiting(held_up.replace("{former}", former.name))
        wait_until(lambda: query(url, held_up) or running.poll() is not None, timeout=90)
        assert running.poll() is None, logged(site)
        job = newest_job(site)
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        finish(running)
        # What the dead job sent last would else be done as soon as the way is free.
        end_sessions(url, job.id)
        blocker.rollback()
    new = spare_name(name_in(url), point[-4:])
    left = [former.name] if moment == "recorded" else sorted([former.name, new])
    assert spares_on(url, site) == left
    trials = [f"fsbackup-{job.id}"] if moment == "recorded" else []
    assert [name for name in databases_of(url) if is_trial(name)] == trials
    assert keep(site, point)["name"] == new
    assert spares_on(url, site) == [new]
    assert not any(map(is_trial, databases_of(url)))
    drop(url, new)


def end_sessions(url: str, job: str) -> None:
    """End what a dead job has on the server, and wait until it is gone."""
    mine = f"FROM pg_stat_activity WHERE application_name = 'fsbackup/{job}'"
    query(url, f"SELECT pg_terminate_backend(pid) {mine}")
    wait_until(lambda: not query(url, f"SELECT 1 {mine}"))


MARKED = (
    "SELECT 1 FROM pg_database WHERE datname ~ '^fsbackup-[0-9]'"
    " AND shobj_description(oid, 'pg_database') LIKE 'fsbackup: unfinished%'"
)


def waiting(with_query: str) -> str:
    """Return what finds a session of a job that waits for a lock with that statement."""
    return (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        f" AND application_name LIKE 'fsbackup/%' AND query ~ '^{with_query}'"
    )


def is_trial(name: str) -> bool:
    return re.match("fsbackup-[0-9]", name) is not None


async def test_autovacuum_leaves_it_alone_and_a_crash_makes_it_unsure(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    eager = {"autovacuum_naptime": "1s", "autovacuum_vacuum_insert_threshold": "10"}
    server = fresh_server(18, settings=eager)
    execute(server.url(), "CREATE DATABASE shop")
    url = server.url("shop")
    small_shop(url)
    site = backed_up(tmp_path / "site", url)
    keep(site)
    spare = recorded(site, str(site.points()[0]["id"]))
    visits = f"SELECT xact_commit::int8 FROM pg_stat_database WHERE datid = {spare.oid}"
    before = query(url, visits)[0][0]
    wait_until(lambda: query(url, visits)[0][0] >= before + 8, timeout=60)  # type: ignore[operator]
    async with session(url) as admin:
        assert (await check_spare(admin, spare)).name == spare.name
    server.stop("immediate")
    server.start()
    async with session(url) as admin:
        with pytest.raises(SafetyRefusal) as unsure:
            await check_spare(admin, spare)
    assert "statistics" in unsure.value.why


async def test_without_space_the_proof_goes_on_elsewhere(
    tmp_path: Path,
    server: ScratchServer,
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_database(server)
    small_shop(url)
    plans = {"daily": {"sources": ["db"], "keep_spare": True}}
    bench = make_bench(tmp_path / "site", url, settings={"plans": plans})
    with monkeypatch.context() as patch:
        patch.setattr(spare_module, "free_bytes", lambda _directory: 1000)
        document = await bench.back_up()
    assert document["trust"] == "proven"
    assert document["ok"] is False
    assert "NOT ENOUGH SPACE for a spare" in document["spares"]["db"]["why"]
    assert spares_on(url, bench.site) == []


def test_a_check_that_writes_makes_no_spare(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    small_shop(url)
    psql = str(binaries(18) / "psql")
    writes = ["/bin/sh", "-c", f"{psql} \"$DATABASE_URL\" -c 'CREATE TABLE mine ()'"]
    site = backed_up(tmp_path / "site", url, commands={"verify_integrity": writes})
    done = site.run("verify", "latest", "--keep-spare", "--json")
    assert done.exit_code == 1
    assert done.document["trust"] == "proven"
    assert "the site's own check wrote into the copy" in done.document["spares"]["db"]["why"]
    assert spares_on(url, site) == []


# Lets autovacuum come for every change, and reads until it came for one or had nothing to do.
WHILE_AUTOVACUUM_COMES = """
import os, time, psycopg
seen = set()
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as copy:
    copy.execute("ALTER SYSTEM SET autovacuum_analyze_threshold = 1")
    copy.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < deadline:
        seen |= set(copy.execute(
            "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
            " AND datname = current_database()"
        ).fetchall())
        if copy.execute(
            "SELECT 1 FROM pg_stat_user_tables WHERE last_autoanalyze IS NOT NULL"
        ).fetchall():
            break
"""


def test_what_autovacuum_writes_is_not_the_checks(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    never = {"autovacuum_analyze_threshold": "1000000", "autovacuum_analyze_scale_factor": "0"}
    server = fresh_server(18, settings={"autovacuum_naptime": "1s"})
    settings = [f"ALTER SYSTEM SET {name} = {value}" for name, value in never.items()]
    execute(server.url(), *settings, "SELECT pg_reload_conf()", "CREATE DATABASE shop")
    url = server.url("shop")
    small_shop(url)
    reads = [sys.executable, "-c", WHILE_AUTOVACUUM_COMES]
    site = backed_up(tmp_path / "site", url, commands={"verify_integrity": reads})
    assert keep(site)["name"] in spares_on(url, site)


def test_what_does_not_go_with_it(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", "postgresql:///none")
    for words in (["--live"], ["--due"], ["latest", "--level", "readable"]):
        done = site.run("verify", *words, "--keep-spare", "--json")
        assert done.exit_code == 2
        assert done.error["what"].startswith("NOT TOGETHER: --keep-spare")
