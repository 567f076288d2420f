"""Two trees side by side, in constant memory: both come in the order of their walks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Protocol, Self, TypeVar

from fsbackup_tui.domain.site_parts import LONGEST_LIST
from fsbackup_tui.domain.tree import Found
from fsbackup_tui.engines.files.index import IndexEntry, order_key
from fsbackup_tui.engines.files.walk import Selection
from fsbackup_tui.engines.trees.opened import Entry, LinkInTheWay, OpenTree, shown


class _Pathed(Protocol):
    @property
    def path(self) -> bytes: ...


_Left = TypeVar("_Left", bound=_Pathed)
_Right = TypeVar("_Right", bound=_Pathed)
Verdict = Literal["same", "changed", "newer"]


def side_by_side(
    left: Iterable[_Left], right: Iterable[_Right]
) -> Iterator[tuple[_Left | None, _Right | None]]:
    """Yield the entries of two sorted trees path by path; None where one of them lacks it."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if one is not None and other is not None and one.path == other.path:
            yield one, other
            one, other = next(lefts, None), next(rights, None)
        elif other is None or (one is not None and order_key(one.path) < order_key(other.path)):
            yield one, None
            one = next(lefts, None)
        else:
            yield None, other
            other = next(rights, None)


def live_entries(tree: OpenTree, selection: Selection | None = None) -> Iterator[Entry]:
    """Yield what stands below a live root and is meant by its source, sorted as an index is."""
    if selection is None:
        yield from tree.walk()
        return
    out: bytes | None = None
    taken: bytes | None = None
    for entry in tree.walk():
        path, is_directory = entry.path, entry.kind == "directory"
        if out is not None and path.startswith(out):
            continue
        if selection.excludes(path, is_directory=is_directory):
            out = path + b"/" if is_directory else None
            continue
        within = selection.takes_all or (taken is not None and path.startswith(taken))
        if not within and selection.includes(path, is_directory=is_directory):
            taken, within = (path + b"/" if is_directory else taken), True
        if within or is_directory:
            yield entry


def without(entries: Iterable[_Left], apart: Collection[bytes]) -> Iterator[_Left]:
    """Yield the entries of a sorted tree, but none of these paths, nor what is below them."""
    out: bytes | None = None
    for entry in entries:
        if out is not None and entry.path.startswith(out):
            continue
        if entry.path in apart:
            out = entry.path + b"/"
            continue
        yield entry


def compare_with_index(
    tree: OpenTree, was: IndexEntry, now: Entry, *, contents: bool = False
) -> Verdict:
    """Return whether live has what the index tells of, another, or one written later.

    Modes and owners don't count. ``contents`` reads a file whose size is the same.
    """
    if was.kind in ("file", "link"):
        if now.kind != "file":
            return "changed"
        later: Verdict = "newer" if now.modified_ns > was.mtime_ns else "changed"
        if now.size != was.size:
            return later
        if contents and was.sha256 is not None:
            with suppress(OSError, LinkInTheWay):
                return "same" if tree.sha256(now.path) == was.sha256 else later
        return "same" if now.modified_ns == was.mtime_ns else later
    if was.is_symlink:
        if now.kind != "link":
            return "changed"
        if was.kind == "symlink-link" and now.modified_ns == was.mtime_ns:
            return "same"
        with suppress(OSError, LinkInTheWay):
            # Where a hard link leads, its other name tells: of that is said what it is now.
            leads = was.target if was.kind == "symlink" else tree.target(was.target)
            if tree.target(now.path) == leads:
                return "same"
        return "newer" if now.modified_ns > was.mtime_ns else "changed"
    return "same" if now.kind == "directory" else "changed"


def compare_trees(
    one: OpenTree, was: Entry, other: OpenTree, now: Entry, *, contents: bool = False
) -> Verdict:
    """Return how an entry of the second tree differs from the first's of the same path."""
    if was.kind != now.kind:
        return "changed"
    if was.kind == "directory":
        return "same"
    later: Verdict = "newer" if now.modified_ns > was.modified_ns else "changed"
    with suppress(OSError, LinkInTheWay):
        if was.kind == "link":
            return "same" if one.target(was.path) == other.target(now.path) else later
        if was.size != now.size:
            return later
        if contents:
            return "same" if one.sha256(was.path) == other.sha256(now.path) else later
    return "same" if was.modified_ns == now.modified_ns else later


@dataclass
class Listing:
    """Collects names: all are counted and written to a file, the first are kept."""

    path: Path | None = None
    count: int = 0
    size: int = 0
    names: list[str] = field(default_factory=list)
    _file: BinaryIO | None = None

    def add(self, path: bytes, size: int = 0, note: str = "") -> None:
        """Take in a name."""
        self.count += 1
        self.size += size
        text = shown(path) + (f" ({note})" if note else "")
        if len(self.names) < LONGEST_LIST:
            self.names.append(text)
        if self.path is not None:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
            self._file.write(text.encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Make what was written to the file durable."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    @property
    def found(self) -> Found:
        """What was collected."""
        return Found(self.count, self.size, tuple(self.names))

    @property
    def written(self) -> str:
        """Where the whole list is; empty where nothing was found, or no list is kept."""
        return str(self.path) if self.path is not None and self.count else ""
