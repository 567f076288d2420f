"""What retention keeps and why, what leaves, and when nothing may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.retention import (
    Candidate,
    Decision,
    Keep,
    decide,
    in_capture_order,
    period_of,
)
from fsbackup_tui.domain.retention_guard import Guard
from fsbackup_tui.domain.trust import Trust

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


def candidate(number: int, age: timedelta, *, plan: str = "daily", good: bool = True) -> Candidate:
    created = NOW - age
    return Candidate(
        f"{created:%Y%m%dT%H%M%SZ}-{plan}-{number:04d}",
        plan,
        created,
        number,
        1000,
        good,
        Trust.PROVEN if good else Trust.DAMAGED,
        proved=created if good else None,
    )


def nights(count: int, *, plan: str = "daily", bad: Iterable[int] = ()) -> list[Candidate]:
    """Return one point a night, the newest an hour old; ``bad`` counts from the newest, 0."""
    worst = frozenset(bad)
    return [
        candidate(count - n, n * DAY + timedelta(hours=1), plan=plan, good=n not in worst)
        for n in range(count)
    ]


def decided(
    points: Iterable[Candidate],
    keep: Keep | Mapping[str, Keep],
    guard: Guard | None = None,
    *,
    now: datetime = NOW,
) -> Decision:
    policies = {"daily": keep} if isinstance(keep, Keep) else keep
    return decide(points, policies, guard or Guard(most_share=1.0), now, BERLIN)


def keeps(decision: Decision, number: int) -> tuple[str, ...]:
    return next(v.keeps for v in decision.verdicts if v.id.endswith(f"-{number:04d}"))


def left(decision: Decision) -> list[int]:
    return [int(identifier[-4:]) for identifier in decision.leaving]


def test_the_last_ones_stay_and_say_by_which_rule() -> None:
    decision = decided(nights(10), Keep(last=3))
    assert left(decision) == [7, 6, 5, 4, 3, 2, 1]
    assert decision.removable == decision.leaving
    assert keeps(decision, 10) == (
        "last 1 of 3",
        "newest good",
        "one of the last 2 good",
        "newest good with data",
    )
    assert keeps(decision, 8) == ("last 3 of 3",)
    assert decision.leaving_bytes == 7000


def test_without_a_rule_all_stay() -> None:
    assert left(decided(nights(10), Keep())) == []
    assert keeps(decided(nights(3), Keep()), 1) == ("daily keeps everything",)


def test_a_plan_that_is_no_longer_there_keeps_its_points() -> None:
    decision = decided([*nights(9, plan="old")], Keep(last=1))
    assert left(decision) == []
    assert keeps(decision, 1) == ("no such plan now",)


def test_within_keeps_by_age_and_never_fewer_than_the_minimum() -> None:
    assert left(decided(nights(40), Keep(within=30 * DAY))) == list(range(10, 0, -1))
    old = [candidate(n, (100 - n) * DAY) for n in range(1, 6)]
    fresh = Guard(most_share=1.0, proof_ages={"daily": 365 * DAY}, clock_right=NOW)
    decision = decided(old, Keep(within=30 * DAY), fresh)
    assert left(decision) == [3, 2, 1]
    assert keeps(decision, 4) == ("one of the last 2 good",)
    assert left(decided(old, Keep(within=30 * DAY), replace(fresh, minimum_good=4))) == [1]


def test_calendar_rules_keep_the_newest_of_each_period_in_the_sites_zone() -> None:
    decision = decided(nights(90), Keep(daily=3, weekly=3, monthly=3))
    # The nights are at 02:00 UTC, 03:00 or 04:00 in Berlin; 22 November 2026 is a Sunday.
    kept = {v.id[:8]: v.keeps for v in decision.verdicts if v.keeps}
    assert kept["20261122"][:3] == ("daily 2026-11-22", "weekly 2026-W47", "monthly 2026-11")
    assert kept["20261115"] == ("weekly 2026-W46",)
    assert kept["20261108"] == ("weekly 2026-W45",)
    assert kept["20261031"] == ("monthly 2026-10",)
    assert kept["20260930"] == ("monthly 2026-09",)
    assert sorted(kept) == [
        "20260930",
        "20261031",
        "20261108",
        "20261115",
        "20261120",
        "20261121",
        "20261122",
    ]


def test_thirty_one_bad_nights_keep_the_good_ones_of_before() -> None:
    points = nights(62, bad=range(31))
    decision = decided(points, Keep(within=30 * DAY))
    good = {point.id for point in points if point.good}
    assert good <= {v.id for v in decision.verdicts if v.keeps}
    assert keeps(decision, 1) == (f"{points[0].id} is not good",)
    # The first good one afterwards: the age takes those of before, but for the last two.
    again = [candidate(63, timedelta(minutes=5)), *points]
    slots = decided(again, Keep(last=20))
    assert len(good & {v.id for v in slots.verdicts if v.keeps}) == 19


def test_nothing_leaves_when_the_newest_proof_is_stale() -> None:
    late = [replace(point, created=point.created - 9 * DAY) for point in nights(9)]
    late = [replace(point, proved=point.created) for point in late]
    decision = decided(late, Keep(last=2))
    assert [each.kind for each in decision.refusals] == ["stale-proof"]
    assert decision.removable == ()
    assert "fsbackup verify latest:daily" in decision.refusals[0].fix
    assert decided(
        late, Keep(last=2), Guard(most_share=1.0, proof_ages={"daily": 10 * DAY})
    ).removable


def test_a_bad_point_leaves_by_age_once_a_newer_one_is_good() -> None:
    points = nights(40, bad=[0, 35])
    decision = decided(points, Keep(within=30 * DAY, yearly=9))
    assert keeps(decision, 40) == ("not good, and no newer one is",)
    assert 5 in left(decision)
    young = decided(nights(5, bad=[3]), Keep(within=30 * DAY))
    assert keeps(young, 2) == ("not good, within 30 d",)


def test_without_an_age_a_bad_point_stays_as_long_as_older_good_ones() -> None:
    decision = decided(nights(6, bad=[1, 5]), Keep(last=3))
    assert keeps(decision, 5) == ("not good, and older ones are kept",)
    assert left(decision) == [2, 1]


def test_points_of_before_a_stricter_plan_keep_their_places() -> None:
    points = [
        point if n == 0 else replace(point, good=False, sound=True, trust=Trust.SEALED)
        for n, point in enumerate(nights(60))
    ]
    decision = decided(points, Keep(last=2, monthly=2))
    assert keeps(decision, 59) == ("last 1 of 2, not shown good", "monthly 2026-11, not shown good")
    assert any("monthly 2026-10, not shown good" in v.keeps for v in decision.verdicts)
    assert 57 in left(decision)


def test_pinned_and_held_points_stay_and_take_no_place() -> None:
    points = nights(6)
    points[4] = replace(points[4], pinned="before release")
    points[5] = replace(points[5], held="in use by verify")
    decision = decided(points, Keep(last=2))
    assert keeps(decision, 2) == ("pinned: before release",)
    assert keeps(decision, 1) == ("in use by verify",)
    assert left(decision) == [4, 3]


def test_nothing_older_leaves_while_a_newer_one_is_being_verified() -> None:
    points = nights(6)
    points[0] = replace(points[0], good=False, sound=True, verifying="not verified yet")
    decision = decided(points, Keep(last=2))
    assert left(decision) == []
    assert keeps(decision, 1) == (f"{points[0].id} is not verified yet",)
    # One that was left so, with a good one behind it, keeps nobody.
    points = nights(6)
    points[1] = replace(points[1], good=False, sound=True, verifying="not verified yet")
    assert left(decided(points, Keep(last=2))) == [3, 2, 1]


def test_the_newest_with_data_of_the_whole_site_stays() -> None:
    schema = [replace(p, holds_data=False) for p in nights(5, plan="schema")]
    data = [replace(p, sequence=p.sequence + 10) for p in nights(4)]
    policies = {"schema": Keep(last=1), "daily": Keep(last=1)}
    decision = decided([*schema, *data], policies, Guard(most_share=1.0, minimum_good=1))
    words = [v.keeps for v in decision.verdicts if v.keeps]
    assert sum("newest good with data" in each for each in words) == 1
    assert len(words) == 2


def test_an_open_incident_stops_everything() -> None:
    decision = decided(nights(9), Keep(last=2), Guard(most_share=1.0, incidents=("1122-01",)))
    assert [each.kind for each in decision.refusals] == ["incident"]
    assert decision.removable == ()
    assert left(decision) == [7, 6, 5, 4, 3, 2, 1]
    confirmed = Guard(most_share=1.0, incidents=("1122-01",), confirmed=True)
    assert decided(nights(9), Keep(last=2), confirmed).removable == ()


def test_more_than_the_set_share_wants_the_name() -> None:
    decision = decided(nights(9), Keep(last=2), Guard())
    assert [(each.kind, each.confirmable) for each in decision.refusals] == [("share", True)]
    assert "78% of the points would leave, and 50% may" in decision.refusals[0].what
    assert len(decided(nights(9), Keep(last=2), Guard(confirmed=True)).removable) == 7
    # Of a few points any is a large share.
    assert len(decided(nights(4), Keep(last=1), Guard()).removable) == 2


def test_the_share_of_one_plan_counts_too() -> None:
    many = [replace(p, sequence=p.sequence + 10) for p in nights(50)]
    policies = {"daily": Keep(last=50), "hourly": Keep(last=2)}
    decision = decided([*nights(10, plan="hourly"), *many], policies, Guard())
    assert [each.kind for each in decision.refusals] == ["share"]


@pytest.mark.parametrize("ahead", [timedelta(hours=1), DAY, 400 * DAY])
def test_a_clock_that_was_set_back_stops_everything(ahead: timedelta) -> None:
    decision = decided(nights(9), Keep(last=2), now=NOW - timedelta(hours=1) - ahead)
    assert [each.kind for each in decision.refusals] == ["clock"]
    later = decided(nights(9), Keep(last=2), Guard(most_share=1.0, last_seen=NOW + ahead))
    assert [each.kind for each in later.refusals] == ["clock"]
    accepted = Guard(most_share=1.0, last_seen=NOW + ahead, accepted=NOW + ahead)
    assert decided(nights(9), Keep(last=2), accepted).refusals == ()


def test_a_clock_that_is_far_ahead_stops_everything_until_someone_looked() -> None:
    late = NOW + 60 * DAY
    fresh = {"daily": 90 * DAY}
    decision = decided(nights(9), Keep(last=2), Guard(most_share=1.0, proof_ages=fresh), now=late)
    assert [each.kind for each in decision.refusals] == ["clock"]
    # The next night's point was taken by the same clock; it proves nothing.
    again = [candidate(10, -60 * DAY), *nights(9)]
    guard = Guard(most_share=1.0, proof_ages=fresh, clock_right=NOW)
    assert [e.kind for e in decided(again, Keep(last=2), guard, now=late).refusals] == ["clock"]
    looked = replace(guard, clock_right=late)
    assert decided(again, Keep(last=2), looked, now=late + DAY).refusals == ()


def test_a_machine_that_was_off_for_two_weeks_is_no_wrong_clock() -> None:
    points = [replace(p, created=p.created - 14 * DAY) for p in nights(9)]
    decision = decided([candidate(10, timedelta(hours=1)), *points], Keep(last=2))
    assert decision.refusals == ()


def test_a_clock_set_back_takes_no_place_away() -> None:
    points = nights(5)
    # The newest two were taken after the clock was set back by three days.
    points[0] = replace(points[0], created=points[3].created + timedelta(hours=2))
    points[1] = replace(points[1], created=points[3].created + timedelta(hours=1))
    decision = decided(points, Keep(last=2), Guard(most_share=1.0, clock_right=NOW))
    assert left(decision) == [3, 2, 1]


def test_an_adopted_point_without_a_number_stands_where_it_was_taken() -> None:
    adopted = replace(candidate(99, 2 * DAY, plan="daily"), sequence=0)
    ordered = in_capture_order([*nights(5), adopted])
    assert [point.sequence for point in ordered] == [5, 4, 0, 3, 2, 1]
    older = replace(adopted, created=NOW - 99 * DAY)
    assert [p.sequence for p in in_capture_order([*nights(3), older])] == [3, 2, 1, 0]


def test_an_hour_that_comes_twice_is_two() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert period_of("hourly", first, BERLIN) == "2026-10-25 02h"
    assert period_of("hourly", first + timedelta(hours=1), BERLIN) == "2026-10-25 02h again"
    assert period_of("weekly", datetime(2027, 1, 2, tzinfo=UTC), BERLIN) == "2026-W53"
    assert period_of("daily", datetime(2028, 2, 28, 23, 30, tzinfo=UTC), BERLIN) == "2028-02-29"


def test_only_the_plans_of_this_run_lose_points() -> None:
    other = [replace(p, sequence=p.sequence + 10) for p in nights(9, plan="weekly")]
    policies = {"daily": Keep(last=2), "weekly": Keep(last=2)}
    guard = Guard(most_share=1.0, only=frozenset({"daily"}))
    decision = decided([*nights(9), *other], policies, guard)
    assert all("-daily-" in identifier for identifier in decision.leaving)
    assert len(decision.leaving) == 7
