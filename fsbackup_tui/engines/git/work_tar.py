"""Files of a work tree as a tar, and back: links stay links, nothing leads out of the target."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fsbackup_tui.domain.errors import PointDamaged, ToolError
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.files.extract import MemberCheck, UnsafeArchive
from fsbackup_tui.engines.files.tar_headers import TarDamaged as NotATar
from fsbackup_tui.engines.files.tar_stream import TarStream

_BLOCK = 1 << 20
_MODES = 0o777
_GIT = {".git", "git~1"}


class Sink(Protocol):
    """What a tar is written into."""

    def write(self, data: bytes, /) -> object:
        """Take all of the data."""
        ...


@dataclass
class Taken:
    """What became of the files that were to be captured; names are for people."""

    files: int = 0
    skipped: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def write_tar(sink: Sink, top: Path, names: Iterable[bytes], taken: Taken) -> None:
    """Write files and trees below ``top`` as a tar; runs in a thread.

    Raises:
        ToolError: something there may not be read.
    """
    with _open_tar(sink) as tar:
        for name in names:
            for path in _below(top / name.decode("utf-8", "surrogateescape")):
                _add(tar, top, path, taken)


def write_lfs(sink: Sink, objects: Iterable[tuple[Path, str, str]], damaged: list[str]) -> None:
    """Write LFS objects (place, name in the tar, SHA-256) as a tar; runs in a thread.

    ``damaged`` gets the ids of those whose content is another than their id says.
    """
    with _open_tar(sink) as tar:
        for path, member, oid in objects:
            info = tarfile.TarInfo(member)
            info.mode = 0o644
            with path.open("rb") as file:
                info.size = os.fstat(file.fileno()).st_size
                exact = _Exactly(file.read, info.size)
                tar.addfile(info, exact)
            if exact.digest.hexdigest() != oid:
                damaged.append(oid)


def _open_tar(sink: Sink) -> tarfile.TarFile:
    """Open a stream of blocks: nothing of it is held, nothing is sought.

    The comment makes its hash, which the manifest tells, one that nobody can guess content by.
    """
    stream: Any = _Outgoing(sink)
    return tarfile.open(
        fileobj=stream,
        mode="w|",
        format=tarfile.PAX_FORMAT,
        pax_headers={"comment": secrets.token_hex(32)},
    )


class _Outgoing:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        return len(data)

    def close(self) -> None:
        pass


def _below(path: Path) -> Iterator[Path]:
    """Yield a file or link, or a directory with all below it, in an order."""
    yield path
    if path.is_symlink() or not path.is_dir():
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise _not_read(path, error) from error
    for entry in entries:
        yield from _below(entry)


def _add(tar: tarfile.TarFile, top: Path, path: Path, taken: Taken) -> None:
    shown = os.fsencode(path.relative_to(top)).decode("utf-8", "backslashreplace")
    try:
        info = tar.gettarinfo(path, arcname=str(path.relative_to(top)))
    except FileNotFoundError:
        taken.vanished.append(shown)
        return
    except OSError as error:
        raise _not_read(path, error) from error
    if info is None or not (info.isfile() or info.isdir() or info.issym() or info.islnk()):
        taken.skipped.append(shown)
        return
    if not info.isreg():
        tar.addfile(info)
    else:
        try:
            _add_file(tar, path, info, shown, taken)
        except FileNotFoundError:
            taken.vanished.append(shown)
            return
        except OSError as error:
            raise _not_read(path, error) from error
    taken.files += not info.isdir()


def _add_file(
    tar: tarfile.TarFile, path: Path, info: tarfile.TarInfo, shown: str, taken: Taken
) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            taken.skipped.append(shown)
            return
        info.size, info.mtime = facts.st_size, facts.st_mtime
        exact = _Exactly(file.read, info.size)
        tar.addfile(info, exact)
        after = os.fstat(descriptor)
        if exact.short or (after.st_size, after.st_mtime_ns) != (facts.st_size, facts.st_mtime_ns):
            taken.changed.append(shown)


class _Exactly:
    """A file of exactly so many bytes: one that shrinks meanwhile is filled up with zeros."""

    def __init__(self, read: Callable[[int], bytes], size: int) -> None:
        self._read = read
        self._left = size
        self.short = False
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._read(wanted)
        if len(data) < wanted:
            self.short = True
            data = data.ljust(wanted, b"\0")
        self._left -= len(data)
        self.digest.update(data)
        return data


def _not_read(path: Path, error: OSError) -> ToolError:
    return ToolError(
        f"NOT CAPTURED: {path} can't be read.",
        why=f"The system says: {error.strerror}.",
        fix="Run the backup as a user who may read it, or let git ignore it.",
    )


class TarDamaged(ValueError):
    """A tar is cut off, or has something in it that no work tree has."""


def list_tar(stream: ByteStream) -> int:
    """Return how many members a tar has, all of it read and every header checked.

    Raises:
        TarDamaged: it is cut off or altered, or has a member that is unsafe to extract.
    """
    reader = TarStream(stream)
    check = MemberCheck(ordered=False)
    try:
        while (member := reader.next()) is not None:
            check.check(member)
            reader.digest()
    except NotATar as error:
        raise TarDamaged(str(error)) from error
    except UnsafeArchive as error:
        raise TarDamaged(f"{error.what} {error.why}") from error
    return reader.members


def extract_tar(stream: ByteStream, target: Path, *, inside_git: bool = False) -> list[str]:
    """Write a tar's members below ``target``, a directory of our own; returns their names.

    Refused is what no tar of ours has: absolute names and ``..``, devices, anything below a
    link, and (unless ``inside_git``) anything of the repository's own directory.

    Raises:
        PointDamaged: such a member, or a tar that is cut off.
        OSError: it can't be written.
    """
    names: list[str] = []
    directories: list[tuple[Path, tarfile.TarInfo]] = []
    try:
        for info, file in _members(stream):
            path = _place(target, info.name, inside_git=inside_git)
            if info.isdir():
                path.mkdir(mode=0o700, exist_ok=True)
                directories.append((path, info))
            else:
                _write_member(target, path, info, file, inside_git=inside_git)
                names.append(info.name)
    except TarDamaged as error:
        raise PointDamaged(
            "NOT RESTORED: an archive of work-tree files is damaged.", why=f"{error}."
        ) from error
    for path, info in reversed(directories):
        path.chmod(info.mode & _MODES | 0o700)
        _set_time(path, info)
    return names


def _members(stream: ByteStream) -> Iterator[tuple[tarfile.TarInfo, ByteStream | None]]:
    """Yield each member with its content, which is read to its end before the next."""
    whole: Any = _Incoming(stream)
    try:
        with tarfile.open(fileobj=whole, mode="r|", bufsize=_BLOCK) as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                yield info, content
                while content is not None and content.read(_BLOCK):
                    pass
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, TarDamaged):
            raise
        raise TarDamaged(f"it can't be read to its end ({error})") from error
    while stream.read(_BLOCK):
        pass


class _Incoming:
    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size and (block := self._stream.read(size - len(pieces))):
            pieces += block
        return bytes(pieces)


def _place(target: Path, name: str, *, inside_git: bool) -> Path:
    parts = name.rstrip("/").split("/")
    if {"", ".", ".."} & set(parts) or "\0" in name:
        raise TarDamaged(f"{name!r} leads out of the work tree")
    if not inside_git and parts[0].lower() in _GIT:
        raise TarDamaged(f"{name!r} would be part of the repository itself")
    current = target
    for part in parts[:-1]:
        current /= part
        if current.is_symlink():
            raise TarDamaged(f"{name!r} lies below a link")
        current.mkdir(mode=0o700, exist_ok=True)
    path = current / parts[-1]
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        # Tracked files are written again: they are captured with what was built.
        path.unlink()
    return path


def _write_member(
    target: Path,
    path: Path,
    info: tarfile.TarInfo,
    content: ByteStream | None,
    *,
    inside_git: bool,
) -> None:
    if info.issym():
        path.symlink_to(info.linkname)
    elif info.islnk():
        first = _linked(target, info, inside_git=inside_git)
        path.hardlink_to(first)
    elif content is not None:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            while block := content.read(_BLOCK):
                file.write(block)
            os.fchmod(descriptor, info.mode & _MODES)
        _set_time(path, info)
    else:
        raise TarDamaged(f"{info.name!r} is no file, directory or link")


def _linked(target: Path, info: tarfile.TarInfo, *, inside_git: bool) -> Path:
    parts = info.linkname.split("/")
    if {"", ".", ".."} & set(parts) or (not inside_git and parts[0].lower() in _GIT):
        raise TarDamaged(f"{info.name!r} is a link that leads out of the work tree")
    current = target
    for part in parts:
        current /= part
        if current.is_symlink():
            raise TarDamaged(f"{info.name!r} is linked over a link")
    if not current.is_file():
        raise TarDamaged(f"{info.name!r} is linked to what is not there")
    return current


def _set_time(path: Path, info: tarfile.TarInfo) -> None:
    with suppress(OSError, OverflowError, ValueError):
        os.utime(path, (info.mtime, info.mtime), follow_symlinks=False)
