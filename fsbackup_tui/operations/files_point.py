"""A point's tree of files, opened for a restore: checked, its index and archive ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.domain.errors import PointDamaged, UsageError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import Artifact, ArtifactRole, PartManifest
from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.index import IndexDamaged, IndexEntry, read_index
from fsbackup_tui.engines.files.index_checks import checked
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.replica_view import point_repository
from fsbackup_tui.operations.signatures import demand_signature
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FilesPoint:
    """One part of files of a stored point; ``facts`` None: adopted, nobody walked its tree."""

    context: JobContext
    reader: PointReader
    part: PartManifest
    facts: FilesFacts | None
    keys: ReadingKeys

    @property
    def id(self) -> str:
        """The point's id."""
        return self.reader.id

    def find(self, role: ArtifactRole) -> tuple[Path, Artifact] | None:
        """Return the artifact of a role and where it lies; None where the part has none."""
        for artifact in self.part.artifacts:
            if artifact.role == role:
                return self.reader.artifact_path(self.part.source, artifact), artifact
        return None

    def archive(self) -> tuple[Path, Artifact]:
        """Return the archive; PointDamaged where there is none."""
        found = self.find("archive")
        if found is None:
            raise PointDamaged(
                f"POINT DAMAGED: {self.id} has no archive of {self.part.source}.",
                why="Its manifest names none.",
                fix="Restore another point: fsbackup list",
            )
        return found

    async def read_index(self, consume: Callable[[Iterator[IndexEntry]], _Result]) -> _Result:
        """Return what ``consume``, in a thread, makes of the index, read to its end and checked."""
        found = self.find("index")
        if found is None:
            raise PointDamaged(
                f"NO INDEX: {self.id} has no list of the files of {self.part.source}.",
                why="Without it single files can't be put back.",
                fix="Restore all of them beside: fsbackup restore POINT --to DIR",
            )

        def read(stream: ByteStream) -> _Result:
            return consume(checked(read_index(stream)))

        path, artifact = found
        try:
            return await read_artifact(path, artifact, self.keys, read, report=self.context.report)
        except IndexDamaged as error:
            raise PointDamaged(
                f"NOT READABLE: {path.name} is no whole index.",
                why=f"{error}.",
                fix="Restore another point: fsbackup list",
            ) from error


@asynccontextmanager
async def open_files_point(
    context: JobContext,
    point: str,
    part: str,
    *,
    check: bool = True,
    reason_unsigned: str = "",
) -> AsyncIterator[FilesPoint]:
    """Yield a point's tree, kept from retention meanwhile; its seal is compared before.

    So is its signature, where the configuration demands one: what lacks it is taken for a written
    reason alone.

    Raises:
        SafetyRefusal: it lacks that signature.
        PointNotFound, UsageError: it has no such part, or that is no tree of files.
        PointDamaged: it is not as it was sealed. KeyUnavailable: nothing here decrypts it.
    """
    repository = point_repository(context)
    reader = PointReader(repository, point)
    found = reader.part(part)
    if found.kind != "files":
        raise UsageError(f"NOT FILES: {part} is of kind {found.kind}.")
    lock = Lock(repository.use_lock(point), what=f"point {point}")
    async with lock.acquire_async(0, context.holder(), shared=True) as held:
        if held.note:
            context.report(Log(held.note))
        if check:
            await demand_signature(context, reader, reason=reason_unsigned)
            await _check_seal(context, reader, found)
        keys = await reading_keys(context, reader)
        yield FilesPoint(context, reader, found, found.files, keys)


async def _check_seal(context: JobContext, reader: PointReader, part: PartManifest) -> None:
    problems = await asyncio.to_thread(
        reader.check_sealed, part.source, context.report, beside_parts=False
    )
    if problems:
        raise PointDamaged(
            f"POINT DAMAGED: {reader.id} is not as it was sealed. Nothing was touched.",
            why="\n".join(problems[:5]),
            fix="Restore another point: fsbackup list",
        )
