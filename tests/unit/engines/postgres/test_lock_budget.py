"""How many sessions may lock the tables beside the dump."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.locking import LockBudget


def budget(tables: int, *, size: int = 6400, dump_jobs: int = 1) -> LockBudget:
    return LockBudget(
        size=size,
        objects=size,
        holders=2 * size,
        tables=tables,
        dumped_objects=tables,
        dump_jobs=dump_jobs,
    )


@pytest.mark.parametrize(
    ("tables", "dump_jobs", "wanted", "sessions"),
    [
        (0, 1, 2, 2),
        (10, 4, 2, 2),
        (10, 4, 0, 0),
        (3000, 4, 4, 4),  # 3000 each: pg_dump, its workers, the holder, the other counters
        (4200, 4, 4, 1),
        (4200, 1, 4, 4),
        (6400, 1, 2, 1),
        (6400, 4, 2, 0),
        (6401, 1, 2, 0),
        (12000, 1, 2, 0),
    ],
)
def test_counting_sessions(tables: int, dump_jobs: int, wanted: int, sessions: int) -> None:
    assert budget(tables, dump_jobs=dump_jobs).counting_sessions(wanted) == sessions


def test_a_parallel_dump_needs_twice_the_holders() -> None:
    assert budget(6400).parallel_dump_fits
    assert not budget(6401).parallel_dump_fits


def test_the_note_names_the_setting() -> None:
    assert "max_locks_per_transaction" in budget(12000).note
    assert "12000 tables" in budget(12000).note
