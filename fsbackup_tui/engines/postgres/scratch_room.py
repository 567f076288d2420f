"""Rooms for throw-away servers: temporary directories that another user id can reach.

Files under directories that the server's user id may not enter (a virtual environment in
/root, a private temporary directory) are put into such a room; no existing directory's mode is
ever changed.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError

ROOM_PREFIX = "fsbackup-scratch-"

_DELETE_ATTEMPTS = 20
_DELETE_PAUSE_SECONDS = 0.05


def may_enter(directory: Path) -> bool:
    """Whether anybody at all may search the directory and every one above it."""
    return all(
        stat.S_IMODE(place.stat().st_mode) & stat.S_IXOTH
        for place in (directory.resolve(), *directory.resolve().parents)
    )


class Room:
    """A directory of ours in the system's temporary one, removed at the latest when we end.

    ``open_to_pass`` lets everybody pass through it (0711), which reveals no name; else it is 0700.
    ``parent`` is another place for it. A lock tells the next fsbackup whether the room's owner
    still lives.
    """

    def __init__(self, *, open_to_pass: bool, parent: Path | None = None) -> None:
        sweep_rooms([parent] if parent is not None else ())
        place = parent if parent is not None else _temporary(open_to_pass)
        self.path = Path(tempfile.mkdtemp(prefix=ROOM_PREFIX, dir=place))
        # The lock gets its name when it is held: a sweeper takes a free one for abandoned.
        unnamed = self.path / "lock.new"
        self._lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self.path / "lock")
        if open_to_pass:
            self.path.chmod(0o711)
        atexit.register(self.remove)

    def remove(self) -> None:
        """Delete the room with all that is in it."""
        if self._lock >= 0:
            with contextlib.suppress(FileNotFoundError):
                _delete_room(self.path)
            os.close(self._lock)
            self._lock = -1
            atexit.unregister(self.remove)


def temporary_directories() -> list[Path]:
    """Return where the system lets temporary files be put, the one it names first."""
    candidates = (tempfile.gettempdir(), "/tmp", "/var/tmp")  # noqa: S108
    return [path for name in dict.fromkeys(candidates) if (path := Path(name)).is_dir()]


def _temporary(open_to_pass: bool) -> Path:
    candidates = temporary_directories()
    for candidate in candidates:
        if not open_to_pass or may_enter(candidate):
            return candidate
    names = ", ".join(str(candidate) for candidate in candidates)
    raise ToolError(
        f"NO TEMPORARY DIRECTORY: other users may not enter any of {names}.",
        fix="Set TMPDIR to a directory that everybody may enter.",
    )


def sweep_rooms(also: Iterable[Path] = ()) -> None:
    """Delete the rooms whose owner was killed before it could.

    ``also`` are directories to look in besides the temporary ones.
    """
    for directory in dict.fromkeys((*temporary_directories(), *also)):
        for path in directory.glob(f"{ROOM_PREFIX}*"):
            sweep_room(path)


def sweep_room(path: Path) -> None:
    """Delete a room, if it is one of ours and its owner lives no more."""
    with contextlib.suppress(OSError):
        if path.lstat().st_uid == os.geteuid() and _is_abandoned(path):
            _delete_room(path)


def sweep_linked_rooms(directory: Path) -> None:
    """Delete the abandoned rooms that links in a directory lead to (a lost job's servers)."""
    with contextlib.suppress(OSError):
        for link in list(directory.iterdir()):
            if link.is_symlink() and (room := link.readlink()).name.startswith(ROOM_PREFIX):
                sweep_room(room)


def _delete_room(path: Path) -> None:
    """Delete a room; the lock goes last, so that what can't be deleted now is swept later.

    A server that was killed a moment ago may still write into it.
    """
    for _attempt in range(_DELETE_ATTEMPTS):
        for entry in list(path.iterdir()):
            if entry.name == "lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    entry.unlink()
        if [entry.name for entry in path.iterdir()] in (["lock"], []):
            shutil.rmtree(path, ignore_errors=True)
            return
        time.sleep(_DELETE_PAUSE_SECONDS)


def _is_abandoned(path: Path) -> bool:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def give_to(path: Path, user: int) -> None:
    """Make everything under the path, and the path itself, belong to the user id."""
    os.chown(path, user, user, follow_symlinks=False)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            os.chown(Path(directory, name), user, user, follow_symlinks=False)


def remove_tree(path: Path) -> None:
    """Delete a directory with all that is in it, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
