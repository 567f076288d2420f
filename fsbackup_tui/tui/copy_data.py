"""What screens tell of copies on replicas, and of points that are not wholly here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, tzinfo

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.domain.copies import is_unread
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.operations.wording import UNKNOWN, when_text
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.not_here import FILE_SCHEME, points_not_here
from fsbackup_tui.tui.data import Copies
from fsbackup_tui.tui.lines import Role


def site_copies(replicas: Mapping[str, Replica], repository: Repository | None) -> Copies:
    """Return the replicas of a configuration, and which points are not wholly here."""
    absent = {} if repository is None else points_not_here(repository)
    return Copies(
        tuple(replicas),
        {name: replica.read_back.every for name, replica in replicas.items()},
        {point: lacking.origin.removeprefix(FILE_SCHEME) or UNKNOWN
         for point, lacking in absent.items()},
    )  # fmt: skip


def copy_facts(
    point: PointSummary, site: Copies, now: datetime, zone: tzinfo
) -> Iterator[tuple[str, Role]]:
    """Yield a text for each copy, for each replica that has none, and for what is not here."""
    place = site.elsewhere.get(point.id)
    if place:
        yield f"at {place}, not here: only its description was fetched", "warn"
    for copy in point.copies:
        at = when_text(copy.at, now, zone)
        if copy.state == "wrong":
            yield f"{copy.replica} WRONG, found {at}: {copy.why or UNKNOWN}", "bad"
            # A line of its own: a command that is broken in two can't be pasted.
            yield f"fsbackup replicate {copy.replica}", "text"
            continue
        if copy.state == "removed":
            yield f"removed from {copy.replica} {at}: {copy.why or UNKNOWN}", "muted"
            continue
        read = "never" if copy.checked_at is None else when_text(copy.checked_at, now, zone)
        every = site.read_back.get(copy.replica, timedelta.max / 2)
        late = is_unread(copy, every, now)
        words = f"{copy.replica} whole since {at}; all of it read back: {read}"
        yield (f"{words}, LATE" if late else words), ("warn" if late else "text")
    if point.foreign or point.running:
        return
    had = {copy.replica for copy in point.copies}
    for replica in site.replicas:
        if replica not in had:
            yield f"none on {replica}", "muted"
