"""Renaming without overwriting, and exchanging, where the system and its file system can."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable

_NOREPLACE = 1
_EXCHANGE = 2
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY})


class CannotExchange(Exception):
    """The system, or this file system, knows no exchange of two names."""


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return renameat2(2) of the C library (glibc 2.28, musl 1.2.5); None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    ]
    function.restype = ctypes.c_int
    return function


def _call(from_fd: int, name: bytes, to_fd: int, to_name: bytes, flags: int) -> bool:
    """Rename with flags; False where that is not known here. OSError for all else."""
    function = _renameat2()
    if function is None:
        return False
    if function(from_fd, name, to_fd, to_name, flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), os.fsdecode(to_name))


def rename_new(from_fd: int, name: bytes, to_fd: int, to_name: bytes) -> None:
    """Rename into a name that nobody has; FileExistsError, and nothing changed, else.

    Both names are below directories that are given by their descriptors. Where the system can't
    refuse to overwrite, a file gets its new name by link(2), which can't either; a directory, and
    a file where there are no links, after a look.
    """
    if _call(from_fd, name, to_fd, to_name, _NOREPLACE):
        return
    try:
        os.link(name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        if _exists(to_fd, to_name):
            raise FileExistsError(errno.EEXIST, "exists", os.fsdecode(to_name)) from None
        os.rename(name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    else:
        os.unlink(name, dir_fd=from_fd)


def exchange(from_fd: int, name: bytes, to_fd: int, to_name: bytes) -> None:
    """Let two names exchange what they name, in one step; CannotExchange where there is none."""
    if not _call(from_fd, name, to_fd, to_name, _EXCHANGE):
        raise CannotExchange


def can_exchange(directory: int) -> bool:
    """Whether two names in a directory can be exchanged; tried on two of our own.

    OSError where nothing can be made there.
    """
    from fsbackup_tui.domain.point import new_tag

    one, two = (f".fsbackup-{new_tag()}-{number}".encode() for number in (1, 2))
    made = []
    try:
        for name in (one, two):
            os.mkdir(name, 0o700, dir_fd=directory)
            made.append(name)
        exchange(directory, one, directory, two)
    except CannotExchange:
        return False
    finally:
        for name in made:
            os.rmdir(name, dir_fd=directory)
    return True


def sync_file_system(descriptor: int) -> None:
    """Make all that was written to the file system of a descriptor durable; one call for many."""
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        os.sync()
        return
    if function(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _exists(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
