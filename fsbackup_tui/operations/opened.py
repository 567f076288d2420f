"""Encrypted artifacts, decrypted for the time that they are used.

The plain files lie in the job's private work directory, checked before anybody may use them, and
are gone when the block ends, whichever way it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from fsbackup_tui.domain.errors import DiskFull
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.point import Artifact, ArtifactRole, PartManifest
from fsbackup_tui.engines.chain import read_artifact, unpack_artifact
from fsbackup_tui.engines.compression import SUFFIXES, ByteStream
from fsbackup_tui.engines.encryption.keys import SUFFIXES as KEY_SUFFIXES
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import guarded
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.wording import size_text
from fsbackup_tui.repository.files import free_bytes, remove_tree
from fsbackup_tui.repository.reader import PointReader

_LEAST_FREE_BYTES = 64 * 10**6
_WATCH_SECONDS = 0.5
_NEEDED: tuple[ArtifactRole, ...] = ("dump", "globals")
_Result = TypeVar("_Result")


class OpenedPoint(PointReader):
    """A point some of whose artifacts lie decrypted elsewhere; the rest is as stored."""

    def __init__(self, stored: PointReader, plain: Mapping[tuple[str, str], Path]) -> None:
        super().__init__(stored.repository, stored.id)
        self._plain = plain

    def path_inside(self, source: str, relative: str) -> Path:
        """Return where an artifact's plain content lies, or what is stored."""
        plain = self._plain.get((source, relative))
        return plain if plain is not None else super().path_inside(source, relative)


def plain_name(artifact: Artifact) -> str:
    """Return an artifact's name without what compression and encryption put behind it."""
    name = artifact.path
    if artifact.encryption is not None:
        name = name.removesuffix(KEY_SUFFIXES.get(artifact.encryption, ""))
    if artifact.compression is not None:
        name = name.removesuffix(SUFFIXES.get(artifact.compression.partition(":")[0], ""))
    return name


def encrypted(part: PartManifest, roles: Collection[ArtifactRole]) -> list[Artifact]:
    """Return the artifacts of these roles that lie encrypted."""
    return [
        artifact
        for artifact in part.artifacts
        if artifact.encryption is not None and artifact.role in roles
    ]


@asynccontextmanager
async def opened(
    context: JobContext,
    reader: PointReader,
    parts: Sequence[PartManifest],
    *,
    roles: Collection[ArtifactRole] = _NEEDED,
) -> AsyncIterator[PointReader]:
    """Yield a reader that gives the plain content of what lies encrypted in the parts.

    A point that lies in plain is given as it is.

    Raises:
        KeyUnavailable: what decrypts it is not here.
        PointDamaged: it can't be decrypted to its end.
        DiskFull: there is no room for the plain content.
    """
    wanted = [(part.source, artifact) for part in parts for artifact in encrypted(part, roles)]
    if not wanted:
        yield reader
        return
    keys = await reading_keys(context, reader)
    place = Path(mkdtemp(prefix="opened-", dir=context.work))
    try:
        needed = sum(artifact.plain_bytes or artifact.bytes for _source, artifact in wanted)
        _check_space(place, needed)
        plain: dict[tuple[str, str], Path] = {}
        for source, artifact in wanted:
            target = place / source / plain_name(artifact)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            context.report(Log(f"Decrypting {source}/{artifact.path} for the time it is used"))
            await guarded(
                unpack_artifact(
                    reader.artifact_path(source, artifact),
                    artifact,
                    keys,
                    target,
                    report=context.report,
                ),
                _watch_space(place),
            )
            plain[source, artifact.path] = target
        yield OpenedPoint(reader, plain)
    finally:
        remove_tree(place)


def _check_space(place: Path, needed: int) -> None:
    free = free_bytes(place) - _floor(place)
    if free < needed:
        raise DiskFull(
            "NOT ENOUGH SPACE to decrypt what is to be read.",
            why=f"Its plain content takes {size_text(needed)}; {place} has "
            f"{size_text(max(0, free))} to spare.",
            fix="Free some, or let state: name a roomier place.",
        )


def _floor(place: Path) -> int:
    return min(_LEAST_FREE_BYTES, free_bytes(place) // 4)


async def _watch_space(place: Path) -> None:
    floor = _floor(place)
    while True:
        if free_bytes(place) < floor:
            raise DiskFull(
                "DISK NEARLY FULL: decrypting was stopped.",
                why=f"{place} has {size_text(free_bytes(place))} left.",
                fix="Free some, or let state: name a roomier place.",
            )
        await asyncio.sleep(_WATCH_SECONDS)


async def read_plain(
    context: JobContext,
    reader: PointReader,
    source: str,
    artifact: Artifact,
    consume: Callable[[ByteStream], _Result],
) -> _Result:
    """Return what ``consume`` makes, in a thread, of an artifact's plain content; no file is made.

    Raises KeyUnavailable and PointDamaged, as ``read_artifact`` does.
    """
    keys = await reading_keys(context, reader)
    path = reader.artifact_path(source, artifact)
    return await read_artifact(path, artifact, keys, consume, report=context.report)


async def key_document(context: JobContext, reader: PointReader) -> dict[str, object] | None:
    """Return which key a point takes, and whether what is here opens it; None for a plain one.

    ``needs`` says what is missing ("needs the private key …"), empty where it opens.
    """
    facts = [part.key for part in reader.parts() if part.key is not None]
    if not facts:
        return None
    keys = await reading_keys(context, reader)
    held = {"gpg": keys.gpg, "age": keys.age}
    opens = all(held[key.method] is not None for key in facts)
    return {
        "id": facts[0].id,
        "method": facts[0].method,
        "hint": facts[0].hint,
        "recipients": list(facts[0].recipients),
        "opens": opens,
        "needs": "" if opens else keys.reason,
    }
