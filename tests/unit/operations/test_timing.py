"""A verification is measured phase by phase, and the next one is foretold from it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fsbackup_tui.domain.estimate import MeasuredRun, Work, parse_run, phases_to
from fsbackup_tui.domain.events import Event, Log, Progress, Remaining
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.timing import RESTORE, Timing

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
PLANNED = phases_to(Trust.PROVEN, restorable=True)
WORK = Work(100, 400)


class Stage:
    """A verification with a clock of its own."""

    def __init__(self, *runs: MeasuredRun, parts: dict[str, Work] | None = None) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.timing = Timing(
            self.events.append,
            parts or {"db": WORK},
            PLANNED,
            runs,
            now=lambda: self.now,
        )

    def phase(self, name: str, seconds: float, source: str = "db") -> None:
        self.timing.enter(name, source)
        self.now += seconds

    def progress(self, done: float, total: float) -> None:
        self.timing.report(Progress(done, total))

    def loading(self, seconds: float, data: float, index: float) -> None:
        """Time passes in a restore; half of it for the rows, half for the indexes."""
        self.now += seconds
        done = {
            "definitions": (0.0, 0.0, 0.0),
            "data": (data, 60.0, seconds / 2),
            "index": (index, 40.0, seconds / 2),
            "constraints": (0.0, 0.0, 0.0),
        }
        self.timing.report(Progress(data + index, 100.0, work=done))

    def told(self) -> list[Remaining]:
        return [event for event in self.events if isinstance(event, Remaining)]

    def whole(self) -> None:
        """A run of 40 s."""
        self.phase("sealed", 2)
        self.phase("readable", 4)
        self.phase("start", 1)
        self.timing.at_place("own 17")
        self.phase("prepare", 1)
        self.phase(RESTORE, 1)
        self.loading(20, 60, 40)
        self.now += 2
        self.phase("compare", 5)
        self.phase("checks", 3)
        self.phase("remove", 1)
        self.timing.leave()


def measured(stage: Stage) -> MeasuredRun:
    reading = parse_run(stage.timing.document(["sealed", "readable"]), START)
    trial = parse_run(stage.timing.document(), START)
    return MeasuredRun(START, trial.work, {**reading.seconds, **trial.seconds}, trial.place)


def test_every_second_belongs_to_a_phase() -> None:
    stage = Stage()
    stage.whole()
    run = measured(stage)
    assert run.total == pytest.approx(40.0)
    assert run.place == "own 17"
    assert run.seconds["data"] == pytest.approx(10.0)
    assert run.seconds["index"] == pytest.approx(10.0)
    assert run.seconds["account"] == pytest.approx(3.0)
    assert set(run.seconds) == set(PLANNED)


def test_the_first_run_foretells_nothing() -> None:
    stage = Stage()
    stage.whole()
    assert stage.told() == []


def test_the_second_is_foretold_at_every_step() -> None:
    first = Stage()
    first.whole()
    second = Stage(measured(first))
    second.phase("sealed", 1)
    second.progress(50, 100)
    told = second.told()[-1]
    assert told.seconds == pytest.approx(39.0, abs=0.2)
    assert told.low < 39 < told.high
    third = Stage(measured(first))
    third.whole()
    seconds = [event.seconds or 0.0 for event in third.told()]
    assert seconds[0] == pytest.approx(40.0, abs=0.2)
    assert seconds == sorted(seconds, reverse=True)


def test_half_a_restore_is_half_foretold() -> None:
    first = Stage()
    first.whole()
    second = Stage(measured(first))
    for name, seconds in (("sealed", 2), ("readable", 4), ("start", 1), ("prepare", 1)):
        second.phase(name, seconds)
        if name == "start":
            second.timing.at_place("own 17")
    second.phase(RESTORE, 1)
    second.loading(10, 60, 0)
    told = second.told()[-1].seconds
    assert told is not None
    assert told == pytest.approx(10 + 3 + 5 + 3 + 1, rel=0.1)


def test_another_place_is_not_foretold_from_this_one() -> None:
    first = Stage()
    first.whole()
    second = Stage(measured(first))
    second.phase("sealed", 1)
    second.timing.at_place("server 17")
    assert second.told()[-1].seconds is None
    before = len(second.told())
    second.phase("prepare", 1)
    assert len(second.told()) == before


def test_two_parts_share_each_phase_by_their_sizes() -> None:
    parts = {"db": Work(75, 300), "logs": Work(25, 100)}
    first = Stage(parts=parts)
    first.phase("sealed", 3, "db")
    first.phase("sealed", 1, "logs")
    first.timing.leave()
    run = parse_run(first.timing.document(["sealed"]), START)
    assert run.seconds == {"sealed": 4.0}
    assert run.work == Work(100, 400)
    stage = Stage(parts=parts)
    stage.timing = Timing(stage.events.append, parts, ["sealed"], [run], now=lambda: stage.now)
    stage.phase("sealed", 3, "db")
    stage.phase("sealed", 0, "logs")
    assert stage.told()[-1].seconds == pytest.approx(1.0, abs=0.05)


def test_everything_is_passed_on() -> None:
    stage = Stage()
    stage.timing.report(Log("a word"))
    stage.progress(1, 2)
    assert stage.events == [Log("a word"), Progress(1, 2)]


def test_a_loss_of_breath_is_told_at_most_once_a_second() -> None:
    first = Stage()
    first.whole()
    second = Stage(measured(first))
    second.phase("sealed", 0)
    for _ in range(50):
        second.now += 0.02
        second.progress(1, 100)
    assert len(second.told()) <= 3
