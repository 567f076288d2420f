"""Restoring code: a new work tree beside, with its branches, stashes and built files."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.errors import PointDamaged, ToolError, UsageError
from fsbackup_tui.domain.events import Log, format_time
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.site_parts import CodeFacts
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.git.capture import STAGED, UNSTAGED
from fsbackup_tui.engines.git.parts import CodeArtifacts, work_trees
from fsbackup_tui.engines.git.program import Git, GitPlace, find_git
from fsbackup_tui.engines.git.rebuild import (
    CodeFiles,
    apply_work,
    check_out,
    checked_submodules,
    make_repository,
)
from fsbackup_tui.engines.git.work_tar import TarDamaged, extract_tar, list_tar
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.open_part import OpenPart, open_part
from fsbackup_tui.operations.places import place_paths
from fsbackup_tui.operations.replica_view import borrowing
from fsbackup_tui.operations.site_requests import RestoreCodeRequest
from fsbackup_tui.operations.verify_code import unpack_code
from fsbackup_tui.repository.files import free_bytes, not_enough_space
from fsbackup_tui.repository.tree_marks import Mark, make_marked, remove_mark, write_mark

_MARGIN = 1.1


@dataclass
class _Restore:
    """One restore while it runs: ``top`` is made under a name of its own, then renamed."""

    request: RestoreCodeRequest
    context: JobContext
    opened: OpenPart
    git: Git
    top: Path
    patches: Path
    trees: dict[str, CodeArtifacts]
    notes: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)


async def run(request: RestoreCodeRequest, context: JobContext) -> dict[str, object]:
    """Make the work tree; returns the document of ``fsbackup restore`` for this kind.

    Whatever fails, neither directory is there afterwards.

    Raises:
        UsageError: a directory of the name is there already.
        ToolMissing, ToolError, PointDamaged, KeyUnavailable, DiskFull.
    """
    started = time.monotonic()
    target = Path(request.to)
    patches = target.with_name(f"{target.name}{'-' if request.beside else '.'}patches")
    refuse_existing(target, patches)
    context.stage("check")
    context = await borrowing(context, request.replica, request.point)
    git = await find_git(context.work, report=context.report, redactor=context.redactor)
    async with open_part(
        context, request.point, request.part, "code", reason_unsigned=request.reason_unsigned
    ) as opened:
        facts = opened.part.code
        if facts is None:
            raise UsageError(f"NOTHING TO RESTORE: {request.part} tells of no work tree.")
        trees = {tree.directory: tree for tree in work_trees(opened.part.artifacts, facts)}
        tag = os.urandom(4).hex()
        name = "{}-{}" if request.beside else ".{}.{}"
        made = [target.with_name(name.format(path.name, tag)) for path in (target, patches)]
        restore = _Restore(request, context, opened, git, made[0], made[1], trees)
        _check_space(restore)
        try:
            for directory in made:
                _make(restore, directory)
            await _work_tree(restore, trees[""], restore.top, restore.patches)
            _into_place(restore, target, patches)
        except BaseException:
            for directory in made:
                shutil.rmtree(directory, ignore_errors=True)
                _forget(restore, directory)
            raise
    context.report(Log(f"Restored {code_words(facts)} to {target}"))
    return _document(restore, facts, target, patches, time.monotonic() - started)


def refuse_existing(*paths: Path) -> None:
    """Raise UsageError where a directory that is to be made is there already."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise UsageError(
                f"EXISTS ALREADY: {path}. Nothing was written.",
                why="Code is restored beside, never over a work tree.",
                fix="Name a directory that is not there yet.",
            )


def _make(restore: _Restore, directory: Path) -> None:
    try:
        if restore.request.beside:
            make_marked(directory, _mark(restore))
        else:
            directory.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(
            f"NOT WRITTEN: {directory.parent} can't be written.", why=f"{error.strerror}."
        ) from error


def _check_space(restore: _Restore) -> None:
    artifacts = restore.opened.part.artifacts
    needed = int(sum(each.plain_bytes or each.bytes for each in artifacts) * _MARGIN)
    free = free_bytes(restore.top.parent)
    if free < needed:
        raise not_enough_space(restore.top.parent, needed, free)


def _into_place(restore: _Restore, target: Path, patches: Path) -> None:
    refuse_existing(target, patches)
    _rename(restore, restore.top, target)
    if any(restore.patches.iterdir()):
        _rename(restore, restore.patches, patches)
    else:
        restore.patches.rmdir()
        _forget(restore, restore.patches)


def _mark(restore: _Restore, *, inode: int = 0, complete: bool = False) -> Mark:
    """Return the mark of a directory beside live's work tree."""
    request, context = restore.request, restore.context
    return Mark(
        kind="restore",
        root=str(place_paths(context.loaded, request.part)[0]),
        inode=inode,
        part=request.part,
        point=request.point,
        job=context.job,
        incident=context.incident.name if context.incident is not None else "",
        at=format_time(context.now()),
        complete=complete,
    )


def _rename(restore: _Restore, made: Path, target: Path) -> None:
    """Give what is whole its own name; what is marked is marked at every moment."""
    if restore.request.beside:
        write_mark(target, _mark(restore, inode=made.stat().st_ino, complete=True))
    made.rename(target)
    _forget(restore, made)


def _forget(restore: _Restore, directory: Path) -> None:
    if restore.request.beside:
        remove_mark(directory)


async def _work_tree(restore: _Restore, tree: CodeArtifacts, top: Path, patches: Path) -> None:
    """Make one work tree, then those of its submodules within it."""
    context = restore.context
    context.stage("clone")
    work = context.work / f"code-{os.urandom(4).hex()}"
    work.mkdir(mode=0o700)
    git = Git(restore.git.version, work, restore.git.report, restore.git.redactor)
    try:
        files = await unpack_code(
            restore.opened.reader, restore.opened.part, tree, restore.opened.keys, work
        )
        place = await make_repository(git, files.bundle, top, tree.facts)
        context.stage("files")
        await _large_files(restore, place, tree)
        await check_out(git, place, tree.facts)
        await _work(restore, git, place, tree, files, patches)
        await _extract(restore, tree.built, top)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for module in checked_submodules(tree.facts):
        directory = top / module.path
        if directory.is_symlink() or not directory.is_dir() or any(directory.iterdir()):
            restore.notes.append(f"the submodule {module.path} has no place in the work tree")
            continue
        below = patches / module.path.replace("/", "-")
        below.mkdir(mode=0o700)
        await _work_tree(restore, restore.trees[module.directory or ""], directory, below)
        if not any(below.iterdir()):
            below.rmdir()
    if tree.facts.modules:
        await _know_submodules(restore.git, place)


async def _know_submodules(git: Git, place: GitPlace) -> None:
    """Let the repository know its submodules, by what .gitmodules says."""
    await git.run("submodule", "--quiet", "init", at=place, check=False)


async def _large_files(restore: _Restore, place: GitPlace, tree: CodeArtifacts) -> None:
    """Put the LFS objects where git-lfs looks for them, before files are filled in from them."""
    if tree.facts.lfs_missing:
        restore.notes.append(
            f"{tree.facts.lfs_missing} LFS objects were not captured: their files are pointers"
        )
    if tree.lfs is None:
        return
    await _extract(restore, tree.lfs, place.git_directory, inside_git=True)
    note = "LFS files are filled in; for work on them set git-lfs up: git lfs install --local"
    if note not in restore.notes:
        restore.notes.append(note)


async def _work(
    restore: _Restore,
    git: Git,
    place: GitPlace,
    tree: CodeArtifacts,
    files: CodeFiles,
    patches: Path,
) -> None:
    """Apply what no commit had, or lay it beside."""
    if restore.request.apply_work:
        try:
            await apply_work(git, place, files)
        except ToolError as error:
            raise PointDamaged(
                "NOT APPLIED: a patch does not apply to what it was made from.",
                why=error.why,
                fix="Restore without --apply-work: the patches lie beside then.",
            ) from error
        await _extract(restore, tree.untracked, place.work_tree or place.git_directory)
        return
    for path, name in ((files.staged, STAGED), (files.unstaged, UNSTAGED)):
        if path is not None:
            shutil.copyfile(path, patches / name)
            (patches / name).chmod(0o600)
            restore.offered.append(name)
    if tree.untracked is not None:
        untracked = patches / "untracked"
        untracked.mkdir(mode=0o700)
        await _extract(restore, tree.untracked, untracked)
        restore.offered.append("untracked")


async def _extract(
    restore: _Restore, artifact: Artifact | None, target: Path, *, inside_git: bool = False
) -> None:
    """Extract a tar that was read to its end, and found harmless, before."""
    if artifact is None:
        return
    opened = restore.opened
    path = opened.reader.artifact_path(opened.part.source, artifact)
    await read_artifact(path, artifact, opened.keys, _examine(artifact))

    def extract(stream: ByteStream) -> None:
        extract_tar(stream, target, inside_git=inside_git)

    try:
        await read_artifact(path, artifact, opened.keys, extract)
    except OSError as error:
        raise ToolError(
            f"NOT WRITTEN: {error.filename or target}.", why=f"{error.strerror}."
        ) from error


def _examine(artifact: Artifact) -> Callable[[ByteStream], None]:
    def examine(stream: ByteStream) -> None:
        try:
            list_tar(stream)
        except TarDamaged as error:
            raise PointDamaged(
                f"NOT EXTRACTED: {artifact.path}. Nothing was written.", why=f"{error}."
            ) from error

    return examine


def _document(
    restore: _Restore, facts: CodeFacts, target: Path, patches: Path, seconds: float
) -> dict[str, object]:
    dirty = bool(restore.offered)
    return {
        "ok": True,
        "point": restore.request.point,
        "part": restore.request.part,
        "target": str(target),
        "inode": target.lstat().st_ino,
        "head": facts.head,
        "branch": facts.branch,
        "refs": len([name for name, _ in facts.refs if not name.startswith(facts.own_refs)]),
        "stashes": facts.stashes,
        "submodules": len(facts.submodules),
        "artifacts": list(facts.artifacts),
        "applied": restore.request.apply_work and facts.dirty,
        "patches": str(patches) if dirty else None,
        "offered": restore.offered,
        "notes": restore.notes,
        "seconds": round(seconds, 3),
        "problems": [],
    }
