"""A look at the points before they are encrypted anew: whether anything here opens them."""

from __future__ import annotations

from collections.abc import Sequence

from fsbackup_tui.domain.errors import FsbackupError, KeyUnavailable, PointDamaged
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

NOT_BEGUN = "No new key was begun: nothing here opens any of the points"


async def all_shut(
    context: JobContext, repository: Repository, points: Sequence[str]
) -> list[dict[str, str]]:
    """Return why nothing here opens any of the points; nothing where one opens.

    Neither where none is encrypted: then a key may be begun that opens nothing yet. Points of the
    same keys are tried once.
    """
    problems: list[dict[str, str]] = []
    tried: dict[frozenset[str], FsbackupError] = {}
    for point in points:
        try:
            reader = PointReader(repository, point)
            needed = {part.key.id: part.key.method for part in reader.parts() if part.key}
            if not needed:
                continue
            names = frozenset(needed)
            if names not in tried:
                keys = await reading_keys(context, reader)
                try:
                    for method in needed.values():
                        keys.of(method)
                except KeyUnavailable as error:
                    tried[names] = error
                else:
                    return []
            wrong: FsbackupError = tried[names]
        except (PointDamaged, OSError):
            continue
        problems.append({"point": point, "what": wrong.what, "fix": wrong.fix})
    return problems
