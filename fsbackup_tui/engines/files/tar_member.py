"""What a tar archive holds, entry by entry."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Literal

Kind = Literal["file", "directory", "symlink", "link", "fifo", "character", "block"]


@dataclass(slots=True)
class Member:
    """One entry of an archive; ``path`` has no ``./`` before it and no ``/`` behind it.

    The root itself is ``.``. ``size`` is the file's own, ``stored`` what of it lies in the
    archive (less for a sparse file, whose ``pieces`` are offsets and lengths in turn).
    ``target`` is where a symlink points, or the path of the member that a hard link is another
    name of. ``attributes`` are the records of extended attributes and access lists.
    """

    path: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    user: bytes
    group: bytes
    size: int
    mtime_ns: int
    target: bytes
    stored: int
    pieces: array[int] | None
    attributes: tuple[tuple[bytes, bytes], ...]
