"""A directory that is reached by its descriptor; no link in it leads anywhere."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Kind = Literal["file", "directory", "link", "other"]
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_OPEN = 64
_READ_BYTES = 1 << 20


class LinkInTheWay(Exception):
    """A component of a path is a symbolic link, or no directory: what lies behind is not ours."""

    def __init__(self, path: bytes) -> None:
        super().__init__(shown(path))
        self.path = path


def shown(path: bytes) -> str:
    """Return a name as people read it: what is not UTF-8 as ``\\xNN``, on one line."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree, as lstat(2) tells of it; ``path`` is below the root."""

    path: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    names: int
    blocks: int = 0


def entry_of(path: bytes, facts: os.stat_result) -> Entry:
    """Return what a stat tells; the size of anything but a file is 0."""
    kind = kind_of(facts.st_mode)
    return Entry(
        path,
        kind,
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        facts.st_gid,
        facts.st_size if kind == "file" else 0,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        facts.st_ino,
        facts.st_nlink,
        getattr(facts, "st_blocks", 0),
    )


def kind_of(mode: int) -> Kind:
    """Return what an st_mode says an entry is."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


class OpenTree:
    """The directory at ``path``, which is no link itself; closed with the ``with`` block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, _OPEN)
        facts = os.fstat(self.descriptor)
        self.inode, self.device = facts.st_ino, facts.st_dev
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget()
        os.close(self.descriptor)

    def forget(self) -> None:
        """Close the directories that are kept open, as after one of them was renamed."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def directory(self, path: bytes) -> int:
        """Return the descriptor of a directory below; it is closed by the tree, soon.

        Raises:
            FileNotFoundError: there is none. LinkInTheWay: a component is a link, or a file.
        """
        if not path:
            return self.descriptor
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        above = path
        while above and above not in self._open:
            above = above.rpartition(b"/")[0]
        descriptor = self._open[above] if above else self.descriptor
        for name in path[len(above) :].removeprefix(b"/").split(b"/"):
            above = above + b"/" + name if above else name
            descriptor = self._step(descriptor, name, above)
        return descriptor

    def _step(self, parent: int, name: bytes, path: bytes) -> int:
        if name in (b"", b".", b".."):
            raise LinkInTheWay(path)
        try:
            descriptor = os.open(name, _OPEN, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise LinkInTheWay(path) from error
            raise
        self._open[path] = descriptor
        while len(self._open) > _KEPT_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def place(self, path: bytes) -> tuple[int, bytes]:
        """Return the descriptor of a path's parent, and its name there; raises as directory()."""
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            raise LinkInTheWay(path)
        return self.directory(parent), name

    def entry(self, path: bytes) -> Entry | None:
        """Return what is at a path; None: nothing. LinkInTheWay."""
        try:
            parent, name = self.place(path)
            return entry_of(path, os.stat(name, dir_fd=parent, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def open_file(self, path: bytes) -> int:
        """Open a regular file for reading; FileNotFoundError, LinkInTheWay where it is none."""
        parent, name = self.place(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=parent)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LinkInTheWay(path) from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise LinkInTheWay(path)
        return descriptor

    def sha256(self, path: bytes) -> str:
        """Return the SHA-256 of a file's content, in hexadecimal."""
        with os.fdopen(self.open_file(path), "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def target(self, path: bytes) -> bytes:
        """Return where a symbolic link leads."""
        parent, name = self.place(path)
        return os.readlink(name, dir_fd=parent)

    def walk(self, below: bytes = b"") -> Iterator[Entry]:
        """Yield every entry below, a directory before what is in it, names in the order of bytes.

        What vanishes, and what is in a directory that can't be read, is left out.
        """
        waiting = [iter(self._seen(below))]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
                continue
            yield entry
            if entry.kind == "directory":
                waiting.append(iter(self._seen(entry.path)))

    def _seen(self, parent: bytes) -> list[Entry]:
        with suppress(FileNotFoundError, LinkInTheWay, PermissionError):
            return self._entries(parent)
        return []

    def _entries(self, parent: bytes) -> list[Entry]:
        prefix = parent + b"/" if parent else b""
        found = []
        with os.scandir(self.directory(parent)) as entries:
            for each in entries:
                with suppress(FileNotFoundError):
                    path = prefix + os.fsencode(each.name)
                    found.append(entry_of(path, each.stat(follow_symlinks=False)))
        found.sort(key=lambda entry: entry.path)
        return found

    def remove(self, path: bytes) -> None:
        """Remove a directory and all below it, links as links; what vanishes is no error."""
        waiting = [path]
        while waiting:
            inside = self._unlink_files(waiting[-1])
            if inside:
                waiting.extend(inside)
                continue
            gone = waiting.pop()
            parent, name = self.place(gone)
            descriptor = self._open.pop(gone, None)
            if descriptor is not None:
                os.close(descriptor)
            with suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=parent)

    def _unlink_files(self, path: bytes) -> list[bytes]:
        """Unlink what is no directory in one, and return the directories in it."""
        self._open_up(path)
        inside = []
        with suppress(FileNotFoundError):
            for entry in self._entries(path):
                if entry.kind == "directory":
                    inside.append(entry.path)
                    continue
                parent, name = self.place(entry.path)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=parent)
        return inside

    def _open_up(self, path: bytes) -> None:
        """Let ourselves into a directory of ours that was captured with less rights."""
        with suppress(FileNotFoundError):
            parent, name = self.place(path)
            descriptor = os.open(name, _LOOK, dir_fd=parent)
            try:
                mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
                if mode & stat.S_IRWXU != stat.S_IRWXU:
                    # Through /proc: what is only looked at has no fchmod(2).
                    Path(f"/proc/self/fd/{descriptor}").chmod(mode | stat.S_IRWXU)
            finally:
                os.close(descriptor)
