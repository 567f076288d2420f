"""The catalogue: an SQLite cache of what the repository holds, so that looking is fast.

The repository is the truth. Delete the file and a refresh brings everything back; where the
state directory can't be written, or the file is no database any more, it lives in memory or is
made anew, silently. Readers never wait for a backup: WAL, short transactions, and only what
changed (by the stamps of manifests and record directories) is read again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.repository.catalog_rows import (
    COLUMNS,
    PLACE_THE_UNNUMBERED,
    PREVIOUS_ROWS,
    SCHEMA,
    SCHEMA_VERSION,
    UPSERT,
    from_row,
    like_pattern,
    to_row,
)
from fsbackup_tui.repository.files import open_kept
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.summary import summarise

CATALOGUE_NAME = "catalogue.sqlite"
Order = Literal["sequence", "created", "size", "trust"]
_ORDERS: dict[str, str] = {
    "sequence": "position {d}, created {d}",
    "created": "created {d}, position {d}",
    "size": "bytes {d}, position DESC",
    "trust": "trust {d}, position DESC",
}
_BUSY_SECONDS = 10.0
_BATCH = 500
# A change within the clock tick of a look at it can't be told from no change by its stamp.
_RACY_NANOSECONDS = 2_000_000_000
_OLD_CONTENT = "SELECT content FROM points WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a refresh found: ids that are new or different, and ids that are gone."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone)


class Catalogue:
    """The inventory of one repository; use from several threads and processes at once."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path
        self._repository: Repository | None = None
        self._running: Callable[[str], bool] | None = None
        self._guard = threading.RLock()

    @classmethod
    def open(cls, state: Path, repository: Repository | None) -> Catalogue:
        """Open the catalogue of the state directory, made where it is missing.

        Without a repository (not mounted) it shows what it knew, and can't be refreshed.
        Never fails: what can't be opened or written is replaced by one in memory.
        """
        path = state / CATALOGUE_NAME
        connection: sqlite3.Connection | None = None
        try:
            connection = _open_file(path)
        except (OSError, sqlite3.Error) as error:
            connection = _open_anew(path) if _is_broken(error) else None
        if connection is not None:
            catalogue = cls(connection, path)
        else:
            catalogue = cls(_open_memory(path), None)
        catalogue._repository = repository
        return catalogue

    @property
    def in_memory(self) -> bool:
        """Whether the catalogue lives in memory because its file can't be used."""
        return self._path is None

    @property
    def refreshed_at(self) -> datetime | None:
        """When the catalogue was last compared with the repository; None for never."""
        rows = self._read("SELECT value FROM facts WHERE name = 'refreshed_at'", ())
        return datetime.fromtimestamp(float(rows[0][0]), UTC) if rows else None

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh(self, *, running: Callable[[str], bool] | None = None) -> Changes:
        """Compare with the repository, read what changed, and return what that was.

        ``running`` tells of a job's id whether it lives; a job that still holds its point's
        marker is known to live without it. No repository: nothing happens.
        """
        with self._guard:
            if self._repository is None:
                return Changes()
            self._running = running or self._running
            try:
                return self._refresh(self._repository)
            except sqlite3.Error as error:
                # Locked for long, full, read-only or broken: none of that may stop a look.
                self._start_anew(error)
                return self._refresh(self._repository)

    def points(
        self,
        plan: str | None = None,
        since: datetime | None = None,
        *,
        order: Order = "sequence",
        descending: bool = True,
        limit: int | None = None,
        offset: int = 0,
        text: str | None = None,
    ) -> list[PointSummary]:
        """Return a page of the points, the newest in capture order first unless said otherwise.

        ``text`` keeps the points whose id, plan, reason, trust, sources or suspicion contain
        every word of it, whatever the case.
        """
        where, arguments = _where(plan, since, text)
        # Only texts of this module are put together here; what people type are arguments.
        by = _ORDERS[order].format(d="DESC" if descending else "ASC")
        rows = self._read(
            f"SELECT {COLUMNS}, {PREVIOUS_ROWS} FROM (SELECT * FROM points {where}"  # noqa: S608
            f" ORDER BY {by}, id DESC LIMIT ? OFFSET ?) AS p ORDER BY {by}, id DESC",
            (*arguments, -1 if limit is None else limit, offset),
        )
        return [from_row(row) for row in rows]

    def count(
        self, plan: str | None = None, since: datetime | None = None, text: str | None = None
    ) -> int:
        """Return how many points the same filters keep."""
        where, arguments = _where(plan, since, text)
        statement = f"SELECT count(*) FROM points {where}"  # noqa: S608
        return int(self._read(statement, arguments)[0][0])

    def point(self, identifier: str) -> PointSummary | None:
        """Return one point by its id, None where there is none."""
        statement = f"SELECT {COLUMNS}, {PREVIOUS_ROWS} FROM points AS p WHERE id = ?"  # noqa: S608
        rows = self._read(statement, (identifier,))
        return from_row(rows[0]) if rows else None

    def named(self, prefix: str) -> list[PointSummary]:
        """Return the points whose id begins with the text, the newest first."""
        statement = (
            f"SELECT {COLUMNS}, {PREVIOUS_ROWS} FROM points AS p"  # noqa: S608
            " WHERE id >= ? AND id < ? ORDER BY position DESC, id DESC"
        )
        return [from_row(row) for row in self._read(statement, (prefix, prefix + chr(0x10FFFF)))]

    def revision(self) -> int:
        """Return a number that is another one whenever the points may be others."""
        rows = self._read("SELECT value FROM facts WHERE name = 'revision'", ())
        return int(float(rows[0][0])) if rows else 0

    def _read(self, statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._guard:
            try:
                return self._connection.execute(statement, arguments).fetchall()
            except sqlite3.DatabaseError as error:
                self._start_anew(error)
                if self._repository is not None:
                    self._refresh(self._repository)
                return self._connection.execute(statement, arguments).fetchall()

    def _start_anew(self, error: sqlite3.Error) -> None:
        """Go on with a new file where the old one is broken, else (full, locked) in memory."""
        with suppress(sqlite3.Error):
            self._connection.close()
        connection = _open_anew(self._path) if self._path and _is_broken(error) else None
        if connection is None:
            self._connection, self._path = _open_memory(self._path), None
        else:
            self._connection = connection

    def _refresh(self, repository: Repository) -> Changes:
        present = dict(_scan(repository))
        known = {
            str(row[0]): (row[1], row[2], row[3])
            for row in self._connection.execute(
                "SELECT id, manifest_mtime, manifest_size, records_mtime FROM points"
            )
        }
        gone = sorted(set(known) - set(present))
        changed = sorted(
            name for name, stamp in present.items() if 0 in stamp or known.get(name) != stamp
        )
        really: list[str] = []
        for start in range(0, len(changed), _BATCH):
            names = changed[start : start + _BATCH]
            rows = [self._summarised(repository, name, present[name]) for name in names]
            really += self._store(rows)
        with self._transaction():
            for name in gone:
                self._connection.execute("DELETE FROM points WHERE id = ?", (name,))
            self._connection.execute(PLACE_THE_UNNUMBERED)
            self._note("refreshed_at", time.time())
            if really or gone:
                self._note("revision", time.time_ns() // 1000)
        return Changes(tuple(really), tuple(gone))

    def _summarised(
        self, repository: Repository, name: str, stamp: tuple[int, int, int]
    ) -> tuple[object, ...]:
        return (*to_row(summarise(repository, name, self._running)), *stamp)

    def _store(self, rows: Iterable[tuple[object, ...]]) -> list[str]:
        """Write rows in one short transaction; return the ids whose content is another."""
        changed: list[str] = []
        with self._transaction():
            for row in rows:
                old = self._connection.execute(_OLD_CONTENT, (row[0],)).fetchone()
                if old is None or old[0] != row[-4]:
                    changed.append(str(row[0]))
                self._connection.execute(UPSERT, row)
        return changed

    def _note(self, name: str, value: float) -> None:
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _where(
    plan: str | None, since: datetime | None, text: str | None
) -> tuple[str, tuple[object, ...]]:
    conditions: list[str] = []
    arguments: list[object] = []
    if plan is not None:
        conditions.append("plan = ?")
        arguments.append(plan)
    if since is not None:
        conditions.append("created >= ?")
        arguments.append(since.timestamp())
    for word in (text or "").split():
        conditions.append("words LIKE ? ESCAPE '\\'")
        arguments.append(like_pattern(word))
    return (f"WHERE {' AND '.join(conditions)}" if conditions else "", tuple(arguments))


def _scan(repository: Repository) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield every point's name and stamps: manifest's mtime and size, record directory's mtime.

    A stamp with a 0 says "look again": no manifest, or changed a moment ago.
    """
    recent = time.time_ns() - _RACY_NANOSECONDS
    records = _record_stamps(repository, recent)
    points = os.fspath(repository.points)
    for name in _directory_names(points):
        try:
            facts = os.lstat(f"{points}/{name}/{MANIFEST_NAME}")
        except OSError:
            yield name, (0, 0, 0)
            continue
        mtime = facts.st_mtime_ns if facts.st_mtime_ns < recent else 0
        yield name, (mtime, facts.st_size, records.get(name, -1))


def _record_stamps(repository: Repository, recent: int) -> dict[str, int]:
    root = os.fspath(repository.records)
    stamps: dict[str, int] = {}
    for name in _directory_names(root):
        with suppress(OSError):
            mtime = os.lstat(f"{root}/{name}").st_mtime_ns
            stamps[name] = mtime if mtime < recent else 0
    return stamps


def _directory_names(root: str) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _open_file(path: Path) -> sqlite3.Connection:
    """Open the catalogue's file, made 0600 where it is missing.

    Raises:
        OSError, sqlite3.Error: it can't be used; ``_is_broken`` tells whether it is no
            catalogue, or only can't be written now.
    """
    os.close(open_kept(path))
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


def _is_broken(error: Exception) -> bool:
    """Whether a file is no usable catalogue, rather than locked, full or not writable."""
    return isinstance(error, sqlite3.DatabaseError) and (
        not isinstance(error, sqlite3.OperationalError) or "no such" in str(error)
    )


def _open_anew(path: Path) -> sqlite3.Connection | None:
    """Throw a file that is no catalogue away and make a new one; None where that can't be."""
    try:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return _open_file(path)
    except (OSError, sqlite3.Error):
        return None


def _open_memory(path: Path | None) -> sqlite3.Connection:
    """Return a catalogue in memory, with what an unwritable file still tells in it."""
    memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    if path is not None and path.exists():
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
