"""What other tools showed green for months: each is told here, by what makes it so.

One test for each kind of failure that was found too late elsewhere.
"""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.jobs import check as jobs_check
from fsbackup_tui.jobs.check import check_site
from fsbackup_tui.operations.check import PROBES
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.probes.probe import Probe
from tests.support.checking import Watched, healthy
from tests.support.points import verify_record

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


NIGHTLY = ', at: "02:00"'


def nights(site: Watched, *back: int, level: str = "proven", suspect: tuple[str, ...] = ()) -> None:
    """Points of some nights, a minute after 02:00, so many nights ago (0: the last one)."""
    for night in sorted(back, reverse=True):
        at = site.now.replace(hour=2, minute=1) - night * DAY
        site.point(site.now - at, level=level, suspect=suspect)


def test_backups_that_silently_stopped_months_ago(tmp_path: Path) -> None:
    site = Watched(tmp_path, plan=NIGHTLY)
    nights(site, *range(90, 97))
    found = site.found()["backup-age:daily"]
    assert found.severity == "critical"
    assert "50 runs in a row" in found.what
    assert "90 d ago" in found.why
    nights(site, 0)
    assert "backup-age:daily" not in site.found()


def test_one_night_missed_is_a_warning_two_are_critical_and_a_third_day_tells_the_gap(
    tmp_path: Path,
) -> None:
    site = Watched(tmp_path, plan=NIGHTLY)
    nights(site, *range(8))
    assert site.check().state == "OK"
    site.now += DAY
    assert site.found()["backup-age:daily"].severity == "warning"
    site.now += DAY
    assert site.found()["backup-age:daily"].severity == "critical"
    nights(site, 0)
    assert list(site.found()) == ["backup-count:daily"]
    assert "6 good points of 7 runs" in site.found()["backup-count:daily"].what


def test_a_missed_night_beyond_what_was_promised_is_critical_at_once(tmp_path: Path) -> None:
    site = Watched(tmp_path, plan=NIGHTLY, more="objectives: {rpo: 24h}\n")
    nights(site, *range(8))
    site.now += DAY
    assert site.found()["backup-age:daily"].severity == "critical"


def test_eight_empty_files_in_seven_days_are_none_of_seven(tmp_path: Path) -> None:
    site = Watched(tmp_path, plan=NIGHTLY)
    nights(site, *range(7, 14))
    nights(site, *range(7), suspect=("videos 5340 to 0",))
    found = site.found()
    assert found["suspect:daily"].severity == "critical"
    assert found["backup-age:daily"].severity == "critical"
    assert "7 runs in a row" in found["backup-age:daily"].what


def test_a_job_that_is_in_progress_for_ever_is_no_backup(tmp_path: Path) -> None:
    site = Watched(tmp_path, plan=NIGHTLY)
    nights(site, *range(2, 9))
    running = site.job("running", ago=30 * HOUR)
    descriptor = os.open(running / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        found = site.found()
    finally:
        os.close(descriptor)
    stuck = found[f"job-stuck:{running.name}"]
    assert stuck.severity == "critical"
    assert "nothing moved for 30 h" in stuck.what
    assert found["backup-age:daily"].severity == "critical"
    # Its worker is gone now: it is lost.
    assert "backup-failed:daily" in site.found()


def test_a_gate_that_was_cancelled_three_nights_never_ran(tmp_path: Path) -> None:
    site = Watched(tmp_path, plan=NIGHTLY)
    nights(site, *range(3, 10))
    for night in range(3):
        site.job("cancelled", ago=night * DAY + 9 * HOUR)
    assert site.found()["backup-age:daily"].severity == "critical"


def test_verification_that_says_success_and_records_nothing(tmp_path: Path) -> None:
    site = Watched(tmp_path, plan=", verify_every: 7d")
    for days in (9, 8, 7, 6):
        site.point(days * DAY + HOUR)
    for days in range(6):
        site.point(days * DAY + HOUR, level="sealed")
    site.now += 3 * DAY
    found = site.found()
    assert found["trust:daily"].what.endswith("is sealed, its plan wants proven.")
    assert found["proof-age:daily"].severity == "warning"


def test_a_skipped_verification_is_not_a_passed_one(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    made = site.point(HOUR, level="readable")
    verify_record(
        site.repository, made.id, "restored", ok=None, blocked=["no server"], now=site.now
    )
    assert site.found()["not-tried:daily"].severity == "warning"


def test_the_retention_that_took_the_good_ones(tmp_path: Path) -> None:
    import shutil

    site = healthy(tmp_path)
    for point in list(site.repository.points.iterdir()):
        shutil.rmtree(point)
        shutil.rmtree(site.repository.records / point.name)
    site.point(HOUR, suspect=["videos 5340 to 0"])
    assert site.found()["rpo:db"].what.startswith("NO GOOD BACKUP of db")


def test_backups_that_are_silently_unencrypted(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    passphrase = "encryption: {method: age, passphrase: {env: P}}\n"
    site.configure(more=passphrase)
    found = site.found()["plain:daily"]
    assert found.severity == "critical"
    assert found.what.startswith("NOT ENCRYPTED: db of ")
    site.configure()
    assert "plain:daily" not in site.found()


def test_a_pg_dump_of_another_major_that_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = healthy(tmp_path)
    looks = [probe for probe in PROBES if probe.name == "clients"]
    monkeypatch.setenv("FSBACKUP_CLIENTS", str(tmp_path / "empty"))
    found = site.found(looks)["client:db"]
    assert found.severity == "critical"
    assert "postgresql-client-15" in found.fix


def test_a_failure_that_nobody_was_told_of(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    site.job("failed", problem=Problem("failed", "DISK FULL.", "", "", 1))
    check = site.check()
    assert check.state == "CRITICAL"
    assert check.findings[0].id == "backup-failed:daily"


def test_one_wedged_look_starves_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = healthy(tmp_path)
    release = threading.Event()

    def wedged(ground: Ground) -> list[Finding]:
        release.wait(60)
        return []

    monkeypatch.setattr(jobs_check, "site_jobs", lambda state: ())
    looks = [*PROBES[:2], Probe("disk", "a disk that does not answer", wedged)]
    try:
        check = check_site(site.loaded, site.environ, site.now, seconds=0.5, probes=looks)
    finally:
        release.set()
    assert check.state == "UNKNOWN"
    assert "did not answer" in check.findings[0].why


def test_a_site_that_can_not_be_opened_is_unknown_and_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fsbackup_tui.cli.main import run_command_line

    missing = tmp_path / "none.yaml"
    assert run_command_line(["--config", str(missing), "check"]) == 3
    assert capsys.readouterr().out.startswith("FSBACKUP UNKNOWN - -: ")


def test_a_drill_that_its_schedule_wants_and_nobody_held(
    tmp_path: Path,
) -> None:
    site = healthy(tmp_path, more='drills: {weekly: {at: "Sun 04:00"}}\n')
    name = min(path.name for path in site.repository.points.iterdir())
    site.drill(name)
    assert "drill-age:weekly" not in site.found()
    site.now += 4 * DAY
    assert site.found()["drill-age:weekly"].what.startswith("DRILL OVERDUE: weekly was due ")
    site.drill(name)
    assert "drill-age:weekly" not in site.found()
