"""Walking a tree of files in a stable order: what of it is captured, what is skipped, and why.

    walk = Walk(root, Selection(include, exclude))
    for entry in walk.entries(): …
    walk.state_sha256, walk.skipped, walk.vanished      # complete behind the last entry

Names are bytes: a file system takes any but ``/`` and NUL. Memory holds the names of one
directory of each level, what the system tells of a few hundred of them, and nothing that grows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import FilesUnreadable
from fsbackup_tui.domain.site_parts import LONGEST_LIST, Names
from fsbackup_tui.engines.files.index import shown_path

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
_SKIPPED = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_RACY_NANOSECONDS = 20_000_000
# Entries of a directory that are looked at in one go, and from how many on it is opened for that.
_LOOKED_AT_ONCE, _WORTH_OPENING = 256, 8
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HASHED_AT_ONCE = 256
# The NUL behind a path, then mode, owner, group, size, both times, inode.
_STATE = struct.Struct("<BIIIqqqQ")


class NameList:
    """Collects names for a manifest: all are counted, the first of them kept."""

    def __init__(self) -> None:
        self._count = 0
        self._names: list[str] = []

    def add(self, path: bytes, note: str = "") -> None:
        """Take in a name, with what kind of thing it is."""
        self._count += 1
        if len(self._names) < LONGEST_LIST:
            self._names.append(shown_path(path) + (f" ({note})" if note else ""))

    def __bool__(self) -> bool:
        return self._count > 0

    @property
    def names(self) -> Names:
        """What was collected."""
        return Names(self._count, tuple(self._names))


@dataclass(slots=True)
class Entry:
    """One entry as the file system told of it, ``path`` below the root (which is ``.``).

    ``fresh``: it was written so shortly before that one more write might leave its times as they
    are (the clock of file systems ticks every 4 to 10 ms). ``parent``: the directory in which it
    was found.
    """

    path: bytes
    kind: str
    status: os.stat_result
    fresh: bool = False
    parent: Entry | None = None


class Selection:
    """Which paths are meant: shell patterns, as the configuration describes them.

    A pattern without ``/`` is matched against names anywhere in the tree, one with ``/`` inside
    against the path below the root (``*`` and ``?`` don't match ``/``, ``**`` does); one that ends
    with ``/`` is meant for directories alone. What is below a directory that matches is meant, too.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = _Patterns(include)
        self._exclude = _Patterns(exclude)
        self.takes_all = not include
        self.leaves_out = bool(exclude)

    def excludes(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether it is left out, with all below it."""
        return self.leaves_out and self._exclude.match(path, is_directory=is_directory)

    def includes(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether it is named itself; what is below it then is taken as well."""
        return self._include.match(path, is_directory=is_directory)


class _Patterns:
    def __init__(self, patterns: Sequence[str]) -> None:
        self._names = _compiled(p for p in patterns if "/" not in p)
        self._directories = _compiled(p[:-1] for p in patterns if p.find("/") == len(p) - 1)
        inner = [p.removeprefix("./").removeprefix("/") for p in patterns if "/" in p[:-1]]
        self._paths = _compiled(p for p in inner if not p.endswith("/"))
        self._directory_paths = _compiled(p[:-1] for p in inner if p.endswith("/"))

    def match(self, path: bytes, *, is_directory: bool) -> bool:
        text = os.fsdecode(path)
        name = text.rpartition("/")[2]
        return bool(
            (self._names and self._names.fullmatch(name))
            or (self._paths and self._paths.fullmatch(text))
            or (
                is_directory
                and (
                    (self._directories and self._directories.fullmatch(name))
                    or (self._directory_paths and self._directory_paths.fullmatch(text))
                )
            )
        )


def _compiled(patterns: Iterator[str]) -> re.Pattern[str] | None:
    expressions = [_expression(pattern) for pattern in patterns]
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None


def _expression(pattern: str) -> str:
    """Return the regular expression of a shell pattern."""
    pieces: list[str] = []
    place = 0
    while place < len(pattern):
        letter = pattern[place]
        place += 1
        if letter == "*":
            deep = pattern.startswith("*", place)
            place += deep
            if deep and pattern.startswith("/", place):
                place += 1
                pieces.append("(?:.*/)?")
            else:
                pieces.append(".*" if deep else "[^/]*")
        elif letter == "?":
            pieces.append("[^/]")
        elif (
            letter == "["
            and (end := pattern.find("]", place + 1 + pattern.startswith("!", place))) > 0
        ):
            inside = pattern[place:end].replace("\\", "\\\\").replace("[", "\\[")
            if inside[0] in "!^":
                inside = "^/" + inside[1:]
            pieces.append(f"[{inside}]")
            place = end + 1
        else:
            pieces.append(re.escape(letter))
    return "".join(pieces)


class Walk:
    """One walk over a tree; ``entries`` may be called once.

    Raises FilesUnreadable, from ``entries`` too, where the root is no directory, or a directory
    or entry in it can't be read: a tree captured in part would pass for whole. ``apart`` are
    paths below the root that are none of the tree's, with all below them.
    """

    def __init__(
        self,
        root: Path,
        selection: Selection | None = None,
        *,
        one_file_system: bool = False,
        apart: Collection[bytes] = (),
    ) -> None:
        self.root = os.fsencode(os.path.realpath(root))
        self.skipped = NameList()
        self.vanished = NameList()
        self._selection = selection or Selection()
        self._one_file_system = one_file_system
        self._apart = frozenset(apart)
        self._state = hashlib.sha256()
        self._to_hash: list[bytes] = []
        # Directories on the way that are captured only if something in them is.
        self._waiting: list[Entry] = []
        try:
            self._status = os.stat(self.root)  # noqa: PTH116 (a path of bytes)
        except OSError as error:
            raise unreadable(b".", self.root, error) from error
        if not stat.S_ISDIR(self._status.st_mode):
            raise unreadable(b".", self.root, NotADirectoryError(errno.ENOTDIR, "Not a directory"))

    @property
    def state_sha256(self) -> str:
        """The sum of all that the file system told of the entries; see ``FilesFacts``."""
        self._hash()
        return self._state.hexdigest()

    def _hash(self) -> None:
        self._state.update(b"".join(self._to_hash))
        self._to_hash.clear()

    def entries(self) -> Iterator[Entry]:
        """Yield the entries, each directory before what is in it, names in the order of bytes."""
        waiting, pack = self._to_hash, _STATE.pack
        for entry in self._directory(Entry(b".", "directory", self._status), within=False):
            status = entry.status
            waiting.append(
                entry.path
                + pack(
                    0,
                    status.st_mode,
                    status.st_uid,
                    status.st_gid,
                    0 if entry.kind == "directory" else status.st_size,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_ino,
                )
            )
            if len(waiting) >= _HASHED_AT_ONCE:
                self._hash()
            yield entry

    def _directory(self, directory: Entry, *, within: bool) -> Iterator[Entry]:
        """Yield a directory and all below it that is meant.

        ``within``: it lies below one that the include patterns name. An own stack, not recursion,
        because trees may be deeper than Python's.
        """
        stack: list[tuple[Entry, Iterator[Entry], bool]] = []
        selection = self._selection
        within = within or selection.takes_all
        excludes = selection.excludes if selection.leaves_out else None
        stack.append((directory, self._look(directory, self._names(directory.path) or []), within))
        yield from self._entered(directory, within)
        while stack:
            parent, found, within = stack[-1]
            for entry in found:
                is_directory = entry.kind == "directory"
                if excludes is not None and excludes(entry.path, is_directory=is_directory):
                    continue
                taken = within or selection.includes(entry.path, is_directory=is_directory)
                if not is_directory:
                    if taken and entry.kind == "file" and not self._waiting:
                        yield entry
                    elif taken:
                        yield from self._taken(entry)
                    continue
                below: list[bytes] = []
                if not self._is_foreign(entry):
                    listed = self._names(entry.path)
                    if listed is None:
                        continue
                    below = listed
                yield from self._entered(entry, taken)
                stack.append((entry, self._look(entry, below), taken))
                break
            else:
                stack.pop()
                if self._waiting and self._waiting[-1] is parent:
                    self._waiting.pop()

    def _entered(self, directory: Entry, taken: bool) -> Iterator[Entry]:
        if taken:
            yield from self._taken(directory)
        else:
            self._waiting.append(directory)

    def _taken(self, entry: Entry) -> Iterator[Entry]:
        if entry.kind not in ("file", "directory", "symlink"):
            self.skipped.add(entry.path, entry.kind)
            return
        if self._waiting:
            yield from self._waiting
            self._waiting.clear()
        yield entry

    def _look(self, parent: Entry, names: list[bytes]) -> Iterator[Entry]:
        """Yield what is in a directory under these names; what has gone is listed as vanished.

        Some hundred are looked at in one go, through the directory itself: that is cheaper than
        each by its path.
        """
        prefix = b"" if parent.path == b"." else parent.path + b"/"
        if self._apart:
            names = [name for name in names if prefix + name not in self._apart]
        form_of, file = stat.S_IFMT, stat.S_IFREG
        for begin in range(0, len(names), _LOOKED_AT_ONCE):
            some = names[begin : begin + _LOOKED_AT_ONCE]
            # The time before the look: what is written while it lasts counts as fresh, too.
            fresh = time.time_ns() - _RACY_NANOSECONDS
            for name, status in zip(some, self._statuses(prefix, some), strict=True):
                if status is None:
                    continue
                form = form_of(status.st_mode)
                kind = "file" if form == file else _KINDS.get(form) or _skipped_kind(form)
                yield Entry(prefix + name, kind, status, status.st_ctime_ns > fresh, parent)

    def _statuses(self, prefix: bytes, names: list[bytes]) -> Sequence[os.stat_result | None]:
        if len(names) >= _WORTH_OPENING:
            lstat = os.lstat
            with suppress(OSError):
                directory = os.open(self.root + b"/" + prefix, _OPEN_DIRECTORY)
                try:
                    return [lstat(name, dir_fd=directory) for name in names]
                finally:
                    os.close(directory)
        return [self._status_of(prefix + name) for name in names]

    def _status_of(self, path: bytes) -> os.stat_result | None:
        try:
            return os.lstat(self.root + b"/" + path)
        except OSError as error:
            if error.errno in _GONE:
                self.vanished.add(path)
                return None
            raise unreadable(path, self.root, error) from error

    def _names(self, path: bytes) -> list[bytes] | None:
        try:
            names = os.listdir(place_of(self.root, path))  # noqa: PTH208 (a path of bytes)
        except OSError as error:
            if error.errno in _GONE and path != b".":
                self.vanished.add(path)
                return None
            raise unreadable(path, self.root, error) from error
        names.sort()
        return names

    def _is_foreign(self, entry: Entry) -> bool:
        return self._one_file_system and entry.status.st_dev != self._status.st_dev


def _skipped_kind(form: int) -> str:
    return _SKIPPED.get(form, "of an unknown kind")


def place_of(root: bytes, path: bytes) -> bytes:
    """Return where a path below the root lies."""
    return root if path == b"." else root + b"/" + path


def refuse_links(root: bytes, directory: bytes) -> None:
    """Raise FilesUnreadable if on the way from the root to a directory below it is a link.

    For a directory that was one when it was walked: what is read through a link that took its
    place may be anything that this user can read.
    """
    path = b""
    for name in (b".", *directory.split(b"/")):
        path = path + b"/" + name if path not in (b"", b".") else name
        try:
            form = os.lstat(place_of(root, path)).st_mode
        except OSError:
            return
        if stat.S_ISLNK(form):
            raise became_link(root, path)


def became_link(root: bytes, directory: bytes) -> FilesUnreadable:
    """Return the error that names a directory whose place a link took."""
    return FilesUnreadable(
        f"FILES NOT READ: {shown_path(place_of(root, directory))}.",
        why="A link took this directory's place while it was read: what was read through it is "
        "none of this tree's, and is not kept.",
        fix="Look who did that, then run the backup again.",
    )


def unreadable(path: bytes, root: bytes, error: OSError) -> FilesUnreadable:
    """Return the error that names what can't be read, and what the system says."""
    place = shown_path(place_of(root, path))
    name = errno.errorcode.get(error.errno or 0, "-")
    fixes = {
        errno.EACCES: "Let this user read it, run the backup as one who may, or exclude it.",
        errno.EPERM: "Let this user read it, run the backup as one who may, or exclude it.",
        errno.ENOENT: "Is it mounted? Is root: right?",
        errno.ENOTDIR: "Is root: right?",
        errno.EIO: "The disk or its controller fails: look at dmesg, and save what you can first.",
        errno.ENAMETOOLONG: "Its path is longer than 4095 bytes: move it up, or exclude it.",
    }
    return FilesUnreadable(
        f"FILES NOT READ: {place}.",
        why=f"The system says: {error.strerror} ({name}). Without it the part would not be whole.",
        fix=fixes.get(error.errno or 0, "Mend that, or exclude it."),
    )
