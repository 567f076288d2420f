"""A suspect point's rows by table against the last good point before it: what the fall was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.anomaly import RowChange, row_changes
from fsbackup_tui.domain.errors import PointDamaged, PointNotFound
from fsbackup_tui.domain.point import PartManifest, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.status import usable_for_comparison
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Against:
    """One part compared with the same source's part in an earlier, good point.

    ``changes`` are the tables whose rows differ, the worst losses first.
    """

    source: str
    point: str
    created: datetime
    trust: Trust
    changes: tuple[RowChange, ...]


def against_last_good(
    catalogue: Catalogue,
    repository: Repository,
    point: PointSummary,
    parts: Sequence[PartManifest],
) -> tuple[Against, ...]:
    """Return how each database part of a suspect point differs from the last good one before it.

    A point that is not suspect, or has no good one before it, has nothing to be told.
    """
    if not point.suspect:
        return ()
    compared = (
        _against(catalogue, repository, point, part) for part in parts if part.postgres is not None
    )
    return tuple(one for one in compared if one is not None)


def _against(
    catalogue: Catalogue, repository: Repository, point: PointSummary, part: PartManifest
) -> Against | None:
    offset = 0
    while page := catalogue.points(limit=_PAGE, offset=offset, own=True):
        offset += len(page)
        for earlier in page:
            if not (
                0 < earlier.sequence < point.sequence
                and usable_for_comparison(earlier, part.source)
            ):
                continue
            with suppress(PointDamaged, PointNotFound):
                good = PointReader(repository, earlier.id).part(part.source)
                changes = row_changes(part, good)
                return Against(part.source, earlier.id, earlier.created, earlier.trust, changes)
    return None
