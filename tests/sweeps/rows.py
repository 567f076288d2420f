"""The rows that an archive holds, read by the stock tools alone: fsbackup has no part in it."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from fsbackup_tui.engines.compression import zstd_module
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import execute

_SECONDS = 60
# What a dump is not to blame for: rows that are missing then say nothing of it.
_NOT_THE_DUMPS = (b"No space left on device", b"too many clients", b"connection to server")
Rows = dict[str, str]
"""A digest of all rows, whatever their order, by table; large objects as one more table."""


def archive_rows(server: ScratchServer, dump: Path, *, plain: bool, name: str) -> Rows:
    """Return what comes back when a dump is loaded into a new database.

    A plain one is loaded as RECOVER.md tells; what fails is loaded with errors ignored.
    """
    if plain:
        with _new_database(server, name) as url:
            if _load_plain(server, dump, url, "-1", "-v", "ON_ERROR_STOP=1"):
                return database_rows(url)
    with _new_database(server, name) as url:
        _load_plain(server, dump, url) if plain else _load_archive(server, dump, url)
        return database_rows(url)


@contextmanager
def _new_database(server: ScratchServer, name: str) -> Iterator[str]:
    execute(server.url(), f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield server.url(name)
    finally:
        execute(server.url(), f'DROP DATABASE "{name}" WITH (FORCE)')


def _load_archive(server: ScratchServer, dump: Path, url: str) -> None:
    _run(server, "pg_restore", f"--dbname={url}", str(dump))


def _load_plain(server: ScratchServer, dump: Path, url: str, *options: str) -> bool:
    return _run(server, "psql", "-X", "-q", *options, f"--dbname={url}", given=_text(dump))


def _run(server: ScratchServer, tool: str, *arguments: str, given: bytes = b"") -> bool:
    ended = subprocess.run(
        [str(server.bin_directory / tool), *arguments],
        input=given,
        capture_output=True,
        check=False,
        timeout=_SECONDS,
    )
    if found := next((words for words in _NOT_THE_DUMPS if words in ended.stderr), None):
        raise RuntimeError(f"{tool} could not tell what is in the dump: {found.decode()}")
    return ended.returncode == 0


def _text(dump: Path) -> bytes:
    """Return as much of a plain dump's text as its compression gives."""
    content = dump.read_bytes()
    if dump.suffix == ".gz":
        return _as_far_as_it_goes(zlib.decompressobj(31), content, zlib.error)
    if dump.suffix == ".zst":
        module = zstd_module()
        return _as_far_as_it_goes(module.ZstdDecompressor(), content, module.ZstdError)
    return content


def _as_far_as_it_goes(decompressor: object, content: bytes, error: type[Exception]) -> bytes:
    text = b""
    decompress = decompressor.decompress  # type: ignore[attr-defined]
    for start in range(0, len(content), 512):
        try:
            text += decompress(content[start : start + 512])
        except (error, EOFError):
            break
    return text


def database_rows(url: str) -> Rows:
    """Return the rows of every table of a database."""
    found: Rows = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = ''")
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        ).fetchall()
        for schema, name in tables:
            source = sql.SQL("(SELECT * FROM ONLY {})").format(sql.Identifier(schema, name))
            found[f"{schema}.{name}"] = _digest(connection, source)
        found["large objects"] = _digest(
            connection, sql.SQL("(SELECT loid, pageno, data FROM pg_catalog.pg_largeobject)")
        )
    return found


def _digest(connection: psycopg.Connection[tuple[object, ...]], source: sql.Composable) -> str:
    statement = sql.SQL("COPY {} TO STDOUT").format(source)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        rows = sorted(bytes(line) for line in b"".join(map(bytes, copy)).split(b"\n"))
    return hashlib.sha256(b"\n".join(rows)).hexdigest()
