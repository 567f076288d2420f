"""When something is due: forms, wall clocks that skip and repeat, short months, and the laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.schedule import (
    DAY_NAMES,
    Schedule,
    longest_pause,
    next_run,
    parse_schedule,
    previous_run,
    runs_between,
)

BERLIN = ZoneInfo("Europe/Berlin")
ODD_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Tehran",
)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def due(text: str, start: str, end: str, zone: str) -> list[str]:
    """The runs after ``start`` up to ``end`` (UTC), as the zone's wall clock shows them."""
    runs = runs_between(parse_schedule(text), at(start), at(end), ZoneInfo(zone))
    return [f"{run.astimezone(ZoneInfo(zone)):%m-%d %H:%M%z}" for run in runs]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("02:00", "02:00"),
        (" 2:00 ", "02:00"),
        ("14:00,02:00, 14:00", "02:00, 14:00"),
        ("Sun 03:00", "Sun 03:00"),
        ("mon-fri 02:00 , 14:30", "Mon-Fri 02:00, 14:30"),
        ("Mon, Wed 02:00", "Mon,Wed 02:00"),
        ("Fri-Mon 02:00", "Mon,Fri-Sun 02:00"),
        ("Mon-Sun 02:00", "02:00"),
        ("Sat,Mon-Wed,Sun 23:59", "Mon-Wed,Sat,Sun 23:59"),
        ("Hourly", "hourly"),
        ("monthly 1 04:00", "monthly 1 04:00"),
        ("Monthly 31  4:00", "monthly 31 04:00"),
    ],
)
def test_every_form_is_read_and_written_back(text: str, written: str) -> None:
    schedule = parse_schedule(text)

    assert str(schedule) == written
    assert parse_schedule(written) == schedule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is empty; write '02:00'"),
        ("  ", "it is empty"),
        ("daily", "'daily' is no time; write '02:00', 'Mon-Fri"),
        ("* 2 * * *", "is no time"),
        ("24:00", "there is no 24:00: a day goes from 00:00 to 23:59"),
        ("02:60", "there is no 02:60"),
        ("02:00,", "'' is no time of day; write it as 02:00"),
        ("02:00 14:00", "'02:00' is no day; the days are Mon, Tue"),
        ("Mon - Fri 02:00", "is no time"),
        ("Mo 02:00", "'Mo' is no day"),
        ("Mon- 02:00", "'' is no day"),
        ("02:00:00", "is no time"),
        ("٠٢:٠٠", "is no time"),
        ("monthly", "needs a day and a time"),
        ("monthly 1", "needs a day and a time, as in 'monthly 1 04:00'"),
        ("monthly 0 04:00", "'0' is no day of a month: 1 to 31"),
        ("monthly 32 04:00", "'32' is no day of a month"),
        ("monthly last 04:00", "'last' is no day of a month"),
        ("monthly 1 04:00, 05:00", "monthly takes one time"),
        ("monthlyish", "needs a day and a time"),
    ],
)
def test_what_is_wrong_is_said_plainly(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at
        parse_schedule(text)
    assert complaint in str(caught.value)


def test_an_hour_that_is_skipped_runs_when_the_gap_ends() -> None:
    # 29 March 2026: 02:00 CET becomes 03:00 CEST.
    assert due("02:30", "2026-03-27T12:00", "2026-03-30T12:00", "Europe/Berlin") == [
        "03-28 02:30+0100",
        "03-29 03:00+0200",
        "03-30 02:30+0200",
    ]


def test_several_times_in_one_gap_are_one_run() -> None:
    assert due("02:00, 02:30, 03:00", "2026-03-28T12:00", "2026-03-29T12:00", "Europe/Berlin") == [
        "03-29 03:00+0200"
    ]


def test_an_hour_that_comes_twice_runs_the_first_time_only() -> None:
    # 25 October 2026: 03:00 CEST becomes 02:00 CET.
    assert due("02:30", "2026-10-24T12:00", "2026-10-26T12:00", "Europe/Berlin") == [
        "10-25 02:30+0200",
        "10-26 02:30+0100",
    ]
    between = at("2026-10-25T01:15")  # 02:15 for the second time
    assert previous_run(parse_schedule("02:30"), between, BERLIN) == at("2026-10-25T00:30")
    assert next_run(parse_schedule("02:30"), between, BERLIN) == at("2026-10-26T01:30")


def test_hourly_comes_each_hour_through_both_changes_of_the_clock() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        start = at(f"{day}T00:00") - timedelta(hours=3)
        runs = list(
            runs_between(parse_schedule("hourly"), start, start + timedelta(days=1), BERLIN)
        )
        assert len(runs) == 24
        assert {later - earlier for earlier, later in pairwise(runs)} == {timedelta(hours=1)}


def test_a_gap_of_half_an_hour() -> None:
    # Lord Howe, 4 October 2026: 02:00 +10:30 becomes 02:30 +11.
    assert due("02:10", "2026-10-02T12:00", "2026-10-04T12:00", "Australia/Lord_Howe") == [
        "10-03 02:10+1030",
        "10-04 02:30+1100",
    ]


def test_midnight_can_be_skipped() -> None:
    # São Paulo began summer time at midnight: 4 November 2018 has no 00:00.
    assert due("00:00", "2018-11-02T12:00", "2018-11-05T12:00", "America/Sao_Paulo") == [
        "11-03 00:00-0300",
        "11-04 01:00-0200",
        "11-05 00:00-0200",
    ]


def test_a_day_that_a_zone_leaves_out_runs_at_its_end() -> None:
    # Samoa had no 30 December 2011, a Friday.
    assert due("Fri 02:00", "2011-12-22T00:00", "2012-01-07T00:00", "Pacific/Apia") == [
        "12-23 02:00-1000",
        "12-31 00:00+1400",
        "01-06 02:00+1400",
    ]


def test_the_29th_of_february_exists_in_leap_years() -> None:
    runs = runs_between(
        parse_schedule("monthly 29 04:00"), at("2027-01-30T00:00"), at("2028-03-30T00:00"), UTC
    )
    days = [f"{run:%Y-%m-%d}" for run in runs]
    assert days[0] == "2027-02-28"
    assert days[-2:] == ["2028-02-29", "2028-03-29"]
    assert due("04:00", "2028-02-28T12:00", "2028-03-01T12:00", "UTC") == [
        "02-29 04:00+0000",
        "03-01 04:00+0000",
    ]


def test_monthly_31_is_the_last_day_of_every_month() -> None:
    runs = list(
        runs_between(
            parse_schedule("monthly 31 02:30"),
            at("2026-01-01T00:00"),
            at("2027-01-01T00:00"),
            BERLIN,
        )
    )
    assert [run.astimezone(BERLIN).day for run in runs] == [
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
    ]  # fmt: skip


def test_days_are_those_of_the_zone() -> None:
    # Sunday 03:00 in Kiritimati (+14) is Saturday in UTC.
    [run] = runs_between(
        parse_schedule("Sun 03:00"),
        at("2026-11-20T00:00"),
        at("2026-11-23T00:00"),
        ZoneInfo("Pacific/Kiritimati"),
    )
    assert run == at("2026-11-21T13:00")


def test_the_moment_itself_is_the_previous_run_and_not_the_next() -> None:
    schedule = parse_schedule("02:00")
    moment = at("2026-11-22T02:00")
    assert previous_run(schedule, moment, UTC) == moment
    assert next_run(schedule, moment, UTC) == at("2026-11-23T02:00")
    assert next_run(schedule, moment - timedelta(microseconds=1), UTC) == moment
    assert previous_run(schedule, moment - timedelta(microseconds=1), UTC) == at("2026-11-21T02:00")


def test_a_moment_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 11, 22)  # noqa: DTZ001 - that is the mistake
    with pytest.raises(ValueError, match="no time zone"):
        next_run(parse_schedule("02:00"), naive, UTC)
    with pytest.raises(ValueError, match="no time zone"):
        previous_run(parse_schedule("hourly"), naive, UTC)


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("hourly", timedelta(hours=1)),
        ("02:00", timedelta(hours=24)),
        ("02:00, 14:00", timedelta(hours=12)),
        ("02:00, 08:00", timedelta(hours=18)),
        ("Sun 03:00", timedelta(days=7)),
        ("Mon-Fri 02:00", timedelta(days=3)),
        ("Mon-Fri 02:00, 20:00", timedelta(days=2, hours=6)),
        ("monthly 1 04:00", timedelta(days=31)),
    ],
)
def test_the_longest_pause(text: str, pause: timedelta) -> None:
    assert longest_pause(parse_schedule(text)) == pause


times_of_day = st.lists(
    st.times().map(lambda moment: moment.replace(second=0, microsecond=0)), min_size=1, max_size=4
).map(lambda times: tuple(sorted(set(times))))
schedules = st.one_of(
    st.just(Schedule()),
    st.builds(Schedule, times_of_day, st.frozensets(st.integers(0, 6), min_size=1)),
    st.builds(
        lambda moment, day: Schedule((moment.replace(second=0, microsecond=0),), month_day=day),
        st.times(),
        st.integers(1, 31),
    ),
)
moments = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis wants it bare
    max_value=datetime(2060, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
zones = st.sampled_from(ODD_ZONES).map(ZoneInfo)


@given(schedules)
def test_what_is_written_is_read_as_the_same(schedule: Schedule) -> None:
    assert parse_schedule(str(schedule)) == schedule


@given(schedules, moments, zones)
def test_next_and_previous_enclose_the_moment(
    schedule: Schedule, moment: datetime, zone: ZoneInfo
) -> None:
    before = previous_run(schedule, moment, zone)
    after = next_run(schedule, moment, zone)

    assert before <= moment < after
    assert next_run(schedule, before, zone) == after
    assert previous_run(schedule, after, zone) == after
    assert previous_run(schedule, after - timedelta(microseconds=1), zone) == before
    assert before.tzinfo is UTC
    assert after.tzinfo is UTC


@given(schedules, moments, zones)
def test_runs_are_at_their_time_or_at_the_end_of_a_gap(
    schedule: Schedule, moment: datetime, zone: ZoneInfo
) -> None:
    run = next_run(schedule, moment, zone)
    wall = run.astimezone(zone)
    if schedule.hourly:
        assert (run.minute, run.second) == (0, 0)
    elif wall.time().replace(fold=0) in schedule.times:
        assert wall.fold == 0
        assert schedule.month_day is not None or wall.weekday() in schedule.days
    else:
        a_moment_ago = (run - timedelta(seconds=1)).astimezone(zone)
        assert a_moment_ago.utcoffset() != wall.utcoffset()


@given(schedules, moments, zones, st.integers(0, 20 * 24))
def test_runs_between_are_all_of_them(
    schedule: Schedule, start: datetime, zone: ZoneInfo, hours: int
) -> None:
    end = start + timedelta(hours=hours)
    runs = list(runs_between(schedule, start, end, zone))

    assert all(start < run <= end for run in runs)
    assert all(earlier < later for earlier, later in pairwise(runs))
    backwards = []
    run = previous_run(schedule, end, zone)
    while run > start:
        backwards.append(run)
        run = previous_run(schedule, run - timedelta(microseconds=1), zone)
    assert backwards[::-1] == runs


@given(schedules, moments)
def test_no_pause_is_longer_than_the_longest(schedule: Schedule, moment: datetime) -> None:
    assert next_run(schedule, moment, UTC) - previous_run(schedule, moment, UTC) <= longest_pause(
        schedule
    )


def test_every_day_has_a_name() -> None:
    assert [datetime(2026, 11, 23 + day, tzinfo=UTC).strftime("%a") for day in range(7)] == list(
        DAY_NAMES
    )
