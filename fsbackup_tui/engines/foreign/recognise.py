"""Recognising a backup file by what is in it, whatever its name says; little of it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from fsbackup_tui.domain.point import Scope
from fsbackup_tui.engines.compression import (
    CompressedDataDamaged,
    compression_in,
    decompress_head,
    open_content,
)
from fsbackup_tui.engines.foreign.model import Completeness, ForeignFile, Form
from fsbackup_tui.engines.foreign.moments import moment_taken, packed_moment
from fsbackup_tui.engines.foreign.openpgp import ARMOUR, recipient_kind
from fsbackup_tui.engines.foreign.texts import (
    CLUSTER_TRAILER,
    TextFacts,
    TextKind,
    error_in_tail,
    text_facts,
)
from fsbackup_tui.engines.postgres.plain import ends_as_whole
from fsbackup_tui.engines.postgres.toc import (
    ArchiveHeader,
    TocEntry,
    UnknownArchive,
    read_archive_header,
    read_header,
)

TOC_NAME = "toc.dat"
TAIL_BYTES = 64 * 1024
_HEAD_BYTES = 64 * 1024
_TAR_BLOCK = 512
_MEMBER_SUFFIXES = ("", ".gz", ".zst", ".lz4")
_DEFINITIONS = frozenset(
    {
        "TABLE",
        "FOREIGN TABLE",
        "VIEW",
        "MATERIALIZED VIEW",
        "FUNCTION",
        "TYPE",
        "DOMAIN",
        "SEQUENCE",
    }
)
_ROWS = frozenset({"TABLE DATA", "BLOBS", "BLOB"})
_OTHER_MAGIC = (
    (b"PK\x03\x04", "a ZIP file"),
    (b"7z\xbc\xaf'\x1c", "a 7-Zip file"),
    (b"\x04\x22\x4d\x18", "packed with lz4, which can't be read here"),
    (b"SQLite format 3\0", "a database of SQLite"),
    (b"%PDF-", "a PDF"),
    (b"\x7fELF", "a program"),
)
TORN_SQL = "it is cut off: the line with which pg_dump ends every whole dump is missing"
UNKNOWN_END = "pg_dump did not write it, so nothing tells whether it is whole"
NO_TABLE = "it holds no table: the database was empty, or it was the wrong one"
SCHEMA_ALONE = "it holds no rows: the schema alone"
DATA_ALONE = "it holds rows alone: their tables must come from another backup"
_SUPABASE_HINT = " (supabase db dump leaves the rows out unless told --data-only)"


@dataclass(frozen=True, slots=True)
class Subject:
    """The file that is looked at, and the beginning of its content."""

    path: Path
    facts: os.stat_result
    zone: tzinfo
    head: bytes = b""
    compression: str | None = None

    def file(
        self,
        form: Form,
        what: str,
        completeness: Completeness = "not known",
        *problems: str,
        said: datetime | None = None,
    ) -> ForeignFile:
        """Return the value that describes the file so far."""
        modified = datetime.fromtimestamp(self.facts.st_mtime, UTC)
        taken, taken_by = moment_taken(
            said=said,
            name=self.path.name,
            packed=packed_moment(self.head),
            modified=modified,
            zone=self.zone,
        )
        return ForeignFile(
            path=self.path,
            form=form,
            what=f"{what}, {self.compression}" if self.compression else what,
            bytes=self.facts.st_size,
            modified=modified,
            taken=taken,
            taken_by=taken_by,
            compression=self.compression,
            completeness=completeness,
            problems=tuple(problems),
        )


def glance(path: Path, zone: tzinfo) -> ForeignFile:
    """Return what the beginning and the end of a file tell; times without a zone are in ``zone``.

    What only reading all of it could tell (is a compressed dump whole?) stays ``not known``.
    Raises OSError where it can't be read.
    """
    facts = path.stat()
    if stat.S_ISDIR(facts.st_mode):
        return _directory(path, facts, zone)
    subject = Subject(path, facts, zone)
    if not stat.S_ISREG(facts.st_mode):
        return subject.file("other", "no regular file", "not known", "it is no regular file")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return subject.file("empty", "an empty file", "empty", "it is empty: 0 bytes")
    compression = compression_in(head)
    subject = replace(subject, head=head, compression=compression)
    if compression is None:
        return _by_content(subject, head)
    try:
        content, ended = decompress_head(head, compression, _HEAD_BYTES)
        if not content and not ended and facts.st_size > len(head):
            # bzip2 gives nothing before the end of its first block.
            with open_content(path, compression) as stream:
                content = stream.read(_HEAD_BYTES)
    except CompressedDataDamaged as error:
        problem = f"its {compression} data is damaged: {error}"
        return subject.file("other", "unreadable", "damaged", problem)
    if content:
        return _by_content(subject, content)
    if ended:
        problem = f"there is nothing in it ({facts.st_size} bytes of packing): the dump had failed"
        return subject.file("empty", "nothing", "empty", problem)
    problem = f"it is cut off before anything in it can be unpacked ({compression})"
    return subject.file("other", "unreadable", "cut off", problem)


def _by_content(subject: Subject, content: bytes) -> ForeignFile:
    if content.startswith(b"PGDMP"):
        return _archive(subject, "custom", 0)
    if content[257:262] == b"ustar":
        if content.startswith(b"toc.dat\0"):
            return _archive(subject, "tar", _TAR_BLOCK)
        return subject.file("files", "a tar of files")
    encrypted = _encryption(content)
    if encrypted:
        return subject.file("encrypted", encrypted)
    what = next((what for magic, what in _OTHER_MAGIC if content.startswith(magic)), None)
    if what is None and compression_in(content):
        what = f"packed twice (in it: {compression_in(content)})"
    if what is None and not content.strip(b"\0"):
        what = "nothing but zero bytes"
    if what is not None:
        return subject.file("other", what, "not known", f"it is no backup: {what}")
    return _text(subject, content)


def _encryption(content: bytes) -> str:
    if content.startswith(b"age-encryption.org/v1"):
        return "encrypted (age)"
    if content.startswith(b"Salted__"):
        return "encrypted (openssl)"
    if content.startswith(ARMOUR):
        return "encrypted (gpg)"
    locked = recipient_kind(content)
    return "" if locked is None else f"encrypted (gpg, with a {locked})"


def _text(subject: Subject, content: bytes) -> ForeignFile:
    facts = text_facts(content)
    if facts.kind == "other" or (facts.kind == "sql" and facts.what):
        return subject.file("other", facts.what, "not known", f"it is no backup: {facts.what}")
    file = with_text_facts(subject.file(*text_name(facts), said=facts.started), facts)
    if subject.compression is not None:
        return file
    with subject.path.open("rb") as stream:
        stream.seek(max(0, subject.facts.st_size - TAIL_BYTES))
        tail = stream.read()
    return judge_end(file, facts.kind, complete=ends_as_whole(tail), tail=tail)


def text_name(facts: TextFacts) -> tuple[Form, str]:
    """Return the form of a text, and its name in words."""
    by = f" of pg_dump {short_version(facts.client_version)}" if facts.client_version else ""
    if facts.kind == "cluster":
        return "cluster", f"all databases of a server (pg_dumpall{by.replace(' of pg_dump', '')})"
    if facts.kind == "supabase":
        return "plain", f"plain SQL of supabase db dump{by.replace(' of pg_dump', ', pg_dump')}"
    return "plain", f"plain SQL{by}"


def short_version(text: str) -> str:
    """Return a version without what a distribution adds: ``16.4 (Debian …)`` is ``16.4``."""
    return text.split(" ", 1)[0]


def with_text_facts(file: ForeignFile, facts: TextFacts) -> ForeignFile:
    """Return the file with what the first lines of its text tell."""
    return replace(
        file,
        server_version=short_version(facts.server_version),
        client_version=short_version(facts.client_version),
        encoding=facts.encoding,
    )


def judge_end(file: ForeignFile, kind: TextKind, *, complete: bool, tail: bytes) -> ForeignFile:
    """Return the file with what the end of its text tells; ``complete``: it ends as a dump does."""
    error = error_in_tail(tail)
    if error is not None:
        problem = f"it ends with an error of the tool that wrote it: {error}"
        return replace(file, completeness="cut off", problems=(*file.problems, problem))
    if kind == "cluster":
        # The dumps of its databases have trailers too: only its own says that all are there.
        complete = complete and CLUSTER_TRAILER in tail
    if complete:
        return replace(file, completeness="whole")
    if kind == "sql":
        return replace(file, problems=(*file.problems, UNKNOWN_END))
    return replace(file, completeness="cut off", problems=(*file.problems, TORN_SQL))


def scope_of(
    entries: Sequence[TocEntry], statements: Sequence[str] | frozenset[str] = ()
) -> Scope | None:
    """Return whether a dump holds definitions, rows or both; None for neither."""
    kinds = {entry.kind for entry in entries}
    definitions = bool(kinds & _DEFINITIONS) or "CREATE TABLE" in statements
    rows = bool(kinds & _ROWS) or "COPY" in statements or "INSERT" in statements
    if definitions and rows:
        return "full"
    return "schema" if definitions else "data" if rows else None


def with_scope(file: ForeignFile, scope: Scope | None) -> ForeignFile:
    """Return the file with its scope, and what there is to say of it."""
    if scope is None:
        return replace(file, problems=(*file.problems, NO_TABLE))
    note = {"schema": SCHEMA_ALONE, "data": DATA_ALONE}.get(scope)
    if note is None:
        return replace(file, scope=scope)
    if scope == "schema" and "supabase" in file.what:
        note += _SUPABASE_HINT
    return replace(file, scope=scope, notes=(*file.notes, note))


def _archive(subject: Subject, form: Form, offset: int) -> ForeignFile:
    name = f"a {form} archive of pg_dump"
    try:
        with open_content(subject.path, subject.compression) as stream:
            if offset:
                stream.read(offset)
            header = read_header(stream)
    except (UnknownArchive, CompressedDataDamaged) as error:
        problem = f"its table of contents can't be read: {error}"
        return subject.file(form, name, "damaged", problem)
    if form == "custom" and header.format != "custom":
        what = f"the table of contents of a directory archive: name {subject.path.parent}"
        return subject.file("other", what, "not known", f"it is {what}")
    return _described(subject, form, name, header)


def _described(subject: Subject, form: Form, name: str, header: ArchiveHeader) -> ForeignFile:
    client = short_version(header.client_version)
    file = subject.file(form, f"{name} {client}", said=header.created)
    return with_scope(
        replace(
            file,
            database=header.database or None,
            server_version=short_version(header.server_version),
            client_version=client,
        ),
        scope_of(header.entries),
    )


def _directory(path: Path, facts: os.stat_result, zone: tzinfo) -> ForeignFile:
    toc = path / TOC_NAME
    if not toc.is_file():
        what = f"a directory without {TOC_NAME}"
        return Subject(path, facts, zone).file("other", what, "not known", f"it is {what}")
    with os.scandir(path) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    subject = Subject(path, toc.stat(), zone)
    name = "a directory archive of pg_dump"
    try:
        header = read_archive_header(path)
    except UnknownArchive as error:
        problem = f"its table of contents can't be read: {error}"
        return replace(
            subject.file("directory", name, "damaged", problem), bytes=sum(sizes.values())
        )
    file = _described(subject, "directory", name, header)
    missing = [
        entry.label
        for entry in header.entries
        if entry.file and not any(f"{entry.file}{suffix}" in sizes for suffix in _MEMBER_SUFFIXES)
    ]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        problem = f"a file of it is missing: {missing[0]}{more}"
        file = replace(file, completeness="cut off", problems=(*file.problems, problem))
    return replace(file, bytes=sum(sizes.values()))
