"""Damage made in a real server's files, and what ``verify --live`` sees of it, by table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.relation_files import RelationFile
from tests.support.servers import FreshServer, execute, query
from tests.support.sites import CommandResult, Site, make_site

_ROWS = 5000
_MAKE = (
    "CREATE TABLE users (id int PRIMARY KEY, name text, note text)",
    "CREATE TABLE videos (id int PRIMARY KEY, user_id int REFERENCES users, title text)",
    'CREATE TABLE "odd \'name" (id int PRIMARY KEY, blob text)',
    f"INSERT INTO users SELECT n, 'user ' || n, 'note ' || n FROM generate_series(1, {_ROWS}) AS n",
    f"INSERT INTO videos SELECT n, 1 + n % {_ROWS}, 'v' || n FROM generate_series(1, 6000) AS n",
    'ALTER TABLE "odd \'name" ALTER COLUMN blob SET STORAGE EXTERNAL',
    'INSERT INTO "odd \'name" SELECT n, repeat(md5(n::text), 300) FROM generate_series(1, 20) AS n',
    "CREATE INDEX users_name ON users (name)",
    "VACUUM (ANALYZE)",
    "CHECKPOINT",
)


def start(fresh_server: FreshServer, major: int, *, checksums: bool) -> tuple[ScratchServer, str]:
    """Start a server with or without data checksums, and fill a database on it."""
    # Off is the default before 18, and has no option there.
    without = ["--no-data-checksums"] if major >= 18 else []
    options = ["--data-checksums"] if checksums else without
    server = fresh_server(major, initdb_options=options)
    execute(server.url(), "CREATE DATABASE shop")
    url = server.url("shop")
    execute(url, *_MAKE)
    return server, url


def look(site: Site) -> CommandResult:
    return site.run("verify", "--live", "--json")


def seen(result: CommandResult) -> dict[str | None, set[str]]:
    """The tables in which something was found, with the checks that found it."""
    tables: dict[str | None, set[str]] = {}
    for finding in result.document["findings"]:
        tables.setdefault(finding["table"], set()).add(finding["check"])
    return tables


def findings(result: CommandResult, check: str) -> list[dict[str, Any]]:
    return [item for item in result.document["findings"] if item["check"] == check]


def unseen(result: CommandResult) -> str:
    return "\n".join(item["what"] for item in result.document["not_seen"])


@pytest.mark.parametrize("checksums", [False, True], ids=["plain", "checksums"])
@pytest.mark.parametrize("amcheck", [False, True], ids=["alone", "amcheck"])
def test_a_zeroed_page_of_a_table(
    tmp_path: Path, fresh_server: FreshServer, checksums: bool, amcheck: bool
) -> None:
    server, url = start(fresh_server, 18, checksums=checksums)
    if amcheck:
        execute(url, "CREATE EXTENSION amcheck")
    ((lost,),) = query(url, "SELECT count(*) FROM users WHERE (ctid::text::point)[0] = 3")
    heap = RelationFile.of(server, url, "users")
    server.stop()
    heap.zero(3)
    server.start()
    result = look(make_site(tmp_path / "site", url))
    assert result.exit_code == 1
    assert seen(result) == {"public.users": {"counts"}, "public.videos": {"foreign keys"}}
    (finding, *_) = findings(result, "counts")
    assert f"{lost} rows are gone" in finding["what"]
    assert f"knows of {_ROWS}" in finding["what"]
    assert finding["fix"].startswith("Stop the server and copy its data directory")
    (orphans,) = findings(result, "foreign keys")
    assert "have no row in public.users (videos_user_id_fkey)" in orphans["what"]


@pytest.mark.parametrize("major", [17, 18])
def test_a_garbage_page_header(tmp_path: Path, fresh_server: FreshServer, major: int) -> None:
    server, url = start(fresh_server, major, checksums=False)
    heap = RelationFile.of(server, url, "users")
    server.stop()
    heap.spoil_header(3)
    server.start()
    site = make_site(tmp_path / "site", url)
    result = look(site)
    assert result.exit_code == 1
    assert seen(result) == {"public.users": {"read"}}
    assert "invalid page in block 3" in findings(result, "read")[0]["what"]
    tables = {table["table"]: table for table in result.document["tables"]}
    assert tables["public.users"]["rows"] is None
    assert tables["public.videos"]["rows"] == 6000, "one damaged table hides no other"
    told = site.run("verify", "--live")
    assert told.exit_code == 1
    assert "PROBLEMS FOUND in 1 place; 2 of 3 tables read" in told.stdout
    assert "  public.users\n    read: it can't be read: invalid page in block 3" in told.stdout
    assert "Next  Stop the server and copy its data directory" in told.stdout


@pytest.mark.parametrize("amcheck", [False, True], ids=["alone", "amcheck"])
@pytest.mark.parametrize("major", [17, 18])
def test_a_btree_leaf_that_lost_entries(
    tmp_path: Path, fresh_server: FreshServer, major: int, amcheck: bool
) -> None:
    server, url = start(fresh_server, major, checksums=False)
    if amcheck:
        execute(url, "CREATE EXTENSION amcheck")
    index = RelationFile.of(server, url, "users_name")
    server.stop()
    index.lose_leaf_entries(5)
    server.start()
    result = look(make_site(tmp_path / "site", url))
    assert result.exit_code == 1
    assert seen(result) == {"public.users": {"amcheck" if amcheck else "counts"}}
    (finding,) = result.document["findings"]
    assert "users_name" in finding["what"]
    if amcheck:
        assert "lacks matching index tuple" in finding["what"]
    else:
        assert f"has lost 5 entries: it knows of {_ROWS - 5} rows" in finding["what"]


@pytest.mark.parametrize("major", [17, 18])
def test_a_changed_value_is_seen_with_checksums_and_said_to_be_unseen_without(
    tmp_path: Path, fresh_server: FreshServer, major: int
) -> None:
    for checksums in (True, False):
        server, url = start(fresh_server, major, checksums=checksums)
        heap = RelationFile.of(server, url, "users")
        server.stop()
        page = heap.replace(b"note 77", b"NOTE 77")
        server.start()
        result = look(make_site(tmp_path / f"site-{checksums}", url))
        if checksums:
            assert result.exit_code == 1
            assert seen(result) == {"public.users": {"read"}}
            assert f"invalid page in block {page}" in findings(result, "read")[0]["what"]
            assert "a changed value" not in unseen(result)
            again = look(make_site(tmp_path / "again", url))
            assert "checksums" in seen(again)[None], "the server counted what it met"
        else:
            assert result.exit_code == 0, result.stdout
            assert result.document["findings"] == []
            assert "a changed value, still well formed" in unseen(result)
            (why, *_) = [item["why"] for item in result.document["not_seen"]]
            assert why.startswith("data_checksums is off")


def test_amcheck_sees_a_changed_value_that_an_index_has_too(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    server, url = start(fresh_server, 18, checksums=False)
    execute(url, "CREATE SCHEMA tools", "CREATE EXTENSION amcheck SCHEMA tools")
    heap = RelationFile.of(server, url, "users")
    server.stop()
    heap.replace(b"user 77", b"USER 77")
    server.start()
    result = look(make_site(tmp_path / "site", url))
    assert seen(result) == {"public.users": {"amcheck"}}
    assert "a changed value that no b-tree has a copy of" in unseen(result)


def test_a_lost_piece_of_a_long_value(tmp_path: Path, fresh_server: FreshServer) -> None:
    server, url = start(fresh_server, 18, checksums=True)
    ((toast,),) = query(
        url, "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'odd ''name'"
    )
    pieces = RelationFile.of(server, url, str(toast))
    server.stop()
    pieces.zero(0)
    server.start()
    result = look(make_site(tmp_path / "site", url))
    assert seen(result) == {"public.odd 'name": {"read"}}
    assert "unexpected chunk number" in findings(result, "read")[0]["what"]


def test_a_file_that_is_gone_and_one_that_is_shorter(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    server, url = start(fresh_server, 18, checksums=True)
    gone = RelationFile.of(server, url, "videos")
    shorter = RelationFile.of(server, url, "users")
    server.stop()
    gone.path.unlink()
    with shorter.path.open("r+b") as file:
        file.truncate(10 * 8192)
    server.start()
    result = look(make_site(tmp_path / "site", url))
    assert seen(result)["public.videos"] == {"read"}
    assert "counts" in seen(result)["public.users"] or "read" in seen(result)["public.users"]


def test_what_would_mend_by_reading_is_said_and_switched_off(
    tmp_path: Path, fresh_server: FreshServer
) -> None:
    server, url = start(fresh_server, 18, checksums=False)
    heap = RelationFile.of(server, url, "users")
    execute(
        url,
        "ALTER DATABASE shop SET zero_damaged_pages = on",
        "CREATE ROLE looker LOGIN",
        "GRANT pg_read_all_data TO looker",
    )
    server.stop()
    heap.spoil_header(3)
    spoilt = heap.read(3)
    server.start()
    result = look(make_site(tmp_path / "site", url))
    assert seen(result) == {None: {"settings"}, "public.users": {"read"}}
    refused = look(make_site(tmp_path / "refused", server.url("shop", user="looker")))
    assert refused.exit_code == 3
    assert refused.error["what"] == "NOT READ: zero_damaged_pages is on here."
    execute(server.url(), "CHECKPOINT")
    assert heap.read(3) == spoilt, "the damaged page is still there to be saved"
