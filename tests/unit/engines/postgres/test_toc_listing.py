"""Listings of archives: names with spaces, kinds of several words, torn tables of contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.archive import parse_toc, toc_header_facts
from fsbackup_tui.engines.postgres.restore import deferred_entries, write_restore_list
from fsbackup_tui.engines.postgres.toc import TocEntry, UnknownArchive, read_archive_header

LISTING = """;
; Archive created at 2026-11-22 02:00:00 UTC
;     dbname: face swap
;     TOC Entries: 9
;     Compression: zstd
;
;
; Selected TOC Entries:
;
11; 2615 16389 SCHEMA - Odd Schema postgres
10; 2615 16388 SCHEMA - app kitchen_owner
246; 1259 16904 TABLE Odd Schema naïve table postgres
228; 1259 16777 TABLE app users kitchen_owner
3085; 0 0 ACL app TABLE users kitchen_owner
3051; 0 16904 TABLE DATA Odd Schema naïve table postgres
2442; 826 16391 DEFAULT ACL app DEFAULT PRIVILEGES FOR TABLES kitchen_owner
3057; 0 16939 MATERIALIZED VIEW DATA app video_counts postgres
413; 1255 16751 FUNCTION app compare(integer, integer) postgres
3; 3079 16521 EXTENSION - citext \n"""


def test_a_listing_is_read_without_the_archive() -> None:
    entries = parse_toc(LISTING)
    assert [(e.dump_id, e.kind, e.schema, e.name, e.owner) for e in entries] == [
        (11, "SCHEMA", None, "Odd Schema", "postgres"),
        (10, "SCHEMA", None, "app", "kitchen_owner"),
        (246, "TABLE", "Odd Schema", "naïve table", "postgres"),
        (228, "TABLE", "app", "users", "kitchen_owner"),
        (3085, "ACL", "app", "TABLE users", "kitchen_owner"),
        (3051, "TABLE DATA", "Odd Schema", "naïve table", "postgres"),
        (2442, "DEFAULT ACL", "app", "DEFAULT PRIVILEGES FOR TABLES", "kitchen_owner"),
        (3057, "MATERIALIZED VIEW DATA", "app", "video_counts", "postgres"),
        (413, "FUNCTION", "app", "compare(integer, integer)", "postgres"),
        (3, "EXTENSION", None, "citext", ""),
    ]
    assert toc_header_facts(LISTING)["dbname"] == "face swap"


def test_what_the_archive_itself_says_is_preferred() -> None:
    exact = TocEntry(246, 1259, 16904, "TABLE", "Odd", "Schema naïve table", "postgres")
    entry = next(e for e in parse_toc(LISTING, [exact]) if e.dump_id == 246)
    assert (entry.schema, entry.name) == ("Odd", "Schema naïve table")
    assert entry.raw == "246; 1259 16904 TABLE Odd Schema naïve table postgres"


def entry(dump_id: int, kind: str, schema: str | None, name: str) -> TocEntry:
    return TocEntry(dump_id, 0, 0, kind, schema, name, "o", raw=f"{dump_id}; 0 0 {kind} {name} o")


def test_a_name_of_no_utf8_can_be_told() -> None:
    entry = TocEntry(
        1, 0, 0, "TABLE", "public", b"gr\xf6\xdfe".decode(errors="surrogateescape"), ""
    )
    assert entry.label == "TABLE public.gr??e"


def test_what_must_not_live_in_a_copy_is_deferred(tmp_path: Path) -> None:
    entries = [
        entry(1, "EXTENSION", None, "pg_cron"),
        entry(2, "COMMENT", None, "EXTENSION pg_cron"),
        entry(3, "TABLE DATA", "cron", "job"),
        entry(4, "ACL", None, "SCHEMA cron"),
        entry(5, "SUBSCRIPTION", None, "s"),
        entry(6, "COMMENT", None, "SUBSCRIPTION s"),
        entry(7, "TABLE DATA", "public", "cron"),
        entry(8, "COMMENT", "public", "TABLE cron"),
    ]
    left_out = {e.dump_id for e in deferred_entries(entries)}
    assert left_out == {1, 2, 3, 4, 5, 6}
    path = write_restore_list(tmp_path / "list", entries, left_out)
    kept = [line for line in path.read_text().splitlines() if not line.startswith(";")]
    assert kept == [entries[6].raw, entries[7].raw]


def test_a_schema_called_cron_without_the_extension_is_restored() -> None:
    assert deferred_entries([entry(3, "TABLE DATA", "cron", "job")]) == []


@pytest.mark.parametrize("content", [b"", b"PGDMP", b"PGDMP\x01\x0e\x00\x04\x08\x01", b"not one"])
def test_what_is_no_archive_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.dump"
    path.write_bytes(content)
    with pytest.raises(UnknownArchive):
        read_archive_header(path)


def test_a_version_from_the_future_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "x.dump"
    path.write_bytes(b"PGDMP\x01\x63\x00\x04\x08\x01" + bytes(100))
    with pytest.raises(UnknownArchive, match=r"1\.99"):
        read_archive_header(path)


def archive_with(*texts: bytes) -> bytes:
    """Return the beginning of a custom archive of version 1.14 whose only entry has these texts."""

    def integer(value: int) -> bytes:
        return b"\0" + value.to_bytes(4, "little")

    def text(value: bytes) -> bytes:
        return integer(len(value)) + value

    head = b"PGDMP" + bytes((1, 14, 0, 4, 8, 1)) + integer(1)
    head += b"".join(integer(1) for _ in range(7)) + text(b"shop") + text(b"17") + text(b"17")
    return head + integer(1) + integer(5) + integer(1) + b"".join(map(text, texts))


@pytest.mark.parametrize(
    "oids", [(b"16\x1401", b"16500"), (b"1259", b"2\xb27"), (b"1259", b" 7"), (b"-1", b"7")]
)
def test_an_identifier_that_is_no_number_is_a_damaged_table_of_contents(
    tmp_path: Path, oids: tuple[bytes, bytes]
) -> None:
    archive = tmp_path / "database.dump"
    archive.write_bytes(archive_with(*oids))
    with pytest.raises(UnknownArchive, match="no number"):
        read_archive_header(archive)
    archive.write_bytes(archive_with(b"1259", b"16500"))
    with pytest.raises(UnknownArchive, match="ends within"):
        read_archive_header(archive)
