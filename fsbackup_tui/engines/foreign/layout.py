"""Laying a foreign dump out under the names and in the forms that the stock tools are given.

psql's feeder goes by the ending of a name, ``pg_restore -j`` reads no tar and nothing reads a
packed archive: for a trial a link with the right name mostly does, for the repository a copy.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from fsbackup_tui.domain.errors import PointDamaged, UsageError
from fsbackup_tui.domain.point import DumpFormat
from fsbackup_tui.engines.compression import (
    BLOCK,
    SUFFIXES,
    ByteStream,
    CompressedDataDamaged,
    open_content,
)
from fsbackup_tui.engines.foreign.model import ForeignFile, Form
from fsbackup_tui.engines.postgres.toc import UnknownArchive, read_archive_header

Advance = Callable[[int], None]
_FORMATS: dict[Form, DumpFormat] = {
    "plain": "plain",
    "custom": "custom",
    "directory": "directory",
    "tar": "directory",
}


def stored_format(file: ForeignFile) -> DumpFormat:
    """Return the format in which a dump is laid out; UsageError for what is no dump."""
    if file.form not in _FORMATS:
        raise UsageError(
            f"NOT A DATABASE: {file.path.name} can't be restored into one.",
            why=f"It is {file.what}.",
        )
    return _FORMATS[file.form]


def stored_name(file: ForeignFile) -> str:
    """Return the name of the file or directory in which it is laid out."""
    suffix = SUFFIXES.get(file.compression or "", "")
    if file.form == "plain":
        return f"database.sql{suffix}"
    if file.form == "custom":
        return "database.dump"
    return "database" if file.is_database else f"files.tar{suffix}"


def lay_out(
    file: ForeignFile, directory: Path, *, link: bool, advance: Advance | None = None
) -> Path:
    """Make a file's content available in ``directory`` (private) and return where.

    With ``link``, what can be read where it lies is linked; else every byte is copied. A packed
    custom archive is unpacked, a tar archive of pg_dump taken apart into a directory archive:
    the members of both are alike. The foreign file itself is only read. ``advance`` is told
    the bytes as they are copied.

    Raises:
        PointDamaged: it can't be read to its end, or it changed meanwhile.
    """
    target = directory / stored_name(file)
    before = _stamp(file.lies_at)
    try:
        if file.form == "tar":
            _take_apart(file, target, advance)
        elif file.form == "custom" and file.compression is not None:
            with open_content(file.lies_at, file.compression) as stream:
                _write(target, stream, advance)
        elif link:
            target.symlink_to(file.lies_at.absolute())
        elif file.form == "directory":
            _copy_directory(file.lies_at, target, advance)
        else:
            with file.lies_at.open("rb") as stream:
                _write(target, stream, advance)
    except (CompressedDataDamaged, UnknownArchive, tarfile.TarError) as error:
        raise _not_read(file, str(error)) from error
    if _stamp(file.lies_at) != before:
        raise _not_read(file, "it was written to while it was read")
    return target


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _write(target: Path, stream: ByteStream, advance: Advance | None) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        while block := stream.read(BLOCK):
            out.write(block)
            if advance is not None:
                advance(len(block))


def _copy_directory(source: Path, target: Path, advance: Advance | None) -> None:
    target.mkdir(mode=0o700)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            with path.open("rb") as stream:
                _write(target / path.name, stream, advance)


def _take_apart(file: ForeignFile, target: Path, advance: Advance | None) -> None:
    target.mkdir(mode=0o700)
    with (
        open_content(file.lies_at, file.compression) as stream,
        tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar,
    ):
        for member in tar:
            name = Path(member.name).name
            content = tar.extractfile(member) if member.isfile() else None
            # restore.sql is pg_dump's script for people without pg_restore.
            if content is not None and name == member.name and name != "restore.sql":
                _write(target / name, cast("ByteStream", content), advance)
    _name_large_objects(target)


def _name_large_objects(directory: Path) -> None:
    """Call the lists of large objects as the entries do: pg_dump's tar calls them otherwise."""
    for entry in read_archive_header(directory).entries:
        if entry.kind != "BLOBS" or not entry.file or (directory / entry.file).exists():
            continue
        for name in (f"blobs_{entry.dump_id}.toc", "blobs.toc"):
            if (directory / name).exists():
                (directory / name).rename(directory / entry.file)
                break


def _not_read(file: ForeignFile, why: str) -> PointDamaged:
    return PointDamaged(
        f"NOT READABLE: {file.path} can't be read to its end.",
        why=why,
        fix="Take another one of that script's backups: fsbackup adopt lists them",
    )
