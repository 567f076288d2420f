"""Reading a backup file to its end, as far as that needs no program of PostgreSQL's."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import IO, cast

from fsbackup_tui.engines.compression import (
    BLOCK,
    ByteStream,
    CompressedDataDamaged,
    open_content,
)
from fsbackup_tui.engines.foreign.model import Completeness, Examination, ForeignFile
from fsbackup_tui.engines.foreign.openpgp import ends_whole
from fsbackup_tui.engines.foreign.recognise import (
    TAIL_BYTES,
    UNKNOWN_END,
    glance,
    judge_end,
    scope_of,
    with_scope,
)
from fsbackup_tui.engines.foreign.texts import TextKind, text_facts
from fsbackup_tui.engines.postgres.plain import scan_stream
from fsbackup_tui.engines.postgres.toc import (
    TocEntry,
    UnknownArchive,
    read_archive_header,
    read_header,
)

Advance = Callable[[int], None]
_TAR_BLOCK = 512
_END_OF_TAR = bytes(2 * _TAR_BLOCK)
_ENDED_EARLY = "ended before"


class _Tail:
    """A stream that remembers its first and last bytes, and tells how many went through."""

    def __init__(self, stream: ByteStream, on_bytes: Advance | None) -> None:
        self._stream = stream
        self._on_bytes = on_bytes
        self.head = b""
        self.tail = b""
        self.total = 0

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(size)
        if len(self.head) < TAIL_BYTES:
            self.head += block[: TAIL_BYTES - len(self.head)]
        self.tail = (self.tail + block)[-TAIL_BYTES:]
        self.total += len(block)
        if self._on_bytes is not None and block:
            self._on_bytes(self.total)
        return block


def examine(path: Path, zone: tzinfo, *, on_bytes: Advance | None = None) -> Examination:
    """Read a file to its end and return what it holds and whether it is whole.

    ``on_bytes`` is told the bytes of content read so far. Of pg_dump's archives it reads the
    table of contents and unpacks what is around them; their content takes pg_restore. Raises
    OSError where the file can't be read.
    """
    file = glance(path, zone)
    if file.completeness in ("damaged", "empty"):
        return Examination(file)
    try:
        match file.form:
            case "plain" | "cluster":
                return _text(file, on_bytes)
            case "files":
                return Examination(_files(file, on_bytes))
            case "custom" | "tar":
                return _archive(file, on_bytes)
            case "directory":
                return Examination(file, read_archive_header(path).entries)
            case "encrypted":
                return Examination(_encrypted(file))
            case _:
                return Examination(file)
    except CompressedDataDamaged as error:
        return Examination(_damaged(file, error))
    except UnknownArchive as error:
        problem = f"its table of contents can't be read: {error}"
        return Examination(_with(file, "damaged", problem))


def _with(file: ForeignFile, completeness: Completeness, problem: str) -> ForeignFile:
    problems = tuple(dict.fromkeys((*file.problems, problem)))
    return replace(file, completeness=completeness, problems=problems)


def _damaged(file: ForeignFile, error: Exception) -> ForeignFile:
    if _ENDED_EARLY in str(error):
        return _with(file, "cut off", f"it is cut off: its {file.compression} data has no end")
    return _with(file, "damaged", f"its {file.compression} data is damaged: {error}")


def _text(file: ForeignFile, on_bytes: Advance | None) -> Examination:
    with open_content(file.path, file.compression) as stream:
        reader = _Tail(stream, on_bytes)
        scan = scan_stream(reader)
    kind: TextKind = text_facts(reader.head).kind
    # What the glance said of the end is said again, from all of the text.
    judged = judge_end(
        replace(file, completeness="not known", problems=()),
        kind,
        complete=scan.complete,
        tail=reader.tail,
    )
    if judged.completeness == "not known" and UNKNOWN_END not in judged.problems:
        judged = replace(judged, completeness="whole")
    if kind == "cluster":
        note = "fsbackup restores dumps of one database, not pg_dumpall's"
        if not scan.entries:
            note = "there is no database in it: roles and settings alone"
        judged = replace(judged, notes=(*judged.notes, note))
    else:
        if scan.commands:
            note = f"fsbackup won't restore it: it has psql carry out {scan.commands[0]!r}"
            judged = replace(judged, notes=(*judged.notes, note))
        judged = with_scope(judged, scope_of(scan.entries, frozenset(scan.statements)))
    loaded = sum(scan.rows.values()) + scan.statements["INSERT"]
    # Rows are counted by the entry that they stand below: without headers nothing is known.
    counted = bool(scan.entries) and judged.completeness == "whole"
    if judged.scope in ("full", "data") and counted and not loaded:
        judged = replace(judged, notes=(*judged.notes, "there is not one row in any of its tables"))
    return Examination(judged, tuple(scan.entries), dict(scan.rows), tuple(scan.commands))


def _archive(file: ForeignFile, on_bytes: Advance | None) -> Examination:
    with open_content(file.path, file.compression) as stream:
        if file.form == "tar":
            stream.read(_TAR_BLOCK)
        entries: tuple[TocEntry, ...] = read_header(stream).entries
    if file.form == "tar":
        return Examination(_read_tar(file, on_bytes, _Names()), entries)
    if file.compression is not None:
        with open_content(file.path, file.compression) as stream:
            reader = _Tail(stream, on_bytes)
            while reader.read(BLOCK):
                pass
    return Examination(file, entries)


class _Names:
    """What the names in a tar have in common; the names themselves are not kept."""

    def __init__(self) -> None:
        self.count = 0
        self.leads_out = False
        self._top = ""
        self._all_in_top = True
        self._common: list[str] | None = None

    def add(self, member: tarfile.TarInfo, *, first: bool) -> None:
        name = member.name.removeprefix("./")
        if member.isdir():
            if first:
                self._top = name.strip("/")
            return
        self.count += 1
        parts = name.split("/")
        self.leads_out = self.leads_out or name.startswith("/") or ".." in parts
        self._all_in_top = self._all_in_top and name.startswith(f"{self._top}/")
        parents = parts[:-1]
        if self._common is None:
            self._common = parents
        while self._common and parents[: len(self._common)] != self._common:
            self._common = self._common[:-1]

    @property
    def prefix(self) -> str:
        """The directory the tar was made of, as far as its names tell; empty for none."""
        if self._top and self._all_in_top:
            return self._top
        return "/".join(self._common or ())


def _files(file: ForeignFile, on_bytes: Advance | None) -> ForeignFile:
    names = _Names()
    read = _read_tar(file, on_bytes, names)
    notes = list(read.notes)
    if names.prefix:
        notes.append(f"all names in it begin with {names.prefix}/")
    if names.leads_out:
        notes.append("some names in it lead out of the directory it is unpacked in")
    if not names.count and read.completeness == "whole":
        read = _with(read, "whole", "there is no file in it")
    return replace(read, files=names.count, prefix=names.prefix, notes=tuple(notes))


def _read_tar(file: ForeignFile, on_bytes: Advance | None, names: _Names) -> ForeignFile:
    with open_content(file.path, file.compression) as stream:
        reader = _Tail(stream, on_bytes)
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as tar:
                for index, member in enumerate(tar):
                    names.add(member, first=index == 0)
                    # Or every header of a large tar stays in memory.
                    tar.members.clear()  # type: ignore[attr-defined]
        except tarfile.TarError as error:
            return _with(file, "cut off", f"the tar is cut off or damaged: {error}")
        while reader.read(BLOCK):
            pass
        if not reader.tail.endswith(_END_OF_TAR):
            return _with(file, "cut off", "the tar is cut off: it has no end mark")
    return replace(file, completeness="whole")


def _encrypted(file: ForeignFile) -> ForeignFile:
    note = "what is in it can't be seen without its key"
    file = replace(file, notes=(*file.notes, note))
    if file.compression is None and "gpg" in file.what and not ends_whole(file.path):
        return _with(file, "cut off", "it is cut off: its last packet is not all there")
    return file
