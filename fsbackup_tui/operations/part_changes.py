"""What a point's configuration and code have otherwise than the last good point before it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.config_change import EntryChange, compare_config, differing
from fsbackup_tui.domain.errors import PointDamaged, PointNotFound
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import PartManifest, PointSummary
from fsbackup_tui.operations.status import usable_for_comparison
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_PAGE = 200


@dataclass(frozen=True, slots=True)
class PartChanges:
    """One part compared with the same source's in ``point``, the last good one before it.

    ``entries`` are those of a configuration that are not known to be the same, by names alone;
    ``head`` is where the code stood then, where that is elsewhere.
    """

    source: str
    point: str
    created: datetime
    entries: tuple[EntryChange, ...] = ()
    head: str | None = None

    def document(self) -> dict[str, object]:
        """Return it as ``show --json`` has it."""
        return {
            "since": self.point,
            "created": format_time(self.created),
            "entries": [entry.document() for entry in self.entries],
            "head": self.head,
        }


def changes_of(
    catalogue: Catalogue,
    repository: Repository,
    point: PointSummary,
    parts: Sequence[PartManifest],
) -> dict[str, PartChanges]:
    """Return what changed, by source; a part that has no good one before it is left out."""
    found = {}
    for part in parts:
        if part.config is None and part.code is None:
            continue
        before = part_before(catalogue, repository, point, part.source)
        if before is None:
            continue
        earlier, former = before
        entries: tuple[EntryChange, ...] = ()
        head = None
        if part.config is not None and former.config is not None:
            entries = differing(compare_config(former.config, part.config))
        if part.code is not None and former.code is not None:
            head = former.code.head if former.code.head != part.code.head else None
        found[part.source] = PartChanges(part.source, earlier.id, earlier.created, entries, head)
    return found


def part_before(
    catalogue: Catalogue, repository: Repository, point: PointSummary, source: str
) -> tuple[PointSummary, PartManifest] | None:
    """Return the source's part in the last good point before this one, None where there is none."""
    offset = 0
    while page := catalogue.points(limit=_PAGE, offset=offset, own=True):
        offset += len(page)
        for earlier in page:
            if not 0 < earlier.sequence < point.sequence:
                continue
            if usable_for_comparison(earlier, source):
                with suppress(PointDamaged, PointNotFound):
                    return earlier, PointReader(repository, earlier.id).part(source)
    return None
