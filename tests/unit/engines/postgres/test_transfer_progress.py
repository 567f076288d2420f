"""Progress out of a tool's log and the server's counters; throttling by lag, rate and age."""

from __future__ import annotations

import asyncio

import pytest

from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.events import Event, Progress, TableDone, Warned
from fsbackup_tui.engines.postgres.guards import Throttle, watch_snapshot_age
from fsbackup_tui.engines.postgres.progress import (
    Item,
    TransferProgress,
    dump_items,
    restore_items,
)
from fsbackup_tui.engines.postgres.toc import TocEntry
from tests.support.waiting import wait_until_async


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Feed:
    def __init__(self, items: dict[str, tuple[int, int]], *, parallel: bool = False) -> None:
        self.events: list[Event] = []
        self.clock = Clock()
        self.progress = TransferProgress(
            dump_items((name, size, rows) for name, (size, rows) in items.items()),
            self.events.append,
            parallel=parallel,
            now=self.clock,
        )

    def last(self) -> Progress:
        return [event for event in self.events if isinstance(event, Progress)][-1]

    def done(self) -> list[str]:
        return [event.table for event in self.events if isinstance(event, TableDone)]


def test_a_dump_in_one_session_finishes_a_table_with_the_next() -> None:
    feed = Feed({"app.users": (1000, 10), "app.videos": (3000, 100)})
    feed.progress.on_log('pg_dump: dumping contents of table "app.users"')
    feed.progress.on_log('pg_dump: dumping contents of table "app.videos"')
    feed.progress.on_copies([("app.videos", 500, 50)])
    feed.progress.report()
    assert (feed.last().done, feed.last().total) == (1000 + 1500, 4000)
    assert feed.last().active == ("app.videos",)
    assert feed.done() == ["app.users"]


def test_a_parallel_dump_has_several_tables_under_way() -> None:
    feed = Feed(
        {"app.users": (1000, 0), "app.videos": (3000, 0), "app.a b": (10, 0)}, parallel=True
    )
    feed.progress.on_copies([("app.users", 100, 5), ("app.videos", 300, 5)])
    feed.progress.report()
    assert feed.last().done == 400
    assert set(feed.last().active) == {"app.users", "app.videos"}
    feed.progress.on_log('pg_dump: dumping contents of table "app.a b"')
    feed.progress.on_log("pg_dump: finished item 3049 TABLE DATA users")
    feed.progress.on_log("pg_dump: finished item 3050 TABLE DATA a b")
    assert feed.done() == ["app.users", "app.a b"]


def test_no_table_is_done_by_its_estimate_alone() -> None:
    feed = Feed({"app.users": (1000, 10)})
    feed.progress.on_copies([("app.users", 999_999, 999_999)])
    assert feed.progress.done < 1000
    feed.progress.finish()
    assert feed.last().done == 1000


def test_rate_and_remaining_time_come_from_the_last_minute() -> None:
    feed = Feed({"app.users": (10_000, 0)})
    for second in range(121):
        feed.clock.now = 100.0 + second
        feed.progress.on_copies(
            [("app.users", 10 * second if second < 60 else 600 + 50 * (second - 60), 1)]
        )
        feed.progress.report()
    assert feed.last().rate == pytest.approx(50, rel=0.05)
    assert feed.last().eta_seconds == pytest.approx((10_000 - 3600) / 50, rel=0.05)


def test_reports_come_once_a_second() -> None:
    feed = Feed({"app.users": (10_000, 0)})
    for tenth in range(100):
        feed.clock.now = 100.0 + tenth / 10
        feed.progress.report()
    assert 9 <= len(feed.events) <= 12


def test_copied_bytes_never_fall() -> None:
    feed = Feed({"a.a": (10, 0), "a.b": (10, 0)})
    seen = []
    for rows in ([("a.a", 500, 1)], [("a.a", 700, 2), ("a.b", 100, 1)], [("a.b", 300, 1)], []):
        feed.progress.on_copies(rows)
        seen.append(feed.progress.copied_bytes)
    assert seen == [500, 800, 1000, 1000]


def test_a_restore_weighs_rows_and_what_is_built_on_them() -> None:
    entries = [
        TocEntry(1, 0, 0, "TABLE", "app", "users", "o"),
        TocEntry(2, 0, 0, "TABLE DATA", "app", "users", "o", dependencies=(1,)),
        TocEntry(3, 0, 0, "INDEX", "app", "users_email", "o", dependencies=(1,)),
        TocEntry(4, 0, 0, "VIEW", "app", "v", "o"),
    ]
    events: list[Event] = []
    items = restore_items(entries, {"app.users": (1000, 10)})
    progress = TransferProgress(items, events.append, now=Clock())
    total = sum(item.weight for item in items.values())
    assert set(items) == {"2", "3"}
    progress.on_log("pg_restore: launching item 2 TABLE DATA users")
    progress.on_copies([("app.users", 1, 5)])
    assert progress.done == 500
    progress.on_log("pg_restore: finished item 2 TABLE DATA users")
    progress.on_log("pg_restore: launching item 3 INDEX users_email")
    assert progress.done == 1000
    progress.on_log("pg_restore: finished item 3 INDEX users_email")
    assert progress.done == total


def test_a_foreign_key_weighs_by_its_own_table() -> None:
    entries = [
        TocEntry(1, 0, 0, "TABLE", "app", "users", "o"),
        TocEntry(2, 0, 0, "TABLE", "app", "likes", "o"),
        TocEntry(3, 0, 0, "FK CONSTRAINT", "app", "likes likes_user", "o", dependencies=(1, 2)),
    ]
    heavy = restore_items(entries, {"app.users": (10, 1), "app.likes": (1000, 1)})["3"]
    light = restore_items(entries, {"app.users": (1000, 1), "app.likes": (10, 1)})["3"]
    assert heavy.weight == pytest.approx(100 * light.weight)


class Child:
    pid = 1

    def __init__(self) -> None:
        self.moves: list[str] = []

    def pause(self) -> None:
        self.moves.append("pause")

    def resume(self) -> None:
        self.moves.append("resume")

    def terminate(self) -> None:
        self.moves.append("terminate")


async def test_a_dump_above_its_rate_stands_still_until_it_may_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, child = Clock(), Child()
    copied = 0
    steps = iter([0, 2000, 2000, 2000, 2000])
    stops = asyncio.Event()

    async def step(_seconds: float) -> None:
        nonlocal copied
        clock.now += 0.5
        try:
            copied = next(steps)
        except StopIteration:
            stops.set()
            raise asyncio.CancelledError from None

    throttle = Throttle(bytes_per_second=1000, copied_bytes=lambda: copied, now=clock)
    throttle.attach(child)  # type: ignore[arg-type]
    monkeypatch.setattr("fsbackup_tui.engines.postgres.guards.asyncio.sleep", step)
    with pytest.raises(asyncio.CancelledError):
        await throttle.run()
    assert stops.is_set()
    assert child.moves == ["pause", "resume"]


async def test_a_throttle_that_ends_leaves_nothing_paused() -> None:
    clock, child = Clock(), Child()
    throttle = Throttle(bytes_per_second=1, copied_bytes=lambda: 10**9, now=clock)
    throttle.attach(child)  # type: ignore[arg-type]
    task = asyncio.create_task(throttle.run())
    await asyncio.sleep(0)
    clock.now += 1
    await wait_until_async(lambda: throttle.paused)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child.moves == ["pause", "resume"]


async def test_a_dump_whose_rate_is_not_known_any_more_goes_on() -> None:
    clock, child = Clock(), Child()
    copied: list[float | None] = [10**9]
    told: list[Event] = []
    throttle = Throttle(
        bytes_per_second=1, copied_bytes=lambda: copied[0], report=told.append, now=clock
    )
    throttle.attach(child)  # type: ignore[arg-type]
    task = asyncio.create_task(throttle.run())
    clock.now += 1
    await wait_until_async(lambda: throttle.paused)
    copied[0] = None
    await wait_until_async(lambda: not throttle.paused)
    assert [event.text for event in told if isinstance(event, Warned)] == [
        "the rate can't be measured any more; max_rate is not kept"
    ]
    task.cancel()


async def test_a_snapshot_may_be_as_old_as_is_allowed() -> None:
    with pytest.raises(PostgresError, match="SNAPSHOT TOO OLD"):
        await asyncio.wait_for(watch_snapshot_age(0.05), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch_snapshot_age(None), 0.05)


def test_a_table_too_small_to_be_seen_copying_counts_for_the_rate() -> None:
    feed = Feed({"a.a": (400, 0), "a.b": (300, 0), "a.c": (10, 0)})
    feed.progress.on_log('pg_dump: dumping contents of table "a.a"')
    feed.progress.on_copies([("a.a", 500, 1)])
    feed.progress.on_log('pg_dump: dumping contents of table "a.b"')
    feed.progress.on_log('pg_dump: dumping contents of table "a.c"')
    assert feed.progress.copied_bytes == 500 + 300


def test_the_time_of_a_parallel_restore_is_shared_among_what_goes_on() -> None:
    events: list[Event] = []
    clock = Clock()
    items = {
        "1": Item("app.users", 100.0),
        "2": Item("INDEX app.by_mail", 20.0, table=False, phase="index"),
    }
    progress = TransferProgress(items, events.append, parallel=True, now=clock)

    def after(seconds: float, line: str) -> None:
        clock.now += seconds
        progress.on_log(f"pg_restore: {line}")

    after(1, "launching item 1 TABLE DATA users")
    after(4, "launching item 2 INDEX by_mail")
    after(2, "finished item 1 TABLE DATA users")
    after(3, "finished item 2 INDEX by_mail")
    progress.report(last=True)
    (last,) = [event for event in events if isinstance(event, Progress)]
    assert last.work == {
        "definitions": (0.0, 0.0, 1.0),
        "data": (100.0, 100.0, 5.0),
        "index": (20.0, 20.0, 4.0),
        "constraints": (0.0, 0.0, 0.0),
    }


def test_each_second_of_a_serial_restore_belongs_to_what_is_made() -> None:
    events: list[Event] = []
    clock = Clock()
    items = {
        "1": Item("app.users", 100.0),
        "2": Item("FK CONSTRAINT app.users of_team", 20.0, table=False, phase="constraints"),
    }
    progress = TransferProgress(items, events.append, now=clock)
    for seconds, line in (
        (2, 'creating TABLE "app.users"'),
        (1, 'processing data for table "app.users"'),
        (5, 'creating FK CONSTRAINT "app.users of_team"'),
    ):
        clock.now += seconds
        progress.on_log(f"pg_restore: {line}")
    clock.now += 4
    progress.finish()
    work = [event for event in events if isinstance(event, Progress)][-1].work
    assert {phase: values[2] for phase, values in work.items()} == {
        "definitions": 3.0,
        "data": 5.0,
        "index": 0.0,
        "constraints": 4.0,
    }
