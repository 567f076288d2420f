"""The catalogue: an SQLite cache of what the repository holds, so that looking is fast.

The repository is the truth. Delete the file and a refresh brings everything back; where the
state directory can't be written, or the file is no database any more, it lives in memory or is
made anew, silently. Readers never wait for a backup: WAL, short transactions, and only what
changed (by the stamps of manifests and record directories) is read again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from fsbackup_tui.domain.accepting import Acceptance, with_acceptances
from fsbackup_tui.domain.estimate import MeasuredRun
from fsbackup_tui.domain.incident import DamageSpan
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.repository.catalog_file import is_broken, open_anew, open_file, open_memory
from fsbackup_tui.repository.catalog_foreign import compare_foreign
from fsbackup_tui.repository.catalog_rows import (
    COLUMNS,
    PLACE_THE_FOREIGN,
    PLACE_THE_UNNUMBERED,
    PREVIOUS,
    RUNS_OF_NEWEST,
    UPSERT,
    from_row,
    like_pattern,
    runs_of,
    to_row,
)
from fsbackup_tui.repository.foreign import ForeignPlaces
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
_BATCH = 500
# A change within the clock tick of a look at it can't be told from no change by its stamp.
_RACY_NANOSECONDS = 2_000_000_000
_OLD_CONTENT = "SELECT content FROM points WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a refresh found: ids that are new or different, and ids that are gone."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.changed + other.changed, self.gone + other.gone)

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone)


class Catalogue:
    """The inventory of one repository; use from several threads and processes at once.

    ``acceptances`` are what the configuration accepts of what could not be tried: they are no
    part of the file, so that a changed configuration shows at once. ``damage`` is when live was
    not right, while an incident is open.
    """

    acceptances: Sequence[Acceptance] = ()
    damage: DamageSpan | None = None

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path
        self._repository: Repository | None = None
        self._foreign: ForeignPlaces | None = None
        self._running: Callable[[str], bool] | None = None
        self._guard = threading.RLock()

    @classmethod
    def open(
        cls, state: Path, repository: Repository | None, foreign: ForeignPlaces | None = None
    ) -> Catalogue:
        """Open the catalogue of the state directory, made where it is missing.

        Without a repository (not mounted) it shows what it knew of it. ``foreign`` is where
        backups of other scripts lie, which are listed too.
        Never fails: what can't be opened or written is replaced by one in memory.
        """
        path = state / CATALOGUE_NAME
        connection: sqlite3.Connection | None = None
        try:
            connection = open_file(path)
        except (OSError, sqlite3.Error) as error:
            connection = open_anew(path) if is_broken(error) else None
        if connection is not None:
            catalogue = cls(connection, path)
        else:
            catalogue = cls(open_memory(path), None)
        catalogue._repository = repository
        catalogue._foreign = foreign
        return catalogue

    @classmethod
    def of_copy(cls, repository: Repository) -> Catalogue:
        """Return what a copy of a repository holds, read anew; nothing is written anywhere."""
        catalogue = cls(open_memory(None), None)
        catalogue._repository = repository
        catalogue.refresh()
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

    @property
    def foreign_problems(self) -> tuple[str, ...]:
        """What kept the directories of other scripts' backups from being read whole."""
        rows = self._read("SELECT value FROM facts WHERE name = 'foreign_problems'", ())
        return tuple(json.loads(rows[0][0])) if rows else ()

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
        marker is known to live without it.
        """
        with self._guard:
            self._running = running or self._running
            try:
                return self._refresh()
            except sqlite3.Error as error:
                # Locked for long, full, read-only or broken: none of that may stop a look.
                self._start_anew(error)
                return self._refresh()

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
        own: bool = False,
    ) -> list[PointSummary]:
        """Return a page of the points, the newest in capture order first unless said otherwise.

        ``text`` keeps the points whose id, plan, reason, trust, sources or suspicion contain
        every word of it, whatever the case. ``own`` leaves out what other scripts made.
        """
        where, arguments = _where(plan, since, text, own=own)
        # Only texts of this module are put together here; what people type are arguments.
        by = _ORDERS[order].format(d="DESC" if descending else "ASC")
        rows = self._read(
            f"SELECT {COLUMNS}, {PREVIOUS} FROM (SELECT * FROM points {where}"  # noqa: S608
            f" ORDER BY {by}, id DESC LIMIT ? OFFSET ?) AS p ORDER BY {by}, id DESC",
            (*arguments, -1 if limit is None else limit, offset),
        )
        return [self._point(row) for row in rows]

    def count(
        self,
        plan: str | None = None,
        since: datetime | None = None,
        text: str | None = None,
        *,
        own: bool = False,
    ) -> int:
        """Return how many points the same filters keep."""
        where, arguments = _where(plan, since, text, own=own)
        statement = f"SELECT count(*) FROM points {where}"  # noqa: S608
        return int(self._read(statement, arguments)[0][0])

    def stored_bytes(self) -> int:
        """Return the bytes of all points of the repository."""
        where, arguments = _where(None, None, None, own=True)
        statement = f"SELECT coalesce(sum(bytes), 0) FROM points {where}"  # noqa: S608
        return int(self._read(statement, arguments)[0][0])

    def point(self, identifier: str) -> PointSummary | None:
        """Return one point by its id, None where there is none."""
        statement = f"SELECT {COLUMNS}, {PREVIOUS} FROM points AS p WHERE id = ?"  # noqa: S608
        rows = self._read(statement, (identifier,))
        return self._point(rows[0]) if rows else None

    def named(self, prefix: str) -> list[PointSummary]:
        """Return the points whose id begins with the text, the newest first."""
        statement = (
            f"SELECT {COLUMNS}, {PREVIOUS} FROM points AS p"  # noqa: S608
            " WHERE id >= ? AND id < ? ORDER BY position DESC, id DESC"
        )
        return [self._point(row) for row in self._read(statement, (prefix, prefix + chr(0x10FFFF)))]

    def runs(self) -> tuple[MeasuredRun, ...]:
        """Return how long what was done with the newest points took, the oldest run first."""
        rows = self._read(RUNS_OF_NEWEST, ())
        found = [run for row in rows for run in runs_of(row[0])]
        return tuple(sorted(found, key=lambda run: run.at))

    def revision(self) -> int:
        """Return a number that is another one whenever the points may be others."""
        rows = self._read("SELECT value FROM facts WHERE name = 'revision'", ())
        return int(float(rows[0][0])) if rows else 0

    def _point(self, row: Sequence[Any]) -> PointSummary:
        point = with_acceptances(from_row(row), self.acceptances)
        if self.damage is None:
            return point
        return replace(point, after_damage=self.damage.covers(point.created))

    def _read(self, statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._guard:
            try:
                return self._connection.execute(statement, arguments).fetchall()
            except sqlite3.DatabaseError as error:
                self._start_anew(error)
                self._refresh()
                return self._connection.execute(statement, arguments).fetchall()

    def _start_anew(self, error: sqlite3.Error) -> None:
        """Go on with a new file where the old one is broken, else (full, locked) in memory."""
        with suppress(sqlite3.Error):
            self._connection.close()
        connection = open_anew(self._path) if self._path and is_broken(error) else None
        if connection is None:
            self._connection, self._path = open_memory(self._path), None
        else:
            self._connection = connection

    def _refresh(self) -> Changes:
        own = Changes() if self._repository is None else self._refresh_own(self._repository)
        return own + self._refresh_foreign(bool(own))

    def _refresh_foreign(self, moved: bool) -> Changes:
        """Compare with the directories of other scripts; ``moved``: own points came or went."""
        compared = compare_foreign(self._connection, self._foreign)
        really: list[str] = []
        for rows in compared.batches(_BATCH):
            really += self._store(rows)
        if not (really or compared.gone or moved or compared.problems != self.foreign_problems):
            return Changes()
        with self._transaction():
            for name in compared.gone:
                self._connection.execute("DELETE FROM points WHERE id = ?", (name,))
            self._connection.execute(PLACE_THE_FOREIGN)
            self._note("foreign_problems", json.dumps(compared.problems))
            self._note("revision", time.time_ns() // 1000)
        return Changes(tuple(really), compared.gone)

    def _refresh_own(self, repository: Repository) -> Changes:
        present = dict(_scan(repository))
        known = {
            str(row[0]): (row[1], row[2], row[3])
            for row in self._connection.execute(
                "SELECT id, manifest_mtime, manifest_size, records_mtime FROM points"
                " WHERE origin = ''"
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

    def _note(self, name: str, value: float | str) -> None:
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
    plan: str | None, since: datetime | None, text: str | None, *, own: bool
) -> tuple[str, tuple[object, ...]]:
    conditions: list[str] = ["origin = ''"] if own else []
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
