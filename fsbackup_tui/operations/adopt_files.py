"""A tar of another script as a part like any other of files: with an index, and nothing hostile.

It is unpacked beside the part and captured from there. What leads out of where it is unpacked
never is: such a tar is kept as it is, for a person to look at.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import FilesSource
from fsbackup_tui.domain.errors import DiskFull, FilesUnreadable, FsbackupError, PointDamaged
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.engines.chain import Chain
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.extract import UnsafeArchive, examine_archive, extract_archive
from fsbackup_tui.engines.files.index import shown_path
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.engines.foreign.model import ForeignFile
from fsbackup_tui.operations.capture import CaptureRun
from fsbackup_tui.operations.capture_files import archive_tree
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.files import free_bytes, remove_tree
from fsbackup_tui.repository.layout import Repository

_COMPRESSION = "zstd:3"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of a tar: its part, or (None) why it is kept as it is."""

    part: PartManifest | None
    why_not: str = ""


def source_of(loaded: LoadedConfig, file: ForeignFile) -> str:
    """Return the source whose root the names in a tar lead to, empty where none or many do."""
    steps = _steps(file.prefix)
    likeness: dict[str, int] = {}
    for name, source in loaded.config.sources.items():
        if isinstance(source, FilesSource) and (depth := _depth(steps, source.root)):
            pairs = zip(reversed(steps[:depth]), reversed(source.root.parts), strict=False)
            likeness[name] = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
    best = [name for name, found in likeness.items() if found == max(likeness.values())]
    return best[0] if len(best) == 1 else ""


def _depth(steps: Sequence[str], root: Path) -> int:
    """Return how many steps of a tar's names lead to the root; 0 where they don't.

    The site may have lain elsewhere: what counts is the name of the root's own directory.
    """
    return max((n for n, step in enumerate(steps, start=1) if step == root.name), default=0)


def _steps(prefix: str) -> list[str]:
    return [step for step in prefix.split("/") if step]


async def unpack_tree(
    context: JobContext,
    repository: Repository,
    directory: Path,
    tar: Artifact,
    file: ForeignFile,
    *,
    source: str,
    plan: str,
) -> Unpacked:
    """Make a part of files out of the tar in ``directory``, which it then is no longer in.

    Raises:
        DiskFull: there is no room for what is in it.
        ToolMissing, ToolError: as for every capture.
    """
    configured = context.loaded.config.sources.get(source)
    steps = _steps(file.prefix)
    depth = len(steps)
    root = Path("/", *(steps or [source]))  # where nobody configured it, all that its names tell
    if isinstance(configured, FilesSource):
        root = configured.root
        depth = _depth(steps, root) or depth
    unpacked = directory.with_name(f"{directory.name}.unpacked")
    try:
        await asyncio.to_thread(unpacked.mkdir, mode=0o700)
        await _extract(context, directory / tar.path, tar, unpacked)
        tree = await asyncio.to_thread(_tree, unpacked, steps[:depth])
        settings = FilesSource(kind="files", root=root, read_from=tree)
        run = CaptureRun(
            source, context, repository, directory, None, plan, Chain(_COMPRESSION, None)
        )
        part = await archive_tree(run, settings)
    except _KeptAsItIs as error:
        return Unpacked(None, str(error))
    except (UnsafeArchive, PointDamaged, FilesUnreadable) as error:
        return Unpacked(None, _told(error))
    finally:
        await asyncio.to_thread(remove_tree, unpacked)
    (directory / tar.path).unlink()
    notes = _notes(file, part.warnings)
    return Unpacked(replace(part, started=file.taken, finished=file.taken, warnings=notes))


class _KeptAsItIs(Exception):
    """Why a part would have less in it than the tar has."""


def _tree(unpacked: Path, steps: Sequence[str]) -> Path:
    """Return the directory that these steps lead to; nothing else may lie on the way."""
    tree = unpacked
    for step in steps:
        beside = [path.name for path in tree.iterdir() if path.name != step]
        if beside:
            raise _KeptAsItIs(f"{shown_path(os.fsencode(min(beside)))} lies beside {step} in it")
        tree = tree / step
        if not tree.is_dir() or tree.is_symlink():
            raise _KeptAsItIs(f"{'/'.join(steps)} is no directory in it")
    return tree


async def _extract(context: JobContext, path: Path, tar: Artifact, target: Path) -> None:
    keys = ReadingKeys()
    room = free_bytes(target)
    program = await find_tar()
    try:
        plan = await examine_archive(path, tar, keys, ordered=False, room=room)
    except DiskFull as error:
        raise DiskFull(
            "NOT ENOUGH SPACE to adopt it. Nothing was created.", why=error.why, fix=error.fix
        ) from error
    if plan.not_own and os.geteuid():
        raise _KeptAsItIs("what is in it belongs to others, which only root can keep so")
    await extract_archive(
        path,
        tar,
        keys,
        target,
        plan,
        program,
        report=context.report,
        redactor=context.redactor,
    )


def _notes(file: ForeignFile, warnings: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*file.problems, *file.notes, *warnings)))


def _told(error: FsbackupError) -> str:
    return " ".join((error.why or error.what).split()).rstrip(".")
