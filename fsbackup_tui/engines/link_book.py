"""What rows name and what a tree holds, put side by side in a SQLite file of a private directory.

Of names there are digests in it and nothing that can be read: what a row says is enciphered with
a key that is only in memory, so that the names of what is missing can be told in the end. Memory
stays the same, however many rows there are.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.links import MOST_HOPS, MOST_NAMES, led_to
from fsbackup_tui.engines.files.index import IndexEntry

_CACHE = 16 << 10  # KiB
_BATCH = 20_000
_DIGEST = 16
_PAD = 64
_NAMES = tuple(f"name{number}" for number in range(MOST_NAMES))


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What one row says: the names it may mean, and what it tells of the file."""

    said: str
    names: tuple[bytes, ...]
    size: int | None = None
    sha256: bytes | None = None
    there: bool = False


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a tree, or a symlink in it: then ``leads`` is the name that it leads to."""

    path: bytes
    size: int | None
    sha256: bytes | None
    leads: bytes | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """How the rows of one link fit a tree; ``sums`` tells two such results apart."""

    rows: int
    missing: int
    differing: int
    vanished: int
    outside: int
    sums: str


def digest_of(path: bytes) -> bytes:
    """Return what stands in the book for a name."""
    return hashlib.blake2b(path, digest_size=_DIGEST).digest()


def tree_files(entries: Iterable[IndexEntry]) -> Iterator[TreeFile]:
    """Yield the files of an index, each under all of its names, and the symlinks inside the tree.

    Other names (hard links) of a symlink are left out: the index does not tell where they lead.
    """
    for entry in entries:
        if entry.kind == "symlink":
            leads = led_to(entry.path, entry.target)
            if leads is not None:
                yield TreeFile(entry.path, None, None, leads)
        if entry.is_file:
            sha256 = None if entry.sha256 is None else bytes.fromhex(entry.sha256)
            yield TreeFile(entry.path, entry.size, sha256)


class LinkBook:
    """A book in a new file (0600); ``links`` and ``trees`` are numbers and names of the caller's.

    One thread at a time may use it, whichever.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._path = path
        self._key = secrets.token_bytes(32)
        self._rows = 0
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{_CACHE}",
            "PRAGMA locking_mode = EXCLUSIVE",
            f"CREATE TABLE named (row INTEGER PRIMARY KEY, link, {', '.join(_NAMES)},"
            " mark, size, sha256, there, said)",
            # A symlink has the size and hash of its file; ``leads`` is the next name on the way
            # there, ``target`` the last. A file has neither.
            "CREATE TABLE file (tree, name, size, sha256, leads, target,"
            " PRIMARY KEY (tree, name)) WITHOUT ROWID",
            "CREATE TABLE wanted (name PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE through (name PRIMARY KEY) WITHOUT ROWID",
        ):
            self._database.execute(statement)

    def close(self) -> None:
        """Close and remove it."""
        self._database.close()
        self._path.unlink(missing_ok=True)

    def forget_link(self, link: int) -> None:
        """Take the rows of a link out: they are read anew."""
        self._database.execute("DELETE FROM named WHERE link = ?", (link,))

    def add_rows(self, link: int, rows: Iterable[NamedFile]) -> int:
        """Take in what rows of a link say; returns how many they were."""
        before = self._rows
        insert = f"INSERT INTO named VALUES ({', '.join('?' * (MOST_NAMES + 7))})"  # noqa: S608
        self._in_batches(insert, (self._row(link, row) for row in rows))
        return self._rows - before

    def _row(self, link: int, row: NamedFile) -> tuple[object, ...]:
        self._rows += 1
        names: list[bytes | None] = [digest_of(name) for name in row.names[:MOST_NAMES]]
        mark = int.from_bytes(names[0][:8]) >> 1 if names and names[0] else 0
        names += [None] * (MOST_NAMES - len(names))
        said = self._cipher(self._rows, row.said.encode("utf-8", "surrogateescape"))
        return (self._rows, link, *names, mark, row.size, row.sha256, row.there, said)

    def _cipher(self, number: int, data: bytes) -> bytes:
        """Encipher, or decipher, what row ``number`` says: each has pads of its own."""
        pieces = []
        for place in range(0, len(data), _PAD):
            nonce = b"%d %d" % (number, place)
            pad = hashlib.blake2b(nonce, key=self._key, digest_size=_PAD).digest()
            block = data[place : place + _PAD]
            mixed = int.from_bytes(block) ^ int.from_bytes(pad[: len(block)])
            pieces.append(mixed.to_bytes(len(block)))
        return b"".join(pieces)

    def add_tree(self, tree: str, files: Iterable[TreeFile]) -> None:
        """Take in the files of a tree; those that were there under its name go.

        Symlinks are taken in that lead to a file among them, over ``MOST_HOPS`` links at most.
        """
        self._database.execute("DELETE FROM file WHERE tree = ?", (tree,))
        self._database.execute("CREATE TEMP TABLE coming (name, size, sha256, leads)")
        try:
            self._in_batches(
                "INSERT INTO coming VALUES (?, ?, ?, ?)",
                (
                    (
                        digest_of(file.path),
                        file.size,
                        file.sha256,
                        None if file.leads is None else digest_of(file.leads),
                    )
                    for file in files
                ),
            )
            # Sorted first: in the order of the names that they have, a tree of a million would be
            # read and written at places all over it.
            self._database.execute(
                "INSERT OR REPLACE INTO file SELECT ?, name, size, sha256, NULL, NULL FROM coming"
                " WHERE leads IS NULL ORDER BY name",
                (tree,),
            )
            self._follow(tree)
        finally:
            self._database.execute("DROP TABLE coming")

    def _follow(self, tree: str) -> None:
        for _hop in range(MOST_HOPS):
            # CROSS: from the few symlinks to their files, whatever the planner thinks.
            followed = self._database.execute(
                "INSERT OR IGNORE INTO file SELECT ?, coming.name, file.size, file.sha256,"
                " coming.leads, coalesce(file.target, file.name) FROM coming"
                " CROSS JOIN file ON file.tree = ? AND file.name = coming.leads"
                " WHERE coming.leads IS NOT NULL",
                (tree, tree),
            )
            if followed.rowcount <= 0:
                return

    def want_all_named(self) -> None:
        """Make ready for ``take_wanted``: what any row of any link means is wanted from now on."""
        meant = " UNION ALL ".join(
            f"SELECT {name} AS name FROM named WHERE {name} IS NOT NULL"  # noqa: S608 - our names
            for name in _NAMES
        )
        self._database.execute("DELETE FROM wanted")
        self._database.execute(f"INSERT OR IGNORE INTO wanted {meant} ORDER BY name")

    def take_wanted(self, tree: str, file: TreeFile) -> bool:
        """Take a file into a tree if any row means it, and say so."""
        name = digest_of(file.path)
        if not self._is_wanted(name):
            return False
        self._take(tree, name, file)
        return True

    def _take(self, tree: str, name: bytes, file: TreeFile) -> None:
        values = (tree, name, file.size, file.sha256)
        insert = "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, NULL, NULL)"
        self._database.execute(insert, values)

    def want_through(self, whole: str) -> None:
        """Want, too, what the wanted symlinks of a tree lead through, to their files."""
        self._database.execute("DELETE FROM through")
        for source in ("wanted", *["through"] * (MOST_HOPS - 1)):
            self._database.execute(
                "INSERT OR IGNORE INTO through SELECT file.leads FROM file"  # noqa: S608 - ours
                f" JOIN {source} ON {source}.name = file.name"
                " WHERE file.tree = ? AND file.leads IS NOT NULL",
                (whole,),
            )

    def take_through(self, tree: str, file: TreeFile) -> bool:
        """Take a file into a tree if a wanted symlink leads to it, and say so."""
        name = digest_of(file.path)
        if not self._is_through(name):
            return False
        self._take(tree, name, file)
        return True

    def take_symlink(self, tree: str, whole: str, path: bytes) -> bool:
        """Take a symlink of the tree ``whole`` into another if it is wanted and has its file."""
        name = digest_of(path)
        if not (self._is_wanted(name) or self._is_through(name)):
            return False
        taken = self._database.execute(
            "INSERT OR REPLACE INTO file SELECT ?, name, size, sha256, leads, target FROM file"
            " WHERE tree = ? AND name = ? AND leads IS NOT NULL",
            (tree, whole, name),
        )
        return taken.rowcount > 0

    def wants(self, path: bytes) -> bool:
        """Whether any row means the file."""
        return self._is_wanted(digest_of(path))

    def _is_wanted(self, name: bytes) -> bool:
        found = self._database.execute("SELECT 1 FROM wanted WHERE name = ?", (name,))
        return found.fetchone() is not None

    def _is_through(self, name: bytes) -> bool:
        found = self._database.execute("SELECT 1 FROM through WHERE name = ?", (name,))
        return found.fetchone() is not None

    def found(self, link: int, tree: str, *, limit: int = -1) -> Iterator[str]:
        """Yield what those rows say whose file the tree has."""
        yield from self._said(f"NOT ({_MISSING})", link, tree, limit)

    def found_bytes(self, link: int, tree: str) -> int:
        """Return what the files of a tree take that the rows of a link mean, each once."""
        (row,) = self._database.execute(
            f"SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT {_ITSELF} AS name,"  # noqa: S608
            f" {_first('size')} AS size {_FROM})",
            (*[tree] * MOST_NAMES, link),
        )
        return int(row[0])

    def bytes_of(self, tree: str) -> int:
        """Return what the files of a tree take that it was told the size of."""
        statement = "SELECT coalesce(sum(size), 0) FROM file WHERE tree = ? AND target IS NULL"
        return int(self._database.execute(statement, (tree,)).fetchone()[0])

    def _in_batches(self, statement: str, rows: Iterator[tuple[object, ...]]) -> None:
        batch: list[tuple[object, ...]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                self._insert(statement, batch)
                batch.clear()
        self._insert(statement, batch)

    def _insert(self, statement: str, batch: list[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, batch)
        self._database.execute("COMMIT")

    def join(self, link: int, tree: str, *, symlinks: bool = True) -> Joined:
        """Return how the rows of a link fit a tree; without ``symlinks`` no link is a file."""
        source = _FROM if symlinks else _FROM_FILES
        (row,) = self._database.execute(
            f"SELECT count(*), {_sum(_MISSING)}, {_sum(_DIFFERING)},"
            f" {_sum(f'{_MISSING} AND there')}, {_sum(f'{_NAMES[0]} IS NULL')},"
            f" {_marks('1')}, {_marks(_MISSING)}, {_marks(_DIFFERING)} {source}",
            (*[tree] * MOST_NAMES, link),
        )
        rows, missing, differing, vanished, outside, *marks = row
        sums = "-".join(f"{mark:x}" for mark in marks)
        return Joined(rows, missing, differing, vanished, outside, sums)

    def missing(self, link: int, tree: str, *, limit: int = -1) -> Iterator[str]:
        """Yield what those rows say whose file the tree has not; ``limit`` -1: of all."""
        yield from self._said(_MISSING, link, tree, limit)

    def differing(self, link: int, tree: str, *, limit: int = -1) -> Iterator[str]:
        """Yield what those rows say whose file is of another size or hash."""
        yield from self._said(_DIFFERING, link, tree, limit)

    def vanished(self, link: int, tree: str, *, limit: int = -1) -> Iterator[str]:
        """Yield what those rows say whose file was there once and is not in the tree."""
        yield from self._said(f"{_MISSING} AND there", link, tree, limit)

    def _said(self, condition: str, link: int, tree: str, limit: int) -> Iterator[str]:
        found = self._database.execute(
            f"SELECT row, said {_FROM} AND {condition} ORDER BY row LIMIT ?",
            (*[tree] * MOST_NAMES, link, limit),
        )
        for number, said in found:
            yield self._cipher(number, said).decode("utf-8", "surrogateescape")

    def unnamed(self, links: Iterable[int], tree: str) -> int:
        """Return how many files of a tree no row of these links means, by symlinks neither."""
        numbers = tuple(links)
        places = ", ".join("?" * len(numbers))
        meant = " UNION ALL ".join(
            f"SELECT {name} AS name FROM named"  # noqa: S608 - names of our own
            f" WHERE link IN ({places}) AND {name} IS NOT NULL"
            for name in _NAMES
        )
        (row,) = self._database.execute(
            "SELECT (SELECT count(*) FROM file WHERE tree = ? AND target IS NULL)"  # noqa: S608
            " - (SELECT count(DISTINCT coalesce(file.target, file.name)) FROM"
            f" (SELECT name FROM ({meant}) GROUP BY name) AS meant"
            " JOIN file ON file.tree = ? AND file.name = meant.name)",
            (tree, *numbers * MOST_NAMES, tree),
        )
        return int(row[0])


_FOUND = ", ".join(f"f{number}.name" for number in range(MOST_NAMES))


def _from(more: str = "") -> str:
    joins = " ".join(
        f"LEFT JOIN file f{number} ON f{number}.tree = ? AND f{number}.name = named.{name}"
        + more.format(f"f{number}")
        for number, name in enumerate(_NAMES)
    )
    return f"FROM named {joins} WHERE link = ?"


_FROM = _from()
_FROM_FILES = _from(" AND {}.target IS NULL")
_MISSING = f"coalesce({_FOUND}) IS NULL"


def _first(column: str) -> str:
    """Return the value of the first file that a row means and the tree has."""
    chosen = " ".join(
        f"WHEN f{number}.name IS NOT NULL THEN f{number}.{column}" for number in range(MOST_NAMES)
    )
    return f"CASE {chosen} END"


_ITSELF = f"coalesce({_first('target')}, {_FOUND})"


def _other(column: str) -> str:
    """Return the condition that the first file a row means tells another value than the row."""
    return f"coalesce(named.{column} <> {_first(column)}, 0)"


_DIFFERING = f"({_other('size')} OR {_other('sha256')})"


def _sum(condition: str) -> str:
    return f"coalesce(sum(({condition}) <> 0), 0)"


def _marks(condition: str) -> str:
    """Return two sums over the rows that meet a condition, of 32 bits of each one's digest.

    Two sets of rows with the same sums are the same.
    """
    chosen = f"CASE WHEN {condition} THEN mark END"
    return f"coalesce(sum(({chosen}) & 4294967295), 0), coalesce(sum(({chosen}) >> 32), 0)"
