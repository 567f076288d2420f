"""Copies elsewhere: told when they are behind, wrong or never read back, and when they are not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from fsbackup_tui.repository.records import write_record
from tests.support.checking import Watched

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MORE = "replicas: {s3: {rclone: 's3:bucket/shop'}}\n"


def watched(directory: Path) -> Watched:
    return Watched(directory, plan=", replicas: [s3]", more=MORE)


def record(site: Watched, point: str, kind: str, **document: object) -> None:
    known = {"replica": "s3", "bytes": 1, "artifacts": 1, "seconds": 1.0, **document}
    write_record(site.repository, point, kind, known, now=site.now, job="r", operator="ana")


def test_a_replica_that_never_got_a_point_and_one_that_lags(tmp_path: Path) -> None:
    site = watched(tmp_path)
    first = site.point(HOUR)
    assert "replica-lag:s3" not in site.found()
    site.now += 8 * HOUR
    assert site.found()["replica-lag:s3"].severity == "critical"
    assert site.found()["replica-lag:s3"].why.startswith("It never had one.")
    record(site, first.id, "copied")
    assert "replica-lag:s3" not in site.found()
    second = site.point(HOUR)
    site.now += 7 * HOUR
    assert site.found()["replica-lag:s3"].severity == "warning"
    site.now += DAY
    late = site.found()["replica-lag:s3"]
    assert late.severity == "critical"
    assert late.since == second.started
    record(site, second.id, "copied")
    assert "replica-lag:s3" not in site.found()


def test_a_point_that_is_not_good_has_nothing_to_be_copied(tmp_path: Path) -> None:
    site = watched(tmp_path)
    record(site, site.point(2 * HOUR).id, "copied")
    site.point(HOUR, suspect=["videos 5340 to 0"])
    site.now += DAY
    assert "replica-lag:s3" not in site.found()


def test_a_copy_that_is_wrong_is_told_until_it_is_whole_again(tmp_path: Path) -> None:
    site = watched(tmp_path)
    point = site.point(HOUR)
    record(site, point.id, "copied")
    record(site, point.id, "uncopied", why="db/database.dump differs")
    found = site.found()["replica-wrong:s3"]
    assert found.severity == "critical"
    assert "db/database.dump differs" in found.why
    record(site, point.id, "copied")
    assert "replica-wrong:s3" not in site.found()


def test_a_copy_that_is_never_read_back_is_told_until_it_is(tmp_path: Path) -> None:
    site = watched(tmp_path)
    point = site.point(HOUR)
    record(site, point.id, "copied")
    site.now += 29 * DAY
    assert "replica-unread:s3" not in site.found()
    site.now += 3 * DAY
    assert site.found()["replica-unread:s3"].severity == "warning"
    record(site, point.id, "copied", read_back=True)
    assert "replica-unread:s3" not in site.found()
