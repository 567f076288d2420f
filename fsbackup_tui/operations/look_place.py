"""Looking at what is at a source's paths: which directory, whose, on which disk, who is there."""

from __future__ import annotations

import asyncio
import getpass
import grp
import os
import pwd
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.place import PathIdentity, PlaceStanding
from fsbackup_tui.domain.standing import environment_named
from fsbackup_tui.domain.tree import LeftTree, Touching
from fsbackup_tui.engines.mounts import mount_of, unmounted_above
from fsbackup_tui.engines.trees.touching import find_touching
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.place_requests import LookPlaceRequest
from fsbackup_tui.operations.places import (
    configured_path,
    identity_of,
    kind_of,
    place_paths,
    place_source,
)
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.repository.tree_marks import find_marked, is_marked

_MOST_TOUCHING = 40


async def run(request: LookPlaceRequest, context: JobContext) -> dict[str, object]:
    """Return ``PlaceStanding``; nothing but the file system's own facts is read.

    Raises:
        UsageError: the source is none of files, configuration or code.
    """
    context.stage("look")
    place_source(context.loaded, request.part)
    standing = await asyncio.to_thread(look_around, request.part, context)
    context.report(Log(f"Target: {standing.path} on {standing.host}"))
    return {"ok": True, **plain(standing)}


def look_around(part: str, context: JobContext) -> PlaceStanding:
    """Return what stands at the paths of a source now."""
    kind = kind_of(place_source(context.loaded, part))
    paths = place_paths(context.loaded, part)
    path = paths[0]
    here = tuple(identity_of(each) for each in paths)
    above = _nearest(path)
    owner, mode, notes = _whose(path)
    free, total = _space(above)
    mount = mount_of(above)
    environment, sign = environment_named(context.host, "")
    touching, unseen = _touching(path, kind, here[0])
    missing = [each.path for each in here[1:] if not each.is_there]
    if missing:
        notes.append(f"Not there: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}")
    return PlaceStanding(
        at=context.now(),
        source=part,
        kind=kind,
        host=context.host,
        role=_me(),
        paths=here,
        configured=configured_path(context.loaded, part),
        owner=owner,
        mode=mode,
        file_system="" if mount is None else mount.words,
        free_bytes=free,
        total_bytes=total,
        writable=os.access(path if path.is_dir() else path.parent, os.W_OK | os.X_OK)
        if above == path or path.parent.exists()
        else os.access(above, os.W_OK | os.X_OK),
        unmounted=unmounted_above(path),
        environment=environment,
        environment_from=sign,
        touching=touching[:_MOST_TOUCHING],
        beside=_beside(path) if kind == "files" else (),
        notes=(*notes, *unseen),
    )


def _nearest(path: Path) -> Path:
    """Return the path, or what is above it where it is gone."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def _whose(path: Path) -> tuple[str, str, list[str]]:
    try:
        facts = path.stat()
    except OSError as error:
        link = " (a link that leads nowhere)" if path.is_symlink() else ""
        return "", "", [f"{path}: {error.strerror}{link}"]
    user, group = str(facts.st_uid), str(facts.st_gid)
    with suppress(KeyError):
        user = pwd.getpwuid(facts.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(facts.st_gid).gr_name
    return f"{user}:{group}", stat.filemode(facts.st_mode), []


def _space(path: Path) -> tuple[int | None, int | None]:
    with suppress(OSError):
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    return None, None


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def _touching(
    path: Path, kind: str, here: PathIdentity
) -> tuple[tuple[Touching, ...], Sequence[str]]:
    """Return who is at work there; of a configuration's files nobody is looked for."""
    if kind == "config":
        return (), ()
    found, unseen = find_touching(path, ignore=own_processes())
    # A look must not take long: what can't be seen is said once, and not with every step.
    return tuple(found), unseen if here.is_there else ()


def own_processes() -> tuple[int, ...]:
    """Return this process and those above it: the shell that stands in the directory is a person's.

    The worker was started by the face, and the face by the shell.
    """
    found, pid = [], os.getpid()
    while pid > 1:
        found.append(pid)
        try:
            after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
            pid = int(after.split()[1])
        except (OSError, ValueError, IndexError):
            break
    return tuple(found)


def _beside(root: Path) -> tuple[LeftTree, ...]:
    return tuple(
        LeftTree(
            kind=each.mark.kind,
            name=each.path.name,
            path=str(each.path),
            inode=each.mark.inode,
            root=str(root),
            of=each.mark.point,
            since=None,
            files=None,
            bytes=None,
            held_by=each.mark.incident,
        )
        for each in (*find_marked(root, root.parent), *find_marked(root, root))
        if is_marked(each.path, each.mark)
    )
