"""A point is whole or not there: layout, modes, seals, sequence, leftovers."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import DiskFull, Interrupted, PointDamaged, RepositoryError
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.repository.artifacts import hash_artifacts
from fsbackup_tui.repository.files import SpaceGuard, free_bytes, sync_directory
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import sweep_leftovers
from fsbackup_tui.repository.manifest import read_manifest, read_part
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.writer import PointWriter
from tests.support.points import (
    ROLES,
    START,
    begin_point,
    make_point,
    make_repository,
    part,
    table,
    write_part,
)
from tests.support.waiting import wait_until


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


def modes(root: Path) -> set[tuple[str, str]]:
    return {
        ("directory" if path.is_dir() else "file", f"{path.stat().st_mode & 0o777:o}")
        for path in (root, *root.rglob("*"))
    }


def test_a_point_has_exactly_the_files_of_the_layout(repository: Repository) -> None:
    manifest = make_point(repository)
    directory = repository.point_directory(manifest.id)
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*")}
    assert found == {
        "db",
        "db/database.dump",
        "db/part.json",
        "db/SHA256SUMS",
        "manifest.json",
        "SHA256SUMS",
        "RECOVER.md",
        "site.yaml",
    }
    assert manifest.sequence == 1
    assert read_manifest(directory / "manifest.json") == manifest
    assert read_part(directory / "db" / "part.json") == manifest.parts[0]


def test_a_fingerprint_that_is_no_number_is_damage(repository: Repository) -> None:
    path = repository.point_directory(make_point(repository).id) / "db" / "part.json"
    document = json.loads(path.read_text())
    document["postgres"]["tables"][0]["fingerprint"] = {"method": "rows-hash-1", "value": "1?"}
    path.write_text(json.dumps(document))
    with pytest.raises(PointDamaged) as raised:
        read_part(path)
    assert "no decimal number" in raised.value.why


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_everything_is_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        repository = make_repository(tmp_path)
        writer = begin_point(repository)
        directory = writer.part_directory("db")
        (directory / "nested").mkdir(mode=0o755)
        (directory / "nested" / "toc.dat").touch(0o666)
        artifacts = hash_artifacts(directory, {"nested": "dump"})
        writer.commit_part("db", dataclasses.replace(part(), artifacts=artifacts))
        manifest = writer.finish({})
        write_record(repository, manifest.id, "pinned", {}, now=START, job="j", operator="ana")
    finally:
        os.umask(before)
    assert modes(repository.root) == {("directory", "700"), ("file", "600")}


def test_the_stock_tool_accepts_both_checksum_files(repository: Repository) -> None:
    writer = begin_point(repository)
    directory = writer.part_directory("db")
    for name in ("database.dump", "also/with\nnewline", "also/back\\slash", "also/naïve ü"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(name.encode())
    artifacts = hash_artifacts(directory, ROLES)
    assert {artifact.role for artifact in artifacts} == {"dump", "also"}
    writer.commit_part("db", dataclasses.replace(part(), artifacts=artifacts))
    manifest = writer.finish({})
    point = repository.point_directory(manifest.id)
    for place, lines in ((point, 9), (point / "db", 5)):
        result = subprocess.run(
            ["sha256sum", "--strict", "-c", "SHA256SUMS"],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.count(": OK") == lines
        assert len((place / "SHA256SUMS").read_text().splitlines()) == lines
    assert PointReader(repository, manifest.id).check_sealed("db", lambda _: None) == []


def test_a_clock_set_back_reorders_nothing(repository: Repository) -> None:
    first = make_point(repository, created=START)
    second = make_point(repository, created=START - timedelta(days=3))
    assert (first.sequence, second.sequence) == (1, 2)


def test_a_point_known_by_its_records_alone_keeps_its_number(repository: Repository) -> None:
    make_point(repository)
    gone = make_point(repository, created=START + timedelta(hours=1))
    write_record(repository, gone.id, "pinned", {}, now=START, job="j", operator="ana")
    directory = repository.point_directory(gone.id)
    directory.rename(repository.root / "elsewhere")
    assert make_point(repository, created=START + timedelta(hours=2)).sequence == 3


def test_writers_at_once_get_different_numbers(repository: Repository) -> None:
    writers = [begin_point(repository, plan=f"plan{n}", job=f"job-{n}") for n in range(6)]
    for writer in writers:
        write_part(writer, part(tables=[table("videos", 1)]))
    numbers: list[int] = []
    ready = threading.Barrier(len(writers))

    def finish(writer: PointWriter) -> None:
        ready.wait()
        numbers.append(writer.finish({}).sequence)

    threads = [threading.Thread(target=finish, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


def test_too_little_room_is_refused_before_anything_is_made(repository: Repository) -> None:
    with pytest.raises(DiskFull, match="NOT ENOUGH SPACE") as caught:
        begin_point(repository, space_needed=free_bytes(repository.root) * 2)
    assert "repository" in caught.value.fix
    assert list(repository.points.iterdir()) == []


def test_the_guard_speaks_below_its_floor(tmp_path: Path) -> None:
    assert SpaceGuard(tmp_path, 1).check() > 1
    with pytest.raises(DiskFull):
        SpaceGuard(tmp_path, 1 << 62).check()


def test_a_part_with_a_stray_or_missing_file_is_refused(repository: Repository) -> None:
    writer = begin_point(repository)
    directory = writer.part_directory("db")
    (directory / "database.dump").write_bytes(b"x")
    (directory / "core").write_bytes(b"x")
    with pytest.raises(RepositoryError, match="STRAY FILE"):
        hash_artifacts(directory, ROLES)
    missing = Artifact("schema.sql", "schema", 1, "")
    (directory / "core").unlink()
    artifacts = (*hash_artifacts(directory, ROLES), missing)
    with pytest.raises(RepositoryError, match="ARTIFACT MISSING"):
        writer.commit_part("db", dataclasses.replace(part(), artifacts=artifacts))


def test_a_file_that_changed_after_hashing_is_refused(repository: Repository) -> None:
    writer = begin_point(repository)
    directory = writer.part_directory("db")
    (directory / "database.dump").write_bytes(b"x")
    artifacts = hash_artifacts(directory, ROLES)
    (directory / "database.dump").write_bytes(b"longer")
    with pytest.raises(RepositoryError, match="ARTIFACT CHANGED"):
        writer.commit_part("db", dataclasses.replace(part(), artifacts=artifacts))


def test_an_unhashed_artifact_is_hashed_by_reading_it_back(repository: Repository) -> None:
    writer = begin_point(repository)
    directory = writer.part_directory("db")
    (directory / "database.dump").write_bytes(b"content")
    described = (Artifact("database.dump", "dump", 0, "", compression="zstd"),)
    committed = writer.commit_part("db", dataclasses.replace(part(), artifacts=described))
    assert committed.artifacts[0].bytes == 7
    assert committed.artifacts[0].sha256.startswith("ed7002b439e9ac845f22357d822bac14")
    assert committed.artifacts[0].compression == "zstd"


def test_giving_up_leaves_no_half_point(repository: Repository) -> None:
    writer = begin_point(repository)
    (writer.part_directory("db") / "database.dump").write_bytes(b"half")
    assert writer.abandon() is None
    assert list(repository.points.iterdir()) == []
    with pytest.raises(Interrupted):
        writer.finish({})


def test_a_point_whose_name_is_not_made_durable_is_not_begun(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: Path) -> None:
        if directory == repository.points:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync_directory(directory)

    monkeypatch.setattr("fsbackup_tui.repository.writer.sync_directory", fail)
    with pytest.raises(DiskFull):
        begin_point(repository)
    assert list(repository.points.iterdir()) == []


def test_giving_up_keeps_the_parts_that_are_whole(repository: Repository) -> None:
    writer = begin_point(repository)
    write_part(writer, part("db"))
    (writer.part_directory("other") / "database.dump").write_bytes(b"half")
    kept = writer.abandon()
    assert kept == f"the incomplete point {writer.id} with db, whole by then"
    assert sorted(path.name for path in writer.directory.iterdir()) == ["db", "site.yaml"]
    reader = PointReader(repository, writer.id)
    assert reader.manifest is None
    assert [found.source for found in reader.parts()] == ["db"]


def test_giving_up_behind_the_end_keeps_the_point_and_says_so(repository: Repository) -> None:
    writer = begin_point(repository)
    write_part(writer, part("db"))
    manifest = writer.finish({})
    assert writer.abandon() == f"the point {writer.id}, which was whole by then"
    assert PointReader(repository, writer.id).manifest == manifest


def test_a_part_that_is_given_up_while_it_is_sealed_is_taken_back(repository: Repository) -> None:
    """The cancel comes from the event loop while the thread that seals is at its last bytes."""
    writer = begin_point(repository)
    (writer.part_directory("db") / "database.dump").write_bytes(b"content")
    described = (Artifact("database.dump", "dump", 0, ""),)
    asked: list[threading.Thread] = []

    def cancel_at_the_last_byte(_: int) -> None:
        asked.append(threading.Thread(target=writer.abandon))
        asked[0].start()
        wait_until(lambda: writer._abandoned)

    with pytest.raises(Interrupted):
        writer.commit_part(
            "db",
            dataclasses.replace(part(), artifacts=described),
            advance=cancel_at_the_last_byte,
        )
    asked[0].join()
    assert list(repository.points.iterdir()) == []


def test_what_the_living_write_is_not_swept_and_what_the_dead_left_is(
    repository: Repository,
) -> None:
    living = begin_point(repository, job="living")
    living.part_directory("db")
    whole = make_point(repository, created=START + timedelta(hours=1))
    dead = begin_point(repository, job="dead", created=START + timedelta(hours=2))
    (dead.part_directory("db") / "database.dump").write_bytes(b"half")
    half = begin_point(repository, job="dead", created=START + timedelta(hours=3))
    write_part(half, part("db"))
    half.part_directory("other")
    for writer in (dead, half):
        assert writer._marker is not None
        os.close(writer._marker)  # what the system does when a process is killed
    removed = sweep_leftovers(repository, lambda job: False)
    assert removed == [
        f"points/{dead.id}/.partial-db",
        f"points/{dead.id}",
        f"points/{half.id}/.partial-other",
    ]
    assert (living.directory / ".partial-db" / "job").read_text() == "living\n"
    left = sorted(path.name for path in repository.points.iterdir())
    assert left == sorted([living.id, whole.id, half.id])
    assert sweep_leftovers(repository, lambda job: False) == []
    living.abandon()


def test_a_job_known_to_live_keeps_its_work_without_the_lock(repository: Repository) -> None:
    writer = begin_point(repository, job="elsewhere")
    writer.part_directory("db")
    assert writer._marker is not None
    os.close(writer._marker)
    assert sweep_leftovers(repository, lambda job: job == "elsewhere") == []
    assert sweep_leftovers(repository, lambda job: False) != []


def test_a_manifest_is_never_written_over(repository: Repository) -> None:
    writer = begin_point(repository)
    write_part(writer, part("db"))
    (writer.directory / "manifest.json").write_text("{}")
    with pytest.raises(FileExistsError):
        writer.finish({})
    assert (writer.directory / "manifest.json").read_text() == "{}"


def test_the_config_is_kept_without_its_passwords(repository: Repository) -> None:
    writer = begin_point(
        repository, site_yaml="url: postgresql://app:hunter2@db1/face_swap\nadmin: ${ADMIN_URL}\n"
    )
    write_part(writer, part("db"))
    manifest = writer.finish({})
    everything = b"".join(
        path.read_bytes()
        for path in repository.point_directory(manifest.id).rglob("*")
        if path.is_file()
    )
    assert b"hunter2" not in everything
    kept = (repository.point_directory(manifest.id) / "site.yaml").read_text()
    assert "app:***@db1/face_swap" in kept
    assert "${ADMIN_URL}" in kept


def test_the_manifest_is_readable_json_with_its_format(repository: Repository) -> None:
    manifest = make_point(repository)
    path = repository.point_directory(manifest.id) / "manifest.json"
    document = json.loads(path.read_text())
    assert document["format"] == 1
    assert document["started"] == "2026-11-20T01:00:00.000Z"
    assert document["parts"][0]["postgres"]["tables"][0]["rows"] == 5340
