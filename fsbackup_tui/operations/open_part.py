"""A part that is about to be restored: found, in use, as it was sealed, by whom it must be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fsbackup_tui.domain.errors import PointDamaged, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.replica_view import point_repository
from fsbackup_tui.operations.signatures import demand_signature
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.lock import Lock
from fsbackup_tui.repository.reader import PointReader

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part as it lies in the repository, and what opens it here."""

    repository: Repository
    reader: PointReader
    part: PartManifest
    keys: ReadingKeys


@asynccontextmanager
async def open_part(
    context: JobContext,
    point: str,
    source: str,
    kind: str,
    *,
    reason_unsigned: str = "",
    restores: bool = True,
) -> AsyncIterator[OpenPart]:
    """Yield a part of the kind, checked against its seal; retention leaves it alone meanwhile.

    Where nothing of it is restored (``restores`` False), nobody's signature is demanded.

    Raises:
        UsageError: the part is of another kind.
        PointDamaged: it is not as it was sealed.
        SafetyRefusal: it lacks the signature that is demanded.
    """
    repository = point_repository(context)
    reader = PointReader(repository, point)
    part = reader.part(source)
    if part.kind != kind:
        raise UsageError(f"NOT {kind.upper()}: {source} is of kind {part.kind}.")
    lock = Lock(repository.use_lock(point), what=f"point {point}")
    async with lock.acquire_async(0, context.holder(), shared=True) as held:
        if held.note:
            context.report(Log(held.note))
        if restores:
            await demand_signature(context, reader, reason=reason_unsigned)
        await _check_seal(context, reader, source)
        yield OpenPart(repository, reader, part, await reading_keys(context, reader))


async def _check_seal(context: JobContext, reader: PointReader, source: str) -> None:
    for problem in reader.check_point_files():
        context.report(Warned(f"{reader.id} is damaged beside what is used: {problem}"))
    problems = await asyncio.to_thread(
        reader.check_sealed, source, context.report, beside_parts=False
    )
    if problems:
        raise PointDamaged(
            f"POINT DAMAGED: {reader.id} is not as it was sealed. Nothing was restored.",
            why="\n".join(problems[:_SHOWN]),
            fix="Restore another point: fsbackup list",
        )
