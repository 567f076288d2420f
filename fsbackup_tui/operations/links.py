"""Which files the rows name: read with the dump's snapshot, put beside what was captured.

The rows are read where the dump reads; the trees are captured after that. What a row names and
the tree has not is *missing*; if it was there when the row was read, it *vanished* in between.
A link never fails a backup: what can't be read is said in its facts.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.protection import Link
from fsbackup_tui.config.sources import FilesSource, PostgresSource
from fsbackup_tui.domain.errors import NotDecryptable, PointDamaged
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.links import (
    MOST_HOPS,
    BadLink,
    LinkRule,
    led_to,
    names_of,
    rule_of,
    sha256_of,
    size_of,
)
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import LONGEST_LIST, LinkFacts, Names
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.index import IndexEntry, parse_entry
from fsbackup_tui.engines.link_book import Joined, LinkBook, NamedFile, TreeFile, tree_files
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.link_rows import LinkUnreadable, Values, link_rows
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.part_index import read_part_index
from fsbackup_tui.repository.layout import Repository

BOOK_NAME = "links"
_LONGEST = 4096


def link_rule(link: Link | LinkFacts) -> LinkRule:
    """Return how a link's rows name files; BadLink where its path is no template."""
    return rule_of(
        link.table,
        link.column,
        path=link.path,
        strip=link.strip,
        size=link.size,
        sha256=link.sha256,
        where=link.where,
    )


def source_of_link(loaded: LoadedConfig, link: Link) -> str:
    """Return the database that a link's rows are in; empty where it is not told which."""
    if link.source is not None:
        return link.source
    databases = loaded.config.databases
    with_rows = [name for name, source in databases.items() if source.scope != "schema"]
    return with_rows[0] if len(with_rows) == 1 else ""


def facts_of(loaded: LoadedConfig, link: Link) -> LinkFacts:
    """Return a link of the configuration as a manifest tells it, with nothing known yet."""
    return LinkFacts(
        table=link.table,
        column=link.column,
        source=source_of_link(loaded, link),
        files=link.files,
        rows=0,
        path=link.path,
        strip=link.strip,
        size=link.size,
        sha256=link.sha256,
        where=link.where,
    )


def named_file(rule: LinkRule, values: Values, root: bytes | None = None) -> NamedFile | None:
    """Return what a row says, None where it names nothing; below ``root`` it is looked for."""
    said, names = names_of(rule, values)
    if not said:
        return None
    there = root is not None and any(is_file(root, name) for name in names)
    size, sha256 = size_of(values.get(":size")), sha256_of(values.get(":sha256"))
    return NamedFile(said, names, size, sha256, there)


def is_file(root: bytes, name: bytes) -> bool:
    """Whether a file is there that a tree is captured with, or a symlink that leads to one."""
    led: bytes | None = name
    try:
        for hop in range(MOST_HOPS + 1):
            if led is None or (hop and not _is_straight(root, led)):
                return False
            path = root + b"/" + led
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                return stat.S_ISREG(mode)
            led = led_to(led, os.readlink(path))  # noqa: PTH115 (a path of bytes)
    except (OSError, ValueError):
        return False
    return False


def _is_straight(root: bytes, name: bytes) -> bool:
    """Whether no directory on the way to a name is a symlink: what lies behind is not captured."""
    above = root + b"/" + name.rpartition(b"/")[0]
    return os.path.realpath(above) == os.path.normpath(
        os.path.realpath(root) + b"/" + name.rpartition(b"/")[0]
    )


@dataclass
class _Wanted:
    """One link while a point is made."""

    number: int
    facts: LinkFacts
    rule: LinkRule | None
    root: bytes
    note: str = ""


class LinkCapture:
    """The links of one point while it is captured; ``read_rows``, the trees, then ``facts``."""

    def __init__(self, context: JobContext, sources: Sequence[str]) -> None:
        self._context = context
        self._wanted = list(_wanted(context.loaded, sources))
        self._book: LinkBook | None = None
        self._trees: set[str] = set()
        self._unread: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._wanted)

    @property
    def trees(self) -> frozenset[str]:
        """The files sources whose entries are wanted."""
        return frozenset(wanted.facts.files for wanted in self._wanted)

    def close(self) -> None:
        """Remove what was put aside."""
        if self._book is not None:
            self._book.close()
            self._book = None

    async def read_rows(self, source: str, connection: Connection, *, search_path: str) -> None:
        """Read the rows of a database's links, in the transaction at hand: the dump's snapshot.

        Whatever goes wrong is the link's note, never the backup's failure.
        """
        for wanted in self._wanted:
            if wanted.facts.source != source or wanted.rule is None:
                continue
            book = await asyncio.to_thread(self._open)
            await asyncio.to_thread(book.forget_link, wanted.number)
            wanted.note = ""
            try:
                rows = await read_link(
                    book, wanted.number, connection, wanted.rule, search_path, wanted.root
                )
            except LinkUnreadable as error:
                await asyncio.to_thread(book.forget_link, wanted.number)
                wanted.note = f"not read: {error.what}"
            else:
                text = f"{count_text(rows)} rows name files"
                self._context.report(Log(f"Link {wanted.facts.name}: {text}"))

    def _open(self) -> LinkBook:
        if self._book is None:
            self._book = LinkBook(self._context.work / BOOK_NAME)
        return self._book

    def add_tree(self, files: str, lines: Iterable[bytes]) -> None:
        """Take in the lines of the index of a tree that was captured; called in a thread."""
        if files in self.trees:
            self._open().add_tree(files, tree_files(parse_entry(line) for line in lines))
            self._trees.add(files)

    def add_files(self, files: str, found: Iterable[TreeFile]) -> None:
        """Take in the files of a tree whose list can't be read; called in a thread."""
        self._open().add_tree(files, found)
        self._trees.add(files)

    def forget_tree(self, files: str, why: str) -> None:
        """Leave a tree out of what was given, and let its links tell why."""
        self._trees.discard(files)
        self._unread[files] = why

    async def facts(
        self, repository: Repository, directory: Path, parts: Sequence[PartManifest]
    ) -> tuple[LinkFacts, ...]:
        """Return what the manifest tells of the links, and warn of what does not fit.

        ``directory`` is that of the point, ``parts`` those that are whole. The list of a tree that
        was not given (``add_tree``) is read there, unless this machine can't decrypt it.
        """
        captured = {part.source for part in parts}
        unread = [part for part in parts if part.source in self.trees - self._trees]
        keys = await reading_keys(self._context, repository) if unread else ReadingKeys()
        for part in unread:
            await self._read_tree(directory, part, keys)
        found: list[LinkFacts] = []
        for wanted in self._wanted:
            if not wanted.note and wanted.facts.files not in self._trees:
                files = wanted.facts.files
                why = self._unread.get(files, "was not captured")
                wanted.note = f"not joined: the list of {files} {why}"
            if wanted.note or self._book is None or wanted.facts.source not in captured:
                note = wanted.note or f"not read: {wanted.facts.source} was not captured"
                found.append(replace(wanted.facts, note=note))
            else:
                found.append(await asyncio.to_thread(self._joined, self._book, wanted))
        for facts in found:
            for text in capture_warnings(facts):
                self._context.report(Warned(text))
        return tuple(found)

    async def _read_tree(self, directory: Path, part: PartManifest, keys: ReadingKeys) -> None:
        book = await asyncio.to_thread(self._open)

        def take(entries: Iterable[IndexEntry]) -> None:
            book.add_tree(part.source, tree_files(entries))

        try:
            await read_part_index(directory, part, keys, take)
        except NotDecryptable as error:
            self._unread.setdefault(part.source, f"can't be read on this machine: {error.reason}")
        except PointDamaged as error:
            self._unread.setdefault(part.source, f"can't be read: {error.what.rstrip('.')}")
        else:
            self._trees.add(part.source)

    def _joined(self, book: LinkBook, wanted: _Wanted) -> LinkFacts:
        files = wanted.facts.files
        same = [other.number for other in self._wanted if other.facts.files == files]
        joined = book.join(wanted.number, files)
        return replace(
            joined_facts(wanted.facts, book, wanted.number, joined),
            unnamed=book.unnamed(same, files),
        )


def _wanted(loaded: LoadedConfig, sources: Sequence[str]) -> Iterable[_Wanted]:
    config = loaded.config
    for number, link in enumerate(config.links):
        tree = config.sources.get(link.files)
        facts = facts_of(loaded, link)
        database = config.sources.get(facts.source)
        if link.files not in sources or not isinstance(tree, FilesSource):
            continue
        if facts.source and facts.source not in sources:
            continue  # what this plan captures has no rows to be asked
        root = os.fsencode(tree.root)
        try:
            rule, note = link_rule(link), ""
        except BadLink as error:
            rule, note = None, f"not read: {error}"
        if not isinstance(database, PostgresSource) or database.scope == "schema":
            rule, note = None, "not read: it is not told which database has the rows"
        yield _Wanted(number, facts, rule, root, note)


async def read_link(
    book: LinkBook,
    number: int,
    connection: Connection,
    rule: LinkRule,
    search_path: str,
    root: bytes | None = None,
) -> int:
    """Put the rows of a link into the book, batch by batch; returns how many name a file.

    Raises:
        LinkUnreadable: they can't be read; what is in the book of them is not all.
    """
    rows = 0

    def take(batch: list[Values]) -> int:
        named = (named_file(rule, values, root) for values in batch)
        return book.add_rows(number, (each for each in named if each is not None))

    async with link_rows(connection, rule, search_path=search_path) as batches:
        async for batch in batches:
            rows += await asyncio.to_thread(take, batch)
    return rows


def joined_facts(facts: LinkFacts, book: LinkBook, number: int, joined: Joined) -> LinkFacts:
    """Return a link's facts as its rows and a tree fit; names are listed up to the limit."""
    files = facts.files
    outside = f"{joined.outside} lead out of its root" if joined.outside else ""
    return replace(
        facts,
        rows=joined.rows,
        missing=_names(joined.missing, book.missing(number, files, limit=LONGEST_LIST)),
        differing=_names(joined.differing, book.differing(number, files, limit=LONGEST_LIST)),
        vanished=_names(joined.vanished, book.vanished(number, files, limit=LONGEST_LIST)),
        sums=joined.sums,
        note=outside,
    )


def _names(count: int, names: Iterable[str]) -> Names:
    return Names(count, tuple(shown(name) for name in names)) if count else Names()


def shown(name: str) -> str:
    """Return a row's text for people: bytes that are not UTF-8 as ``\\\\xNN``.

    What is longer than a path can be is no path: a manifest need not carry a picture as text.
    """
    text = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def capture_warnings(facts: LinkFacts) -> list[str]:
    """Return what a person should hear of a link when a point was made; nothing where all fits."""
    if not facts.known:
        return [f"Link {facts.name} {facts.note}"]
    told = []
    if facts.missing.count:
        text = f"{count_text(facts.missing.count)} of {count_text(facts.rows)} rows have no file"
        if facts.vanished.count:
            text += (
                f"; of these {count_text(facts.vanished.count)} were there when the rows were read"
            )
        told.append(f"Link {facts.name}: {text}")
    if facts.differing.count:
        told.append(
            f"Link {facts.name}: {count_text(facts.differing.count)} files are of another size or "
            "hash than their rows say"
        )
    return told
