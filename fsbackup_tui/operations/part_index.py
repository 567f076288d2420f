"""The list of a stored tree's entries, wherever it lies and however it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.index import IndexDamaged, IndexEntry, read_index

_Result = TypeVar("_Result")


def index_artifact(part: PartManifest) -> Artifact | None:
    """Return the artifact that lists the part's entries; None where it has none."""
    return next((each for each in part.artifacts if each.role == "index"), None)


async def read_part_index(
    directory: Path,
    part: PartManifest,
    keys: ReadingKeys,
    consume: Callable[[Iterator[IndexEntry]], _Result],
) -> _Result:
    """Return what ``consume`` makes, in a thread, of the entries of a part.

    ``directory`` is that of the point. What was made counts only when this returns: the whole
    list was as it was stored then.

    Raises:
        KeyUnavailable: nothing here decrypts it.
        PointDamaged: it is missing, altered, or no list of entries.
    """
    artifact = index_artifact(part)
    if artifact is None:
        raise PointDamaged(f"NO INDEX: the part {part.source} does not list its files.")

    def work(stream: ByteStream) -> _Result:
        return consume(read_index(stream))

    path = directory / part.source / artifact.path
    try:
        return await read_artifact(path, artifact, keys, work)
    except IndexDamaged as error:
        raise PointDamaged(f"NOT READABLE: {path}.", why=f"{error}.") from error
