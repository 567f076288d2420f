"""Showing code good: everything read to its end, then the repository rebuilt and compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from fsbackup_tui.domain.errors import PointDamaged, ToolError
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.engines.chain import read_artifact, unpack_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.git.bundle import BundleDamaged, BundleReader
from fsbackup_tui.engines.git.capture import BUNDLE, STAGED, UNSTAGED
from fsbackup_tui.engines.git.parts import CodeArtifacts, work_trees
from fsbackup_tui.engines.git.program import Git, find_git
from fsbackup_tui.engines.git.rebuild import CodeFiles, patch_problems, rebuilt_problems, unbundle
from fsbackup_tui.engines.git.work_tar import TarDamaged, list_tar
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import Finding
from fsbackup_tui.repository.files import free_bytes, not_enough_space
from fsbackup_tui.repository.reader import PointReader

_PATCH = b"diff --git "
_SHOWN = 5
# What a bundle takes: itself, and the pack that is made of it.
_COPIES = 2


async def code_readable(
    reader: PointReader, part: PartManifest, keys: ReadingKeys
) -> list[Finding]:
    """Read every artifact of a code part to its end and return what is wrong; KeyUnavailable."""
    facts = part.code
    if facts is None:
        return [Finding(part.source, None, "the manifest tells nothing of the work tree")]
    found: list[Finding] = []
    for tree in work_trees(part.artifacts, facts):
        place = f"{tree.directory}/" if tree.directory else ""
        found += [Finding(part.source, f"{place}{name}", "missing") for name in tree.lacking()]
        for name, artifact in tree.there():
            check = _bundle_check(tree) if name == BUNDLE else _CHECKS.get(name, _check_tar)
            try:
                path = reader.artifact_path(part.source, artifact)
                await read_artifact(path, artifact, keys, check)
            except PointDamaged as error:
                found.append(Finding(part.source, artifact.path, error.why or error.what))
    return found


def _bundle_check(tree: CodeArtifacts) -> Callable[[ByteStream], None]:
    def check(stream: ByteStream) -> None:
        reader = BundleReader()
        try:
            while block := stream.read(1 << 20):
                reader.feed(block)
            reader.finish()
        except BundleDamaged as error:
            raise _damaged(str(error)) from error
        refs, expected = reader.refs, dict(tree.facts.refs)
        if tree.facts.head is not None:
            expected["HEAD"] = tree.facts.head
        if refs != expected:
            differing = {name for name, _commit in set(refs.items()) ^ set(expected.items())}
            shown = ", ".join(sorted(differing)[:_SHOWN])
            raise _damaged(f"its refs are not those that were captured: {shown}")
        if reader.prerequisites:
            raise _damaged("it needs commits that are not in it")

    return check


def _check_patch(stream: ByteStream) -> None:
    head = b""
    while len(head) < len(_PATCH) and (block := stream.read(len(_PATCH))):
        head += block
    if not head.startswith(_PATCH):
        raise _damaged("it does not begin as a patch of git does")


def _check_tar(stream: ByteStream) -> None:
    try:
        list_tar(stream)
    except TarDamaged as error:
        raise _damaged(str(error)) from error


_CHECKS: dict[str, Callable[[ByteStream], None]] = {STAGED: _check_patch, UNSTAGED: _check_patch}


def _damaged(why: str) -> PointDamaged:
    return PointDamaged("NOT READABLE.", why=why)


async def code_restored(
    context: JobContext, reader: PointReader, part: PartManifest, keys: ReadingKeys
) -> list[Finding]:
    """Rebuild the repository of a code part, and of its submodules, and return what is wrong.

    It is made in the job's private directory, which is left as it was.

    Raises:
        ToolMissing: there is no git that fits; KeyUnavailable: nothing here opens it.
        DiskFull: there is no room for it.
    """
    facts = part.code
    if facts is None:
        return [Finding(part.source, None, "the manifest tells nothing of the work tree")]
    git = await find_git(context.work, report=context.report, redactor=context.redactor)
    found: list[Finding] = []
    for number, tree in enumerate(work_trees(part.artifacts, facts)):
        work = context.work / f"code-{part.source}-{number}"
        work.mkdir(mode=0o700)
        try:
            trial = Git(git.version, work, git.report, git.redactor)
            problems = await _rebuilt(trial, reader, part, tree, keys)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        place = f"{tree.directory}: " if tree.directory else ""
        found += [Finding(part.source, None, f"{place}{problem}") for problem in problems]
    return found


async def _rebuilt(
    git: Git, reader: PointReader, part: PartManifest, tree: CodeArtifacts, keys: ReadingKeys
) -> list[str]:
    try:
        files = await unpack_code(reader, part, tree, keys, git.work)
        place = await unbundle(git, files.bundle, git.work / "rebuilt.git", tree.facts)
        problems = await rebuilt_problems(git, place, tree.facts)
        return problems or await patch_problems(git, place, tree.facts, files)
    except PointDamaged as error:
        return [" ".join((error.why or error.what).split())]
    except ToolError as error:
        return [" ".join(f"{error.what} {error.why}".split())]


async def unpack_code(
    reader: PointReader,
    part: PartManifest,
    tree: CodeArtifacts,
    keys: ReadingKeys,
    directory: Path,
) -> CodeFiles:
    """Write bundle and patches of a work tree, plain and checked, into a private directory.

    Raises:
        PointDamaged, KeyUnavailable, DiskFull.
    """

    def check_space(size: int) -> None:
        free = free_bytes(directory)
        if free < size * _COPIES:
            raise not_enough_space(directory, size * _COPIES, free)

    async def unpacked(artifact: Artifact | None, name: str) -> Path | None:
        if artifact is None:
            return None
        path = reader.artifact_path(part.source, artifact)
        await unpack_artifact(path, artifact, keys, directory / name, check_space=check_space)
        return directory / name

    return CodeFiles(
        await unpacked(tree.bundle, BUNDLE),
        await unpacked(tree.staged, STAGED),
        await unpacked(tree.unstaged, UNSTAGED),
    )
