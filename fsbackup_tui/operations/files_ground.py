"""Where files are restored: the live tree of a source, what stands beside it, and who is there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, state_directory
from fsbackup_tui.config.sources import FilesSource
from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import new_tag
from fsbackup_tui.domain.tree import TreeKind
from fsbackup_tui.engines.files.walk import Selection
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.status import site_repository_or_none
from fsbackup_tui.repository.files import make_state_directory, writing
from fsbackup_tui.repository.layout import site_state
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.tree_marks import (
    Mark,
    Marked,
    is_marked,
    read_mark,
    tree_path,
    write_mark,
)

TREES = "trees"


def files_source(loaded: LoadedConfig, name: str) -> FilesSource:
    """Return the files source of that name; UsageError where the site has none."""
    source = loaded.config.sources.get(name)
    if isinstance(source, FilesSource):
        return source
    names = [each for each, one in loaded.config.sources.items() if isinstance(one, FilesSource)]
    raise UsageError(
        f"NO SUCH SOURCE OF FILES: {name}.",
        why=f"{loaded.path} has the sources of files: {', '.join(names) or 'none'}.",
        fix="Name one with --part.",
    )


@dataclass(frozen=True)
class Ground:
    """A source's live tree; ``root`` is the directory itself where a link is configured."""

    context: JobContext
    part: str
    source: FilesSource
    root: Path
    state: Path

    @property
    def selection(self) -> Selection:
        """Which of live's entries belong to the source."""
        return Selection(self.source.include, self.source.exclude)

    @property
    def work_inside(self) -> bool:
        """Whether what is made beside the root has to lie in it: another file system begins."""
        return self.root.is_dir() and why_not_beside(self.root) != ""

    def beside(self, kind: TreeKind, tag: str) -> Path:
        """Return where a tree of ours lies: beside the root, or inside where that can't be."""
        path = tree_path(self.root, kind, tag)
        return self.root / path.name if self.work_inside else path

    def lists(self, tag: str) -> Path:
        """Return the directory for the lists of one restore; made."""
        trees = self.state / TREES
        with writing(trees):
            make_state_directory(trees)
            return make_state_directory(trees / tag)

    def mark(self, kind: TreeKind, point: str, *, inode: int = 0, partial: bool = False) -> Mark:
        """Return the mark of a tree that this job makes; not complete yet."""
        context = self.context
        return Mark(
            kind=kind,
            root=str(self.root),
            inode=inode,
            part=self.part,
            point=point,
            job=context.job,
            incident=context.incident.name if context.incident is not None else "",
            at=format_time(context.now()),
            complete=False,
            partial=partial,
        )

    def complete(self, tree: Path, mark: Mark) -> None:
        """Let a tree's mark say that what it was made for is done."""
        write_mark(tree, replace(mark, complete=True))

    def tag(self, asked: str) -> str:
        """Return the end of names: what was asked for, else the job's own."""
        if asked and not asked.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"NOT A TAG: {asked!r}.", why="Letters, digits, - and _ are.")
        return asked or self.context.job.rpartition("-")[2] or new_tag()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep other jobs of ours from this tree meanwhile; LockHeld."""
        async with alone_at(self.context, self.part):
            yield


@asynccontextmanager
async def alone_at(context: JobContext, part: str) -> AsyncIterator[None]:
    """Keep other jobs of ours from a source's tree meanwhile; LockHeld."""
    repository = site_repository_or_none(context.loaded, os.environ)
    trees = site_state(context.loaded, os.environ, repository) / TREES
    with writing(trees):
        make_state_directory(trees)
    lock = Lock(trees / f"{part}.lock", what=f"the files of {part}")
    async with lock.acquire_async(0, context.holder()):
        yield


def open_ground(context: JobContext, part: str) -> Ground:
    """Return where the files of a source are; UsageError where there is no such source."""
    source = files_source(context.loaded, part)
    repository = site_repository_or_none(context.loaded, os.environ)
    state = site_state(context.loaded, os.environ, repository)
    return Ground(context, part, source, real_root(source), state)


def real_root(source: FilesSource) -> Path:
    """Return the directory that ``root:`` means, which may be a link to it."""
    return Path(os.path.realpath(source.root))


def own_places(root: Path, loaded: LoadedConfig) -> tuple[Path, ...]:
    """Return where below a root fsbackup's own repository and state lie, told from the root.

    Captured with the tree, every point would hold all those before it.
    """
    real = Path(os.path.realpath(root))
    own = (loaded.config.repository, state_directory(loaded, os.environ))
    places = (Path(os.path.realpath(path)) for path in own if path is not None)
    below = {place.relative_to(real) for place in places if real in place.parents}
    return tuple(sorted(below))


def why_not_beside(root: Path) -> str:
    """Return why nothing beside the root can take its place, or be moved into it; empty: it can.

    Told by the mounts: a bind mount has its parent's device number.
    """
    if os.path.ismount(root) or str(root) in _mount_points():
        return f"{root} is a mount point: what lies beside it is on another file system."
    if not os.access(root.parent, os.W_OK | os.X_OK):
        return f"{root.parent} may not be written to by this user."
    return ""


def _mount_points() -> set[str]:
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    # Blanks and backslashes in a path are octal escapes there (proc(5)).
    fields = (line.split(" ")[4] for line in lines if line.count(" ") > 4)
    return {
        field.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
        for field in fields
    }


def marked_tree(ground: Ground, path: str, inode: int, *kinds: TreeKind) -> Marked:
    """Return a tree that fsbackup made for this root, and that is what it was.

    Raises:
        UsageError: there is no such tree. SafetyRefusal: it is another by now, or not whole.
    """
    tree = Path(path)
    mark = read_mark(tree) if tree.is_absolute() else None
    if mark is None or mark.root != str(ground.root) or mark.kind not in kinds:
        raise UsageError(
            f"NO SUCH TREE: {path}.",
            why=f"Nothing there bears fsbackup's mark of a tree beside {ground.root}.",
            fix="See what there is: fsbackup leftovers",
        )
    if not is_marked(tree, mark) or (inode and inode != mark.inode):
        raise SafetyRefusal(
            f"NOT TAKEN: {path} is not the tree that it was.",
            why="It was renamed, removed or made anew since it was looked at.",
            fix="Look again: fsbackup leftovers",
        )
    if not mark.complete:
        raise SafetyRefusal(
            f"NOT TAKEN: {path} is not whole.",
            why=f"The job {mark.job} never ended what it did there.",
            fix=f"Drop it, and restore again: fsbackup leftovers --drop {tree.name}",
        )
    return Marked(tree, mark)


def tag_of(tree: Path) -> str:
    """Return the tag in a tree's name."""
    return tree.name.rpartition(".")[2].partition("-")[2]


def inode_of(path: Path) -> int:
    """Return the inode of a directory, 0 where there is nothing; SafetyRefusal for all else."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return 0
    if path.is_symlink() or not path.is_dir():
        raise SafetyRefusal(
            f"NOT A DIRECTORY: {path}.",
            why="A file, or a link, stands where the site's tree should.",
            fix="Look what it is, and move it away by hand.",
        )
    return facts.st_ino
