"""Tars of other scripts whose content would lose something on the way into a part of files."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.other_user import OtherUser
from tests.support.sites import Site, make_site

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
NAME = "daemon"
TAR = "storage_backup_20240630_120000.tar"


def make_tar(path: Path, *members: tuple[str, int], uid: int) -> Path:
    """Make a tar of directories (their names end with a slash) and files of these modes."""
    with tarfile.open(path, "w") as tar:
        for name, mode in members:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode, member.uid, member.gid = mode, uid, uid
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            else:
                member.size = 2
            tar.addfile(member, io.BytesIO(b"xx") if member.size else None)
    return path


def parts_of(site: Site) -> list[str]:
    """The archives of the one adopted point, each below its part."""
    (point,) = (site.repository / "points").iterdir()
    assert not list(point.rglob("*unpacked*"))
    return [f"{path.parent.name}/{path.name}" for path in point.rglob("files.tar*")]


def test_a_tar_with_a_directory_beside_its_root_is_kept_as_it_is(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", NOWHERE)
    members = (("storage/", 0o755), ("storage/a", 0o644), ("cache/", 0o755))
    path = make_tar(tmp_path / TAR, *members, uid=os.geteuid())
    adopted = site.run("adopt", str(path))
    assert adopted.exit_code == 0, adopted.stderr
    assert "cache lies beside storage in it" in " ".join(adopted.stderr.split())
    assert parts_of(site) == ["files/files.tar"]


@pytest.mark.machine
@pytest.mark.parametrize(
    ("members", "is_own", "part", "said"),
    [
        (("storage/", "storage/ro/", "storage/ro/a"), True, "files/files.tar.zst", ""),
        (("storage/", "storage/a", "storage/shut"), True, "files/files.tar", "Permission denied"),
        (("storage/", "storage/a"), False, "files/files.tar", "only root can keep so"),
    ],
)
def test_another_user_adopts_what_loses_nothing_by_it(
    tmp_path: Path, members: tuple[str, ...], is_own: bool, part: str, said: str
) -> None:
    modes = {"storage/": 0o755, "storage/ro/": 0o555, "storage/shut": 0}
    site = make_site(tmp_path / "site", NOWHERE)
    facts = [(name, modes.get(name, 0o644)) for name in members]
    shutil.chown(site.directory, NAME)
    uid = site.directory.stat().st_uid
    path = make_tar(site.directory / TAR, *facts, uid=uid if is_own else uid + 1)
    for owned in [site.directory, *site.directory.rglob("*")]:
        shutil.chown(owned, NAME)
    command = OtherUser(NAME).command(site.command("adopt", str(path)), site.directory)
    done = subprocess.run(
        command,
        env={**site.environ(), "HOME": str(site.directory), "TMPDIR": "/tmp"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in " ".join(done.stderr.split())
    assert parts_of(site) == [part]
