"""Copying files from one tree into another: content, mode, owner, times; never through a link."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Literal

from fsbackup_tui.domain.point import new_tag
from fsbackup_tui.engines.trees.opened import Entry, OpenTree

_BLOCK = 1 << 24
Carry = Literal["carried", "unsettled", "gone"]
"""``unsettled``: it changed while it was copied, twice; the copy is as it was last read."""


def carry(source: OpenTree, target: OpenTree, path: bytes) -> Carry:
    """Copy one entry, and the directories it needs, over whatever the target has there.

    Raises:
        LinkInTheWay: a component is a link, in either. OSError: it can't be copied.
        IsADirectoryError, NotADirectoryError: the target has something else there.
    """
    entry = source.entry(path)
    if entry is None or entry.kind == "other":
        return "gone"
    make_parents(source, target, path)
    parent, name = target.place(path)
    if entry.kind == "directory":
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
            dress(source, target, path)
        return "carried"
    there = target.entry(path)
    if there is not None and there.kind == "directory":
        raise IsADirectoryError(path)
    temporary = f".fsbackup-{new_tag()}".encode()
    try:
        settled = _copy(source, entry, parent, temporary)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except FileNotFoundError:
        if source.entry(path) is None:
            return "gone"
        raise
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
    return "carried" if settled else "unsettled"


def to_carry(entries: Iterable[tuple[Entry, bool]]) -> Iterator[Entry]:
    """Yield those that are asked for, directories only where there is nothing in them.

    ``entries`` are a whole sorted tree, each with whether it is asked for; sockets and devices
    are nothing.
    """
    empty: Entry | None = None
    for entry, is_asked in entries:
        if entry.kind == "other":
            continue
        if empty is not None and not entry.path.startswith(empty.path + b"/"):
            yield empty
        empty = entry if is_asked and entry.kind == "directory" else None
        if is_asked and entry.kind != "directory":
            yield entry
    if empty is not None:
        yield empty


def make_parents(source: OpenTree, target: OpenTree, path: bytes) -> None:
    """Make the directories that a path needs in the target, dressed as the source's."""
    above = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
    for directory in above:
        if target.entry(directory) is not None:
            continue
        parent, name = target.place(directory)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
            dress(source, target, directory)


def _copy(source: OpenTree, entry: Entry, parent: int, name: bytes) -> bool:
    """Copy a file or a link under a new name; whether the file stood still meanwhile."""
    if entry.kind == "link":
        os.symlink(source.target(entry.path), name, dir_fd=parent)
        with suppress(PermissionError):
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        times = (entry.modified_ns, entry.modified_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        return True
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    written = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        read = source.open_file(entry.path)
        try:
            settled = any(_copied_whole(read, written) for _attempt in range(2))
            dress_open(read, written)
        finally:
            os.close(read)
    finally:
        os.close(written)
    return settled


def _copied_whole(read: int, written: int) -> bool:
    before = os.fstat(read)
    os.lseek(read, 0, os.SEEK_SET)
    os.lseek(written, 0, os.SEEK_SET)
    os.ftruncate(written, 0)
    while _copy_some(read, written):
        pass
    after = os.fstat(read)
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _copy_some(read: int, written: int) -> int:
    try:
        return os.copy_file_range(read, written, _BLOCK)
    except (AttributeError, OSError):
        # Not on this system, or not between these two file systems.
        block = os.read(read, _BLOCK)
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(written, rest) :]
        return len(block)


def dress(source: OpenTree, target: OpenTree, path: bytes) -> None:
    """Give a directory of the target the owner, mode, attributes and times of the source's."""
    dress_open(source.directory(path), target.directory(path))


def dress_open(like: int, descriptor: int) -> None:
    """Give what is open the owner, mode, attributes and times of another."""
    facts = os.fstat(like)
    with suppress(PermissionError):
        os.fchown(descriptor, facts.st_uid, facts.st_gid)
    with suppress(AttributeError, OSError):
        for name in os.listxattr(like):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(like, name))
    os.fchmod(descriptor, facts.st_mode & 0o7777)
    os.utime(descriptor, ns=(facts.st_atime_ns, facts.st_mtime_ns))
