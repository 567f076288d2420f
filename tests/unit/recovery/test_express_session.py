"""The express way on a desk whose jobs are scripted: what is said where it stops half-way."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import JobError, Problem, UsageError
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.driving import still_open
from fsbackup_tui.recovery.express import ExpressPlan, open_express, prepare
from tests.support.recovering import POINT, jobs_of, make_desk


def test_who_is_frozen_out_is_said_where_it_stops_half_way(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    plan = ExpressPlan("db", POINT, freeze=True)
    session = open_express(desk, plan)

    def freeze(_: Request) -> dict[str, object]:
        body = {"what": "role app", "undo": ["GRANT CONNECT …"]}
        session.journal.append("frozen", body, desk.author, epoch=session.epoch)
        return {"ok": True, "measures": [], "still_writing": []}

    jobs_of(desk).replies["freeze"] = freeze
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
    with pytest.raises(UsageError, match="A REASON IS NEEDED"):
        prepare(session, plan)
    assert "freeze" not in jobs_of(desk).operations()
