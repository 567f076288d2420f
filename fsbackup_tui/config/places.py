"""Where a repository must not lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def repository_objection(
    repository: Path, trees: Iterable[tuple[str, Path]] = ()
) -> tuple[str, str] | None:
    """Return (what is wrong, how to mend it) with the place of a repository, or None.

    ``trees`` are (name, directory) of what is backed up. A repository inside one of them would
    capture itself; inside a git work tree ``git clean`` removes it or a commit publishes it;
    inside a PostgreSQL data directory it goes down with the server.
    """
    resolved = repository.resolve()
    for name, tree in trees:
        if resolved.is_relative_to(tree.resolve()):
            return f"lies inside {name} ({tree})", "put it outside of what it backs up"
    work_tree = work_tree_of(resolved)
    if work_tree is not None:
        return (
            f"lies inside the git work tree {work_tree}",
            "put it elsewhere: git clean would delete it, a commit publish it",
        )
    for directory in (resolved, *resolved.parents):
        if _exists(directory / "PG_VERSION") and _exists(directory / "base"):
            return (
                f"lies inside the PostgreSQL data directory {directory}",
                "put it elsewhere: what destroys the server would destroy the backups",
            )
    return None


def work_tree_of(path: Path) -> Path | None:
    """Return the git work tree that a path lies in, or None."""
    resolved = path.resolve()
    return next((d for d in (resolved, *resolved.parents) if _is_git_work_tree(d)), None)


def _is_git_work_tree(directory: Path) -> bool:
    entry = directory / ".git"
    try:
        return entry.is_file() or (entry / "HEAD").is_file()
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
