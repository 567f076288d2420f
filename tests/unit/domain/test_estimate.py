"""How long it will take: unknown until it was measured, then close, and with an honest range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.estimate import (
    PHASES,
    MeasuredRun,
    Span,
    Work,
    expect,
    learn,
    parse_run,
    phases_to,
    remaining,
    run_document,
    share_by_time,
    time_back,
    time_to_prove,
    total,
)
from fsbackup_tui.domain.trust import Trust

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
PLACE = "own 17 by db1 with 2 jobs"
SIZES = Work(100_000_000, 400_000_000)


def run(
    *,
    factor: float = 1.0,
    day: int = 0,
    place: str = PLACE,
    work: Work = SIZES,
    drill: bool = False,
    only: tuple[str, ...] = PHASES[2:],
) -> MeasuredRun:
    seconds = {phase: factor * (number + 1.0) for number, phase in enumerate(only)}
    return MeasuredRun(START + timedelta(days=day), work, seconds, place, drill)


def test_nothing_is_known_before_the_first_run() -> None:
    assert learn([], 10.0) is None
    assert expect([], SIZES, ["data"]) is None
    assert time_back([], SIZES) is None


def test_one_run_tells_the_next_in_proportion_and_with_doubt() -> None:
    told = learn([(100.0, 10.0)], 200.0)
    assert told is not None
    assert told.seconds == pytest.approx(20.0)
    assert told.low < 20.0 < told.high


def test_a_size_far_from_all_that_was_measured_leaves_more_doubt() -> None:
    samples = [(100.0, 10.0)] * 8
    near, far = learn(samples, 110.0), learn(samples, 800.0)
    assert near is not None
    assert far is not None
    assert near.high / near.seconds < 1.1
    assert far.high / far.seconds > 1.4
    assert far.low / far.seconds < 0.6


def test_one_slow_night_changes_little() -> None:
    nights = [(100.0, 10.0)] * 6 + [(100.0, 90.0)]
    told = learn(nights, 100.0)
    assert told is not None
    assert told.seconds == pytest.approx(10.0)
    assert told.high > 10.0


def test_a_machine_that_became_slower_is_learned() -> None:
    told = learn([(100.0, 10.0)] * 30 + [(100.0, 30.0)] * 12, 100.0)
    assert told is not None
    assert told.seconds == pytest.approx(30.0)


def test_what_a_run_costs_whatever_its_size_is_told_from_what_it_costs_by_the_byte() -> None:
    told = learn([(20.0, 2.2), (60.0, 2.6), (150.0, 3.5)], 300.0)
    assert told is not None
    assert told.seconds == pytest.approx(5.0)


@given(
    fixed=st.floats(0, 60),
    slope=st.floats(0.0001, 10),
    amounts=st.lists(st.floats(1, 1e6), min_size=1, max_size=30),
    amount=st.floats(1, 1e6),
)
def test_it_is_never_negative_and_lies_within_its_range(
    fixed: float, slope: float, amounts: list[float], amount: float
) -> None:
    told = learn([(work, fixed + slope * work) for work in amounts], amount)
    assert told is not None
    assert 0 <= told.low <= told.seconds <= told.high


@given(st.floats(0, 50), st.floats(0.01, 10), st.floats(10, 1000))
def test_a_straight_line_is_found_whatever_it_is(fixed: float, slope: float, amount: float) -> None:
    samples = [(work, fixed + slope * work) for work in (10.0, 35.0, 120.0, 400.0)]
    told = learn(samples, amount)
    assert told is not None
    assert told.seconds == pytest.approx(fixed + slope * amount, rel=1e-6)


def test_a_phase_that_was_never_measured_leaves_the_whole_unknown() -> None:
    assert expect([run()], SIZES, ["data", "fetch"]) is None


def test_other_places_tell_nothing_of_the_restore_but_reading_is_reading() -> None:
    elsewhere = run(place="server 17 by db9 with 8 jobs", factor=50.0, day=1)
    told = expect([run(), elsewhere], SIZES, ["data"], place=PLACE)
    assert told is not None
    assert told["data"].seconds == pytest.approx(run().seconds["data"])
    assert expect([elsewhere], SIZES, ["data"], place=PLACE) is None
    assert expect([elsewhere], SIZES, ["sealed"], place=PLACE) is not None


def test_without_a_place_the_newest_run_says_where() -> None:
    elsewhere = run(place="server 17 by db9 with 8 jobs", factor=3.0, day=1)
    told = expect([elsewhere, run()], SIZES, ["data"])
    assert told is not None
    assert told["data"].seconds == pytest.approx(elsewhere.seconds["data"])


def test_ranges_of_a_sum_are_narrower_than_the_sum_of_ranges() -> None:
    told = total([Span(10, 8, 12), Span(10, 8, 12)])
    assert told.seconds == 20
    assert 16 < told.low < 20 < told.high < 24


def test_the_rest_shrinks_as_the_run_goes_on() -> None:
    expected = {"data": Span(60, 50, 70), "index": Span(40, 30, 50)}
    told = [
        remaining(expected, {"data": min(1.0, s / 60), "index": max(0.0, (s - 60) / 40)}, s)
        for s in (0.0, 30.0, 60.0, 90.0, 100.0)
    ]
    assert [round(span.seconds) for span in told] == [100, 70, 40, 10, 0]


def test_a_run_at_half_speed_is_noticed() -> None:
    expected = {"data": Span(100, 90, 110)}
    late = remaining(expected, {"data": 0.5}, 100.0)
    assert 70 < late.seconds <= 100
    assert late.low <= late.seconds <= late.high


@given(
    st.dictionaries(st.sampled_from(PHASES), st.floats(0, 1e4), min_size=1),
    st.dictionaries(st.sampled_from(PHASES), st.floats(-1, 2)),
    st.floats(0, 1e5),
)
def test_the_rest_is_never_negative(
    expected: Mapping[str, float], done: Mapping[str, float], elapsed: float
) -> None:
    spans = {phase: Span(took, took * 0.8, took * 1.2) for phase, took in expected.items()}
    rest = remaining(spans, done, elapsed)
    assert 0 <= rest.low <= rest.seconds <= rest.high


def test_a_phase_that_tells_nothing_is_never_done_before_it_ends() -> None:
    assert share_by_time(1.0, Span(4, 3, 5)) == pytest.approx(0.25)
    assert share_by_time(400.0, Span(4, 3, 5)) < 1.0
    assert share_by_time(4.0, None) == 0.0


def test_getting_back_takes_no_scratch_server() -> None:
    back = time_back([run(drill=True, only=(*PHASES[2:], "spare"))], SIZES)
    assert back is not None
    assert back.from_drill
    seconds = run().seconds
    known = sum(seconds.values()) - seconds["start"] - seconds["remove"]
    assert back.span.seconds == pytest.approx(known)


def test_a_restore_of_another_order_of_size_tells_nothing() -> None:
    assert time_back([run(drill=True)], Work(10**9, 40 * 10**9)) is None
    assert (
        time_to_prove([run()], Work(10**6, 4 * 10**6), phases_to(Trust.PROVEN, restorable=True))
        is None
    )


def test_reading_alone_does_not_tell_how_long_a_restore_takes() -> None:
    assert time_back([run(only=("sealed", "readable"), place="")], SIZES) is None


def test_the_phases_are_those_of_the_rungs_to_climb() -> None:
    assert phases_to(Trust.READABLE, restorable=True) == ("sealed", "readable")
    assert phases_to(Trust.PROVEN, restorable=False) == ("sealed", "readable")
    assert "sealed" not in phases_to(Trust.PROVEN, [Trust.SEALED], restorable=True)
    assert "compare" not in phases_to(Trust.RESTORED, restorable=True)
    assert phases_to(Trust.PROVEN, restorable=True) == PHASES[2:]


def test_a_run_is_read_back_as_it_was_written() -> None:
    measured = run(drill=True)
    document = json.loads(json.dumps(run_document(measured.work, measured.seconds, PLACE)))
    assert parse_run(document, measured.at, drill=True) == measured


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"stored_bytes": 1, "database_bytes": 2, "seconds": [1]},
        {"stored_bytes": 1, "database_bytes": 2, "seconds": {"data": -1}},
        {"stored_bytes": "x", "database_bytes": 2, "seconds": {}},
    ],
)
def test_what_is_no_run_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a measured run|invalid literal"):
        parse_run(document, START)
