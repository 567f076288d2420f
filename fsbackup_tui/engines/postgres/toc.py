"""The table of contents of pg_dump's archives, read from the archive itself.

``pg_restore -l`` joins schema, name and owner by spaces, so that names with spaces can't be told
apart, and leaves the definitions out. The header of the ``custom`` format and the ``toc.dat`` of
the ``directory`` format hold both exactly (PostgreSQL's ``src/bin/pg_dump/pg_backup_archiver.c``,
``ReadHead`` and ``ReadToc``; the same since archive version 1.12 of PostgreSQL 9.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

_MAGIC = b"PGDMP"
_OLDEST, _NEWEST = (1, 12), (1, 16)
_TOC_FILE = "toc.dat"
_LONGEST_TEXT = 1 << 30
_FORMATS = {1: "custom", 3: "tar", 5: "directory"}


class UnknownArchive(ValueError):
    """The file is no archive, is torn, or is of a version that this reader does not know."""


class Readable(Protocol):
    """What a table of contents is read from."""

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, fewer at the end alone."""
        ...


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One entry of an archive's table of contents.

    ``raw`` is its line in ``pg_restore -l``. ``definition`` (SQL), ``file`` (directory format)
    and ``dependencies`` (dump ids) are known only where the archive itself was read.
    """

    dump_id: int
    catalogue_oid: int
    oid: int
    kind: str
    schema: str | None
    name: str
    owner: str
    raw: str = ""
    definition: str = ""
    copy_statement: str = ""
    file: str | None = None
    dependencies: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The entry as messages name it, e.g. ``INDEX app.users_email``.

        Bytes of a name that are no UTF-8 (a database in SQL_ASCII has such, a damaged archive
        too) are ``?``: as they are, no message could be written.
        """
        place = f"{self.schema}.{self.name}" if self.schema else self.name
        return f"{self.kind} {place}".encode("utf-8", "replace").decode()

    @property
    def holds_data(self) -> bool:
        """Whether the entry brings rows, large objects or sequence values, not definitions."""
        return self.kind in DATA_KINDS


DATA_KINDS = frozenset(
    {"TABLE DATA", "BLOBS", "BLOB COMMENTS", "SEQUENCE SET", "MATERIALIZED VIEW DATA"}
)


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """What an archive says of itself; versions are texts as pg_dump wrote them.

    ``created`` is the clock of the machine that pg_dump ran on, without its zone. ``piped``: it
    was written to a pipe, so it does not tell where each table's rows are, and more readers than
    two only read it again and again.
    """

    format: str
    version: tuple[int, int]
    database: str
    server_version: str
    client_version: str
    entries: tuple[TocEntry, ...]
    created: datetime | None = None
    piped: bool = False


def read_archive_header(archive: Path) -> ArchiveHeader:
    """Read the table of contents of a ``custom`` file or a ``directory``.

    Raises UnknownArchive when it can't be understood, OSError when it can't be read.
    """
    path = archive / _TOC_FILE if archive.is_dir() else archive
    with path.open("rb") as stream:
        return read_header(stream)


def read_header(stream: Readable) -> ArchiveHeader:
    """Read the table of contents from the beginning of an archive (or of a ``toc.dat``).

    Raises UnknownArchive when it can't be understood.
    """
    return _HeaderReader(stream).read()


_PLACE_NOT_TOLD = 1  # K_OFFSET_POS_NOT_SET of pg_dump's pg_backup_archiver.h


class _HeaderReader:
    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._integer_size = 4
        self._offset_size = 8
        self._version = (0, 0)
        self._piped = False

    def read(self) -> ArchiveHeader:
        if self._bytes(5) != _MAGIC:
            raise UnknownArchive("it does not begin as pg_dump's archives do")
        major, minor, _revision = self._bytes(3)
        self._version = (major, minor)
        if not _OLDEST <= self._version <= _NEWEST:
            raise UnknownArchive(f"archive version {major}.{minor} is not known")
        self._integer_size, self._offset_size, format_code = self._bytes(3)
        kind = _FORMATS.get(format_code)
        if kind is None:
            raise UnknownArchive(f"archive format {format_code} is not known")
        if self._version >= (1, 15):
            self._bytes(1)
        else:
            self._integer()
        created = _clock([self._integer() for _part_of_the_time in range(7)])
        database, server, client = (self._text() or "" for _ in range(3))
        count = self._integer()
        if count < 0:
            raise UnknownArchive("its number of entries is negative")
        entries = tuple(self._entry(kind) for _ in range(count))
        return ArchiveHeader(
            kind, self._version, database, server, client, entries, created, self._piped
        )

    def _entry(self, kind: str) -> TocEntry:
        dump_id = self._integer()
        self._integer()
        catalogue_oid, oid = _number(self._text()), _number(self._text())
        name, description = self._text() or "", self._text() or ""
        self._integer()
        definition, _drop, copy_statement = (self._text() or "" for _ in range(3))
        schema = self._text() or None
        self._text()
        if self._version >= (1, 14):
            self._text()
        if self._version >= (1, 16):
            self._integer()
        owner = self._text() or ""
        self._text()
        dependencies: list[int] = []
        while (dependency := self._text()) is not None:
            dependencies.append(_number(dependency))
        file = None
        if kind == "custom":
            self._piped = self._bytes(1 + self._offset_size)[0] == _PLACE_NOT_TOLD or self._piped
        else:
            file = self._text() or None
        return TocEntry(
            dump_id,
            catalogue_oid,
            oid,
            description,
            schema,
            name,
            owner,
            definition=definition,
            copy_statement=copy_statement,
            file=file,
            dependencies=tuple(dependencies),
        )

    def _bytes(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) != count:
            raise UnknownArchive("it ends within its table of contents")
        return data

    def _integer(self) -> int:
        sign, *_ = self._bytes(1)
        value = int.from_bytes(self._bytes(self._integer_size), "little")
        return -value if sign else value

    def _text(self) -> str | None:
        length = self._integer()
        if length < 0:
            return None
        if length > _LONGEST_TEXT:
            raise UnknownArchive("a text in its table of contents has an impossible length")
        return self._bytes(length).decode("utf-8", "surrogateescape")


def _number(text: str | None) -> int:
    """Return an identifier that an archive holds as text; none is 0."""
    digits = text or "0"
    # Python takes more for a number than pg_dump writes: signs, blanks, other scripts' digits.
    if not (digits.isascii() and digits.isdigit()):
        raise UnknownArchive("an identifier in its table of contents is no number")
    return int(digits)


def _clock(parts: list[int]) -> datetime | None:
    """Return the time that the seven numbers of C's ``struct tm`` mean; None for none."""
    second, minute, hour, day, month, year, _summer = parts
    try:
        return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))  # noqa: DTZ001
    except ValueError:
        return None
