"""Making and opening repositories, and telling why one is not there."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import (
    RepositoryError,
    RepositoryMissing,
    RepositoryNewer,
    UsageError,
)
from fsbackup_tui.repository import whereabouts
from fsbackup_tui.repository.layout import (
    create_repository,
    open_repository,
    recall,
    restore_identity,
)
from tests.support.points import START, make_point, make_repository


def test_a_new_repository_has_its_rooms_and_opens(tmp_path: Path) -> None:
    made = create_repository(tmp_path / "deep" / "repository", "face-swap", START)
    assert sorted(path.name for path in made.root.iterdir()) == [
        "RECOVER.md",
        "fsbackup.json",
        "holds",
        "locks",
        "points",
        "records",
        "trash",
    ]
    document = json.loads((made.root / "fsbackup.json").read_text())
    assert document["format"] == 1
    assert open_repository(made.root, site="face-swap") == made


def test_opening_never_creates(tmp_path: Path) -> None:
    with pytest.raises(RepositoryMissing, match="NO REPOSITORY") as caught:
        open_repository(tmp_path / "nowhere")
    assert "fsbackup init" in caught.value.fix
    assert not (tmp_path / "nowhere").exists()


def test_a_repository_seen_before_and_empty_now_is_not_mounted(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    state = tmp_path / "state"
    open_repository(repository.root, state=state)
    assert recall(repository.root, state) == repository
    repository.root.rename(tmp_path / "unplugged")
    repository.root.mkdir()
    with pytest.raises(RepositoryMissing, match="NOT MOUNTED") as caught:
        open_repository(repository.root, state=state)
    assert repository.id in caught.value.why
    assert list(repository.root.iterdir()) == []


def test_a_mount_point_of_fstab_that_is_not_mounted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "mount point"
    mount.mkdir()
    fstab = tmp_path / "fstab"
    fstab.write_text(f"# disks\nUUID=1 / ext4\nUUID=2 {str(mount).replace(' ', chr(92) + '040')}\n")
    monkeypatch.setattr(whereabouts, "_FSTAB", fstab)
    with pytest.raises(RepositoryMissing, match="NOT MOUNTED") as caught:
        open_repository(mount / "repository")
    assert str(mount) in caught.value.why
    assert "mount " in caught.value.fix
    with pytest.raises(RepositoryMissing, match="NOT MOUNTED"):
        create_repository(mount / "repository", "face-swap", START)


def test_a_newer_repository_is_refused_by_name(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    path = repository.root / "fsbackup.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(RepositoryNewer, match="format 7"):
        open_repository(repository.root)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": "1", "id": "a"}'])
def test_a_broken_head_is_told_with_its_file(tmp_path: Path, content: str) -> None:
    repository = make_repository(tmp_path)
    (repository.root / "fsbackup.json").write_text(content)
    with pytest.raises(RepositoryError, match=r"REPOSITORY DAMAGED.*fsbackup\.json"):
        open_repository(repository.root)


def test_the_repository_of_another_site_is_refused(tmp_path: Path) -> None:
    repository = make_repository(tmp_path, site="other")
    with pytest.raises(RepositoryError, match="belongs to other"):
        open_repository(repository.root, site="face-swap")


def test_nothing_is_made_over_something_else(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    with pytest.raises(UsageError, match="REPOSITORY EXISTS"):
        create_repository(repository.root, "face-swap", START)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").touch()
    with pytest.raises(UsageError, match=r"NOT EMPTY.*cat\.jpg"):
        create_repository(foreign, "face-swap", START)
    with pytest.raises(UsageError, match="NOT A DIRECTORY"):
        create_repository(foreign / "cat.jpg", "face-swap", START)


def test_a_point_id_can_not_lead_elsewhere(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    for name in ("../records", "a/b", "", ".", ".."):
        with pytest.raises(UsageError):
            repository.point_directory(name)


def test_points_without_the_identity_file_are_told_and_never_renamed(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    state = tmp_path / "state"
    open_repository(repository.root, state=state)
    make_point(repository)
    make_point(repository)
    (repository.root / "fsbackup.json").unlink()
    before = sorted(repository.root.rglob("*"))

    with pytest.raises(RepositoryError, match="IDENTITY FILE MISSING") as caught:
        open_repository(repository.root, site="face-swap", state=state)
    assert "2 points, untouched" in caught.value.why
    assert repository.id in caught.value.why
    assert "fsbackup doctor --fix" in caught.value.fix
    with pytest.raises(RepositoryError, match="IDENTITY FILE MISSING"):
        create_repository(repository.root, "face-swap", START)
    assert sorted(repository.root.rglob("*")) == before

    assert restore_identity(repository.root, state) == repository
    assert open_repository(repository.root, site="face-swap", state=state) == repository
    assert stat.S_IMODE((repository.root / "fsbackup.json").stat().st_mode) == 0o600
    assert restore_identity(repository.root, state) is None


def test_an_id_that_nobody_remembers_is_not_invented(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    make_point(repository)
    (repository.root / "fsbackup.json").unlink()
    assert restore_identity(repository.root, tmp_path / "state") is None
    assert not (repository.root / "fsbackup.json").exists()
    with pytest.raises(RepositoryError, match="IDENTITY FILE MISSING") as caught:
        open_repository(repository.root, site="face-swap", state=tmp_path / "state")
    assert "1 point, untouched" in caught.value.why
    # What is to be pasted works.
    subprocess.run(["sh", "-c", caught.value.fix.splitlines()[-1]], check=True)
    assert open_repository(repository.root).site == "face-swap"


def test_a_used_repository_without_points_is_missed_too(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    open_repository(repository.root, state=tmp_path / "state")
    (repository.root / "fsbackup.json").unlink()
    with pytest.raises(RepositoryError, match="IDENTITY FILE MISSING") as caught:
        open_repository(repository.root, state=tmp_path / "state")
    assert "no point" in caught.value.why


def test_an_init_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    (repository.root / "fsbackup.json").unlink()
    assert create_repository(repository.root, "face-swap", START).id != repository.id


def test_points_that_were_taken_away_are_not_an_empty_repository(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    make_point(repository)
    repository.points.rename(tmp_path / "elsewhere")
    with pytest.raises(RepositoryError, match="POINTS MISSING") as refused:
        open_repository(repository.root)
    assert f"mkdir -m 700 {repository.points}" in refused.value.fix


def test_points_that_may_not_be_looked_at_are_not_an_empty_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = make_repository(tmp_path)
    refused_path = str(repository.points)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # root may look everywhere
    with pytest.raises(RepositoryError, match="REPOSITORY NOT READABLE") as refused:
        open_repository(repository.root)
    assert refused.value.what == f"REPOSITORY NOT READABLE: {refused_path}."
    assert refused.value.fix == f"chmod -R u+rX {refused_path}"
