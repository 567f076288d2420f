"""Keeping a damaged database as it is: files, a copy in the server, tables, rows around damage."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.errors import IdentityMismatch, SafetyRefusal
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.preserve import Preserved, Rung, TableVerdict
from fsbackup_tui.engines.postgres.kept import find_kept
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.process import Command
from fsbackup_tui.engines.process import run as run_tool
from fsbackup_tui.operations.preserve import run
from fsbackup_tui.operations.recovery_requests import PreserveRequest
from fsbackup_tui.operations.target import look_at
from fsbackup_tui.repository.evidence import find_evidence, remove_evidence
from tests.support.contexts import context_of
from tests.support.damaged import NOTES, USERS, VIDEOS, make_shop, names_below
from tests.support.relation_files import RelationFile
from tests.support.servers import FreshServer, MakeDatabase, binaries, execute, majors, query
from tests.support.sessions import address_of, session
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until_async

JOB = "20261122T020000Z-preserve-k3f9"
ODD = "app.odd 'name"


async def preserve(
    site: Site, *rungs: str, incident: Path | None = None, request: PreserveRequest | None = None
) -> Preserved:
    events: list[Event] = []
    context = context_of(site, events.append, job=JOB, incident=incident)
    document = await run(request or PreserveRequest("db", rungs=rungs), context)
    assert document["ok"] is True
    return TypeAdapter(Preserved).validate_python(document)


def rung(kept: Preserved, name: str) -> Rung:
    return next(rung for rung in kept.rungs if rung.name == name)


def verdicts(kept: Preserved) -> dict[str, TableVerdict]:
    return {verdict.table: verdict for verdict in kept.tables}


def incident_of(site: Site) -> Path:
    incident = site.state / "incidents" / "20261122-01"
    incident.mkdir(parents=True, mode=0o700)
    return incident


def load(server: ScratchServer, major: int, database: str, kept: Preserved) -> None:
    """Do what HOW-TO-USE.txt says, with the stock tools, in a new database."""
    text = (Path(kept.directory) / "HOW-TO-USE.txt").read_text()
    commands = [line.strip() for line in text.splitlines() if " -d NEW " in line]
    commands = [command.partition("     ")[0] for command in commands]
    assert len(commands) == 1 + len(kept.tables)
    env = {
        "PATH": f"{binaries(major)}:{os.environ['PATH']}",
        "PGHOST": str(server.socket_directory),
        "PGPORT": str(server.port),
        "PGUSER": server.superuser,
        "PGOPTIONS": "-c session_replication_role=replica",
    }
    for command in commands:
        done = subprocess.run(
            shlex.split(command.replace(" NEW ", f" {database} ")),
            cwd=kept.directory,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("major", majors())
async def test_rows_around_a_garbage_page_are_kept_and_all_other_tables_whole(
    tmp_path: Path, fresh_server: FreshServer, major: int
) -> None:
    shop = make_shop(fresh_server, major)
    lost = shop.rows_in("app.users", 3) + shop.rows_in("app.users", 7)
    heap = shop.file("app.users")
    shop.server.stop()
    heap.spoil_header(3)
    heap.spoil_header(7)
    shop.server.start()
    clients = {"clients": [str(binaries(major))]}
    site = make_site(tmp_path / "site", shop.url, settings=clients)
    incident = incident_of(site)
    kept = await preserve(site, incident=incident)

    assert Path(kept.directory) == incident / "evidence" / JOB
    assert [rung.name for rung in kept.rungs] == [
        "keep by renaming",
        "file copy",
        "copy inside the server",
        "tables",
        "salvage",
    ]
    assert {rung.name for rung in kept.rungs if rung.reached} == {
        "file copy",
        "copy inside the server",
        "tables",
        "salvage",
    }
    assert rung(kept, "keep by renaming").possible
    found = verdicts(kept)
    users = found.pop("app.users")
    assert (users.verdict, users.rows, users.bad_blocks) == ("part", USERS - lost, (3, 7))
    assert users.lost_rows == lost
    assert "invalid page in block 3" in users.why
    assert {name: (v.verdict, v.rows) for name, v in found.items()} == {
        ODD: ("whole", NOTES),
        "app.videos": ("whole", VIDEOS),
        "app.log_1": ("whole", 1000),
    }
    execute(shop.server.url(), "CREATE DATABASE again")
    load(shop.server, major, "again", kept)
    again = shop.server.url("again")
    assert query(again, "SELECT count(*), count(upper) FROM app.users") == [
        (USERS - lost, USERS - lost)
    ]
    bodies = 'SELECT id, md5(body) FROM app."odd \'name" ORDER BY id'
    assert query(again, bodies) == query(shop.url, bodies)


async def test_the_copy_of_the_files_has_the_damage_in_it(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18)
    heap = shop.file("app.users")
    shop.server.stop()
    heap.spoil_header(3)
    damaged = heap.read(3)
    shop.server.start()
    site = make_site(tmp_path / "site", shop.url)
    kept = await preserve(site, "file copy")
    (only,) = kept.rungs
    assert only.reached
    assert "not for starting a server" in only.why
    relative = heap.path.relative_to(shop.server.data_directory)
    copied = RelationFile(Path(only.where) / relative)
    assert copied.read(3) == damaged
    assert copied.path.read_bytes() == heap.path.read_bytes()
    assert "global/pg_control" in names_below(Path(only.where))
    assert any(name.startswith("pg_xact/") for name in names_below(Path(only.where)))
    assert only.bytes is not None
    assert only.bytes > heap.path.stat().st_size


async def test_a_stopped_server_is_copied_whole_and_a_server_starts_on_the_copy(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18)
    tablespace = shop.server.socket_directory / "elsewhere"
    execute(
        shop.url,
        f"COPY (SELECT 1) TO PROGRAM 'mkdir -m 700 {tablespace}'",
        f"CREATE TABLESPACE elsewhere LOCATION '{tablespace}'",
        "CREATE TABLE app.far TABLESPACE elsewhere AS SELECT 7 AS n",
    )
    data = shop.server.data_directory
    site = make_site(tmp_path / "site", shop.url)
    shop.server.stop()
    kept = await preserve(site)
    assert {rung.name for rung in kept.rungs if rung.possible} == set()
    assert "data_directory of the source" in rung(kept, "file copy").why

    site = make_site(tmp_path / "told", shop.url, source={"data_directory": str(data)})
    kept = await preserve(site)
    files = rung(kept, "file copy")
    assert files.reached
    assert "a server of the same version starts" in files.why
    assert not rung(kept, "tables").possible
    target = Path(files.where)
    assert names_below(target / "data") == names_below(data)
    (far,) = (target / "tablespaces").iterdir()
    assert names_below(far) == names_below(tablespace)
    # The copy takes the place of the original, which is put aside.
    data.rename(data.with_name("damaged"))
    await run_tool(Command(("cp", "-a", str(target / "data"), str(data))))
    shop.server.start()
    assert query(shop.url, "SELECT count(*), (SELECT n FROM app.far) FROM app.users") == [
        (USERS, 7)
    ]


@pytest.mark.parametrize("major", majors())
async def test_a_copy_inside_the_server_needs_everyone_out_and_has_the_damage_in_it(
    tmp_path: Path, fresh_server: FreshServer, major: int
) -> None:
    shop = make_shop(fresh_server, major)
    heap = shop.file("app.users")
    shop.server.stop()
    heap.spoil_header(3)
    shop.server.start()
    site = make_site(tmp_path / "site", shop.url)
    async with session(shop.url):
        kept = await preserve(site, "copy inside the server")
        (only,) = kept.rungs
        assert (only.possible, only.reached) == (False, False)
        assert "1 sessions are in it" in only.why
    execute(shop.server.url(), "ALTER DATABASE shop ALLOW_CONNECTIONS false")
    (only,) = (await preserve(site, "copy inside the server")).rungs
    assert only.reached, only.why
    assert only.where == "shop__evidence_k3f9"
    async with session(shop.server.url()) as admin:
        (found,) = await find_kept(admin)
    assert (found.name, found.kind, found.database) == (only.where, "evidence", "shop")
    # A second one under the same name is refused, and leaves nothing.
    (again,) = (await preserve(site, "copy inside the server")).rungs
    assert not again.reached
    execute(shop.server.url(), "ALTER DATABASE shop ALLOW_CONNECTIONS true")
    names = "SELECT datname FROM pg_database WHERE datname !~ '^(template|postgres)' ORDER BY 1"
    assert query(shop.server.url(), names) == [("shop",), ("shop__evidence_k3f9",)]
    execute(shop.server.url(), "ALTER DATABASE shop__evidence_k3f9 ALLOW_CONNECTIONS true")
    copy = RelationFile.of(shop.server, shop.server.url("shop__evidence_k3f9"), "app.users")
    assert copy.read(3)[:24] == heap.read(3)[:24]


async def test_what_was_hurt_is_read_last_and_its_files_are_copied_before(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18)
    events: list[Event] = []
    site = make_site(tmp_path / "site", shop.url)
    request = PreserveRequest("db", rungs=("tables", "file copy"), damaged=("app.users", "app.log"))
    done = await run(request, context_of(site, events.append, job=JOB))
    assert done["ok"] is True
    kept = TypeAdapter(Preserved).validate_python(done)
    assert [rung.name for rung in kept.rungs] == ["file copy", "tables"]
    files = sorted(path.name for path in (Path(kept.directory) / "tables").iterdir())
    assert {name[5:].removesuffix(".dump") for name in files[-2:]} == {"app.users", "app.log_1"}
    assert len(files) == 4


async def test_a_zeroed_page_is_told_though_every_dump_ends_well(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18)
    lost = shop.rows_in("app.users", 3)
    heap = shop.file("app.users")
    shop.server.stop()
    heap.zero(3)
    shop.server.start()
    kept = await preserve(make_site(tmp_path / "site", shop.url), "tables", "salvage")
    users = verdicts(kept)["app.users"]
    assert (users.verdict, users.rows, users.lost_rows) == ("part", USERS - lost, lost)
    assert f"its index knows of {USERS}" in users.why
    assert not rung(kept, "salvage").reached
    assert {v.verdict for v in kept.tables if v.table != "app.users"} == {"whole"}


@pytest.mark.parametrize("major", majors())
async def test_a_flipped_byte_is_read_in_spite_of_its_checksum_and_said(
    tmp_path: Path, fresh_server: FreshServer, major: int
) -> None:
    shop = make_shop(fresh_server, major, checksums=True)
    heap = shop.file("app.users")
    shop.server.stop()
    block = heap.replace(b"user 777", b"user 7x7")
    shop.server.start()
    kept = await preserve(make_site(tmp_path / "site", shop.url), "tables", "salvage")
    users = verdicts(kept)["app.users"]
    assert (users.verdict, users.rows, users.bad_blocks) == ("part", USERS, (block,))
    assert users.lost_rows == 0
    (note,) = users.notes
    assert f"block {block}: its checksum is wrong" in note
    assert "user 7x7" in (Path(kept.directory) / users.file).read_text()
    assert query(shop.url, "SHOW ignore_checksum_failure") == [("off",)]


async def test_of_a_row_whose_toast_is_damaged_the_rest_is_kept(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18)
    toast = shop.file(shop.toast_of("odd 'name"))
    shop.server.stop()
    toast.spoil_header(4)
    shop.server.start()
    kept = await preserve(make_site(tmp_path / "site", shop.url), "tables", "salvage")
    odd = verdicts(kept)[ODD]
    assert (odd.verdict, odd.rows) == ("part", NOTES)
    lines = (Path(kept.directory) / odd.file).read_text().splitlines()
    without = [line for line in lines if line.endswith("\t\\N")]
    assert len(lines) == NOTES
    assert 1 <= len(without) <= 3
    assert len(odd.notes) == len(without)
    assert "body can't be read and is NULL" in odd.notes[0]


async def test_a_rung_that_fails_blocks_none_of_the_next(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18)
    execute(shop.url, "CREATE ROLE reader LOGIN", "GRANT USAGE ON SCHEMA app TO reader")
    execute(shop.url, "GRANT SELECT ON app.users TO reader")
    site = make_site(tmp_path / "site", shop.server.url("shop", user="reader"))
    kept = await preserve(site)
    assert not rung(kept, "keep by renaming").possible
    assert "neither a superuser, nor the owner" in rung(kept, "copy inside the server").why
    assert not rung(kept, "copy inside the server").possible
    found = verdicts(kept)
    assert (found["app.users"].verdict, found["app.users"].rows) == ("whole", USERS)
    assert found["app.videos"].verdict == "unreadable"
    assert "permission denied" in found["app.videos"].why


async def test_without_space_for_the_files_the_tables_are_still_kept_where_the_config_says(
    tmp_path: Path, fresh_server: FreshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(fresh_server, 18)
    evidence = tmp_path / "roomy"
    site = make_site(
        tmp_path / "site", shop.url, settings={"recovery": {"evidence": str(evidence)}}
    )
    monkeypatch.setattr("fsbackup_tui.operations.preserve.free_bytes", lambda _path: 1000)
    kept = await preserve(site, incident=incident_of(site))
    for name in ("file copy", "copy inside the server"):
        assert not rung(kept, name).reached
        assert "takes about" in rung(kept, name).why
    assert not any(name.startswith("files/") for name in names_below(Path(kept.directory)))
    assert rung(kept, "tables").reached
    assert {verdict.verdict for verdict in kept.tables} == {"whole"}
    assert kept.directory == str(evidence / "20261122-01" / JOB)
    (found,) = find_evidence(site.state, evidence)
    assert (found.name, found.database) == (f"20261122-01/evidence/{JOB}", "shop")
    remove_evidence(found)
    assert find_evidence(site.state, evidence) == []
    assert names_below(evidence) == set()


async def test_a_table_whose_reading_ends_the_session_costs_no_other(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    """As a damaged row does that crashes the server process; here somebody else ends it."""
    shop = make_shop(fresh_server, 18)
    site = make_site(tmp_path / "site", shop.url)
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'fsbackup/%'"
        " AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(shop.url) as other:
        other.execute("LOCK TABLE app.users")
        salvaging = asyncio.create_task(preserve(site, "salvage"))
        await wait_until_async(lambda: query(shop.server.url(), waiting))
        ((pid,),) = query(shop.server.url(), waiting)
        execute(shop.server.url(), f"SELECT pg_terminate_backend({pid})")
        other.rollback()
    found = verdicts(await salvaging)
    assert (found["app.users"].verdict, found["app.users"].rows) == ("unreadable", 0)
    assert "SERVER LOST while reading app.users" in found["app.users"].why
    assert {name for name, verdict in found.items() if verdict.verdict == "whole"} == {
        ODD,
        "app.videos",
        "app.log_1",
    }


async def test_another_server_and_a_config_that_only_looks_are_refused(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    seen = await look_at(address_of(server.url()), application_name="test")
    another = PreserveRequest("db", target=replace(seen, system_identifier="7"))
    with pytest.raises(IdentityMismatch):
        await preserve(make_site(tmp_path / "site", url), request=another)
    looking = make_site(tmp_path / "looking", url, settings={"read_only": True})
    with pytest.raises(SafetyRefusal, match="READ ONLY"):
        await preserve(looking)
