"""Letting one directory take another's name, the other kept; known by their inodes throughout.

Whatever moment it is killed at, the inodes tell where it stands, and it is gone on with from there.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fsbackup_tui.engines.trees.renaming import CannotExchange, exchange, rename_new

Standing = Literal["before", "exchanged", "aside", "after", "unknown"]
"""``exchanged``: the new one is live, the former one has its name yet. ``aside``: the former one is
kept already, and nothing is live: between the two renames of a system without an exchange."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What becomes live in ``root``'s place: names in one directory, and the inodes they mean.

    ``live_inode`` 0: nothing is live, and the tree only gets the name.
    """

    root: Path
    coming: Path
    kept: Path
    live_inode: int
    coming_inode: int

    def standing(self) -> Standing:
        """Return where it stands, by looking."""
        root, coming, kept = (_inode(path) for path in (self.root, self.coming, self.kept))
        if root == self.coming_inode:
            if coming == self.live_inode != 0:
                return "exchanged"
            return "after" if kept == self.live_inode else "unknown"
        if coming != self.coming_inode:
            return "unknown"
        if root == 0:
            return "aside" if kept == self.live_inode else "unknown"
        return "before" if root == self.live_inode and kept == 0 else "unknown"


@dataclass(frozen=True, slots=True)
class Done:
    """How it went; ``gap_seconds`` is how long nothing stood under the root's name."""

    atomic: bool
    gap_seconds: float = 0.0


def _inode(path: Path) -> int:
    """Return what stands under a name, 0 for nothing, -1 for what is no directory."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return 0
    return facts.st_ino if path.is_dir() and not path.is_symlink() else -1


def run_exchange(wanted: Exchange) -> Done:
    """Bring it to its end from wherever it stands; ``standing()`` is ``after`` then.

    Raises:
        OSError: nothing was changed, or it was undone (busy: the root is a mount point).
        FileExistsError: somebody has the name under which the former tree would be kept.
    """
    directory = os.open(wanted.root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        done = _go_on(wanted, directory)
        os.fsync(directory)
    finally:
        os.close(directory)
    return done


def _go_on(wanted: Exchange, directory: int) -> Done:
    root, coming, kept = (
        os.fsencode(path.name) for path in (wanted.root, wanted.coming, wanted.kept)
    )
    standing, done = wanted.standing(), Done(atomic=True)
    if standing == "before":
        try:
            exchange(directory, coming, directory, root)
            standing = "exchanged"
        except CannotExchange:
            return _two_renames(directory, root, coming, kept)
    elif standing == "aside":
        rename_new(directory, coming, directory, root)
        done = Done(atomic=wanted.live_inode == 0)
    if standing == "exchanged":
        rename_new(directory, coming, directory, kept)
    return done


def _two_renames(directory: int, root: bytes, coming: bytes, kept: bytes) -> Done:
    began = time.monotonic()
    rename_new(directory, root, directory, kept)
    try:
        rename_new(directory, coming, directory, root)
    except OSError:
        with suppress(OSError):
            rename_new(directory, kept, directory, root)
        raise
    return Done(atomic=False, gap_seconds=time.monotonic() - began)
