"""Reading archives: their table of contents as text and as values, and every byte of them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.point import DumpFormat
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.compression import CompressedDataDamaged, open_plain
from fsbackup_tui.engines.own_program import own_program
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.plain import read_plain_to_the_end
from fsbackup_tui.engines.postgres.toc import (
    DATA_KINDS,
    TocEntry,
    UnknownArchive,
    read_archive_header,
)
from fsbackup_tui.engines.process import Command, ToolFailed, run, run_pipeline

_LINE = re.compile(r"(?P<dump>\d+); (?P<catalogue>\d+) (?P<oid>\d+) (?P<rest>.*)")
_MEMBER_SUFFIXES = ("", ".gz", ".zst", ".lz4")
_CHECKED_BY_THE_TOOL = frozenset({".gz", ".lz4"})
_END_OF_ROWS = b"\\.\n\n\n"
# The kinds of several words, and those of one word that begin another; any other kind is
# taken to be the first word of the line (pg_dump's `.description =` texts, 9.6 to 18).
KINDS_OF_SEVERAL_WORDS = (
    "ACCESS METHOD",
    "BLOB COMMENTS",
    "BLOB METADATA",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "LARGE OBJECT",
    "MATERIALIZED VIEW DATA",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PUBLICATION TABLES IN SCHEMA",
    "PUBLICATION TABLE",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
)


def parse_toc(text: str, known: Sequence[TocEntry] = ()) -> list[TocEntry]:
    """Return the entries of a ``pg_restore -l`` listing, in its order.

    ``known`` are the entries as read from the archive itself; where one has the same dump id it
    is taken, with the line as its ``raw``. Without it, names with spaces are split by the
    schemas and owners that the listing's own unambiguous lines show, else at the first and the
    last space.
    """
    exact = {entry.dump_id: entry for entry in known}
    rows = [
        (line, match)
        for line in text.splitlines()
        if not line.startswith(";") and (match := _LINE.match(line))
    ]
    schemas, owners = _unambiguous_names(match["rest"] for _line, match in rows)
    entries = []
    for line, match in rows:
        dump_id = int(match["dump"])
        if dump_id in exact:
            entries.append(dataclasses.replace(exact[dump_id], raw=line))
            continue
        kind, rest = _split_kind(match["rest"])
        schema, name, owner = _split_names(rest, schemas, owners)
        entries.append(
            TocEntry(
                dump_id,
                int(match["catalogue"]),
                int(match["oid"]),
                kind,
                schema,
                name,
                owner,
                raw=line,
            )
        )
    return entries


def toc_header_facts(text: str) -> dict[str, str]:
    """Return the facts in the comment lines above a listing, e.g. ``dbname``, ``Compression``."""
    facts = {}
    for line in text.splitlines():
        if not line.startswith(";"):
            break
        key, colon, value = line.lstrip("; \t").partition(":")
        if colon:
            facts[key.strip()] = value.strip()
    return facts


def _split_kind(text: str) -> tuple[str, str]:
    for kind in KINDS_OF_SEVERAL_WORDS:
        if text.startswith(f"{kind} "):
            return kind, text[len(kind) + 1 :]
    kind, _space, rest = text.partition(" ")
    return kind, rest


def _unambiguous_names(rests: Iterable[str]) -> tuple[set[str], set[str]]:
    schemas, owners = set(), set()
    for text in rests:
        kind, rest = _split_kind(text)
        words = rest.split(" ")
        if len(words) == 3:
            schemas.add(words[0])
            owners.add(words[2])
            if kind == "SCHEMA":
                schemas.add(words[1])
        elif kind == "SCHEMA" and words[0] == "-" and len(words) > 3:
            schemas.add(" ".join(words[1:-1]))
    return schemas, owners


def _split_names(rest: str, schemas: set[str], owners: set[str]) -> tuple[str | None, str, str]:
    fits = [name for name in schemas if rest.startswith(f"{name} ")]
    schema = max(fits, key=len) if fits else rest.partition(" ")[0]
    behind = rest[len(schema) + 1 :]
    ends = [name for name in owners if name and behind.endswith(f" {name}")]
    if ends:
        owner = max(ends, key=len)
        name = behind[: -len(owner) - 1]
    else:
        name, _space, owner = behind.rpartition(" ")
    return (None if schema == "-" else schema), name, owner


async def list_archive(client: ClientTools, path: Path) -> tuple[str, list[TocEntry]]:
    """Return the archive's listing as the stock tool prints it, and its entries.

    Raises PointDamaged when either the tool or fsbackup's own reader finds the table of
    contents damaged, or when they disagree.
    """
    command = Command((client.tool("pg_restore"), "--list", str(path)), env=client.env)
    lines: list[str] = []
    try:
        await run(command, on_stdout_line=lines.append)
    except ToolFailed as error:
        raise _damaged(path, _last_line(error)) from error
    text = "\n".join(line.rstrip("\n") for line in lines) + "\n"
    try:
        header = await asyncio.to_thread(read_archive_header, path)
    except UnknownArchive as error:
        if client.major <= 18:
            raise _damaged(path, str(error)) from error
        return text, parse_toc(text)
    entries = parse_toc(text, header.entries)
    exact = {entry.dump_id for entry in header.entries}
    if any(entry.dump_id not in exact for entry in entries):
        raise _damaged(path, "its table of contents reads differently each time")
    return text, entries


async def read_through(
    client: ClientTools,
    path: Path,
    format: DumpFormat,  # noqa: A002 - the field's name in the manifest
    *,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> None:
    """Read every byte of a dump, decompressed and parsed; raises PointDamaged if it can't be.

    Archives go through ``pg_restore --file=/dev/null``. That alone is not enough for the
    directory format: pg_restore 17 ends with 0 on a truncated ``.dat.zst`` and on a truncated
    uncompressed member (tried), so each of those is also read to its end here.
    """
    if format == "plain":
        await asyncio.to_thread(read_plain_to_the_end, path)
        return
    _text, entries = await list_archive(client, path)
    if format == "directory":
        await asyncio.to_thread(_check_members, path, entries)
    command = Command(
        (client.tool("pg_restore"), "--verbose", "--file=/dev/null", str(path)), env=client.env
    )
    follow = None if report is None else _reading_progress(path, entries, report)
    try:
        await run(command, report=report, redactor=redactor, on_stderr_line=follow)
    except ToolFailed as error:
        raise _damaged(path, _last_line(error)) from error


async def archive_rows(
    client: ClientTools, path: Path, entries: Sequence[TocEntry], work: Path
) -> dict[int, int]:
    """Count the rows that an archive holds for these TABLE DATA entries, by dump id.

    The rows are read as text through the stock tool, at some 300 MB/s; for tables whose rows
    were not counted at capture. ``work`` takes a small temporary file.
    """
    wanted = [entry for entry in entries if entry.kind == "TABLE DATA"]
    if not wanted:
        return {}
    list_file = work / "count-rows.list"
    lines = "".join(f"{entry.raw}\n" for entry in wanted)
    list_file.write_text(lines, encoding="utf-8", errors="surrogateescape")
    unpack = (
        client.tool("pg_restore"),
        "--data-only",
        f"--use-list={list_file}",
        "--file=-",
        str(path),
    )
    printed: list[str] = []
    try:
        with own_program("fsbackup_tui.engines.postgres.plain", work=work) as (count, variables):
            await run_pipeline(
                (Command(unpack, env=client.env), Command(count, env=variables)),
                on_stdout_line=printed.append,
            )
    except ToolFailed as error:
        raise _damaged(path, _last_line(error)) from error
    finally:
        list_file.unlink(missing_ok=True)
    counted: dict[tuple[str, str], int] = {}
    for line in printed:
        _kind, schema, name, rows = json.loads(line)
        counted[schema or "", name] = rows
    return {
        entry.dump_id: counted[key]
        for entry in wanted
        if (key := (_one_line(entry.schema), _one_line(entry.name))) in counted
    }


def _one_line(name: str | None) -> str:
    return re.sub(r"[\r\n]", " ", name or "")


def _reading_progress(
    path: Path, entries: Sequence[TocEntry], report: Report
) -> Callable[[str], None]:
    total = sum(1 for entry in entries if entry.kind in DATA_KINDS)
    pattern = re.compile(r"processing data for table \"(?P<table>.*)\"")
    done = 0

    def follow(line: str) -> None:
        nonlocal done
        match = pattern.search(line)
        if match is not None:
            done += 1
            report(
                Progress(
                    float(min(done, total)), float(total), "tables", f"reading {match['table']}"
                )
            )

    return follow


def member_path(directory: Path, name: str) -> Path | None:
    """Return the file of a directory archive that an entry names, whatever its compression."""
    for suffix in _MEMBER_SUFFIXES:
        candidate = directory / f"{name}{suffix}"
        if candidate.is_file():
            return candidate
    return None


def _check_members(directory: Path, entries: Sequence[TocEntry]) -> None:
    for entry in entries:
        if entry.file is None:
            continue
        member = member_path(directory, entry.file)
        if member is None:
            raise _damaged(directory / entry.file, f"the file is missing ({entry.label})")
        if entry.kind in {"BLOBS", "BLOB"}:
            for name in _large_object_files(member):
                blob = member_path(directory, name)
                if blob is None:
                    raise _damaged(directory / name, f"the file is missing ({entry.label})")
                # pg_dump writes an empty large object as an empty file, not as an empty frame.
                if blob.suffix not in _CHECKED_BY_THE_TOOL and blob.stat().st_size:
                    _read_member(blob)
        elif member.suffix not in _CHECKED_BY_THE_TOOL:
            tail = _read_member(member)
            if entry.copy_statement.startswith("COPY") and not tail.endswith(_END_OF_ROWS):
                raise _damaged(member, f"it ends before the end of its rows ({entry.label})")


def _large_object_files(list_file: Path) -> Iterator[str]:
    for line in list_file.read_text(encoding="utf-8").splitlines():
        _oid, _space, name = line.partition(" ")
        if name:
            yield name


def _read_member(member: Path) -> bytes:
    """Read a member to its end and return its last bytes."""
    tail = b""
    try:
        with open_plain(member) as stream:
            while block := stream.read(1 << 20):
                tail = (tail + block[-len(_END_OF_ROWS) :])[-len(_END_OF_ROWS) :]
    except (CompressedDataDamaged, OSError) as error:
        raise _damaged(member, str(error)) from error
    return tail


def _last_line(error: ToolFailed) -> str:
    lines = [line for line in error.completed.stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line]
    return (telling or lines or [f"it ended with {error.completed.exit_status}"])[-1].strip()


def _damaged(path: Path, why: str) -> PointDamaged:
    return PointDamaged(
        f"DUMP NOT READABLE: {path.name} can't be read to its end.",
        why=why,
        fix="Use another point, or a replica's copy of this one; back up again soon.",
    )
