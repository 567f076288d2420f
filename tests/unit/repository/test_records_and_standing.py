"""Records count only when they are whole and speak of the manifest that is there."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.findings import sealed_findings
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import read_records, write_record
from fsbackup_tui.repository.summary import summarise
from tests.support.points import START, make_point, make_repository, part, table, verify_record


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


def test_a_fresh_point_is_unverified_and_climbs_by_its_records(repository: Repository) -> None:
    point = make_point(repository).id
    assert summarise(repository, point).trust is Trust.UNVERIFIED
    verify_record(repository, point, "sealed")
    assert summarise(repository, point).trust is Trust.SEALED
    verify_record(repository, point, "readable")
    summary = summarise(repository, point)
    assert summary.trust is Trust.READABLE
    assert set(summary.levels) == {"sealed", "readable"}
    assert summary.levels["readable"].job == "job-2"


def test_the_newest_failing_check_makes_it_damaged_and_a_later_good_one_mends_it(
    repository: Repository,
) -> None:
    point = make_point(repository).id
    verify_record(repository, point, "sealed")
    verify_record(repository, point, "sealed", ok=False, problems=["db/database.dump: altered"])
    summary = summarise(repository, point)
    assert summary.trust is Trust.DAMAGED
    assert summary.problems == ("db/database.dump: altered",)
    verify_record(repository, point, "sealed")
    assert summarise(repository, point).trust is Trust.SEALED


def test_readable_that_failed_is_not_mended_by_a_mere_seal(repository: Repository) -> None:
    point = make_point(repository).id
    verify_record(repository, point, "readable", ok=False, problems=["truncated"])
    verify_record(repository, point, "sealed")
    assert summarise(repository, point).trust is Trust.DAMAGED


def test_a_failed_trial_restore_takes_back_nothing_below(repository: Repository) -> None:
    point = make_point(repository).id
    verify_record(repository, point, "readable")
    verify_record(repository, point, "restored", ok=False, problems=["no ICU here"])
    summary = summarise(repository, point)
    assert summary.trust is Trust.READABLE
    assert "no ICU here" in summary.problems


def test_what_is_blocked_is_told_and_changes_nothing(repository: Repository) -> None:
    point = make_point(repository).id
    verify_record(repository, point, "proven")
    verify_record(repository, point, "restored", ok=None, blocked=["extension pg_cron is missing"])
    summary = summarise(repository, point)
    assert summary.trust is Trust.PROVEN
    assert summary.problems == ()
    assert summary.blocked == ("extension pg_cron is missing",)
    assert summary.levels["restored"].ok is None
    verify_record(repository, point, "restored")
    assert summarise(repository, point).blocked == ()


def test_a_restore_that_failed_takes_back_a_proof(repository: Repository) -> None:
    point = make_point(repository).id
    for level in ("sealed", "readable", "restored", "proven"):
        verify_record(repository, point, level)
    assert summarise(repository, point).trust is Trust.PROVEN
    verify_record(repository, point, "proven", ok=False, problems=["public.users: 2 of 3 rows"])
    assert summarise(repository, point).trust is Trust.RESTORED
    verify_record(repository, point, "restored", ok=False, problems=["TABLE users: lost"])
    summary = summarise(repository, point)
    assert summary.trust is Trust.READABLE
    assert "TABLE users: lost" in summary.problems
    verify_record(repository, point, "restored")
    assert summarise(repository, point).trust is Trust.RESTORED


def test_damage_takes_back_every_proof(repository: Repository) -> None:
    point = make_point(repository).id
    for level in ("sealed", "readable", "restored", "proven"):
        verify_record(repository, point, level)
    verify_record(repository, point, "sealed", ok=False, problems=["altered"])
    assert summarise(repository, point).trust is Trust.DAMAGED
    verify_record(repository, point, "sealed")
    assert summarise(repository, point).trust is Trust.SEALED


def test_a_point_shows_its_least_part(repository: Repository) -> None:
    point = make_point(repository, part("db"), part("schema", scope="schema")).id
    verify_record(repository, point, "sealed", sources=["db", "schema"])
    verify_record(repository, point, "readable", sources=["db"])
    summary = summarise(repository, point)
    assert summary.trust is Trust.SEALED
    assert {item.source: item.trust for item in summary.parts} == {
        "db": Trust.READABLE,
        "schema": Trust.SEALED,
    }
    assert [item.kind for item in summary.parts] == ["postgres", "postgres-schema"]


def test_order_is_by_number_whatever_the_clock_says(repository: Repository) -> None:
    point = make_point(repository).id
    verify_record(repository, point, "sealed")
    verify_record(repository, point, "sealed", ok=False, now=START - timedelta(days=1))
    assert summarise(repository, point).trust is Trust.DAMAGED
    assert [record.number for record in read_records(repository, point)] == [1, 2]


def test_an_altered_record_counts_for_nothing_and_is_told(repository: Repository) -> None:
    point = make_point(repository).id
    path = verify_record(repository, point, "sealed", ok=False).path
    path.write_text(path.read_text().replace('"ok": false', '"ok": true'))
    summary = summarise(repository, point)
    assert summary.trust is Trust.UNVERIFIED
    assert len(summary.problems) == 1
    assert "altered after it was written" in summary.problems[0]
    assert path.name in summary.problems[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_broken_record_is_told_and_harms_nothing(repository: Repository, content: bytes) -> None:
    point = make_point(repository).id
    verify_record(repository, point, "sealed").path.with_name("20990101-x.json").write_bytes(
        content
    )
    summary = summarise(repository, point)
    assert summary.trust is Trust.SEALED
    assert "20990101-x.json counts for nothing" in summary.problems[0]


def test_a_record_of_another_point_or_manifest_counts_for_nothing(repository: Repository) -> None:
    one = make_point(repository).id
    other = make_point(repository, created=START + timedelta(hours=1)).id
    record = verify_record(repository, one, "sealed")
    foreign = repository.records / other
    foreign.mkdir()
    (foreign / record.path.name).write_bytes(record.path.read_bytes())
    summary = summarise(repository, other)
    assert summary.trust is Trust.UNVERIFIED
    assert f"it speaks of {one}" in summary.problems[0]

    manifest = repository.point_directory(one) / "manifest.json"
    document = json.loads(manifest.read_text())
    document["reason"] = "rewritten"
    manifest.write_text(json.dumps(document))
    summary = summarise(repository, one)
    assert summary.trust is Trust.UNVERIFIED
    assert "another manifest" in summary.problems[0]


def test_records_are_new_files_and_never_touched(repository: Repository) -> None:
    point = make_point(repository).id
    first = verify_record(repository, point, "sealed").path
    before = (first.read_bytes(), first.stat().st_mtime_ns)
    for _ in range(3):
        verify_record(repository, point, "sealed")
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert len(list((repository.records / point).iterdir())) == 4


def test_clearing_lifts_the_suspicion_only(repository: Repository) -> None:
    point = make_point(
        repository, part(tables=[table("videos", 40)], suspect=["videos 5340 to 40"])
    ).id
    assert summarise(repository, point).suspect == ("videos 5340 to 40",)
    write_record(
        repository, point, "cleared", {"reason": "purged"}, now=START, job="-", operator="ana"
    )
    summary = summarise(repository, point)
    assert summary.suspect == ()
    assert summary.trust is Trust.UNVERIFIED


def test_only_known_kinds_of_existing_points_are_recorded(repository: Repository) -> None:
    point = make_point(repository).id
    for name, kind in ((point, "praised"), ("20200101T000000Z-daily-aaaa", "pinned")):
        with pytest.raises(UsageError):
            write_record(repository, name, kind, {}, now=START, job="j", operator="ana")


def test_what_utf8_can_not_hold_is_recorded_all_the_same(repository: Repository) -> None:
    point = make_point(repository).id
    stray = b"gr\xf6\xdfe".decode(errors="surrogateescape")
    verify_record(repository, point, "restored", ok=False, problems=[stray])
    (record,) = read_records(repository, point)
    assert record.counts
    parts = record.document["parts"]
    assert isinstance(parts, dict)
    assert parts["db"]["problems"] == [stray]


def test_a_problem_is_told_with_the_file_it_is_about(repository: Repository) -> None:
    point = make_point(repository).id
    problems = [
        "db/database/1.dat: altered",
        "RECOVER.md: altered",
        "db/part.json: the whole file: no JSON",
        "db: its directory is missing",
        "it can't be said where",
    ]
    documents = [finding.document() for finding in sealed_findings("db", problems)]
    assert [(document["part"], document["artifact"]) for document in documents] == [
        ("db", "database/1.dat"),
        (None, "RECOVER.md"),
        ("db", "part.json"),
        ("db", None),
        ("db", None),
    ]
    outcome = {"ok": False, "problems": documents}
    write_record(
        repository,
        point,
        "verified",
        {"level": "sealed", "ok": False, "parts": {"db": outcome}, "seconds": 1.0},
        now=START,
        job="job-2",
        operator="ana",
    )
    assert summarise(repository, point).problems == (*problems[:4], f"db: {problems[4]}")


def test_rows_are_those_that_the_dump_holds(repository: Repository) -> None:
    tables = [
        table("users", 12),
        dataclasses.replace(table("by_day", 997, counted=False), kind="materialised view"),
        dataclasses.replace(table("elsewhere", 7, counted=False), kind="foreign"),
        dataclasses.replace(table("log", 1000, counted=False), data_excluded=True),
    ]
    assert summarise(repository, make_point(repository, part(tables=tables)).id).rows == 12
