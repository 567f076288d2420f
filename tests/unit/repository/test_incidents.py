"""Incidents on disk: durable lines, one leader, and nothing that a dead process could hold."""

from __future__ import annotations

import errno
import json
import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.errors import RepositoryUnwritable, SafetyRefusal, StaleLeader, UsageError
from fsbackup_tui.repository.holds import hold_repository, release_repository
from fsbackup_tui.repository.incidents import (
    JOURNAL,
    LEADER,
    Author,
    IncidentJournal,
    find_incident,
    find_open,
    idle_for,
    leader_epoch,
    list_incidents,
    open_incident,
)
from tests.support.points import make_repository

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def moment() -> datetime:
    return NOW


ANA = Author("ana", "db1", moment)
BEN = Author("ben", "db2", moment)


def declare(state: Path, *, source: str = "db", is_drill: bool = False) -> IncidentJournal:
    return open_incident(
        state,
        ANA,
        site="face-swap",
        source=source,
        seen="rows",
        last_right=NOW - timedelta(minutes=20),
        zone=BERLIN,
        is_drill=is_drill,
    )


def test_declared_it_is_open_private_and_named_by_the_local_day(tmp_path: Path) -> None:
    journal = declare(tmp_path)
    assert journal.id == "20261123-01"
    incident = IncidentJournal(journal.directory).read()
    assert incident is not None
    assert (incident.site, incident.source, incident.seen) == ("face-swap", "db", "rows")
    assert incident.last_right == NOW - timedelta(minutes=20)
    assert incident.leader is not None
    assert (incident.leader.operator, incident.epoch) == ("ana", 1)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in journal.directory.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(journal.directory.stat().st_mode) == 0o700
    found = find_open(tmp_path)
    assert found is not None
    assert found.id == journal.id


def test_a_second_one_of_the_same_source_is_refused_a_drill_is_not(tmp_path: Path) -> None:
    first = declare(tmp_path)
    with pytest.raises(SafetyRefusal, match="INCIDENT OPEN ALREADY") as raised:
        declare(tmp_path)
    assert "ana on db1" in raised.value.what
    drill = declare(tmp_path, is_drill=True)
    other = declare(tmp_path, source="shop")
    assert [drill.id, other.id] == ["20261123-02", "20261123-03"]
    first.append("closed", {"why": "runs again"}, ANA, epoch=1)
    assert declare(tmp_path).id == "20261123-04"
    assert [journal.id for journal in list_incidents(tmp_path)][-1] == "20261123-01"
    assert find_incident(tmp_path, "1123-02").id == "20261123-02"
    with pytest.raises(UsageError, match="NO SUCH INCIDENT"):
        find_incident(tmp_path, "1123-99")


def test_who_lost_the_lead_writes_nothing_more_and_of_two_one_takes_over(tmp_path: Path) -> None:
    journal = declare(tmp_path)
    led = journal.take_over(BEN, "shift ends", expected=1)
    assert (led.epoch, leader_epoch(journal.directory)) == (2, 2)
    with pytest.raises(StaleLeader, match="has another leader now") as raised:
        journal.append("intent", {"step": "swap"}, ANA, epoch=1)
    assert "ben on db2" in raised.value.why
    with pytest.raises(StaleLeader):
        journal.take_over(ANA, "me again", expected=1)
    journal.append("note", {"text": "a watcher's word"}, ANA, epoch=None)
    incident = journal.read()
    assert incident is not None
    assert "swap" not in incident.steps
    assert incident.leader is not None
    assert incident.leader.operator == "ben"
    assert incident.notes[0].operator == "ana"


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    journal = declare(tmp_path)
    with (journal.directory / JOURNAL).open("ab") as file:
        file.write(b'{"seq": 2, "at": "2026-11-22T23:30')
    again = IncidentJournal(journal.directory)
    assert again.read() is not None
    again.append("note", {"text": "after the crash"}, ANA, epoch=1)
    journal.append("note", {"text": "and from the first"}, ANA, epoch=1)
    incident = IncidentJournal(journal.directory).read()
    assert incident is not None
    assert [note.text for note in incident.notes] == ["after the crash", "and from the first"]
    numbers = [entry.seq for entry in IncidentJournal(journal.directory).entries()]
    assert numbers == sorted(set(numbers))


def write_many(directory: Path, name: str) -> None:
    journal = IncidentJournal(directory)
    for number in range(40):
        journal.append("note", {"text": f"{name} {number}"}, Author(name, "h", moment), epoch=None)


def test_two_processes_write_whole_lines_each_with_its_number(tmp_path: Path) -> None:
    journal = declare(tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_many, args=(journal.directory, name)) for name in ("x", "y")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    lines = (journal.directory / JOURNAL).read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 82))


def test_a_hold_stands_in_the_repository_until_it_is_released(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    journal = declare(state)
    path = hold_repository(repository, journal, ANA)
    assert hold_repository(repository, journal, ANA) == path
    assert repository.holds_open() == [path]
    assert json.loads(path.read_text())["operator"] == "ana"
    release_repository(repository, journal)
    release_repository(repository, journal)
    assert repository.holds_open() == []


def test_idle_is_counted_from_the_last_word(tmp_path: Path) -> None:
    journal = declare(tmp_path)
    later = Author("ana", "db1", lambda: NOW + timedelta(hours=3))
    journal.append("note", {"text": "still here"}, later, epoch=1)
    incident = journal.read()
    assert incident is not None
    assert idle_for(incident, NOW + timedelta(hours=5)) == timedelta(hours=2)


def test_an_unreadable_leader_leads_nobody(tmp_path: Path) -> None:
    journal = declare(tmp_path)
    (journal.directory / LEADER).write_text("{")
    with pytest.raises(StaleLeader):
        journal.append("note", {"text": "x"}, ANA, epoch=1)
    journal.take_over(ANA, "its leader.json was damaged", expected=0)
    assert leader_epoch(journal.directory) == 2  # and no request of epoch 1 counts again


def test_where_nothing_can_be_written_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    # Root may write wherever a mode forbids it, and no test may mount: the system's word alone.
    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(RepositoryUnwritable, match="NOT WRITABLE"):
        declare(tmp_path)
