"""The text for Prometheus: whole, grouped, escaped, and put in place at once."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.errors import RepositoryUnwritable, UsageError
from fsbackup_tui.domain.finding import Check, Finding, Number
from fsbackup_tui.operations.metrics import HELP, exposition, write_metrics
from tests.support.exposition import parse_exposition

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


def check(*findings: Finding, numbers: tuple[Number, ...] = (), site: str = "face-swap") -> Check:
    return Check(site, NOW, findings, numbers, probes={"disk": True, "key": False})


def test_every_line_is_what_the_collector_reads() -> None:
    finding = Finding("backup-age:daily", "critical", NOW, "W", "y", "f")
    numbers = (
        Number("fsbackup_backup_age_seconds", 3600.5, (("plan", "daily"),)),
        Number("fsbackup_backup_age_seconds", 7, (("plan", "hourly"),)),
    )
    exposed = parse_exposition(exposition(check(finding, numbers=numbers)))
    assert exposed.value("fsbackup_check_state", site="face-swap") == 2
    assert exposed.value("fsbackup_check_timestamp_seconds") == NOW.timestamp()
    assert exposed.value("fsbackup_findings", severity="critical") == 1
    assert exposed.value("fsbackup_findings", severity="unknown") == 0
    assert exposed.value("fsbackup_finding", id="backup-age:daily") == 1
    assert exposed.value("fsbackup_finding_since_seconds") == NOW.timestamp()
    assert exposed.value("fsbackup_backup_age_seconds", plan="daily") == 3600.5
    assert exposed.value("fsbackup_backup_age_seconds", plan="hourly") == 7
    assert exposed.value("fsbackup_probe_success", probe="key") == 0
    assert set(exposed.help) == set(exposed.types) <= set(HELP)


@given(st.text(), st.text())
def test_whatever_a_name_is_it_breaks_no_line(site: str, source: str) -> None:
    numbers = (Number("fsbackup_part_rows", 1, (("source", source),)),)
    exposed = parse_exposition(exposition(check(numbers=numbers, site=site)))
    assert exposed.value("fsbackup_part_rows", site=site, source=source) == 1


def test_a_value_that_was_measured_twice_stands_there_once() -> None:
    number = Number("fsbackup_part_rows", 1, (("source", "db"),))
    text = exposition(check(numbers=(number, Number(number.name, 2, number.labels))))
    assert parse_exposition(text).value("fsbackup_part_rows") == 2


def test_the_file_is_replaced_as_a_whole_and_readable_for_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "fsbackup.prom"
    path.write_text("old\n")
    with path.open() as reading:
        former = path.stat().st_ino
        write_metrics(path, "new\n")
        assert reading.read() == "old\n"
    assert path.read_text() == "new\n"
    assert path.stat().st_ino != former
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["fsbackup.prom"]  # noqa: PTH208


def test_what_can_t_be_written_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fsbackup.prom"
    path.write_text("old\n")

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RepositoryUnwritable):
        write_metrics(path, "new\n")
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["fsbackup.prom"]  # noqa: PTH208


def test_a_path_that_can_be_no_file_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as missing:
        write_metrics(tmp_path / "nowhere" / "fsbackup.prom", "new\n")
    assert missing.value.why == f"{tmp_path / 'nowhere'} is no directory."
    with pytest.raises(UsageError, match="NOT WRITTEN"):
        write_metrics(tmp_path, "new\n")
