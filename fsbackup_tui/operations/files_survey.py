"""What of a point's files is to be put back into live: both trees side by side, entry by entry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.tree import Conflict
from fsbackup_tui.engines.files.index import IndexEntry, format_entry, parse_entry
from fsbackup_tui.engines.files.walk import Selection
from fsbackup_tui.engines.trees.comparing import (
    Listing,
    compare_with_index,
    live_entries,
    side_by_side,
    without,
)
from fsbackup_tui.engines.trees.opened import Entry, OpenTree
from fsbackup_tui.operations.files_compare import matches

Named = Callable[[IndexEntry], bool]
Action = Literal["put", "both", "over"]
_ACTIONS: dict[bytes, Action] = {b"p": "put", b"b": "both", b"o": "over"}
_MARKS: dict[Action, bytes] = {action: mark for mark, action in _ACTIONS.items()}


@dataclass(frozen=True)
class Choice:
    """What is asked for; ``named`` tells which files a live row misses, None: no links.

    It is asked about every entry. ``by_rows``: only what it names is put back.
    """

    patterns: Selection | None = None
    conflict: Conflict = "keep"
    named: Named | None = None
    by_rows: bool = False


@dataclass
class Survey:
    """What was found. The wanted entries are lines in ``path``, in the order of the index.

    ``twice`` are those that the archive may hold a second time, ``targets`` what hard links among
    the wanted are other names of.
    """

    path: Path
    missing: Listing
    wanted: Listing
    unnamed: Listing
    kept: Listing
    only_live: Listing
    changed: Listing
    newer: Listing
    same: int = 0
    files: int = 0
    total_bytes: int = 0
    wanted_bytes: int = 0
    replaces: int = 0
    entries: int = 0
    twice: set[bytes] = field(default_factory=set)
    targets: set[bytes] = field(default_factory=set)

    @classmethod
    def into(cls, path: Path, lists: Path | None = None) -> Survey:
        """Return an empty one; ``lists`` is where whole lists are written for people."""

        def listing(name: str) -> Listing:
            return Listing(lists / f"{name}.txt" if lists is not None else None)

        missing, wanted, unnamed, kept, only_live, changed, newer = map(
            listing,
            ("missing", "wanted", "unnamed", "kept", "only-live", "changed", "newer"),
        )
        return cls(path, missing, wanted, unnamed, kept, only_live, changed, newer)

    @property
    def listings(self) -> dict[str, Listing]:
        """Every list by its name."""
        names = ("missing", "wanted", "unnamed", "kept", "only_live", "changed", "newer")
        return {name: getattr(self, name) for name in names}

    def run(
        self,
        index: Iterator[IndexEntry],
        live: OpenTree | None,
        selection: Selection,
        choice: Choice,
        *,
        step: Callable[[], None],
        contents: bool = False,
        skip: frozenset[bytes] = frozenset(),
    ) -> None:
        """Compare, and write down what is wanted; ``skip`` is what of ours lies in the root."""
        entries = live_entries(live, selection) if live is not None else iter(())
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with ExitStack() as stack:
            for listing in self.listings.values():
                stack.enter_context(listing)
            file = stack.enter_context(
                os.fdopen(os.open(self.path, flags, 0o600), "wb", buffering=1 << 18)
            )
            choosing = _Choosing(self, choice, file.write)
            for was, now in side_by_side(without(index, skip), without(entries, skip)):
                step()
                if was is None:
                    if now is not None and now.kind != "directory":
                        self.only_live.add(now.path, now.size)
                    continue
                if was.state:
                    self.twice.add(was.path)
                if was.path == b".":
                    continue
                named = choice.named is not None and choice.named(was)
                if was.is_file:
                    self.files += 1
                    self.total_bytes += was.size if was.kind == "file" else 0
                if now is None or live is None:
                    choosing.missing(was, named=named)
                else:
                    choosing.both(live, was, now, contents=contents)

    def lines(self) -> Iterator[tuple[Action, IndexEntry]]:
        """Yield the wanted entries, directories before what is in them."""
        with self.path.open("rb") as file:
            for line in file:
                yield _ACTIONS[line[:1]], parse_entry(line[1:])


class _Choosing:
    def __init__(self, survey: Survey, choice: Choice, write: Callable[[bytes], object]) -> None:
        self._survey = survey
        self._choice = choice
        self._write = write
        # Directories that live has not, on the way to where the index is.
        self._pending: list[IndexEntry] = []
        self._flushed = 0

    def missing(self, was: IndexEntry, *, named: bool) -> None:
        """Take in what live has not."""
        survey, choice = self._survey, self._choice
        self._leave(was.path)
        if was.kind == "directory":
            self._pending.append(was)
            # An empty directory is nobody's file: it comes with the whole, not with what is named.
            if not choice.by_rows and self._matches(was.path):
                self._flush()
            return
        survey.missing.add(was.path, was.size)
        if not self._matches(was.path):
            return
        if choice.by_rows and not named:
            survey.unnamed.add(was.path, was.size)
            return
        self._want("put", was)

    def both(self, live: OpenTree, was: IndexEntry, now: Entry, *, contents: bool) -> None:
        """Take in what both have."""
        survey, choice = self._survey, self._choice
        self._leave(was.path)
        verdict = compare_with_index(live, was, now, contents=contents)
        if verdict == "same":
            survey.same += now.kind != "directory"
            return
        survey.changed.add(now.path, now.size)
        if verdict == "newer":
            survey.newer.add(now.path, now.size)
        if not self._matches(was.path):
            return
        is_plain = now.kind in ("file", "link") and was.kind != "directory"
        if not is_plain or choice.patterns is None:
            survey.kept.add(now.path, now.size)
        elif choice.conflict == "both":
            self._want("both", was)
        elif choice.conflict == "overwrite" or (
            choice.conflict == "newer" and was.mtime_ns > now.modified_ns
        ):
            survey.replaces += 1
            self._want("over", was)
        else:
            survey.kept.add(now.path, now.size)

    def _matches(self, path: bytes) -> bool:
        return self._choice.patterns is None or matches(self._choice.patterns, path)

    def _leave(self, path: bytes) -> None:
        while self._pending and not path.startswith(self._pending[-1].path + b"/"):
            self._pending.pop()
        self._flushed = min(self._flushed, len(self._pending))

    def _flush(self) -> None:
        for directory in self._pending[self._flushed :]:
            self._write(_MARKS["put"] + format_entry(directory))
            self._survey.entries += 1
        self._flushed = len(self._pending)

    def _want(self, action: Action, was: IndexEntry) -> None:
        survey = self._survey
        self._flush()
        self._write(_MARKS[action] + format_entry(was))
        survey.entries += 1
        survey.wanted.add(was.path, was.size)
        survey.wanted_bytes += was.size
        if was.is_hard_link:
            survey.targets.add(was.target)
