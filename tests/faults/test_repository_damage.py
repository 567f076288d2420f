"""Damage to what is stored: found, named, and the rest of the inventory unharmed."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import (
    DiskFull,
    PointDamaged,
    RepositoryUnreadable,
    RepositoryUnwritable,
)
from fsbackup_tui.domain.events import Progress
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository.artifacts import hash_artifacts
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.leftovers import sweep_leftovers
from fsbackup_tui.repository.lock import Holder, Lock
from fsbackup_tui.repository.reader import PointReader
from tests.support.points import (
    START,
    begin_point,
    flip_byte,
    make_point,
    make_repository,
    part,
    table,
    verify_record,
    write_part,
)

CONTENT = bytes(range(256)) * 64


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


@pytest.fixture
def damaged(repository: Repository) -> tuple[Repository, Path]:
    """A repository of three points; the directory is that of the middle one."""
    points = [
        make_point(repository, created=START + timedelta(days=day), content=CONTENT)
        for day in range(3)
    ]
    return repository, repository.point_directory(points[1].id)


def sealed(repository: Repository, directory: Path) -> list[str]:
    return PointReader(repository, directory.name).check_sealed("db", lambda _: None)


def inventory(repository: Repository) -> dict[str, tuple[Trust, tuple[str, ...]]]:
    with Catalogue.open(repository.root / "no such state", repository) as catalogue:
        catalogue.refresh()
        return {point.id: (point.trust, point.problems) for point in catalogue.points()}


def edit(name: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def act(directory: Path) -> None:
        path = directory / name
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return act


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (
        lambda d: flip_byte(d / "db" / "database.dump", 77),
        "db/database.dump: altered",
    ),
    "a truncated artifact": (
        lambda d: truncate(d / "db" / "database.dump"),
        "db/database.dump: 16383 bytes, should be 16384",
    ),
    "a missing artifact": (
        lambda d: (d / "db" / "database.dump").unlink(),
        "db/database.dump: missing",
    ),
    "an artifact behind a link": (
        lambda d: link(d / "db" / "database.dump"),
        "db/database.dump: a symbolic link",
    ),
    "an artifact that is a directory": (
        lambda d: become_directory(d / "db" / "database.dump"),
        "db/database.dump: can't be read",
    ),
    "a foreign file": (
        lambda d: (d / "db" / "core").write_bytes(b"x"),
        "db/core: belongs to nothing",
    ),
    "a digit in upper case": (
        lambda d: (
            (d / "db" / "SHA256SUMS").write_text(_upper((d / "db" / "SHA256SUMS").read_text()))
            and None
        ),
        "db/SHA256SUMS: line 1 is no checksum line",
    ),
    "a line that is gone": (
        lambda d: (
            (d / "SHA256SUMS").write_text(
                "".join((d / "SHA256SUMS").read_text().splitlines(keepends=True)[1:])
            )
            and None
        ),
        "RECOVER.md: not in SHA256SUMS",
    ),
    "lines in another order": (
        lambda d: (
            (d / "SHA256SUMS").write_text(
                "".join((d / "SHA256SUMS").read_text().splitlines(keepends=True)[::-1])
            )
            and None
        ),
        "SHA256SUMS: not in the form",
    ),
    "no checksums": (lambda d: (d / "SHA256SUMS").unlink(), "SHA256SUMS: missing"),
    "another recipe": (
        lambda d: (d / "RECOVER.md").write_text("rm -rf /"),
        "RECOVER.md: altered",
    ),
    "another config": (
        lambda d: (d / "site.yaml").write_text(""),
        "site.yaml: altered",
    ),
    "a manifest that tells otherwise": (
        edit("manifest.json", lambda m: m.update(reason="other")),
        "manifest.json: altered",
    ),
    "a part that tells otherwise": (
        edit("db/part.json", lambda p: p.update(warnings=["other"])),
        "db/part.json: differs from manifest.json",
    ),
    "a part that is gone": (lambda d: shutil.rmtree(d / "db"), "db: its directory is missing"),
}


def _upper(text: str) -> str:
    place = next(i for i, character in enumerate(text) if character in "abcdef")
    return text[:place] + text[place].upper() + text[place + 1 :]


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(damaged: tuple[Repository, Path], name: str) -> None:
    repository, directory = damaged
    assert sealed(repository, directory) == []
    act, said = DAMAGE[name]
    act(directory)
    problems = sealed(repository, directory)
    assert any(problem.startswith(said) for problem in problems), problems
    others = [path for path in repository.points.iterdir() if path != directory]
    assert all(sealed(repository, other) == [] for other in others)


@pytest.mark.parametrize("name", ["database.dump", "part.json"])
def test_a_missing_file_is_told_once(damaged: tuple[Repository, Path], name: str) -> None:
    repository, directory = damaged
    (directory / "db" / name).unlink()
    assert sealed(repository, directory) == [f"db/{name}: missing"]


def test_an_upper_case_digit_passes_the_stock_tool_and_not_ours(
    damaged: tuple[Repository, Path],
) -> None:
    repository, directory = damaged
    sums = directory / "db" / "SHA256SUMS"
    sums.write_text(_upper(sums.read_text()))
    stock = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=sums.parent, check=False, capture_output=True
    )
    assert stock.returncode == 0
    assert sealed(repository, directory) != []


def test_every_flipped_byte_of_every_file_is_found(damaged: tuple[Repository, Path]) -> None:
    repository, directory = damaged
    checked = 0
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        size = path.stat().st_size
        for offset in range(0, size, max(1, size // 25)):
            flip_byte(path, offset)
            assert sealed(repository, directory), f"{path.name} at {offset}"
            flip_byte(path, offset)
            checked += 1
    assert checked > 150
    assert sealed(repository, directory) == []


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda d: (d / "manifest.json").write_bytes(b""), "manifest.json"),
    "half": (
        lambda d: os.truncate(d / "manifest.json", 500),
        "manifest.json: the whole file: Invalid JSON",
    ),
    "zeros": (lambda d: (d / "manifest.json").write_bytes(b"\0" * 900), "Invalid JSON"),
    "no UTF-8": (lambda d: (d / "manifest.json").write_bytes(b'{"id": "\xff"}'), "JSON"),
    "a list": (lambda d: (d / "manifest.json").write_text("[]"), "manifest.json"),
    "deep": (lambda d: (d / "manifest.json").write_text("[" * 100_000), "manifest.json"),
    "a link": (lambda d: link(d / "manifest.json"), "manifest.json: it is a symbolic link"),
    "newer": (
        edit("manifest.json", lambda m: (m.update(format=2), m.pop("parts"))),
        "format: 2 is unknown here",
    ),
    "a field missing": (
        edit("manifest.json", lambda m: m.pop("plan")),
        "plan: ",
    ),
    "a wrong type": (
        edit("manifest.json", lambda m: m.update(sequence="7")),
        "sequence: Input should be a valid integer",
    ),
    "another id": (
        edit("manifest.json", lambda m: m.update(id="20200101T000000Z-daily-aaaa")),
        "id: ",
    ),
    "no parts": (edit("manifest.json", lambda m: m.update(parts=[])), "parts: there are none"),
    "no zone": (
        edit("manifest.json", lambda m: m.update(started="2026-11-20T01:00:00")),
        "started: the time has no zone",
    ),
    "a path out": (
        edit("manifest.json", lambda m: _artifact(m).update(path="../../../etc/passwd")),
        "parts.0.artifacts.0.path: '../../../etc/passwd' leads out of the part",
    ),
    "an absolute path": (
        edit("manifest.json", lambda m: _artifact(m).update(path="/etc/passwd")),
        "parts.0.artifacts.0.path: '/etc/passwd' leads out of the part",
    ),
    "a source that is a path": (
        edit("manifest.json", lambda m: _part(m).update(source="..")),
        "parts.0.source: '..' is no source name",
    ),
    "a bad hash": (
        edit("manifest.json", lambda m: _artifact(m).update(sha256="A" * 64)),
        "parts.0.artifacts.0.sha256: not 64",
    ),
    "a negative size": (
        edit("manifest.json", lambda m: _artifact(m).update(bytes=-1)),
        "parts.0.artifacts.0.bytes: -1",
    ),
}


def _part(manifest: dict[str, object]) -> dict[str, object]:
    parts = manifest["parts"]
    assert isinstance(parts, list)
    found = parts[0]
    assert isinstance(found, dict)
    return found


def _artifact(manifest: dict[str, object]) -> dict[str, object]:
    artifacts = _part(manifest)["artifacts"]
    assert isinstance(artifacts, list)
    found = artifacts[0]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest_is_named_and_the_rest_is_listed(
    damaged: tuple[Repository, Path], name: str
) -> None:
    repository, directory = damaged
    act, said = BROKEN[name]
    act(directory)
    reader = PointReader(repository, directory.name)
    with pytest.raises(PointDamaged) as caught:
        _ = reader.manifest
    assert str(directory / "manifest.json") in caught.value.what
    assert said in caught.value.why
    assert [found.source for found in reader.parts()] == ["db"], "the part tells for itself"
    assert sealed(repository, directory) != []
    found = inventory(repository)
    assert found[directory.name][0] is Trust.DAMAGED
    assert said in found[directory.name][1][0]
    others = [trust for name, (trust, _) in found.items() if name != directory.name]
    assert others == [Trust.UNVERIFIED, Trust.UNVERIFIED]


def test_a_point_without_manifest_is_incomplete_and_its_part_can_be_checked(
    damaged: tuple[Repository, Path],
) -> None:
    repository, directory = damaged
    (directory / "manifest.json").unlink()
    assert inventory(repository)[directory.name][0] is Trust.INCOMPLETE
    assert sealed(repository, directory) == []
    flip_byte(directory / "db" / "database.dump", 5)
    assert sealed(repository, directory) == ["db/database.dump: altered (its SHA-256 differs)"]


def test_a_part_that_is_gone_shows_in_the_inventory(damaged: tuple[Repository, Path]) -> None:
    repository, directory = damaged
    shutil.rmtree(directory / "db")
    trust, problems = inventory(repository)[directory.name]
    assert trust is Trust.DAMAGED
    assert problems == ("db: the part is missing",)


def test_a_manifest_exchanged_with_its_checksums_is_found_by_its_records(
    damaged: tuple[Repository, Path],
) -> None:
    repository, directory = damaged
    verify_record(repository, directory.name, "sealed")
    edit("manifest.json", lambda m: m.update(reason="other"))(directory)
    names = [line[66:] for line in (directory / "SHA256SUMS").read_text().splitlines()]
    made = subprocess.run(
        ["sha256sum", *names], cwd=directory, check=True, capture_output=True, text=True
    )
    (directory / "SHA256SUMS").write_text(made.stdout)
    problems = sealed(repository, directory)
    assert len(problems) == 1
    assert "manifest.json" in problems[0]
    assert "was written for another one" in problems[0]


def test_an_artifact_is_only_given_from_inside_the_point(
    damaged: tuple[Repository, Path], tmp_path: Path
) -> None:
    repository, directory = damaged
    reader = PointReader(repository, directory.name)
    artifact = reader.part("db").artifacts[0]
    assert reader.artifact_path("db", artifact).read_bytes() == CONTENT
    for path in ("../../x", "/etc/passwd", "a//b", "", "gone"):
        with pytest.raises(PointDamaged):
            reader.artifact_path("db", dataclasses.replace(artifact, path=path))
    shutil.move(directory / "db", tmp_path / "db")
    (directory / "db").symlink_to(tmp_path / "db")
    with pytest.raises(PointDamaged):
        reader.artifact_path("db", artifact)
    assert sealed(repository, directory) != []


def test_progress_is_told_in_bytes_to_the_end(repository: Repository) -> None:
    manifest = make_point(repository, content=b"x" * (40 << 20))
    told: list[Progress] = []

    def report(event: object) -> None:
        assert isinstance(event, Progress)
        told.append(event)

    assert PointReader(repository, manifest.id).check_sealed("db", report) == []
    assert told[-1].done == told[-1].total == float(40 << 20)
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].detail == "db/database.dump"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes; needs the right to mount, as the test machine gives it."""
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.machine
def test_a_read_only_file_system_is_read_and_not_written(tiny_disk: Path) -> None:
    repository = make_repository(tiny_disk)
    point = make_point(repository, content=CONTENT).id
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    opened = open_repository(repository.root, state=tiny_disk / "state")
    assert sealed(opened, opened.point_directory(point)) == []
    assert inventory(opened)[point][0] is Trust.UNVERIFIED
    holder = Holder("ana", "db1", os.getpid(), "job-1", START)
    with Lock(opened.use_lock(point)).acquire(0, holder, shared=True) as held:
        assert "no lock could be written" in held.note
    with pytest.raises(RepositoryUnwritable, match="REPOSITORY NOT WRITABLE") as caught:
        verify_record(opened, point, "sealed")
    assert "Mount the file system" in caught.value.fix
    with pytest.raises(RepositoryUnwritable):
        begin_point(opened)
    with pytest.raises(RepositoryUnwritable):
        sweep_leftovers(opened, lambda job: False)


@pytest.mark.machine
def test_a_full_disk_leaves_no_half_point(tiny_disk: Path) -> None:
    repository = make_repository(tiny_disk)
    whole = make_point(repository, content=CONTENT)
    writer = begin_point(repository, created=START + timedelta(days=1))
    directory = writer.part_directory("db")
    (directory / "database.dump").write_bytes(CONTENT)
    ballast = tiny_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):  # noqa: PT012
        while True:
            file.write(CONTENT)
            file.flush()
    artifacts = hash_artifacts(directory, {"database.dump": "dump"})
    with pytest.raises(DiskFull, match="DISK FULL"):
        writer.commit_part(
            "db",
            dataclasses.replace(part(tables=[table("t", 1)] * 500), artifacts=artifacts),
        )
    writer.abandon()
    assert [path.name for path in repository.points.iterdir()] == [whole.id]
    assert sealed(repository, repository.point_directory(whole.id)) == []
    with Catalogue.open(tiny_disk, repository) as catalogue:
        catalogue.refresh()
        assert catalogue.in_memory
        assert catalogue.count() == 1
    ballast.unlink()
    again = begin_point(repository, created=START + timedelta(days=1))
    write_part(again, part("db"))
    assert again.finish({}).sequence == 2


def test_a_manifest_that_is_gone_is_damage_where_a_record_speaks_of_it(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    point = make_point(repository, content=CONTENT).id
    verify_record(repository, point, "sealed")
    (repository.point_directory(point) / "manifest.json").unlink()
    assert inventory(repository)[point] == (Trust.DAMAGED, ("manifest.json: missing",))
    reader = PointReader(repository, point)
    assert reader.check_point_files() == ["manifest.json: missing"]
    # The part itself is whole, and a restore of it needs no more.
    assert reader.check_sealed("db", lambda _event: None, beside_parts=False) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE])
def test_what_may_not_be_read_is_not_called_damaged(
    damaged: tuple[Repository, Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    repository, directory = damaged
    dump = directory / "db" / "database.dump"
    refuse_to_open(monkeypatch, dump, number)
    with pytest.raises(RepositoryUnreadable, match=str(dump)):
        sealed(repository, directory)


def test_what_the_disk_can_not_read_is_damaged(
    damaged: tuple[Repository, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, directory = damaged
    refuse_to_open(monkeypatch, directory / "db" / "database.dump", errno.EIO)
    assert sealed(repository, directory) == ["db/database.dump: can't be read (Input/output error)"]


def test_a_directory_without_the_right_to_enter_is_named(
    damaged: tuple[Repository, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, directory = damaged
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, *a, **k: path != directory / "db" and access(path, *a, **k)
    )
    with pytest.raises(RepositoryUnreadable, match=str(directory / "db")) as refused:
        sealed(repository, directory)
    assert "Permission denied" in refused.value.why
    assert refused.value.fix == f"chmod -R u+rX {directory / 'db'}"


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Let the system refuse one file, as it does to root nowhere."""
    opened = os.open

    def refusing(name: str | Path, *arguments: Any, **options: Any) -> int:
        if Path(name) == path:
            raise OSError(number, os.strerror(number), str(path))
        return opened(name, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
