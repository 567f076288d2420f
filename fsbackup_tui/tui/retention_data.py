"""Retention as its screens show it: the points, a draft of the rules, what it would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median

from fsbackup_tui.config.retention import Retention
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.growth import Growth, growth_of
from fsbackup_tui.domain.retention import Candidate, Decision, Keep, decide, span_text
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.repository.trash import Trashed

_DENSE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class RetentionView:
    """Retention at a moment.

    ``free`` are the bytes left on the repository's disk, None where that can't be told; ``others``
    are those that all else on it takes a day.
    ``locked`` says why nothing here can be changed, ``fixed`` why the rules can't.
    """

    candidates: tuple[Candidate, ...]
    policies: Mapping[str, Keep]
    guard: Guard
    decision: Decision
    now: datetime
    zone: tzinfo = UTC
    settings: Retention = field(default_factory=Retention)
    trash: tuple[Trashed, ...] = ()
    free: int | None = None
    growth: Growth | None = None
    others: float = 0.0
    locked: Problem | None = None
    fixed: Problem | None = None

    @property
    def plans(self) -> tuple[str, ...]:
        """The plans of the configuration, then those that only points tell of."""
        others = sorted({each.plan for each in self.candidates} - self.policies.keys())
        return (*self.policies, *others)

    @property
    def stored(self) -> int:
        """The bytes of all points."""
        return sum(each.bytes for each in self.candidates)

    def of_plan(self, plan: str) -> list[Candidate]:
        """Return a plan's points, the newest in capture order first."""
        by_id = {each.id: each for each in self.candidates}
        ordered = (by_id[verdict.id] for verdict in self.decision.verdicts)
        return [each for each in ordered if each.plan == plan]

    def grown(self, growth: Growth) -> RetentionView:
        """Return it with how the disk fills as it was reckoned before."""
        return replace(self, growth=growth)

    def with_growth(self) -> RetentionView:
        """Return it with how the disk fills; takes its time."""
        return replace(self, growth=growth_under(self, self.policies, self.settings))


@dataclass(frozen=True, slots=True)
class Count:
    """What becomes of a plan's points: how many stay, how many leave, and those bytes."""

    kept: int
    leaving: int
    bytes: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a draft of the rules would change of a plan: what it is now, what it would be.

    ``more`` are the points that would leave beyond those that leave already, ``fewer`` those
    that would stay instead.
    """

    now: Count
    then: Count
    decision: Decision
    more: tuple[Candidate, ...]
    fewer: tuple[Candidate, ...]

    @property
    def changes(self) -> bool:
        """Whether another point leaves than before."""
        return bool(self.more or self.fewer)


def count_of(view: RetentionView, decision: Decision, plan: str) -> Count:
    """Return what a decision makes of a plan's points."""
    points = [each for each in view.candidates if each.plan == plan]
    leaving = frozenset(decision.leaving)
    kept = [each for each in points if each.id not in leaving]
    gone = [each for each in points if each.id in leaving]
    oldest = min((each.created for each in kept), default=None)
    return Count(len(kept), len(gone), sum(each.bytes for each in gone), oldest)


def consequence_of(
    view: RetentionView, plan: str, keep: Keep, settings: Retention, now: datetime
) -> Consequence:
    """Return what other rules of a plan, and of the site, would change of the plan's points."""
    decision = decide(
        view.candidates, {**view.policies, plan: keep}, guard_of(view, settings), now, view.zone
    )
    before, after = frozenset(view.decision.leaving), frozenset(decision.leaving)
    points = view.of_plan(plan)
    return Consequence(
        count_of(view, view.decision, plan),
        count_of(view, decision, plan),
        decision,
        tuple(each for each in points if each.id in after - before),
        tuple(each for each in points if each.id in before - after),
    )


def guard_of(view: RetentionView, settings: Retention) -> Guard:
    """Return the guard as other settings of the site would have it."""
    return replace(view.guard, minimum_good=settings.minimum_good, most_share=settings.most_share)


def growth_under(
    view: RetentionView, policies: Mapping[str, Keep], settings: Retention
) -> Growth | None:
    """Return how the disk would fill under these rules."""
    return growth_of(
        view.candidates,
        policies,
        guard_of(view, settings),
        view.free,
        view.now,
        view.zone,
        grace=settings.grace,
        others=view.others,
    )


def keep_words(keep: Keep | None) -> str:
    """Return a plan's rules in words: ``all of 30 d, last 7, 8 weekly, 12 monthly``."""
    if keep is None:
        return "no such plan now: all stay"
    if keep.everything:
        return "keeps everything"
    words = []
    for each in fields(keep):
        value = getattr(keep, each.name)
        if value is None:
            continue
        if isinstance(value, timedelta):
            words.append(f"all of {span_text(value)}")
        else:
            words.append(f"last {value}" if each.name == "last" else f"{value} {each.name}")
    return ", ".join(words)


def is_dense(points: Sequence[Candidate]) -> bool:
    """Whether points come several a day, so that they are grouped by days, not by months."""
    times = [each.created for each in points[:30]]
    gaps = [(later - earlier).total_seconds() for later, earlier in pairwise(times)]
    return bool(gaps) and median(gaps) < _DENSE.total_seconds()
