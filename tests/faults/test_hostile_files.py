"""Hostile archives, indexes and manifests: refused by every way, nothing outside touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.engines.compression import zstd_module
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import (
    FilesBesideRequest,
    FilesPutBackRequest,
    FilesTakeBackRequest,
)
from fsbackup_tui.repository.tree_marks import mark_path
from tests.support.file_sites import PART, FileSite, make_file_site, snapshot
from tests.support.hostile_archives import (
    benign,
    header,
    hostile_archives,
    hostile_indexes,
    hostile_manifests,
)
from tests.support.hostile_points import HostilePoint


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> HostilePoint:
    """A site with one point, a live tree that lacks what it has, and a victim outside of that."""
    made = make_file_site(tmp_path_factory.mktemp("hostile"))
    made.back_up()
    shutil.rmtree(made.root)
    made.root.mkdir()
    victim = outside_of(made) / "victim"
    victim.parent.mkdir()
    victim.write_text("nobody's business")
    return HostilePoint(made)


def outside_of(files: FileSite) -> Path:
    return files.root.parent / "outside"


def ways(files: FileSite) -> list[Request]:
    """Return every way in which a point's files are restored."""
    elsewhere = str(files.root.parent / "to")
    return [
        FilesPutBackRequest(PART, files.point),
        FilesBesideRequest(PART, files.point),
        FilesBesideRequest(PART, files.point, directory=elsewhere),
    ]


async def refusals(files: FileSite, asked: list[Request], *, made: bool = False) -> list[str]:
    """Ask for each, and return how it was refused; nothing may be there that was not before.

    Unless something may have been ``made`` for a while, nothing was, not for a moment.
    """
    watched, told = files.root.parent, []
    before, times = snapshot(watched, times=True), moments(watched)
    for request in asked:
        with pytest.raises(FsbackupError) as refusal:
            await files.ask(request)
        told.append(refusal.value.kind)
        assert snapshot(watched, times=True) == before
        assert made or moments(watched) == times
    return told


def moments(root: Path) -> list[int]:
    """Return when something was last made or removed in each directory."""
    return [Path(each[0]).stat().st_mtime_ns for each in os.walk(root)]


async def test_hostile_archives_are_refused_before_anything_is_made(point: HostilePoint) -> None:
    files = point.files
    hostile = list(hostile_archives(outside_of(files)))
    assert len(hostile) >= 100
    assert len({one.name for one in hostile}) == len(hostile)
    got: dict[str, list[str]] = {}
    for one in hostile:
        point.store(one.data)
        try:
            got[one.name] = await refusals(files, ways(files))
        except BaseException as error:
            error.add_note(one.name)
            raise
    assert {kind for kinds in got.values() for kind in kinds} <= {
        *("refused", "point-damaged", "disk-full")
    }


async def test_hostile_lists_lead_nowhere(point: HostilePoint) -> None:
    files = point.files
    hostile = list(hostile_indexes(outside_of(files)))
    assert len(hostile) >= 35
    for one in hostile:
        point.store(index=one.data)
        try:
            # What the archive has not is seen when the rest of it lies beside, and goes again.
            kinds = await refusals(files, ways(files), made=True)
        except BaseException as error:
            error.add_note(one.name)
            raise
        assert set(kinds) == {"point-damaged"}, one.name


async def test_hostile_manifests_are_refused(point: HostilePoint) -> None:
    files = point.files
    outside = outside_of(files)
    hostile = hostile_manifests(outside)
    for role in ("archive", "index"):
        for name, told in hostile.items():
            point.store(told={role: told})
            (point.directory / "door").symlink_to(outside)
            (point.directory / "link.tar.zst").symlink_to(outside / "victim")
            try:
                kinds = await refusals(files, ways(files))
            except BaseException as error:
                error.add_note(f"{role}: {name}")
                raise
            finally:
                for link in ("door", "link.tar.zst"):
                    (point.directory / link).unlink()
            assert set(kinds) <= {"point-damaged", "not-decryptable"}, (role, name, kinds)


async def test_bombs_are_refused_before_they_burst(point: HostilePoint) -> None:
    files = point.files
    packed = zstd_module().compress(benign() + bytes(64 << 20), 1)
    assert len(packed) < 64 << 10
    point.store(packed=packed)
    assert set(await refusals(files, ways(files))) == {"point-damaged"}
    # So large that the disk would not hold it, and truly so large as far as anybody reads.
    size = b"\x80" + (1 << 44).to_bytes(11, "big")
    point.store(benign() + header(b"b", size=size) + bytes(1 << 20))
    kinds = await refusals(files, [FilesBesideRequest(PART, files.point)])
    assert kinds == ["disk-full"]


async def test_what_there_is_nothing_wrong_with_is_taken(point: HostilePoint) -> None:
    """All that is hostile differs from this one alone."""
    files = point.files
    point.store(told={"archive": {}})
    before = snapshot(files.root.parent, times=True)
    for asked in ways(files):
        done = await files.ask(asked)
        if isinstance(asked, FilesPutBackRequest):
            assert done["put_back"]["names"] == ["a.txt"]
            assert (files.root / "a.txt").read_bytes() == b"good\n"
            await files.ask(FilesTakeBackRequest(PART, undo=done["undo"]))
        else:
            tree = Path(done["tree"])
            assert (tree / "a.txt").read_bytes() == b"good\n"
            shutil.rmtree(tree)
            mark_path(tree).unlink(missing_ok=True)
        assert snapshot(files.root.parent, times=True) == before
