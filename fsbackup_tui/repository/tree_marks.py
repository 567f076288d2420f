"""The mark of a tree that fsbackup made beside a root: a small file next to it.

``storage.restore-k3f9`` has ``.storage.restore-k3f9.fsbackup`` beside it, with the tree's inode
number: another directory of that name is not ours. A tree keeps its mark's content under every
name that it gets; nothing of ours lies inside it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

from fsbackup_tui.domain.tree import TreeKind
from fsbackup_tui.repository.files import create_file, replace_file, sync_directory

_ENDING = ".fsbackup"
_NAME = re.compile(r"\.(?P<root>.+)\.(?P<kind>restore|before|after)-(?P<tag>[A-Za-z0-9_-]{1,60})")
_LONGEST_NAME = 255
_LARGEST_MARK = 65_536


@dataclass(frozen=True, slots=True)
class Mark:
    """What a tree beside is: of which root, of which point and job, since when (ISO, UTC).

    ``complete`` False: it was being filled when that was written. ``since_ns`` is the file
    system's own time of an exchange that brought the tree here.
    """

    kind: TreeKind
    root: str
    inode: int
    part: str
    point: str
    job: str
    incident: str
    at: str
    complete: bool = True
    since_ns: int = 0
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Marked:
    """A tree beside with its mark; ``path`` is the tree's."""

    path: Path
    mark: Mark


def tree_path(root: Path, kind: TreeKind, tag: str) -> Path:
    """Return ``ROOT.restore-TAG``; the root's name is shortened, not the ending, to fit."""
    ending = f".{kind}-{tag}"
    room = _LONGEST_NAME - len(ending) - len(_ENDING) - 1
    name = os.fsdecode(os.fsencode(root.name)[:room])
    return root.with_name(name + ending)


def mark_path(tree: Path) -> Path:
    """Return where a tree's mark lies."""
    return tree.with_name(f".{tree.name}{_ENDING}")


def write_mark(tree: Path, mark: Mark) -> None:
    """Mark a tree, or change its mark; durable when it returns."""
    content = (json.dumps({"format": 1, **asdict(mark)}, indent=1) + "\n").encode()
    path = mark_path(tree)
    if path.exists():
        replace_file(path, content)
    else:
        create_file(path, content)
    sync_directory(path.parent)


def remove_mark(tree: Path) -> None:
    """Take a tree's mark away; durable when it returns."""
    mark_path(tree).unlink(missing_ok=True)
    sync_directory(tree.parent)


def read_mark(tree: Path) -> Mark | None:
    """Return a tree's mark, whatever stands under its name; None where it has none of ours."""
    path = mark_path(tree)
    with suppress(OSError, ValueError, KeyError, TypeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            # Where others may write beside the root, a mark of theirs marks nothing.
            if facts.st_uid not in (0, os.geteuid()):
                return None
            document = json.loads(file.read(_LARGEST_MARK))
        if document.pop("format") != 1 or document["kind"] not in get_args(TreeKind):
            return None
        known = {name: document[name] for name in Mark.__slots__ if name in document}
        return Mark(**known)
    return None


def is_marked(tree: Path, mark: Mark) -> bool:
    """Whether what stands under a tree's name is the directory that its mark is of."""
    with suppress(OSError):
        facts = tree.lstat()
        if not stat.S_ISDIR(facts.st_mode):
            return False
        return facts.st_ino == mark.inode or (mark.inode == 0 and not any(tree.iterdir()))
    return False


def make_marked(tree: Path, mark: Mark) -> Mark:
    """Make a directory of ours (0700), marked at every moment; returns its mark.

    Raises:
        FileExistsError: something stands there; it is left as it is.
    """
    if tree.exists() or tree.is_symlink():
        raise FileExistsError(errno.EEXIST, "exists", str(tree))
    write_mark(tree, replace(mark, inode=0))
    try:
        tree.mkdir(mode=0o700)
    except OSError:
        remove_mark(tree)
        raise
    tree.chmod(0o700)
    made = replace(mark, inode=tree.stat().st_ino)
    write_mark(tree, made)
    return made


def find_marked(root: Path, directory: Path) -> Iterator[Marked]:
    """Yield what bears a mark of this root in a directory, whether a tree stands there or not."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        return
    for name in names:
        if not name.endswith(_ENDING) or _NAME.fullmatch(name.removesuffix(_ENDING)) is None:
            continue
        tree = directory / name[1:].removesuffix(_ENDING)
        mark = read_mark(tree)
        if mark is not None and mark.root == str(root):
            yield Marked(tree, mark)
