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
from pathlib import Path
from typing import ClassVar

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.engines.postgres.scratch_account import Account

ROOM_PREFIX = "fsbackup-scratch-"
_LEFT_OUT = ("include", "man", "doc")


def may_enter(directory: Path) -> bool:
    """Whether anybody at all may search the directory and every one above it."""
    return all(
        stat.S_IMODE(place.stat().st_mode) & stat.S_IXOTH
        for place in (directory.resolve(), *directory.resolve().parents)
    )


class Room:
    """A directory of ours in the system's temporary one, removed at the latest when we end.

    ``open_to_pass`` lets everybody pass through it (0711), which reveals no name; else it is 0700.
    A lock tells the next fsbackup whether the room's owner still lives.
    """

    def __init__(self, *, open_to_pass: bool) -> None:
        sweep_rooms()
        self.path = Path(tempfile.mkdtemp(prefix=ROOM_PREFIX, dir=_temporary(open_to_pass)))
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if open_to_pass:
            self.path.chmod(0o711)
        atexit.register(self.remove)

    def remove(self) -> None:
        """Delete the room with all that is in it."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1
            atexit.unregister(self.remove)


def _temporary(open_to_pass: bool) -> Path:
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for candidate in candidates:
        if candidate.is_dir() and (not open_to_pass or may_enter(candidate)):
            return candidate
    raise ToolError(
        "NO TEMPORARY DIRECTORY: other users may not enter any of "
        + ", ".join(str(candidate) for candidate in dict.fromkeys(candidates))
        + ".",
        fix="Set TMPDIR to a directory that everybody may enter.",
    )


def sweep_rooms() -> None:
    """Delete the rooms whose owner was killed before it could."""
    with contextlib.suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{ROOM_PREFIX}*"):
            if path.stat().st_uid == os.geteuid() and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


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


class ReadableBinaries:
    """The directory of a server's binaries, where the server's account can read them.

    Where it can't, the tree above ``bin`` and the libraries of its Python package
    (``NAME.libs`` beside ``NAME``) are put into a room, once for all servers of this process.
    """

    _copies: ClassVar[dict[Path, tuple[Room, Path]]] = {}
    _users: ClassVar[dict[Path, int]] = {}

    def __init__(self, bin_directory: Path, account: Account) -> None:
        self._original = bin_directory.resolve()
        self._copied = account.is_other_user and not may_enter(self._original)
        self.path = self._borrow() if self._copied else self._original

    def _borrow(self) -> Path:
        if self._original not in self._copies:
            room = Room(open_to_pass=True)
            self._copies[self._original] = room, _place_tree(self._original, room.path)
        self._users[self._original] = self._users.get(self._original, 0) + 1
        return self._copies[self._original][1]

    def give_back(self) -> None:
        """Let the copy go; it is deleted when no server of this process uses it."""
        if self._copied:
            self._copied = False
            self._users[self._original] -= 1
            if not self._users[self._original]:
                self._copies.pop(self._original)[0].remove()


def _place_tree(bin_directory: Path, room: Path) -> Path:
    tree = bin_directory.parent
    package = tree.parent
    place = room / package.name / tree.name
    place.parent.mkdir(mode=0o755)
    place.parent.chmod(0o755)
    shutil.copytree(
        tree,
        place,
        symlinks=True,
        copy_function=_link_or_copy,
        ignore=shutil.ignore_patterns(*_LEFT_OUT),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, room / libraries.name, copy_function=_link_or_copy)
    for directory in (path for path in room.rglob("*") if path.is_dir() and not path.is_symlink()):
        directory.chmod(0o755)
    return place / bin_directory.name


def _link_or_copy(source: str, target: str) -> str:
    """Link a file that everybody may read and only we may write, else copy it readable."""
    mode = Path(source).stat().st_mode
    if mode & stat.S_IROTH and not mode & (stat.S_IWGRP | stat.S_IWOTH):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return target
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    return target


def give_to(path: Path, user: int) -> None:
    """Make everything under the path, and the path itself, belong to the user id."""
    os.chown(path, user, user, follow_symlinks=False)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            os.chown(Path(directory, name), user, user, follow_symlinks=False)
