"""A corrupt database's rows in a new one beside it: what is whole, what is lost, what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from fsbackup_tui.domain.errors import LockHeld, SafetyRefusal
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.preserve import Salvaged
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.kept import find_kept
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.engines.postgres.side import restore_lock
from fsbackup_tui.operations.recovery_requests import SalvageRequest
from fsbackup_tui.operations.salvage import run
from tests.support.contexts import context_of
from tests.support.damaged import NOTES, USERS, VIDEOS, make_shop
from tests.support.servers import FreshServer, MakeDatabase, execute, majors, query
from tests.support.sessions import address_of, session
from tests.support.sites import Site, make_site

JOB = "20261122T020000Z-salvage-k3f9"
COPY = "shop__restore_k3f9"
ODD = "app.odd 'name"


async def salvage(site: Site, request: SalvageRequest | None = None) -> Salvaged:
    events: list[Event] = []
    context = context_of(site, events.append, job=JOB)
    document = await run(request or SalvageRequest("db"), context)
    assert document["ok"] is True
    return TypeAdapter(Salvaged).validate_python(document)


def databases(server: ScratchServer) -> list[str]:
    names = "SELECT datname FROM pg_database WHERE datname !~ '^(template|postgres)' ORDER BY 1"
    return [str(name) for (name,) in query(server.url(), names)]


@pytest.mark.parametrize("major", majors())
async def test_all_but_the_damaged_page_is_there_and_what_needs_it_is_told(
    tmp_path: Path, fresh_server: FreshServer, major: int
) -> None:
    shop = make_shop(fresh_server, major)
    execute(
        shop.url,
        "ALTER DATABASE shop SET work_mem TO '7MB'",
        "COMMENT ON DATABASE shop IS 'the shop'",
        "SELECT setval('app.videos_id_seq', 9000)",
    )
    lost = shop.rows_in("app.users", 3)
    heap = shop.file("app.users")
    shop.server.stop()
    heap.spoil_header(3)
    damaged = heap.read(3)
    shop.server.start()
    site = make_site(tmp_path / "site", shop.url)
    found = await salvage(site)

    assert (found.database, found.lost_rows) == (COPY, lost)
    tables = {verdict.table: verdict for verdict in found.tables}
    assert {name: (v.verdict, v.rows, v.lost_rows) for name, v in tables.items()} == {
        "app.users": ("part", USERS - lost, lost),
        "app.videos": ("whole", VIDEOS, 0),
        ODD: ("whole", NOTES, 0),
        "app.log_1": ("whole", 1000, 0),
    }
    assert tables["app.users"].bad_blocks == (3,)
    (key,) = found.objects_failed
    assert key.startswith("foreign key videos_user_id_fkey of app.videos: made NOT VALID")
    assert "is not present in table" in key

    copy = shop.server.url(COPY)
    assert query(copy, "SELECT count(*), count(upper) FROM app.users") == [(USERS - lost,) * 2]
    assert query(copy, "SELECT count(*) FROM app.named") == [(USERS - lost,)]
    assert query(copy, "TABLE app.counted") == [(VIDEOS,)]
    assert query(copy, "SELECT last_value FROM app.videos_id_seq") == [(9000,)]
    assert query(copy, "SHOW work_mem") == [("7MB",)]
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'app' ORDER BY 1"
    assert query(copy, indexes) == query(shop.url, indexes)
    videos = "SELECT count(*), sum(id), md5(string_agg(title, ',' ORDER BY id)) FROM app.videos"
    assert query(copy, videos) == query(shop.url, videos)
    assert query(copy, "SELECT count(*) FROM pg_stats WHERE schemaname = 'app'") != [(0,)]
    async with session(shop.server.url()) as admin:
        (kept,) = await find_kept(admin)
    assert (kept.name, kept.kind, kept.oid) == (COPY, "restore", found.database_oid)
    shop.server.stop()
    assert heap.read(3) == damaged, "the damaged page is as it was"
    shop.server.start()


async def test_rows_are_read_in_spite_of_checksums_and_toast_that_is_damaged(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    shop = make_shop(fresh_server, 18, checksums=True)
    heap = shop.file("app.users")
    toast = shop.file(shop.toast_of("odd 'name"))
    shop.server.stop()
    heap.replace(b"user 777", b"user 7x7")
    toast.spoil_header(4)
    shop.server.start()
    found = await salvage(make_site(tmp_path / "site", shop.url))
    tables = {verdict.table: verdict for verdict in found.tables}
    assert (tables["app.users"].rows, tables[ODD].rows) == (USERS, NOTES)
    assert "its checksum is wrong" in tables["app.users"].notes[0]
    assert found.lost_rows == 0
    assert found.objects_failed == (
        "NOT NULL of app.odd 'name.body: given up, as it can't be read of some rows",
    )
    copy = shop.server.url(COPY)
    assert query(copy, "SELECT name FROM app.users WHERE id = 777") == [("user 7x7",)]
    ((without,),) = query(copy, 'SELECT count(*) FROM app."odd \'name" WHERE body IS NULL')
    assert without == len(tables[ODD].notes) > 0
    assert query(copy, "SELECT convalidated FROM pg_constraint WHERE contype = 'f'") == [(True,)]


async def test_a_name_that_is_taken_and_another_restore_leave_all_as_it_is(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE t AS SELECT 1 AS n")
    taken = url.partition("?")[0].rpartition("/")[2]
    site = make_site(tmp_path / "site", url)
    with pytest.raises(SafetyRefusal, match="NAME TAKEN"):
        await salvage(site, SalvageRequest("db", beside=taken))
    async with session(server.url()) as admin:
        found = await read_identity(admin, address_of(server.url()))
        async with restore_lock(admin, found, "fsbackup/another"):
            with pytest.raises(LockHeld):
                await salvage(site)
    assert query(url, "SELECT n FROM t") == [(1,)]
    assert not [name for name in databases(server) if "unfinished" in name or "restore" in name]
