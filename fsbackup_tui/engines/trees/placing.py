"""Putting what was extracted beside into a live tree, entry by entry, and taking it back.

Everything lies beside before anything appears, on the same file system; an entry appears whole,
by one rename, and never over another unless that one is kept aside in the same step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.engines.trees.opened import Entry, Kind, LinkInTheWay, OpenTree, kind_of
from fsbackup_tui.engines.trees.renaming import CannotExchange, exchange, rename_new

Outcome = Literal["placed", "replaced", "taken", "blocked", "refused", "no parent"]
"""``taken``: somebody has the name by now; ``blocked``: a link, or a file, is on the way to it;
``refused``: the system says that we may not."""

BackOutcome = Literal["removed", "restored", "stays", "gone", "never"]


@dataclass(frozen=True, slots=True)
class Placing:
    """One entry to be put into live, and all that undoing it needs; paths are below their trees.

    ``staged`` is where it lies beside, ``sha256`` its content's (a link's target is its content).
    ``aside`` is where live's own entry is kept in the other tree beside; empty: it replaces none.
    ``mode`` is a directory's, which it gets when all that comes into it is there.
    """

    path: bytes
    kind: Kind
    staged: bytes
    inode: int
    size: int
    modified_ns: int
    sha256: str = ""
    target: bytes = b""
    aside: bytes = b""
    mode: int = 0


@dataclass
class Trees:
    """The live tree, the one beside in which things lie ready, and the one for what is kept."""

    live: OpenTree
    beside: OpenTree | None
    aside: OpenTree | None = None
    told: Callable[[Placing, str], None] = field(default=lambda _item, _outcome: None)


def place_all(trees: Trees, items: Iterable[Placing]) -> None:
    """Put every entry into live, in their order; ``trees.told`` hears how each one went."""
    made: list[Placing] = []
    for item in items:
        try:
            outcome = _place(trees, item)
        except LinkInTheWay:
            outcome = "blocked"
        except FileNotFoundError:
            # Whoever deletes took its directory away meanwhile.
            outcome = "no parent"
        except FileExistsError:
            outcome = "taken"
        except PermissionError:
            outcome = "refused"
        if item.kind == "directory" and outcome == "placed":
            made.append(item)
        trees.told(item, outcome)
    for item in reversed(made):
        # What was put into it has changed its time.
        with suppress(OSError, LinkInTheWay):
            directory = trees.live.directory(item.path)
            os.utime(directory, ns=(item.modified_ns, item.modified_ns))
            os.fchmod(directory, item.mode)


def _place(trees: Trees, item: Placing) -> Outcome:
    if trees.beside is None:
        return "no parent"
    from_fd, staged = trees.beside.place(item.staged)
    to_fd, name = trees.live.place(item.path)
    if not item.aside or trees.aside is None:
        rename_new(from_fd, staged, to_fd, name)
        return "placed"
    aside_fd, aside = trees.aside.place(item.aside)
    try:
        exchange(from_fd, staged, to_fd, name)
    except FileNotFoundError:
        rename_new(from_fd, staged, to_fd, name)
        return "placed"
    except CannotExchange:
        if kind_of(os.stat(name, dir_fd=to_fd, follow_symlinks=False).st_mode) == "directory":
            return "blocked"
        _keep_aside(to_fd, name, aside_fd, aside)
        os.rename(staged, name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        return "replaced"
    was = trees.beside.entry(item.staged)
    if was is not None and was.kind == "directory":
        # It became one since it was looked at: whatever is in it is not ours to move.
        exchange(from_fd, staged, to_fd, name)
        return "blocked"
    rename_new(from_fd, staged, aside_fd, aside)
    return "replaced"


def _keep_aside(to_fd: int, name: bytes, aside_fd: int, aside: bytes) -> None:
    """Give live's own entry a second name aside; where it can have but one, that one alone."""
    try:
        os.link(name, aside, src_dir_fd=to_fd, dst_dir_fd=aside_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        rename_new(to_fd, name, aside_fd, aside)


def take_back_all(trees: Trees, items: Iterable[Placing]) -> None:
    """Undo every entry, in the order given: the last that was put in comes first.

    What was written to since, or is another by now, stays. It may be called again, and after a
    crash in the midst of either.
    """
    for item in items:
        try:
            outcome = _take_back(trees, item)
        except LinkInTheWay:
            outcome = "stays"
        trees.told(item, outcome)


def _take_back(trees: Trees, item: Placing) -> BackOutcome:
    live = trees.live
    there = live.entry(item.path)
    old = _kept(trees, item)
    if _is_at(trees.beside, item.staged, item.inode):
        if old is not None and there is None:
            return _put_old_back(trees, item, old)
        if old is not None and there is not None and old.inode == there.inode:
            _unlink(old.tree, old.path)  # a second name of what is live, and nothing replaced it
        return "never"
    if there is None:
        return _put_old_back(trees, item, old) if old is not None else "gone"
    if there.inode != item.inode:
        return _taken_back_before(trees, item)
    if item.kind == "directory":
        return _remove_directory(live, item)
    if not is_exactly(live, there, item):
        return "stays"
    if old is None:
        # Looked at once more, for what was written while its content was read.
        if live.entry(item.path) != there:
            return "stays"
        _unlink(live, item.path)
        return "removed"
    return _exchange_back(trees, item, old)


def _taken_back_before(trees: Trees, item: Placing) -> BackOutcome:
    """Settle an entry that is another by now: after a crash, ours may lie aside in its place."""
    ours = _entry(trees.aside, item.aside) if trees.aside is not None and item.aside else None
    if trees.aside is None or ours is None or not is_exactly(trees.aside, ours, item):
        return "stays"
    _unlink(trees.aside, item.aside)
    return "restored"


@dataclass(frozen=True, slots=True)
class _Kept:
    tree: OpenTree
    path: bytes
    inode: int


def _kept(trees: Trees, item: Placing) -> _Kept | None:
    """Return where live's own entry lies: aside, or after a crash where the new one lay."""
    if not item.aside:
        return None
    for tree, path in ((trees.aside, item.aside), (trees.beside, item.staged)):
        if tree is None:
            continue
        entry = _entry(tree, path)
        if entry is not None and entry.inode != item.inode:
            return _Kept(tree, path, entry.inode)
    return None


def _entry(tree: OpenTree, path: bytes) -> Entry | None:
    with suppress(LinkInTheWay):
        return tree.entry(path)
    return None


def _is_at(tree: OpenTree | None, path: bytes, inode: int) -> bool:
    entry = _entry(tree, path) if tree is not None else None
    return entry is not None and entry.inode == inode


def is_exactly(tree: OpenTree, entry: Entry, item: Placing) -> bool:
    """Whether an entry is still what was put there: kind, inode, size, time, and content."""
    if (entry.kind, entry.inode) != (item.kind, item.inode):
        return False
    if entry.kind == "link":
        return tree.target(entry.path) == item.target
    if (entry.size, entry.modified_ns) != (item.size, item.modified_ns):
        return False
    return not item.sha256 or tree.sha256(entry.path) == item.sha256


def _remove_directory(live: OpenTree, item: Placing) -> BackOutcome:
    parent, name = live.place(item.path)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return "stays"
    return "removed"


def _put_old_back(trees: Trees, item: Placing, old: _Kept) -> BackOutcome:
    from_fd, name = old.tree.place(old.path)
    to_fd, to_name = trees.live.place(item.path)
    try:
        rename_new(from_fd, name, to_fd, to_name)
    except FileExistsError:
        return "stays"
    return "restored"


def _exchange_back(trees: Trees, item: Placing, old: _Kept) -> BackOutcome:
    from_fd, name = old.tree.place(old.path)
    to_fd, to_name = trees.live.place(item.path)
    try:
        exchange(from_fd, name, to_fd, to_name)
    except CannotExchange:
        os.rename(name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        return "restored"
    ours = old.tree.entry(old.path)
    if ours is None or not is_exactly(old.tree, ours, item):
        exchange(from_fd, name, to_fd, to_name)
        return "stays"
    _unlink(old.tree, old.path)
    return "restored"


def _unlink(tree: OpenTree, path: bytes) -> None:
    parent, name = tree.place(path)
    os.unlink(name, dir_fd=parent)
