"""Making the tree that a drill plays on: a point's, in a directory beside live's, then damaged."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.errors import PointNotFound, SafetyRefusal, UsageError
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.engines.git.program import GitPlace, find_git
from fsbackup_tui.operations import files_beside, restore_code
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.place_requests import RehearseTreeRequest
from fsbackup_tui.operations.places import kind_of, place_paths, place_source
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.rehearsal import newest_good
from fsbackup_tui.operations.site_requests import FilesBesideRequest, RestoreCodeRequest
from fsbackup_tui.repository.files import remove_tree
from fsbackup_tui.repository.tree_marks import (
    Mark,
    is_marked,
    make_marked,
    read_mark,
    remove_mark,
    tree_path,
    write_mark,
)

_EVERY = 3
_WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "fsbackup"), ("EMAIL", "fsbackup@localhost"))
}


async def run(request: RehearseTreeRequest, context: JobContext) -> dict[str, object]:
    """Restore the newest good point's tree beside live's, and damage it.

    It lies in a directory of its own, ``ROOT.restore-INCIDENT-drill``, which bears our mark: what
    the drill makes beside the tree is in there, too, and all of it goes with the directory.

    Raises:
        UsageError: it is of a kind that no drill plays with. What restoring it raises: nothing is
        left then.
    """
    refuse_if_read_only(context.loaded, "makes no tree to practise on")
    context.stage("check")
    kind = kind_of(place_source(context.loaded, request.part))
    if kind == "config":
        raise UsageError(f"NO DRILL: {request.part} is a configuration.")
    root = place_paths(context.loaded, request.part)[0]
    point = newest_good(request.part, context)
    incident = context.incident.name if context.incident is not None else ""
    around = tree_path(root, "restore", f"{incident or context.job.rpartition('-')[2]}-drill")
    await asyncio.to_thread(_remove_killed, around)
    if not root.parent.is_dir():
        raise PointNotFound(f"NOT MADE: {root.parent} is not there. Nothing was done.")
    mark = Mark(
        kind="restore",
        root=str(root),
        inode=0,
        part=request.part,
        point=point,
        job=context.job,
        incident=incident,
        at=format_time(context.now()),
        complete=False,
    )
    made = await asyncio.to_thread(make_marked, around, mark)
    tree = around / root.name
    quiet = replace(context, stage=lambda _name: None)
    context.stage("restore")
    try:
        if kind == "files":
            asked = FilesBesideRequest(request.part, point, directory=str(tree))
            await files_beside.run(asked, quiet)
            context.stage("damage")
            damage = await asyncio.to_thread(_delete_some, tree)
        else:
            await restore_code.run(RestoreCodeRequest(point, request.part, str(tree)), quiet)
            context.stage("damage")
            damage = await _commit_nonsense(context, tree)
        await asyncio.to_thread(write_mark, around, replace(made, complete=True))
    except BaseException:
        with suppress(OSError):
            remove_tree(around)
        remove_mark(around)
        raise
    return {
        "ok": True,
        "tree": str(tree),
        "name": around.name,
        "inode": made.inode,
        "point": point,
        "damage": damage,
    }


def _remove_killed(around: Path) -> None:
    """Remove what an attempt left that nobody saw the end of."""
    mark = read_mark(around)
    if mark is not None and is_marked(around, mark):
        remove_tree(around)
    if around.exists() or around.is_symlink():
        raise SafetyRefusal(f"NOT MADE: {around} is there, and is not ours. Nothing was done.")
    with suppress(OSError):
        remove_mark(around)


def _delete_some(tree: Path) -> str:
    """Delete every third file, as a script would that takes too many for old."""
    files = sorted(Path(directory, name) for directory, _, names in os.walk(tree) for name in names)
    doomed = files[::_EVERY]
    for path in doomed:
        path.unlink()
    return f"{len(doomed)} of {len(files)} files were deleted"


async def _commit_nonsense(context: JobContext, tree: Path) -> str:
    """Commit a line to the first file that git knows, as a deployment in a hurry would."""
    git = await find_git(context.work, report=context.report, redactor=context.redactor)
    place = GitPlace(tree / ".git", tree)
    listed = await git.run("ls-files", "-z", at=place)
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    name = next((n for n in names if (tree / n).is_file() and not (tree / n).is_symlink()), "")
    if not name:
        return "nothing: its commit has no file"
    await asyncio.to_thread(_append, tree / name)
    words = ("commit", "--quiet", "--all", "--no-verify", "--no-gpg-sign", "--message=A drill.")
    await git.run(*words, at=place, env=_WHO)
    return f"a line was added to {name}, and committed"


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\nthis line is a drill's, and wrong\n")
