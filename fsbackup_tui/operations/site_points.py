"""The points that might bring files, configuration or code back: newest first, each with doubts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.errors import PointDamaged, PointNotFound, RepositoryError
from fsbackup_tui.domain.point import PartManifest, PointSummary
from fsbackup_tui.domain.site_damage import SiteCandidate
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
from fsbackup_tui.repository.reader import PointReader

_NEWEST = 6
_CLEAN = 2
_LOOKED_AT = 400


@dataclass(frozen=True, slots=True)
class SitePart:
    """A point with its part; ``part`` None: its manifest can't be read."""

    summary: PointSummary
    part: PartManifest | None
    directory: str
    doubt: str

    @property
    def at(self) -> datetime:
        """The moment that it is of."""
        return self.summary.created if self.part is None else self.part.started


@dataclass(frozen=True, slots=True)
class SitePoints:
    """What the repository has of a part: the point to measure by, and those to choose among.

    ``parts`` are all parts of the point that is measured by.
    """

    chosen: SitePart | None
    candidates: tuple[SitePart, ...]
    notes: tuple[str, ...] = ()
    parts: tuple[PartManifest, ...] = ()
    repository: Repository | None = None


def site_points(
    context: JobContext, source: str, wanted: str, last_right: datetime | None
) -> SitePoints:
    """Return the candidates, and which of them is measured by.

    Without ``wanted`` it is the newest good one from before it was last right, else the newest
    good one; where there is none, that is told, and nothing raised.

    Raises:
        PointNotFound: the point that was named is not there.
    """
    try:
        repository = open_site_repository(context.loaded, os.environ)
    except RepositoryError as error:
        if wanted:
            raise
        return SitePoints(None, (), (f"There is nothing to compare with: {error.what}",))
    with open_catalogue(context.loaded, os.environ, repository) as catalogue:
        listed = [
            point for point in catalogue.points(limit=_LOOKED_AT, own=True) if _fits(point, source)
        ]
        named = None
        if wanted:
            zone = site_zone(context.loaded)
            named = find_point(catalogue, wanted, zone=zone, part=source, any_trust=True)
    chosen, notes = (named, ()) if named is not None else _choose(listed, source, last_right)
    candidates = _candidates(listed, source, last_right)
    if chosen is not None and all(point.id != chosen.id for point in candidates):
        candidates = (*candidates, chosen)
    parts = [_site_part(repository, point, source, last_right) for point in candidates]
    measured = next((each for each in parts if chosen and each.summary.id == chosen.id), None)
    every: tuple[PartManifest, ...] = ()
    if chosen is not None:
        with suppress(PointDamaged, PointNotFound, RepositoryError):
            every = tuple(PointReader(repository, chosen.id).parts())
    return SitePoints(measured, tuple(parts), notes, every, repository)


def _fits(point: PointSummary, source: str) -> bool:
    return point.whole and not point.running and any(p.source == source for p in point.parts)


def _choose(
    listed: Sequence[PointSummary], source: str, last_right: datetime | None
) -> tuple[PointSummary | None, tuple[str, ...]]:
    good = [point for point in listed if usable(point, source)]
    before = [point for point in good if last_right is None or point.created <= last_right]
    if before:
        return before[0], ()
    if good:
        return good[0], ("No good point is from before the damage: measured by the newest one.",)
    return None, ("There is no good point to compare with.",)


def _candidates(
    points: Sequence[PointSummary], source: str, last_right: datetime | None
) -> tuple[PointSummary, ...]:
    """Return the newest points, and more until some of them are beyond doubt."""
    chosen: list[PointSummary] = []
    clean = 0
    for number, point in enumerate(points):
        sound = not doubts(point, source, last_right)
        if number < _NEWEST or (sound and clean < _CLEAN):
            chosen.append(point)
            clean += sound
    return tuple(chosen)


def doubts(
    point: PointSummary,
    source: str,
    last_right: datetime | None,
    manifest: PartManifest | None = None,
) -> str:
    """Return why it takes a written reason to restore a part of a point; empty: none.

    With the part's ``manifest`` only what is suspect of this part counts.
    """
    found = []
    part = next((each for each in point.parts if each.source == source), None)
    trust = point.trust if part is None else part.trust
    top = TOP_RUNGS.get(part.kind if part is not None else "", Trust.PROVEN)
    if trust <= Trust.INCOMPLETE:
        found.append(trust.word)
    suspect = point.suspect
    if manifest is not None:
        suspect = tuple(reason for reason in suspect if reason in manifest.suspect)
    if suspect:
        found.append(f"suspect: {suspect[0]}")
    if last_right is not None and point.created > last_right:
        found.append("taken after the damage")
    if Trust.INCOMPLETE < trust < top:
        found.append(f"{trust.word}, not {top.word}")
    return "; ".join(found)


def _site_part(
    repository: Repository, point: PointSummary, source: str, last_right: datetime | None
) -> SitePart:
    part: PartManifest | None = None
    directory = repository.point_directory(point.id)
    with suppress(PointDamaged, PointNotFound, RepositoryError):
        part = PointReader(repository, point.id).part(source)
    doubt = doubts(point, source, last_right, part)
    if part is None:
        doubt = "; ".join(filter(None, (doubt, "its manifest can't be read")))
    return SitePart(point, part, str(directory), doubt)


def candidate_of(
    point: SitePart,
    source: str,
    *,
    last_right: datetime | None,
    now: datetime,
    unsigned: str = "",
) -> SiteCandidate:
    """Return what is known of a point before anything is compared with it.

    ``unsigned`` tells how it lacks the signature that is demanded.
    """
    summary, part = point.summary, point.part
    trust = next((each.trust for each in summary.parts if each.source == source), summary.trust)
    files = part.files if part is not None else None
    return SiteCandidate(
        point=summary.id,
        at=point.at,
        trust=Trust.DAMAGED.word if part is None else trust.word,
        minutes=round(max(0.0, (now - point.at).total_seconds()) / 60, 1),
        after_damage=None if last_right is None else summary.created > last_right,
        doubt="; ".join(filter(None, (point.doubt, unsigned))),
        unsigned=unsigned,
        files=files.files if files is not None else None,
        bytes=files.bytes if files is not None else None,
        directory=point.directory,
        stock=stock_of(part) if part is not None else (),
    )


_DECRYPTED = {"gpg": "gpg -d {}", "age": "age -d -i KEY {}"}
_SEAL = "sha256sum -c SHA256SUMS)"
_READERS = {".zst": "zstd -dc", ".gz": "gzip -dc"}


def stock_of(part: PartManifest) -> tuple[str, ...]:
    """Return the stock commands that read a part, run in the point's directory.

    Of files it is the pipeline that gives the archive: what takes it apart depends on what it is
    wanted for. Of all else they are the part's own.
    """
    if part.kind != "files":
        # The seal is compared first whatever the kind (domain/incident_now_site.py).
        commands = (each for each in part.restore_commands if not each.endswith(_SEAL))
        return tuple(line for each in commands for line in each.splitlines())
    archive = next((each for each in part.artifacts if each.role == "archive"), None)
    if archive is None:
        return part.restore_commands
    path = shlex.quote(f"{part.source}/{archive.path}")
    steps = []
    if archive.encryption:
        method = "age" if archive.path.endswith(".age") else "gpg"
        steps.append(_DECRYPTED[method].format(path))
    name = archive.path.removesuffix(".age").removesuffix(".gpg")
    reader = next((text for ending, text in _READERS.items() if name.endswith(ending)), "cat")
    if not steps:
        steps.append(f"{reader} {path}")
    elif reader != "cat":
        steps.append(reader)
    return (" | ".join(steps),)
