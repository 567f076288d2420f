"""What children print: split into lines as it comes, kept within bounds, stored in new files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    RepositoryMissing,
    RepositoryUnwritable,
)

KEPT_HEAD_BYTES = 64 * 1024
KEPT_TAIL_BYTES = 64 * 1024
LONGEST_LINE_BYTES = 64 * 1024


class LineSplitter:
    r"""Cuts a stream of bytes into lines at ``\n``, ``\r\n`` and a bare ``\r``.

    A line longer than 64 KiB is given in pieces, so that no child can fill the memory.
    Bytes that are not UTF-8 become replacement characters.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._after_carriage_return = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes, without their ends."""
        if self._after_carriage_return and data.startswith(b"\n"):
            data = data[1:]
        if data:
            self._after_carriage_return = data.endswith(b"\r")
        *whole, last = _cut(self._rest + data)
        *begun, self._rest = _pieces(last)
        pieces = [piece for line in whole for piece in _pieces(line)]
        return [piece.decode("utf-8", errors="replace") for piece in (*pieces, *begun)]

    def finish(self) -> list[str]:
        """Return the last line if the stream ended without a line's end."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", errors="replace")] if rest else []


def _cut(data: bytes) -> list[bytes]:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def _pieces(line: bytes) -> list[bytes]:
    starts = range(0, max(len(line), 1), LONGEST_LINE_BYTES)
    return [line[start : start + LONGEST_LINE_BYTES] for start in starts]


class LineFeed:
    """Gives a stream to a callback, line by line."""

    def __init__(self, give: Callable[[str], None]) -> None:
        self._splitter = LineSplitter()
        self._give = give

    def add(self, data: bytes) -> None:
        """Give the lines that ``data`` completes."""
        for line in self._splitter.feed(data):
            self._give(line)

    def finish(self) -> None:
        """Give what followed the last line's end, if anything did."""
        for line in self._splitter.finish():
            self._give(line)


class HeadAndTail:
    """Keeps the first and the last 64 KiB of a stream, and counts what lies between."""

    def __init__(self, head: int = KEPT_HEAD_BYTES, tail: int = KEPT_TAIL_BYTES) -> None:
        self._head_limit = head
        self._tail_limit = tail
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped = 0

    def add(self, data: bytes) -> None:
        """Take in the next bytes of the stream."""
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        excess = len(self._tail) - self._tail_limit
        if excess > 0:
            del self._tail[:excess]
            self.dropped += excess

    def text(self) -> str:
        """Return what was kept, with a line that says how much is missing if any is."""
        head, tail = bytes(self._head), bytes(self._tail)
        if not self.dropped:
            return (head + tail).decode("utf-8", errors="replace")
        return (
            head.decode("utf-8", errors="replace")
            + f"\n[… {self.dropped} bytes left out …]\n"
            + tail.decode("utf-8", errors="replace")
        )


def open_new_file(path: Path) -> int:
    """Create a file that was not there, 0600 under any umask, and return its descriptor.

    Raises DiskFull, RepositoryMissing or RepositoryUnwritable, by what the system says.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_created(path, error) from error
    os.fchmod(descriptor, 0o600)
    return descriptor


def _not_created(path: Path, error: OSError) -> FsbackupError:
    what = f"FILE NOT CREATED: {path}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(what, why="No space is left on its file system.", fix="Free some space.")
    if error.errno == errno.ENOENT:
        return RepositoryMissing(
            what, why="Its directory is not there.", fix="Is its file system mounted?"
        )
    reason = error.strerror or type(error).__name__
    return RepositoryUnwritable(
        what, why=f"The system says: {reason}.", fix=f"Look at: ls -ld {path.parent}"
    )
