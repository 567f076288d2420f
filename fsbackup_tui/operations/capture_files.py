"""Capturing a tree of files: archived by GNU tar, every file's hash taken on the way."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import FilesSource
from fsbackup_tui.domain.errors import (
    FsbackupError,
    KeyUnavailable,
    PointDamaged,
    PointNotFound,
)
from fsbackup_tui.domain.events import Log, Progress, Report, Warned
from fsbackup_tui.domain.links import led_to
from fsbackup_tui.domain.point import Artifact, ArtifactRole, PartManifest
from fsbackup_tui.domain.site_parts import FilesFacts, Names, TreeChanges
from fsbackup_tui.domain.tree_anomaly import tree_reasons
from fsbackup_tui.engines.chain import Chain, Sink, Written, read_artifact, write_artifact
from fsbackup_tui.engines.files.capture import TreeCapture, store
from fsbackup_tui.engines.files.index import (
    INDEX_NAME,
    SUMS_NAME,
    IndexDamaged,
    count_changes,
    shown_path,
    write_index,
    write_sums,
)
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.engines.files.walk import Selection, Walk
from fsbackup_tui.engines.link_book import TreeFile
from fsbackup_tui.operations.capture import CaptureRun
from fsbackup_tui.operations.files_ground import own_places
from fsbackup_tui.operations.files_words import files_passed
from fsbackup_tui.operations.guard import guarded, watch_repository_space
from fsbackup_tui.operations.hooks import hooks
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.signatures import signature_in
from fsbackup_tui.repository.files import hash_file
from fsbackup_tui.repository.not_here import not_here
from fsbackup_tui.repository.reader import PointReader

ARCHIVE_NAME = "files.tar"
_TOLD_SECONDS = 0.5
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


async def capture_files(run: CaptureRun) -> PartManifest:
    """Archive the source's tree with its index and its list of sums; returns the part.

    Raises:
        FilesUnreadable: something in the tree can't be read; a part of it would pass for whole.
        ToolMissing, ToolError, DiskFull: as their messages tell.
    """
    source = run.context.loaded.config.sources[run.source]
    if not isinstance(source, FilesSource):
        raise TypeError(f"{run.source} is no source of files")
    started = run.context.now()
    warnings: list[str] = []
    async with hooks(run.context, run.source, source.before, source.after, warnings):
        part = await _unchanged(run, source)
        if part is None:
            part = await guarded(archive_tree(run, source), watch_repository_space(run.directory))
    part = replace(
        part,
        started=started,
        finished=run.context.now(),
        phases=dict(run.phases),
        warnings=(*part.warnings, *warnings),
    )
    return replace(part, suspect=tree_reasons(part, run.last_good, fall=source.suspect_fall))


def make_walk(source: FilesSource, loaded: LoadedConfig) -> Walk:
    """Return a walk over what is captured of a source; FilesUnreadable where it isn't there."""
    return Walk(
        source.read_from or source.root,
        Selection(source.include, source.exclude),
        one_file_system=source.one_file_system,
        apart=[os.fsencode(place) for place in own_places(source.root, loaded)],
    )


async def archive_tree(run: CaptureRun, source: FilesSource) -> PartManifest:
    """Archive a tree with its index and its sums, whatever stands in an earlier point.

    Raises:
        FilesUnreadable, ToolMissing, ToolError, DiskFull: as ``capture_files``.
    """
    program = await find_tar()
    loaded = run.context.loaded
    walk = await asyncio.to_thread(make_walk, source, loaded)
    told = TreeProgress(run.context.report, run.last_good)
    capture = TreeCapture(
        program, walk, run.directory, report=run.context.report, advance=told.advance
    )
    try:
        with run.phase("archive"):
            writing = _write(run, ARCHIVE_NAME, capture.produce, hashed_inside=True)
            archive = await store(capture, asyncio.ensure_future(writing))
        with run.phase("index"):
            index = await _write(
                run, INDEX_NAME, lambda sink: write_index(capture.blocks(), sink.write), threads=0
            )
            sums = await _write(
                run, SUMS_NAME, lambda sink: write_sums(capture.blocks(), sink.write), threads=0
            )
            facts = capture.facts(str(source.root))
            facts = replace(facts, changes=await _changes(run, capture))
            if run.links is not None:
                await asyncio.to_thread(run.links.add_tree, run.source, capture.lines())
    finally:
        capture.close()
    written: tuple[tuple[str, ArtifactRole, Written], ...] = (
        (ARCHIVE_NAME, "archive", archive),
        (INDEX_NAME, "index", index),
        (SUMS_NAME, "sums", sums),
    )
    suffix = run.chain.suffix
    return _part(
        run,
        facts,
        tuple(one.artifact(run.directory, name + suffix, role) for name, role, one in written),
        (*_warnings(run.source, facts), *_left_out(run, source), *capture.warnings),
    )


async def _write(
    run: CaptureRun,
    name: str,
    produce: Callable[[Sink], None],
    *,
    hashed_inside: bool = False,
    threads: int | None = None,
) -> Written:
    return await write_artifact(
        run.directory / (name + run.chain.suffix),
        replace(run.chain, threads=threads),
        produce,
        report=run.context.report,
        redactor=run.context.redactor,
        hashed_inside=hashed_inside,
    )


def _part(
    run: CaptureRun, facts: FilesFacts, artifacts: tuple[Artifact, ...], warnings: tuple[str, ...]
) -> PartManifest:
    now = run.context.now()
    for warning in warnings:
        run.context.report(Warned(warning))
    return PartManifest(
        source=run.source,
        kind="files",
        started=now,
        finished=now,
        artifacts=artifacts,
        restore_commands=(),
        warnings=warnings,
        files=facts,
        key=run.chain.key.facts if run.chain.key else None,
    )


def _warnings(source: str, facts: FilesFacts) -> tuple[str, ...]:
    """Tell what of the tree is not in the archive as it stands on the disk."""
    told: tuple[tuple[Names, str], ...] = (
        (facts.unsettled, "changed every time they were read, or went away half read"),
        (facts.vanished, "went away before they were read"),
        (facts.skipped, "are no files (sockets, pipes, devices) and were left out"),
    )
    return tuple(
        f"{source}: {names.count} {what}: {', '.join(names.names[:3])}"
        + (" …" if names.count > 3 else "")
        for names, what in told
        if names.count
    )


def _left_out(run: CaptureRun, source: FilesSource) -> tuple[str, ...]:
    return tuple(
        f"{run.source}: {source.root / place} is fsbackup's own and was left out: "
        "move it out of the tree"
        for place in own_places(source.root, run.context.loaded)
    )


async def _changes(run: CaptureRun, capture: TreeCapture) -> TreeChanges | None:
    """Count what differs from the last good part's tree; None where that can't be read."""
    if run.last_good is None or run.last_good_point is None:
        return None
    artifact = _artifact(run.last_good, "index")
    if artifact is None:
        return None
    try:
        reader = PointReader(run.repository, run.last_good_point)
        keys = await reading_keys(run.context, reader)
        added, removed, changed = await read_artifact(
            reader.artifact_path(run.source, artifact),
            artifact,
            keys,
            lambda stream: count_changes(stream, capture.lines()),
        )
    except (FsbackupError, IndexDamaged) as error:
        # What is wrong with an earlier point is for its verification to say.
        run.context.report(Log(f"Not compared with {run.last_good_point}: {error}"))
        return None
    return TreeChanges(run.last_good_point, added, removed, changed)


async def _unchanged(run: CaptureRun, source: FilesSource) -> PartManifest | None:
    """Share the last good part's files where nothing was written in the tree since.

    None: something was, or the plan does not want it, or the earlier files are not what they
    were: then the tree is captured anew.
    """
    plan = run.context.loaded.config.plans.get(run.plan)
    earlier, point = run.last_good, run.last_good_point
    if plan is None or not plan.link_unchanged or earlier is None or point is None:
        return None
    facts = earlier.files
    if facts is None or not _same_chain(earlier, run.chain) or facts.unsettled.count:
        return None
    with run.phase("look"):
        if (
            await asyncio.to_thread(_state, make_walk(source, run.context.loaded))
            != facts.state_sha256
        ):
            return None
    with run.phase("share"):
        try:
            problem = await _not_signed(run, point)
            problem = problem or await asyncio.to_thread(_share, run, point, earlier)
        except (PointDamaged, PointNotFound, OSError) as error:
            problem = str(error).partition("\n")[0]
    if problem:
        for artifact in earlier.artifacts:
            (run.directory / artifact.path).unlink(missing_ok=True)
        run.context.report(
            Warned(f"{run.source} has not changed, but is captured anew: {point}: {problem}")
        )
        return None
    run.context.report(Log(f"{run.source} has not changed: its stored files are those of {point}"))
    await _name_files(run, source, facts)
    facts = replace(facts, changes=TreeChanges(point, 0, 0, 0), linked_to=point)
    return replace(_part(run, facts, earlier.artifacts, ()), key=earlier.key)


async def _name_files(run: CaptureRun, source: FilesSource, facts: FilesFacts) -> None:
    """Tell the links the files of an unchanged tree where its list can't be decrypted here.

    The tree itself has the same names and sizes; hashes are only in the list.
    """
    links, key = run.links, run.chain.key
    if links is None or run.source not in links.trees or key is None:
        return
    keys = await reading_keys(run.context, run.repository)
    with suppress(KeyUnavailable):
        keys.of(key.facts.method)
        return
    walk = await asyncio.to_thread(make_walk, source, run.context.loaded)
    files = _tree_files(walk, os.fsencode(source.read_from or source.root))
    await asyncio.to_thread(links.add_files, run.source, files)
    if walk.state_sha256 != facts.state_sha256:
        links.forget_tree(run.source, "was not looked at in time: the tree changed meanwhile")


def _tree_files(walk: Walk, root: bytes) -> Iterator[TreeFile]:
    for entry in walk.entries():
        if entry.kind == "file":
            yield TreeFile(entry.path, entry.status.st_size, None)
        elif entry.kind == "symlink":
            # One that went away meanwhile is told of by the state of the tree.
            with suppress(OSError):
                target = os.readlink(root + b"/" + entry.path)  # noqa: PTH115 (a path of bytes)
                leads = led_to(entry.path, target)
                if leads is not None:
                    yield TreeFile(entry.path, None, None, leads)


def _state(walk: Walk) -> str:
    for _entry in walk.entries():
        pass
    return walk.state_sha256


def _same_chain(part: PartManifest, chain: Chain) -> bool:
    """Whether a part is stored as a new one would be, with the same key."""
    key = chain.key.facts.id if chain.key else None
    return (part.key.id if part.key else None) == key and all(
        artifact.compression == chain.compression
        and artifact.encryption == (chain.key.facts.method if chain.key else None)
        for artifact in part.artifacts
    )


async def _not_signed(run: CaptureRun, point: str) -> str:
    """Return why a new signature can't stand for an earlier point's files; empty: it can.

    Whoever can write into the repository can put a point there that tells of the same tree.
    """
    if run.context.loaded.config.signing is None:
        return ""
    signature = await signature_in(run.context, PointReader(run.repository, point))
    return "" if signature.state == "good" else signature.words


def _share(run: CaptureRun, point: str, earlier: PartManifest) -> str:
    """Link the earlier part's files into this one's directory, and read them against their seal.

    Returns what is wrong with them, empty for nothing.
    """
    if not_here(run.repository, point) is not None:
        return "it lies elsewhere"
    reader = PointReader(run.repository, point)
    for artifact in earlier.artifacts:
        stored, own = reader.artifact_path(run.source, artifact), run.directory / artifact.path
        try:
            own.hardlink_to(stored)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(stored, own)
        sha256, size = hash_file(own)
        if (sha256, size) != (artifact.sha256, artifact.bytes):
            return f"{artifact.path} is altered (its SHA-256 differs)"
    return ""


def _artifact(part: PartManifest, role: ArtifactRole) -> Artifact | None:
    return next((artifact for artifact in part.artifacts if artifact.role == role), None)


class TreeProgress:
    """Tells files, bytes and the current path of a tree as they pass, every so often."""

    def __init__(self, report: Report, last_good: PartManifest | None) -> None:
        self._report = report
        facts = last_good.files if last_good is not None else None
        self._total = float(facts.bytes) if facts is not None and facts.bytes else None
        self._total_files = facts.files if facts is not None else 0
        self._files = 0
        self._bytes = 0
        self._told = time.monotonic()

    def advance(self, files: int, count: int, path: bytes) -> None:
        """Take in files and bytes; the path is the one at work."""
        self._files += files
        self._bytes += count
        now = time.monotonic()
        if now - self._told >= _TOLD_SECONDS:
            self._told = now
            total = self._total
            if total is not None and self._bytes > total:
                total = None
            detail = files_passed(self._files, self._total_files)
            active = (shown_path(path),)
            self._report(Progress(float(self._bytes), total, "bytes", detail, active=active))
