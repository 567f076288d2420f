"""A robust trend: what reference simulations promise of it holds here, too."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsbackup_tui.domain.trend import (
    CUT,
    LEAST_HISTORY,
    Departure,
    departure,
    robust_line,
)

SIZE = 1_000_000.0


def history(
    rng: random.Random, *, noise: float, growth: float = 0.0, count: int = 14
) -> list[tuple[float, float]]:
    return [(float(n), SIZE * math.exp(growth * n + rng.gauss(0, noise))) for n in range(count)]


def share_found(
    *, noise: float, fall: float, growth: float = 0.0, bad: int = 0, rounds: int = 1500
) -> float:
    """How often a fall is told, in so many simulated histories."""
    rng = random.Random(f"{noise} {fall} {growth} {bad}")
    found = 0
    for _ in range(rounds):
        past = history(rng, noise=noise, growth=growth)
        for number in rng.sample(range(14), bad):
            past[number] = (past[number][0], past[number][1] * rng.choice([0.1, 0.5, 3.0]))
        value = SIZE * math.exp(growth * 14 + rng.gauss(0, noise)) * (1 - fall)
        told = departure(past, 14.0, value)
        found += told is not None and told.direction == "drop"
    return found / rounds


@pytest.mark.parametrize("noise", [0.001, 0.005, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("growth", [0.0, 0.02])
def test_at_most_one_in_a_hundred_is_a_false_alarm(noise: float, growth: float) -> None:
    assert share_found(noise=noise, fall=0.0, growth=growth) <= 0.01


@pytest.mark.parametrize("noise", [0.001, 0.005, 0.01])
@pytest.mark.parametrize(("growth", "bad"), [(0.0, 0), (0.02, 0), (0.0, 2)])
def test_a_fall_of_a_fifth_is_always_found_at_up_to_one_per_cent_of_noise(
    noise: float, growth: float, bad: int
) -> None:
    assert share_found(noise=noise, fall=0.2, growth=growth, bad=bad) >= 0.999


def test_at_five_per_cent_of_noise_half_of_them_are_and_a_half_is_always() -> None:
    assert 0.4 < share_found(noise=0.05, fall=0.2) < 0.7
    assert share_found(noise=0.05, fall=0.5) >= 0.999


def test_a_table_that_never_changes_has_a_floor_and_not_a_spread_of_nothing() -> None:
    still = [(float(n), SIZE) for n in range(14)]
    assert departure(still, 14, SIZE * 0.97) is None
    told = departure(still, 14, SIZE * 0.9)
    assert told is not None
    assert told.direction == "drop"
    assert told.sigmas is not None
    assert told.sigmas < -CUT
    assert told.change == pytest.approx(-0.1)


@pytest.mark.parametrize("count", range(1, LEAST_HISTORY))
def test_with_little_history_the_fixed_bounds_hold(count: int) -> None:
    past = [(float(n), 100.0) for n in range(count)]
    assert departure(past, 9, 70) is None
    assert departure(past, 9, 200) is None
    fallen = departure(past, 9, 69)
    assert fallen == Departure("drop", 100, 69 / 100 - 1, None, count)
    grown = departure(past, 9, 201)
    assert grown is not None
    assert grown.direction == "growth"


def test_no_history_tells_nothing_and_nothing_left_is_a_drop() -> None:
    assert departure([], 1, 5) is None
    assert departure([(0.0, 0.0)], 1, 5) is None
    told = departure([(float(n), 50.0) for n in range(14)], 14, 0)
    assert told is not None
    assert told.direction == "drop"
    assert told.change == -1


def test_only_the_newest_fourteen_count() -> None:
    past = [(float(n), 10.0) for n in range(100)] + [(100.0 + n, 1000.0) for n in range(14)]
    assert departure(past, 114, 1000) is None


lines = st.tuples(st.floats(-1e3, 1e3), st.floats(-10, 10))


@given(lines, st.lists(st.integers(0, 400), min_size=7, max_size=30, unique=True), st.data())
@settings(max_examples=60, deadline=None)
def test_a_quarter_of_wild_points_does_not_move_the_line(
    line: tuple[float, float], moments: list[int], data: st.DataObject
) -> None:
    start, slope = line
    points = [(float(x), start + slope * x) for x in sorted(moments)]
    wild = data.draw(st.sets(st.sampled_from(range(len(points))), max_size=len(points) // 5))
    for number in wild:
        points[number] = (points[number][0], data.draw(st.floats(-1e6, 1e6)))
    found = robust_line(points)
    if not wild:
        assert found.at(points[0][0]) == pytest.approx(points[0][1], abs=1e-6)
    straight = [point for number, point in enumerate(points) if number not in wild]
    assert found.slope == pytest.approx(slope, abs=1e-6) or len(straight) < 0.8 * len(points)


def test_a_line_needs_a_point() -> None:
    with pytest.raises(ValueError, match="needs a point"):
        robust_line([])
    assert robust_line([(3.0, 7.0)]).at(99) == 7
