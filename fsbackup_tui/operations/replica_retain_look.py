"""What the rules of a replica's own retention would do there now; nothing is changed.

The points are judged by what lies on the replica: its manifests and records, and whether every
file is listed with its size. What this repository knows besides can only keep a point.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError, PointDamaged, UsageError
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.retention import Candidate, Decision, Keep
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.replica_open import replica_settings
from fsbackup_tui.operations.replica_send import Far, Listing
from fsbackup_tui.operations.replica_view import view_of
from fsbackup_tui.operations.retain_look import candidates_of, decided, look
from fsbackup_tui.operations.signatures import is_demanded, signature_of
from fsbackup_tui.operations.status import acceptances_of
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.checksums import SUMS_NAME, parse_sums
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME, read_bytes
from fsbackup_tui.repository.not_here import points_not_here
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.removals import (
    Removal,
    begun_removals,
    marked_points,
    parse_removal,
    removal_path,
)
from fsbackup_tui.repository.replica_layout import point_path


@dataclass(frozen=True, slots=True)
class ReplicaRetentionLook:
    """A replica's retention at a moment.

    ``removals`` are the points that are marked to leave, None where the mark can't be read;
    ``begun`` those of which the manifest has left already.
    """

    far: Far
    listing: Listing
    keep: Keep
    candidates: tuple[Candidate, ...]
    decision: Decision
    removals: Mapping[str, Removal | None]
    begun: frozenset[str]
    grace: timedelta
    now: datetime
    zone: tzinfo

    def leaves_at(self, point: str) -> datetime | None:
        """Return when a marked point may be removed; None for one that is not marked."""
        removal = self.removals.get(point)
        return None if removal is None else removal.at + self.grace

    @property
    def due(self) -> tuple[str, ...]:
        """The points that leave and were marked long enough ago, the newest first."""
        times = {point: self.leaves_at(point) for point in self.decision.removable}
        return tuple(point for point, at in times.items() if at is not None and at <= self.now)

    @property
    def to_mark(self) -> tuple[str, ...]:
        """The points that leave and are not marked yet."""
        return tuple(point for point in self.decision.removable if self.removals.get(point) is None)

    @property
    def to_unmark(self) -> tuple[str, ...]:
        """The points that are marked and stay after all."""
        staying = {verdict.id for verdict in self.decision.verdicts if not verdict.leaves}
        return tuple(sorted(staying & set(self.removals)))

    def document(self) -> dict[str, object]:
        """Return it as ``retain --replica --json`` gives it; times are UTC."""
        by_id = {candidate.id: candidate for candidate in self.candidates}
        return {
            "ok": True,
            "applied": False,
            "replica": self.far.name,
            "place": self.far.remote.describe,
            "keep": self.keep.words(),
            "points": [
                {
                    "id": verdict.id,
                    "plan": by_id[verdict.id].plan,
                    "created": format_time(by_id[verdict.id].created),
                    "bytes": by_id[verdict.id].bytes,
                    "trust": by_id[verdict.id].trust.word,
                    "good": by_id[verdict.id].good,
                    "keeps": list(verdict.keeps),
                    "leaves_at": None
                    if (at := self.leaves_at(verdict.id)) is None
                    else format_time(at),
                }
                for verdict in self.decision.verdicts
            ],
            "leaving": list(self.decision.leaving),
            "due": list(self.due),
            "bytes": self.decision.leaving_bytes,
            "share": round(self.decision.share, 4),
            "refusals": [refusal.document() for refusal in self.decision.refusals],
            "begun": sorted(self.begun),
        }


def demand_rules(loaded: LoadedConfig, name: str) -> Keep:
    """Return what a replica keeps; UsageError where there is none of that name, or no rules."""
    settings = replica_settings(loaded, name)
    if settings.keep is None:
        raise UsageError(
            f"NO RULES: every point on {name} stays.",
            why=f"{loaded.place('replicas', name)} has no keep:, so that nothing there leaves.",
            fix=f"To let old ones leave, below replicas: {name}: in the config, for example\n"
            "keep: {within: 90d, monthly: 24, yearly: 10}",
        )
    return settings.keep.keep()


async def look_there(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    home: Repository,
    far: Far,
    work: Path,
    now: datetime,
    *,
    confirmed: bool = False,
) -> ReplicaRetentionLook:
    """Return what the replica's rules would do now.

    ``work`` is a private directory. UsageError, SafetyRefusal, ReplicaError, RepositoryError.
    """
    keep = demand_rules(loaded, far.name)
    view, listing = await view_of(loaded, far)
    begun = begun_removals(listing.keys())
    points = _points_of(loaded, view, listing, begun)
    here = look(loaded, os.environ, home, now, confirmed=confirmed)
    candidates: Sequence[Candidate] = candidates_of(points, loaded.config, view)
    candidates = [_as_it_lies(each, view, listing) for each in candidates]
    candidates = [
        await _as_it_is_signed(each, loaded, view, environment, work) for each in candidates
    ]
    candidates = _held_from_here(candidates, here.candidates, home, far.name)
    times = [here.guard.last_seen, *(each.created for each in points)]
    guard = replace(
        here.guard, only=None, last_seen=max((at for at in times if at is not None), default=None)
    )
    policies = dict.fromkeys(loaded.config.plans, keep)
    candidates, decision = decided(
        points, candidates, policies, guard, now, here.zone, loaded.config
    )
    return ReplicaRetentionLook(
        far,
        listing,
        keep,
        tuple(candidates),
        decision,
        await _removals_of(far, listing, work),
        begun,
        loaded.config.retention.grace,
        now,
        here.zone,
    )


def _points_of(
    loaded: LoadedConfig, view: Repository, listing: Listing, begun: frozenset[str]
) -> list[PointSummary]:
    """Return the points that are on the replica: those of which the manifest is there."""
    with Catalogue.of_copy(view) as catalogue:
        catalogue.acceptances = acceptances_of(loaded)
        found = catalogue.points(own=True)
    return [
        point
        for point in found
        if point.id not in begun and point_path(point.id, MANIFEST_NAME) in listing
    ]


def _as_it_lies(candidate: Candidate, view: Repository, listing: Listing) -> Candidate:
    """Hold a point that is not wholly there: mending it needs it, and it counts for nothing."""
    lacking = _lacking(view, candidate.id, listing)
    if not lacking:
        return candidate
    return replace(
        candidate, good=False, sound=False, held=candidate.held or f"not whole there: {lacking}"
    )


def _lacking(view: Repository, point: str, listing: Listing) -> str:
    """Return the first file that the listing lacks, or has in another size; empty for none."""
    reader = PointReader(view, point)
    try:
        names = set(parse_sums(read_bytes(reader.directory / SUMS_NAME)))
        parts = reader.parts()
    except (ValueError, OSError, FsbackupError):
        return f"{SUMS_NAME} or a part can't be read"
    sizes = {
        f"{part.source}/{artifact.path}": artifact.bytes
        for part in parts
        for artifact in part.artifacts
    }
    for name in sorted(names | set(sizes)):
        file = listing.get(point_path(point, name))
        if file is None:
            return f"{name} is missing"
        if name in sizes and file.bytes != sizes[name]:
            return f"{name} has {file.bytes} bytes, not {sizes[name]}"
    return ""


async def _as_it_is_signed(
    candidate: Candidate,
    loaded: LoadedConfig,
    view: Repository,
    environment: Mapping[str, str],
    work: Path,
) -> Candidate:
    """Where signatures are demanded, let what has none that counts push nothing out."""
    if not is_demanded(loaded) or not (candidate.good or candidate.sound):
        return candidate
    try:
        reader = PointReader(view, candidate.id)
        signature = await signature_of(loaded, reader, environment=environment, work=work)
        if signature.state == "good":
            return candidate
    except PointDamaged:
        pass
    return replace(
        candidate,
        good=False,
        sound=False,
        held=candidate.held or "its signature is not the one that is demanded",
    )


def _held_from_here(
    candidates: Sequence[Candidate], here: Sequence[Candidate], home: Repository, name: str
) -> list[Candidate]:
    """Hold what this repository needs to stay there: pinned, in use, or whole nowhere else."""
    known = {each.id: each for each in here}
    elsewhere = points_not_here(home)
    found = []
    for candidate in candidates:
        own = known.get(candidate.id)
        held = candidate.held or (own.held if own is not None else None)
        if candidate.id in elsewhere and elsewhere[candidate.id].origin == name:
            held = held or "it is not here yet"
        elif own is not None and own.trust is Trust.DAMAGED:
            held = held or "the one here is damaged"
        pinned = candidate.pinned or (own.pinned if own is not None else None)
        found.append(replace(candidate, held=held, pinned=pinned))
    return found


async def _removals_of(far: Far, listing: Listing, work: Path) -> dict[str, Removal | None]:
    marked = sorted(marked_points(listing.keys()))
    root = work / f"removals-{far.name}"
    root.mkdir(mode=0o700, exist_ok=True)
    await far.remote.fetch_all([removal_path(point) for point in marked], root)
    found: dict[str, Removal | None] = {}
    for point in marked:
        try:
            found[point] = parse_removal(point, read_bytes(root / removal_path(point)))
        except (FsbackupError, OSError):
            found[point] = None
    return found
