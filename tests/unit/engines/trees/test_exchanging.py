"""An exchange of two directories, killed between its renames, is always brought to its end."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from fsbackup_tui.engines.trees import exchanging, renaming
from fsbackup_tui.engines.trees.exchanging import Exchange, run_exchange
from fsbackup_tui.engines.trees.renaming import CannotExchange


class Killed(BaseException):
    """The process is dead here."""


def trees(tmp_path: Path) -> Exchange:
    """Return what lets ``new`` take the place of ``old``, both with a file that tells them."""
    for name in ("storage", "storage.restore-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    return Exchange(
        tmp_path / "storage",
        tmp_path / "storage.restore-x",
        tmp_path / "storage.before-x",
        (tmp_path / "storage").stat().st_ino,
        (tmp_path / "storage.restore-x").stat().st_ino,
    )


def told(tmp_path: Path) -> dict[str, str]:
    return {path.name: (path / "who").read_text() for path in tmp_path.iterdir()}


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: object) -> None:
        raise CannotExchange

    monkeypatch.setattr(exchanging, "exchange", refuse)


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_it_ends_whole_wherever_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool, dies_at: int
) -> None:
    wanted = trees(tmp_path)
    if not atomic:
        without_exchange(monkeypatch)
    steps = 0

    def dying(do: object) -> object:
        def step(*given: object) -> None:
            nonlocal steps
            if steps == dies_at:
                raise Killed
            steps += 1
            do(*given)  # type: ignore[operator]

        return step

    with monkeypatch.context() as patched:
        if atomic:
            patched.setattr(exchanging, "exchange", dying(renaming.exchange))
        patched.setattr(exchanging, "rename_new", dying(renaming.rename_new))
        with suppress(Killed):
            run_exchange(wanted)
    expected = {
        (True, 0): "before",
        (True, 1): "exchanged",
        (False, 0): "before",
        (False, 1): "aside",
    }
    assert wanted.standing() == expected.get((atomic, dies_at), "after")
    # At every moment both trees are there, whole; with an exchange one is always live.
    assert sorted(told(tmp_path).values()) == ["storage", "storage.restore-x"]
    assert not atomic or (tmp_path / "storage").is_dir()
    run_exchange(wanted)
    run_exchange(wanted)
    assert told(tmp_path) == {"storage": "storage.restore-x", "storage.before-x": "storage"}
    back = Exchange(
        wanted.root,
        wanted.kept,
        tmp_path / "storage.after-x",
        wanted.coming_inode,
        wanted.live_inode,
    )
    done = run_exchange(back)
    assert done.atomic is atomic
    assert (done.gap_seconds == 0.0) is atomic
    assert told(tmp_path) == {"storage": "storage", "storage.after-x": "storage.restore-x"}


def test_what_is_gone_is_only_named(tmp_path: Path) -> None:
    wanted = trees(tmp_path)
    (tmp_path / "storage" / "who").unlink()
    (tmp_path / "storage").rmdir()
    nothing = Exchange(wanted.root, wanted.coming, wanted.kept, 0, wanted.coming_inode)
    assert run_exchange(nothing).atomic
    assert nothing.standing() == "after"
    assert told(tmp_path) == {"storage": "storage.restore-x"}


def test_a_name_that_somebody_has_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = trees(tmp_path)
    wanted.kept.mkdir()
    (wanted.kept / "who").write_text("another's")
    assert wanted.standing() == "unknown"
    without_exchange(monkeypatch)
    before = told(tmp_path)
    assert run_exchange(wanted).atomic
    assert told(tmp_path) == before


def test_renaming_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for supported in (True, False):
            if not supported:
                monkeypatch.setattr(renaming, "_renameat2", lambda: None)
                with pytest.raises(CannotExchange):
                    renaming.exchange(directory, b"one", directory, b"two")
                assert not renaming.can_exchange(directory)
            (tmp_path / "one").write_text("one")
            (tmp_path / "two").write_text("two")
            with pytest.raises(FileExistsError):
                renaming.rename_new(directory, b"one", directory, b"two")
            assert (tmp_path / "two").read_text() == "two"
            renaming.rename_new(directory, b"one", directory, b"three")
            assert (tmp_path / "three").read_text() == "one"
            assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "two"]
            (tmp_path / "three").unlink()
    finally:
        os.close(directory)
