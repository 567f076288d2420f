"""Putting entries into a live tree and taking them back, whoever is killed or comes between."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.engines.trees import placing, renaming
from fsbackup_tui.engines.trees.opened import LinkInTheWay, OpenTree
from fsbackup_tui.engines.trees.placing import Placing, Trees, place_all, take_back_all
from fsbackup_tui.engines.trees.renaming import CannotExchange


class Killed(BaseException):
    """The process is dead here."""


def snapshot(root: Path) -> dict[str, str]:
    """Return every entry below a directory, with what it holds."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "directory" if path.is_dir() else path.read_text()
    return found


def item(beside: Path, staged: str, path: str, aside: str = "") -> Placing:
    facts = (beside / staged).lstat()
    link = (beside / staged).is_symlink()
    directory = (beside / staged).is_dir() and not link
    content = b"" if link or directory else (beside / staged).read_bytes()
    return Placing(
        path.encode(),
        "link" if link else "directory" if directory else "file",
        staged.encode(),
        facts.st_ino,
        len(content),
        facts.st_mtime_ns,
        "" if link or directory else hashlib.sha256(content).hexdigest(),
        os.fsencode((beside / staged).readlink()) if link else b"",
        aside.encode(),
        0o755,
    )


def make(tmp_path: Path) -> tuple[Path, list[Placing]]:
    """Make a live tree, and beside it what is to be put into it."""
    for name in ("live/sub", "beside", "aside"):
        (tmp_path / name).mkdir(parents=True)
    live, beside = tmp_path / "live", tmp_path / "beside"
    (live / "mine").write_text("live's")
    (live / "sub" / "old").write_text("live's old")
    (beside / "new").mkdir()
    for name in ("file", "inside", "old", "mine"):
        (beside / name).write_text(f"the point's {name}")
    (beside / "link").symlink_to("elsewhere")
    return live, [
        item(beside, "new", "made"),
        item(beside, "inside", "made/inside"),
        item(beside, "file", "sub/file"),
        item(beside, "link", "link"),
        item(beside, "old", "sub/old", "old"),
        item(beside, "mine", "mine"),
    ]


def run(tmp_path: Path, items: list[Placing], *, back: bool = False) -> dict[str, str]:
    """Put in, or take back; returns how each entry went."""
    told: dict[str, str] = {}
    with (
        OpenTree(tmp_path / "live") as live,
        OpenTree(tmp_path / "beside") as beside,
        OpenTree(tmp_path / "aside") as aside,
    ):
        trees = Trees(live, beside, aside, lambda one, how: told.update({one.path.decode(): how}))
        if back:
            take_back_all(trees, reversed(items))
        else:
            place_all(trees, items)
    return told


@pytest.fixture(params=["exchange", "links"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the system can: an exchange of names, or only links and renames."""
    if request.param == "links":
        monkeypatch.setattr(renaming, "_renameat2", lambda: None)
    return str(request.param)


def test_what_is_put_in_is_taken_back_exactly(tmp_path: Path, system: str) -> None:
    live, items = make(tmp_path)
    before = snapshot(live)
    times = [path.stat().st_mtime_ns for path in (live / "mine", live / "sub/old")]
    told = run(tmp_path, items)
    assert told == {
        "made": "placed",
        "made/inside": "placed",
        "sub/file": "placed",
        "link": "placed",
        "sub/old": "replaced",
        "mine": "taken",
    }
    assert snapshot(live) == {
        "link": "-> elsewhere",
        "made": "directory",
        "made/inside": "the point's inside",
        "mine": "live's",
        "sub": "directory",
        "sub/file": "the point's file",
        "sub/old": "the point's old",
    }
    assert (live / "made").stat().st_mtime_ns == items[0].modified_ns
    assert snapshot(tmp_path / "aside") == {"old": "live's old"}
    told = run(tmp_path, items, back=True)
    assert told["sub/old"] == "restored"
    assert {told[name] for name in ("made", "made/inside", "sub/file", "link")} == {"removed"}
    assert snapshot(live) == before
    assert times == [path.stat().st_mtime_ns for path in (live / "mine", live / "sub/old")]
    again = run(tmp_path, items, back=True)
    assert set(again.values()) <= {"gone", "stays", "never"}
    assert snapshot(live) == before


def test_what_somebody_wrote_since_stays(tmp_path: Path, system: str) -> None:
    live, items = make(tmp_path)
    run(tmp_path, items)
    (live / "made/inside").write_text("a user's")
    (live / "made/another").write_text("a user's, too")
    facts = (live / "sub/old").stat()
    (live / "sub/old").write_text("THE POINT'S OLD")
    os.utime(live / "sub/old", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (live / "sub/file").unlink()
    (live / "link").unlink()
    (live / "link").symlink_to("another place")
    told = run(tmp_path, items, back=True)
    assert told == {
        "made": "stays",
        "made/inside": "stays",
        "sub/file": "gone",
        "link": "stays",
        "sub/old": "stays",
        "mine": "never",
    }
    assert (live / "made/inside").read_text() == "a user's"
    assert (live / "sub/old").read_text() == "THE POINT'S OLD"
    assert snapshot(tmp_path / "aside") == {"old": "live's old"}


def test_killed_at_any_step_it_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    names = ("rename_new", "exchange")
    real = {name: getattr(placing, name) for name in names}
    whole = False
    for dies_at in range(20):
        directory = tmp_path / str(dies_at)
        directory.mkdir()
        live, items = make(directory)
        before = snapshot(live)
        steps = 0

        def dying(name: str, last: int = dies_at) -> object:
            def step(*given: int | bytes) -> None:
                nonlocal steps
                if steps == last:
                    raise Killed
                steps += 1
                real[name](*given)

            return step

        whole = True
        with monkeypatch.context() as patched:
            for name in names:
                patched.setattr(placing, name, dying(name))
            try:
                run(directory, items)
            except Killed:
                whole = False
        # Whatever is there is wholly live's or wholly the point's.
        content = snapshot(live)
        assert content["sub/old"] in ("live's old", "the point's old")
        assert content["mine"] == "live's"
        run(directory, items, back=True)
        assert snapshot(live) == before, dies_at
        if whole:
            break
    assert whole


def test_a_link_in_the_way_leads_nowhere(tmp_path: Path) -> None:
    live, items = make(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (live / "sub/old").unlink()
    (live / "sub").rmdir()
    (live / "sub").symlink_to(outside)
    told = run(tmp_path, items)
    assert told["sub/file"] == told["sub/old"] == "blocked"
    assert snapshot(outside) == {}
    (outside / "file").write_text("not ours")
    fake = replace(items[2], inode=(outside / "file").stat().st_ino)
    assert run(tmp_path, [fake], back=True) == {"sub/file": "stays"}
    assert snapshot(outside) == {"file": "not ours"}
    with OpenTree(live) as tree:
        for path in (b"sub/file", b"../outside/file", b"made/../../outside/file"):
            with pytest.raises((LinkInTheWay, FileNotFoundError)):
                tree.open_file(path)


def test_a_directory_that_came_instead_is_not_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, items = make(tmp_path)
    (live / "sub/old").unlink()
    (live / "sub/old").mkdir()
    (live / "sub/old/a user's").write_text("here")
    before = snapshot(live)
    assert run(tmp_path, [items[4]]) == {"sub/old": "blocked"}
    assert snapshot(live) == before

    def refuse(*_given: object) -> None:
        raise CannotExchange

    monkeypatch.setattr(placing, "exchange", refuse)
    assert run(tmp_path, [items[4]]) == {"sub/old": "blocked"}
    assert snapshot(live) == before
