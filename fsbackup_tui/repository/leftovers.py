"""What a point in the making leaves behind, whose it is, and how it is swept."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.repository.files import (
    FILE_MODE,
    TEMPORARY_PREFIX,
    create_file,
    remove_tree,
    writing,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Holder, Lock, is_locked
from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME

PARTIAL_PREFIX = ".partial-"
MARKER_NAME = ".job"
PART_MARKER_NAME = "job"
_WRITE_LOCK_WAIT = 600.0


@contextmanager
def write_lock(repository: Repository, job: str, operator: str) -> Iterator[None]:
    """Hold the repository's write lock for the block; waits for other short holders."""
    holder = Holder(operator, socket.gethostname(), os.getpid(), job, datetime.now(UTC))
    lock = Lock(repository.write_lock(), what="the repository (for writing)")
    with lock.acquire(_WRITE_LOCK_WAIT, holder):
        yield


def make_marker(path: Path, job: str) -> int:
    """Make the file that names the job writing a point; return it open and locked."""
    create_file(path, f"{job}\n".encode())
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def writing_job(directory: Path) -> str | None:
    """Return the job whose marker lies in a point's directory, None where there is none."""
    try:
        return (directory / MARKER_NAME).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def is_being_written(directory: Path, is_alive: Callable[[str], bool] | None = None) -> bool:
    """Whether a living job writes this point: its marker is locked, or the job is known alive."""
    job = writing_job(directory)
    if job is None:
        return False
    return is_locked(directory / MARKER_NAME) or (is_alive is not None and is_alive(job))


def sweep_leftovers(repository: Repository, is_alive: Callable[[str], bool]) -> list[str]:
    """Remove what dead jobs left; return what was removed, as paths below the repository.

    What a living job writes (``is_alive`` says so, or its marker is still locked) is left
    alone, and so are whole parts without a manifest: they are an incomplete point.

    Raises:
        RepositoryUnwritable: the repository can't be written.
    """
    removed: list[str] = []
    with writing(repository.points), write_lock(repository, "sweep", "fsbackup"):
        for directory in sorted(repository.points.iterdir()):
            name = directory.name
            whole = (directory / MANIFEST_NAME).exists()
            if not directory.is_dir() or is_being_written(directory, is_alive):
                continue
            if name.startswith(PARTIAL_PREFIX):
                remove_tree(directory)
                removed.append(f"points/{name}")
            elif not whole or (directory / MARKER_NAME).exists():
                removed += sweep_point(repository, directory)
    return removed


def sweep_point(repository: Repository, directory: Path) -> list[str]:
    """Remove what is partial in a point, and the point itself if no whole part is left."""
    removed: list[str] = []
    if not directory.is_dir():
        return removed
    with writing(directory):
        for path in sorted(directory.iterdir()):
            if path.name.startswith(PARTIAL_PREFIX):
                remove_tree(path)
                removed.append(f"points/{directory.name}/{path.name}")
            elif path.name.startswith(TEMPORARY_PREFIX):
                path.unlink(missing_ok=True)
        if not (directory / MANIFEST_NAME).exists() and not whole_parts(directory):
            doomed = repository.points / f"{PARTIAL_PREFIX}{directory.name}"
            directory.rename(doomed)
            remove_tree(doomed)
            removed.append(f"points/{directory.name}")
        else:
            (directory / MARKER_NAME).unlink(missing_ok=True)
    return removed


def whole_parts(directory: Path) -> list[str]:
    """Return the sources whose parts stand whole in a point's directory, sorted by name."""
    try:
        return sorted(
            path.name
            for path in directory.iterdir()
            if not path.name.startswith(".") and (path / PART_NAME).is_file()
        )
    except OSError:
        return []
