"""git's filter ``lfs`` without git-lfs: a program of its own, in the standard library alone.

git talks to it as gitattributes(5) says of long-running filters. ``clean`` makes the pointer that
git-lfs would make; ``smudge`` gives the object that a pointer names, or the pointer where no whole
object is found. Arguments: ``read`` or ``store``, then the directories of objects; with ``store``
what is cleaned or found elsewhere is put into the first, as git-lfs does.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d+)\n"
)
LARGEST_POINTER = 1024
READ, STORE = "read", "store"
_MOST = 65516
_IN_MEMORY = 1 << 20
_FLUSH = b"0000"


def make_pointer(oid: str, size: int) -> bytes:
    """Return the text that stands for an object of this SHA-256 and so many bytes."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


class _Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, or fewer at the end."""
        ...


class _Ended(Exception):
    """git has closed its end."""


class _Lines:
    """git's packets: four hexadecimal digits of length before each, ``0000`` behind a list."""

    def __init__(self, given: BinaryIO, taken: BinaryIO) -> None:
        self._given, self._taken = given, taken

    def packets(self) -> Iterator[bytes]:
        """Yield the packets up to the end of a list."""
        while True:
            head = self._given.read(4)
            if len(head) < 4:
                raise _Ended
            length = int(head, 16)
            if length == 0:
                return
            yield self._given.read(length - 4)

    def send(self, *packets: bytes) -> None:
        """Send a list of packets."""
        for packet in packets:
            self.send_one(packet)
        self.end()

    def send_one(self, data: bytes) -> None:
        """Send data as packets, without an end."""
        for start in range(0, len(data), _MOST):
            piece = data[start : start + _MOST]
            self._taken.write(b"%04x" % (len(piece) + 4) + piece)

    def copy(self, content: _Readable) -> None:
        """Send all that a file has, as packets, without an end."""
        while block := content.read(_MOST):
            self.send_one(block)

    def end(self) -> None:
        """End a list."""
        self._taken.write(_FLUSH)
        self._taken.flush()


class _Objects:
    """Where objects lie; ``store``: whether new ones are put into the first of the directories."""

    def __init__(self, places: list[Path], *, store: bool) -> None:
        self._places = places
        self._store = store

    def find(self, oid: str, size: int) -> Path | None:
        """Return a whole object; None where there is none."""
        for place in self._places:
            path = place / oid[:2] / oid[2:4] / oid
            if path.is_file() and path.stat().st_size == size:
                if self._store and place != self._places[0]:
                    with path.open("rb") as file, self.new() as kept:
                        shutil.copyfileobj(file, kept)
                        self.keep(kept, oid)
                return path
        return None

    @contextmanager
    def new(self) -> Iterator[BinaryIO]:
        """Give a file to write an object into: one that is thrown away, unless it is kept."""
        if not self._store:
            with Path(os.devnull).open("wb") as nowhere:
                yield nowhere
            return
        first = self._places[0]
        self._make(first)
        descriptor, name = tempfile.mkstemp(prefix=".fsbackup-", dir=first)
        try:
            os.close(descriptor)
            with Path(name).open("wb") as file:
                yield file
        finally:
            Path(name).unlink(missing_ok=True)

    def keep(self, file: BinaryIO, oid: str) -> None:
        """Let what was written into a file of ``new`` be the object of that name."""
        if not self._store:
            return
        file.flush()
        os.fsync(file.fileno())
        target = self._places[0] / oid[:2] / oid[2:4] / oid
        self._make(target.parent)
        Path(file.name).chmod(0o644)
        _give(Path(file.name), target.parent)
        Path(file.name).replace(target)

    def _make(self, directory: Path) -> None:
        if not directory.is_dir():
            self._make(directory.parent)
            directory.mkdir(exist_ok=True)
            _give(directory, directory.parent)


def _give(path: Path, like: Path) -> None:
    """Give what root made to the owner of what it lies in."""
    if os.geteuid() == 0:
        facts = like.stat()
        os.chown(path, facts.st_uid, facts.st_gid)


def _clean(lines: _Lines, objects: _Objects) -> None:
    digest, size, head = hashlib.sha256(), 0, b""
    with objects.new() as kept:
        for packet in lines.packets():
            digest.update(packet)
            kept.write(packet)
            size += len(packet)
            if len(head) <= LARGEST_POINTER:
                head += packet
        stands = size == 0 or (size <= LARGEST_POINTER and POINTER.fullmatch(head) is not None)
        if not stands:
            objects.keep(kept, digest.hexdigest())
    lines.send(b"status=success\n")
    lines.send_one(head if stands else make_pointer(digest.hexdigest(), size))
    lines.end()
    lines.end()


def _smudge(lines: _Lines, objects: _Objects) -> None:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as content:
        for packet in lines.packets():
            content.write(packet)
        content.seek(0)
        head = content.read(LARGEST_POINTER + 1)
        match = POINTER.fullmatch(head)
        found = match and objects.find(match["oid"].decode(), int(match["size"]))
        lines.send(b"status=success\n")
        if found:
            with found.open("rb") as file:
                lines.copy(file)
        else:
            content.seek(0)
            lines.copy(content)
    lines.end()
    lines.end()


def serve(given: BinaryIO, taken: BinaryIO, objects: _Objects) -> None:
    """Answer git until it closes its end."""
    lines = _Lines(given, taken)
    list(lines.packets())
    lines.send(b"git-filter-server\n", b"version=2\n")
    list(lines.packets())
    lines.send(b"capability=clean\n", b"capability=smudge\n")
    while True:
        command = next(iter(list(lines.packets())), b"")
        if command == b"command=clean\n":
            _clean(lines, objects)
        else:
            _smudge(lines, objects)


def main() -> None:
    """Serve the git that started this."""
    try:
        objects = _Objects([Path(place) for place in sys.argv[2:]], store=sys.argv[1] == STORE)
        serve(sys.stdin.buffer, sys.stdout.buffer, objects)
    except (_Ended, BrokenPipeError):
        # git ends what it started without a word.
        os._exit(0)


if __name__ == "__main__":
    main()
