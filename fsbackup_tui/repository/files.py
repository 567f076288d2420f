"""Private, durable files: modes under any umask, create-only writing, fsync, free space."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from fsbackup_tui.domain.errors import (
    DiskFull,
    PointDamaged,
    RepositoryUnreadable,
    RepositoryUnwritable,
)
from fsbackup_tui.domain.point import new_tag

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_SHARED_FILE_MODE = 0o660
_SHARED_DIRECTORY_MODE = 0o2770
TEMPORARY_PREFIX = ".tmp-"
_READ_BYTES = 1 << 20
_HASH_THREADS = 2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_AS_WE_ARE = os.access in os.supports_effective_ids
# What says nothing about the bytes: no right to them, their server is gone, too much is open.
_NOT_THE_BYTES = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN),
        *(errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    }
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what keeps us from reading, though the bytes may be good, into the repository's error.

    Raises:
        RepositoryUnreadable: no right to read ``path`` or what lies there, or its mount is gone.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_THE_BYTES:
            raise
        place = Path(error.filename) if isinstance(error.filename, str) else path
        raise RepositoryUnreadable(
            f"REPOSITORY NOT READABLE: {place}.",
            why=f"{error.strerror}. That says nothing about what is stored there.",
            fix=_readable_fix(place, error.errno),
        ) from error


def _readable_fix(path: Path, number: int | None) -> str:
    if number not in {errno.EACCES, errno.EPERM}:
        return "See whether its file system is mounted and answers, then run it again."
    for candidate in (path, *path.parents):
        with suppress(OSError):
            candidate.lstat()
            if is_ours(candidate):
                return open_to_us(candidate)
            owner = owner_name(candidate)
            return f"Run it as {owner}: sudo -u {owner} fsbackup …"
    return "Run it as the user that the repository belongs to."


def refuse_unreadable(root: Path) -> None:
    """Raise RepositoryUnreadable where a file or directory below ``root`` may not be read."""

    def give_up(error: OSError) -> None:
        raise error

    with reading(root):
        for directory, names, files in os.walk(root, onerror=give_up):
            wanted = ((names, os.R_OK | os.X_OK), (files, os.R_OK))
            for path, mode in ((Path(directory, n), m) for group, m in wanted for n in group):
                if not path.is_symlink() and not os.access(path, mode, effective_ids=_AS_WE_ARE):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says when ``path`` can't be written into the repository's errors.

    Raises:
        DiskFull: no space, or over quota.
        RepositoryUnwritable: read-only file system, or no right to write.
    """
    try:
        yield
    except OSError as error:
        place = Path(error.filename) if isinstance(error.filename, str) else path
        if error.errno in _FULL:
            raise DiskFull(
                f"DISK FULL: no space left while writing {place}.",
                why=f"{_free_text(path)} The work that was not whole is taken back.",
                fix="Free space there (fsbackup list shows the sizes), then run it again.",
            ) from error
        if error.errno in _UNWRITABLE:
            raise RepositoryUnwritable(
                f"REPOSITORY NOT WRITABLE: {place}.",
                why=f"{error.strerror}; list, show, verify and restore still work.",
                fix=_writable_fix(path, read_only=error.errno == errno.EROFS),
            ) from error
        raise


def _free_text(path: Path) -> str:
    try:
        return f"{free_bytes(path):,} bytes are free.".replace(",", " ")
    except OSError:
        return "The file system is full."


def _writable_fix(path: Path, *, read_only: bool) -> str:
    if read_only:
        return f"Mount the file system of {path} writable, or choose another repository."
    return f"Run it as {owner_name(path)}: sudo -u {owner_name(path)} fsbackup …"


def owner_name(path: Path) -> str:
    """Return the login name of whoever owns the path (or its nearest parent that exists)."""
    import pwd

    for candidate in (path, *path.parents):
        with suppress(OSError):
            uid = candidate.stat().st_uid
            try:
                return pwd.getpwuid(uid).pw_name
            except KeyError:
                return f"uid {uid}"
    return "root"


def is_ours(path: Path) -> bool:
    """Whether the path is there and belongs to the user that we run as."""
    with suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def open_to_us(path: Path) -> str:
    """Return the command that lets its owner read a path, and all below it, again."""
    return f"chmod -R u+rX {shlex.quote(str(path))}"


def free_bytes(path: Path) -> int:
    """Return the bytes a plain user may still write on the file system of ``path``.

    A path that does not exist yet is asked for its nearest parent; quotas are not known here.
    """
    for candidate in (path, *path.parents):
        try:
            facts = os.statvfs(candidate)
        except FileNotFoundError:
            continue
        return facts.f_bavail * facts.f_frsize
    return 0


class SpaceGuard:
    """Watches the free space of a path; ``check`` raises DiskFull below ``floor`` bytes."""

    def __init__(self, path: Path, floor: int) -> None:
        self._path = path
        self._floor = floor

    def check(self) -> int:
        """Return the free bytes; DiskFull when there are fewer than the floor."""
        free = free_bytes(self._path)
        if free < self._floor:
            raise not_enough_space(self._path, self._floor, free)
        return free


def not_enough_space(path: Path, needed: int, free: int) -> DiskFull:
    """Return the error that says how much is needed and how much there is."""
    needed_text, free_text = (f"{n:,}".replace(",", " ") for n in (needed, free))
    return DiskFull(
        f"NOT ENOUGH SPACE at {path}: {needed_text} bytes needed, {free_text} free.",
        why="Working on would fill the disk and leave nothing whole.",
        fix="Free space there, or let repository: name another disk.",
    )


def is_shared(directory: Path) -> bool:
    """Whether a directory was given to a group on purpose: set-group-id, and writable by it."""
    try:
        mode = directory.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def state_file_mode(path: Path) -> int:
    """Return the mode of a file of the state directory: 0600, or its group's where it is shared."""
    return _SHARED_FILE_MODE if is_shared(path.parent) else FILE_MODE


def make_state_directory(path: Path, *, exist_ok: bool = True) -> Path:
    """Make one directory of the state: 0700, or its group's where the parent is shared."""
    mode = _SHARED_DIRECTORY_MODE if is_shared(path.parent) else DIRECTORY_MODE
    return make_directory(path, exist_ok=exist_ok, mode=mode)


def share_with_group(directory: Path, group: int) -> None:
    """Give a directory to a group on purpose, with what is in it and what is made in it later."""
    for root, names, files in os.walk(directory):
        # A cluster's data directory is opened to nobody: its server would not start again.
        names[:] = [name for name in names if not Path(root, name, "PG_VERSION").exists()]
        for name in files:
            path = Path(root, name)
            # One that came or went meanwhile, or another user's.
            with suppress(OSError):
                if not path.is_symlink():
                    os.chown(path, -1, group)
                    path.chmod(_SHARED_FILE_MODE)
        with suppress(OSError):
            os.chown(root, -1, group)
            Path(root).chmod(_SHARED_DIRECTORY_MODE)


def make_directory(path: Path, *, exist_ok: bool = True, mode: int = DIRECTORY_MODE) -> Path:
    """Make one directory with mode 0700 under any umask and return it."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not exist_ok or not path.is_dir():
            raise
    else:
        path.chmod(mode)
    return path


def create_file(path: Path, content: bytes, *, mode: int = FILE_MODE) -> None:
    """Write a file that must not exist yet, 0600 from the first byte, and fsync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def open_kept(path: Path, *, mode: int = FILE_MODE) -> int:
    """Open a file that stays (a lock, a cache) for reading and writing, made 0600 if missing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    # Of another user's file the mode can't be changed, and need not be.
    with suppress(OSError):
        os.fchmod(descriptor, mode)
    return descriptor


def create_whole(path: Path, content: bytes) -> None:
    """Let a file appear whole or not at all, never over another: temporary, fsync, link.

    Raises FileExistsError when the name is taken. A file system without hard links (some
    network and FAT mounts) gets the rename that refuses nothing, after a look.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{new_tag()}")
    create_file(temporary, content)
    try:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                raise
            if path.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(path)) from error
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = FILE_MODE) -> None:
    """Replace a file by a new one atomically; for files outside the points alone."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{new_tag()}")
    try:
        create_file(temporary, content, mode=mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Make every file and directory below ``root`` private (0600, 0700) and durable."""
    for directory, names, files in os.walk(root, topdown=False):
        for name in files:
            descriptor = os.open(Path(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, FILE_MODE)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        for name in names:
            Path(directory, name).chmod(DIRECTORY_MODE)
        sync_directory(Path(directory))


def list_files(root: Path) -> list[str]:
    """Return every non-directory below ``root`` as a relative path with ``/``, sorted.

    Symbolic links are listed, never followed.
    """
    found: list[str] = []
    for directory, names, files in os.walk(root, followlinks=False):
        links = [name for name in names if Path(directory, name).is_symlink()]
        for name in (*files, *links):
            found.append(Path(directory, name).relative_to(root).as_posix())
    return sorted(found)


def hash_file(path: Path, advance: Callable[[int], None] | None = None) -> tuple[str, int]:
    """Return the SHA-256 (hex) and the bytes read of a regular file; links are refused.

    ``advance`` is told the bytes as they are read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PointDamaged(
                f"NOT A FILE: {path}.",
                why="Only regular files belong into a recovery point.",
                fix="Verify another point: fsbackup list",
            )
        digest = hashlib.sha256()
        buffer = bytearray(_READ_BYTES)
        view = memoryview(buffer)
        total = 0
        while count := file.readinto(buffer):
            digest.update(view[:count])
            total += count
            if advance is not None:
                advance(count)
    return digest.hexdigest(), total


def hash_files(
    paths: list[Path], advance: Callable[[int], None] | None = None
) -> list[tuple[str, int]]:
    """Return SHA-256 and size of several files, in their order, on two threads."""
    if len(paths) < 2:
        return [hash_file(path, advance) for path in paths]
    with ThreadPoolExecutor(_HASH_THREADS, thread_name_prefix="hash") as pool:
        return list(pool.map(lambda path: hash_file(path, advance), paths))


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it; what vanishes meanwhile is no error."""
    while path.exists():
        with suppress(FileNotFoundError):
            try:
                shutil.rmtree(path)
            except PermissionError:
                _make_writable(path)
                shutil.rmtree(path)


def _make_writable(path: Path) -> None:
    """Let the owner of a tree remove what is in it: what was unpacked may be read-only."""
    path.chmod(0o700)
    for top, names, _files in os.walk(path):
        for name in names:
            directory = Path(top, name)
            if not directory.is_symlink():
                directory.chmod(0o700)


def is_inside(root: Path, relative: str) -> bool:
    """Whether a relative path stays below ``root`` and no component of it is a link."""
    if not is_plain_path(relative):
        return False
    current = root
    for component in relative.split("/"):
        current = current / component
        if current.is_symlink():
            return False
    return True


def is_plain_path(relative: str) -> bool:
    """Whether a path is relative, has no ``.``, ``..`` or empty component and no NUL."""
    components = relative.split("/")
    return bool(relative) and "\0" not in relative and not {"", ".", ".."} & set(components)
