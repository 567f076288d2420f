"""What is due is begun once: after its time, after a pause, never for what was never asked."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.schedule import parse_schedule
from fsbackup_tui.domain.scheduled import Scheduled
from fsbackup_tui.operations.schedule_due import Asked, asked_since, claim, forget, register

DAILY = Scheduled("backup", "daily", parse_schedule("02:00"), ("backup", "daily"))
START = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
DUE = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def ask(state: Path, now: datetime, entry: Scheduled = DAILY) -> datetime | None:
    return claim(state, entry, zone=UTC, zone_name="UTC", now=now)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    register(tmp_path, [DAILY], "UTC", START)
    return tmp_path


def test_a_run_is_given_out_once(state: Path) -> None:
    assert ask(state, START + timedelta(hours=1)) is None
    assert ask(state, DUE) == DUE
    assert ask(state, DUE) is None
    assert ask(state, DUE + timedelta(hours=23)) is None
    assert ask(state, DUE + DAY) == DUE + DAY


def test_what_was_missed_is_caught_up_once_however_often_it_was(state: Path) -> None:
    back = DUE + 14 * DAY + timedelta(hours=7)
    assert ask(state, back) == DUE + 14 * DAY
    assert ask(state, back + timedelta(minutes=10)) is None


def test_of_many_callers_one_gets_it(state: Path) -> None:
    got: list[datetime | None] = []
    callers = [threading.Thread(target=lambda: got.append(ask(state, DUE))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(got, key=str) == [DUE, *[None] * 7]


def test_what_was_never_asked_for_does_not_begin_with_the_past(tmp_path: Path) -> None:
    assert ask(tmp_path, DUE + timedelta(hours=3)) is None
    assert ask(tmp_path, DUE + DAY) == DUE + DAY


def test_installed_in_its_own_minute_it_waits_for_the_next(tmp_path: Path) -> None:
    register(tmp_path, [DAILY], "UTC", DUE)
    assert ask(tmp_path, DUE + timedelta(seconds=1)) is None


def test_other_times_begin_anew(state: Path) -> None:
    noon = Scheduled("backup", "daily", parse_schedule("12:00"), DAILY.arguments)
    assert ask(state, DUE + timedelta(hours=11), noon) is None
    assert ask(state, DUE + timedelta(days=1, hours=9), noon) is None
    assert ask(state, DUE + timedelta(days=1, hours=10), noon) == DUE + timedelta(days=1, hours=10)


def test_installing_again_keeps_what_is_known(state: Path) -> None:
    assert ask(state, DUE) == DUE
    register(state, [DAILY], "UTC", DUE + timedelta(hours=1))
    assert asked_since(state) == {"backup.daily": Asked(START, DUE)}
    register(state, [], "UTC", DUE + timedelta(hours=2))
    assert asked_since(state) == {}


def test_a_clock_set_back_does_not_stop_it_for_long(state: Path) -> None:
    far = DUE + 400 * DAY
    assert ask(state, far) is not None
    assert ask(state, DUE + timedelta(hours=1)) is None
    assert ask(state, DUE + DAY) == DUE + DAY


@pytest.mark.parametrize("content", [b"", b"[]", b'{"entries": {"backup.daily": 5}}', b"\xff"])
def test_a_damaged_file_is_one_that_knows_nothing(state: Path, content: bytes) -> None:
    (state / "schedule.json").write_bytes(content)
    assert ask(state, DUE + timedelta(hours=1)) is None
    assert ask(state, DUE + DAY) == DUE + DAY


def test_forgotten(state: Path) -> None:
    forget(state)
    assert asked_since(state) == {}
