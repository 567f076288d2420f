"""A tree beside the live one: what differs, and taking along what live wrote later."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.tree import Carried, TreeDifference
from fsbackup_tui.engines.files.walk import Selection
from fsbackup_tui.engines.trees.carrying import carry, to_carry
from fsbackup_tui.engines.trees.comparing import (
    Listing,
    Verdict,
    compare_trees,
    side_by_side,
    without,
)
from fsbackup_tui.engines.trees.opened import Entry, LinkInTheWay, OpenTree, shown
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import Ground, marked_tree, open_ground, tag_of
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.site_requests import FilesCarryRequest, FilesCompareRequest
from fsbackup_tui.operations.trees import own_paths
from fsbackup_tui.repository.files import free_bytes, not_enough_space, writing

_MARGIN = 1.05


async def run(request: FilesCompareRequest, context: JobContext) -> dict[str, object]:
    """Compare, and return ``TreeDifference``."""
    context.stage("compare")
    ground = open_ground(context, request.part)
    tree = marked_tree(ground, request.tree, request.inode, "restore", "before", "after").path
    pace = Pace(context.report, guard=None)
    directory = ground.lists(tag_of(tree))
    found = await paced(
        pace, lambda: _compare(ground, tree, directory, pace, contents=request.contents)
    )
    return {"ok": True, **plain(found)}


def _compare(
    ground: Ground, tree: Path, directory: Path, pace: Pace, *, contents: bool
) -> TreeDifference:
    listings = {
        name: Listing(directory / f"compare-{name.replace('_', '-')}.txt")
        for name in ("only_tree", "only_live", "changed", "newer")
    }
    same = 0
    with ExitStack() as stack:
        for listing in listings.values():
            stack.enter_context(listing)
        beside, live = (stack.enter_context(OpenTree(path)) for path in (tree, ground.root))
        own = own_paths(ground)
        for one, other, verdict in _differences(beside, live, own, contents=contents):
            if verdict is None:
                entry = one or other
                if entry is not None and entry.kind != "directory":
                    name = "only_live" if one is None else "only_tree"
                    listings[name].add(entry.path, entry.size)
            elif other is not None and verdict == "same":
                same += other.kind != "directory"
            elif other is not None:
                listings["changed"].add(other.path, other.size)
                if verdict == "newer":
                    listings["newer"].add(other.path, other.size)
            pace.step()
    return TreeDifference(
        str(tree),
        str(ground.root),
        same,
        **{name: listing.found for name, listing in listings.items()},
        lists={name: listing.written for name, listing in listings.items() if listing.written},
    )


def _differences(
    beside: OpenTree, live: OpenTree, own: Collection[bytes], *, contents: bool
) -> Iterator[tuple[Entry | None, Entry | None, Verdict | None]]:
    """Yield both trees side by side, with how live differs; None where one has it alone.

    All of live counts, what the source leaves out, too: no point has that, and it would go away
    with the tree that is exchanged. What is ``own`` of fsbackup's does not.
    """
    for one, other in side_by_side(without(beside.walk(), own), without(live.walk(), own)):
        verdict: Verdict | None = None
        if one is not None and other is not None:
            verdict = compare_trees(beside, one, live, other, contents=contents)
        yield one, other, verdict


async def run_carry(request: FilesCarryRequest, context: JobContext) -> dict[str, object]:
    """Copy what live has alone, or wrote later, into the tree; returns ``Carried``.

    Raises:
        DiskFull: it would not fit; what was copied until then stays in the tree beside.
    """
    refuse_if_read_only(context.loaded, "copies no files")
    context.stage("compare")
    ground = open_ground(context, request.part)
    async with ground.alone():
        tree = marked_tree(ground, request.tree, request.inode, "restore", "before").path
        directory = ground.lists(tag_of(tree))
        carrying = _Carrying(ground, tree, request, directory)
        size = await paced(Pace(context.report, guard=None), carrying.measure)
        free = free_bytes(tree)
        if size * _MARGIN > free:
            raise not_enough_space(tree, int(size * _MARGIN), free)
        context.stage("copy")
        pace = Pace(context.report, total=float(size), unit="bytes", guard=tree)
        with writing(tree):
            found = await paced(pace, lambda: carrying.run(pace))
    for note in found.notes:
        context.report(Warned(note))
    return {"ok": True, **plain(found)}


@dataclass
class _Carrying:
    ground: Ground
    tree: Path
    request: FilesCarryRequest
    directory: Path

    def measure(self) -> int:
        """Return the bytes of what is to be copied."""
        with OpenTree(self.tree) as beside, OpenTree(self.ground.root) as live:
            return sum(entry.size for entry in self._wanted(beside, live))

    def run(self, pace: Pace) -> Carried:
        """Copy it."""
        done, unsettled = Listing(self.directory / "carried.txt"), Listing()
        notes, directories = [], 0
        with done, OpenTree(self.tree) as beside, OpenTree(self.ground.root) as live:
            # What is copied comes into the tree that is walked: what is to be copied is told first.
            wanted = [(one.path, one.size, one.kind) for one in self._wanted(beside, live)]
            for path, size, kind in wanted:
                try:
                    how = carry(live, beside, path)
                except (LinkInTheWay, IsADirectoryError, NotADirectoryError):
                    notes.append(f"not carried, something else has its name: {shown(path)}")
                    continue
                if how == "unsettled":
                    unsettled.add(path, size)
                if kind == "directory":
                    directories += how != "gone"
                elif how != "gone":
                    done.add(path, size)
                pace.step(max(size, 1), shown(path))
        return Carried(
            str(self.tree),
            str(self.ground.root),
            done.found,
            unsettled.found,
            done.written,
            tuple(notes[:100]),
            directories,
        )

    def _wanted(self, beside: OpenTree, live: OpenTree) -> Iterator[Entry]:
        """Yield what is to be copied; a directory of live's alone where there is nothing in it."""
        request = self.request
        selection = Selection(request.patterns)

        def asked() -> Iterator[tuple[Entry, bool]]:
            own = own_paths(self.ground)
            for one, other, verdict in _differences(beside, live, own, contents=False):
                if other is None:
                    continue
                is_new = request.only_live and one is None
                is_newer = request.newer and verdict == "newer"
                yield other, (is_new or is_newer) and matches(selection, other.path)

        return to_carry(asked())


def matches(selection: Selection, path: bytes) -> bool:
    """Whether a path, or a directory above it, is named by the patterns."""
    if selection.takes_all:
        return True
    above = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
    return selection.includes(path, is_directory=False) or any(
        selection.includes(each, is_directory=True) for each in above
    )
