"""Whether a repository lies at a path, and the words for why not."""

from __future__ import annotations

import grp
import json
import os
import shlex
import stat
import uuid
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.errors import (
    RepositoryError,
    RepositoryMissing,
    RepositoryUnreadable,
)
from fsbackup_tui.repository.files import is_ours, open_to_us, owner_name

REPOSITORY_FORMAT = 1
REPOSITORY_NAME = "fsbackup.json"
_FSTAB = Path("/etc/fstab")
Whereabouts = Literal[
    "there", "not-mounted", "never-created", "no-identity", "not-readable", "not-a-directory"
]


def whereabouts(root: Path, *, remembered: bool = False) -> Whereabouts:
    """Tell whether a repository lies at ``root``, and if not, why that may be.

    ``remembered`` means that there was one before: an empty or absent directory is then taken
    for a mount that is not there. ``no-identity`` are points without the file that names their
    repository.
    """
    try:
        (root / REPOSITORY_NAME).stat()
    except PermissionError:
        return "not-readable"
    except NotADirectoryError:
        return "not-a-directory"
    except OSError:
        pass
    else:
        return "there" if os.access(root / REPOSITORY_NAME, os.R_OK) else "not-readable"
    if _unmounted_ancestor(root) is not None:
        return "not-mounted"
    try:
        if root.exists() and not root.is_dir():
            return "not-a-directory"
        empty = not root.exists() or not any(root.iterdir())
        if _points_in(root) or (remembered and (root / "points").is_dir()):
            return "no-identity"
    except OSError:
        return "not-readable"
    return "not-mounted" if remembered and empty else "never-created"


def _points_in(root: Path) -> int:
    points = root / "points"
    if not points.is_dir():
        return 0
    return sum(not entry.name.startswith(".") for entry in points.iterdir() if entry.is_dir())


def _unmounted_ancestor(root: Path) -> Path | None:
    """Return the mount point of /etc/fstab at or above ``root`` where nothing is mounted."""
    try:
        lines = _FSTAB.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        target = Path(fields[1].replace("\\040", " ").replace("\\011", "\t"))
        if target in (root, *root.parents) and target != Path("/") and not target.is_mount():
            return target
    return None


def missing(
    root: Path, where: Whereabouts, *, identifier: str | None = None, site: str | None = None
) -> RepositoryError:
    """Return the error that says where the repository is not, and what to do.

    ``identifier`` is the id that is remembered, ``site`` whose repository it should be.
    """
    if where == "not-readable":
        return unreadable(root)
    if where == "not-a-directory":
        return RepositoryMissing(
            f"NO REPOSITORY: {root} is no directory.",
            why="repository: in the config must name a directory.",
            fix="Correct repository: in the config.",
        )
    if where == "no-identity":
        return _without_identity(root, identifier, site)
    if where == "not-mounted":
        mount = _unmounted_ancestor(root)
        why = (
            f"/etc/fstab mounts {mount}, and nothing is mounted there now."
            if mount is not None
            else "It was there before; the directory is empty or gone now."
        )
        return RepositoryMissing(
            f"REPOSITORY NOT MOUNTED: {root}.",
            why=why + (f" Its id was {identifier}." if identifier else ""),
            fix="Mount its disk, or put the directory back; then run it again."
            if mount is None
            else f"mount {shlex.quote(str(mount))}   then run it again",
        )
    return RepositoryMissing(
        f"NO REPOSITORY at {root}.",
        why="None was ever made there; a backup never makes one by itself.",
        fix="Make it: fsbackup init   (or mount the disk it is on)",
    )


def _without_identity(root: Path, identifier: str | None, site: str | None) -> RepositoryError:
    count = _points_in(root)
    points = {0: "no point", 1: "1 point, untouched"}.get(count, f"{count} points, untouched")
    path = root / REPOSITORY_NAME
    if identifier is not None:
        known = f"This machine remembers its id: {identifier}."
        fix = "Put the file back with that id: fsbackup doctor --fix"
    else:
        known = "The id it had is not known here."
        document = {"format": REPOSITORY_FORMAT, "id": uuid.uuid4().hex, "site": site or "SITE"}
        fix = (
            "Put the file back from a copy of the repository, or try fsbackup doctor --fix "
            "wherever it was used before. Where there is neither, give it a new id:\n"
            f"echo {shlex.quote(json.dumps(document))} > {shlex.quote(str(path))}"
        )
    return RepositoryError(
        f"IDENTITY FILE MISSING: {path} is gone.",
        why=f"It names the repository; beside it lies {points}.\n{known}",
        fix=fix,
    )


def missing_points(root: Path) -> RepositoryError:
    """Return the error for a repository whose points were taken away: that is not an empty one."""
    points = root / "points"
    return RepositoryError(
        f"POINTS MISSING: {points} is gone.",
        why="The repository's other files are there; somebody moved or removed its points.",
        fix="Put the directory back, from a copy of the repository if need be.\n"
        f"Where it never held any: mkdir -m 700 {shlex.quote(str(points))}",
    )


def unreadable(path: Path) -> RepositoryError:
    """Return the error that says who may read the repository, or what it needs."""
    owner = owner_name(path)
    if is_ours(path):
        return RepositoryError(
            f"REPOSITORY NOT READABLE: {path}.",
            why="It belongs to you, but its mode keeps you out.",
            fix=open_to_us(path),
        )
    return RepositoryError(
        f"REPOSITORY NOT READABLE: {path} belongs to {owner}.",
        why="Recovery points hold all of the data, so only their owner may read them.",
        fix=f"sudo -u {owner} fsbackup",
    )


def state_closed(directory: Path) -> RepositoryUnreadable:
    """Return the error for a state directory that lets this user not in: whose it is, who may."""
    place = next(path for path in (directory, *directory.parents) if _is_seen(path))
    status, owner = place.stat(), owner_name(place)
    fix = f"sudo -u {owner} fsbackup …"
    belongs = owner
    if status.st_mode & stat.S_IXGRP:
        try:
            group = grp.getgrgid(status.st_gid).gr_name
        except KeyError:
            group = str(status.st_gid)
        belongs = f"{owner} and the group {group}"
        fix += f"\nOr join the group and log in anew: usermod -aG {group} NAME"
    return RepositoryUnreadable(
        f"STATE DIRECTORY NOT READABLE: {place} belongs to {belongs}.",
        why="Jobs and incidents are kept there; one may be open. Nothing was begun.",
        fix=fix,
    )


def _is_seen(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
