"""The catalogue is a cache: fast, shared, deletable, and never in the way."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository.catalog import CATALOGUE_NAME, Catalogue
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.spares import KIND, Spare
from tests.support.points import (
    START,
    begin_point,
    make_point,
    make_repository,
    part,
    table,
    verify_record,
    write_part,
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def age_stamps(repository: Repository) -> None:
    """Make what was just written look as if it had lain there for a while."""
    for path in [*repository.points.glob("*/manifest.json"), *repository.records.iterdir()]:
        facts = path.stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - 10_000_000_000))


def make_week(repository: Repository) -> list[str]:
    rows = (1000, 1100, 1100, 880, 1760)
    return [
        make_point(
            repository,
            part(tables=[table("videos", count)]),
            created=START + timedelta(days=day),
            content=b"x" * (100 - day),
        ).id
        for day, count in enumerate(rows)
    ]


def test_it_shows_what_the_repository_holds_newest_first(
    repository: Repository, state: Path
) -> None:
    ids = make_week(repository)
    with Catalogue.open(state, repository) as catalogue:
        assert catalogue.points() == []
        assert set(catalogue.refresh().changed) == set(ids)
        assert [point.id for point in catalogue.points()] == ids[::-1]
        changes = [point.rows_change for point in catalogue.points(descending=False)]
        assert changes == [None, pytest.approx(0.1), 0.0, pytest.approx(-0.2), pytest.approx(1.0)]
        assert catalogue.count() == 5
        newest = catalogue.point(ids[-1])
        assert newest is not None
        assert (newest.rows, newest.seconds, newest.database_bytes) == (1760, 42.0, 1_200_000_000)
        assert catalogue.point("nothing") is None


def test_only_what_changed_is_read_again(repository: Repository, state: Path) -> None:
    ids = make_week(repository)
    age_stamps(repository)
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        revision = catalogue.revision()
        assert not catalogue.refresh()
        assert catalogue.revision() == revision
        verify_record(repository, ids[2], "sealed")
        assert catalogue.refresh().changed == (ids[2],)
        assert catalogue.revision() != revision
        repository.point_directory(ids[0]).rename(repository.trash / ids[0])
        assert catalogue.refresh().gone == (ids[0],)
        assert catalogue.count() == 4


def test_a_second_record_within_the_same_clock_tick_is_seen(
    repository: Repository, state: Path
) -> None:
    point = make_point(repository).id
    with Catalogue.open(state, repository) as catalogue:
        verify_record(repository, point, "sealed")
        directory = repository.records / point
        stamp = directory.stat().st_mtime_ns
        catalogue.refresh()
        verify_record(repository, point, "readable")
        os.utime(directory, ns=(stamp, stamp))
        catalogue.refresh()
        found = catalogue.point(point)
        assert found is not None
        assert found.trust is Trust.READABLE


def test_deleting_it_brings_everything_back(repository: Repository, state: Path) -> None:
    ids = make_week(repository)
    verify_record(repository, ids[0], "sealed")
    write_record(repository, ids[1], "pinned", {}, now=START, job="j", operator="ana")
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        before = catalogue.points()
    for path in state.iterdir():
        path.unlink()
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        assert catalogue.points() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" * 300])
def test_a_broken_file_is_made_anew_silently(
    repository: Repository, state: Path, content: bytes
) -> None:
    make_week(repository)
    (state / CATALOGUE_NAME).write_bytes(content)
    with Catalogue.open(state, repository) as catalogue:
        assert not catalogue.in_memory
        catalogue.refresh()
        assert catalogue.count() == 5


def test_a_file_that_breaks_while_it_is_open_is_rebuilt(
    repository: Repository, state: Path
) -> None:
    make_week(repository)
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        other = sqlite3.connect(state / CATALOGUE_NAME)
        other.execute("DROP TABLE points")
        other.close()
        assert catalogue.count() == 5


def test_the_catalogue_of_another_fsbackup_is_replaced(repository: Repository, state: Path) -> None:
    make_week(repository)
    foreign = sqlite3.connect(state / CATALOGUE_NAME)
    foreign.execute("CREATE TABLE points (other)")
    foreign.execute("PRAGMA user_version = 4711")
    foreign.commit()
    foreign.close()
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        assert catalogue.count() == 5


def test_without_a_writable_state_it_lives_in_memory(
    repository: Repository, tmp_path: Path
) -> None:
    make_week(repository)
    blocked = tmp_path / "file"
    blocked.touch()
    # Where not even a look is allowed (the state of another user), the system refuses as here.
    for state in (blocked / "state", tmp_path / ("x" * 300)):
        with Catalogue.open(state, repository) as catalogue:
            assert catalogue.in_memory
            catalogue.refresh()
            assert catalogue.count() == 5


def test_it_is_private(repository: Repository, state: Path) -> None:
    make_week(repository)
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()}
    assert set(modes.values()) == {0o600}


def test_readers_do_not_wait_for_a_writer(repository: Repository, state: Path) -> None:
    ids = make_week(repository)
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        writer = sqlite3.connect(state / CATALOGUE_NAME, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM points")
        with Catalogue.open(state, repository) as reader:
            assert not reader.in_memory
            assert [point.id for point in reader.points()] == ids[::-1]
        writer.execute("ROLLBACK")
        writer.close()


def test_many_refresh_it_at_once(repository: Repository, state: Path) -> None:
    ids = make_week(repository)

    def work(_: int) -> list[list[str]]:
        with Catalogue.open(state, repository) as catalogue:
            seen = []
            for _ in range(5):
                catalogue.refresh()
                seen.append([point.id for point in catalogue.points()])
            return seen

    with ThreadPoolExecutor(4) as pool:
        for seen in pool.map(work, range(4)):
            assert seen == [ids[::-1]] * 5


def test_filters_orders_and_pages(repository: Repository, state: Path) -> None:
    ids = make_week(repository)
    weekly = make_point(repository, created=START + timedelta(days=9), plan="weekly-schema").id
    verify_record(repository, ids[3], "sealed")
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()

        def shown(**arguments: object) -> list[str]:
            return [point.id for point in catalogue.points(**arguments)]  # type: ignore[arg-type]

        assert shown(plan="weekly-schema") == [weekly]
        assert shown(since=START + timedelta(days=4)) == [weekly, ids[4]]
        assert shown(text="WEEKLY") == [weekly]
        assert shown(text="sealed daily") == [ids[3]]
        assert shown(text="100%_") == []
        assert shown(order="size")[0] == ids[0]
        assert shown(order="trust")[0] == ids[3]
        assert shown(order="trust", descending=False)[-1] == ids[3]
        assert shown(order="created", descending=False) == [*ids, weekly]
        assert shown(limit=2, offset=1) == [ids[4], ids[3]]
        assert catalogue.count(text="daily") == 5
        assert [point.id for point in catalogue.named(ids[2][:12])] == [ids[2]]
        paged = catalogue.points(limit=1, offset=1)[0]
        assert paged.rows_change == pytest.approx(1.0)


def test_capture_order_holds_when_the_clock_was_set_back(
    repository: Repository, state: Path
) -> None:
    first = make_point(repository, created=START).id
    later = make_point(repository, created=START - timedelta(days=2)).id
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        assert [point.id for point in catalogue.points()] == [later, first]


def test_a_running_point_and_an_incomplete_one_are_told_apart(
    repository: Repository, state: Path
) -> None:
    whole = make_point(repository).id
    running = begin_point(repository, created=START + timedelta(hours=1))
    running.part_directory("db")
    incomplete = begin_point(repository, created=START - timedelta(hours=1))
    write_part(incomplete, part("db"))
    incomplete.part_directory("other")
    incomplete.abandon()
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh(running=lambda job: False)
        points = catalogue.points()
        assert [point.id for point in points] == [running.id, whole, incomplete.id]
        assert [point.running for point in points] == [True, False, False]
        assert [point.trust for point in points] == [
            Trust.INCOMPLETE,
            Trust.UNVERIFIED,
            Trust.INCOMPLETE,
        ]
        assert [item.source for item in points[2].parts] == ["db"]
        assert "never finished" in points[2].problems[0]
        write_part(running, part("db"))
        running.finish({})
        catalogue.refresh(running=lambda job: False)
        newest = catalogue.points()[0]
        assert (newest.id, newest.running, newest.whole) == (running.id, False, True)


def keep_spare(repository: Repository, point: str, *, gone: str = "") -> None:
    """Record a spare of the point's part, or that it is gone."""
    now = datetime(2026, 11, 22, 3, tzinfo=UTC)
    spare = Spare(
        point, "db", "shop__spare_k3f9", 5, "a mark", "db1:5432", None, format_time(now), {}
    )
    document = spare.document(gone=gone)
    write_record(repository, point, KIND, document, now=now, job="j", operator="o")


def test_what_it_gives_is_what_the_repository_says(repository: Repository, state: Path) -> None:
    from fsbackup_tui.repository.summary import summarise

    point = make_point(
        repository, part(tables=[table("videos", 40)], suspect=["videos 5340 to 40"])
    ).id
    verify_record(repository, point, "sealed", ok=False, problems=["naïve \u202e"])
    keep_spare(repository, point)
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
        found = catalogue.point(point)
        assert found is not None
        assert dataclasses.replace(found, rows_change=None) == summarise(repository, point)
        assert [spare.name for spare in found.spares] == ["shop__spare_k3f9"]
        keep_spare(repository, point, gone="replaced")
        catalogue.refresh()
        assert (gone := catalogue.point(point)) is not None
        assert gone.spares == ()


def test_without_a_repository_it_shows_what_it_knew(repository: Repository, state: Path) -> None:
    make_week(repository)
    with Catalogue.open(state, repository) as catalogue:
        catalogue.refresh()
    with Catalogue.open(state, None) as catalogue:
        assert not catalogue.refresh()
        assert catalogue.count() == 5
        assert catalogue.refreshed_at is not None


def test_another_process_leaves_the_file_to_one_that_still_reads_it(tmp_path: Path) -> None:
    # A file that is opened and closed beside SQLite takes all of the process's locks with it.
    with Catalogue.open(tmp_path, None) as kept:
        Catalogue.open(tmp_path, None).close()
        script = (
            "import sys; from pathlib import Path;"
            " from fsbackup_tui.repository.catalog import Catalogue;"
            " Catalogue.open(Path(sys.argv[1]), None).close()"
        )
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
        assert (tmp_path / f"{CATALOGUE_NAME}-wal").exists()
        with Catalogue.open(tmp_path, None) as again:
            assert not again.in_memory
        assert not kept.in_memory
