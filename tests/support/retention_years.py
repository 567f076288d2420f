"""Three years of plans under a made-up clock, on a model of a repository: for retention.

Every step is a run of a plan as the machine sees it: its clock may be wrong. What must hold is
checked after each by rules of their own, written another way than those that are tried.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fsbackup_tui.domain.retention import Candidate, Decision, Keep, decide, in_capture_order
from fsbackup_tui.domain.retention_guard import LONGEST_SILENCE, Guard, clock_doubt, clock_known
from fsbackup_tui.domain.schedule import next_run, parse_schedule
from fsbackup_tui.domain.trust import Trust

ZONE = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=3 * 365 + 1)
DAY = timedelta(days=1)
PERIODS: Mapping[str, str] = {
    "hourly": "%Y%m%d%H%z",
    "daily": "%Y%m%d",
    "weekly": "%G%V",
    "monthly": "%Y%m",
    "yearly": "%Y",
}
KINDS = (
    "failing",
    "damaged",
    "emptied",
    "unverified",
    "off",
    "clock back",
    "clock ahead",
    "incident",
    "verify runs",
)


@dataclass(frozen=True)
class Trouble:
    """Something that lasts for some days, from the day that is counted from the beginning."""

    kind: str
    day: int
    days: int

    def at(self, moment: datetime) -> bool:
        return self.day <= (moment - BEGIN) / DAY < self.day + self.days


@dataclass
class Years:
    """The site: its plans, its troubles, its points, and what retention remembers."""

    schedules: Mapping[str, str]
    keeps: Mapping[str, Keep]
    troubles: Sequence[Trouble] = ()
    pins: frozenset[int] = frozenset()
    answers_after: int = 5
    points: list[Candidate] = field(default_factory=list)
    clock_right: datetime | None = None
    accepted: datetime | None = None
    last_seen: datetime | None = None
    number: int = 0
    refused_days: int = 0
    removed: int = 0
    refused: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Let three years pass."""
        for moment, plan in self._runs():
            self._step(moment, plan)

    def _runs(self) -> list[tuple[datetime, str]]:
        found = []
        for plan, text in self.schedules.items():
            schedule, moment = parse_schedule(text), BEGIN
            while (moment := next_run(schedule, moment, ZONE)) < END:
                found.append((moment, plan))
        return sorted(found)

    def _is(self, kind: str, moment: datetime) -> bool:
        return any(trouble.kind == kind and trouble.at(moment) for trouble in self.troubles)

    def _step(self, moment: datetime, plan: str) -> None:
        if self._is("off", moment):
            return
        now = moment
        if self._is("clock back", moment):
            now -= DAY
        if self._is("clock ahead", moment):
            now += 400 * DAY
        if not self._is("failing", moment):
            self._take(plan, now, moment)
        running = self._is("verify runs", moment)
        verified = [replace(p, verifying="running") if running else p for p in self.points[-1:]]
        self.points = [*self.points[:-1], *verified]
        self._retain(plan, now, moment)
        self.points = [replace(p, verifying="") if p.good else p for p in self.points]

    def _take(self, plan: str, now: datetime, moment: datetime) -> None:
        self.number += 1
        damaged, emptied = self._is("damaged", moment), self._is("emptied", moment)
        unverified = self._is("unverified", moment)
        good = not (damaged or emptied or unverified)
        self.points.append(
            Candidate(
                f"{self.number:06d}",
                plan,
                now,
                self.number,
                1000,
                good,
                Trust.PROVEN if good else Trust.DAMAGED if damaged else Trust.SEALED,
                pinned="a release" if self.number in self.pins else None,
                holds_data=plan != "schema",
                proved=now if good else None,
                sound=unverified,
                verifying="not verified yet" if unverified else "",
            )
        )

    def _guard(self, plan: str, moment: datetime, *, confirmed: bool) -> Guard:
        return Guard(
            incidents=("1122-01",) if self._is("incident", moment) else (),
            last_seen=self.last_seen,
            clock_right=self.clock_right,
            accepted=self.accepted,
            only=None if confirmed else frozenset({plan}),
            confirmed=confirmed,
        )

    def _retain(self, plan: str, now: datetime, moment: datetime) -> None:
        guard = self._guard(plan, moment, confirmed=False)
        decision = decide(self.points, self.keeps, guard, now, ZONE)
        asked = any(refusal.confirmable for refusal in decision.refusals)
        self.refused |= {refusal.kind for refusal in decision.refusals}
        self.refused_days += asked
        wrong = self._is("clock back", moment) or self._is("clock ahead", moment)
        if asked and not wrong and self.refused_days > self.answers_after:
            # A person has looked, and types the site's name: the clock is right.
            self.refused_days = 0
            guard = self._guard(plan, moment, confirmed=True)
            decision = decide(self.points, self.keeps, guard, now, ZONE)
        self._check(decision, guard, now)
        ordered = in_capture_order(self.points)
        times = [point.created for point in ordered]
        if self._is("clock ahead", moment) and self.clock_right is not None:
            assert clock_doubt(times, guard, now) is not None
        self.clock_right, self.accepted = clock_known(times, guard, now)
        self.last_seen = max(now, self.last_seen or now)
        gone = frozenset(decision.removable)
        self.removed += len(gone)
        self.points = [point for point in self.points if point.id not in gone]

    def _check(self, decision: Decision, guard: Guard, now: datetime) -> None:
        """Hold what is about to go against what must never be."""
        gone = frozenset(decision.removable)
        if not gone:
            return
        assert not guard.incidents
        doubt = clock_doubt([p.created for p in in_capture_order(self.points)], guard, now)
        assert doubt is None or guard.confirmed
        assert len(gone) <= 0.5 * len(self.points) or guard.confirmed or len(self.points) < 5
        newest = sorted(self.points, key=lambda point: point.sequence, reverse=True)
        with_data = next((p for p in newest if p.good and p.holds_data), None)
        assert with_data is None or with_data.id not in gone
        for plan in {point.plan for point in newest if point.id in gone}:
            points = [point for point in newest if point.plan == plan]
            self._check_plan(points, gone, guard, now)

    def _check_plan(
        self, points: Sequence[Candidate], gone: frozenset[str], guard: Guard, now: datetime
    ) -> None:
        good = [point for point in points if point.good]
        assert good, "what is gone had nothing good of its plan before it"
        assert not {point.id for point in good[: guard.minimum_good]} & gone
        assert now - max(p.proved for p in good if p.proved is not None) <= 8 * DAY
        keep = self.keeps[points[0].plan]
        unsure = [p.sequence for p in points if p.verifying and p.sequence >= good[0].sequence]
        numbers = [-point.sequence for point in good]
        for point in (each for each in points if each.id in gone):
            assert point.pinned is None
            assert point.held is None
            assert not any(number > point.sequence for number in unsure)
            assert keep.within is None or now - point.created > keep.within
            newer = good[: bisect.bisect_left(numbers, -point.sequence)]
            assert newer
            if point.good:
                self._check_places(point, newer, keep)

    def _check_places(self, point: Candidate, newer: Sequence[Candidate], keep: Keep) -> None:
        """A good point goes only where newer good ones have taken each place it could have."""
        assert keep.last is None or len(newer) >= keep.last
        for rule, pattern in PERIODS.items():
            places = getattr(keep, rule)
            if places is None:
                continue
            taken = {f"{each.created.astimezone(ZONE):{pattern}}" for each in newer}
            mine = f"{point.created.astimezone(ZONE):{pattern}}"
            assert mine in taken or len(taken) >= places, (rule, point)


def ordinary() -> Sequence[Trouble]:
    """Return what happens to every site in three years."""
    return (
        Trouble("failing", 120, 30),
        Trouble("off", 250, 14),
        Trouble("clock back", 330, 3),
        Trouble("emptied", 400, 31),
        Trouble("incident", 520, 4),
        Trouble("damaged", 600, 31),
        Trouble("clock ahead", 700, 2),
        Trouble("unverified", 800, 12),
        Trouble("verify runs", 900, 2),
    )


def longest_silence_days() -> int:
    """Return the days that a machine may be off before a person is asked about its clock."""
    return LONGEST_SILENCE.days
