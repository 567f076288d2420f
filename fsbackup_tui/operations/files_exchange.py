"""Letting a restored tree take live's place in one step, and letting the former one back.

What is live is kept, whole and marked, under another name. Whatever moment this is killed at, the
directories' inodes tell where it stands: asked again, it is brought to its end.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.tree import Exchanged, Found, TreeKind
from fsbackup_tui.engines.trees.carrying import carry, to_carry
from fsbackup_tui.engines.trees.comparing import Listing
from fsbackup_tui.engines.trees.exchanging import Done, Exchange, run_exchange
from fsbackup_tui.engines.trees.opened import LinkInTheWay, OpenTree, shown
from fsbackup_tui.engines.trees.touching import find_processes
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import (
    Ground,
    inode_of,
    marked_tree,
    open_ground,
    own_places,
    tag_of,
    why_not_beside,
)
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.site_requests import FilesExchangeRequest, FilesRollbackRequest
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.tree_marks import (
    mark_path,
    read_mark,
    remove_mark,
    tree_path,
    write_mark,
)

CARRY_LIST = "written-since.txt"


async def run(request: FilesExchangeRequest, context: JobContext) -> dict[str, object]:
    """Exchange, and return ``Exchanged``; done already is done, too.

    Raises:
        SafetyRefusal: live, or the tree, is not what was seen, or can't be exchanged here; nothing
            was changed.
    """
    refuse_if_read_only(context.loaded, "exchanges no files")
    context.stage("check")
    ground = open_ground(context, request.part)
    tree = Path(request.tree)
    kept = tree_path(ground.root, "before", request.tag or tag_of(tree))
    async with ground.alone():
        wanted = _wanted(ground, tree, request.inode, kept, request.live_inode, "before")
        context.stage("exchange")
        at, done = _exchange(ground, wanted, request.point, "before")
        context.stage("settle")
        return _document(ground, wanted, at, done)


async def run_rollback(request: FilesRollbackRequest, context: JobContext) -> dict[str, object]:
    """Let the former tree back, and return ``Exchanged``; with ``preview`` only count.

    Raises: as ``run``. UsageError: the tree that was kept is no whole one.
    """
    refuse_if_read_only(context.loaded, "exchanges no files")
    context.stage("check")
    ground = open_ground(context, request.part)
    tree = Path(request.kept_as)
    kept = tree_path(ground.root, "after", request.tag or tag_of(tree))
    async with ground.alone():
        mark = read_mark(tree)
        if mark is not None and mark.partial:
            raise UsageError(
                f"NOT A WHOLE TREE: {tree} holds single files that were overwritten.",
                fix="They are put back by taking back what was put into live.",
            )
        wanted = _wanted(
            ground, tree, request.kept_inode, kept, request.live_inode, "after", "before", "after"
        )
        since = mark.since_ns if mark is not None else 0
        pace = Pace(context.report, guard=ground.root.parent)
        list_path = ground.lists(tag_of(kept)) / CARRY_LIST
        is_due = wanted.standing() == "before"
        if request.preview:
            written = await paced(pace, lambda: written_since(ground, since, list_path))
            return {"ok": True, **plain(_preview(ground, wanted, context, written))}
        context.stage("carry")
        carried, notes = Found(), list[str]()
        if request.carry and is_due:
            carried, notes = await paced(pace, lambda: _carry(ground, tree, since, list_path, pace))
        context.stage("exchange")
        at, done = _exchange(ground, wanted, request.point, "after")
        context.stage("settle")
        after = replace(ground, root=wanted.kept)
        written = await paced(pace, lambda: written_since(after, since, list_path))
        document = _document(ground, wanted, at, done)
        more = {"written_since": plain(written.found), "carry": written.written}
        return {**document, **more, "carried": plain(carried), "notes": notes}


def _wanted(
    ground: Ground,
    tree: Path,
    inode: int,
    kept: Path,
    live_inode: int,
    kind: TreeKind,
    *kinds: TreeKind,
) -> Exchange:
    """Return what is to be exchanged; a former attempt that was cut short is gone on with."""
    begun = read_mark(kept)
    if begun is not None and begun.kind == kind and begun.job and tree.parent == kept.parent:
        coming = read_mark(tree)
        brings = inode or (coming.inode if coming is not None else 0)
        wanted = Exchange(ground.root, tree, kept, begun.inode, brings)
        if brings and wanted.standing() not in ("unknown", "before"):
            return wanted
    why = why_not_beside(ground.root)
    if why and ground.root.exists():
        raise SafetyRefusal(
            "NOT EXCHANGED. Nothing changed.",
            why=f"{why} A directory takes another's place only beside it.",
            fix="Put the files back one by one: fsbackup restore POINT --put-back",
        )
    if own := own_places(ground.root, ground.context.loaded):
        raise SafetyRefusal(
            "NOT EXCHANGED. Nothing changed.",
            why=f"{ground.root / own[0]} is fsbackup's own: it would go away with the tree.",
            fix="Put the files back one by one: fsbackup restore POINT --put-back",
        )
    found = marked_tree(ground, str(tree), inode, *(kinds or ("restore",)))
    there = inode_of(ground.root)
    if live_inode and there != live_inode:
        raise SafetyRefusal(
            "NOT EXCHANGED. Nothing changed.",
            why=f"{ground.root} is not the tree that was seen: it was exchanged or made anew.",
            fix="Look again: fsbackup leftovers",
        )
    return Exchange(ground.root, found.path, kept, there, found.mark.inode)


def _exchange(ground: Ground, wanted: Exchange, point: str, kind: TreeKind) -> tuple[str, Done]:
    """Write what is meant, exchange, and let the marks tell what is; returns when, and how."""
    context = ground.context
    standing = wanted.standing()
    if standing == "unknown":
        raise _taken(wanted)
    if standing == "before" and _is_taken(wanted):
        raise _taken(wanted)
    with writing(ground.root.parent):
        mark = read_mark(wanted.kept)
        is_new = mark is None or mark.inode != wanted.live_inode
        # One that an attempt wrote which was killed may lack the moment.
        if wanted.live_inode and (is_new or standing == "before"):
            mark = replace(ground.mark(kind, point, inode=wanted.live_inode), complete=True)
            write_mark(wanted.kept, mark)
            # The file system's own clock: by it is told what was written afterwards.
            since = mark_path(wanted.kept).stat().st_mtime_ns
            mark = replace(mark, since_ns=since)
            write_mark(wanted.kept, mark)
        done = _run(wanted)
        if wanted.coming != ground.root and not wanted.coming.exists():
            remove_mark(wanted.coming)
    if standing == "after":
        context.report(Log("It is done already: the trees have their new names."))
    former = f" The former one is {wanted.kept}." if wanted.live_inode else ""
    context.report(Log(f"{ground.root} is the other tree now.{former}"))
    return mark.at if mark is not None else "", done


def _is_taken(wanted: Exchange) -> bool:
    return wanted.kept.exists() or wanted.kept.is_symlink()


def _taken(wanted: Exchange) -> SafetyRefusal:
    return SafetyRefusal(
        "NOT EXCHANGED. Nothing changed.",
        why=f"{wanted.root}, {wanted.coming.name} and {wanted.kept.name} are not what they were: "
        "somebody renamed or made one of them.",
        fix="Look what they are: ls -ldi, and fsbackup leftovers",
    )


def _run(wanted: Exchange) -> Done:
    try:
        return run_exchange(wanted)
    except OSError as error:
        if wanted.standing() == "before" and not wanted.kept.exists():
            remove_mark(wanted.kept)
        if error.errno == errno.EBUSY:
            raise SafetyRefusal(
                "NOT EXCHANGED. Nothing changed.",
                why=f"{wanted.root} is busy: a file system is mounted on it.",
                fix="Put the files back one by one: fsbackup restore POINT --put-back",
            ) from error
        raise


def _document(ground: Ground, wanted: Exchange, at: str, done: Done) -> dict[str, object]:
    own = (os.getpid(), os.getppid())
    still_open, notes = find_processes(wanted.kept, ignore=own) if wanted.live_inode else ([], [])
    if still_open:
        who = ", ".join(f"{each.what} ({each.where})" for each in still_open[:5])
        ground.context.report(Warned(f"These go on writing to the former tree: {who}"))
    context = ground.context
    value = Exchanged(
        str(ground.root),
        str(wanted.kept) if wanted.live_inode else "",
        wanted.coming_inode,
        wanted.live_inode,
        context.now(),
        atomic=done.atomic,
        gap_seconds=round(done.gap_seconds, 6),
        still_open=tuple(still_open),
        notes=tuple(notes),
    )
    document: dict[str, object] = {"ok": True, **plain(value)}
    return {**document, "at": at} if at else document


def _preview(ground: Ground, wanted: Exchange, context: JobContext, written: Listing) -> Exchanged:
    return Exchanged(
        str(ground.root),
        str(wanted.kept),
        wanted.coming_inode,
        wanted.live_inode,
        context.now(),
        written_since=written.found,
        carry=written.written,
    )


def written_since(ground: Ground, since_ns: int, list_path: Path) -> Listing:
    """List the files that were written, or came, since an exchange: by their change time."""
    listing = Listing(list_path)
    with listing, OpenTree(ground.root) as live:
        for entry in live.walk():
            if entry.kind in ("file", "link") and entry.changed_ns >= since_ns:
                listing.add(entry.path, entry.size)
    return listing


def _carry(
    ground: Ground, tree: Path, since_ns: int, list_path: Path, pace: Pace
) -> tuple[Found, list[str]]:
    """Copy what was written since into the tree that comes back, before it does."""
    carried, notes = Listing(list_path), []
    with carried, OpenTree(ground.root) as live, OpenTree(tree) as target:
        for entry in to_carry((each, each.changed_ns >= since_ns) for each in live.walk()):
            try:
                how = carry(live, target, entry.path)
            except (LinkInTheWay, IsADirectoryError, NotADirectoryError):
                notes.append(f"not carried, something else has its name: {shown(entry.path)}")
                continue
            if how == "unsettled":
                notes.append(f"changed while it was copied: {shown(entry.path)}")
            if how != "gone" and entry.kind != "directory":
                carried.add(entry.path, entry.size)
            pace.step(detail=shown(entry.path))
    return carried.found, notes[:100]
