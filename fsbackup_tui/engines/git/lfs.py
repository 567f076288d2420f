"""Git LFS objects that a commit or the index refers to, as they lie beside the repository.

A pointer is a small text in place of the file (git-lfs-spec): its object lies in
``lfs/objects/ab/cd/<sha256>`` of the git directory. Nothing of git-lfs is needed to read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.git.program import Git
from fsbackup_tui.engines.git.repository import Repository, names_in

_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d+)\n"
)
_SMALLEST, _LARGEST = 120, 1024
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
    git: Git, repository: Repository, head: str | None, index: Path
) -> list[LfsObject]:
    """Return the objects that files of HEAD and of the index point to, there or not."""
    if not await _uses_lfs(git, repository, head):
        return []
    at = repository.place
    env = {"GIT_INDEX_FILE": str(index)}
    blobs: dict[bytes, None] = {}
    if head is not None:
        listed = await git.read("ls-tree", "-r", "-z", "--full-tree", head, at=at)
        blobs |= dict.fromkeys(entry.split(b"\t")[0].split(b" ")[2] for entry in names_in(listed))
    listed = await git.read("ls-files", "--stage", "-z", at=at, env=env)
    blobs |= dict.fromkeys(entry.split(b"\t")[0].split(b" ")[1] for entry in names_in(listed))
    asked = b"".join(blob + b"\n" for blob in blobs)
    sizes = await git.read("cat-file", "--batch-check", at=at, stdin=asked)
    small = [words[0] for line in sizes.splitlines() if _may_be_pointer(words := line.split())]
    asked = b"".join(blob + b"\n" for blob in small)
    content = await git.read("cat-file", "--batch", at=at, stdin=asked) if small else b""
    found: dict[str, LfsObject] = {}
    for blob in _contents(content):
        match = _POINTER.match(blob)
        if match is not None:
            oid = match["oid"].decode()
            place = repository.common_directory / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
            found[oid] = LfsObject(oid, int(match["size"]), place)
    return list(found.values())


async def _uses_lfs(git: Git, repository: Repository, head: str | None) -> bool:
    if (repository.common_directory / "lfs").is_dir():
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
    return len(words) == 3 and words[1] == b"blob" and _SMALLEST <= int(words[2]) <= _LARGEST


def _contents(batch: bytes) -> Iterator[bytes]:
    """Yield each object of ``cat-file --batch``: a line that ends with its size, then itself."""
    position = 0
    while position < len(batch):
        end = batch.index(b"\n", position)
        size = int(batch[position:end].split()[-1])
        yield batch[end + 1 : end + 1 + size]
        position = end + size + 2
