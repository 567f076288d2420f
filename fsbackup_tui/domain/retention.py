"""Which points retention keeps, by which rule, and when nothing at all may leave. Pure.

Only good points take the places that the rules have to give: a month of failing nights never
pushes out what was good before. Places are given in capture order, so that a clock that was set
back takes none away.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import accumulate

from fsbackup_tui.domain.retention_guard import Asked, Guard, Refusal, refusals_of
from fsbackup_tui.domain.trust import Trust


@dataclass(frozen=True, slots=True)
class Keep:
    """What a plan keeps: each rule alone is enough. None given at all: everything is kept.

    ``last`` good points, all ``within`` an age, and the newest good one of each of so many hours,
    days, ISO weeks, months and years that have one.
    """

    last: int | None = None
    within: timedelta | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None

    @property
    def everything(self) -> bool:
        """Whether there is no rule, so that nothing ever leaves."""
        return all(getattr(self, each.name) is None for each in fields(self))

    def words(self) -> str:
        """Return the rules as they are written: ``last 7, within 30 d, weekly 8``."""
        given = [(each.name, getattr(self, each.name)) for each in fields(self)]
        texts = [
            f"{name} {span_text(value) if isinstance(value, timedelta) else value}"
            for name, value in given
            if value is not None
        ]
        return ", ".join(texts) or "everything"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point as retention sees it.

    ``good``: whole, not doubtful, and shown good as far as its plan asks; ``proved`` is when that
    last held. ``sound``: not good, but nothing speaks against it either (sealed, say, where the
    plan asks for proven by now). ``held`` says why it can't go now; ``verifying`` why what it is
    worth is not known yet, which keeps the older points of its plan.
    """

    id: str
    plan: str
    created: datetime
    sequence: int
    bytes: int
    good: bool
    trust: Trust
    pinned: str | None = None
    held: str | None = None
    adopted: bool = False
    holds_data: bool = True
    proved: datetime | None = None
    sound: bool = False
    verifying: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a point: the rules that keep it; where there is none, it leaves."""

    id: str
    keeps: tuple[str, ...]

    @property
    def leaves(self) -> bool:
        """Whether nothing keeps it."""
        return not self.keeps


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of all points, the newest in capture order first.

    With ``refusals`` nothing is removed now, whatever ``leaving`` says. ``share`` is the part of
    the points that would leave: of all, or of the plan that loses most.
    """

    verdicts: tuple[Verdict, ...]
    refusals: tuple[Refusal, ...]
    leaving_bytes: int
    share: float

    @property
    def leaving(self) -> tuple[str, ...]:
        """The ids of the points that no rule keeps, the newest first."""
        return tuple(verdict.id for verdict in self.verdicts if verdict.leaves)

    @property
    def removable(self) -> tuple[str, ...]:
        """The ids of the points that may be removed now: those that leave, unless refused."""
        return () if self.refusals else self.leaving


def decide(
    candidates: Iterable[Candidate],
    policies: Mapping[str, Keep],
    guard: Guard,
    now: datetime,
    zone: tzinfo,
) -> Decision:
    """Return what becomes of every point; ``policies`` has every plan of the configuration.

    Days, weeks, months and years are those of ``zone``.
    """
    ordered = in_capture_order(candidates)
    keeps: dict[str, dict[str, None]] = {candidate.id: {} for candidate in ordered}
    plans: dict[str, list[Candidate]] = {}
    for candidate in ordered:
        plans.setdefault(candidate.plan, []).append(candidate)
    for plan, points in plans.items():
        policy = policies.get(plan)
        for identifier, words in _plan_keeps(points, policy, guard, now, zone):
            keeps[identifier][words] = None
    newest = next((each for each in ordered if each.good and each.holds_data), None)
    if newest is not None:
        keeps[newest.id]["newest good with data"] = None
    for candidate in ordered:
        for words in _own_reasons(candidate, guard):
            keeps[candidate.id][words] = None
    leaving = [each for each in ordered if not keeps[each.id]]
    share = _share(plans, leaving, guard)
    asked = [_asked(plan, points, leaving) for plan, points in plans.items()]
    times = tuple(each.created for each in ordered if each.sequence)
    return Decision(
        tuple(Verdict(each.id, tuple(keeps[each.id])) for each in ordered),
        refusals_of(asked, times, share, guard, now),
        sum(each.bytes for each in leaving),
        share,
    )


def short_of_good(
    plans: Iterable[str], candidates: Iterable[Candidate], guard: Guard
) -> dict[str, int]:
    """Return those plans that have fewer good points than must stay, and how many they have.

    What was removed of them before may be the last that is good.
    """
    good = Counter(candidate.plan for candidate in candidates if candidate.good)
    return {plan: good[plan] for plan in plans if good[plan] < guard.minimum_good}


def in_capture_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the points, the newest in capture order first.

    One without a number (adopted: taken before fsbackup knew it) stands behind the newest
    numbered one that is as old.
    """
    listed = list(candidates)
    numbered = sorted((each.created, each.sequence) for each in listed if each.sequence)
    times = [created for created, _ in numbered]
    highest = list(accumulate((sequence for _, sequence in numbered), max))

    def place(each: Candidate) -> tuple[float, datetime, str]:
        before = bisect_right(times, each.created)
        position = float(each.sequence) or (highest[before - 1] if before else 0) + 0.5
        return position, each.created, each.id

    return sorted(listed, key=place, reverse=True)


def _plan_keeps(
    points: Sequence[Candidate], policy: Keep | None, guard: Guard, now: datetime, zone: tzinfo
) -> Iterator[tuple[str, str]]:
    """Yield each point of a plan that something keeps, and what, the newest point first."""
    plan = points[0].plan
    if policy is None or policy.everything:
        words = "no such plan now" if policy is None else f"{plan} keeps everything"
        for point in points:
            yield point.id, words
        return
    good = [point for point in points if point.good]
    by_rule = list(_rule_keeps(good, policy, now, zone))
    yield from by_rule
    # Whoever asks for more than before ("proven") must not lose what was taken until then.
    sound = [point for point in points if point.sound and not point.good]
    for identifier, words in _rule_keeps(sound, policy, now, zone):
        yield identifier, f"{words}, not shown good"
    yield from _safety_keeps(good, guard)
    yield from _bad_keeps(points, policy, frozenset(each for each, _ in by_rule), now)
    yield from _verification_keeps(points)
    yield from _trouble_keeps(points)


def _rule_keeps(
    points: Sequence[Candidate], policy: Keep, now: datetime, zone: tzinfo
) -> Iterator[tuple[str, str]]:
    for number, point in enumerate(points[: policy.last or 0], 1):
        yield point.id, f"last {number} of {policy.last}"
    if policy.within is not None:
        for point in points:
            if point.created >= now - policy.within:
                yield point.id, f"within {span_text(policy.within)}"
    for name in ("hourly", "daily", "weekly", "monthly", "yearly"):
        places = getattr(policy, name)
        taken: set[str] = set()
        for point in points if places else ():
            period = period_of(name, point.created, zone)
            if period not in taken and len(taken) < places:
                taken.add(period)
                yield point.id, f"{name} {period}"


def period_of(rule: str, moment: datetime, zone: tzinfo) -> str:
    """Return the hour, day, ISO week, month or year that a moment lies in, as people write it.

    An hour that comes twice in the night when clocks are set back is two hours.
    """
    local = moment.astimezone(zone)
    if rule == "hourly":
        twice = (moment - timedelta(hours=1)).astimezone(zone)
        again = " again" if (twice.date(), twice.hour) == (local.date(), local.hour) else ""
        return f"{local:%Y-%m-%d %H}h{again}"
    if rule == "weekly":
        year, week, _ = local.isocalendar()
        return f"{year}-W{week:02d}"
    return f"{local:{ {'daily': '%Y-%m-%d', 'monthly': '%Y-%m', 'yearly': '%Y'}[rule] }}"


def span_text(span: timedelta) -> str:
    """Return a setting's span as it is written in the configuration: ``30 d``, ``36 h``."""
    seconds = int(span.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _safety_keeps(good: Sequence[Candidate], guard: Guard) -> Iterator[tuple[str, str]]:
    """Yield what no rule may take: the newest good point of a plan, and the last few."""
    if good:
        yield good[0].id, "newest good"
    for point in good[: guard.minimum_good]:
        yield point.id, f"one of the last {guard.minimum_good} good"


def _bad_keeps(
    points: Sequence[Candidate], policy: Keep, ruled: frozenset[str], now: datetime
) -> Iterator[tuple[str, str]]:
    """Yield the points that are not good but stay: for their age, or for want of a better one."""
    newer_good = False
    # Behind the oldest good point that a rule keeps, nothing bad is of use to anybody.
    oldest = max((n for n, each in enumerate(points) if each.id in ruled), default=-1)
    for number, point in enumerate(points):
        if point.good:
            newer_good = True
        elif not newer_good:
            yield point.id, "not good, and no newer one is"
        elif policy.within is None and number < oldest:
            yield point.id, "not good, and older ones are kept"
        elif policy.within is not None and point.created >= now - policy.within:
            yield point.id, f"not good, within {span_text(policy.within)}"


def _verification_keeps(points: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    """Yield the points that stay until a newer one of their plan has been shown good, or not.

    One that was left unverified matters no more when a later one was shown good.
    """
    open_one = ""
    for point in points:
        if open_one:
            yield point.id, f"{open_one} is not verified yet"
        elif point.verifying:
            open_one = point.id
        elif point.good:
            return


def _trouble_keeps(points: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    """Yield the good points that stay as long as the newest one is bad.

    It may be the first sign of a damage that nobody has looked at yet.
    """
    newest = next((point for point in points if point.good or not point.sound), None)
    if newest is not None and not newest.good:
        for point in points:
            if point.good:
                yield point.id, f"{newest.id} is not good"


def _own_reasons(candidate: Candidate, guard: Guard) -> Iterator[str]:
    if candidate.pinned is not None:
        yield f"pinned: {candidate.pinned}"
    if candidate.held is not None:
        yield candidate.held
    if guard.only is not None and candidate.plan not in guard.only:
        yield "of another plan"


def _asked(plan: str, points: Sequence[Candidate], leaving: Sequence[Candidate]) -> Asked:
    proved = [each.proved for each in points if each.good and each.proved is not None]
    return Asked(
        plan,
        max(proved, default=datetime.fromtimestamp(0, UTC)),
        sum(each.plan == plan for each in leaving),
    )


def _share(
    plans: Mapping[str, Sequence[Candidate]], leaving: Sequence[Candidate], guard: Guard
) -> float:
    """Return the largest part that leaves: of all points together, or of those of a plan."""
    groups = [(sum(map(len, plans.values())), len(leaving))]
    groups += [
        (len(points), sum(each.plan == plan for each in leaving)) for plan, points in plans.items()
    ]
    return max((gone / all_ for all_, gone in groups if all_ >= guard.share_from), default=0.0)
