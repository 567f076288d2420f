"""Moving a restored work tree, and built files, into their place: renamed, never overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.engines.trees.renaming import rename_new
from fsbackup_tui.repository.tree_marks import Mark, make_marked, remove_mark

AsideKind = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Aside:
    """A directory beside a work tree, ``top``, that keeps built files; it bears a mark of ours."""

    top: Path
    path: Path
    mark: Mark

    def keep(self, name: str) -> None:
        """Move a file or directory of the work tree there."""
        if not self.path.exists():
            make_marked(self.path, self.mark)
        _move(self.top / name, self.path / name)

    def drop_if_empty(self) -> None:
        """Take the directory and its mark away where nothing is kept any more."""
        with suppress(OSError):
            self.path.rmdir()
            remove_mark(self.path)


def bring_built(before: Aside, tree: Path, built: Sequence[str], *, begun: bool) -> list[str]:
    """Let what was built from the point take the place of what live has; that is kept beside.

    ``begun``: an attempt before this one came as far as here, and was killed.
    """
    done = []
    for name in built:
        live, coming, kept = before.top / name, tree / name, before.path / name
        if not _is_inside(live, before.top):
            continue
        if not coming.exists():
            if begun and live.exists():
                done.append(name)  # it came with that attempt
            continue
        if live.exists() and not kept.exists():
            before.keep(name)
        _move(coming, live)
        done.append(name)
    return done


def take_built_back(before: Aside, after: Aside, built: Sequence[str]) -> None:
    """Let the built files that were kept be live's again; what came is kept in its turn."""
    for name in built:
        live, kept = before.top / name, before.path / name
        if not _is_inside(live, before.top):
            continue
        if live.exists() and not (after.path / name).exists():
            after.keep(name)
        if kept.exists():
            _move(kept, live)
    before.drop_if_empty()


def inode(path: Path) -> int:
    """Return what tells a file or directory from another one; 0 where there is none."""
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return 0


def _move(one: Path, other: Path) -> None:
    """Rename into a name that nobody has, making the directories above it."""
    other.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    rename_path(one, other)


def _is_inside(path: Path, top: Path) -> bool:
    return Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(top))


def rename_path(one: Path, other: Path) -> None:
    """Rename into a name that nobody has.

    Raises:
        ToolError: somebody has it, or the system refuses.
    """
    try:
        first = os.open(one.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            second = os.open(other.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                rename_new(first, os.fsencode(one.name), second, os.fsencode(other.name))
                os.fsync(second)
            finally:
                os.close(second)
        finally:
            os.close(first)
    except OSError as error:
        raise ToolError(
            f"NOT MOVED: {one} to {other}.",
            why=f"{error.strerror}.",
            fix="What was moved before it stays where it is: look, then do it again.",
        ) from error
