"""What was measured is found again in the records, through the catalogue as well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from fsbackup_tui.domain.estimate import MeasuredRun, Work, run_document
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.drills import newest_drills
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import write_record
from tests.support.points import START, make_point, make_repository

WORK = Work(100, 400)


def timed(
    repository: Repository,
    point: str,
    level: str,
    seconds: Mapping[str, float],
    *,
    job: str,
    minute: int = 5,
    place: str = "",
) -> None:
    write_record(
        repository,
        point,
        "verified",
        {"level": level, "ok": True, "timing": run_document(WORK, seconds, place)},
        now=START + timedelta(minutes=minute),
        job=job,
        operator="ana",
    )


def drilled(repository: Repository, point: str, *, job: str, minute: int) -> None:
    write_record(
        repository,
        point,
        "drill",
        {"outcome": "ok", "point": point},
        now=START + timedelta(minutes=minute),
        job=job,
        operator="ana",
    )


def test_the_rungs_of_one_job_are_one_run(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    point = make_point(repository).id
    timed(repository, point, "sealed", {"sealed": 1.0}, job="a")
    timed(repository, point, "proven", {"data": 5.0}, job="a", minute=6, place="own 17")
    timed(repository, point, "sealed", {"sealed": 2.0}, job="b", minute=7)
    drilled(repository, point, job="a", minute=8)
    with Catalogue.open(tmp_path, repository) as catalogue:
        catalogue.refresh()
        expected = (
            MeasuredRun(
                START + timedelta(minutes=6),
                WORK,
                {"sealed": 1.0, "data": 5.0},
                "own 17",
                drill=True,
            ),
            MeasuredRun(START + timedelta(minutes=7), WORK, {"sealed": 2.0}),
        )
        assert catalogue.runs() == expected
        (summary,) = catalogue.points()
        assert summary.runs == expected


def test_runs_of_several_points_come_in_the_order_they_were_made(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    first = make_point(repository).id
    second = make_point(repository, created=START + timedelta(days=1)).id
    timed(repository, second, "sealed", {"sealed": 1.0}, job="a", minute=1)
    timed(repository, first, "sealed", {"sealed": 2.0}, job="b", minute=2)
    with Catalogue.open(tmp_path, repository) as catalogue:
        catalogue.refresh()
        assert [run.seconds["sealed"] for run in catalogue.runs()] == [1.0, 2.0]


def test_a_record_without_a_measurement_is_no_run(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    point = make_point(repository).id
    document = {"level": "sealed", "ok": True, "timing": {"seconds": {"sealed": "long"}}}
    write_record(repository, point, "verified", document, now=START, job="a", operator="ana")
    with Catalogue.open(tmp_path, repository) as catalogue:
        catalogue.refresh()
        assert catalogue.runs() == ()


def test_the_newest_drills_are_found_whatever_point_they_were_held_on(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    points = [make_point(repository, created=START + timedelta(days=day)).id for day in range(3)]
    for minute, point in enumerate([points[1], points[0], points[2]]):
        drilled(repository, point, job=f"job-{minute}", minute=minute)
    found = newest_drills(repository, limit=2)
    assert [drill.job for drill in found] == ["job-2", "job-1"]
    damaged = found[0].path
    damaged.write_bytes(damaged.read_bytes().replace(b'"ok"', b'"no"'))
    assert [drill.job for drill in newest_drills(repository, limit=2)] == ["job-1", "job-0"]
    assert newest_drills(make_repository(tmp_path / "empty"), limit=5) == []
