"""The express way on a desk whose jobs are scripted: what is said where it stops half-way."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import JobError, Problem, SafetyRefusal, UsageError
from fsbackup_tui.recovery.driving import still_open
from fsbackup_tui.recovery.express import ExpressPlan, open_express, prepare
from fsbackup_tui.recovery.session import RecoverySession
from tests.support.recovering import POINT, jobs_of, make_check, make_desk


def freeze_role(session: RecoverySession) -> dict[str, object]:
    body = {"what": "role app", "undo": ["GRANT CONNECT …"]}
    session.journal.append("frozen", body, session.desk.author, epoch=session.epoch)
    return {"ok": True, "measures": [], "still_writing": []}


def test_who_is_frozen_out_is_said_where_it_stops_half_way(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    plan = ExpressPlan("db", POINT, freeze=True)
    session = open_express(desk, plan)

    jobs_of(desk).replies["freeze"] = lambda _: freeze_role(session)
    jobs_of(desk).replies["restore"] = Problem("failed", "DISK FULL.", "It is so.", "Do this.")
    with pytest.raises(JobError, match="DISK FULL") as raised:
        prepare(session, plan)
    assert still_open(raised.value, session).fix.splitlines() == [
        "Do this.",
        "WRITES STAY FROZEN (role app) until it is gone on with.",
        f"Incident {session.journal.id} stays open: fsbackup recover --resume {session.journal.id}",
    ]


def test_nobody_is_frozen_out_for_what_wants_a_reason_first(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    plan = ExpressPlan("db", "20261122T025000Z-daily-m4x2", freeze=True)
    session = open_express(desk, plan)
    with pytest.raises(UsageError, match="A REASON IS NEEDED") as raised:
        prepare(session, plan)
    assert "freeze" not in jobs_of(desk).operations()
    # Nothing was done: the same command with a reason is no second incident.
    assert session.read().incident.closed is not None
    assert "stays open" not in still_open(raised.value, session).fix
    session.leave()
    open_express(desk, ExpressPlan("db", plan.point, reason="the only one")).leave()


@pytest.mark.parametrize("freeze", [False, True])
def test_a_copy_that_could_not_be_compared_wants_a_reason_in_the_same_command(
    tmp_path: Path, freeze: bool
) -> None:
    desk = make_desk(tmp_path)
    plan = ExpressPlan("db", POINT, freeze=freeze)
    session = open_express(desk, plan)

    jobs = jobs_of(desk)
    jobs.replies["freeze"] = lambda _: freeze_role(session)
    jobs.replies["check-copy"] = {**make_check(jobs.clock), "verdict": "restored"}
    with pytest.raises(SafetyRefusal, match="NOT PROVEN") as raised:
        prepare(session, plan)
    # Whom it keeps out nobody lets in again where the incident is over.
    assert (session.read().incident.closed is None) == freeze
    told = still_open(raised.value, session).fix
    assert ("recover --resume" in told, "--reason TEXT" in told) == (freeze, not freeze)
