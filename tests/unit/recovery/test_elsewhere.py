"""An incident whose state directory takes nothing: it goes elsewhere, says so, and is found."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE

import pytest

from fsbackup_tui.domain.errors import RepositoryUnwritable, SafetyRefusal
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.repository import elsewhere
from fsbackup_tui.repository.elsewhere import find_elsewhere, make_elsewhere, why_not_writable
from fsbackup_tui.repository.incidents import find_incident, find_open, list_incidents
from fsbackup_tui.repository.layout import site_state
from fsbackup_tui.repository.lock import is_job_alive
from tests.support.recovering import do_step, jobs_of, make_desk, open_session

OURS = f"fsbackup-{os.geteuid()}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place for what has none."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(elsewhere, "PLACES", (place,))
    return place


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk whose state can't be made: there is a file in its place."""
    (tmp_path / "site").mkdir()
    desk = make_desk(tmp_path / "site")
    desk.state.rmdir()
    desk.state.write_text("a file")
    return replace(desk, state=site_state(desk.loaded, {}, None))


def test_it_goes_elsewhere_with_its_jobs_and_says_where(desk: Desk, place: Path) -> None:
    session = open_session(desk)
    state = place / OURS / desk.state.name
    assert session.desk.state == state
    assert session.journal.directory.parent == state / "incidents"
    assert {S_IMODE(path.stat().st_mode) for path in (state, state.parent)} == {0o700}
    (note,) = session.read().incident.notes
    assert f"The state directory {desk.state} can't be written (Not a directory)" in note.text
    assert f"lie in {state}" in note.text
    assert note.text in (session.journal.directory / "NOW.txt").read_text()
    do_step(session, "pause-jobs")
    session.look_now()
    session.poll()
    assert jobs_of(desk).requests
    assert {path.parent for path in (state / "jobs").iterdir()} == {state / "jobs"}

    # From another terminal it is found, as long as it is open by every job of the site, too.
    assert site_state(desk.loaded, {}, None) == state
    again = replace(desk, state=site_state(desk.loaded, {}, None))
    found = find_open(again.state)
    assert found is not None
    assert attach(again, found).journal.id == session.journal.id
    with pytest.raises(SafetyRefusal, match="INCIDENT OPEN ALREADY"):
        open_session(desk)


def test_when_it_is_closed_the_site_has_its_own_state_again(desk: Desk, place: Path) -> None:
    session = open_session(desk)
    first = session.journal.id
    session.journal.append("closed", {"why": "done"}, desk.author, epoch=1)
    desk.state.parent.unlink()
    home = site_state(desk.loaded, {}, None)
    assert home == desk.state
    # It is listed with the others, and its number is not used again.
    assert [journal.id for journal in list_incidents(home)] == [first]
    assert find_incident(home, first).directory.is_relative_to(place)
    second = open_session(replace(desk, state=home))
    assert second.desk.state == home
    assert second.journal.id != first
    assert [journal.id for journal in list_incidents(home)] == [second.journal.id, first]


def test_a_full_disk_is_told_before_it_is_met(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    assert why_not_writable(state) == ""
    assert list(state.iterdir()) == []
    monkeypatch.setattr(elsewhere, "free_bytes", lambda path: 0 if path == state else 1_000_000_000)
    assert why_not_writable(state) == "its disk is full"
    assert make_elsewhere(state, {}) == place / OURS / "state"
    monkeypatch.setattr(elsewhere, "free_bytes", lambda _path: 0)
    assert make_elsewhere(state, {}) is None


def test_somebody_elses_directory_is_not_trusted(desk: Desk, place: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    (place / OURS).symlink_to(mine)
    assert make_elsewhere(desk.state, {}) is None
    assert list(mine.iterdir()) == []
    with pytest.raises(RepositoryUnwritable, match="NOT DECLARED"):
        open_session(desk)
    (place / OURS).unlink()
    (place / OURS).mkdir()
    (place / OURS).chmod(0o755)
    assert make_elsewhere(desk.state, {}) is None
    assert find_elsewhere(desk.state, {}) == ()
    # Where there is no other place, the session's own is better than none.
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    found = make_elsewhere(desk.state, environ)
    assert found == runtime / "fsbackup" / desk.state.name
    assert find_elsewhere(desk.state, environ) == (found,)


def test_a_job_that_runs_in_the_sites_own_state_is_alive_all_the_same(
    place: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    job = state / "jobs" / "20261122T020000Z-backup-k3f9"
    job.mkdir(parents=True)
    found = make_elsewhere(state, {})
    assert found is not None
    assert not is_job_alive(found, job.name)
    with (job / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_job_alive(found, job.name)
