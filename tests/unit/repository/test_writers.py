"""Who writes: one id per host, made once, refused once another took its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import RepositoryError, WriterRetired
from fsbackup_tui.repository.layout import Repository, create_repository
from fsbackup_tui.repository.writers import (
    Retirement,
    Writer,
    refuse_retired,
    retire,
    retirements,
    retirements_in,
    this_writer,
    writer_files,
    writers,
)

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return create_repository(tmp_path / "repository", "shop", NOW)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir()
    return state / "id"


def test_a_host_gets_one_id_and_keeps_it(repository: Repository, state: Path) -> None:
    assert writers(repository) == []
    first = this_writer(repository, state, "old", NOW)
    again = this_writer(repository, state, "renamed", NOW + timedelta(days=1))
    assert again == first
    assert writers(repository) == [first]
    assert (state / "writer.json").stat().st_mode & 0o777 == 0o600
    assert (repository.root / "writers" / f"{first.id}.json").stat().st_mode & 0o777 == 0o600


def test_it_tells_a_repository_that_lost_its_file(repository: Repository, state: Path) -> None:
    writer = this_writer(repository, state, "old", NOW)
    (repository.root / "writers" / f"{writer.id}.json").unlink()
    this_writer(repository, state, "old", NOW)
    assert writers(repository) == [writer]


def test_a_retired_one_is_refused_and_another_is_not(repository: Repository, state: Path) -> None:
    old = this_writer(repository, state, "old", NOW)
    new = this_writer(repository, state.parent / "other", "old", NOW, rebuilt=True)
    retire(repository, Retirement(old.id, "old", "ana on new", NOW, "new took its place"))
    retired = retirements(repository)
    refuse_retired(new, retired, "s3")
    with pytest.raises(WriterRetired) as refused:
        refuse_retired(old, retired, "s3")
    assert refused.value.exit_code == 3
    assert refused.value.what.startswith("WRITER RETIRED: this host (old)")
    assert "by ana on new at 2026-11-23T02:00:00.000Z: new took its place" in refused.value.why


def test_what_retired_it_first_stays(repository: Repository, state: Path) -> None:
    old = this_writer(repository, state, "old", NOW)
    for why in ("first", "second"):
        retire(repository, Retirement(old.id, "old", "ana", NOW, why))
    assert [each.why for each in retirements(repository)] == ["first"]


def test_a_host_without_an_id_is_retired_by_its_name(repository: Repository) -> None:
    retire(repository, Retirement("", "old", "ana", NOW, "gone"))
    retired = retirements(repository)
    with pytest.raises(WriterRetired):
        refuse_retired(Writer("0" * 16, "old", NOW + timedelta(days=2)), retired, "s3")
    refuse_retired(Writer("0" * 16, "old", NOW, rebuilt=True), retired, "s3")
    refuse_retired(Writer("0" * 16, "another", NOW), retired, "s3")


def test_a_damaged_retirement_retires_all_the_same(repository: Repository, state: Path) -> None:
    old = this_writer(repository, state, "old", NOW)
    path = retire(repository, Retirement(old.id, "old", "ana", NOW, "gone"))
    path.chmod(0o600)
    path.write_bytes(b"{")
    with pytest.raises(WriterRetired, match="this host"):
        refuse_retired(old, retirements(repository), "s3")


def test_foreign_files_are_passed_over(repository: Repository, state: Path) -> None:
    this_writer(repository, state, "old", NOW)
    for name in ("notes.json", "x.retired.json", ".tmp-1", "0" * 16):
        (repository.root / "writers" / name).write_bytes(b"{}")
    assert len(writer_files(repository)) == 1
    assert retirements_in({"x.retired.json": b"{}"}) == []


def test_an_id_that_cant_be_read_is_not_replaced(repository: Repository, state: Path) -> None:
    this_writer(repository, state, "old", NOW)
    (state / "writer.json").write_bytes(b"no json")
    with pytest.raises(RepositoryError, match="WRITER UNKNOWN"):
        this_writer(repository, state, "old", NOW)
