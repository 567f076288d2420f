"""The adapter between the screens and a real, small repository."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.cli.link_text import link_lines
from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import LockHeld, PointNotFound, ServerUnreachable
from fsbackup_tui.domain.point import Manifest, PartSummary
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.domain.site_parts import LinkFacts, Names
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import state_document
from fsbackup_tui.jobs.layout import STATE, read_request, replace_json
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.repository.layout import Repository, create_repository, site_state
from fsbackup_tui.tui.data import Alert, Overview, PointQuery
from fsbackup_tui.tui.lines import Line
from fsbackup_tui.tui.modes.details import details_lines, stock_commands
from fsbackup_tui.tui.modes.proof_lines import Seen, view_lines
from fsbackup_tui.tui.site_data import LiveSite
from tests.support.jobs import make_site, write_past_job
from tests.support.points import (
    START,
    begin_point,
    flip_byte,
    make_point,
    part,
    table,
    verify_record,
    write_part,
)

NOW = START + timedelta(days=2)
ENVIRON = {"DATABASE_URL": "postgresql://app@db1/face_swap", "HOME": "/nonexistent"}


def told(overview: Overview, words: str) -> list[Alert]:
    return [alert for alert in overview.alerts if alert.what.startswith(words)]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    return make_site(tmp_path, more="timezone: UTC\n")


@pytest.fixture
def repository(loaded: LoadedConfig) -> Repository:
    return create_repository(loaded.config.repository, "shop", START)


@pytest.fixture
def site(loaded: LoadedConfig) -> Iterator[LiveSite]:
    opened = live(loaded)
    yield opened
    opened.close()


def live(loaded: LoadedConfig, environ: dict[str, str] | None = None) -> LiveSite:
    return LiveSite(loaded, ENVIRON if environ is None else environ, now=lambda: NOW)


def three_points(repository: Repository) -> tuple[Manifest, Manifest, Manifest]:
    old = make_point(repository, created=START)
    suspect = part(tables=[table("videos", 40)], suspect=["videos had 5340 rows, has 40"])
    fallen = make_point(repository, suspect, created=START + timedelta(hours=1))
    weekly = make_point(repository, created=START + timedelta(hours=2), plan="weekly")
    return old, fallen, weekly


def test_points_come_ordered_filtered_and_by_pages(repository: Repository, site: LiveSite) -> None:
    old, fallen, weekly = three_points(repository)
    site.overview()
    named = [point.id for point in site.points(PointQuery(), 0, 10)]
    assert named == [weekly.id, fallen.id, old.id]
    oldest = PointQuery(order="oldest")
    assert [point.id for point in site.points(oldest, 1, 1)] == [fallen.id]
    assert site.count(PointQuery("weekly")) == 1
    assert [point.id for point in site.points(PointQuery("weekly"), 0, 10)] == [weekly.id]
    assert site.count(PointQuery("[.*+")) == 0


def test_details_hold_the_commands_that_fsbackup_and_stock_tools_take(
    repository: Repository, site: LiveSite
) -> None:
    point = make_point(repository)
    site.overview()
    details = site.details(point.id)
    assert details.manifest == point
    assert details.problem is None
    assert details.path == str(repository.point_directory(point.id))
    [command] = details.commands
    assert command.startswith(f"fsbackup restore {point.id} --part db --beside face_swap")
    assert stock_commands("/srv/my backups/p", point.parts[0])[0] == "cd '/srv/my backups/p'"


def test_it_is_told_who_signed_a_point_and_which_rows_have_no_file(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed_signers"
    allowed.touch(mode=0o600)
    more = "signing: {method: ssh, allowed_signers: %s, required: %s}\n"
    told = []
    for required in ("true", "false"):
        loaded = make_site(tmp_path, more=more % (allowed, required))
        if required == "true":
            point = make_point(create_repository(loaded.config.repository, "shop", START))
        site = live(loaded)
        site.overview()
        details, proof = site.details(point.id), site.proof(point.id)
        told.append((details.signature, proof.signature))
        site.close()
    # Where nobody has to sign, nothing is said of one that nobody did.
    demanded = Signature("absent", note="a restore asks for a written reason")
    assert told == [(demanded, demanded), (None, None)]

    gone = Names(7, tuple(f"videos/{number}.mp4" for number in range(7)))
    link = LinkFacts("public.videos", "path", "db", "uploads", 41, gone, sums="x")
    linked = replace(point, links=(link,))
    with_files = PartSummary("uploads", "files", Trust.PROVEN, 9, None, None)
    summary = replace(details.summary, parts=(*details.summary.parts, with_files))
    signed = Signature("good", "ana@example.org", "ED25519 SHA256:abc")
    shown = replace(details, summary=summary, manifest=linked, signature=signed)
    lines = [*details_lines(shown, 80, now=NOW, zone=UTC)]
    assert words(lines).startswith(f" {point.id}")
    proof = replace(proof, summary=summary, manifest=linked)
    of_proof = words(view_lines(proof, "parts", Seen(NOW, UTC, 80)))
    assert "Signature  signed by ana@example.org, ED25519 SHA256:abc" in words(lines)
    for text in [*link_lines((link,))][1:]:
        assert " ".join(text.split()) in " ".join(words(lines).split()), text
        assert " ".join(text.split()) in " ".join(of_proof.split()), text


def words(lines: Sequence[Line]) -> str:
    return "\n".join("".join(piece.text for piece in row) for row in lines)


def test_stock_commands_begin_where_the_parts_directory_is(
    repository: Repository, site: LiveSite
) -> None:
    description = replace(part(), restore_commands=("(cd db && sha256sum -c SHA256SUMS)",))
    point = make_point(repository, description)
    site.overview()
    manifest = site.details(point.id).manifest
    assert manifest is not None
    script = "\n".join(stock_commands(site.details(point.id).path, manifest.parts[0]))
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "database.dump: OK\npart.json: OK\n")


def test_damaged_point_is_an_alert_and_offers_no_restore(
    repository: Repository, site: LiveSite
) -> None:
    point = make_point(repository)
    verify_record(repository, point.id, "sealed", ok=False, problems=["database.dump: differs"])
    overview = site.overview()
    assert [alert.what for alert in told(overview, "DAMAGED")] == [f"DAMAGED: {point.id}."]
    details = site.details(point.id)
    assert details.summary.trust is Trust.DAMAGED
    assert details.commands == ()


def test_manifest_that_can_not_be_read_leaves_its_problem_in_the_details(
    repository: Repository, site: LiveSite
) -> None:
    point = make_point(repository)
    site.overview()
    flip_byte(repository.point_directory(point.id) / "manifest.json", offset=0)
    details = site.details(point.id)
    assert details.manifest is None
    assert details.problem is not None
    assert "manifest.json" in details.problem.what + details.problem.why


def test_suspect_newest_point_is_an_alert_with_the_command_that_clears_it(
    repository: Repository, site: LiveSite
) -> None:
    make_point(repository)
    suspect = part(tables=[table("videos", 40)], suspect=["videos had 5340 rows, has 40"])
    point = make_point(repository, suspect, created=START + timedelta(hours=1))
    overview = site.overview()
    assert overview.answer.state == "suspect"
    [alert] = told(overview, "SUSPECT")
    assert alert.what == f"SUSPECT: {point.id}: videos had 5340 rows, has 40."
    assert f"fsbackup clear {point.id}" in alert.fix


def test_point_without_a_manifest_says_what_it_is(repository: Repository, site: LiveSite) -> None:
    writer = begin_point(repository)
    write_part(writer, part())
    site.overview()
    problem = site.details(writer.id).problem
    assert problem is not None
    assert problem.what.startswith("NO MANIFEST YET")
    with pytest.raises(PointNotFound, match="POINT GONE"):
        site.details("20200101T000000Z-daily-zzzz")


def test_missing_address_blocks_backups_only(repository: Repository, loaded: LoadedConfig) -> None:
    make_point(repository)
    site = live(loaded, {"HOME": "/nonexistent"})
    overview = site.overview()
    site.close()
    assert set(overview.blocked) == {"backup"}
    assert overview.blocked["backup"].what.startswith("DATABASE ADDRESS UNKNOWN")
    assert overview.alerts[0].what == overview.blocked["backup"].what


def test_repository_that_is_gone_is_missed_and_its_points_are_still_listed(
    repository: Repository, loaded: LoadedConfig
) -> None:
    point = make_point(repository)
    first = live(loaded)
    first.overview()
    first.close()
    repository.root.rename(repository.root.with_name("elsewhere"))
    site = live(loaded)
    overview = site.overview()
    assert overview.answer.state == "not-mounted"
    assert set(overview.blocked) == {"backup", "verify", "inventory"}
    assert [row.id for row in site.points(PointQuery(), 0, 10)] == [point.id]
    site.close()
    repository.root.with_name("elsewhere").rename(repository.root)
    again = live(loaded)
    assert again.overview().blocked == {}
    again.close()


def test_changed_configuration_is_read_again_and_a_broken_one_is_told(
    repository: Repository, loaded: LoadedConfig, site: LiveSite
) -> None:
    assert site.overview().plans == ("daily",)
    text = loaded.path.read_text()

    def with_plan(plan: str) -> str:
        return text.replace("plans:\n", f"plans:\n  {plan}\n")

    loaded.path.write_text(with_plan("weekly: {sources: [db]}"))
    assert set(site.overview().plans) == {"daily", "weekly"}
    loaded.path.write_text(with_plan("weekly: {sources: [nothing]}"))
    broken = site.overview()
    assert set(broken.plans) == {"daily", "weekly"}
    assert broken.blocked["backup"].what.startswith("CONFIG NOT USABLE")
    loaded.path.write_text(text)
    assert site.overview().blocked == {}


def end_job(directory: Path, problem: LockHeld | ServerUnreachable, at: datetime) -> None:
    """Write the last state of a job that failed."""
    feed = JobFeed()
    feed.started, feed.finished, feed.outcome = at, at, "failed"
    feed.problem = problem.problem()
    request = read_request(directory)
    replace_json(directory / STATE, state_document(request, feed, now=at), sync=False)


def test_last_backup_of_a_plan_that_failed_is_an_alert_until_one_ends_well(
    repository: Repository, loaded: LoadedConfig, site: LiveSite
) -> None:
    state = site_state(loaded, ENVIRON, repository)
    failed = write_past_job(state, "20261122T010000Z-backup-a2b3")
    refused = ServerUnreachable("SERVER NOT REACHED: db1.", why="Refused.", fix="fsbackup doctor")
    end_job(failed, refused, NOW - timedelta(hours=1))
    busy = write_past_job(state, "20261122T013000Z-backup-c4d5")
    end_job(busy, LockHeld("LOCKED: plan daily."), NOW - timedelta(minutes=30))
    overview = site.overview()
    [alert] = told(overview, "BACKUP")
    assert alert.what == "BACKUP FAILED: plan daily, 00:00 UTC."
    assert alert.why == "SERVER NOT REACHED: db1.\nRefused."
    assert alert.fix.startswith("fsbackup doctor\nfsbackup attach 20261122T010000Z-backup-a2b3")
    assert set(overview.failed) == {"backup a2b3", "backup c4d5"}
    row = next(row for row in site.jobs() if row.short == "a2b3")
    assert row.problem is not None
    assert row.problem.why == "Refused."
    write_past_job(state, "20261122T020000Z-backup-e6f7")
    assert told(site.overview(), "BACKUP") == []


def test_a_suspect_points_rows_are_told_against_the_last_good_point_before_it(
    repository: Repository, site: LiveSite
) -> None:
    tables = [table("videos", 5340), table("users", 500), table("gone", 7), table("same", 3)]
    good = make_point(repository, part(tables=tables), created=START)
    fallen = part(
        tables=[table("videos", 40), table("users", 510), table("same", 3), table("new", 2)],
        suspect=["videos 5340 to 40"],
    )
    for hour in (1, 2):
        suspect = make_point(repository, fallen, created=START + timedelta(hours=hour))
    make_point(repository, part(tables=tables), created=START + timedelta(hours=3))
    for level in ("sealed", "readable", "restored", "proven"):
        verify_record(repository, suspect.id, level)
    site.overview()
    details = site.details(suspect.id)
    assert details.summary.trust is Trust.PROVEN
    [against] = details.against
    assert against.point == good.id
    assert [(one.table, one.before, one.now) for one in against.changes] == [
        ("gone", 7, None),
        ("videos", 5340, 40),
        ("new", None, 2),
        ("users", 500, 510),
    ]
    assert site.details(good.id).against == ()


@pytest.mark.parametrize(
    ("ok", "words"),
    [
        (False, "PROOF FAILED: {id}."),
        (None, "NOT TRIED: {id} could not be proven here."),
        (True, ""),
    ],
)
def test_a_proof_of_the_newest_point_that_failed_or_was_blocked_is_an_alert(
    repository: Repository, site: LiveSite, ok: bool | None, words: str
) -> None:
    old = make_point(repository)
    verify_record(repository, old.id, "proven", ok=False, problems=["long ago"])
    point = make_point(repository, created=START + timedelta(hours=1))
    verify_record(repository, point.id, "proven", ok=ok, problems=["a"], blocked=["b"])
    alerts = [*told(site.overview(), "PROOF FAILED"), *told(site.overview(), "NOT TRIED")]
    assert [alert.what for alert in alerts] == ([words.format(id=point.id)] if words else [])
    assert [alert.severe for alert in alerts] == ([ok is False] if words else [])


def test_an_open_incident_is_the_answer_until_it_is_closed(
    repository: Repository, site: LiveSite
) -> None:
    make_point(repository)
    assert site.glance() is None
    before = site.overview()
    assert before.incident is None
    session = declare(site.desk(), source="db", seen="rows", last_right=None)
    overview = site.overview()
    assert overview.incident is not None
    assert overview.incident.id == session.journal.id
    line = overview.answer.line(80)
    assert line.startswith("PROD shop  INCIDENT 0 m, ")
    assert line.endswith(" leads, step 1.1")
    session.close("false alarm")
    session.leave()
    assert site.glance() is None
    assert site.overview().answer == before.answer


def test_an_open_incident_tells_points_before_the_damage_from_those_after_it(
    repository: Repository, site: LiveSite
) -> None:
    old = make_point(repository)
    new = make_point(repository, created=START + timedelta(hours=1))
    site.overview()

    def marks() -> dict[str, bool | None]:
        return {point.id: point.after_damage for point in site.points(PointQuery(), 0, 9)}

    assert set(marks().values()) == {None}
    created = {point.id: point.created for point in site.points(PointQuery(), 0, 9)}
    session = declare(site.desk(), source="db", seen="rows", last_right=min(created.values()))
    revision = site.overview().revision
    assert marks() == {old.id: False, new.id: True}
    session.set_damage_time(max(created.values()))
    assert site.overview().revision > revision
    assert marks() == {old.id: False, new.id: False}
    # What is taken once it is recovered is neither before the damage nor of it.
    session.set_damage_time(min(created.values()))
    session.append("done", step="swap", title="Swap it in", facts={})
    late = make_point(repository, created=NOW + timedelta(days=400))
    site.overview()
    assert marks() == {old.id: False, new.id: True, late.id: None}
    session.close("found")
    session.leave()
    site.overview()
    assert set(marks().values()) == {None}


def test_a_drill_does_not_hide_what_can_be_restored(repository: Repository, site: LiveSite) -> None:
    make_point(repository)
    before = site.overview()
    drill = declare(site.desk(), source="db", seen="rows", last_right=None, is_drill=True)
    overview = site.overview()
    assert overview.answer == before.answer
    assert overview.incident is not None
    assert overview.incident.is_drill
    drill.leave()
