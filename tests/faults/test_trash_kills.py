"""kill -9 at every step on the way into the trash, out of it, and away: the point stays whole."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import read_records, scan_sequences, write_record
from fsbackup_tui.repository.trash import (
    Who,
    free,
    list_trash,
    move_to_trash,
    settle_trash,
    take_back,
)
from tests.support.points import make_point, make_repository, verify_record

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ME = Who("ana", "db1", "job-9", NOW)
_STEPS = (
    "mkdir",
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "fsync",
)


def _killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a child that is killed before its ``step``-th change; False: it got through.

    Every call by which a directory changes is one, before it happens.
    """
    child = os.fork()
    if child == 0:
        left = step
        for name in _STEPS:
            real = getattr(os, name)

            def counted(*args: object, _real: Callable[..., object] = real, **kw: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return _real(*args, **kw)

            setattr(os, name, counted)
        code = 3
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the work itself failed"
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def _content(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


class Stage:
    """One point with two records, and what it holds."""

    def __init__(self, tmp_path: Path, number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        self.repository: Repository = make_repository(directory)
        self.point = make_point(self.repository).id
        make_point(self.repository, created=NOW)
        verify_record(self.repository, self.point, "sealed")
        write_record(
            self.repository, self.point, "unpinned", {"was": "r"}, now=NOW, job="-", operator="a"
        )
        self.content = _content(self.repository.point_directory(self.point))
        self.sequences = scan_sequences(self.repository)

    def move(self) -> None:
        move_to_trash(self.repository, self.point, "old", ME, grace=timedelta(days=7))

    def back(self) -> None:
        take_back(self.repository, self.point, ME)

    def free(self) -> None:
        free(self.repository, [self.point], ME)

    def check_whole_once(self) -> bool:
        """Look at the point before anything was mended; returns whether it stands."""
        stands = self.repository.point_directory(self.point)
        trashed = self.repository.trash / self.point / "point"
        assert stands.exists() != trashed.exists()
        assert _content(stands if stands.exists() else trashed) == self.content
        assert scan_sequences(self.repository) == self.sequences
        return stands.exists()

    def check_settled(self) -> bool:
        """Let the next run finish it, and look: with its records, in one place."""
        settle_trash(self.repository, ME)
        stands = self.check_whole_once()
        entry = self.repository.trash / self.point
        records = self.repository.records / self.point
        here, there = (records, entry / "records") if stands else (entry / "records", records)
        assert len(list(here.glob("*.json"))) == 2
        assert not there.exists()
        if stands:
            assert not entry.exists()
            assert all(r.counts for r in read_records(self.repository, self.point))
        else:
            assert [each.id for each in list_trash(self.repository)] == [self.point]
            assert list_trash(self.repository)[0].why == "old"
        assert settle_trash(self.repository, ME) == []
        return stands


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Stage]:
    return lambda number: Stage(tmp_path, number)


def test_on_the_way_into_the_trash(make: Callable[[int], Stage]) -> None:
    outcomes = set()
    for step in range(60):
        stage = make(step)
        killed = _killed_at(step, stage.move)
        stage.check_whole_once()
        stands = stage.check_settled()
        outcomes.add(stands)
        if stands:
            # The next run removes it then, as if nothing had been.
            stage.move()
            assert stage.check_settled() is False
        if not killed:
            break
    else:
        pytest.fail("it never got through")
    assert outcomes == {True, False}
    assert step > 8


def test_on_the_way_back(make: Callable[[int], Stage]) -> None:
    outcomes = set()
    for step in range(60):
        stage = make(step)
        stage.move()
        killed = _killed_at(step, stage.back)
        stage.check_whole_once()
        stands = stage.check_settled()
        outcomes.add(stands)
        if not stands:
            stage.back()
            assert stage.check_settled() is True
        if not killed:
            break
    else:
        pytest.fail("it never got through")
    assert outcomes == {True, False}


def test_while_its_space_is_freed_nothing_half_removed_is_seen(
    make: Callable[[int], Stage],
) -> None:
    seen = set()
    for step in range(80):
        stage = make(step)
        stage.move()
        killed = _killed_at(step, stage.free)
        visible = stage.repository.trash / stage.point
        if visible.exists():
            assert _content(visible / "point") == stage.content
        seen.add(visible.exists())
        settle_trash(stage.repository, ME)
        left = [path.name for path in stage.repository.trash.iterdir()]
        assert left == ([stage.point] if visible.exists() else [])
        if not killed:
            break
    else:
        pytest.fail("it never got through")
    assert seen == {True, False}
