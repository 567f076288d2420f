"""Damaging the files of a server's tables and indexes, as a broken disk would: it must not run."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import query

PAGE = 8192
_LOWER = 12  # pd_lower in PageHeaderData
_HEADER = 24
_LINE_POINTER = 4
_BTREE_LEAF = 1  # BTP_LEAF of btpo_flags
_FLAGS = 12  # btpo_flags in BTPageOpaqueData


@dataclass(frozen=True)
class RelationFile:
    """The first segment of a relation's main fork."""

    path: Path

    @classmethod
    def of(cls, server: ScratchServer, url: str, relation: str) -> RelationFile:
        """Return the file of a relation, asked of the running server."""
        ((path,),) = query(url, f"SELECT pg_relation_filepath('{relation}')")
        return cls(server.data_directory / str(path))

    def pages(self) -> int:
        """How many pages it has."""
        return self.path.stat().st_size // PAGE

    def read(self, page: int) -> bytes:
        """Return one page."""
        with self.path.open("rb") as file:
            file.seek(page * PAGE)
            return file.read(PAGE)

    def write(self, page: int, content: bytes, offset: int = 0) -> None:
        """Overwrite a part of one page."""
        with self.path.open("r+b") as file:
            file.seek(page * PAGE + offset)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def zero(self, page: int) -> None:
        """Make a page all zeros, as a disk does that lost a write."""
        self.write(page, bytes(PAGE))

    def spoil_header(self, page: int) -> None:
        """Write nonsense over a page's header."""
        self.write(page, bytes(range(200, 200 + _HEADER)))

    def replace(self, old: bytes, new: bytes) -> int:
        """Change one occurrence of some bytes into as many others; returns the page."""
        content = self.path.read_bytes()
        place = content.index(old)
        assert len(old) == len(new)
        self.write(place // PAGE, new, place % PAGE)
        return place // PAGE

    def lose_leaf_entries(self, count: int) -> int:
        """Let a b-tree's first full leaf forget its last entries; returns the page."""
        for page in range(1, self.pages()):
            content = self.read(page)
            (flags,) = struct.unpack_from("<H", content, PAGE - 16 + _FLAGS)
            (lower,) = struct.unpack_from("<H", content, _LOWER)
            entries = (lower - _HEADER) // _LINE_POINTER
            if flags & _BTREE_LEAF and entries > count + 1:
                self.write(page, struct.pack("<H", lower - count * _LINE_POINTER), _LOWER)
                return page
        raise AssertionError(f"no leaf with more than {count} entries in {self.path}")
