from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from fsbackup_tui.demo.place import MARKER, take_place
from fsbackup_tui.domain.errors import LockHeld, UsageError


def test_temporary_place_is_private_and_goes_when_closed() -> None:
    place = take_place(None, keep=False)
    (place.root / "site").mkdir()
    assert place.root.stat().st_mode & 0o777 == 0o700
    place.close()
    assert not place.root.exists()


def test_kept_temporary_place_stays() -> None:
    place = take_place(None, keep=True)
    place.close()
    try:
        assert [path.name for path in place.root.iterdir()] == [MARKER]
    finally:
        (place.root / MARKER).unlink()
        place.root.rmdir()


def test_named_directory_is_made_and_stays(tmp_path: Path) -> None:
    place = take_place(tmp_path / "a" / "demo", keep=False)
    place.close()
    assert place.kept
    assert (tmp_path / "a" / "demo" / MARKER).exists()


def test_a_directory_with_something_else_in_it_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"DIRECTORY NOT EMPTY.*thesis\.tex") as refusal:
        take_place(tmp_path, keep=False)
    assert refusal.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_earlier_demo_is_replaced_but_nothing_else_in_its_directory(tmp_path: Path) -> None:
    first = take_place(tmp_path, keep=False)
    (first.repository / "points").mkdir(parents=True)
    first.config.write_text("site: old")
    first.close()
    (tmp_path / "my-notes.txt").write_text("what I tried")
    second = take_place(tmp_path, keep=False)
    second.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "my-notes.txt"]


def test_a_directory_in_use_by_another_demo_is_refused(tmp_path: Path) -> None:
    first = take_place(tmp_path, keep=False)
    try:
        with pytest.raises(LockHeld, match="A DEMO RUNS THERE") as refusal:
            take_place(tmp_path, keep=False)
        assert refusal.value.exit_code == 3
    finally:
        first.close()


def test_a_file_in_the_place_of_the_directory_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="NO ROOM FOR THE DEMO"):
        take_place(tmp_path / "file", keep=False)


@pytest.mark.parametrize(("kept", "stays"), [(False, False), (True, True)])
def test_what_a_killed_demo_left_is_swept_unless_it_was_to_be_kept(
    kept: bool, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "fsbackup-demo-killed"
    left.mkdir()
    (left / MARKER).write_text(json.dumps({"format": 1, "kept": kept, "pid": os.getpid()}))
    running = take_place(None, keep=False)
    other = take_place(None, keep=False)
    assert left.exists() is stays
    assert running.root.exists(), "a running demo's directory is no leftover"
    running.close()
    other.close()
