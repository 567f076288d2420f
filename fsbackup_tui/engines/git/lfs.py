"""Git LFS objects that commits, the index or changed files stand for, as they lie on the disk.

A pointer is a small text in place of the file (git-lfs-spec): its object lies in
``lfs/objects/ab/cd/<sha256>`` of the git directory. Nothing of git-lfs is needed to read them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.engines.git.changes import Changes
from fsbackup_tui.engines.git.lfs_filter import LARGEST_POINTER, POINTER
from fsbackup_tui.engines.git.program import Git
from fsbackup_tui.engines.git.repository import Repository, joined, names_in

_SMALLEST = 120
_ATTRIBUTE = "filter=lfs"


@dataclass(frozen=True, slots=True)
class LfsObject:
    """An object that a pointer names; ``path`` is where it would lie."""

    oid: str
    bytes: int
    path: Path

    @property
    def is_there(self) -> bool:
        """Whether a file of the right size lies there."""
        return self.path.is_file() and self.path.stat().st_size == self.bytes

    @property
    def member(self) -> str:
        """The path below the git directory, where git-lfs looks for it."""
        return f"lfs/objects/{self.oid[:2]}/{self.oid[2:4]}/{self.oid}"


async def find_lfs_objects(
    git: Git, repository: Repository, head: str | None, changes: Changes, further: Iterable[str]
) -> list[LfsObject]:
    """Return the objects that the part needs, there or not, and what else is there.

    Needed are those of HEAD, of the index and of files that changed since. ``further`` names
    commits, as git rev-parse reads them: their objects may well be on another machine alone.
    """
    changed = await _changed(git, repository, changes)
    if not changed and not await _uses_lfs(git, repository, head):
        return []
    at = repository.place
    env = {"GIT_INDEX_FILE": str(changes.index)}
    blobs: dict[bytes, None] = {}
    if head is not None:
        listed = await git.read("ls-tree", "-r", "-z", "--full-tree", head, at=at)
        blobs |= dict.fromkeys(entry.split(b"\t")[0].split(b" ")[2] for entry in names_in(listed))
    listed = await git.read("ls-files", "--stage", "-z", at=at, env=env)
    blobs |= dict.fromkeys(entry.split(b"\t")[0].split(b" ")[1] for entry in names_in(listed))
    found = await _named(git, repository, blobs)
    asked = "".join(f"{commit}\n" for commit in further).encode()
    if asked:
        listed = await git.read("rev-list", "--objects", "--no-walk", "--stdin", at=at, stdin=asked)
        others = dict.fromkeys(line.split(b" ")[0] for line in listed.splitlines())
        there = await _named(git, repository, others)
        found = {oid: each for oid, each in there.items() if each.is_there} | found
    return list((found | {each.oid: each for each in changed}).values())


async def _named(git: Git, repository: Repository, blobs: Iterable[bytes]) -> dict[str, LfsObject]:
    """Return, by their ids, the objects that pointers among the blobs name."""
    at = repository.place
    asked = b"".join(blob + b"\n" for blob in blobs)
    sizes = await git.read("cat-file", "--batch-check", at=at, stdin=asked)
    small = [words[0] for line in sizes.splitlines() if _may_be_pointer(words := line.split())]
    asked = b"".join(blob + b"\n" for blob in small)
    content = await git.read("cat-file", "--batch", at=at, stdin=asked) if small else b""
    found: dict[str, LfsObject] = {}
    for blob in _contents(content):
        match = POINTER.match(blob)
        if match is not None:
            oid = match["oid"].decode()
            place = repository.large_objects / oid[:2] / oid[2:4] / oid
            found[oid] = LfsObject(oid, int(match["size"]), place)
    return found


async def _changed(git: Git, repository: Repository, changes: Changes) -> list[LfsObject]:
    """Return the changed files that no LFS object has yet: their patch is of a pointer alone."""
    if not changes.unstaged_names:
        return []
    told = await git.read(
        "check-attr", "--stdin", "-z", "filter",
        at=repository.place, env=changes.env, stdin=joined(changes.unstaged_names),
    )  # fmt: skip
    words = told.split(b"\0")
    found = []
    for name, value in zip(words[0::3], words[2::3], strict=False):
        path = repository.work_tree / name.decode("utf-8", "surrogateescape")
        if value == b"lfs" and (hashed := await asyncio.to_thread(_hash, path)) is not None:
            found.append(LfsObject(*hashed, path))
    return found


def _hash(path: Path) -> tuple[str, int] | None:
    """Return SHA-256 and size of a file that is no pointer itself; None for what is no such."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            return None
        raise ToolError(
            f"NOT CAPTURED: {path} can't be read.",
            why=f"The system says: {error.strerror}.",
            fix="Run the backup as a user who may read it.",
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or not facts.st_size:
            return None
        head = file.read(LARGEST_POINTER + 1)
        if POINTER.fullmatch(head):
            return None
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest(), facts.st_size


async def _uses_lfs(git: Git, repository: Repository, head: str | None) -> bool:
    if repository.large_objects.is_dir():
        return True
    if head is None:
        return False
    found = await git.run(
        "grep", "--quiet", "--fixed-strings", "--no-color", "--no-textconv",
        _ATTRIBUTE, head, "--", ".gitattributes", "**/.gitattributes",
        at=repository.place, check=False,
    )  # fmt: skip
    return found.exit_status == 0


def _may_be_pointer(words: list[bytes]) -> bool:
    return len(words) == 3 and words[1] == b"blob" and _SMALLEST <= int(words[2]) <= LARGEST_POINTER


def _contents(batch: bytes) -> Iterator[bytes]:
    """Yield each object of ``cat-file --batch``: a line that ends with its size, then itself."""
    position = 0
    while position < len(batch):
        end = batch.index(b"\n", position)
        size = int(batch[position:end].split()[-1])
        yield batch[end + 1 : end + 1 + size]
        position = end + size + 2
