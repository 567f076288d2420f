"""Three years of plans, whatever happens to them: nothing that is needed is ever removed."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsbackup_tui.domain.retention import Keep
from tests.support.retention_years import END, KINDS, Trouble, Years, ordinary

_LAST_DAY = 3 * 365
_COUNTS = st.none() | st.integers(1, 12)
KEEPS = st.builds(
    Keep,
    last=_COUNTS,
    within=st.none() | st.integers(1, 60).map(lambda days: timedelta(days=days)),
    daily=_COUNTS,
    weekly=_COUNTS,
    monthly=_COUNTS,
    yearly=st.none() | st.integers(1, 3),
)
TROUBLES = st.lists(
    st.builds(
        Trouble,
        st.sampled_from(KINDS),
        st.integers(0, _LAST_DAY),
        st.integers(1, 40),
    ),
    max_size=10,
)


def test_an_ordinary_sites_three_years() -> None:
    years = Years(
        {"daily": "02:30", "schema": "Sun 03:00"},
        {
            "daily": Keep(within=timedelta(days=30), weekly=8, monthly=12),
            "schema": Keep(last=20),
        },
        ordinary(),
        pins=frozenset({40, 41}),
    )
    years.run()
    assert years.refused == {"clock", "incident", "stale-proof", "share"}
    daily = [point for point in years.points if point.plan == "daily" and point.good]
    # It does its work, too: a month, the weeks, the months, the pins, and hardly anything else.
    assert len(daily) <= 31 + 8 + 12 + 2 + 2
    assert {point.sequence for point in years.points if point.pinned} == {40, 41}
    schema = [point for point in years.points if point.plan == "schema" and point.good]
    assert len([point for point in schema if point.pinned is None]) == 20
    assert max(point.created for point in daily) > END - timedelta(days=2)


def test_thirty_one_bad_nights_end_with_the_good_ones_of_before() -> None:
    """A script that deletes by age would have nothing good left."""
    years = Years(
        {"daily": "02:00"},
        {"daily": Keep(within=timedelta(days=30))},
        [Trouble("emptied", 60, 2000)],
    )
    years.run()
    good = [point for point in years.points if point.good]
    assert len(good) >= 30
    assert max(point.sequence for point in good) == 59


@settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(daily=KEEPS, schema=KEEPS, troubles=TROUBLES, answers=st.integers(0, 40))
def test_whatever_happens_in_three_years(
    daily: Keep, schema: Keep, troubles: list[Trouble], answers: int
) -> None:
    years = Years(
        {"daily": "02:30", "schema": "Sun 03:00"},
        {"daily": daily, "schema": schema},
        troubles,
        answers_after=answers,
    )
    years.run()
    assert daily.everything or years.removed or len(years.points) < 1500
