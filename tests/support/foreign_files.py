"""Backup files as scripts like the seed's write them, made with the real tools."""

from __future__ import annotations

import bz2
import lzma
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsbackup_tui.engines.compression import zstd_module
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import Databases, binaries, execute

ROWS = 3_000
MADE_AT = 1_719_741_600  # 2024-06-30 10:00 UTC: what gzip keeps, and the files' own time
TABLES = (
    "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL)",
    f"INSERT INTO users SELECT g, md5(g::text) FROM generate_series(1, {ROWS}) AS g",
    "CREATE TABLE videos (id bigserial PRIMARY KEY, user_id int REFERENCES users, path text)",
    "INSERT INTO videos (user_id, path) SELECT g, 'out/' || g FROM generate_series(1, 200) AS g",
    "CREATE VIEW names AS SELECT name FROM users",
    "SELECT lo_from_bytea(0, 'a large object')",
)


@contextmanager
def foreign_files(directory: Path, server: ScratchServer, major: int = 18) -> Iterator[Path]:
    """Fill a directory with one file of each kind; the database they come from is gone after."""
    databases = Databases()
    try:
        url, empty = databases.make(server), databases.make(server)
        execute(url, *TABLES)
        _dump(directory, url, empty, binaries(major))
        _spoil(directory)
        _supabase(directory)
        _tars(directory)
        for path in directory.rglob("*"):
            os.utime(path, (MADE_AT, MADE_AT))
        yield directory
    finally:
        databases.drop()


def shell(command: str, directory: Path) -> int:
    """Run a line as a script of such a kind has it, without pipefail; returns its exit status."""
    done = subprocess.run(["bash", "-c", command], cwd=directory, capture_output=True, check=False)
    return done.returncode


def _dump(directory: Path, url: str, empty: str, tools: Path) -> None:
    dump = tools / "pg_dump"
    missing = url.replace("/test_", "/no_such_")
    for command in (
        f"{dump} '{url}' > backup_20240630_120000.sql",
        f"{dump} '{url}' > packed.sql && TZ=UTC touch -d @{MADE_AT} packed.sql && gzip packed.sql",
        f"{dump} '{url}' | gzip > backup_20240701_020000.sql.gz",
        f"{dump} --verbose '{url}' > started.sql 2> /dev/null",
        f"{dump} --create '{url}' > create.sql",
        f"{dump} --no-owner --no-privileges '{url}' > no_owner.sql",
        f"{dump} -Fc '{url}' > supabase_backup.sql",
        f"{dump} -Fc '{url}' | gzip > custom.dump.gz",
        f"{dump} -Fd -f directory '{url}'",
        f"{dump} -Ft '{url}' > archive.tar",
        f"{dump} --schema-only '{url}' > schema_20240630.sql",
        f"{dump} --data-only '{url}' > data_backup.sql",
        f"{dump} --data-only --column-inserts '{url}' > inserts.sql",
        f"{tools / 'pg_dumpall'} -d '{url}' > all.sql",
        f"{tools / 'pg_dumpall'} --globals-only -d '{url}' > globals.sql",
        f"{dump} '{empty}' > nothing_in_it.sql",
        f"{dump} '{missing}' | gzip > failed.sql.gz",
        f"{dump} '{missing}' > told.sql 2>&1; true",
    ):
        assert shell(command, directory) == 0, command


def _spoil(directory: Path) -> None:
    plain = (directory / "backup_20240630_120000.sql").read_bytes()
    packed = (directory / "packed.sql.gz").read_bytes()
    custom = (directory / "supabase_backup.sql").read_bytes()
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0x10
    written = {
        "backup.sql.xz": lzma.compress(plain),
        "backup.sql.bz2": bz2.compress(plain),
        "backup.sql.zst": zstd_module().compress(plain),
        "cut.sql": plain[: len(plain) // 2],
        "cut.sql.gz": packed[: len(packed) // 2],
        "cut.sql.xz": lzma.compress(plain)[:-100],
        "cut.dump": custom[: len(custom) * 2 // 3],
        "cut_in_toc.dump": custom[:400],
        "flipped.sql.gz": bytes(flipped),
        "empty.sql": b"",
        "page.sql": b"<!DOCTYPE html>\n<html><body>504 Gateway Time-out</body></html>\n",
        "error.sql.gz.sql": b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>\n",
        "mysql_backup.sql": b"-- MySQL dump 10.13\n\nCREATE TABLE `t` (`i` int);\n",
        "by_hand.sql": b"CREATE TABLE t (i int);\nINSERT INTO t VALUES (1);\n",
        "torn_by_error.sql": plain[: len(plain) // 3] + b"\npg_dump: error: query failed: ERROR\n",
        "latin.dump": b"\0\1\2\3" * 400,
    }
    for name, content in written.items():
        (directory / name).write_bytes(content)


def _supabase(directory: Path) -> None:
    """As `supabase db dump` post-processes pg_dump (its dump_schema.sh and dump_data.sh)."""
    schema = (
        "sed -E 's/^CREATE SCHEMA /CREATE SCHEMA IF NOT EXISTS /;"
        " s/^CREATE TABLE /CREATE TABLE IF NOT EXISTS /;"
        " s/^CREATE VIEW /CREATE OR REPLACE VIEW /; s/^SET transaction_timeout/-- &/;"
        r" s/^\\(un)?restrict .*$/-- &/' schema_20240630.sql | sed -E '/^--/d' > supabase_dump.sql"
        " && echo 'RESET ALL;' >> supabase_dump.sql"
    )
    data = (
        "(printf 'SET session_replication_role = replica;\\n\\n'"
        r"; sed -E 's/^\\(un)?restrict .*$/-- &/' inserts.sql; echo 'RESET ALL;')"
        " > supabase_data.sql"
    )
    for command in (schema, data):
        assert shell(command, directory) == 0, command


def _tars(directory: Path) -> None:
    tree = directory / "srv" / "face-swap" / "storage" / "faces"
    tree.mkdir(parents=True)
    for name in ("ana.jpg", "bob.jpg"):
        (tree / name).write_bytes(name.encode() * 500)
    for command in (
        "tar -czf storage_backup_20240630_120000.tar.gz srv/face-swap/storage",
        "tar -cf one_file.tar srv/face-swap/storage/faces/ana.jpg",
        "head -c 150 storage_backup_20240630_120000.tar.gz > cut.tar.gz",
        "head -c 1024 one_file.tar > cut.tar",
        "tar -cf no_file.tar -T /dev/null",
        "rm -r srv",
    ):
        assert shell(command, directory) == 0, command


def contents(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below a directory: its modification time, mode and bytes."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            path.read_bytes(),
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
