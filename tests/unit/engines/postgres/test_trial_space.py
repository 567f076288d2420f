"""The disk of a trial server: what is said when it was filled."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import DiskFull, PostgresError
from fsbackup_tui.engines.postgres.trial_space import when_full

NOTHING_NEEDED = 0


@pytest.mark.parametrize("words", ["No space left on device", "Disk quota exceeded"])
def test_what_cleaned_up_behind_itself_still_tells_of_a_full_disk(
    tmp_path: Path, words: str
) -> None:
    said = f'running bootstrap script ... could not extend file "base/1/2658": {words}'
    error = when_full(tmp_path, NOTHING_NEEDED, PostgresError("initdb failed.", why=said))
    assert isinstance(error, DiskFull)
    assert "scratch: directory" in error.fix


def test_another_failure_with_room_enough_stays_what_it_was(tmp_path: Path) -> None:
    error = PostgresError("initdb failed.", why="invalid locale name")
    assert when_full(tmp_path, NOTHING_NEEDED, error) is error
