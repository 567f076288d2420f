"""Retention behind a plan's run: what it removes, what it tells, and what it never undoes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsbackup_tui.operations.run_plan import STAGES
from fsbackup_tui.repository.layout import open_repository
from tests.support.sites import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    env = tmp_path / ".env"
    env.write_text("NODE_ENV=production\n")
    source = {"kind": "config", "files": [str(env)], "plaintext": True}
    plans = {
        "daily": {"sources": ["env"], "verify": "readable", "keep": {"last": 2}},
        "kept": {"sources": ["env"]},
    }
    settings = {"sources": {"env": source}, "plans": plans}
    return make_site(tmp_path / "site", "postgresql://nowhere", settings=settings)


def backup(site: Site, plan: str = "daily") -> dict[str, object]:
    done = site.run("backup", plan, "--json")
    assert done.exit_code == 0, done.stderr + done.stdout
    return done.document


def test_it_is_the_last_stage_and_lets_go_of_what_no_rule_keeps(site: Site) -> None:
    assert list(STAGES)[-1] == "retain"
    points = [str(backup(site)["point"]) for _ in range(3)]
    document = backup(site)
    stages = document["stages"]
    assert isinstance(stages, dict)
    assert list(stages) == ["backup", "verify", "retain"]
    assert stages["retain"]["ok"] is True
    assert stages["retain"]["removed"] == points[1:2]
    assert {point["id"] for point in site.points()} == {points[2], document["point"]}
    trashed = site.run("retain", "--json").document["trash"]
    assert [point["id"] for point in trashed] == points[:2]
    # A plan without keep: has no such stage.
    other = backup(site, "kept")["stages"]
    assert isinstance(other, dict)
    assert "retain" not in other


def test_a_refusal_is_told_and_takes_nothing_from_the_backup(site: Site) -> None:
    for _ in range(3):
        backup(site)
    repository = open_repository(site.repository)
    (repository.holds / "1122-01.json").write_text(
        json.dumps({"incident": "1122-01", "host": "another"})
    )
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout
    stage = done.document["stages"]["retain"]
    assert (stage["ok"], stage["removed"]) == (True, [])
    # Taken in an incident, it is not good before somebody says so.
    assert len(site.points()) == 3
    human = site.run("backup", "daily")
    assert human.exit_code == 0
    assert len(site.points()) == 4


def test_what_fails_in_it_fails_the_stage_and_not_the_backup(site: Site) -> None:
    for _ in range(2):
        backup(site)
    trash = site.repository / "trash"
    trash.rmdir()
    trash.write_text("in the way")
    done = site.run("backup", "daily", "--json")
    document = done.document
    assert (done.exit_code, document["stages"]["backup"]["ok"]) == (1, True)
    assert document["stages"]["retain"]["ok"] is False
    assert "could not be" in document["stages"]["retain"]["problem"]["what"]
    assert len(site.points()) == 3
