"""Which points might bring a part back, which one is measured by, and why to doubt each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.errors import RepositoryError
from fsbackup_tui.domain.estimate import MeasuredRun
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.trust import TOP_RUNGS, Trust
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.status import (
    find_point,
    open_catalogue,
    open_site_repository,
    site_zone,
)
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.points import usable

_LOOKED_AT = 400


@dataclass(frozen=True, slots=True)
class CandidatePoints:
    """The points that might bring a part back, newest first, and the one that is measured by.

    ``repository`` None: it can't be opened; ``chosen`` None: there is none to measure by. The
    notes say why. ``runs`` tell how long what was done with the newest points took.
    """

    repository: Repository | None = None
    chosen: PointSummary | None = None
    candidates: tuple[PointSummary, ...] = ()
    runs: tuple[MeasuredRun, ...] = ()
    notes: tuple[str, ...] = ()

    def with_chosen(self) -> tuple[PointSummary, ...]:
        """Return the candidates, and behind them the chosen point if it is none of them."""
        chosen = self.chosen
        if chosen is None or any(point.id == chosen.id for point in self.candidates):
            return self.candidates
        return (*self.candidates, chosen)


def candidate_points(
    context: JobContext,
    source: str,
    wanted: str,
    last_right: datetime | None,
    *,
    fits: Callable[[PointSummary], bool],
    newest: int,
    clean: int,
) -> CandidatePoints:
    """Return the ``newest`` points that fit, and more until ``clean`` of them are beyond doubt.

    Without ``wanted`` the chosen one is the newest good one from before it was last right, else
    the newest good one; where there is none, that is told, and nothing raised.

    Raises:
        PointNotFound: the point that was named is not there.
    """
    try:
        repository = open_site_repository(context.loaded, os.environ)
    except RepositoryError as error:
        if wanted:
            raise
        return CandidatePoints(notes=(f"There is nothing to compare with: {error.what}",))
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        listed = [point for point in catalogue.points(limit=_LOOKED_AT, own=True) if fits(point)]
        chosen, notes = _newest_good(listed, source, last_right)
        if wanted:
            zone = site_zone(context.loaded)
            chosen = find_point(catalogue, wanted, zone=zone, part=source, any_trust=True)
            notes = ()
        runs = catalogue.runs()
    candidates = _candidates(listed, source, last_right, newest, clean)
    return CandidatePoints(repository, chosen, candidates, runs, notes)


def _newest_good(
    listed: Sequence[PointSummary], source: str, last_right: datetime | None
) -> tuple[PointSummary | None, tuple[str, ...]]:
    good = [point for point in listed if usable(point, source)]
    before = [point for point in good if not is_after(point, last_right)]
    if before:
        return before[0], ()
    if good:
        return good[0], ("No good point is from before the damage: measured by the newest one.",)
    return None, ("There is no good point to compare with.",)


def _candidates(
    listed: Sequence[PointSummary],
    source: str,
    last_right: datetime | None,
    newest: int,
    clean: int,
) -> tuple[PointSummary, ...]:
    chosen: list[PointSummary] = []
    found = 0
    for number, point in enumerate(listed):
        sound = not doubts(point, source, last_right)
        if number < newest or (sound and found < clean):
            chosen.append(point)
            found += sound
    return tuple(chosen)


def doubts(
    point: PointSummary,
    source: str,
    last_right: datetime | None,
    *,
    trust: Trust | None = None,
    suspect: Sequence[str] | None = None,
) -> str:
    """Return why it takes a written reason to restore a part of a point; empty: none.

    ``trust`` and ``suspect`` stand for what the inventory knows of the two.
    """
    found = []
    kind = next((part.kind for part in point.parts if part.source == source), "")
    top = TOP_RUNGS.get(kind, Trust.PROVEN)
    known = trust_of(point, source) if trust is None else trust
    reasons = point.suspect if suspect is None else suspect
    if known <= Trust.INCOMPLETE:
        found.append(known.word)
    if reasons:
        found.append(f"suspect: {reasons[0]}")
    if is_after(point, last_right):
        found.append("taken after the damage")
    if Trust.INCOMPLETE < known < top:
        found.append(f"{known.word}, not {top.word}")
    return "; ".join(found)


def trust_of(point: PointSummary, source: str) -> Trust:
    """Return how far the part was shown good: the point's own trust where the part is unknown."""
    return next((part.trust for part in point.parts if part.source == source), point.trust)


def is_after(point: PointSummary, last_right: datetime | None) -> bool | None:
    """Whether a point was taken after it was last right; None: nobody knows."""
    return None if last_right is None else point.created > last_right
