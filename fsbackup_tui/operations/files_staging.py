"""Extracting beside what is to be put back, and the list that undoes it, before live is touched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal
from fsbackup_tui.domain.tree import TreeKind
from fsbackup_tui.engines.files.extract import ExtractionPlan, examine_archive, extract_archive
from fsbackup_tui.engines.files.index import IndexEntry
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.engines.trees.carrying import dress_open, make_parents
from fsbackup_tui.engines.trees.opened import Entry, LinkInTheWay, OpenTree, shown
from fsbackup_tui.engines.trees.placing import Placing
from fsbackup_tui.operations.files_ground import Ground
from fsbackup_tui.operations.files_point import FilesPoint
from fsbackup_tui.operations.files_survey import Action, Survey
from fsbackup_tui.operations.guard import guarded, watch_repository_space
from fsbackup_tui.repository.files import free_bytes, not_enough_space
from fsbackup_tui.repository.tree_marks import make_marked, remove_mark
from fsbackup_tui.repository.undo_lists import Heading, UndoWriter

_TREE, _NEW = b"tree", b"new"
_PER_ENTRY_BYTES = 4096
_MARGIN = 1.02


@dataclass
class Staging:
    """The trees beside while files are put back: what comes, and what live had in its place."""

    ground: Ground
    point: FilesPoint
    survey: Survey
    beside: Path
    aside: Path
    notes: list[str] = field(default_factory=list)
    _made: list[Path] = field(default_factory=list)

    def check_space(self) -> None:
        """Raise DiskFull where what is wanted, and the floor, don't fit."""
        survey = self.survey
        needed = int(survey.wanted_bytes * _MARGIN) + survey.entries * _PER_ENTRY_BYTES
        free = free_bytes(self.beside.parent)
        if needed > free:
            raise not_enough_space(self.beside.parent, needed, free)

    async def extract(self) -> None:
        """Make the marked tree beside, and extract what is wanted into it; nothing else of it.

        Raises:
            UnsafeArchive, PointDamaged, KeyUnavailable: before anything was made.
        """
        point, survey = self.point, self.survey
        path, artifact = point.archive()
        wanted = _wanted_digests(survey)
        plan = await examine_archive(
            path,
            artifact,
            point.keys,
            wanted=lambda name: _digest(name) in wanted,
            twice=survey.twice,
            root_programs=False,
            room=free_bytes(self.beside.parent),
            report=point.context.report,
        )
        program = await find_tar()
        self._make(self.beside, "restore")
        with OpenTree(self.beside) as beside:
            for name in (_TREE, _NEW):
                os.mkdir(name, 0o700, dir_fd=beside.descriptor)
        target = self.beside / os.fsdecode(_TREE)
        extracting = extract_archive(
            path, artifact, point.keys, target, plan, program, report=point.context.report
        )
        await guarded(extracting, watch_repository_space(self.beside))
        self.notes += rights_notes(plan, self.ground.root)

    def _make(self, tree: Path, kind: TreeKind) -> None:
        try:
            make_marked(tree, self.ground.mark(kind, self.point.id, partial=True))
        except FileExistsError as error:
            raise SafetyRefusal(
                "NOT PUT BACK. Nothing changed.", why=f"Something stands at {tree} already."
            ) from error
        self._made.append(tree)

    def write_undo(self, directory: Path, step: Callable[[], None]) -> Heading:
        """Check all that was extracted, and write the list that undoes it; both durable then.

        Raises:
            PointDamaged: the archive and its index don't tell of the same files.
        """
        ground, survey = self.ground, self.survey
        live_inode = ground.root.stat().st_ino if ground.root.exists() else 0
        if survey.replaces:
            self._make(self.aside, "before")
        with OpenTree(self.beside) as beside:
            root = 0 if live_inode else self._new_root(beside)
            heading = Heading(
                part=ground.part,
                point=self.point.id,
                job=ground.context.job,
                root=str(ground.root),
                root_inode=live_inode or root,
                beside=str(self.beside),
                beside_inode=beside.inode,
                aside=str(self.aside) if survey.replaces else "",
                aside_inode=self.aside.stat().st_ino if survey.replaces else 0,
                made_root=not live_inode,
            )
            with UndoWriter(directory, heading) as undo:
                for number, (action, entry) in enumerate(survey.lines()):
                    undo.add(self._placing(beside, number, action, entry))
                    step()
        return heading

    def _new_root(self, beside: OpenTree) -> int:
        """Make the directory that becomes the root: as captured, and empty."""
        return self._new_directory(beside, b"new/root", _TREE).inode

    def _new_directory(self, beside: OpenTree, path: bytes, like: bytes) -> Entry:
        parent, name = beside.place(path)
        os.mkdir(name, 0o700, dir_fd=parent)
        captured = os.fstat(beside.directory(like))
        dress_open(beside.directory(like), beside.directory(path))
        os.fchmod(beside.directory(path), captured.st_mode & 0o7777 | 0o700)
        entry = beside.entry(path)
        if entry is None:
            raise FileNotFoundError(path)
        return replace(entry, mode=captured.st_mode & 0o7777)

    def _placing(self, beside: OpenTree, number: int, action: Action, entry: IndexEntry) -> Placing:
        staged = _TREE + b"/" + entry.path
        if entry.kind == "directory":
            path = b"%b/%d" % (_NEW, number)
            try:
                made = self._new_directory(beside, path, staged)
            except (LinkInTheWay, FileNotFoundError) as error:
                why = "the archive has no such directory"
                raise _not_as_told(self.point, entry.path, why) from error
            return Placing(
                entry.path,
                "directory",
                path,
                made.inode,
                0,
                entry.mtime_ns,
                mode=made.mode,
            )
        found = self._checked(beside, staged, entry)
        path, aside = entry.path, b""
        if action == "both":
            path += b".from-" + self.point.id.encode()
        elif action == "over":
            aside = entry.path
            self._make_room(aside)
        return Placing(
            path,
            found.kind,
            staged,
            found.inode,
            found.size,
            found.modified_ns,
            entry.sha256 or "",
            beside.target(staged) if found.kind == "link" else b"",
            aside,
        )

    def _checked(self, beside: OpenTree, staged: bytes, entry: IndexEntry) -> Entry:
        """Return what was extracted; PointDamaged where it is not what the index tells of."""
        try:
            found = beside.entry(staged)
        except LinkInTheWay:
            found = None
        kind = "link" if entry.is_symlink else "file"
        if found is None or found.kind != kind:
            raise _not_as_told(self.point, entry.path, "the archive does not have it")
        if kind == "link":
            if beside.target(staged) != self._leads(beside, entry):
                raise _not_as_told(self.point, entry.path, "it leads elsewhere")
        elif entry.sha256 is not None:
            # One that its own owner may not read was checked with the archive as a whole.
            with suppress(PermissionError):
                if beside.sha256(staged) != entry.sha256:
                    raise _not_as_told(self.point, entry.path, "its content is another")
        return found

    def _leads(self, beside: OpenTree, entry: IndexEntry) -> bytes | None:
        """Return where a symlink has to lead; a second name of one, where the first does."""
        if entry.kind == "symlink":
            return entry.target
        with suppress(OSError, LinkInTheWay):
            return beside.target(_TREE + b"/" + entry.target)
        return None

    def _make_room(self, path: bytes) -> None:
        with OpenTree(self.ground.root) as live, OpenTree(self.aside) as aside:
            make_parents(live, aside, path)

    def remove(self) -> None:
        """Remove what was made beside; nothing of live is in it."""
        for tree in self._made:
            remove_work(tree)


def rights_notes(plan: ExtractionPlan, root: Path) -> list[str]:
    """Return what is told of programs that came without the rights they had."""
    notes = [
        f"came without its right to run as another: chmod {mode:o} {root}/{shown(path)}"
        if mode
        else f"came without its capabilities: {root}/{shown(path)} (setcap gives them)"
        for path, mode in plan.bare
    ]
    if plan.bare_count > len(notes):
        notes.append(f"so did {plan.bare_count - len(notes)} more")
    return notes


def remove_work(tree: Path) -> None:
    """Remove a tree of ours and its mark."""
    if tree.is_dir() and not tree.is_symlink():
        with OpenTree(tree.parent) as parent:
            parent.remove(os.fsencode(tree.name))
    remove_mark(tree)


def _wanted_digests(survey: Survey) -> frozenset[int]:
    """Return what tells the wanted members, and the directories above them, in little memory."""

    def paths() -> Iterator[bytes]:
        yield b"."
        for _action, entry in survey.lines():
            yield from _with_parents(entry.path)
        for target in survey.targets:
            yield from _with_parents(target)

    return frozenset(_digest(path) for path in paths())


def _with_parents(path: bytes) -> Iterator[bytes]:
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def _digest(path: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "big")


def _not_as_told(point: FilesPoint, path: bytes, how: str) -> PointDamaged:
    return PointDamaged(
        f"POINT DAMAGED: {point.id} tells of other files than it holds. Nothing changed in live.",
        why=f"{shown(path)}: {how}.",
        fix="Restore another point: fsbackup list",
    )
