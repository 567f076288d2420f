"""Extracting a point's whole tree beside the live one, or into a directory of a person's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal
from fsbackup_tui.domain.events import Log, Progress, Warned
from fsbackup_tui.domain.tree import TreeBeside
from fsbackup_tui.engines.files.compare import Difference, Strictness, compare_tree
from fsbackup_tui.engines.files.extract import ExtractionPlan, examine_archive, extract_archive
from fsbackup_tui.engines.files.index import IndexEntry, shown_path
from fsbackup_tui.engines.files.rights import kept_mode
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.engines.files.walk import Walk
from fsbackup_tui.engines.trees.opened import OpenTree
from fsbackup_tui.engines.trees.renaming import sync_file_system
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_ground import Ground, open_ground
from fsbackup_tui.operations.files_point import FilesPoint, open_files_point
from fsbackup_tui.operations.files_staging import remove_work, rights_notes
from fsbackup_tui.operations.files_words import files_passed
from fsbackup_tui.operations.guard import guarded, watch_repository_space
from fsbackup_tui.operations.pacing import Pace
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.replica_view import borrowing
from fsbackup_tui.operations.site_requests import FilesBesideRequest
from fsbackup_tui.repository.files import free_bytes, not_enough_space, writing
from fsbackup_tui.repository.tree_marks import make_marked

Advance = Callable[[int, int, bytes], None]
_GRAVE = ("missing", "kind", "content", "size", "target")
_PER_ENTRY_BYTES = 4096
_MARGIN = 1.02


async def run(request: FilesBesideRequest, context: JobContext) -> dict[str, object]:
    """Extract, compare every file with the point's hashes, and return ``TreeBeside``.

    Raises:
        UnsafeArchive, PointDamaged, KeyUnavailable, DiskFull: nothing was made.
        SafetyRefusal: something stands there already, or the directory may not be used.
    """
    context.stage("check")
    context = await borrowing(context, request.replica, request.point)
    ground = open_ground(context, request.part)
    if request.directory:
        target = _directory(ground, request.directory)
        async with open_files_point(
            context, request.point, request.part, reason_unsigned=request.reason_unsigned
        ) as point:
            return await _Extracting(ground, point, target, own=True).run()
    refuse_if_read_only(context.loaded, "extracts nothing beside the site's files")
    target = ground.beside("restore", ground.tag(request.tag))
    if target.parent == ground.root:
        raise SafetyRefusal(
            "NOT EXTRACTED BESIDE. Nothing was made.",
            why=f"{ground.root} is on a file system of its own: a tree beside it could not take "
            "its place.",
            fix="Put back what is missing: fsbackup restore POINT --put-back\n"
            "or extract it elsewhere: fsbackup restore POINT --to DIR",
        )
    async with (
        ground.alone(),
        open_files_point(
            context, request.point, request.part, reason_unsigned=request.reason_unsigned
        ) as point,
    ):
        return await _Extracting(ground, point, target, own=False).run()


def _directory(ground: Ground, named: str) -> Path:
    """Return a person's directory; refused where it is not empty, or the site's or repository's."""
    target, where = Path(os.path.realpath(named)), ""
    repository = Path(os.path.realpath(ground.context.loaded.config.repository))
    for path, what in ((ground.root, "the live tree"), (repository, "the repository")):
        if target == path or path in target.parents:
            where = f"it is in {what}, {path}."
    if not where and target.exists() and (not target.is_dir() or any(target.iterdir())):
        where = "something is there already; extracted is into an empty directory alone."
    if not where and not target.parent.is_dir():
        where = f"{target.parent} is not there."
    if where:
        raise SafetyRefusal(
            f"NOT EXTRACTED into {target}. Nothing was touched.",
            why=where[0].upper() + where[1:],
            fix="Name another directory.",
        )
    return target


@dataclass
class _Extracting:
    """``own``: the directory is the person's, and gets no mark; what fails is emptied again."""

    ground: Ground
    point: FilesPoint
    target: Path
    own: bool
    notes: list[str] = field(default_factory=list)

    async def run(self) -> dict[str, object]:
        context, point = self.ground.context, self.point
        path, artifact = point.archive()
        indexed = point.find("index") is not None
        twice = await point.read_index(_twice) if indexed else frozenset[bytes]()
        plan = await examine_archive(
            path,
            artifact,
            point.keys,
            ordered=indexed,
            twice=twice,
            root_programs=False,
            room=free_bytes(self.target.parent),
            report=context.report,
        )
        program = await find_tar()
        self._check_space(plan)
        existed = self.target.exists()
        context.stage("extract")
        with writing(self.target.parent):
            self._make(existed=existed)
            try:
                extracting = extract_archive(
                    path,
                    artifact,
                    point.keys,
                    self.target,
                    plan,
                    program,
                    report=context.report,
                    advance=self._advance(plan),
                )
                await guarded(extracting, watch_repository_space(self.target))
                for note in rights_notes(plan, self.target):
                    self.notes.append(note)
                    context.report(Warned(note))
                context.stage("finish")
                if indexed:
                    await self._compare()
                with OpenTree(self.target) as tree:
                    sync_file_system(tree.descriptor)
                inode = self.target.stat().st_ino
                if not self.own:
                    mark = self.ground.mark("restore", point.id, inode=inode)
                    self.ground.complete(self.target, mark)
            except BaseException:
                self._remove(existed=existed)
                raise
        return self._document(plan, inode)

    def _check_space(self, plan: ExtractionPlan) -> None:
        entries = plan.files + plan.directories + plan.links
        needed = int(plan.stored * _MARGIN) + entries * _PER_ENTRY_BYTES
        free = free_bytes(self.target.parent)
        if needed > free:
            raise not_enough_space(self.target.parent, needed, free)

    def _make(self, *, existed: bool) -> None:
        if self.own:
            if not existed:
                self.target.mkdir(mode=0o700)
            return
        try:
            make_marked(self.target, self.ground.mark("restore", self.point.id))
        except FileExistsError as error:
            raise SafetyRefusal(
                "NOT EXTRACTED BESIDE. Nothing was made.",
                why=f"Something stands at {self.target} already.",
                fix="See what it is: fsbackup leftovers",
            ) from error

    def _remove(self, *, existed: bool) -> None:
        if not self.own:
            remove_work(self.target)
        elif self.target.is_dir():
            with OpenTree(self.target.parent) as parent:
                parent.remove(os.fsencode(self.target.name))
            if existed:
                self.target.mkdir(mode=0o700)

    def _advance(self, plan: ExtractionPlan) -> Advance:
        context, done = self.ground.context, [0, 0]

        def advance(files: int, size: int, path: bytes) -> None:
            done[0] += files
            done[1] += size
            if done[0] % 512 == 0 or size > 1 << 24:
                told = files_passed(done[0], plan.files)
                active = (shown_path(path),)
                amount, whole = float(done[1]), float(plan.bytes)
                context.report(Progress(amount, whole, "bytes", told, active=active))

        return advance

    async def _compare(self) -> None:
        """Compare every name and byte with the index; owners where we may set them."""
        is_root = os.geteuid() == 0
        if not is_root:
            self.notes.append("Owners are this user's: only root may set others.")
        pace = Pace(self.ground.context.report, guard=None)
        strict = Strictness(owners=is_root, directory_times=True)

        def compare(entries: Iterator[IndexEntry]) -> list[str]:
            found = []
            walk = Walk(self.target)
            for one in compare_tree(walk, entries, strict):
                if _is_bare(one, owners=is_root):
                    continue
                found.append(f"{shown_path(one.path)}: {', '.join(one.aspects) or 'is missing'}")
                if len(found) > 20:
                    break
                pace.step()
            return found

        different = await self.point.read_index(compare)
        grave = [each for each in different if _is_grave(each)]
        if grave:
            raise PointDamaged(
                "NOT AS CAPTURED: what was extracted is not what the point tells of.",
                why="\n".join(grave[:5]),
                fix="Restore another point: fsbackup list",
            )
        for each in different[:5]:
            self.notes.append(f"not as captured: {each}")
            self.ground.context.report(Warned(f"Not as captured: {each}"))

    def _document(self, plan: ExtractionPlan, inode: int) -> dict[str, object]:
        self.ground.context.report(Log(f"Extracted: {plan.files} files into {self.target}."))
        value = TreeBeside(
            str(self.target),
            str(self.ground.root),
            plan.files,
            plan.bytes,
            inode,
            owners=os.geteuid() == 0,
            notes=tuple(self.notes),
        )
        return {"ok": True, "point": self.point.id, "target": str(self.target), **plain(value)}


def _twice(entries: Iterator[IndexEntry]) -> frozenset[bytes]:
    """Return what was read again when it was captured: an archive may hold it twice."""
    return frozenset(entry.path for entry in entries if entry.state)


def _is_grave(told: str) -> bool:
    return any(aspect in told.rpartition(": ")[2] for aspect in _GRAVE)


def _is_bare(one: Difference, *, owners: bool) -> bool:
    """Whether it differs by the rights alone that it was restored without, as was told."""
    if one.aspects != ("mode",) or one.indexed is None or one.found is None:
        return False
    was = one.indexed
    kept = kept_mode(was.mode, (was.uid, was.user), (was.gid, was.group), owners=owners)
    return was.is_file and stat.S_IMODE(one.found.status.st_mode) == kept
