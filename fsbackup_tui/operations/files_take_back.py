"""Putting a list of entries into live, and taking what it did back: by its journal alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.tree import TakenBack
from fsbackup_tui.engines.trees.comparing import Listing
from fsbackup_tui.engines.trees.opened import OpenTree, shown
from fsbackup_tui.engines.trees.placing import Placing, Trees, place_all, take_back_all
from fsbackup_tui.engines.trees.renaming import rename_new, sync_file_system
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import TREES, Ground, inode_of, open_ground
from fsbackup_tui.operations.files_staging import remove_work
from fsbackup_tui.operations.pacing import Pace, paced
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.site_requests import FilesTakeBackRequest
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.tree_marks import is_marked, read_mark
from fsbackup_tui.repository.undo_lists import (
    Heading,
    read_backwards,
    read_heading,
    read_placings,
)

Hear = Callable[[Placing, str], None]


@dataclass
class Told:
    """How each entry went."""

    placed: Listing = field(default_factory=Listing)
    replaced: Listing = field(default_factory=Listing)
    beside: Listing = field(default_factory=Listing)
    taken: Listing = field(default_factory=Listing)
    blocked: Listing = field(default_factory=Listing)
    lost: Listing = field(default_factory=Listing)
    refused: Listing = field(default_factory=Listing)
    directories: int = 0

    def hear(self, item: Placing, outcome: str) -> None:
        """Take in how one entry went."""
        if item.kind == "directory":
            self.directories += outcome == "placed"
            if outcome == "refused":
                self.refused.add(item.path)
            return
        listings = {
            "placed": self.placed,
            "replaced": self.replaced,
            "taken": self.taken,
            "blocked": self.blocked,
            "no parent": self.lost,
            "refused": self.refused,
        }
        if outcome == "placed" and item.path != item.staged.partition(b"/")[2]:
            self.beside.add(item.path, item.size)
        elif outcome in listings:
            listings[outcome].add(item.path, item.size)

    def notes(self) -> Iterator[str]:
        """Yield what a person should know."""
        for listing, why in (
            (self.taken, "appeared in live meanwhile, and stayed as they are"),
            (self.blocked, "were not put back: a link, or a file, is where a directory was"),
            (self.lost, "were not put back: their directory was taken away meanwhile"),
            (self.refused, "were not put back: this user may not write there"),
        ):
            if listing.count:
                names = ", ".join(listing.names[:3]) + (" …" if listing.count > 3 else "")
                yield f"{listing.count} {why}: {names}"


def place(heading: Heading, directory: Path, hear: Hear, pace: Pace) -> None:
    """Put all of a list into live, and make it durable."""
    if heading.made_root:
        _make_root(heading)
    with _trees(heading, hear, pace) as trees:
        place_all(trees, read_placings(directory))
        sync_file_system(trees.live.descriptor)


@contextmanager
def opened(path: Path) -> Iterator[OpenTree | None]:
    """Open a tree, or yield None where there is none."""
    try:
        tree = OpenTree(path)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    with tree:
        yield tree


def _make_root(heading: Heading) -> None:
    """Let the root appear, empty and as captured; whoever made one meanwhile keeps it."""
    root = Path(heading.root)
    with OpenTree(root.parent) as parent, OpenTree(Path(heading.beside)) as beside:
        staged, name = beside.place(b"new/root")
        rename_new(staged, name, parent.descriptor, os.fsencode(root.name))


@contextmanager
def _trees(heading: Heading, hear: Hear, pace: Pace) -> Iterator[Trees]:
    """Open the live tree and those beside as far as they are what the list tells of."""
    with (
        OpenTree(Path(heading.root)) as live,
        opened(Path(heading.beside)) as beside,
        opened(Path(heading.aside or "/nonexistent")) as aside,
    ):
        if beside is not None and beside.inode != heading.beside_inode:
            beside = None
        if aside is not None and aside.inode != heading.aside_inode:
            aside = None

        def told(item: Placing, outcome: str) -> None:
            hear(item, outcome)
            pace.step(detail=shown(item.path))

        yield Trees(live, beside, aside, told)


def take_back(heading: Heading, directory: Path, hear: Hear, pace: Pace) -> None:
    """Undo a list, whatever of it was done; the trees beside go where nothing needs them."""
    root = Path(heading.root)
    if root.exists():
        with _trees(heading, hear, pace) as trees:
            if trees.live.inode == heading.root_inode:
                take_back_all(trees, read_backwards(directory))
                sync_file_system(trees.live.descriptor)
        if heading.made_root:
            with suppress(OSError):
                if root.stat().st_ino == heading.root_inode:
                    root.rmdir()
    for path, inode in (
        (heading.beside, heading.beside_inode),
        (heading.aside, heading.aside_inode),
    ):
        mark = read_mark(Path(path)) if path else None
        if mark is None or mark.inode != inode or not is_marked(Path(path), mark):
            continue
        # What was live, and can't be live again because somebody wrote there, is kept.
        if path != heading.aside or not _holds_files(Path(path)):
            remove_work(Path(path))


def _holds_files(path: Path) -> bool:
    with OpenTree(path) as tree:
        return any(entry.kind != "directory" for entry in tree.walk())


@dataclass
class Back:
    """How taking each entry back went."""

    removed: Listing = field(default_factory=Listing)
    restored: Listing = field(default_factory=Listing)
    stays: Listing = field(default_factory=Listing)
    gone: Listing = field(default_factory=Listing)
    directories: int = 0

    def hear(self, item: Placing, outcome: str) -> None:
        """Take in how one entry went."""
        if item.kind == "directory":
            self.directories += outcome == "removed"
            return
        listings = {
            "removed": self.removed,
            "restored": self.restored,
            "stays": self.stays,
            "gone": self.gone,
        }
        if outcome in listings:
            listings[outcome].add(item.path, item.size)


async def run(request: FilesTakeBackRequest, context: JobContext) -> dict[str, object]:
    """Undo what was put back, as its list tells; returns ``TakenBack``. It may be asked again.

    Raises:
        UsageError: there is no such list. SafetyRefusal: the root is another tree by now.
    """
    refuse_if_read_only(context.loaded, "takes nothing back")
    context.stage("check")
    ground = open_ground(context, request.part)
    async with ground.alone():
        lists = _lists(request, ground)
        context.stage("take back")
        told, pace = Back(), Pace(context.report, guard=None)
        for heading, directory in lists:
            with writing(Path(heading.root)):
                await paced(pace, _taking_back(heading, directory, told, pace))
        notes: tuple[str, ...] = ()
        if told.stays.count:
            notes = (f"{told.stays.count} stay: they were written to since, or are others by now",)
        for note in notes:
            context.report(Warned(note))
        value = TakenBack(
            str(ground.root),
            told.removed.found,
            told.restored.found,
            told.stays.found,
            told.gone.found,
            told.directories,
            notes,
        )
        return {"ok": True, **plain(value)}


def _taking_back(heading: Heading, directory: Path, told: Back, pace: Pace) -> Callable[[], None]:
    return lambda: take_back(heading, directory, told.hear, pace)


def _lists(request: FilesTakeBackRequest, ground: Ground) -> list[tuple[Heading, Path]]:
    """Return the lists to take back, the last one first; all are looked at before one is."""
    found = []
    for name in filter(None, (request.undo, *request.also)):
        directory = ground.state / TREES / name
        if "/" in name or name.startswith("."):
            raise UsageError(f"NOT AN UNDO: {name!r}.")
        try:
            heading = read_heading(directory)
        except UsageError:
            if name == request.undo:
                raise
            continue  # it put nothing into live
        if heading.part != request.part:
            raise UsageError(f"NOT OF {request.part}: {name} is of {heading.part}.")
        root = Path(heading.root)
        if inode_of(root) not in (0, heading.root_inode):
            raise SafetyRefusal(
                "NOT TAKEN BACK. Nothing changed.",
                why=f"{root} is another tree than the one that files were put back into.",
                fix="Was it exchanged since? fsbackup leftovers",
            )
        found.append((heading, directory))
    if not (request.undo or request.also):
        raise UsageError("NOT AN UNDO: no list was named.")
    return found
