"""The whole way on every major: back up, verify, restore beside, and the copy is the original."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from fsbackup_tui.domain.point import Manifest
from fsbackup_tui.engines.postgres.fingerprint import fingerprint_table
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.repository.manifest import read_manifest
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sessions import address_of, inspected_tables, session
from tests.support.sites import Site, make_site
from tests.support.transfers import client_of, empty_kitchen_sink, fill_kitchen_sink, text_of
from tests.support.waiting import wait_until
from tests.support.writers import MAKE_BUSY, busy_writers

_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _back_up(site: Site) -> tuple[str, Manifest]:
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.document["ok"] is True
    assert done.document["trust"] == "sealed"
    point = str(done.document["point"])
    return point, read_manifest(site.repository / "points" / point / "manifest.json")


def _site_for(server: ScratchServer, directory: Path, url: str, dump_format: str) -> Site:
    return make_site(
        directory,
        url,
        source={"format": dump_format, "jobs": 2},
        settings={"clients": [str(server.bin_directory)]},
    )


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
async def test_a_quiet_database_comes_back_dump_for_dump(
    matrix_server: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    dump_format: str,
) -> None:
    url = make_database(matrix_server)
    fill_kitchen_sink(url)
    site = _site_for(matrix_server, tmp_path / "site", url, dump_format)
    point, manifest = _back_up(site)
    facts = manifest.parts[0].postgres
    assert facts is not None
    assert facts.format == dump_format
    assert facts.identity.server_version_num // 10000 == matrix_server.version_num // 10000

    verified = site.run("verify", "latest", "--json")
    assert verified.exit_code == 0, verified.stdout
    assert verified.document["trust"] == "readable"

    copy = f"copy_{os.getpid()}_{dump_format}"
    restored = site.run("restore", point[:20], "--beside", copy, "--json")
    assert restored.exit_code == 0, restored.stdout + restored.stderr
    assert restored.document["entries"]["lost"] == 0
    assert restored.document["entries"]["restored"] > 50
    try:
        client = await client_of(matrix_server)
        database = address_of(url).database
        original = await text_of(client, address_of(url), database, tmp_path)
        assert len(original) > 500
        assert await text_of(client, address_of(url), copy, tmp_path) == original
        empty_kitchen_sink(url)
        if dump_format == "plain":
            empty_kitchen_sink(matrix_server.url(copy))
    finally:
        execute(matrix_server.url(), f'DROP DATABASE "{copy}" WITH (FORCE)')


async def test_counts_and_fingerprints_hold_although_writers_are_busy(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, MAKE_BUSY)
    site = _site_for(matrix_server, tmp_path / "site", url, "directory")
    with busy_writers(url) as writers:
        wait_until(lambda: writers.commits > 20 or writers.errors)
        before = writers.commits
        _point, manifest = _back_up(site)
        assert writers.errors == []
        assert writers.commits > before
    facts = manifest.parts[0].postgres
    assert facts is not None
    captured = {table.qualified: table for table in facts.tables}["public.busy"]
    assert captured.counted
    assert captured.fingerprint is not None
    live = query(url, "SELECT count(*), coalesce(sum(amount), 0) FROM busy")

    copy = f"copy_{os.getpid()}_busy"
    restored = site.run("restore", "latest", "--beside", copy, "--json")
    assert restored.exit_code == 0, restored.stdout + restored.stderr
    try:
        async with session(matrix_server.url(copy)) as connection:
            tables = await inspected_tables(connection)
            rows, fingerprint, note = await fingerprint_table(
                connection, tables["public.busy"], method="content"
            )
        assert note == ""
        assert rows == captured.rows
        assert fingerprint == captured.fingerprint
        assert query(url, "SELECT count(*), coalesce(sum(amount), 0) FROM busy") == live
        in_copy = query(
            matrix_server.url(copy), "SELECT count(*), coalesce(sum(amount), 0) FROM busy"
        )
        assert in_copy != live
    finally:
        execute(matrix_server.url(), f'DROP DATABASE "{copy}" WITH (FORCE)')


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
async def test_recover_md_restores_without_fsbackup(
    matrix_server: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    dump_format: str,
) -> None:
    url = make_database(matrix_server)
    execute(url, MAKE_BUSY)
    site = _site_for(matrix_server, tmp_path / "site", url, dump_format)
    point, _manifest = _back_up(site)
    directory = site.repository / "points" / point
    client = await client_of(matrix_server)
    copy = f"pasted_{os.getpid()}_{dump_format}"
    environment = {
        "PATH": f"{client.directory}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PGHOST": str(matrix_server.socket_directory),
        "PGPORT": str(matrix_server.port),
        "PGUSER": matrix_server.superuser,
        "NEW_DATABASE": copy,
        **client.env,
    }
    blocks = _SHELL_BLOCK.findall((directory / "RECOVER.md").read_text())
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    try:
        original = await text_of(client, address_of(url), address_of(url).database, tmp_path)
        assert await text_of(client, address_of(url), copy, tmp_path) == original
    finally:
        execute(matrix_server.url(), f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')


def test_an_unchanged_database_is_not_suspect_the_second_time(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE tokens (id int PRIMARY KEY, token text)",
        "INSERT INTO tokens SELECT i, md5(i::text) || md5((-i)::text)"
        " FROM generate_series(1, 60000) AS i",
    )
    site = _site_for(server, tmp_path / "site", url, "custom")
    _point, first = _back_up(site)
    assert first.bytes > 2_000_000
    _point, second = _back_up(site)
    assert second.suspect == ()
    assert second.sequence == first.sequence + 1
