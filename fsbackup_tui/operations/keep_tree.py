"""Keeping what is known of a tree as it is now, beside the incident; live is only read.

A list of every name with its size, owner and times tells later what went when: the time of a
directory is when a name in it was last made or taken away. A file that is deleted and that a
process still has open can be copied out of that process, and nowhere else.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fsbackup_tui.domain.errors import DiskFull, SafetyRefusal
from fsbackup_tui.domain.events import Log, Progress, Warned
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.place_requests import KeepTreeRequest
from fsbackup_tui.operations.places import place_paths
from fsbackup_tui.repository.files import free_bytes, make_state_directory

_LISTED = "tree.txt"
_TOLD_EVERY = 10_000
_FLOOR_BYTES = 64 * 10**6
_DELETED = " (deleted)"
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class OpenDeleted:
    """A deleted file that a process has open: where it was, and where its content is now."""

    path: str
    descriptor: Path
    bytes: int


async def run(request: KeepTreeRequest, context: JobContext) -> dict[str, object]:
    """List the tree and copy deleted files that are still open into the incident's evidence.

    Raises:
        SafetyRefusal: there is no incident.
    """
    if context.incident is None:
        raise SafetyRefusal(
            "NOT KEPT: this belongs to no incident.", fix="Declare one: fsbackup recover"
        )
    paths = place_paths(context.loaded, request.part)
    evidence = context.loaded.config.recovery.evidence or context.incident / "evidence"
    make_state_directory(evidence)
    directory = make_state_directory(evidence / f"tree-{context.job}")
    context.stage("list")
    listed = await asyncio.to_thread(_list, paths, directory / _LISTED, context)
    context.stage("copy")
    copied, not_copied = await asyncio.to_thread(_copy_all, paths[0], directory, context)
    return {
        "ok": True,
        "directory": str(directory),
        "list": str(directory / _LISTED),
        "listed": listed,
        "copied": copied,
        "not_copied": not_copied,
    }


def _list(paths: Sequence[Path], file: Path, context: JobContext) -> int:
    """Write one line for each path, and each name below it; returns how many there are."""
    count = 0
    with _new(file) as target, io.TextIOWrapper(target, encoding="utf-8") as out:
        out.write("# mode uid gid bytes modified changed path (UTC; names as Python writes them)\n")
        for path, facts in (found for root in paths for found in _walk(root)):
            changed, modified = facts.st_ctime, facts.st_mtime
            out.write(
                f"{stat.filemode(facts.st_mode)} {facts.st_uid} {facts.st_gid} {facts.st_size}"
                f" {modified:.3f} {changed:.3f} {path!r}\n"
            )
            count += 1
            if count % _TOLD_EVERY == 0:
                context.report(Progress(done=count, total=None, unit="names"))
    context.report(Log(f"{count} names are listed in {file}"))
    return count


def _new(path: Path) -> IO[bytes]:
    """Open a file that is not there yet, 0600 from its first byte."""
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
    )


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the root and every name below it, directories before what is in them."""
    try:
        yield os.fspath(root), root.lstat()
    except OSError:
        return
    waiting = [os.fspath(root)]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield entry.path, facts
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(entry.path)


def find_open_deleted(root: Path, *, proc: Path = _PROC) -> Iterator[OpenDeleted]:
    """Yield deleted files below the root that a process we may look into has open, each once."""
    below = os.path.realpath(root).rstrip("/") + "/"
    seen: set[tuple[int, int]] = set()
    for process in sorted(proc.glob("[0-9]*")):
        try:
            descriptors = sorted((process / "fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                target = str(descriptor.readlink())
                facts = descriptor.stat()
            except OSError:
                continue
            if not (target.startswith(below) and target.endswith(_DELETED)):
                continue
            identity = (facts.st_dev, facts.st_ino)
            if stat.S_ISREG(facts.st_mode) and identity not in seen:
                seen.add(identity)
                yield OpenDeleted(target.removesuffix(_DELETED), descriptor, facts.st_size)


def _copy_all(
    root: Path, directory: Path, context: JobContext
) -> tuple[list[str], list[dict[str, str]]]:
    copied: list[str] = []
    not_copied: list[dict[str, str]] = []
    for number, found in enumerate(find_open_deleted(root), 1):
        name = f"open-{number}-{Path(found.path).name}"[:200]
        try:
            if free_bytes(directory) < found.bytes + _FLOOR_BYTES:
                raise DiskFull(f"NO ROOM for {found.bytes} bytes in {directory}.")
            with found.descriptor.open("rb") as source, _new(directory / name) as target:
                shutil.copyfileobj(source, target)
        except (OSError, DiskFull) as error:
            not_copied.append({"what": found.path, "why": str(error)})
            context.report(Warned(f"Not copied, though still open: {found.path}: {error}"))
            continue
        copied.append(f"{found.path} as {name}")
        context.report(Log(f"Deleted, and still open: {found.path} is kept as {name}"))
    return copied, not_copied
