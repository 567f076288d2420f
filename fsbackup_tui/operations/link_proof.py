"""Whether a restored copy's rows fit the stored files exactly as they did at capture.

Rows without a file that were recorded so at capture speak against nobody's backup: they are told.
What counts against a point is a row whose file was in it and is not, or is another now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.links import BadLink, LinkRule
from fsbackup_tui.domain.point import Manifest, PostgresFacts
from fsbackup_tui.domain.proof import Blocker, LinkProof, Outcome, Proof
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.engines.link_book import Joined, LinkBook, tree_files
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.link_rows import LinkUnreadable
from fsbackup_tui.engines.postgres.search_path import database_search_path
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.filling import Filling
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.links import joined_facts, link_rule, read_link
from fsbackup_tui.operations.part_index import read_part_index
from fsbackup_tui.repository.reader import PointReader

_NAMED = 3
_BOOK = "links-of-a-copy"


def links_of_rows(manifest: Manifest | None, source: str) -> tuple[LinkFacts, ...]:
    """Return the links whose rows are in that database, as they were captured."""
    links = () if manifest is None else manifest.links
    return tuple(link for link in links if link.source == source)


async def check_links(
    context: JobContext,
    filling: Filling,
    reader: PointReader,
    facts: PostgresFacts,
    links: Sequence[LinkFacts],
) -> tuple[LinkProof, ...]:
    """Put the copy's rows beside the point's files; every link gets its verdict.

    Raises:
        LinkUnreadable: the session was lost.
    """
    if not links:
        return ()
    search_path = database_search_path(facts.settings, facts.identity.role)
    keys = await reading_keys(context, reader)
    check = _Check(context.loaded, reader, keys, search_path, {})
    path = context.work / _BOOK
    book = await asyncio.to_thread(LinkBook, path)
    try:
        async with await filling.connect() as copy:
            return tuple(
                [await _check(check, book, copy, number, link) for number, link in enumerate(links)]
            )
    finally:
        await asyncio.to_thread(book.close)


@dataclass(frozen=True, slots=True)
class _Check:
    """What every link of a point is checked with; ``trees`` are those read, with what failed."""

    loaded: LoadedConfig
    reader: PointReader
    keys: ReadingKeys
    search_path: str
    trees: dict[str, str]


async def _check(
    check: _Check, book: LinkBook, copy: Connection, number: int, link: LinkFacts
) -> LinkProof:
    proof = LinkProof(link.table, link.column, link.files, "unknown")
    if not link.known:
        return replace(proof, note=f"at capture it was {link.note or 'not read'}")
    if reason := _not_ours(check.loaded, link):
        return replace(proof, verdict="blocked", note=reason)
    if reason := await _read_tree(check, book, link.files):
        return replace(proof, verdict="blocked", note=reason)
    try:
        rule: LinkRule = link_rule(link)
        await read_link(book, number, copy, rule, check.search_path)
    except BadLink as error:
        return replace(proof, verdict="blocked", note=str(error))
    except LinkUnreadable as error:
        if error.lost:
            raise
        return replace(proof, verdict="different", note=f"its rows can't be read: {error.what}")
    joined = await asyncio.to_thread(_joined, book, number, link)
    found = await asyncio.to_thread(joined_facts, link, book, number, joined)
    return judge_link(link, found)


def _joined(book: LinkBook, number: int, link: LinkFacts) -> Joined:
    """Return how the rows fit, as it was captured: once no symlink counted as its file."""
    joined = book.join(number, link.files)
    if joined.sums != link.sums:
        alone = book.join(number, link.files, symlinks=False)
        return alone if alone.sums == link.sums else joined
    return joined


def _not_ours(loaded: LoadedConfig, link: LinkFacts) -> str:
    """Return why the link's rows are not read: its SQL stands in the manifest alone."""
    known = {each.where for each in loaded.config.links}
    if link.where is None or link.where in known:
        return ""
    return "its condition (where) is not in the configuration any more; it is run from there alone"


async def _read_tree(check: _Check, book: LinkBook, files: str) -> str:
    """Put the entries of a part into the book, once; returns why that can't be done."""
    if files not in check.trees:
        check.trees[files] = await _taken(check.reader, check.keys, book, files)
    return check.trees[files]


async def _taken(reader: PointReader, keys: ReadingKeys, book: LinkBook, files: str) -> str:
    def take(entries: Iterable[IndexEntry]) -> None:
        book.add_tree(files, tree_files(entries))

    try:
        await read_part_index(reader.directory, reader.part(files), keys, take)
    except FsbackupError as error:
        return " ".join(filter(None, (error.what, error.why)))
    return ""


def judge_link(captured: LinkFacts, found: LinkFacts) -> LinkProof:
    """Return how a copy's rows and the stored files compare with what was recorded."""
    rows, missing, differing = found.rows, found.missing.count, found.differing.count
    proof = LinkProof(
        captured.table, captured.column, captured.files, "equal", rows, missing, differing
    )
    if found.sums == captured.sums:
        return replace(proof, note=fit_text(found))
    told = []
    if rows != captured.rows:
        told.append(f"{count_text(rows)} rows name files, {count_text(captured.rows)} at capture")
    for count, at_capture, names, what in (
        (missing, captured.missing, found.missing.names, "have no file"),
        (differing, captured.differing, found.differing.names, "have another file than they say"),
    ):
        if count != at_capture.count:
            new = [name for name in names if name not in at_capture.names][:_NAMED]
            like = f", like {', '.join(new)}" if new else ""
            before = f"{count_text(at_capture.count)} at capture"
            told.append(f"{count_text(count)} rows {what}, {before}{like}")
    text = "; ".join(told) or "other rows than at capture have their files"
    return replace(proof, verdict="different", note=text)


def fit_text(facts: LinkFacts) -> str:
    """Return in words how the rows of a link fit the files."""
    text = f"{count_text(facts.rows)} rows, "
    if not facts.missing.count and not facts.differing.count:
        return text + "every one has its file"
    told = []
    if facts.missing.count:
        told.append(f"{count_text(facts.missing.count)} without a file")
    if facts.differing.count:
        told.append(f"{count_text(facts.differing.count)} with another file than they say")
    return text + " and ".join(told)


@dataclass(frozen=True, slots=True)
class LinksOutcome:
    """What the rows say of one files part: whether it can be proven, and why not."""

    outcome: Outcome
    problems: tuple[str, ...] = ()
    blocked: tuple[Blocker, ...] = ()
    notes: tuple[str, ...] = ()


def links_outcome(
    manifest: Manifest | None, proofs: Mapping[str, Proof], files: str
) -> LinksOutcome:
    """Return what the trial restores of the databases showed of the links of a files part.

    A link whose rows could not be read at capture says nothing, and is told. Where the database
    was not restored, or its rows could not be put beside the files, the part is *blocked*.
    """
    links = [link for link in (() if manifest is None else manifest.links) if link.files == files]
    problems, blocked, notes = [], [], []
    for link in links:
        name = f"{link.table}.{link.column}"
        if not link.known:
            notes.append(f"link {name}: {link.note}")
            continue
        found = _found(manifest, proofs.get(link.source), link)
        if found is None:
            what = f"link {name}: its rows are known from a restored copy of {link.source} alone"
            blocked.append(Blocker(what, "Verify a point whose database can be restored here"))
        elif found.failed:
            problems.append(f"link {name}: {found.note}")
        elif found.verdict == "blocked":
            blocked.append(Blocker(f"link {name}: {found.note}"))
        elif found.note:
            notes.append(f"link {name}: {found.note}")
    outcome: Outcome = "failed" if problems else "blocked" if blocked else "ok"
    return LinksOutcome(outcome, tuple(problems), tuple(blocked), tuple(notes))


def _found(manifest: Manifest | None, proof: Proof | None, link: LinkFacts) -> LinkProof | None:
    """Return the verdict on a link: a proof holds them in the manifest's order."""
    found = () if proof is None else proof.links
    for captured, verdict in zip(links_of_rows(manifest, link.source), found, strict=False):
        if captured is link:
            return verdict
    return None
