"""Incidents at a glance: which one is open, what is said of it, without sitting down at it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from fsbackup_tui.recovery.presence import present
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.reading import OpenIncidents, glance_at
from tests.support.recovering import do_step, make_desk, open_session


def test_the_open_incident_is_found_and_a_closed_one_is_not(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    incidents = OpenIncidents()
    assert incidents.newest(desk.state) is None
    session = open_session(desk, runbook="data-loss")
    found = incidents.newest(desk.state)
    assert found is not None
    assert found.id == session.journal.id
    session.close("false alarm")
    assert incidents.newest(desk.state) is None
    session.leave()


def test_a_drill_is_told_of_only_where_nothing_else_is_open(tmp_path: Path) -> None:
    from fsbackup_tui.recovery.declare import declare

    desk = make_desk(tmp_path)
    drill = declare(
        desk, source="db", seen="rows", last_right=None, runbook="data-loss", is_drill=True
    )
    incidents = OpenIncidents()
    found = incidents.newest(desk.state)
    assert found is not None
    glance = glance_at(desk, found)
    assert glance is not None
    assert glance.is_drill
    real = open_session(desk)
    found = incidents.newest(desk.state)
    assert found is not None
    assert found.id == real.journal.id
    drill.leave()
    real.leave()


def test_a_glance_has_leader_step_and_since_when_writes_are_frozen(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    do_step(session, "keep-evidence", Answer("videos"))
    glance = glance_at(desk, session.journal)
    assert glance is not None
    assert (glance.leader, glance.step, glance.frozen_since) == ("ana", "1.2", None)
    since = desk.now()
    body = {"what": "role app", "undo": ["GRANT CONNECT;"]}
    session.journal.append("frozen", body, desk.author, epoch=session.epoch)
    glance = glance_at(desk, session.journal)
    assert glance is not None
    assert glance.frozen_since is not None
    assert glance.frozen_since - since < timedelta(seconds=1)
    session.leave()


def test_looking_leaves_no_mark(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk)
    session.leave()
    before = session.journal.entries()[-1].seq
    glance_at(desk, session.journal)
    assert present(session.journal.directory, "watcher") == ()
    assert session.journal.entries()[-1].seq == before
