"""Archives that lead out of the directory are refused before anything of them is extracted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.engines.files.extract import UnsafeArchive, examine_archive, extract_archive
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.repository.files import hash_file

Entry = tuple[str, str, str]
CAPABILITY = "SCHILY.xattr.security.capability"
FILE, DIRECTORY, SYMLINK, LINK = "file", "directory", "symlink", "link"
_TYPES = {
    FILE: tarfile.REGTYPE,
    DIRECTORY: tarfile.DIRTYPE,
    SYMLINK: tarfile.SYMTYPE,
    LINK: tarfile.LNKTYPE,
    "device": tarfile.BLKTYPE,
    "terminal": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE,
}


def made(path: Path, *entries: Entry) -> tuple[Path, Artifact]:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = _TYPES[kind], target, 0o755
            content = b"harm" if kind == FILE else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    sha256, size = hash_file(path)
    return path, Artifact(path.name, "archive", size, sha256)


HOSTILE: dict[str, tuple[Entry, ...]] = {
    "absolute": (("/etc/passwd", FILE, ""),),
    "up": (("../out", FILE, ""),),
    "up, later": (("a", DIRECTORY, ""), ("a/../../out", FILE, "")),
    "dots": (("a/./b", FILE, ""),),
    "nothing between": (("a", DIRECTORY, ""), ("a//b", FILE, "")),
    "only dots": (("..", DIRECTORY, ""),),
    "too long": (("a/" * 2100 + "b", FILE, ""),),
    "through a symlink": (("s", SYMLINK, "/tmp"), ("s/out", FILE, "")),
    "through a symlink below": (
        ("a", DIRECTORY, ""), ("a/s", SYMLINK, ".."), ("a/s/out", FILE, ""),
    ),
    "a directory becomes a symlink": (
        ("a", DIRECTORY, ""), ("a", SYMLINK, "/tmp"), ("a/out", FILE, ""),
    ),
    "a hard link out": (("h", LINK, "/etc/passwd"),),
    "a hard link up": (("h", LINK, "../../secret"),),
    "a hard link through a symlink": (("s", SYMLINK, "/etc"), ("h", LINK, "s/passwd")),
    "through a hard link to a symlink": (
        ("s", SYMLINK, "/tmp"), ("t", LINK, "s"), ("t/out", FILE, ""),
    ),
    "a link to itself": (("h", LINK, "h"),),
    "a device": (("d", "device", ""),),
    "a terminal": (("d", "terminal", ""),),
    "a pipe": (("d", "pipe", ""),),
    "a name twice": (("a", FILE, ""), ("a", FILE, "")),
    "a file over a symlink": (("a", SYMLINK, "/etc/passwd"), ("a", FILE, "")),
}  # fmt: skip


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
async def test_what_leads_out_is_refused_with_nothing_touched(
    tmp_path: Path, name: str, *, ordered: bool
) -> None:
    path, artifact = made(tmp_path / "files.tar", ("aa", FILE, ""), *HOSTILE[name])
    if ordered:
        path, artifact = made(tmp_path / "files.tar", *HOSTILE[name])
    with pytest.raises(UnsafeArchive, match="Nothing was touched"):
        await examine_archive(path, artifact, ReadingKeys(), ordered=ordered)


async def test_order_is_part_of_what_is_trusted(tmp_path: Path) -> None:
    keys = ReadingKeys()
    path, artifact = made(tmp_path / "a.tar", ("b", FILE, ""), ("a", FILE, ""))
    with pytest.raises(UnsafeArchive):
        await examine_archive(path, artifact, keys)
    assert (await examine_archive(path, artifact, keys, ordered=False)).files == 2
    path, artifact = made(tmp_path / "b.tar", ("a/b", FILE, ""))
    with pytest.raises(UnsafeArchive, match="does not have"):
        await examine_archive(path, artifact, keys)
    # What was read again may come once more, and nothing else may.
    entries: tuple[Entry, ...] = (("a", FILE, ""), ("b", FILE, ""), ("a", FILE, ""))
    path, artifact = made(tmp_path / "c.tar", *entries)
    assert (await examine_archive(path, artifact, keys, twice={b"a"})).files == 3
    with pytest.raises(UnsafeArchive):
        await examine_archive(path, artifact, keys, twice={b"b"})
    path, artifact = made(tmp_path / "d.tar", *entries, ("a", FILE, ""))
    with pytest.raises(UnsafeArchive):
        await examine_archive(path, artifact, keys, twice={b"a"})


async def test_a_second_reading_is_checked_like_the_first(tmp_path: Path) -> None:
    """Whoever exchanges the archive between examination and extraction gets nothing out of it."""
    good, artifact = made(tmp_path / "files.tar", ("a", FILE, ""), ("b", FILE, ""))
    plan = await examine_archive(good, artifact, ReadingKeys())
    hostile, _ = made(tmp_path / "other.tar", ("s", SYMLINK, str(tmp_path)), ("s/out", FILE, ""))
    hostile.rename(good)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises((UnsafeArchive, PointDamaged)):
        await extract_archive(good, artifact, ReadingKeys(), target, plan, await find_tar())
    assert not (tmp_path / "out").exists()


async def test_only_what_is_wanted_is_extracted(tmp_path: Path) -> None:
    path, artifact = made(
        tmp_path / "files.tar",
        *(("a", DIRECTORY, ""), ("a/1", FILE, ""), ("a/2", FILE, "")),
        *(("b", DIRECTORY, ""), ("b/3", SYMLINK, "../a/1"), ("c", LINK, "a/1")),
    )
    wanted = {b"a", b"a/1", b"c"}
    plan = await examine_archive(path, artifact, ReadingKeys(), wanted=wanted.__contains__)
    assert (plan.files, plan.directories, plan.links, plan.bytes) == (2, 1, 0, 4)
    target = tmp_path / "target"
    target.mkdir()
    told: list[bytes] = []
    await extract_archive(
        path,
        artifact,
        ReadingKeys(),
        target,
        plan,
        await find_tar(),
        advance=lambda _files, _bytes, name: told.append(name),
    )
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*")) == ["a", "a/1", "c"]
    assert (target / "c").stat().st_ino == (target / "a" / "1").stat().st_ino
    assert told == [b"a", b"a/1", b"c"]


def programs(path: Path, records: dict[str, str]) -> Artifact:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=records) as tar:
        for name, mode, uid, user, more in (
            ("a-shell", 0o4755, 0, "", {}),
            ("b-named", 0o4711, 1000, "root", {}),
            ("c-group", 0o2755, 0, "", {}),
            ("d-other", 0o6755, 4321, "", {}),
            ("e-power", 0o755, 4321, "", {CAPABILITY: "x" * 20, "comment": "stays"}),
            ("f-" + "long" * 40, 0o4755, 0, "", {}),
            ("g-plain", 0o640, 0, "", {}),
        ):
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.uname, info.size = mode, uid, uid, user, 4
            info.pax_headers = dict(more)
            tar.addfile(info, io.BytesIO(b"here"))
    sha256, size = hash_file(path)
    return Artifact(path.name, "archive", size, sha256)


@pytest.mark.parametrize("owners", [True, False])
async def test_no_program_gets_the_rights_of_root_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owners: bool
) -> None:
    """Looked at is what tar would be given: what it makes of that is the machine's."""
    path, given = tmp_path / "files.tar", tmp_path / "given.tar"
    artifact = programs(path, {})
    plan = await examine_archive(path, artifact, ReadingKeys(), root_programs=False)
    tar = await find_tar()
    into = ("sh", "-c", f"cat > {given}")
    monkeypatch.setattr(type(tar), "extract", lambda *_args, **_more: into)
    await extract_archive(path, artifact, ReadingKeys(), tmp_path, plan, tar, owners=owners)
    with tarfile.open(given) as written:
        found = [(info.mode, info.pax_headers, written.extractfile(info)) for info in written]
        assert {file.read() for _, _, file in found if file is not None} == {b"here"}
    other = 0o6755 if owners else 0o755
    assert [mode for mode, _, _ in found] == [0o755, 0o711, 0o755, other, 0o755, 0o755, 0o640]
    assert all(CAPABILITY not in records for _, records, _ in found)
    assert b"security.capability" not in given.read_bytes()
    assert plan.bare_count == (5 if owners else 6)
    assert plan.bare[0] == (b"a-shell", 0o4755)
    assert (b"e-power", 0) in plan.bare


async def test_rights_that_all_members_have_in_common_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "files.tar"
    artifact = programs(path, {"SCHILY.xattr.user.all": "x"})
    plan = await examine_archive(path, artifact, ReadingKeys(), root_programs=False)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(UnsafeArchive):
        await extract_archive(path, artifact, ReadingKeys(), target, plan, await find_tar())
