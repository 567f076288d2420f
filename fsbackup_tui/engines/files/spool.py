"""Lines put aside until they are needed again, on disk, unreadable to everybody else.

What is captured may have to stay secret, its names included. So a spool is a file without a name,
of blocks that are encrypted with a key which exists in this process's memory alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyrage

from fsbackup_tui.engines.compression import zstd_module

_BLOCK = 1 << 20


class Spool:
    """Lines, written once, then read as often as need be; memory holds one block of them."""

    def __init__(self, directory: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._identity = pyrage.x25519.Identity.generate()
        self._recipient = self._identity.to_public()
        self._zstd = zstd_module()
        self._kept: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        """Put a line (with its end) behind the others."""
        self._kept.append(line)
        self._size += len(line)
        if self._size >= _BLOCK:
            self._write()

    def lines(self) -> Iterator[bytes]:
        """Yield all lines in their order, without their ends; none may be added meanwhile."""
        for block in self.blocks():
            yield from block.split(b"\n")[:-1]

    def blocks(self) -> Iterator[bytes]:
        """Yield all lines with their ends, many at a time; none may be added meanwhile."""
        kept = b"".join(self._kept)
        position = 0
        while length := int.from_bytes(self._read_at(position, 8), "big"):
            block = pyrage.decrypt(self._read_at(position + 8, length), [self._identity])
            yield self._zstd.decompress(block)
            position += 8 + length
        if kept:
            yield kept

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _write(self) -> None:
        packed = self._zstd.compress(b"".join(self._kept), 1)
        block = pyrage.encrypt(packed, [self._recipient])
        self._file.write(len(block).to_bytes(8, "big") + block)
        self._kept.clear()
        self._size = 0

    def _read_at(self, position: int, size: int) -> bytes:
        self._file.seek(position)
        return self._file.read(size)
