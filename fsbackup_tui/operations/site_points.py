"""The points that might bring files, configuration or code back: newest first, each with doubts."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.errors import PointDamaged, PointNotFound, RepositoryError
from fsbackup_tui.domain.point import PartManifest, PointSummary
from fsbackup_tui.domain.site_damage import SiteCandidate
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.candidate_points import candidate_points, doubts, is_after, trust_of
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_NEWEST = 6
_CLEAN = 2


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
    found = candidate_points(
        context,
        source,
        wanted,
        last_right,
        fits=lambda point: _fits(point, source),
        newest=_NEWEST,
        clean=_CLEAN,
    )
    repository, chosen = found.repository, found.chosen
    if repository is None:
        return SitePoints(None, (), found.notes)
    parts = [_site_part(repository, point, source, last_right) for point in found.with_chosen()]
    measured = next((each for each in parts if chosen and each.summary.id == chosen.id), None)
    every: tuple[PartManifest, ...] = ()
    if chosen is not None:
        with suppress(PointDamaged, PointNotFound, RepositoryError):
            every = tuple(PointReader(repository, chosen.id).parts())
    return SitePoints(measured, tuple(parts), found.notes, every, repository)


def _fits(point: PointSummary, source: str) -> bool:
    return point.whole and not point.running and any(p.source == source for p in point.parts)


def _site_part(
    repository: Repository, point: PointSummary, source: str, last_right: datetime | None
) -> SitePart:
    part: PartManifest | None = None
    directory = repository.point_directory(point.id)
    with suppress(PointDamaged, PointNotFound, RepositoryError):
        part = PointReader(repository, point.id).part(source)
    suspect = point.suspect
    if part is not None:
        # What is suspect of another part is no reason to doubt this one.
        suspect = tuple(reason for reason in suspect if reason in part.suspect)
    doubt = doubts(point, source, last_right, suspect=suspect)
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
    files = part.files if part is not None else None
    return SiteCandidate(
        point=summary.id,
        at=point.at,
        trust=(Trust.DAMAGED if part is None else trust_of(summary, source)).word,
        minutes=round(max(0.0, (now - point.at).total_seconds()) / 60, 1),
        after_damage=is_after(summary, last_right),
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
