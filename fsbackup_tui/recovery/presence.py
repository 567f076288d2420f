"""Who is at an incident right now: files that are locked for as long as a process lives."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.repository.files import make_state_directory, open_kept, state_file_mode
from fsbackup_tui.repository.incidents import Author

_DIRECTORY = "present"


class Presence:
    """This process's mark, as a leader or a watcher; gone when the process is.

    Without ``shown`` there is none: whoever only looks leaves nothing behind.
    """

    def __init__(self, directory: Path, author: Author, role: str, *, shown: bool = True) -> None:
        name = author.operator.replace("/", "_")
        self.path = directory / _DIRECTORY / f"{role}-{name}@{author.host}-{os.getpid()}"
        self._descriptor: int | None = None
        if not shown:
            return
        # Where it can't be written nobody is seen, and nobody is hindered.
        with suppress(OSError):
            make_state_directory(self.path.parent)
            self._descriptor = open_kept(self.path, mode=state_file_mode(self.path))
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def leave(self) -> None:
        """Take the mark away."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def present(directory: Path, role: str, *, sweeps: bool = True) -> tuple[str, ...]:
    """Return the names of those who are there in that role (``leader.EPOCH``, ``watcher``).

    ``sweeps``: the marks of those who are gone are taken away.
    """
    found: list[str] = []
    root = directory / _DIRECTORY
    for path in sorted(root.glob(f"{role}-*")) if root.is_dir() else ():
        if _is_held(path):
            found.append(path.name.removeprefix(f"{role}-").split("@")[0])
        elif sweeps:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return tuple(found)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
