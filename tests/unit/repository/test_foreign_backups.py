"""The adopt: directories as an inventory: what is found, bounded, remembered, forgotten."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository import foreign
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.foreign import (
    ForeignPlaces,
    adopted_identifier,
    adopted_reason,
    foreign_id,
    found_at,
    remember_verification,
    walk,
)
from fsbackup_tui.repository.layout import create_repository

DUMP = b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (i int);\nCOPY t (i) FROM stdin;\n"
WHOLE = DUMP + b"1\n\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
LONG_AGO = 1_719_741_600

Open = Callable[..., Catalogue]


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    directory = tmp_path / "backups"
    directory.mkdir()
    return directory


@pytest.fixture
def catalogue(tmp_path: Path, backups: Path) -> Open:
    """The catalogue of a state directory, looking into ``backups`` unless told otherwise."""
    (tmp_path / "state").mkdir()

    def open_it(*directories: Path) -> Catalogue:
        places = ForeignPlaces(directories or (backups,), UTC, tmp_path / "state")
        return Catalogue.open(tmp_path / "state", None, places)

    return open_it


def put(path: Path, content: bytes = WHOLE, at: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def test_an_id_is_the_same_as_long_as_the_file_is(backups: Path) -> None:
    path = put(backups / "backup.sql")
    first = found_at(path).id
    assert first == found_at(path).id
    assert first.startswith("foreign-")
    assert len(first) == 16
    others = {foreign_id(path, LONG_AGO, 5), foreign_id(path, LONG_AGO + 1, 5)}
    others |= {foreign_id(backups / "other.sql", LONG_AGO, 5), foreign_id(path, LONG_AGO, 6)}
    assert len(others | {first}) == 5


def test_what_ought_to_be_a_backup_is_found_and_nothing_else(backups: Path) -> None:
    wanted = {
        put(backups / "backup_20240630.sql.gz"),
        put(backups / "empty.sql", b""),
        put(backups / "page.sql", b"<html>"),
        put(backups / "nightly", b"PGDMP\1\2"),
        put(backups / "schema" / "deep" / "schema.sql"),
        put(backups / "weekly_backup"),
        put(backups / "keys.sql.gpg", b"\x8c\x0d\x04\x09"),
    }
    for other in (
        "backup-database.sh",
        "README.md",
        "prisma_schema_20240630.prisma",
        "backup.log",
        "backup.sql.sha256",
        ".hidden.sql",
        "photo.jpg",
        "a/b/c/d/e/too_deep.sql",
    ):
        put(backups / other, b"no backup")
    (backups / "latest.sql").symlink_to(backups / "backup_20240630.sql.gz")
    looked = walk([backups])
    assert {found.path for found in looked.found} == wanted
    assert looked.problems == ()


def test_a_directory_archive_is_one_backup(backups: Path) -> None:
    put(backups / "dump" / "toc.dat", b"PGDMP")
    put(backups / "dump" / "1.dat.gz", bytes(100))
    (found,) = walk([backups]).found
    assert (found.path, found.size) == (backups / "dump", 105)


def test_a_repository_in_there_is_not_foreign(backups: Path) -> None:
    repository = create_repository(backups / "repository", "site", datetime.now(UTC))
    put(repository.points / "20240630T100000Z-daily-aaaa" / "db" / "database.sql")
    assert walk([backups]).found == ()


def test_what_can_t_be_read_is_told(backups: Path, tmp_path: Path) -> None:
    looked = walk([tmp_path / "none", put(backups / "file.sql")])
    assert looked.found == ()
    assert looked.problems == (
        f"{tmp_path}/none can't be read (No such file or directory)",
        f"{backups}/file.sql can't be read (Not a directory)",
    )


def test_a_huge_directory_is_bounded(backups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        put(backups / f"backup_{number}.sql", b"", LONG_AGO + number)
    monkeypatch.setattr(foreign, "MOST_LISTED", 10)
    looked = walk([backups])
    assert [found.path.name for found in looked.found] == [
        f"backup_{number}.sql" for number in range(29, 19, -1)
    ]
    assert looked.problems == ("30 backups were found: the 10 newest are listed",)
    monkeypatch.setattr(foreign, "MOST_LOOKED_AT", 20)
    looked = walk([backups])
    assert len(looked.found) == 10
    assert f"{backups} holds more than 20 files: not all were seen" in looked.problems


def test_backups_are_listed_without_a_repository(backups: Path, catalogue: Open) -> None:
    put(backups / "backup_20240630_120000.sql.gz", gzip.compress(WHOLE))
    put(backups / "cut.sql", DUMP)
    with catalogue() as listed:
        assert len(listed.refresh().changed) == 2
        newest, oldest = listed.points()
        # Nothing changed: nothing is read again.
        assert not listed.refresh()
    assert [newest.foreign, oldest.foreign] == [
        str(backups / "backup_20240630_120000.sql.gz"),
        str(backups / "cut.sql"),
    ]
    assert newest.created == datetime(2024, 6, 30, 12, 0, tzinfo=UTC)
    assert (newest.trust, newest.whole, newest.plan, newest.rows) == (
        Trust.UNVERIFIED,
        False,
        "foreign",
        None,
    )
    assert newest.reason is not None
    assert "plain SQL, gzip; whole; time by its name" in newest.reason
    assert newest.problems == ()
    assert oldest.problems[0].startswith("it is cut off: ")


def test_a_backup_that_changes_is_another_one(backups: Path, catalogue: Open) -> None:
    path = put(backups / "latest_backup.sql")
    with catalogue() as listed:
        listed.refresh()
        (before,) = listed.points()
        put(path, DUMP, LONG_AGO + 1)
        changes = listed.refresh()
        (after,) = listed.points()
    assert (changes.changed, changes.gone) == ((after.id,), (before.id,))
    assert after.problems


def test_one_that_was_just_written_is_looked_at_again(backups: Path, catalogue: Open) -> None:
    path = put(backups / "backup.sql", DUMP, int(datetime.now(UTC).timestamp()))
    with catalogue() as listed:
        listed.refresh()
        assert listed.points()[0].problems[-1] == (
            "it was written to a moment ago: perhaps it is not finished yet"
        )
        os.utime(path, (LONG_AGO, LONG_AGO))
        listed.refresh()
        assert len(listed.points()[0].problems) == 1


def test_a_verification_is_remembered_until_the_backup_changes(
    backups: Path, catalogue: Open, tmp_path: Path
) -> None:
    path = put(backups / "backup.sql")
    level = {"ok": True, "at": "2026-07-05T00:00:00.000Z", "seconds": 1.5}
    document = {"trust": "readable", "levels": {"readable": level}, "problems": [], "job": "j1"}
    with catalogue() as listed:
        listed.refresh()
        remember_verification(tmp_path / "state", found_at(path).id, document)
        listed.refresh()
        (point,) = listed.points()
        assert point.trust is Trust.READABLE
        assert point.levels["readable"].seconds == 1.5
        put(path, WHOLE, LONG_AGO + 60)
        listed.refresh()
        assert listed.points()[0].trust is Trust.UNVERIFIED


def test_directories_that_are_not_named_any_more_are_forgotten(
    backups: Path, catalogue: Open, tmp_path: Path
) -> None:
    put(backups / "backup.sql")
    with catalogue() as listed:
        listed.refresh()
        assert listed.count() == 1
        assert listed.count(own=True) == 0
    (tmp_path / "elsewhere").mkdir()
    with catalogue(tmp_path / "elsewhere") as listed:
        listed.refresh()
        assert listed.count() == 0


def test_a_file_that_may_not_be_read_is_listed_as_such(
    backups: Path, catalogue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backups / "backup.sql")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(foreign, "glance", refuse)
    with catalogue() as listed:
        listed.refresh()
        (point,) = listed.points()
    assert point.problems == ("it can't be read (Permission denied)",)


def test_reading_small_ones_to_their_end_takes_no_longer_than_it_may(
    backups: Path, catalogue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backups / "backup.sql.gz", gzip.compress(WHOLE)[:-9])
    monkeypatch.setattr(foreign, "_READING_SECONDS", 0.0)
    with catalogue() as listed:
        listed.refresh()
        (point,) = listed.points()
        assert point.problems == ()
        assert "not read to its end yet" in str(point.reason)
        monkeypatch.setattr(foreign, "_READING_SECONDS", 60.0)
        listed.refresh()
        (point,) = listed.points()
    assert point.problems == ("it is cut off: its gzip data has no end",)


def test_the_reason_of_an_adopted_point_names_what_it_was_made_of() -> None:
    reason = adopted_reason(Path("/srv/backups/backup (1).sql"), "foreign-abcdefgh")
    assert adopted_identifier(reason) == "foreign-abcdefgh"
    assert adopted_identifier("deploy-4f2a") is None
    assert adopted_identifier("before (foreign-abcdefgh)") is None
