"""The feed: bounded, the same however the journal is read, unknown stays unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import (
    CommandStarted,
    Event,
    JobFinished,
    JobStarted,
    JournalLine,
    Log,
    Progress,
    Remaining,
    StageFinished,
    StageStarted,
    TableDone,
    Warned,
)
from fsbackup_tui.jobs.feed import JobFeed

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def lines(*events: tuple[float, Event]) -> list[JournalLine]:
    return [
        JournalLine(seq, START + timedelta(seconds=second), event)
        for seq, (second, event) in enumerate(events, 1)
    ]


def fed(*events: tuple[float, Event]) -> JobFeed:
    feed = JobFeed()
    feed.feed_all(lines(*events))
    return feed


RECORDED: tuple[tuple[float, Event], ...] = (
    (0, JobStarted("backup", "shop", 7, 1.0, "0.1.0", ("check", "backup"))),
    (0, StageStarted("check")),
    (1, StageFinished("check", "ok", 1.0)),
    (1, StageStarted("backup")),
    (1, CommandStarted(("pg_dump", "-Fd"), 8, 2.0)),
    (2, Progress(0, 1000, "bytes", "public.a", active=("public.a",))),
    (12, Progress(100, 1000, "bytes", "public.a", active=("public.a",))),
    (12, TableDone("public.a", 5, 100, 10.0)),
    (13, Warned("slow disk")),
    (14, Log("half")),
    (22, Progress(200, 1000, "bytes", "public.b")),
)


def test_a_running_job() -> None:
    feed = fed(*RECORDED)

    assert (feed.operation, feed.site, feed.pid, feed.stage) == ("backup", "shop", 7, "backup")
    assert [(stage.name, stage.outcome) for stage in feed.stages] == [
        ("check", "ok"),
        ("backup", None),
    ]
    assert feed.rate == pytest.approx(10.0)
    assert feed.eta_seconds == pytest.approx(80.0)
    assert feed.fraction == pytest.approx(0.2)
    assert [table.table for table in feed.tables] == ["public.a"]
    assert [(line.kind, line.text) for line in feed.log] == [
        ("command", "pg_dump -Fd"),
        ("warning", "slow disk"),
        ("log", "half"),
    ]
    assert feed.warning_count == 1
    assert feed.outcome is None


def test_what_earlier_runs_foretell_comes_before_the_rate_of_a_stage() -> None:
    feed = fed(*RECORDED, (23, Remaining(200.0, 150.0, 260.0)))
    assert feed.eta_seconds == pytest.approx(200.0)
    assert feed.eta_range == pytest.approx((150.0, 260.0))
    feed.feed(JournalLine(feed.seq + 1, START + timedelta(seconds=33), StageStarted("verify")))
    assert feed.eta_seconds == pytest.approx(190.0)
    assert feed.eta_range == pytest.approx((140.0, 250.0))
    feed.feed(JournalLine(feed.seq + 1, START + timedelta(seconds=34), Remaining()))
    assert feed.eta_seconds is None
    assert feed.eta_range is None


def test_an_end_that_is_overdue_is_no_negative_time() -> None:
    feed = fed((0, Remaining(5.0, 4.0, 6.0)), (60, Log("still at it")))
    assert feed.eta_seconds == 0.0
    assert feed.eta_range == (0.0, 0.0)


def test_nothing_remains_of_a_job_that_has_ended() -> None:
    feed = fed((0, Remaining(5.0, 4.0, 6.0)), (1, JobFinished("ok", {"ok": True})))
    assert feed.eta_range is None


def test_the_end() -> None:
    problem = Problem("disk-full", "DISK FULL.")
    feed = fed(
        *RECORDED,
        (30, StageFinished("backup", "failed", 29.0, problem)),
        (30, JobFinished("failed", {"ok": False}, problem)),
    )
    assert feed.outcome == "failed"
    assert feed.problem == problem
    assert feed.result == {"ok": False}
    assert feed.finished == START + timedelta(seconds=30)
    assert feed.stage is None
    assert feed.stages[1].problem == problem
    assert feed.eta_seconds is None


@given(cuts=st.lists(st.integers(0, len(RECORDED)), max_size=6))
def test_a_recorded_journal_gives_the_same_state_in_any_pieces(cuts: list[int]) -> None:
    """Also when pieces are read twice, as a viewer does that attaches again."""
    all_lines = lines(*RECORDED)
    feed = JobFeed()
    for cut in cuts:
        feed.feed_all(all_lines[:cut])
    feed.feed_all(all_lines)
    assert state(feed) == state(fed(*RECORDED))


def state(feed: JobFeed) -> dict[str, object]:
    known = {name: value for name, value in vars(feed).items() if not name.startswith("_")}
    return {**known, "rate": feed.rate, "eta": feed.eta_seconds, "fraction": feed.fraction}


def test_the_rate_is_that_of_the_last_minute() -> None:
    feed = fed(
        (0, StageStarted("backup")),
        (0, Progress(0, 10_000)),
        (100, Progress(1000, 10_000)),
        (130, Progress(4000, 10_000)),
        (160, Progress(7000, 10_000)),
    )
    assert feed.rate == pytest.approx(100.0)
    assert feed.eta_seconds == pytest.approx(30.0)


def test_what_the_worker_measured_comes_first() -> None:
    feed = fed((0, Progress(0, 100)), (10, Progress(50, 100, rate=7.0, eta_seconds=70.0)))
    assert feed.rate == 7.0
    assert feed.eta_seconds == 70.0


def test_what_nobody_can_know_is_none() -> None:
    assert fed().rate is None
    assert fed().eta_seconds is None
    assert fed().fraction is None
    once = fed((0, Progress(5, 10)))
    assert once.rate is None
    assert once.eta_seconds is None
    no_total = fed((0, Progress(5)), (1, Progress(6)))
    assert no_total.rate == pytest.approx(1.0)
    assert no_total.eta_seconds is None
    assert no_total.fraction is None
    still = fed((0, Progress(5, 10)), (9, Progress(5, 10)))
    assert still.rate == 0
    assert still.eta_seconds is None


def test_a_clock_set_back_gives_no_wrong_rate() -> None:
    feed = fed((3600, Progress(0, 100)), (3610, Progress(50, 100)), (5, Progress(60, 100)))
    assert feed.rate is None
    assert feed.progress == Progress(60, 100)


def test_a_new_stage_begins_at_nothing() -> None:
    feed = fed(*RECORDED, (23, StageStarted("seal")))
    assert feed.progress is None
    assert feed.rate is None
    assert feed.stage == "seal"
    assert [stage.name for stage in feed.stages] == ["check", "backup", "seal"]


def test_it_stays_bounded() -> None:
    events: list[tuple[float, Event]] = []
    for number in range(3000):
        events.append((number, TableDone(f"t{number}")))
        events.append((number, Log(f"l{number}")))
        events.append((number, Warned(f"w{number}")))
        events.append((number, CommandStarted((f"c{number}",))))
        events.append((number / 1000, Progress(number, 3000)))
    feed = fed(*events)
    assert len(feed.tables) == 200
    assert feed.tables_done == 3000
    assert feed.tables[-1].table == "t2999"
    assert len(feed.log) == 500
    assert len(feed.warnings) == 100
    assert feed.warning_count == 3000
    assert len(feed.commands) == 100
