"""Comparing a tree on disk with an index: what is only in one of them, what differs, and in what.

    for difference in compare_tree(Walk(root), read_index(stream), hashes="always"): …

Both sides come sorted, so memory is constant whatever the trees hold.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.engines.files.index import IndexEntry, order_key
from fsbackup_tui.engines.files.walk import Entry, Walk, unreadable

_READ = 1 << 20
_KINDS = {"link": "file", "symlink-link": "symlink"}

Aspect = Literal["kind", "content", "size", "mode", "owner", "time", "target", "link"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that differs: ``indexed`` None: only on disk; ``found`` None: only in the index.

    ``aspects`` tells in what the two differ, the gravest first; empty where there is but one.
    ``newer``: what is on disk was changed later than what the index tells of.
    """

    path: bytes
    indexed: IndexEntry | None
    found: Entry | None
    aspects: tuple[Aspect, ...] = ()

    @property
    def newer(self) -> bool:
        """Whether what is on disk was written later than what was captured."""
        return (
            self.indexed is not None
            and self.found is not None
            and self.found.status.st_mtime_ns > self.indexed.mtime_ns
        )


@dataclass(frozen=True, slots=True)
class Strictness:
    """What counts as a difference.

    ``hashes``: ``always`` reads every file; ``quick`` takes equal size and time for equal content
    and reads the others; ``never`` reads none: there another time alone is a difference of time.
    Owners are compared by number. Times of directories are what was written there last, so
    restoring one file changes them: ``directory_times``.
    """

    hashes: Literal["always", "quick", "never"] = "always"
    modes: bool = True
    owners: bool = True
    times: bool = True
    directory_times: bool = True
    links: bool = True


def compare_tree(
    walk: Walk,
    indexed: Iterable[IndexEntry],
    strictness: Strictness | None = None,
    *,
    advance: Callable[[int, int, bytes], object] | None = None,
) -> Iterator[Difference]:
    """Yield every path that differs, in the order of the index; nothing for equal trees.

    ``advance`` is told files, bytes and path as they are compared. Raises FilesUnreadable, and
    what reading the index raises.
    """
    comparison = _Comparison(walk.root, strictness or Strictness(), advance)
    found, entries = walk.entries(), iter(indexed)
    here, there = next(found, None), next(entries, None)
    while here is not None or there is not None:
        if there is None or (here is not None and order_key(here.path) < order_key(there.path)):
            if here is not None:
                yield Difference(here.path, None, here)
            here = next(found, None)
        elif here is None or here.path != there.path:
            yield Difference(there.path, there, None)
            there = next(entries, None)
        else:
            if aspects := tuple(comparison.aspects(there, here)):
                yield Difference(there.path, there, here, aspects)
            here, there = next(found, None), next(entries, None)


def hash_file(root: bytes, path: bytes, advance: Callable[[int], object] | None = None) -> str:
    """Return the SHA-256 of a file below a root; FilesUnreadable where it can't be read."""
    place = root if path == b"." else root + b"/" + path
    digest = hashlib.sha256()
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while block := file.read(_READ):
                digest.update(block)
                if advance is not None:
                    advance(len(block))
    except OSError as error:
        raise unreadable(path, root, error) from error
    return digest.hexdigest()


class _Comparison:
    def __init__(
        self,
        root: bytes,
        strictness: Strictness,
        advance: Callable[[int, int, bytes], object] | None,
    ) -> None:
        self._root = root
        self._strict = strictness
        self._advance = advance

    def aspects(self, indexed: IndexEntry, found: Entry) -> Iterator[Aspect]:
        """Yield in what two things of the same path differ."""
        strict, status = self._strict, found.status
        if self._advance is not None:
            self._advance(1, 0, found.path)
        if found.kind != _KINDS.get(indexed.kind, indexed.kind):
            yield "kind"
            return
        if indexed.kind == "symlink" and self._target(found.path) != indexed.target:
            yield "target"
        if indexed.is_file:
            yield from self._content(indexed, found)
        if indexed.is_hard_link and strict.links and not self._is_link(indexed, found):
            yield "link"
        has_mode = strict.modes and found.kind != "symlink"
        if has_mode and stat.S_IMODE(status.st_mode) != indexed.mode:
            yield "mode"
        if strict.owners and (status.st_uid, status.st_gid) != (indexed.uid, indexed.gid):
            yield "owner"
        timed = strict.times and (indexed.kind != "directory" or strict.directory_times)
        if timed and status.st_mtime_ns != indexed.mtime_ns:
            yield "time"

    def _content(self, indexed: IndexEntry, found: Entry) -> Iterator[Aspect]:
        strict, status = self._strict, found.status
        known = indexed.kind == "file" or indexed.sha256 is not None
        if known and status.st_size != indexed.size:
            yield "size"
            return
        same_time = status.st_mtime_ns == indexed.mtime_ns
        if indexed.sha256 is None or strict.hashes == "never":
            return
        if strict.hashes == "quick" and same_time:
            return

        def told(count: int) -> None:
            if self._advance is not None:
                self._advance(0, count, found.path)

        if hash_file(self._root, found.path, told) != indexed.sha256:
            yield "content"

    def _target(self, path: bytes) -> bytes | None:
        try:
            return os.readlink(self._root + b"/" + path)  # noqa: PTH115 (a path of bytes)
        except OSError:
            return None

    def _is_link(self, indexed: IndexEntry, found: Entry) -> bool:
        try:
            other = os.lstat(self._root + b"/" + indexed.target)
        except OSError:
            return False
        return (other.st_dev, other.st_ino) == (found.status.st_dev, found.status.st_ino)
