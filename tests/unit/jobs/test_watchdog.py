"""The watchdog: what counts as progress, and when it warns again."""

from __future__ import annotations

from fsbackup_tui.domain.events import Log, Progress, StageStarted, TableDone, Warned
from fsbackup_tui.jobs.watchdog import Watchdog


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_it_warns_once_and_again_when_the_silence_has_doubled() -> None:
    clock = Clock()
    dog = Watchdog(120, clock=clock)
    warned: list[float] = []
    for second in range(0, 1000, 5):
        clock.seconds = second
        if dog.check() is not None:
            warned.append(second)
    assert warned == [120, 240, 480, 960]


def test_it_says_what_was_done_and_said_last() -> None:
    clock = Clock()
    dog = Watchdog(120, clock=clock)
    dog.saw(StageStarted("backup"))
    dog.saw(Progress(5, 10, "bytes", "public.videos"))
    dog.saw(Log("server: waits for Lock relation (pid 77)"))
    clock.seconds = 180
    assert dog.check() == (
        "No progress for 3 m in stage backup; last: public.videos; "
        "server: waits for Lock relation (pid 77)."
    )


def test_the_same_progress_again_and_words_are_no_progress() -> None:
    clock = Clock()
    dog = Watchdog(120, clock=clock)
    dog.saw(Progress(5, 10))
    for second in range(0, 120, 10):
        clock.seconds = second
        dog.saw(Progress(5, 10, rate=0.0))
        dog.saw(Log("still waiting"))
        dog.saw(Warned("hm"))
    clock.seconds = 120
    assert dog.check() is not None


def test_any_movement_starts_the_time_anew() -> None:
    clock = Clock()
    dog = Watchdog(120, clock=clock)
    for step, event in enumerate((Progress(1), TableDone("a"), StageStarted("next"), Progress(2))):
        clock.seconds = (step + 1) * 110
        assert dog.check() is None
        dog.saw(event)
    clock.seconds += 119
    assert dog.check() is None
    clock.seconds += 1
    assert dog.check() is not None
