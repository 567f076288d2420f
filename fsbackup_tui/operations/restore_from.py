"""What a restore reads from: a point of the repository, or a backup that another script made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.foreign_trial import ForeignPoint, foreign_file, point_to_restore
from fsbackup_tui.operations.opened import opened
from fsbackup_tui.operations.replica_offer import another_way
from fsbackup_tui.operations.replica_view import point_repository
from fsbackup_tui.operations.signatures import demand_signature
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader


@dataclass(frozen=True, slots=True)
class RestoreSource:
    """A postgres part, with the schema that one of rows alone is loaded into.

    ``repository`` is None for a backup file: that needs none.
    """

    repository: Repository | None
    reader: PointReader
    part: PartManifest
    facts: PostgresFacts
    schema: tuple[PartManifest, PointReader] | None

    @property
    def created_from(self) -> PostgresFacts:
        """The facts of the database that the new one is made like."""
        schema = None if self.schema is None else self.schema[0].postgres
        return schema or self.facts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of what was read; of a point there is its standing."""
        return tuple(note for reader in self._foreign() for note in reader.notes)

    def check_unchanged(self) -> None:
        """Raise PointDamaged where a backup file was written to while it was restored."""
        for reader in self._foreign():
            reader.check_unchanged()

    def _foreign(self) -> Iterator[ForeignPoint]:
        readers = [self.reader] if self.schema is None else [self.reader, self.schema[1]]
        return (reader for reader in readers if isinstance(reader, ForeignPoint))


class _Asked(Protocol):
    """What a request says of where to read; ``schema_point`` is for a part of rows alone."""

    @property
    def point(self) -> str: ...
    @property
    def part(self) -> str: ...
    @property
    def schema_point(self) -> str | None: ...


async def open_source(request: _Asked, context: JobContext) -> RestoreSource:
    """Find what a restore, or a check, is asked to read; a backup file is read to its end."""
    repository: Repository | None = None
    reader: PointReader
    if (file := foreign_file(request.point, context)) is not None:
        reader = await point_to_restore(file, context, request.part)
    else:
        repository = point_repository(context)
        reader = PointReader(repository, request.point)
    part = reader.part(request.part)
    if part.postgres is None:
        raise UsageError(f"NOT A DATABASE: {request.part} is of kind {part.kind}.")
    schema: tuple[PartManifest, PointReader] | None = None
    if part.postgres.scope == "data":
        schema = await _schema_part(request, context)
    return RestoreSource(repository, reader, part, part.postgres, schema)


async def _schema_part(request: _Asked, context: JobContext) -> tuple[PartManifest, PointReader]:
    if request.schema_point is None:
        raise SafetyRefusal(
            f"NO SCHEMA NAMED: {request.point} holds data alone. Nothing was created.",
            why="Rows need the tables of a schema point (or a full one) to be loaded into.",
            fix="Name it: --schema-point POINT",
        )
    reader: PointReader
    if (file := foreign_file(request.schema_point, context)) is not None:
        reader = await point_to_restore(file, context, request.part)
    else:
        repository = open_site_repository(context.loaded, os.environ)
        reader = PointReader(repository, request.schema_point)
    for part in reader.parts():
        if part.postgres is not None and part.postgres.scope != "data":
            _refuse_plain(part.postgres, reader.id)
            return part, reader
    raise SafetyRefusal(
        f"NO SCHEMA IN IT: {request.schema_point} holds no database schema.",
        fix="fsbackup list shows what there is.",
    )


def _refuse_plain(schema: PostgresFacts, name: str) -> None:
    if schema.format == "plain":
        raise SafetyRefusal(
            f"SCHEMA NOT DIVISIBLE: {name} is a plain dump. Nothing was created.",
            why="Its keys and triggers can't be held back until the rows are loaded.",
            fix="Name a schema point of format custom or directory. Or restore the schema beside, "
            "then\nload the rows by hand: psql -X -1 -v ON_ERROR_STOP=1 -d NAME -f FILE",
        )


@asynccontextmanager
async def in_use(source: RestoreSource, context: JobContext) -> AsyncIterator[None]:
    """Keep retention from taking the point away meanwhile; a file belongs to somebody else."""
    if source.repository is None:
        yield
        return
    point = source.reader.id
    lock = Lock(source.repository.use_lock(point), what=f"point {point}")
    async with lock.acquire_async(0, context.holder(), shared=True) as held:
        if held.note:
            context.report(Log(held.note))
        yield


@asynccontextmanager
async def opened_source(source: RestoreSource, context: JobContext) -> AsyncIterator[RestoreSource]:
    """Yield the source with what lies encrypted in it decrypted, for the time of the block.

    Raises KeyUnavailable, PointDamaged, DiskFull; see ``opened``.
    """
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(opened(context, source.reader, [source.part]))
        schema = source.schema
        if schema is not None:
            part, beside = schema
            schema = (part, await stack.enter_async_context(opened(context, beside, [part])))
        yield replace(source, reader=reader, schema=schema)


async def check_seals(
    source: RestoreSource, context: JobContext, *, reason_unsigned: str = ""
) -> None:
    """Compare what is about to be used with its seal, before anything is created.

    Where the configuration demands a signature, every point that is used must have one that
    counts, or it takes a written reason.
    """
    used = [(source.part, source.reader)]
    if source.schema is not None:
        used.append(source.schema)
    for part, reader in used:
        await demand_signature(context, reader, reason=reason_unsigned)
        for problem in reader.check_point_files():
            context.report(Warned(f"{reader.id} is damaged beside what is used: {problem}"))
        problems = await asyncio.to_thread(
            reader.check_sealed, part.source, context.report, beside_parts=False
        )
        if problems:
            raise PointDamaged(
                f"POINT DAMAGED: {reader.id} is not as it was sealed. Nothing was created.",
                why="\n".join(problems[:5]),
                fix=another_way(context, reader, "Restore another point: fsbackup list"),
            )
