"""Which files live's rows name and live has not, and which of these a point has.

    async with open_live_links(context, "uploads") as live:      # None where no link names them
        live.learn(index)                                        # in a thread; its symlinks
        for entry in index:                                      # read once more
            if live.names(entry): …                              # a row misses it: to be put back
        live.fits()                                              # rows, missing, in it, nowhere

Live's tree and its database are only read; nothing is kept but what is missing, so that memory
stays the same however many rows there are.
"""

from __future__ import annotations

import asyncio
import csv
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.sources import FilesSource
from fsbackup_tui.domain.errors import FsbackupError, UsageError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.links import BadLink, LinkRule
from fsbackup_tui.domain.live_fit import LiveFit, MissingInLive
from fsbackup_tui.domain.point import PartManifest, new_tag
from fsbackup_tui.domain.site_parts import LONGEST_LIST, LinkFacts, Names
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.engines.link_book import LinkBook, NamedFile, TreeFile, tree_files
from fsbackup_tui.engines.postgres.connection import Connection, connect, plain_errors
from fsbackup_tui.engines.postgres.inspect_objects import read_settings
from fsbackup_tui.engines.postgres.link_rows import LinkUnreadable, Values, link_rows
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.links import facts_of, is_file, link_rule, named_file, shown
from fsbackup_tui.operations.live_server import reading_address
from fsbackup_tui.operations.part_index import read_part_index
from fsbackup_tui.repository.files import free_bytes
from fsbackup_tui.repository.reader import PointReader

_POINT, _WHOLE = "point", "whole"


@dataclass
class _Looked:
    """One link while it is looked at; ``rows`` None: they could not be read."""

    number: int
    facts: LinkFacts
    rule: LinkRule | None
    rows: int | None = None
    note: str = ""


class LiveLinks:
    """The rows of live whose file is not there; one thread at a time may use it."""

    def __init__(self, book: LinkBook, looked: list[_Looked], root: bytes) -> None:
        self._book = book
        self._looked = looked
        self._root = root
        self._learned = False

    def close(self) -> None:
        """Remove what was put aside."""
        self._book.close()

    @property
    def unread(self) -> tuple[str, ...]:
        """The links whose rows could not be read, and why: what they name is not known."""
        return tuple(f"{one.facts.name}: {one.note}" for one in self._looked if one.rows is None)

    def learn(self, entries: Iterable[IndexEntry]) -> None:
        """Take in where the point's symlinks lead; without it none of them counts as its file."""
        self._book.add_tree(_WHOLE, tree_files(entries))
        self._book.want_through(_WHOLE)
        self._learned = True

    def names(self, entry: IndexEntry) -> bool:
        """Whether an entry of the point is needed for what a row of live means and live has not.

        Of a symlink, that is its way to its file, too.
        """
        if entry.is_file:
            return self.named(entry.path, entry.size)
        is_known = self._learned and entry.kind == "symlink"
        return is_known and self._book.take_symlink(_POINT, _WHOLE, entry.path)

    def named(self, path: bytes, size: int | None = None) -> bool:
        """Whether a row of live means this file of the point, and live has not what it means."""
        file = TreeFile(path, size, None)
        if self._book.take_wanted(_POINT, file):
            return True
        return (
            self._learned
            and not is_file(self._root, path)
            and self._book.take_through(_POINT, file)
        )

    def named_bytes(self) -> int:
        """Return what the files take that ``named`` said yes to, as far as sizes were given."""
        return self._book.bytes_of(_POINT)

    def wants(self, path: bytes) -> bool:
        """Whether ``named`` said yes, or would."""
        return self._book.wants(path)

    def fits(self) -> tuple[LiveFit, ...]:
        """Return how each link fits, once every file of the point was asked about."""
        return tuple(self._fit(one) for one in self._looked)

    def _fit(self, one: _Looked) -> LiveFit:
        table, column = one.facts.table, one.facts.column
        if one.rows is None:
            return LiveFit(table, column, None, note=one.note)
        missing = self._book.join(one.number, "").missing
        nowhere = self._book.join(one.number, _POINT).missing
        names = self._book.missing(one.number, "", limit=LONGEST_LIST)
        lost = self._book.missing(one.number, _POINT, limit=LONGEST_LIST)
        found = self._book.found(one.number, _POINT, limit=LONGEST_LIST)
        return LiveFit(
            table,
            column,
            one.rows,
            Names(missing, tuple(map(shown, names))),
            Names(missing - nowhere, tuple(map(shown, found))),
            self._book.found_bytes(one.number, _POINT),
            Names(nowhere, tuple(map(shown, lost))),
        )

    def export_nowhere(self, path: Path) -> int:
        """Write the rows whose file is nowhere as CSV into a new file (0600); returns how many.

        Raises:
            OSError: it can't be written.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        rows = 0
        with os.fdopen(
            descriptor, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as f:
            writer = csv.writer(f)
            writer.writerow(("table", "column", "names"))
            for one in self._looked:
                if one.rows is None:
                    continue
                for said in self._book.missing(one.number, _POINT):
                    writer.writerow((one.facts.table, one.facts.column, said))
                    rows += 1
        return rows


@asynccontextmanager
async def open_live_links(
    context: JobContext, files: str, *, database: str = "", root: Path | None = None
) -> AsyncIterator[LiveLinks | None]:
    """Give what ``read_live_links`` reads for the block."""
    live = await read_live_links(context, files, database=database, root=root)
    try:
        yield live
    finally:
        if live is not None:
            await asyncio.to_thread(live.close)


async def read_live_links(
    context: JobContext, files: str, *, database: str = "", root: Path | None = None
) -> LiveLinks | None:
    """Read the rows that name files of a source, and look which of them live has not.

    ``database`` stands in for the live one, ``root`` for the source's own. None where no link of
    the configuration names these files. A database that can't be read is said (``unread``). The
    caller closes it.
    """
    source = context.loaded.config.sources.get(files)
    if not isinstance(source, FilesSource):
        raise UsageError(f"NO FILES: {files} is no source of files.")
    links = [link for link in context.loaded.config.links if link.files == files]
    if not links:
        return None
    looked = [_looked(number, facts_of(context.loaded, link)) for number, link in enumerate(links)]
    book = await asyncio.to_thread(LinkBook, context.work / f"live-links-{new_tag()}")
    tree = os.fsencode(root or source.root)
    try:
        for name in dict.fromkeys(one.facts.source for one in looked):
            of_it = [one for one in looked if one.facts.source == name]
            await _read(context, book, name, database, of_it, tree)
        await asyncio.to_thread(book.want_all_named)
    except BaseException:
        book.close()
        raise
    return LiveLinks(book, looked, tree)


def _looked(number: int, facts: LinkFacts) -> _Looked:
    try:
        return _Looked(number, facts, link_rule(facts))
    except BadLink as error:
        return _Looked(number, facts, None, note=str(error))


async def _read(
    context: JobContext,
    book: LinkBook,
    source: str,
    database: str,
    looked: list[_Looked],
    root: bytes,
) -> None:
    try:
        address = await reading_address(context, source, database)
        with plain_errors(address):
            live = await connect(address, application_name=context.application_name)
            async with live:
                path = database_search_path(await read_settings(live), address.user or "")
                for one in looked:
                    await _read_link(context, book, live, one, path, root)
    except FsbackupError as error:
        for one in looked:
            if one.rows is None and not one.note:
                one.note = error.what


async def _read_link(
    context: JobContext,
    book: LinkBook,
    live: Connection,
    one: _Looked,
    search_path: str,
    root: bytes,
) -> None:
    rule = one.rule
    if rule is None:
        return
    rows = 0

    def take(batch: list[Values]) -> int:
        named = [named_file(rule, values, root) for values in batch]
        found = [each for each in named if each is not None]
        book.add_rows(one.number, _missing(found))
        return len(found)

    try:
        async with link_rows(live, rule, search_path=search_path) as batches:
            async for batch in batches:
                rows += await asyncio.to_thread(take, batch)
    except LinkUnreadable as error:
        await asyncio.to_thread(book.forget_link, one.number)
        one.note = f"not read: {error.what}"
        return
    one.rows = rows
    context.report(Log(f"Link {one.facts.name}: {count_text(rows)} rows of live name files"))


def may_have_symlinks(part: PartManifest) -> bool:
    """Whether a part has symlinks, as far as its manifest tells: then they are learned first."""
    return part.files is None or part.files.links > 0


def _missing(files: Iterable[NamedFile]) -> Iterator[NamedFile]:
    return (file for file in files if not file.there)


async def missing_in_live(
    context: JobContext, files: str, reader: PointReader, *, database: str = ""
) -> MissingInLive | None:
    """Return what is missing in live and named by a row, and what of it a point has.

    None where no link names these files.

    Raises:
        KeyUnavailable, PointDamaged: the point's list of files can't be read.
    """
    source = context.loaded.config.sources.get(files)
    async with open_live_links(context, files, database=database) as live:
        if live is None or not isinstance(source, FilesSource):
            return None

        def ask(entries: Iterable[IndexEntry]) -> None:
            for entry in entries:
                live.names(entry)

        keys, part = await reading_keys(context, reader), reader.part(files)
        if may_have_symlinks(part):
            await read_part_index(reader.directory, part, keys, live.learn)
        await read_part_index(reader.directory, part, keys, ask)
        fits = await asyncio.to_thread(live.fits)
        needed = await asyncio.to_thread(live.named_bytes)
        return MissingInLive(files, reader.id, fits, needed, free_bytes(source.root))
