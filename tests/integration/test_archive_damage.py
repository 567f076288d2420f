"""Reading a dump through finds what pg_restore itself passes over in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.events import Event, Progress
from fsbackup_tui.domain.point import DumpFormat
from fsbackup_tui.engines.postgres.archive import list_archive, read_through
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute
from tests.support.transfers import Dumped, client_of, dump

Damage = Callable[[Path], None]


async def make_dump(
    server: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    dump_format: DumpFormat,
    compression: str,
) -> Dumped:
    url = make_database(server)
    execute(
        url,
        "CREATE TABLE big AS SELECT n, md5(n::text) FROM generate_series(1, 40000) AS n",
        "CREATE TABLE small AS SELECT 1 AS id",
        "CREATE TABLE empty (id integer)",
        "SELECT lo_create(77)",
        "SELECT lo_put(lo_create(78), 0, 'content')",
    )
    return await dump(
        url,
        await client_of(server),
        tmp_path / "part",
        dump_format=dump_format,
        compression=compression,
    )


def largest(path: Path) -> Path:
    if path.is_file():
        return path
    return max(path.iterdir(), key=lambda member: member.stat().st_size)


def truncate(by: int) -> Damage:
    def damage(path: Path) -> None:
        member = largest(path)
        content = member.read_bytes()
        member.write_bytes(content[: len(content) - by])

    return damage


def halve(path: Path) -> None:
    member = largest(path)
    content = member.read_bytes()
    member.write_bytes(content[: len(content) // 2])


def flip_in_the_head(path: Path) -> None:
    member = path / "toc.dat" if path.is_dir() else path
    content = bytearray(member.read_bytes())
    content[2] ^= 0xFF
    member.write_bytes(content)


def remove_largest(path: Path) -> None:
    largest(path).unlink()


def remove_large_object(path: Path) -> None:
    (member,) = path.glob("blob_78.dat*")
    member.unlink()


WAYS = {
    "one byte less": truncate(1),
    "ten bytes less": truncate(10),
    "half of it": halve,
    "another head": flip_in_the_head,
}
MEMBERS = {"a member less": remove_largest, "a large object less": remove_large_object}


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("dump_format", ["custom", "directory"])
async def test_damage_to_an_archive_is_found(
    server17: ScratchServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    dump_format: DumpFormat,
    compression: str,
) -> None:
    dumped = await make_dump(server17, make_database, tmp_path, dump_format, compression)
    await read_through(dumped.client, dumped.path, dump_format)
    ways = {**WAYS, **MEMBERS} if dump_format == "directory" else WAYS
    passed_over = []
    for way, damage in ways.items():
        damaged = tmp_path / "damaged" / dumped.plan.name
        if dump_format == "directory":
            shutil.copytree(dumped.path, damaged)
        else:
            damaged.parent.mkdir()
            shutil.copyfile(dumped.path, damaged)
        damage(damaged)
        try:
            await read_through(dumped.client, damaged, dump_format)
            passed_over.append(way)
        except PointDamaged:
            pass
        shutil.rmtree(tmp_path / "damaged")
    assert passed_over == []


async def test_a_flipped_byte_in_gzip_is_found(
    server17: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    dumped = await make_dump(server17, make_database, tmp_path, "directory", "gzip")
    member = largest(dumped.path)
    content = bytearray(member.read_bytes())
    content[len(content) // 2] ^= 1
    member.write_bytes(content)
    with pytest.raises(PointDamaged):
        await read_through(dumped.client, dumped.path, "directory")


async def test_the_listing_and_the_archive_agree(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, 'CREATE TABLE "a b" ("c d" text)', 'CREATE SCHEMA "a b"')
    client = await client_of(matrix_server)
    for dump_format in ("custom", "directory"):
        dumped = await dump(url, client, tmp_path / dump_format, dump_format=dump_format)
        text, entries = await list_archive(client, dumped.path)
        assert [entry.raw for entry in entries] == [
            line for line in text.splitlines() if not line.startswith(";")
        ]
        table = next(entry for entry in entries if entry.kind == "TABLE")
        assert (table.schema, table.name) == ("public", "a b")
        assert 'CREATE TABLE public."a b"' in table.definition
        assert (dumped.directory / "restore.list").read_text() == text


async def test_reading_tells_how_far_it_is(
    server17: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    dumped = await make_dump(server17, make_database, tmp_path, "directory", "zstd")
    events: list[Event] = []
    await read_through(dumped.client, dumped.path, "directory", report=events.append)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in steps] == sorted(event.done for event in steps)
    assert {event.detail for event in steps} >= {"reading public.big", "reading public.small"}
