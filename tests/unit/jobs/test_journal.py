"""The journal: what is written is read back, torn lines and full disks included."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsbackup_tui.domain.errors import Problem, SafetyRefusal
from fsbackup_tui.domain.events import (
    EVENT_TYPES,
    CommandStarted,
    Event,
    JobFinished,
    JobStarted,
    Log,
    Progress,
    Remaining,
    StageFinished,
    StageStarted,
    TableDone,
    Warned,
)
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.jobs.journal import JournalTail, JournalWriter, parse_line
from fsbackup_tui.jobs.layout import JOURNAL, RESERVE

NOW = datetime(2026, 11, 22, 2, 0, 0, 123456, tzinfo=UTC)
ALL_EVENTS: tuple[Event, ...] = (
    JobStarted("backup", "shop", 4242, 17.5, "0.1.0", ("backup",)),
    StageStarted("backup"),
    CommandStarted(("pg_dump", "-Fd", "naïve table"), 4243, 18.25),
    Progress(1.0, 2.0, "bytes", 'public."odd"', 0.5, 2.0, ("public.a", "public.b")),
    Remaining(90.0, 80.5, 120.0),
    TableDone("public.a", 5, 4096, 0.25),
    Log("a line"),
    Warned("careful"),
    StageFinished("backup", "failed", 1.5, Problem("disk-full", "DISK FULL.", "w", "f", 1)),
    JobFinished("failed", {"ok": False, "bytes": 3}, Problem("failed", "FAILED.")),
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def writer(directory: Path, clock: Clock | None = None, **more: Redactor) -> JournalWriter:
    return JournalWriter(
        directory, more.get("redactor", Redactor()), now=lambda: NOW, clock=clock or Clock()
    )


def test_every_event_comes_back_as_it_was(tmp_path: Path) -> None:
    assert {type(event) for event in ALL_EVENTS} == set(EVENT_TYPES.values())
    journal = writer(tmp_path)
    for event in ALL_EVENTS:
        journal.write(event)
    journal.close()

    lines = JournalTail(tmp_path / JOURNAL).read_new()

    assert [line.event for line in lines] == list(ALL_EVENTS)
    assert [line.seq for line in lines] == list(range(1, len(ALL_EVENTS) + 1))
    assert {line.at for line in lines} == {NOW.replace(microsecond=123000)}


def test_a_line_looks_as_the_design_says(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.write(Log("naïve"))
    journal.close()

    text = (tmp_path / JOURNAL).read_text(encoding="utf-8")

    assert json.loads(text) == {
        "seq": 1,
        "at": "2026-11-22T02:00:00.123Z",
        "event": "log",
        "text": "naïve",
    }
    assert text.endswith("\n")
    assert stat.S_IMODE((tmp_path / JOURNAL).stat().st_mode) == 0o600


def test_progress_is_written_once_a_second_and_the_last_of_it_always(tmp_path: Path) -> None:
    clock = Clock()
    journal = writer(tmp_path, clock)
    tail = JournalTail(tmp_path / JOURNAL)

    def done() -> list[float]:
        return [line.event.done for line in tail.read_new() if isinstance(line.event, Progress)]

    journal.write(StageStarted("backup"))
    for number in range(10):
        journal.write(Progress(number))
    assert done() == [0]
    clock.seconds += 0.9
    journal.tick()
    assert done() == []
    clock.seconds += 0.1
    journal.tick()
    assert done() == [9]
    journal.write(Progress(10))
    journal.write(Progress(11))
    journal.write(StageFinished("backup"))
    journal.close()
    assert done() == [11]


def test_secrets_are_replaced_wherever_they_stand(tmp_path: Path) -> None:
    redactor = Redactor([Secret('pa"ss\\word'), Secret("hunter2")])
    journal = writer(tmp_path, redactor=redactor)
    journal.write(CommandStarted(("psql", 'postgres://u:pa"ss\\word@h/d', "hunter2"), 1))
    journal.write(StageFinished("s", "failed", 1.0, Problem("k", "hunter2", "is hunter2", "")))
    journal.write(JobFinished("ok", {"ok": True, "list": [{"deep": "x hunter2 y"}]}))
    journal.write(Log("postgresql://ana:unheard-of@db1/shop"))
    journal.close()

    raw = (tmp_path / JOURNAL).read_text(encoding="utf-8")

    assert "hunter2" not in raw
    assert "word" not in raw
    assert "unheard-of" not in raw
    last = JournalTail(tmp_path / JOURNAL).read_new()[2].event
    assert isinstance(last, JobFinished)
    assert last.result == {"ok": True, "list": [{"deep": "x *** y"}]}


def test_a_journal_is_begun_once(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.write(Log("first"))
    journal.close()
    with pytest.raises(SafetyRefusal):
        writer(tmp_path)


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.write(Log("one"))
    journal.write(Log("two"))
    journal.close()
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    tail = JournalTail(path)

    assert [line.seq for line in tail.read_new()] == [1]
    assert tail.read_new() == []
    with path.open("ab") as file:
        file.write(whole[-7:])
    assert [line.event for line in tail.read_new()] == [Log("two")]


def test_a_journal_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    tail = JournalTail(tmp_path / JOURNAL)
    assert tail.read_new() == []
    journal = writer(tmp_path)
    journal.write(Log("one"))
    journal.close()
    assert [line.event for line in tail.read_new()] == [Log("one")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\0\0",
        b'{"seq": 1',
        b"[1, 2]",
        b'"text"',
        b'{"event": "log"}',
        b'{"seq": "x", "at": "2026-11-22T02:00:00Z", "event": "log"}',
        b'{"seq": 1, "at": "yesterday", "event": "log"}',
        b'{"seq": 1, "at": "2026-11-22T02:00:00Z", "event": "of-a-later-version", "a": 1}',
    ],
)
def test_lines_that_are_no_events_are_ignored(raw: bytes) -> None:
    assert parse_line(raw) is None


def test_fields_of_a_later_version_are_ignored() -> None:
    line = parse_line(
        b'{"seq": 1, "at": "2026-11-22T02:00:00Z", "event": "log", "text": "a", "new": [1]}'
    )
    assert line is not None
    assert line.event == Log("a")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(min_value=1, max_value=60), max_size=60))
def test_read_in_any_pieces_the_lines_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("job")
    journal = writer(directory)
    for event in ALL_EVENTS:
        journal.write(event)
    journal.close()
    data = (directory / JOURNAL).read_bytes()
    grown = directory / "grown.jsonl"
    tail = JournalTail(grown)
    events: list[Event] = []
    start = 0
    with grown.open("wb", buffering=0) as file:
        for length in [*cuts, len(data)]:
            file.write(data[start : start + length])
            start += length
            events.extend(line.event for line in tail.read_new())
    assert events == list(ALL_EVENTS)


class FullDisk:
    """Stands for ``os.write`` on a disk with so many bytes left; everything else is real."""

    def __init__(self, write: Callable[[int, memoryview], int]) -> None:
        self.left = 10**9
        self._write = write

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.left])
        self.left -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    disk = FullDisk(os.write)
    monkeypatch.setattr("fsbackup_tui.jobs.journal.os.write", disk)
    return disk


def test_a_full_disk_stops_nothing_and_the_journal_becomes_whole_again(
    tmp_path: Path, disk: FullDisk
) -> None:
    clock = Clock()
    said: list[str] = []
    journal = JournalWriter(tmp_path, Redactor(), clock=clock, complain=said.append)
    journal.write(StageStarted("backup"))
    disk.left = 30
    journal.write(Log("written in part, then the disk is full"))
    journal.write(TableDone("public.users", 5))
    clock.seconds += 90
    disk.left = 10**9
    journal.tick()
    journal.write(JobFinished("ok"))
    journal.close()

    events = [line.event for line in JournalTail(tmp_path / JOURNAL).read_new()]

    assert events == [
        StageStarted("backup"),
        Log("written in part, then the disk is full"),
        TableDone("public.users", 5),
        Warned("The journal could not be written for 90 s; it is whole again."),
        JobFinished("ok"),
    ]
    assert "No space left on device" in said[0]
    assert "the work goes on" in said[0]
    assert len(said) == 2


def test_the_space_set_aside_is_given_up_for_the_last_words(tmp_path: Path, disk: FullDisk) -> None:
    journal = writer(tmp_path)
    reserve = tmp_path / RESERVE
    assert reserve.stat().st_size == 65536
    disk.left = 0
    real_unlink = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        disk.left += path.stat().st_size if path.exists() else 0
        real_unlink(path, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        journal.write(JobFinished("ok", {"ok": True}))
    assert journal.drain(0)
    journal.close()

    assert [line.event for line in JournalTail(tmp_path / JOURNAL).read_new()] == [
        JobFinished("ok", {"ok": True})
    ]
    assert not reserve.exists()


def test_lines_beyond_what_is_kept_back_are_counted_as_lost(tmp_path: Path, disk: FullDisk) -> None:
    journal = writer(tmp_path)
    disk.left = 0
    for number in range(2010):
        journal.write(Log(str(number)))
    assert not journal.drain(0)
    disk.left = 10**9
    assert journal.drain(0)
    journal.close()

    events = [line.event for line in JournalTail(tmp_path / JOURNAL).read_new()]

    assert events[0] == Log("10")
    assert events[-1] == Warned(
        "The journal could not be written for 0 s; 10 lines of it are lost."
    )
