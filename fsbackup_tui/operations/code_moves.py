"""Moving a restored work tree, and built files, into their place: renamed, never overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.engines.trees.renaming import rename_new
from fsbackup_tui.repository.tree_marks import tree_path


def aside(top: Path, kind: str, tag: str) -> Path:
    """Return where built files are kept, beside the work tree: git would tell of them in it."""
    return tree_path(top, "before" if kind == "before" else "after", tag)


def bring_built(top: Path, tree: Path, built: Sequence[str], tag: str, *, begun: bool) -> list[str]:
    """Let what was built from the point take the place of what live has; that is kept beside.

    ``begun``: an attempt before this one came as far as here, and was killed.
    """
    done = []
    for name in built:
        live, coming, kept = top / name, tree / name, aside(top, "before", tag) / name
        if not _is_inside(live, top):
            continue
        if not coming.exists():
            if begun and live.exists():
                done.append(name)  # it came with that attempt
            continue
        if live.exists() and not kept.exists():
            _move(live, kept)
        _move(coming, live)
        done.append(name)
    return done


def take_built_back(top: Path, built: Sequence[str], tag: str) -> None:
    """Let the built files that were kept be live's again; what came is kept in its turn."""
    for name in built:
        live = top / name
        kept, after = (aside(top, kind, tag) / name for kind in ("before", "after"))
        if not _is_inside(live, top):
            continue
        if live.exists() and not after.exists():
            _move(live, after)
        if kept.exists():
            _move(kept, live)
    with suppress(OSError):
        aside(top, "before", tag).rmdir()


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
