"""Every alarm rings by its real cause, and falls silent when that is mended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.finding import Finding, Severity
from fsbackup_tui.operations.check import PROBES
from fsbackup_tui.operations.owed import _write as write_owed
from fsbackup_tui.operations.permissions import (
    mend,
    open_repository_paths,
    open_secret_files,
    open_state_paths,
)
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.probes.probe import Probe
from fsbackup_tui.operations.recovery_requests import FreezeRequest
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.repository.incidents import (
    Author,
    IncidentJournal,
    list_incidents,
    open_incident,
)
from fsbackup_tui.tui.modes.retention_lines import full_words
from fsbackup_tui.tui.site_retention import read_retention
from tests.support.checking import Watched, healthy
from tests.support.points import verify_record

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FREEZE = FreezeRequest(part="db")
FAILED = Problem("server-unreachable", "SERVER NOT REACHED: db1.", "It is off.", "Start it.", 1)


def test_of_a_healthy_site_there_is_nothing_to_say(tmp_path: Path) -> None:
    site = healthy(tmp_path, more="objectives: {rpo: 24h, rto: 30m}\n")
    site.drill(site.point(HOUR).id)
    check = site.check()
    assert check.findings == ()
    assert check.state == "OK"
    assert all(check.probes.values())


@dataclass(frozen=True)
class Alarm:
    """What rings: its id, how bad it is, what makes it ring, and what mends it."""

    id: str
    severity: Severity
    ring: Callable[[Watched], None]
    mend: Callable[[Watched], None]
    more: str = ""
    plan: str = ""
    says: str = ""


def newest(site: Watched) -> str:
    return max(path.name for path in site.repository.points.iterdir())


def later(span: timedelta) -> Callable[[Watched], None]:
    def ring(site: Watched) -> None:
        site.now += span

    return ring


def a_new_point(site: Watched) -> None:
    site.point(timedelta(minutes=1))


def suspect(site: Watched) -> None:
    site.point(HOUR, suspect=["videos 5340 to 40"])


def proof_failed(site: Watched) -> None:
    made = site.point(HOUR, level="readable")
    verify_record(
        site.repository, made.id, "restored", ok=False, problems=["no role"], now=site.now
    )


def blocked(site: Watched) -> None:
    made = site.point(HOUR, level="readable")
    verify_record(
        site.repository, made.id, "restored", ok=None, blocked=["no pg_cron"], now=site.now
    )


def climb(site: Watched) -> None:
    for level in ("sealed", "readable", "restored", "proven"):
        verify_record(site.repository, newest(site), level, now=site.now)


def damage(site: Watched) -> None:
    path = site.repository.points / newest(site) / "manifest.json"
    path.write_text(path.read_text()[:40])


def restore_from_copy(site: Watched) -> None:
    shutil.rmtree(site.repository.points / newest(site))
    shutil.rmtree(site.repository.records / newest(site), ignore_errors=True)
    site.point(timedelta(minutes=1))


def open_up(site: Watched) -> None:
    (site.repository.points / newest(site) / "manifest.json").chmod(0o644)


def open_state(site: Watched) -> None:
    (site.state / "restore-rights.json").chmod(0o666)


def doctor_fix(site: Watched) -> None:
    found = [*open_repository_paths(site.repository, None), *open_state_paths(site.state),
             *open_secret_files(site.loaded)]  # fmt: skip
    assert mend(found)[1] == []


def open_env_file(site: Watched) -> None:
    path = site.directory / ".env"
    path.write_text("DATABASE_URL=x\n")
    path.chmod(0o644)


def declare(site: Watched) -> None:
    author = Author("ana", "db1", lambda: site.now)
    open_incident(
        site.state, author, site="shop", source="db", seen="rows", last_right=None, zone=UTC
    )


def forget_incident(site: Watched) -> None:
    declare(site)
    site.now += DAY


def freeze(site: Watched) -> None:
    declare(site)
    journal = _journal(site)
    author = Author("ana", "db1", lambda: site.now)
    journal.append("frozen", {"what": "role app", "grade": "role"}, author, epoch=1)


def close(site: Watched) -> None:
    author = Author("ana", "db1", lambda: site.now)
    _journal(site).append("closed", {"why": "done"}, author, epoch=1)
    site.point(timedelta(minutes=1))


def _journal(site: Watched) -> IncidentJournal:
    return list_incidents(site.state)[0]


def backup_failed(site: Watched) -> None:
    site.job("failed", problem=FAILED)


def backup_worked(site: Watched) -> None:
    site.job("ok", ago=timedelta(minutes=5))


def lose_freeze(site: Watched) -> None:
    site.job("lost", request=FREEZE)


def freeze_again(site: Watched) -> None:
    site.job("ok", ago=timedelta(minutes=5), request=FREEZE)


def lose_verify(site: Watched) -> None:
    site.job("lost", request=VerifyRequest(point="p1"))


def verify_again(site: Watched) -> None:
    site.job("ok", ago=timedelta(minutes=5), request=VerifyRequest(point="p1"))


def owing(site: Watched) -> None:
    write_owed(site.job("lost"), {"after": "Run what follows it: /srv/bin/resume-cleanup"})


def clock_back(site: Watched) -> None:
    site.now -= 2 * DAY


def clock_right(site: Watched) -> None:
    site.now += 2 * DAY


def clock_was_ahead(site: Watched) -> None:
    site.point(-40 * DAY)


def said_so_and_backed_up(site: Watched) -> None:
    path = site.state / "retention.json"
    path.write_text(json.dumps({"accepted": format_time(site.now + 41 * DAY)}))
    path.chmod(0o600)
    # What is ahead is still the newest that there is.
    assert "retain --apply --confirm shop, and a backup" in site.found()["clock"].fix
    site.point(timedelta(0))


def unmount(site: Watched) -> None:
    site.repository.root.rename(site.directory / "elsewhere")


def mount(site: Watched) -> None:
    (site.directory / "elsewhere").rename(site.repository.root)


def shrink(site: Watched) -> None:
    for days in range(4, 14):
        site.point(days * DAY, rows=5340)
    site.point(HOUR, rows=4300)


def failed_drill(site: Watched) -> None:
    site.drill(newest(site), outcome="failed")


def slow_drill(site: Watched) -> None:
    site.drill(newest(site), seconds=3600)


def good_drill(site: Watched) -> None:
    site.now += timedelta(minutes=1)
    site.drill(newest(site))


def hold(site: Watched) -> None:
    path = site.repository.holds / "20251101-01.json"
    path.write_text('{"incident": "20251101-01", "host": "db9"}')
    old = (site.now - 3 * DAY).timestamp()
    os.utime(path, (old, old))


def unhold(site: Watched) -> None:
    (site.repository.holds / "20251101-01.json").unlink()


ALARMS = [
    Alarm("rpo:db", "critical", later(2 * DAY), a_new_point, more="objectives: {rpo: 24h}\n",
          says="BACKUP TOO OLD: db has none that is good since"),
    Alarm("rpo:db", "warning", later(2 * DAY), a_new_point, says="26 h is the limit"),
    Alarm("suspect:daily", "critical", suspect, lambda site: site.clear(newest(site)),
          says="videos 5340 to 40"),
    Alarm("proof-failed:daily", "critical", proof_failed, a_new_point, says="PROOF FAILED"),
    Alarm("not-tried:daily", "warning", blocked, climb, says="NOT TRIED"),
    Alarm("trust:daily", "warning", lambda site: _sealed(site), climb,
          says="is sealed, its plan wants proven"),
    Alarm("proof-age:daily", "warning", lambda site: _stale(site, 9), climb,
          plan=", verify_every: 7d", says="nothing of daily was shown proven for 9 d"),
    Alarm("proof-age:daily", "critical", lambda site: _stale(site, 15), climb,
          plan=", verify_every: 7d"),
    Alarm("permissions:repository", "warning", open_up, doctor_fix, says="every user may read it"),
    Alarm("permissions:state", "critical", open_state, doctor_fix),
    Alarm("permissions:secrets", "warning", open_env_file, doctor_fix, more="env_file: .env\n"),
    Alarm("backup-failed:daily", "critical", backup_failed, backup_worked,
          says="BACKUP FAILED: plan daily"),
    Alarm("backup-failed:daily", "critical", lambda site: _lose_backup(site), backup_worked,
          says="BACKUP LOST: plan daily"),
    Alarm("job-lost:freeze:db", "critical", lose_freeze, freeze_again, says="JOB LOST: freeze db"),
    Alarm("job-lost:verify:p1", "warning", lose_verify, verify_again),
    Alarm("clock", "critical", clock_back, clock_right, says="CLOCK BEHIND"),
    Alarm("clock", "critical", clock_was_ahead, said_so_and_backed_up,
          says="CLOCK BEHIND"),
    Alarm("repository", "critical", unmount, mount),
    Alarm("shrunk:daily:db:rows", "warning", shrink, lambda site: site.clear(newest(site)),
          says="4 300 rows, 5 340 expected (−19 %)"),
    Alarm("drill-failed", "critical", failed_drill, good_drill, says="DRILL FAILED"),
    Alarm("drill-rto", "warning", slow_drill, good_drill, more="objectives: {rto: 30m}\n",
          says="took 1 h 00 m; 30 m 00 s was promised"),
    Alarm("drill-never", "warning", lambda site: None, good_drill, more="objectives: {rto: 30m}\n"),
    Alarm("hold:20251101-01", "warning", hold, unhold, says="stops retention"),
    Alarm("restore-rights", "critical", lambda site: site.know_rights(False),
          lambda site: site.know_rights(True), says="RESTORE RIGHTS MISSING"),
    Alarm("restore-rights", "warning", lambda site: site.know_rights(None),
          lambda site: site.know_rights(True), says="RESTORE RIGHTS NOT KNOWN"),
]  # fmt: skip


def _sealed(site: Watched) -> None:
    site.point(HOUR, level="sealed")


def _stale(site: Watched, days: int) -> None:
    shutil.rmtree(site.repository.records)
    site.repository.records.mkdir(mode=0o700)
    for point in sorted(path.name for path in site.repository.points.iterdir()):
        for level in ("sealed", "readable", "restored", "proven"):
            verify_record(site.repository, point, level, now=site.now - days * DAY)


def _lose_backup(site: Watched) -> None:
    site.job("lost")


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: f"{alarm.id}-{alarm.severity}")
def test_it_rings_by_its_cause_and_falls_silent_when_that_is_mended(
    alarm: Alarm, tmp_path: Path
) -> None:
    site = healthy(tmp_path, more=alarm.more, plan=alarm.plan)
    if alarm.id != "drill-never":
        assert alarm.id not in site.found()
    alarm.ring(site)
    finding = site.found()[alarm.id]
    assert finding.severity == alarm.severity
    assert alarm.says in finding.what
    for text in (finding.what, finding.why, finding.fix):
        assert text
    assert finding.since is not None
    assert finding.since <= site.now
    alarm.mend(site)
    assert alarm.id not in site.found()


def test_a_damaged_point_is_told_by_its_name_until_it_is_replaced(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    damage(site)
    name = newest(site)
    assert site.found()[f"damaged:{name}"].severity == "critical"
    restore_from_copy(site)
    assert not any(identifier.startswith("damaged") for identifier in site.found())


def test_an_open_incident_is_told_worse_when_forgotten_and_not_when_closed(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    freeze(site)
    found = {name.partition(":")[0]: finding for name, finding in site.found().items()}
    assert found["incident-open"].severity == "warning"
    assert found["frozen"].severity == "critical"
    assert "WRITES FROZEN 0 m: role app" in found["frozen"].what
    site.now += DAY
    found = {name.partition(":")[0]: finding for name, finding in site.found().items()}
    assert found["incident-open"].severity == "critical"
    assert "nothing done for 24 h" in found["incident-open"].what
    close(site)
    assert not any(name.startswith(("incident", "frozen")) for name in site.found())


def test_what_a_lost_job_owes_is_told_until_the_next_one_has_done_it(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    owing(site)
    owed = next(f for name, f in site.found().items() if name.startswith("owed:"))
    assert owed.severity == "critical"
    assert "/srv/bin/resume-cleanup" in owed.fix
    backup_worked(site)
    assert not any(name.startswith("owed:") for name in site.found())


def test_nothing_is_said_of_a_backup_that_was_cancelled_or_found_its_plan_busy(
    tmp_path: Path,
) -> None:
    site = healthy(tmp_path)
    site.job("cancelled", problem=FAILED)
    busy = Problem("locked", "LOCKED: plan daily.", "", "", 3)
    site.job("failed", ago=timedelta(minutes=30), problem=busy)
    assert site.found() == {}
    site.job("failed", ago=timedelta(hours=2), problem=FAILED)
    assert list(site.found()) == ["backup-failed:daily"]


def test_no_point_at_all_is_critical_and_a_first_one_that_is_good_is_enough(tmp_path: Path) -> None:
    site = Watched(tmp_path)
    assert site.found()["rpo:db"].what.startswith("NO GOOD BACKUP of db")
    assert site.check().state == "CRITICAL"
    site.point(HOUR)
    assert site.check().state == "OK"


def test_what_was_never_restored_is_told(tmp_path: Path) -> None:
    site = Watched(tmp_path)
    site.configure()
    site.point(HOUR, level="readable")
    assert site.found()["never-proven"].severity == "warning"
    climb(site)
    assert "never-proven" not in site.found()


def disk_with(monkeypatch: pytest.MonkeyPatch, **left: int) -> dict[str, int]:
    """Have every disk have so much left; what is changed in the returned values counts at once."""
    real = os.statvfs
    places = {"block_size": 1, "blocks": 4, "inodes_in_all": 5, "inodes": 7}

    def statvfs(path: str | os.PathLike[str] | int) -> os.statvfs_result:
        facts: list[int] = list(real(path))
        for name, value in left.items():
            facts[places[name]] = value
        return os.statvfs_result(facts)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return left


def test_a_disk_without_room_for_the_next_backup_is_critical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = healthy(tmp_path)
    left = disk_with(monkeypatch, blocks=0)
    assert site.found()["disk-space"].severity == "critical"
    left["blocks"] = 1 << 30
    assert "disk-space" not in site.found()


def test_a_disk_that_fills_is_foretold_by_what_was_left_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = healthy(tmp_path)
    left = disk_with(monkeypatch, block_size=4096, blocks=18_500_000)

    def a_day_on() -> None:
        site.now += DAY
        left["blocks"] -= 1_000_000

    for _ in range(5):
        assert "disk-forecast" not in site.found()
        a_day_on()
    assert site.found()["disk-forecast"].severity == "warning"
    assert site.found()["disk-forecast"].what.startswith("DISK FULL IN 13 d")
    for _ in range(11):
        a_day_on()
        site.found()
    assert site.found()["disk-forecast"].severity == "critical"
    left["blocks"] = 100_000_000
    assert "disk-forecast" not in site.found()


def test_check_and_the_screen_of_retention_foretell_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = healthy(tmp_path, plan=", keep: {within: 2d}")
    left = disk_with(monkeypatch, block_size=4096, blocks=10_500_000)
    for _ in range(4):
        site.found()
        site.now += DAY
        left["blocks"] -= 1_000_000
    found = site.found()["disk-forecast"]
    view = read_retention(site.loaded, site.environ, site.repository, site.now).with_growth()
    assert view.others == pytest.approx(4096 * 1_000_000, rel=0.01)
    soon = full_words(view.growth).removeprefix("full in ")
    assert found.what.startswith(f"DISK FULL IN {soon}: ")
    assert soon == "6 d"


def test_few_inodes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = healthy(tmp_path)
    left = disk_with(monkeypatch, inodes_in_all=1000, inodes=8)
    assert site.found()["disk-inodes"].severity == "critical"
    left["inodes"] = 30
    assert site.found()["disk-inodes"].severity == "warning"
    left["inodes"] = 500
    assert "disk-inodes" not in site.found()


def test_growth_is_a_note_and_no_alarm(tmp_path: Path) -> None:
    site = Watched(tmp_path)
    for days in range(10, 0, -1):
        site.point(days * DAY, rows=5340)
    site.point(HOUR, rows=9000)
    check = site.check()
    assert check.findings == ()
    assert any("9 000 rows, 5 340 expected (+69 %)" in note for note in check.notes)


def test_only_good_points_are_history(tmp_path: Path) -> None:
    site = Watched(tmp_path)
    for days in range(20, 10, -1):
        site.point(days * DAY, rows=5340)
    for days in range(10, 0, -1):
        site.point(days * DAY, rows=40, level="")
    site.point(HOUR, rows=5340)
    assert site.check().findings == ()


def test_since_is_kept_from_look_to_look_and_forgotten_when_it_is_mended(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    open_up(site)
    began = site.now
    assert site.found()["permissions:repository"].since == began
    site.now += HOUR
    assert site.found()["permissions:repository"].since == began
    doctor_fix(site)
    site.found()
    open_up(site)
    assert site.found()["permissions:repository"].since == site.now


def _breaking(ground: Ground) -> list[Finding]:
    raise RuntimeError("surprise")


def _refusing(ground: Ground) -> list[Finding]:
    raise FsbackupError("NOT ALLOWED.", fix="Ask root.")


async def _endless(ground: Ground) -> list[Finding]:
    await asyncio.Event().wait()
    return []


def _half_way(ground: Ground) -> Iterator[Finding]:
    yield Finding("found", "warning", None, "W", "y", "f")
    raise RuntimeError("later")


@pytest.mark.parametrize("look", [_breaking, _refusing, _endless])
def test_a_look_that_breaks_is_unknown_and_the_others_go_on(
    tmp_path: Path, look: Callable[[Ground], Iterable[Finding]]
) -> None:
    site = healthy(tmp_path)
    check = site.check([Probe("odd", "something odd", look, seconds=0.05), PROBES[0]])
    assert check.state == "UNKNOWN"
    assert [finding.id for finding in check.findings] == ["unknown:odd"]
    assert check.probes == {"odd": False, "repository": True}


def test_what_was_found_before_a_look_broke_is_told(tmp_path: Path) -> None:
    check = healthy(tmp_path).check([Probe("odd", "something odd", _half_way)])
    assert [finding.id for finding in check.findings] == ["found", "unknown:odd"]
    assert check.state == "WARNING"


def test_names_of_looks_are_single(tmp_path: Path) -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert stat.S_IMODE((healthy(tmp_path).state).stat().st_mode) == 0o700
