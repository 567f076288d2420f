"""Which database migrations a work tree has, by the layout of the tools that make them."""

from __future__ import annotations

from pathlib import Path

# Prisma's: a directory for each, its name begins with the time it was made.
_PRISMA = "prisma/migrations"
_FILE = "migration.sql"
_ELSEWHERE = (f"*/{_PRISMA}", f"*/*/{_PRISMA}")
_NOT_OURS = "node_modules"


def read_migrations(work_tree: Path) -> tuple[str, ...]:
    """Return the migrations' names, newest last; () where it is not sure which they are.

    They are looked for in ``prisma/migrations`` at the top; in a repository of several packages
    the only such directory counts, of two neither does.
    """
    top = work_tree / _PRISMA
    if top.is_dir():
        return _names(top)
    found = [
        directory
        for pattern in _ELSEWHERE
        for directory in work_tree.glob(pattern)
        if directory.is_dir() and _NOT_OURS not in directory.parts
    ]
    return _names(found[0]) if len(found) == 1 else ()


def _names(directory: Path) -> tuple[str, ...]:
    try:
        found = [entry.name for entry in directory.iterdir() if (entry / _FILE).is_file()]
    except OSError:
        return ()
    return tuple(sorted(found))
