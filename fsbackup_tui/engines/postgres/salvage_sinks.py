"""Where rows that are salvaged go: into a file, or into a table of another database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from psycopg import sql

from fsbackup_tui.domain.errors import DiskFull
from fsbackup_tui.engines.postgres.connection import Connection

Write = Callable[[bytes], Awaitable[None]]


class Sink(Protocol):
    """Takes the rows that are read, as COPY writes them in its text form."""

    def taking(self, columns: Sequence[str]) -> AbstractAsyncContextManager[Write]:
        """Give what takes bytes inside the block; all of it is taken back when the block fails."""
        ...

    async def let_be_null(self, columns: Sequence[str]) -> None:
        """Make sure that rows whose columns could not be read are taken without them."""
        ...


class FileSink:
    """A new file (0600), for ``COPY table (columns) FROM``."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    @asynccontextmanager
    async def taking(self, columns: Sequence[str]) -> AsyncIterator[Write]:
        """See Sink."""
        start = self._file.tell()

        async def write(data: bytes) -> None:
            try:
                self._file.write(data)
            except OSError as error:
                raise DiskFull(
                    f"NOT WRITTEN: {self._path}.",
                    why=f"{error.strerror}.",
                    fix="Free space there, then preserve again.",
                ) from error

        try:
            yield write
        except BaseException:
            self._file.seek(start)
            self._file.truncate()
            raise

    async def let_be_null(self, columns: Sequence[str]) -> None:
        """See Sink; a file takes anything."""


class TableSink:
    """A table of the same name and columns in another database."""

    def __init__(self, target: Connection, table: tuple[str, str]) -> None:
        self._target = target
        self._table = sql.Identifier(*table)
        self.nullable: list[str] = []

    @asynccontextmanager
    async def taking(self, columns: Sequence[str]) -> AsyncIterator[Write]:
        """See Sink."""
        listed = (
            sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
            if columns
            else sql.SQL("")
        )
        statement = sql.SQL("COPY {} {} FROM STDIN").format(self._table, listed)
        async with self._target.transaction(), self._target.cursor().copy(statement) as copy:
            yield copy.write

    async def let_be_null(self, columns: Sequence[str]) -> None:
        """See Sink: NOT NULL is given up for these columns, and remembered."""
        for name in columns:
            if name not in self.nullable:
                await self._target.execute(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                        self._table, sql.Identifier(name)
                    )
                )
                self.nullable.append(name)
