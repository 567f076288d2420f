"""What retention would do now: read alone, without a job or a lock, on a read-only site too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.model import Plan, SiteConfig
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import PointSummary, point_time
from fsbackup_tui.domain.retention import (
    Candidate,
    Decision,
    Keep,
    decide,
    in_capture_order,
    short_of_good,
)
from fsbackup_tui.domain.retention_guard import DEFAULT_PROOF_AGE, Guard, clock_doubt
from fsbackup_tui.domain.schedule import runs_between
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.retain_state import RetainState, read_retain_state
from fsbackup_tui.operations.status import open_catalogue, site_zone
from fsbackup_tui.operations.verify_due import last_try
from fsbackup_tui.operations.verify_rungs import can_be_tried
from fsbackup_tui.repository.drills import newest_drills
from fsbackup_tui.repository.foreign import is_adopted
from fsbackup_tui.repository.holds import incident_of
from fsbackup_tui.repository.incidents import find_open
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.lock import in_use
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.trash import Trashed, freed_bytes, list_trash

_SCHEMA = "postgres-schema"
_LOOKED_BACK = timedelta(days=100)
_LATE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RetentionLook:
    """Retention at a moment: the points as it sees them, its decision, what lies in the trash.

    With ``candidates``, ``policies`` and ``guard`` another policy can be tried by ``decide``.
    ``times`` are when the numbered points were taken, the newest in capture order first; ``clock``
    is why the clock is doubted, empty where it is not.
    """

    candidates: tuple[Candidate, ...]
    policies: Mapping[str, Keep]
    guard: Guard
    zone: tzinfo
    now: datetime
    decision: Decision
    trash: tuple[Trashed, ...]
    grace: timedelta
    times: tuple[datetime, ...] = ()
    clock: str = ""

    def needed(self, trash: Iterable[Trashed]) -> dict[str, int]:
        """Return the plans of which nothing in the trash is freed now; see ``short_of_good``."""
        plans = {trashed.plan for trashed in trash if trashed.plan}
        return short_of_good(sorted(plans), self.candidates, self.guard)

    def document(self, repository: Repository) -> dict[str, object]:
        """Return it as ``retain --json`` gives it; ``bytes`` come free once the trash is freed."""
        by_id = {candidate.id: candidate for candidate in self.candidates}
        leaving = self.decision.leaving
        return {
            "ok": True,
            "applied": False,
            "points": [
                {
                    "id": verdict.id,
                    "plan": by_id[verdict.id].plan,
                    "created": format_time(by_id[verdict.id].created),
                    "bytes": by_id[verdict.id].bytes,
                    "trust": by_id[verdict.id].trust.word,
                    "good": by_id[verdict.id].good,
                    "keeps": list(verdict.keeps),
                }
                for verdict in self.decision.verdicts
            ],
            "leaving": list(leaving),
            "bytes": freed_bytes(repository.point_directory(point) for point in leaving),
            "share": round(self.decision.share, 4),
            "refusals": [refusal.document() for refusal in self.decision.refusals],
            "trash": [trash_document(each, self.grace) for each in self.trash],
        }


def trash_document(trashed: Trashed, grace: timedelta) -> dict[str, object]:
    """Return a point in the trash for JSON; ``until`` is by the grace of the configuration now."""
    until = None if trashed.at is None else format_time(trashed.at + grace)
    return {**trashed.document(), "until": until}


def look(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    repository: Repository,
    now: datetime,
    *,
    only: frozenset[str] | None = None,
    confirmed: bool = False,
) -> RetentionLook:
    """Return what retention would do now; ``only`` are the plans that it takes points of.

    Raises:
        RepositoryError: the repository can't be read.
    """
    with open_catalogue(loaded, environ, repository) as catalogue:
        points = catalogue.points(own=True)
    state = site_state(loaded, environ, repository)
    candidates: Sequence[Candidate] = candidates_of(points, loaded.config, repository)
    policies = policies_of(loaded.config)
    zone = site_zone(loaded)
    known = read_retain_state(state)
    guard = Guard(
        minimum_good=loaded.config.retention.minimum_good,
        most_share=loaded.config.retention.most_share,
        proof_ages=proof_ages(loaded.config, now, zone),
        incidents=open_incidents(repository, loaded, environ),
        last_seen=_last_seen(points, known, _job_times(loaded, environ, repository)),
        clock_right=known.clock_right,
        accepted=known.accepted,
        only=only,
        confirmed=confirmed,
    )
    candidates, decision = decided(points, candidates, policies, guard, now, zone, loaded.config)
    times = tuple(each.created for each in in_capture_order(candidates) if each.sequence)
    doubt = clock_doubt(times, guard, now)
    return RetentionLook(
        tuple(candidates),
        policies,
        guard,
        zone,
        now,
        decision,
        tuple(list_trash(repository)),
        loaded.config.retention.grace,
        times,
        "" if doubt is None else doubt.what,
    )


def decided(
    points: Sequence[PointSummary],
    candidates: Sequence[Candidate],
    policies: Mapping[str, Keep],
    guard: Guard,
    now: datetime,
    zone: tzinfo,
    config: SiteConfig,
) -> tuple[Sequence[Candidate], Decision]:
    """Return what becomes of the points, those held that others need to be restored."""
    decision = decide(candidates, policies, guard, now, zone)
    held = _definitions_of(points, decision, config)
    if held:
        candidates = [replace(each, held=each.held or held.get(each.id)) for each in candidates]
        decision = decide(candidates, policies, guard, now, zone)
    return candidates, decision


def policies_of(config: SiteConfig) -> dict[str, Keep]:
    """Return what every plan keeps; a plan without ``keep:`` keeps everything."""
    return {
        name: Keep() if plan.keep is None else plan.keep.keep()
        for name, plan in config.plans.items()
    }


def proof_ages(config: SiteConfig, now: datetime, zone: tzinfo) -> dict[str, timedelta]:
    """Return how old the newest proof of each plan may be before nothing of it leaves.

    As its ``verify_every`` says; without it as long as its schedule leaves between two runs, and
    a day, but eight days at least.
    """
    return {
        name: plan.verify_every or _by_schedule(plan, now, zone)
        for name, plan in config.plans.items()
    }


def _by_schedule(plan: Plan, now: datetime, zone: tzinfo) -> timedelta:
    if plan.at is None or plan.at.hourly:
        return DEFAULT_PROOF_AGE
    runs = list(runs_between(plan.at, now - _LOOKED_BACK, now, zone))
    gaps = [later - earlier for earlier, later in pairwise(runs)]
    return max([DEFAULT_PROOF_AGE, *(gap + _LATE for gap in gaps)])


def open_incidents(
    repository: Repository, loaded: LoadedConfig, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the incidents that are open: by the holds in the repository, and by this state."""
    found = {incident_of(hold): None for hold in repository.holds_open()}
    journal = find_open(site_state(loaded, environ, repository))
    return tuple(dict.fromkeys([*found, *([journal.id] if journal is not None else [])]))


def candidates_of(
    points: Sequence[PointSummary], config: SiteConfig, repository: Repository
) -> list[Candidate]:
    """Return the repository's points as retention sees them."""
    narrowed = _narrowed(points, config)
    replaced = _replaced(points, repository)
    # What a drill has measured is known by its record alone, which goes with the point.
    drilled = {record.path.parent.name for record in newest_drills(repository, limit=1)}
    found = []
    for point in points:
        plan = config.plans.get(point.plan)
        wanted = Trust.SEALED if plan is None else wanted_level(plan)
        used = in_use(repository.use_lock(point.id))
        shown = _is_good(point, wanted, repository)
        good = shown and point.id not in narrowed and point.id not in replaced
        found.append(
            Candidate(
                point.id,
                point.plan,
                point.created,
                point.sequence,
                point.bytes,
                good,
                point.trust,
                pinned=point.pinned or None,
                held=_held(point, replaced, used=used)
                or ("the last drill was held with it" if point.id in drilled else None),
                adopted=is_adopted(point),
                holds_data=point.holds_data,
                proved=_proved(point, wanted) if good else None,
                sound=not good and _is_sound(point) and point.id not in replaced,
                verifying=_verifying(point, wanted, shown=shown, used=used) if plan else "",
            )
        )
    return found


def wanted_level(plan: Plan) -> Trust:
    """Return how far a plan's points are to be shown good."""
    return Trust.PROVEN if plan.keep_spare else Trust.from_word(plan.verify)


def _is_sound(point: PointSummary) -> bool:
    """Whether nothing is known against a point: whole, not doubtful, no check failed."""
    failed = any(check.ok is False for check in point.levels.values())
    damaged = any(part.trust is Trust.DAMAGED for part in point.parts)
    return point.whole and not (point.doubtful or point.running or failed or damaged)


def _is_good(point: PointSummary, wanted: Trust, repository: Repository) -> bool:
    if not _is_sound(point):
        return False
    if point.data_trust >= wanted:
        return True
    if point.calmly_blocked:
        return point.data_trust >= Trust.SEALED
    return wanted >= Trust.RESTORED and _reads_as_far(point, repository)


def _reads_as_far(point: PointSummary, repository: Repository) -> bool:
    """Whether it was read to its end, and nothing in it can be shown good any further."""
    if point.data_trust != Trust.READABLE:
        return False
    with suppress(FsbackupError, OSError):
        return not any(can_be_tried(part) for part in PointReader(repository, point.id).parts())
    return False


def _proved(point: PointSummary, wanted: Trust) -> datetime:
    """Return when it was last shown good as far as is wanted, or as far as can be."""
    held = [(Trust.from_word(word), check.at) for word, check in point.levels.items() if check.ok]
    enough = [at for level, at in held if level >= wanted] or [at for _, at in held]
    return max(enough, default=point.created)


def _verifying(point: PointSummary, wanted: Trust, *, shown: bool, used: bool) -> str:
    if not point.whole:
        return ""
    if used:
        return "it is in use"
    return "" if shown or last_try(point, wanted) is not None else "it is not verified yet"


def _held(point: PointSummary, replaced: frozenset[str], *, used: bool) -> str | None:
    if point.running:
        return "it is being written"
    if used:
        return "in use by a job"
    if point.spares:
        return f"its spare stands: {point.spares[0].name}"
    if point.id in replaced:
        return "encrypting it anew is not finished"
    return None


def _narrowed(points: Sequence[PointSummary], config: SiteConfig) -> frozenset[str]:
    """Return the points that lack a source which earlier ones of their plan had, and it names.

    One that was taken with ``--source`` must not push out the last whole ones.
    """
    seen: dict[str, set[str]] = {}
    found = set()
    for point in sorted(points, key=lambda each: (each.sequence, each.created)):
        plan = config.plans.get(point.plan)
        if plan is None or not point.whole:
            continue
        sources = {part.source for part in point.parts}
        before = seen.setdefault(point.plan, set())
        if (before & set(plan.sources)) - sources:
            found.add(point.id)
        before |= sources
    return frozenset(found)


def _replaced(points: Sequence[PointSummary], repository: Repository) -> frozenset[str]:
    """Return the points that stand beside the one which replaces them, encrypted anew."""
    by_number: dict[tuple[str, int], list[str]] = {}
    for point in points:
        if point.whole and point.sequence:
            by_number.setdefault((point.plan, point.sequence), []).append(point.id)
    found = set()
    for twins in (each for each in by_number.values() if len(each) > 1):
        for identifier in twins:
            with suppress(FsbackupError, OSError):
                manifest = PointReader(repository, identifier).manifest
                if manifest is not None and manifest.replaces in twins:
                    found.add(str(manifest.replaces))
    return frozenset(found)


def _definitions_of(
    points: Sequence[PointSummary], decision: Decision, config: SiteConfig
) -> dict[str, str]:
    """Return the points of definitions that rows alone need to be restored, and why they stay."""
    rows_alone = {
        name
        for name, source in config.sources.items()
        if isinstance(source, PostgresSource) and source.scope == "data"
    }
    if not rows_alone:
        return {}
    kept = {verdict.id for verdict in decision.verdicts if not verdict.leaves}
    found: dict[str, str] = {}
    newest = ""
    for point in sorted(points, key=lambda each: (each.sequence, each.created)):
        if point.whole and any(part.kind == _SCHEMA for part in point.parts):
            newest = point.id
        if newest and point.id in kept and any(p.source in rows_alone for p in point.parts):
            found.setdefault(newest, f"the definitions for {point.id}")
    return found


def _last_seen(
    points: Iterable[PointSummary], known: RetainState, jobs: Iterable[datetime]
) -> datetime | None:
    """Return the highest time that anything here has written."""
    times = [point.created for point in points if point.whole and point.sequence]
    times += [check.at for point in points for check in point.levels.values()]
    times += [*jobs, *([known.clock_right] if known.clock_right is not None else [])]
    return max(times, default=None)


def _job_times(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository
) -> list[datetime]:
    directory = site_state(loaded, environ, repository) / "jobs"
    with suppress(OSError):
        times = [point_time(path.name) for path in directory.iterdir()]
        return [time for time in times if time is not None]
    return []
