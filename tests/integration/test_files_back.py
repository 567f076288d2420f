"""Files of a point back into live: only what is missing, undone exactly, whatever comes between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import DiskFull, SafetyRefusal, UsageError
from fsbackup_tui.operations import files_beside, files_put_back, files_staging, pacing
from fsbackup_tui.operations.files_counting import PointCount, count_points
from fsbackup_tui.operations.site_requests import (
    DropTreeRequest,
    FilesBesideRequest,
    FilesCarryRequest,
    FilesCompareRequest,
    FilesExchangeRequest,
    FilesLookRequest,
    FilesPutBackRequest,
    FilesRollbackRequest,
    FilesTakeBackRequest,
    TreesRequest,
)
from fsbackup_tui.repository.files import SpaceGuard
from fsbackup_tui.repository.undo_lists import Heading, read_heading
from tests.support.file_sites import ODD, PART, FileSite, copy_tree, make_file_site, snapshot


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FileSite:
    """A site with a point of its whole tree; each test brings live back to it."""
    made = make_file_site(tmp_path_factory.mktemp("files"))
    os.link(made.root / "latest", made.root / "videos/newest", follow_symlinks=False)
    made.back_up()
    copy_tree(made.root, made.root.parent.parent / "kept")
    return made


@pytest.fixture
def files(made: FileSite) -> FileSite:
    """The site as it was when its point was taken."""
    for path in made.root.parent.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    copy_tree(made.root.parent.parent / "kept", made.root)
    shutil.rmtree(made.site.state / "trees", ignore_errors=True)
    assert snapshot(made.root, times=True) == made.before
    return made


async def test_what_is_missing_comes_back_and_goes_again(files: FileSite) -> None:
    live = files.root
    shutil.rmtree(live / "videos")
    shutil.rmtree(live / "empty")
    for name in ("faces/1.jpg", ODD, "latest", "sparse", "zero.jpg"):
        (live / name).unlink()
    (live / "faces/2.jpg").write_bytes(b"a user's newer face")
    (live / "new.jpg").write_bytes(b"came after the point")
    damaged = snapshot(live, times=True)

    look = await files.ask(FilesLookRequest(PART, files.point, touching=False))
    assert (look["missing"]["count"], look["wanted"]["count"]) == (8, 8)
    assert look["only_live"]["names"] == ["new.jpg"]
    assert look["newer"]["names"] == look["changed"]["names"] == ["faces/2.jpg"]
    assert "caf\\xe9 \\n\\t.jpg" in look["missing"]["names"]
    assert snapshot(live, times=True) == damaged

    done = await files.ask(FilesPutBackRequest(PART, files.point, tag="t1"))
    assert done["put_back"]["count"] == 8, done
    assert done["kept"]["names"] == ["faces/2.jpg"]
    after = snapshot(live, times=True)
    mine = ("faces/2.jpg", "new.jpg")
    assert {name: entry for name, entry in after.items() if name not in mine} == {
        name: entry for name, entry in files.before.items() if name not in mine
    }
    assert {name: after[name] for name in mine} == {name: damaged[name] for name in mine}
    assert files.beside == []
    assert (live / "videos/newest").lstat().st_ino == (live / "latest").lstat().st_ino
    assert (live / "sparse").stat().st_blocks * 512 < 300_000

    nothing = await files.ask(FilesPutBackRequest(PART, files.point, tag="t2"))
    assert (nothing["put_back"]["count"], nothing["undo"]) == (0, "")
    assert nothing["kept"]["names"] == ["faces/2.jpg"]

    (live / "videos/deep/er/clip.mp4").write_bytes(b"written since")
    back = await files.ask(FilesTakeBackRequest(PART, undo=done["undo"]))
    assert back["stays"]["names"] == ["videos/deep/er/clip.mp4"]
    assert back["removed"]["count"] == 7
    left = snapshot(live, times=True)
    kept = {"videos", "videos/deep", "videos/deep/er", "videos/deep/er/clip.mp4"}
    assert {name: entry for name, entry in left.items() if name not in kept} == damaged
    again = await files.ask(FilesTakeBackRequest(PART, undo=done["undo"]))
    assert again["removed"]["count"] == 0
    with pytest.raises(UsageError):
        await files.ask(FilesTakeBackRequest(PART, undo="t2"))


@pytest.mark.parametrize("conflict", ["keep", "newer", "both", "overwrite"])
async def test_named_files_come_back_as_the_policy_says(files: FileSite, conflict: str) -> None:
    live = files.root
    (live / "faces/1.jpg").unlink()
    (live / "faces/2.jpg").write_bytes(b"written later than the point's")
    (live / "faces/3.jpg").write_bytes(b"older than the point's")
    os.utime(live / "faces/3.jpg", ns=(1, 1))
    (live / "faces/4.jpg").unlink()
    (live / "faces/4.jpg").mkdir()
    shutil.rmtree(live / "videos")
    damaged = snapshot(live, times=True)
    request = FilesPutBackRequest(
        PART,
        files.point,
        patterns=("faces/*",),
        conflict=conflict,  # type: ignore[arg-type]
    )
    done = await files.ask(request)
    after = snapshot(live, times=True)
    point = files.before
    assert after["faces/1.jpg"] == point["faces/1.jpg"]
    assert after["faces/4.jpg"] == damaged["faces/4.jpg"]
    assert "videos" not in after
    takes = {"newer": ["faces/3.jpg"], "overwrite": ["faces/2.jpg", "faces/3.jpg"]}
    for name in ("faces/2.jpg", "faces/3.jpg"):
        taken = name in takes.get(conflict, [])
        assert after[name] == (point if taken else damaged)[name], name
        beside = f"{name}.from-{files.point}"
        assert after.get(beside) == (point[name] if conflict == "both" else None)
    assert done["replaced"]["names"] == takes.get(conflict, [])
    if done["kept_in"]:
        kept = snapshot(Path(done["kept_in"]), times=True)
        assert kept.pop("faces")[0] == "directory"
        assert kept == {name: damaged[name] for name in takes[conflict]}
        listed = await files.ask(TreesRequest(PART))
        assert [tree["name"] for tree in listed["trees"]] == [Path(done["kept_in"]).name]
    await files.ask(FilesTakeBackRequest(PART, undo=done["undo"]))
    assert snapshot(live, times=True) == damaged
    assert files.beside == []


async def test_a_tree_that_is_gone_comes_back_whole(files: FileSite) -> None:
    shutil.rmtree(files.root)
    done = await files.ask(FilesPutBackRequest(PART, files.point))
    assert snapshot(files.root, times=True) == files.before
    await files.ask(FilesTakeBackRequest(PART, undo=done["undo"]))
    assert not files.root.exists()
    assert files.beside == []


async def test_a_tree_beside_takes_lives_place_and_gives_it_back(files: FileSite) -> None:
    live = files.root
    shutil.rmtree(live / "videos")
    (live / "faces/2.jpg").write_bytes(b"a user's newer face")
    (live / "later").mkdir()
    (live / "later/new.jpg").write_bytes(b"came after the point")
    (live / "later/on/empty").mkdir(parents=True)
    (live / "later/on/empty").chmod(0o711)
    damaged = snapshot(live, times=True)
    beside = await files.ask(FilesBesideRequest(PART, files.point, tag="i1"))
    tree = Path(beside["tree"])
    assert tree == live.with_name("storage.restore-i1")
    assert snapshot(tree, times=True) == files.before
    assert snapshot(live, times=True) == damaged
    with pytest.raises(SafetyRefusal):
        await files.ask(FilesBesideRequest(PART, files.point, tag="i1"))

    at = {"tree": str(tree), "inode": beside["inode"]}
    compared = await files.ask(FilesCompareRequest(PART, files.point, **at))
    assert compared["only_tree"]["count"] == 3
    assert compared["only_live"]["names"] == ["later/new.jpg"]
    assert compared["newer"]["names"] == compared["changed"]["names"] == ["faces/2.jpg"]
    carried = await files.ask(FilesCarryRequest(PART, files.point, **at))
    assert carried["carried"]["names"] == ["faces/2.jpg", "later/new.jpg"]
    assert carried["directories"] == 1
    inode = live.stat().st_ino
    request = FilesExchangeRequest(PART, files.point, **at, live_inode=inode)
    done = await files.ask(request)
    assert done["atomic"]
    assert done["kept_as"] == str(live.with_name("storage.before-i1"))
    new = snapshot(live, times=True)
    assert new.keys() == files.before.keys() | damaged.keys()
    assert new["faces/2.jpg"] == damaged["faces/2.jpg"]
    assert snapshot(Path(done["kept_as"]), times=True) == damaged
    assert (await files.ask(request))["at"] == done["at"]

    (live / "since.jpg").write_bytes(b"written since")
    (live / "faces/5.jpg").write_bytes(b"written since, too")
    (live / "since/empty").mkdir(parents=True)
    way = {"kept_as": done["kept_as"], "kept_inode": done["kept_inode"]}
    seen = await files.ask(FilesRollbackRequest(PART, **way, preview=True))
    assert seen["written_since"]["names"] == ["faces/5.jpg", "since.jpg"]
    back = await files.ask(FilesRollbackRequest(PART, **way, carry=True))
    assert back["carried"]["names"] == ["faces/5.jpg", "since.jpg"]
    former = snapshot(live, times=True)
    assert (former.pop("since"), former.pop("since/empty")) == (
        damaged["later/on"],
        damaged["later/on"],
    )
    assert former.pop("since.jpg")[0] == b"written since"
    assert former.pop("faces/5.jpg")[0] == b"written since, too"
    assert former == {name: each for name, each in damaged.items() if name != "faces/5.jpg"}
    assert files.beside == [".storage.after-i1.fsbackup", "storage.after-i1"]


@pytest.mark.parametrize("when", ["before", "while"])
async def test_a_disk_that_fills_stops_it_and_it_is_taken_back(
    files: FileSite, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    shutil.rmtree(files.root / "videos")
    (files.root / "faces/2.jpg").write_bytes(b"a user's newer face")
    damaged = snapshot(files.root, times=True)
    full = False

    def check(_guard: SpaceGuard) -> int:
        if full:
            raise DiskFull("NOT ENOUGH SPACE")
        return 10**9

    def read(directory: Path) -> Heading:
        nonlocal full
        full = True  # everything lies beside, and the list is whole: it begins
        return read_heading(directory)

    monkeypatch.setattr(pacing, "_LOOK_EVERY", 2)
    monkeypatch.setattr(SpaceGuard, "check", check)
    monkeypatch.setattr(files_put_back, "read_heading", read)
    if when == "before":
        monkeypatch.setattr(files_staging, "free_bytes", lambda _path: 100)
    request = FilesPutBackRequest(PART, files.point, patterns=("**",), conflict="overwrite")
    with pytest.raises(DiskFull):
        await files.ask(request)
    assert full is (when == "while")
    assert snapshot(files.root, times=True) == damaged
    assert files.beside == []
    monkeypatch.setattr(files_beside, "free_bytes", lambda _path: 100)
    with pytest.raises(DiskFull):
        await files.ask(FilesBesideRequest(PART, files.point))
    assert files.beside == []


def put_link(tree: Path, target: Path | None = None) -> None:
    """Let a link stand in a tree's place; without a target, the tree stands there again."""
    moved = tree.with_name("moved")
    if target is not None:
        tree.rename(moved)
        tree.symlink_to(target)
    else:
        tree.unlink()
        moved.rename(tree)


async def test_trees_are_dropped_by_name_and_inode_and_no_link_is_followed(
    files: FileSite, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("not ours")
    beside = await files.ask(FilesBesideRequest(PART, files.point, tag="d"))
    tree = Path(beside["tree"])
    (tree / "door").symlink_to(victim)
    (tree / "videos/deep/door").symlink_to(victim / "file")
    foreign = tree.with_name("storage.restore-x")
    foreign.mkdir()
    (foreign / "mine").write_text("a person's own")
    with pytest.raises(UsageError, match="NO SUCH LEFTOVER"):
        await files.ask(DropTreeRequest(PART, name=foreign.name))
    with pytest.raises(SafetyRefusal, match="not what it was"):
        await files.ask(DropTreeRequest(PART, name=tree.name, inode=beside["inode"] + 1))
    put_link(tree, victim)
    listed = await files.ask(TreesRequest(PART))
    assert listed["trees"] == []
    with pytest.raises(UsageError):
        await files.ask(DropTreeRequest(PART, name=tree.name))
    put_link(tree)
    dropped = await files.ask(DropTreeRequest(PART, name=tree.name, inode=beside["inode"]))
    assert (dropped["dropped"], dropped["kind"]) == (tree.name, "restore")
    assert (victim / "file").read_text() == "not ours"
    assert files.beside == [foreign.name]


async def test_where_the_root_is_a_link_the_directory_behind_it_is_exchanged(
    files: FileSite,
) -> None:
    behind = files.root.rename(files.root.with_name("storage-v1"))
    files.root.symlink_to(behind)
    beside = await files.ask(FilesBesideRequest(PART, files.point, tag="s"))
    assert Path(beside["tree"]) == behind.with_name("storage-v1.restore-s")
    (behind / "new.jpg").write_bytes(b"new")
    request = FilesExchangeRequest(PART, files.point, tree=beside["tree"], inode=beside["inode"])
    done = await files.ask(request)
    assert files.root.is_symlink()
    assert snapshot(files.root.resolve(), times=True) == files.before
    assert (Path(done["kept_as"]) / "new.jpg").read_bytes() == b"new"


async def test_what_is_exchanged_must_be_what_was_seen(files: FileSite) -> None:
    beside = await files.ask(FilesBesideRequest(PART, files.point, tag="w"))
    tree, inode = beside["tree"], beside["inode"]
    live = files.root.stat().st_ino
    before = snapshot(files.root.parent, times=True)
    for given in (
        {"tree": tree, "inode": inode + 1},
        {"tree": tree, "inode": inode, "live_inode": live + 1},
        {"tree": str(files.root)},
        {"tree": "storage.restore-w"},
    ):
        request = FilesExchangeRequest(PART, files.point, **given)
        with pytest.raises((SafetyRefusal, UsageError)):
            await files.ask(request)
        assert snapshot(files.root.parent, times=True) == before
    files.root.with_name("storage.before-w").write_text("a person's own")
    with pytest.raises(SafetyRefusal, match="NOT EXCHANGED"):
        await files.ask(FilesExchangeRequest(PART, files.point, tree=tree, inode=inode))
    assert files.root.stat().st_ino == live


async def test_what_the_source_leaves_out_comes_along_when_trees_are_exchanged(
    tmp_path: Path,
) -> None:
    """No point has it: it went away with the former tree, and was told by nobody."""
    files = make_file_site(tmp_path, more={"include": ["faces/"], "exclude": ["*.tmp"]})
    live = files.root
    (live / "faces/half.tmp").write_bytes(b"left out")
    files.back_up()
    beside = await files.ask(FilesBesideRequest(PART, files.point, tag="i1"))
    at = {"tree": str(beside["tree"]), "inode": beside["inode"]}
    compared = await files.ask(FilesCompareRequest(PART, files.point, **at))
    assert "faces/half.tmp" in compared["only_live"]["names"]
    await files.ask(FilesCarryRequest(PART, files.point, **at))
    inode = live.stat().st_ino
    done = await files.ask(FilesExchangeRequest(PART, files.point, **at, live_inode=inode))
    now, before = snapshot(live), snapshot(Path(done["kept_as"]))
    whats = [name for name, facts in before.items() if facts[0] != "directory"]
    assert [name for name in whats if now.get(name) != before[name]] == []
    (live / "faces/since.tmp").write_bytes(b"left out, written since")
    way = {"kept_as": done["kept_as"], "kept_inode": done["kept_inode"]}
    await files.ask(FilesRollbackRequest(PART, **way, carry=True))
    assert (live / "faces/since.tmp").read_bytes() == b"left out, written since"


async def test_what_is_fsbackups_own_in_the_tree_is_none_of_its_files(tmp_path: Path) -> None:
    """Capture leaves it out; it was counted as live's alone, and would have been carried along."""
    files = make_file_site(tmp_path, more={"root": str(tmp_path), "exclude": ["work"]})
    os.link(files.root / "latest", files.root / "newest", follow_symlinks=False)
    program = files.root / "program"
    program.write_bytes(b"runs as root")
    program.chmod(0o4755)
    files.back_up()
    (files.root / "new.jpg").write_bytes(b"came after the point")
    for gone in ("faces/1.jpg", "newest", "program"):
        (files.root / gone).unlink()
    look = await files.ask(FilesLookRequest(PART, files.point, touching=False))
    assert look["only_live"]["names"] == ["srv/storage/new.jpg"]
    counted, unread = await count_points(files.context(), PART, [files.point])
    assert counted[files.point] == PointCount(3, 213, 0, 1), unread
    done = await files.ask(FilesPutBackRequest(PART, files.point))
    assert done["put_back"]["names"] == [
        "srv/storage/faces/1.jpg",
        "srv/storage/newest",
        "srv/storage/program",
    ]
    # Nobody asked for a program that runs as root: it is there, and it is told how it would.
    assert program.stat().st_mode & 0o7777 == 0o755
    assert [f"chmod 4755 {program}" in note for note in done["notes"]] == [True]
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    beside = await files.ask(FilesBesideRequest(PART, files.point, directory=str(out)))
    assert (out / "srv/storage/program").stat().st_mode & 0o7777 == 0o755
    assert [note for note in beside["notes"] if "not as captured" in note] == []
    assert (files.root / "newest").readlink() == (files.root / "latest").readlink()
