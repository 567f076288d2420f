"""Making a point of a backup that another script made; that backup itself stays as it is."""

from __future__ import annotations

import asyncio
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fsbackup_tui import __version__
from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.new_config import SOURCE
from fsbackup_tui.domain.errors import (
    FsbackupError,
    Interrupted,
    RepositoryError,
    SafetyRefusal,
    UsageError,
)
from fsbackup_tui.domain.events import Progress, Warned
from fsbackup_tui.domain.point import Artifact, ArtifactRole, Manifest, PartManifest
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.foreign.layout import lay_out, stored_name
from fsbackup_tui.engines.foreign.model import Examination, ForeignFile
from fsbackup_tui.engines.foreign.parts import foreign_part
from fsbackup_tui.engines.foreign.sums import compute
from fsbackup_tui.operations.adopt_files import source_of, unpack_tree
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.decryption import Keys, open_encrypted
from fsbackup_tui.operations.foreign import backup_path, file_document, readable
from fsbackup_tui.operations.foreign_refusals import refuse_unusable
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.requests import AdoptRequest
from fsbackup_tui.operations.status import open_catalogue, open_site_repository, site_zone
from fsbackup_tui.operations.writing import require_writer
from fsbackup_tui.repository.artifacts import hash_artifacts
from fsbackup_tui.repository.files import writing
from fsbackup_tui.repository.foreign import Found, adopted_identifier, adopted_reason, found_at
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.writer import PointWriter

_SPACE_MARGIN = 1.1
_PROGRESS_STEP = 32 << 20
_FILES_SOURCE = "files"
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Adoption:
    """One adoption while it runs; setting ``stop`` ends what reads and copies in a thread."""

    request: AdoptRequest
    context: JobContext
    repository: Repository
    found: Found
    stop: threading.Event

    def advance(self, total: int | None, what: str) -> Callable[[int], None]:
        """Return what is told the bytes of each step."""
        done = 0

        def step(count: int) -> None:
            nonlocal done
            if self.stop.is_set():
                raise Interrupted("GIVEN UP: the adoption was cancelled.")
            before, done = done, done + count
            if before // _PROGRESS_STEP != done // _PROGRESS_STEP:
                whole = None if total is None else float(total)
                self.context.report(Progress(float(done), whole, "bytes", what))

        return step


async def run(request: AdoptRequest, context: JobContext) -> dict[str, object]:
    """Copy a foreign backup into the repository as a point; returns the document of ``adopt``.

    It is read to its end first; what is damaged, cut off, empty or can't be restored is not
    adopted. The point's time is the backup's; it holds no counts, so it is ``restored`` at most.

    Raises:
        PointNotFound: there is no such file.
        PointDamaged: it is no whole backup.
        NotDecryptable: it is encrypted, and can't be opened here.
        SafetyRefusal: it holds commands for psql, is pg_dumpall's, or is adopted.
    """
    started = time.monotonic()
    refuse_if_read_only(context.loaded, "adopts nothing")
    path = backup_path(request.path)
    repository = open_site_repository(context.loaded, os.environ)
    require_writer(context, repository)
    adoption = _Adoption(request, context, repository, found_at(path), threading.Event())
    _refuse_twice(adoption)
    context.stage("read")
    with readable(path):
        examination = await _in_thread(adoption, lambda: _examine(adoption))
    examination = await open_encrypted(
        examination,
        Keys(context.loaded, os.environ, context.redactor),
        zone=site_zone(context.loaded),
        work=context.work,
        report=context.report,
    )
    refuse_unusable(examination, "ADOPTED")
    source = request.source or default_source(context.loaded, examination.file)
    manifest = await _write(adoption, examination, source)
    _record(adoption, examination.file, manifest)
    return {
        "ok": True,
        "point": manifest.id,
        "path": str(repository.point_directory(manifest.id)),
        "from": str(path),
        "part": source,
        "bytes": manifest.bytes,
        "trust": Trust.UNVERIFIED.word,
        "job": context.job,
        "seconds": round(time.monotonic() - started, 3),
        "file": file_document(examination.file),
        "notes": _notes(examination.file),
    }


def _notes(file: ForeignFile) -> list[str]:
    if file.content is None:
        return list(file.notes)
    return [*file.notes, "it is no longer encrypted: who may read the repository can read it"]


def _refuse_twice(adoption: _Adoption) -> None:
    context = adoption.context
    with open_catalogue(context.loaded, os.environ, adoption.repository) as catalogue:
        for point in catalogue.points(text=adoption.found.id, own=True):
            if adopted_identifier(point.reason or "") == adoption.found.id:
                raise SafetyRefusal(
                    f"ADOPTED ALREADY: {adoption.found.path.name} is the point {point.id}.",
                    why="Neither its path nor its size nor its time has changed since.",
                    fix=f"fsbackup show {point.id}",
                )


def _examine(adoption: _Adoption) -> Examination:
    path = adoption.found.path
    told = adoption.advance(None, f"reading {path.name}")
    before = 0

    def total(done: int) -> None:
        nonlocal before
        told(done - before)
        before = done

    return examine(path, site_zone(adoption.context.loaded), on_bytes=total)


def default_source(loaded: LoadedConfig, file: ForeignFile) -> str:
    """Return the source that a foreign backup becomes a part of; UsageError where it is open."""
    if not file.is_database:
        return source_of(loaded, file) or _FILES_SOURCE
    names = list(loaded.config.databases)
    if len(names) == 1:
        return names[0]
    if not names:
        return SOURCE
    raise UsageError(
        f"WHICH SOURCE? {file.path.name} is a dump of a database.",
        why=f"The configuration has: {', '.join(names)}.",
        fix=f"fsbackup adopt {shlex.quote(str(file.path))} --source NAME",
    )


async def _write(adoption: _Adoption, examination: Examination, source: str) -> Manifest:
    context, file = adoption.context, examination.file
    writer = PointWriter.begin(
        adoption.repository,
        plan=adoption.request.plan,
        job=context.job,
        now=file.taken.replace(microsecond=0),
        reason=adopted_reason(file.path, adoption.found.id),
        operator=context.operator,
        host=context.host,
        tool_version=__version__,
        site_yaml=context.loaded.text,
        space_needed=int(_content_bytes(file) * _SPACE_MARGIN),
    )
    phases: dict[str, float] = {}
    try:
        context.stage("copy")
        with _timed(phases, "copy"):
            artifacts = await _in_thread(adoption, lambda: _copy(adoption, writer, file, source))
        part = None
        notes: list[str] = []
        if not file.is_database:
            context.stage("unpack")
            with _timed(phases, "unpack"):
                part, notes = await _unpack(adoption, writer, file, source, artifacts)
        context.stage("seal")
        if part is None:
            part = foreign_part(examination, source=source, artifacts=artifacts)
            part = replace(part, warnings=(*part.warnings, *notes))
        await asyncio.to_thread(writer.commit_part, source, part)
        taken = file.taken.replace(microsecond=0)
        return await asyncio.to_thread(writer.finish, phases, now=taken, numbered=False)
    except BaseException:
        if kept := writer.abandon():
            context.report(Warned(f"Kept: {kept}. fsbackup show {writer.id}"))
        raise


async def _unpack(
    adoption: _Adoption,
    writer: PointWriter,
    file: ForeignFile,
    source: str,
    artifacts: tuple[Artifact, ...],
) -> tuple[PartManifest | None, list[str]]:
    """Return the part made of what is in a tar; None, with why, where it stays a tar."""
    made = await unpack_tree(
        adoption.context,
        adoption.repository,
        writer.part_directory(source),
        artifacts[0],
        file,
        source=source,
        plan=adoption.request.plan,
    )
    notes = [f"kept as it is, to be unpacked by hand: {made.why_not}"] if made.why_not else []
    for note in notes:
        adoption.context.report(Warned(note))
    return made.part, notes


@contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    phases[name] = round(time.monotonic() - started, 3)


def _content_bytes(file: ForeignFile) -> int:
    return file.bytes if file.content is None else file.content.stat().st_size


def _copy(
    adoption: _Adoption, writer: PointWriter, file: ForeignFile, source: str
) -> tuple[Artifact, ...]:
    """Copy the bytes and return them as artifacts, hashed by reading the copy back."""
    directory = writer.part_directory(source)
    name = file.path.name
    with writing(directory):
        lay_out(
            file,
            directory,
            link=False,
            advance=adoption.advance(_content_bytes(file), f"copying {name}"),
        )
        role: ArtifactRole = "dump" if file.is_database else "also"
        return hash_artifacts(
            directory, {stored_name(file): role}, adoption.advance(None, f"sealing {name}")
        )


async def _in_thread(adoption: _Adoption, work: Callable[[], _Value]) -> _Value:
    """Run blocking work; a cancel waits until it has stopped, so that nothing writes any more."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        adoption.stop.set()
        with suppress(FsbackupError, OSError):
            await task
        raise


def _record(adoption: _Adoption, file: ForeignFile, manifest: Manifest) -> None:
    """Write down where the point came from; it is whole without that record too."""
    context = adoption.context
    copied = {artifact.sha256 for part in manifest.parts for artifact in part.artifacts}
    as_it_was = len(copied) == 1 and manifest.bytes == file.bytes and file.content is None
    document: dict[str, object] = {
        "from": str(file.path),
        "foreign": adoption.found.id,
        "bytes": file.bytes,
        "sha256": copied.pop() if as_it_was else _digest(file.path),
        "file": file_document(file),
    }
    try:
        write_record(
            adoption.repository,
            manifest.id,
            "adopted",
            document,
            now=context.now(),
            job=context.job,
            operator=context.operator,
        )
    except RepositoryError as error:
        context.report(Warned(f"Not recorded: {error.what} {error.why}"))


def _digest(path: Path) -> str | None:
    return None if path.is_dir() else compute(path, "sha256")
