"""What restoring a tree of files finds and does, as values; sizes are bytes.

Names are paths below the tree's root, with ``/``; what is not UTF-8 in them is written ``\\xNN``
for people. Lists are bounded (``LONGEST_LIST``), counts are not: whole lists lie in the files that
``lists`` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Conflict = Literal["keep", "newer", "both", "overwrite"]
"""What is done with a file that live has, too, and another: live stays as it is; the newer of
the two wins; the point's comes beside it, as ``NAME.from-POINT``; the point's takes its place.
What live loses to the point is kept aside first."""

CONFLICTS: tuple[Conflict, ...] = ("keep", "newer", "both", "overwrite")

TreeKind = Literal["restore", "before", "after"]
"""A tree beside the root: a restored one, the one that was live before an exchange or before
files were overwritten, the one that was live before an exchange was undone."""


@dataclass(frozen=True, slots=True)
class Found:
    """Some files of many: how many, their bytes, and the first of their names."""

    count: int = 0
    bytes: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Touching:
    """Something that may write or delete below the root; found by looking, as far as we may.

    ``stop`` is the command that keeps it from going on, empty where nobody can say.
    """

    kind: Literal["process", "cron", "timer", "at"]
    what: str
    where: str
    detail: str = ""
    stop: str = ""


@dataclass(frozen=True, slots=True)
class RowFit:
    """How live rows fit the files: ``rows`` name a file, ``missing`` one that live has not.

    Of the missing, ``in_point`` can be put back, and ``nowhere`` is in neither. ``rows`` None: they
    can't be read, ``note`` says why.
    """

    table: str
    column: str
    rows: int | None
    missing: Found = Found()
    in_point: Found = Found()
    nowhere: Found = Found()
    note: str = ""


@dataclass(frozen=True, slots=True)
class FilesLook:
    """Live's tree beside a point's.

    ``missing`` is in the point alone; ``wanted`` of it is what is put back by default: all of it,
    or with links what a live row names. ``unnamed`` is the rest, which users may have erased.
    ``changed`` differs in kind, size, time or content, ``newer`` of it was written later in live.
    ``needed_bytes`` is what putting back takes, ``beside_bytes`` what the whole tree takes.
    ``not_exchangeable`` says why directories can't be exchanged here; empty: they can.
    """

    part: str
    point: str
    root: str
    exists: bool
    files: int
    missing: Found = Found()
    wanted: Found = Found()
    unnamed: Found = Found()
    only_live: Found = Found()
    changed: Found = Found()
    newer: Found = Found()
    same: int = 0
    rows: tuple[RowFit, ...] = ()
    needed_bytes: int = 0
    beside_bytes: int = 0
    free_bytes: int | None = None
    seconds: float | None = None
    touching: tuple[Touching, ...] = ()
    not_exchangeable: str = ""
    lists: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutBack:
    """What was put back into live.

    ``undo`` is what FilesTakeBackRequest is given. ``kept`` are files that live has, too, and that
    stayed; ``beside`` came as ``NAME.from-POINT``; ``replaced`` took live's place, and what was
    live lies in ``kept_in``. ``came_meanwhile`` appeared in live while this ran, and stayed.
    ``nowhere`` are files that live rows name and that nothing has, ``nowhere_list`` the CSV file
    of these rows.
    """

    root: str
    undo: str
    put_back: Found
    directories: int = 0
    kept: Found = Found()
    beside: Found = Found()
    replaced: Found = Found()
    came_meanwhile: Found = Found()
    unnamed: Found = Found()
    nowhere: Found = Found()
    nowhere_list: str = ""
    kept_in: str = ""
    list_file: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What undoing it did: what was removed, what was live before and is again, what stays.

    ``stays`` was written to since, or is something else by now; ``gone`` was not there any more.
    """

    root: str
    removed: Found
    restored: Found = Found()
    stays: Found = Found()
    gone: Found = Found()
    directories: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeBeside:
    """A tree that was restored: whole, each file's hash compared with the point's."""

    tree: str
    root: str
    files: int
    bytes: int
    inode: int = 0
    owners: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeDifference:
    """A tree beside the live one; ``newer`` are those of ``changed`` that live wrote later."""

    tree: str
    root: str
    same: int
    only_tree: Found = Found()
    only_live: Found = Found()
    changed: Found = Found()
    newer: Found = Found()
    lists: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Carried:
    """What was copied from live into a tree beside; ``unsettled`` changed while it was copied.

    ``directories`` are those that live alone has, with nothing in them.
    """

    tree: str
    root: str
    carried: Found
    unsettled: Found = Found()
    list_file: str = ""
    notes: tuple[str, ...] = ()
    directories: int = 0


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Which tree is live now, and under which name the former one is kept.

    ``atomic``: there was no moment without a tree under the root's name; otherwise there was one
    of ``gap_seconds``. ``still_open`` are processes that have files of the former tree open, and
    go on writing there. ``written_since`` is what an exchange that was undone leaves in ``kept_as``
    that was written after it, ``carried`` what of it was taken along.
    """

    root: str
    kept_as: str
    inode: int
    kept_inode: int
    at: datetime
    atomic: bool = True
    gap_seconds: float = 0.0
    still_open: tuple[Touching, ...] = ()
    written_since: Found = Found()
    carried: Found = Found()
    carry: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftTree:
    """A tree beside a root that a recovery left, and that bears fsbackup's mark."""

    kind: TreeKind
    name: str
    path: str
    inode: int
    root: str
    of: str
    since: datetime | None
    files: int | None
    bytes: int | None
    what: str = ""
    held_by: str = ""
