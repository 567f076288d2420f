"""``fsbackup check`` and ``metrics`` as monitoring calls them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.cli.check import summary_line
from fsbackup_tui.cli.main import run_command_line
from fsbackup_tui.domain.finding import Check, Finding, Number
from tests.support.checking import Watched, healthy
from tests.support.exposition import parse_exposition

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A healthy site whose points are of this very hour; its server is not reached."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    made = Watched(tmp_path)
    made.now = datetime.now(UTC)
    made.know_rights(True)
    for days in (3, 2, 1, 0):
        made.point(timedelta(days=days, hours=5))
    return made


def run(site: Watched, *words: str) -> int:
    return run_command_line(["--config", str(site.config), *words])


def test_its_document_is_what_scripts_hold_on_to(
    site: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(site, "check", "--json") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["state"] == "CRITICAL"
    assert document["ok"] is False
    assert document["site"] == "shop"
    [finding] = document["findings"]
    assert finding["id"] == "database:db"
    assert set(finding) == {"id", "severity", "since", "what", "why", "fix", "subject"}
    assert document["probes"]["servers"] is True
    names = {number["name"] for number in document["numbers"]}
    assert {"fsbackup_backup_age_seconds", "fsbackup_repository_free_bytes"} <= names


def test_it_prints_a_line_then_each_finding_with_what_mends_it(
    site: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(site, "check") == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("FSBACKUP CRITICAL - shop: SERVER NOT REACHED: 127.0.0.1:1 ")
    assert " | 'age_daily'=" in lines[0]
    assert lines[1] == ""
    assert lines[2].startswith("CRITICAL SERVER NOT REACHED")
    assert any(line.startswith("  Next  ") for line in lines)
    assert "  New   (database:db)" in lines
    assert run(site, "check") == 2
    assert any("Since " in line for line in capsys.readouterr().out.splitlines())


def test_metrics_are_printed_and_written(
    site: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(site, "metrics") == 0
    exposed = parse_exposition(capsys.readouterr().out)
    assert exposed.value("fsbackup_check_state", site="shop") == 2
    assert exposed.value("fsbackup_trust_level", plan="daily") == 7
    assert exposed.value("fsbackup_part_rows", plan="daily", source="db") == 5340
    path = tmp_path / "textfile" / "fsbackup.prom"
    assert run(site, "metrics", "--output", str(path)) == 2
    path.parent.mkdir()
    assert run(site, "metrics", "--output", str(path)) == 0
    assert parse_exposition(path.read_text()).value("fsbackup_probe_success", probe="disk") == 1


def test_the_line_keeps_what_monitoring_splits_at(tmp_path: Path) -> None:
    finding = Finding("x", "warning", None, "BAD | TABLE\nNAME", "y", "f")
    numbers = (
        Number("fsbackup_backup_age_seconds", 60.4, (("plan", "it's"),)),
        Number("fsbackup_part_rows", 5),
    )
    line = summary_line(Check("shop", NOW, (finding, finding), numbers))
    assert "\n" not in line
    assert line.count("|") == 1
    assert line.startswith("FSBACKUP WARNING - shop: BAD / TABLE")
    assert line.endswith("(+1 more) | 'age_its'=60s")


def test_nothing_to_do_says_how_much_was_looked_at(tmp_path: Path) -> None:
    check = healthy(tmp_path).check()
    assert summary_line(check).startswith("FSBACKUP OK - shop: ")
    assert f"{len(check.probes)} looks, nothing to do" in summary_line(check)


def test_a_point_that_shrank_on_purpose_is_cleared_and_is_the_measure_from_then_on(
    site: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    for days in range(4, 14):
        site.point(timedelta(days=days, hours=5))
    small = site.point(timedelta(hours=2), rows=4300)
    assert "shrunk:daily:db:rows" in site.found()
    assert run(site, "clear", small.id, "--reason", "old videos were purged") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{small.id} is cleared: old videos were purged" in out
    assert "4 300 rows, 5 340 expected" in out
    site.point(timedelta(hours=1), rows=4310)
    assert not any(name.startswith("shrunk") for name in site.found())
    newest = site.point(timedelta(minutes=5), rows=4310)
    assert run(site, "clear", newest.id, "--reason", "no reason at all") == 0
    assert "there was nothing to clear" in capsys.readouterr().out


def test_numbers_of_a_site_that_cannot_be_opened_do_not_go_on_saying_what_they_said(
    site: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shop.prom"
    assert run(site, "metrics", "--output", str(path)) == 0
    assert 'fsbackup_check_state{site="shop"} 2' in path.read_text()
    site.config.write_text(site.config.read_text() + "nonsense: 1\n")
    assert run(site, "metrics", "--output", str(path)) == 2
    text = path.read_text()
    parse_exposition(text)
    assert 'fsbackup_check_state{site="-"} 3' in text
    assert "fsbackup_backup_age_seconds" not in text
