"""Drills and what has gone stale: real restores, timed, recorded, and learned from."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import PointNotFound
from fsbackup_tui.domain.estimate import PHASES
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.drill import choose_point
from fsbackup_tui.operations.status import gather_status, open_catalogue
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.lock import Holder, Lock
from tests.support.faults import finish
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until

WEEKLY = {"daily": {"sources": ["db"], "verify": "proven", "verify_every": "7d"}}


def shop(url: str) -> None:
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, mail text)",
        "INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 5000) i",
        "CREATE INDEX by_mail ON users (mail)",
        "CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users)",
        "INSERT INTO orders SELECT i, 1 + i % 5000 FROM generate_series(1, 5000) i",
    )


@pytest.fixture
def site(tmp_path: Path, server: ScratchServer, make_database: MakeDatabase) -> Site:
    url = make_database(server)
    shop(url)
    return make_site(tmp_path / "site", url)


def back_up(site: Site) -> str:
    result = site.run("backup", "daily", "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    return str(result.document["point"])


def records(site: Site, point: str, kind: str) -> list[dict[str, Any]]:
    paths = sorted((site.repository / "records" / point).glob(f"*-{kind}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def damage(site: Site, point: str) -> None:
    dump = site.repository / "points" / point / "db" / "database.dump"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(bytes(content))


def events_of(site: Site, operation: str) -> list[dict[str, Any]]:
    (journal,) = site.state.glob(f"*/jobs/*-{operation}-*/journal.jsonl")
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_a_drill_proves_the_newest_point_and_keeps_what_it_took(site: Site) -> None:
    back_up(site)
    newest = back_up(site)
    result = site.run("drill", "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    drill = result.document
    assert (drill["point"], drill["outcome"], drill["trust"]) == (newest, "ok", "proven")
    assert drill["choice"] == "newest"
    assert drill["rows"] == 10_000
    assert drill["place"].startswith("own server")
    assert set(drill["phases"]) == set(PHASES[2:])
    assert sum(drill["phases"].values()) == pytest.approx(drill["seconds"], rel=0.3)
    assert drill["phases"]["start"] > 0
    (record,) = records(site, newest, "drill")
    assert record["document"]["phases"] == drill["phases"]
    assert record["document"]["site"] == "face-swap"
    listed = site.run("drill", "--list", "--json").document["drills"]
    assert [(entry["point"], entry["outcome"]) for entry in listed] == [(newest, "ok")]
    shown = site.run("drill", "--list").stdout.splitlines()
    assert shown[0].split() == ["WHEN", "POINT", "OUTCOME", "TOOK", "DATABASE", "BY"]
    assert newest in shown[1]
    assert "ok" in shown[1].split()


def test_what_was_drilled_tells_how_long_getting_back_takes(site: Site) -> None:
    point = back_up(site)
    loaded = load_config(site.config, site.environ())

    def line() -> str:
        now = datetime.now(UTC)
        status = gather_status(loaded, site.environ(), now, restore_rights=True)
        return status.answer.line(100)

    assert "~" not in line()
    assert site.run("verify", point, "--level", "proven").exit_code == 0
    assert line().endswith(" s (last trial)")
    assert site.run("drill", point).exit_code == 0
    assert line().endswith(" s (last drill)")
    second = back_up(site)
    assert second
    assert " not proven" in line()


def test_the_second_run_is_foretold_and_the_first_is_not(site: Site) -> None:
    point = back_up(site)
    assert site.run("verify", point, "--level", "proven").exit_code == 0
    assert not [event for event in events_of(site, "verify") if event["event"] == "remaining"]
    assert site.run("drill", point).exit_code == 0
    told = [event for event in events_of(site, "drill") if event["event"] == "remaining"]
    assert len(told) >= len(("sealed", "readable", "start", "prepare", "restore"))
    assert all(event["low"] <= event["seconds"] <= event["high"] for event in told)
    assert told[-1]["seconds"] < told[0]["seconds"]


def test_a_drill_that_finds_damage_fails_and_is_recorded_as_that(site: Site) -> None:
    point = back_up(site)
    damage(site, point)
    result = site.run("drill", point, "--json")
    assert result.exit_code == 1
    assert result.document["outcome"] == "failed"
    assert result.document["trust"] == "damaged"
    (record,) = records(site, point, "drill")
    assert record["document"]["outcome"] == "failed"
    assert "altered" in record["document"]["problems"][0]["what"]
    text = site.run("drill", point).stdout
    assert "Drill FAILED" in text


def test_what_cant_be_tried_here_is_blocked(site: Site) -> None:
    point = back_up(site)
    site.settings = {"scratch": {"on": "server"}}
    site.write_config()
    result = site.run("drill", point, "--json")
    assert result.exit_code == 1
    assert result.document["outcome"] == "blocked"
    assert result.document["blocked"][0]["fix"]


def test_the_terminal_is_told_in_words(site: Site) -> None:
    point = back_up(site)
    text = site.run("drill").stdout
    assert f"Drill ok: {point} is PROVEN, in " in text
    assert "10 000 rows, on own server" in text
    assert text.index("sealed ") < text.index("readable ") < text.index("data ")
    assert site.run("attach", "last").stdout.splitlines()[1].startswith("Drill ok")


def test_a_random_drill_takes_an_older_point(site: Site) -> None:
    loaded = load_config(site.config, site.environ())
    with pytest.raises(PointNotFound, match="NOTHING TO DRILL"):
        choose_point([], "random")
    first = back_up(site)
    with open_catalogue(loaded, site.environ()) as catalogue:
        assert choose_point(catalogue.points(), "random").id == first
    back_up(site)
    newest = back_up(site)
    with open_catalogue(loaded, site.environ()) as catalogue:
        points = catalogue.points()
    offered: list[list[str]] = []

    def pick(some: Any) -> Any:
        offered.append([point.id for point in some])
        return some[0]

    assert choose_point(points, "random", pick=pick).id == first
    assert newest not in offered[0]
    assert len(offered[0]) == 2
    assert choose_point(points, "newest").id == newest
    suspect = [
        dataclasses.replace(point, suspect=("fell",)) if point.id == newest else point
        for point in points
    ]
    assert choose_point(suspect, "newest").id != newest


def test_a_copy_is_drilled_from_its_own_bytes(site: Site, tmp_path: Path) -> None:
    point = back_up(site)
    copy = tmp_path / "usb disk" / "repo"
    shutil.copytree(site.repository, copy)
    before = sorted(path for path in copy.rglob("*") if path.name != f"{point}.lock")
    damage(site, point)
    drilled = site.run("drill", "--copy", str(copy), "--json")
    assert drilled.exit_code == 0, drilled.stdout
    assert (drilled.document["outcome"], drilled.document["trust"]) == ("ok", "proven")
    assert drilled.document["copy"] == str(copy)
    (record,) = records(site, point, "drill")
    assert record["document"]["copy"] == str(copy)
    # What a copy is worth says nothing of the bytes that lie here.
    assert site.run("show", point, "--json").document["trust"] == "sealed"
    after = [path for path in copy.rglob("*") if path.name != f"{point}.lock"]
    assert [path for path in sorted(after) if path.is_file()] == [
        path for path in before if path.is_file()
    ]
    said = site.run("drill", point[:13], "--copy", str(copy)).stdout
    assert f"from the copy in {copy}" in " ".join(said.split())


def test_a_damaged_copy_fails_and_the_point_keeps_its_trust(site: Site, tmp_path: Path) -> None:
    point = back_up(site)
    assert site.run("verify", point, "--level", "proven").exit_code == 0
    copy = tmp_path / "copy"
    shutil.copytree(site.repository, copy)
    dump = copy / "points" / point / "db" / "database.dump"
    dump.write_bytes(dump.read_bytes()[:-7])
    drilled = site.run("drill", "--copy", str(copy), "--json")
    assert drilled.exit_code == 1
    assert drilled.document["outcome"] == "failed"
    assert site.run("show", point, "--json").document["trust"] == "proven"


def test_what_is_no_copy_is_refused_and_what_is_gone_here_not_recorded(
    site: Site, tmp_path: Path
) -> None:
    point = back_up(site)
    itself = site.run("drill", "--copy", str(site.repository), "--json")
    assert (itself.exit_code, "NO COPY" in itself.error["what"]) == (1, True)
    assert site.run("drill", "--copy", str(tmp_path / "nowhere"), "--json").exit_code == 1
    copy = tmp_path / "copy"
    shutil.copytree(site.repository, copy)
    shutil.rmtree(site.repository / "points" / point)
    drilled = site.run("drill", "latest", "--copy", str(copy), "--json")
    assert drilled.exit_code == 0, drilled.stdout
    assert any("Not recorded" in note for note in drilled.document["notes"])
    about = json.loads((copy / "fsbackup.json").read_text())
    (copy / "fsbackup.json").write_text(json.dumps({**about, "id": "0" * 32}))
    other = site.run("drill", "--copy", str(copy), "--json")
    assert "NO COPY OF THIS REPOSITORY" in other.error["what"]


@pytest.mark.parametrize(
    "arguments",
    [("x", "--random"), ("--random", "--list"), ("latest", "--list"), ("--copy", "x", "--list")],
)
def test_contradicting_wishes_are_refused(site: Site, arguments: tuple[str, ...]) -> None:
    result = site.run("drill", *arguments, "--json")
    assert result.exit_code == 2
    assert "NOT TOGETHER" in result.error["what"]


def test_nothing_to_drill_is_said(site: Site) -> None:
    result = site.run("drill", "--json")
    assert result.exit_code == 2
    assert "NOTHING TO DRILL" in result.error["what"]
    assert "No drill was held yet" in site.run("drill", "--list").stdout


def test_a_site_that_is_only_looked_at_holds_no_drills(site: Site) -> None:
    back_up(site)
    site.settings = {"read_only": True}
    site.write_config()
    result = site.run("drill", "--json")
    assert result.exit_code == 3
    assert "READ ONLY" in result.error["what"]


def test_a_drill_that_is_cancelled_is_none(site: Site) -> None:
    execute(site.url, "CREATE TABLE bulk AS SELECT generate_series(1, 2000000) AS i")
    point = back_up(site)
    drill = site.start("drill", point)
    wait_until(lambda: list(site.state.glob("*/jobs/*-drill-*/work/scratch-room")), timeout=60)
    drill.terminate()
    assert finish(drill).exit_code == 130
    assert records(site, point, "drill") == []
    assert not list(site.state.glob("*/jobs/*-drill-*/work"))
    assert site.run("drill", point).exit_code == 0


def make_old(site: Site, point: str, days: int) -> None:
    """Let the point's proofs have been made days ago, as its records say."""
    from fsbackup_tui.repository.records import _own_digest

    for path in (site.repository / "records" / point).glob("*.json"):
        body = json.loads(path.read_text())
        moment = datetime.fromisoformat(body["at"]) - timedelta(days=days)
        body["at"] = moment.isoformat().replace("+00:00", "Z")
        body["sha256"] = _own_digest(body)
        path.write_text(json.dumps(body))
    (site.repository / "records" / point).touch()


def test_what_is_stale_is_proven_again_the_oldest_first(site: Site) -> None:
    site.settings = {"plans": {"daily": {"sources": ["db"], "verify_every": "7d"}}}
    site.write_config()
    points = [back_up(site) for _ in range(3)]
    for point, days in zip(points, (8, 3, 20), strict=True):
        make_old(site, point, days)
    result = site.run("verify", "--due", "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    verified = result.document["verified"]
    assert [entry["point"] for entry in verified] == [points[2], points[0]]
    assert all(entry["wanted"] == "sealed" for entry in verified)
    assert result.document["left"] == []
    again = site.run("verify", "--due")
    assert again.exit_code == 0
    assert "Nothing is due" in again.stdout


def test_the_budget_is_kept_but_one_point_is_always_verified(site: Site) -> None:
    first, second = back_up(site), back_up(site)
    site.settings = {"plans": WEEKLY}
    site.write_config()
    result = site.run("verify", "--due", "--budget", "0s", "--json", timeout=300)
    assert result.exit_code == 0, result.stdout + result.stderr
    document = result.document
    assert [entry["point"] for entry in document["verified"]] == [second]
    assert document["verified"][0]["trust"] == "proven"
    (left,) = document["left"]
    assert (left["point"], left["proven"]) == (first, None)
    shown = site.run("verify", "--due", "--budget", "1h", timeout=300)
    assert shown.exit_code == 0
    assert f"{first}  ok, proven" in shown.stdout
    assert {point["trust"] for point in site.points()} == {"proven"}
    stages = [
        event["stage"]
        for journal in sorted(site.state.glob("*/jobs/*-verify-due-*/journal.jsonl"))
        for event in map(json.loads, journal.read_text().splitlines())
        if event["event"] == "stage-started"
    ]
    assert stages == [second, first]


def test_one_damaged_point_fails_the_run_and_stops_no_other(site: Site) -> None:
    site.settings = {"plans": {"daily": {"sources": ["db"], "verify_every": "7d"}}}
    site.write_config()
    points = [back_up(site) for _ in range(2)]
    for point, days in zip(points, (8, 9), strict=True):
        make_old(site, point, days)
    damage(site, points[1])
    result = site.run("verify", "--due", "--json")
    assert result.exit_code == 1
    outcomes = {entry["point"]: entry["ok"] for entry in result.document["verified"]}
    assert outcomes == {points[0]: True, points[1]: False}
    assert points[1] in result.document["problems"][0]["what"]
    # It is known by now, and waits its turn: the next run is about others.
    assert site.run("verify", "--due", "--json").document["verified"] == []


def test_what_is_due_is_worked_off_by_one_at_a_time(site: Site) -> None:
    site.settings = {"plans": WEEKLY}
    site.write_config()
    lock = Lock(open_repository(site.repository).due_lock(), what="verify --due")
    holder = Holder("ben", socket.gethostname(), os.getpid(), "another-job", datetime.now(UTC))
    with lock.acquire(0, holder):
        result = site.run("verify", "--due", "--json")
    assert result.exit_code == 3
    assert "ben" in result.error["what"] + result.error["why"]
    assert site.run("verify", "--due", "--json").exit_code == 0


def test_the_end_of_all_that_is_due_is_foretold(site: Site) -> None:
    points = [back_up(site) for _ in range(3)]
    assert site.run("verify", points[0], "--level", "proven").exit_code == 0
    site.settings = {"plans": WEEKLY}
    site.write_config()
    assert site.run("verify", "--due", timeout=300).exit_code == 0
    told = [event["seconds"] for event in events_of(site, "verify-due") if "low" in event]
    assert told[0] > 1.5 * told[-1]
    starts = [event["stage"] for event in events_of(site, "verify-due") if "stage" in event]
    assert starts[0] == points[2]


def test_rows_alone_are_not_due_for_ever(
    tmp_path: Path, server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    shop(url)
    site = make_site(tmp_path / "site", url, source={"scope": "data"}, settings={"plans": WEEKLY})
    assert site.run("backup", "daily", "--json").exit_code == 0
    result = site.run("verify", "--due", "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert result.document["verified"] == []


def test_without_verify_every_nothing_is_ever_due(site: Site) -> None:
    back_up(site)
    result = site.run("verify", "--due")
    assert result.exit_code == 0
    assert "no plan says verify_every" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--due", "latest"), "NOT TOGETHER"),
        (("--due", "--live"), "NOT TOGETHER"),
        (("latest", "--budget", "1h"), "NOT ALONE"),
        (("--due", "--budget", "soon"), "--budget"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(
    site: Site, arguments: tuple[str, ...], word: str
) -> None:
    result = site.run("verify", *arguments, "--json")
    assert result.exit_code == 2
    assert word in result.error["what"] + result.error["why"]
