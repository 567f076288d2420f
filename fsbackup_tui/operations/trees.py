"""The trees that recoveries left beside the site's own: listed, and dropped one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.sources import CodeSource, FilesSource
from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.tree import LeftTree, TreeKind
from fsbackup_tui.engines.trees.opened import OpenTree
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import Ground, alone_at, own_places
from fsbackup_tui.operations.leftover_look import time_of
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.places import place_paths
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.site_requests import DropTreeRequest, TreesRequest
from fsbackup_tui.operations.status import job_liveness, site_repository_or_none
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.incidents import list_incidents
from fsbackup_tui.repository.layout import site_state
from fsbackup_tui.repository.tree_marks import (
    Mark,
    Marked,
    find_marked,
    is_marked,
    mark_path,
    remove_mark,
)

TREE_SOURCES = (FilesSource, CodeSource)
"""The sources that recoveries leave trees beside."""
# In its own incident it may go before that is closed: it can be made again.
_REPLACEABLE = ("restore",)
_WHAT: dict[TreeKind, str] = {
    "restore": "a restored tree, beside {root}",
    "before": "{root} as it was before an exchange",
    "after": "{root} as it was before an exchange was undone",
}


async def run(request: TreesRequest, context: JobContext) -> dict[str, object]:
    """List what is left; returns ``{"trees": [LeftTree], "notes"}``."""
    context.stage("look")
    looking = _look(context)
    found, notes = [], []
    for part in _parts(request.part, context):
        root = _root(context, part)
        if not root.parent.is_dir():
            notes.append(f"{root.parent} is not there: what is left in it can't be seen.")
            continue
        _sweep_marks(looking, root)
        for marked in trees_of(root):
            if is_marked(marked.path, marked.mark):
                pace = Pace(context.report, guard=None)
                found.append(await paced(pace, _counting(looking, root, marked, pace)))
            elif marked.path.is_dir():
                notes.append(
                    f"{marked.path} is not the tree that its mark is of: an exchange was cut "
                    "short, or somebody made it anew. It is left alone."
                )
    found.sort(key=lambda tree: (tree.since is None, tree.since, tree.name))
    return {"ok": True, "trees": [plain(tree) for tree in found], "notes": notes}


async def run_drop(request: DropTreeRequest, context: JobContext) -> dict[str, object]:
    """Drop a tree, told by name and inode; returns ``{"dropped", "kind", "bytes"}``.

    Raises:
        UsageError: no tree of ours has the name.
        SafetyRefusal: it is held, or another has its name by now; nothing was dropped.
    """
    refuse_if_read_only(context.loaded, "drops nothing")
    context.stage("check")
    part, marked = _named(request, context)
    async with alone_at(context, part):
        looking = _look(context)
        pace = Pace(context.report, guard=None)
        root = _root(context, part)
        tree = await paced(pace, _counting(looking, root, marked, pace))
        _refuse(tree, request)
        context.stage("drop")
        with writing(marked.path):
            await paced(pace, lambda: _remove(marked, tree.inode))
            remove_mark(marked.path)
    context.report(Log(f"Dropped: {tree.name}."))
    return {"ok": True, "dropped": tree.name, "kind": tree.kind, "bytes": tree.bytes}


def _sweep_marks(looking: _Looking, root: Path) -> None:
    """Remove what a killed job left of a tree that it was about to make: its mark, and no tree."""
    if looking.context.loaded.config.read_only:
        return
    for marked in list(trees_of(root)):
        is_work = marked.mark.kind == "restore" or marked.mark.partial
        alone = is_work and not marked.path.exists()
        if alone and not looking.is_alive(marked.mark.job):
            with suppress(OSError):
                remove_mark(marked.path)


def marked_trees(ground: Ground) -> Iterator[Marked]:
    """Yield what bears a mark of this root: beside it, and in it where it is a mount point."""
    yield from trees_of(ground.root)


def trees_of(root: Path) -> Iterator[Marked]:
    """Yield the same by the root's path."""
    yield from find_marked(root, root.parent)
    yield from find_marked(root, root)


def _root(context: JobContext, part: str) -> Path:
    return place_paths(context.loaded, part)[0]


def own_paths(ground: Ground) -> frozenset[bytes]:
    """Return what of ours lies below the root, told from it: it is none of the site's files.

    Its repository and its state, and trees of restores with their marks.
    """
    trees = (marked.path for marked in marked_trees(ground) if marked.path.parent == ground.root)
    names = {os.fsencode(each.name) for path in trees for each in (path, mark_path(path))}
    places = own_places(ground.root, ground.context.loaded)
    return frozenset(names.union(os.fsencode(place) for place in places))


def _parts(part: str, context: JobContext) -> list[str]:
    sources = context.loaded.config.sources
    return [part] if part else [n for n, s in sources.items() if isinstance(s, TREE_SOURCES)]


def _named(request: DropTreeRequest, context: JobContext) -> tuple[str, Marked]:
    for part in _parts(request.part, context):
        for marked in trees_of(_root(context, part)):
            if marked.path.name == request.name and is_marked(marked.path, marked.mark):
                return part, marked
    raise UsageError(
        f"NO SUCH LEFTOVER: {request.name}.",
        why="No tree of that name bears fsbackup's mark.",
        fix="See what there is: fsbackup leftovers",
    )


def _refuse(tree: LeftTree, request: DropTreeRequest) -> None:
    if request.inode and request.inode != tree.inode:
        raise SafetyRefusal(
            f"NOT DROPPED: {tree.name} is not what it was.",
            why="Another tree has its name by now.",
            fix="Look again: fsbackup leftovers",
        )
    if tree.held_by:
        raise SafetyRefusal(
            f"NOT DROPPED: {tree.name} is held.",
            why=f"{tree.held_by}.",
            fix="Let go of it there first, then drop it again.",
        )


def _remove(marked: Marked, inode: int) -> None:
    with OpenTree(marked.path.parent) as parent:
        name = os.fsencode(marked.path.name)
        entry = parent.entry(name)
        if entry is None or entry.inode != inode:
            raise SafetyRefusal(
                f"NOT DROPPED: {marked.path.name} is not what it was.",
                why="It was renamed or made anew in this very moment.",
                fix="Look again: fsbackup leftovers",
            )
        parent.remove(name)


@dataclass(frozen=True)
class _Looking:
    context: JobContext
    is_alive: Callable[[str], bool]
    incidents: list[Incident]


def _look(context: JobContext) -> _Looking:
    repository = site_repository_or_none(context.loaded, os.environ)
    state = site_state(context.loaded, os.environ, repository)
    journals = [journal.read() for journal in list_incidents(state)]
    return _Looking(
        context,
        job_liveness(context.loaded, os.environ, repository),
        [incident for incident in journals if incident is not None],
    )


def _counting(looking: _Looking, root: Path, marked: Marked, pace: Pace) -> Callable[[], LeftTree]:
    def count() -> LeftTree:
        files = size = 0
        with OpenTree(marked.path) as tree:
            inode = tree.inode
            for entry in tree.walk():
                files += entry.kind != "directory"
                size += entry.blocks * 512 // max(1, entry.names)
                pace.step()
        mark = marked.mark
        return LeftTree(
            kind=mark.kind,
            name=marked.path.name,
            path=str(marked.path),
            inode=inode,
            root=str(root),
            of=mark.incident or mark.job,
            since=time_of(mark.at),
            files=files,
            bytes=size,
            what=_what(mark),
            held_by=_held_by(looking, marked),
        )

    return count


def _what(mark: Mark) -> str:
    if mark.kind == "before" and mark.partial:
        return f"files of {mark.root} that others took the place of"
    if mark.kind == "after" and mark.partial:
        return f"files of {mark.root} that were taken out of it again"
    if mark.kind == "restore" and (mark.partial or not mark.complete):
        return f"what a restore into {mark.root} left that never ended"
    return _WHAT[mark.kind].format(root=mark.root)


def _held_by(looking: _Looking, marked: Marked) -> str:
    mark, here = marked.mark, looking.context.incident
    if not mark.complete and mark.job != looking.context.job and looking.is_alive(mark.job):
        return f"the job {mark.job} is filling it"
    for incident in looking.incidents:
        own = here is not None and here.name == incident.id and mark.kind in _REPLACEABLE
        if incident.id == mark.incident and incident.closed is None and not own:
            return f"incident {incident.id} is open: it may be needed to go back, or be looked at"
    return ""
