"""The catalogue's file: opened, made anew where it is none, replaced by memory where need be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsbackup_tui.repository.catalog_rows import SCHEMA, SCHEMA_VERSION
from fsbackup_tui.repository.files import open_kept, state_file_mode

_BUSY_SECONDS = 10.0


def open_file(path: Path) -> sqlite3.Connection:
    """Open the catalogue's file, made 0600, or its group's, where it is missing.

    Raises:
        OSError, sqlite3.Error: it can't be used; ``is_broken`` tells whether it is no
            catalogue, or only can't be written now.
    """
    if not path.exists():
        # Only then: closing a file takes away all locks that this process has on it (POSIX), those
        # of its other connections, too, and the next process to close it throws away their log.
        os.close(open_kept(path, mode=state_file_mode(path)))
    connection = _connect(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError("the catalogue of another fsbackup")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            _prepare(connection)
        connection.execute("SELECT id FROM points LIMIT 1").fetchall()
        connection.execute("SELECT name FROM facts LIMIT 1").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def is_broken(error: Exception) -> bool:
    """Whether a file is no usable catalogue, rather than locked, full or not writable."""
    return isinstance(error, sqlite3.DatabaseError) and (
        not isinstance(error, sqlite3.OperationalError) or "no such" in str(error)
    )


def open_anew(path: Path) -> sqlite3.Connection | None:
    """Throw a file that is no catalogue away and make a new one; None where that can't be."""
    try:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return open_file(path)
    except (OSError, sqlite3.Error):
        return None


def open_memory(path: Path | None) -> sqlite3.Connection:
    """Return a catalogue in memory, with what an unwritable file still tells in it."""
    memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    if path is not None and os.access(path, os.R_OK):
        try:
            with _connect_read_only(path) as source:
                if source.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
                    source.backup(memory)
            memory.execute("SELECT id FROM points LIMIT 1").fetchall()
        except sqlite3.Error:
            memory.close()
            memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    _prepare(memory)
    return memory


@contextmanager
def _connect_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    # immutable: a WAL database in a directory that can't be written opens in no other way.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def _prepare(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )
