"""How a step ended that nobody saw the end of: looked at, asked, or begun again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import Problem, UsageError
from fsbackup_tui.domain.merge import Merged
from fsbackup_tui.jobs.layout import read_request
from fsbackup_tui.jobs.leader import check_leader
from fsbackup_tui.operations.merge_documents import digest_of, note_text
from fsbackup_tui.operations.merge_requests import MergeRequest
from fsbackup_tui.operations.recovery_requests import LookRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import request_document
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import IncidentJournal
from tests.support.recovering import (
    COPY_OID,
    LIVE_OID,
    Clock,
    do_step,
    jobs_of,
    make_desk,
    make_standing,
    open_session,
)

LOST_AT_COMMIT = Problem("postgres", "SWAP UNSURE: the server was lost while it was swapped.")
MERGE = MergeRequest(part="db", staging="fsbackup_merge_1", choices="[]", expected="{}")
TO_THE_SWAP = ("choose-point", "choose-way", "tell-eta", "restore", "check-copy")


def clock_of(desk: Desk) -> Clock:
    assert isinstance(desk.author.now, Clock)
    return desk.author.now


def lead_to_swap(desk: Desk) -> RecoverySession:
    session = open_session(desk, runbook="data-loss")
    answers = {"keep-evidence": "videos", "freeze": "nothing", "choose-way": "swap"}
    for step in ("keep-evidence", "pause-jobs", "freeze", "stop-app", "tell-first", "preserve"):
        do_step(session, step, Answer(answers.get(step, "")))
    for step in ("damage", *TO_THE_SWAP):
        do_step(session, step, Answer(answers.get(step, "")))
    return session


def begin_to_swap(session: RecoverySession) -> None:
    session.look_now()
    session.poll()
    session.begin("swap", Answer(typed="shop"))


def poll_to_the_end(session: RecoverySession) -> None:
    for _ in range(4):
        session.poll()


@pytest.mark.parametrize(
    ("live_oid", "status"), [(COPY_OID, "done"), (LIVE_OID, "failed")], ids=["swapped", "not"]
)
def test_a_swap_whose_job_failed_late_is_looked_at(
    tmp_path: Path, live_oid: int, status: str
) -> None:
    desk = make_desk(tmp_path)
    session = lead_to_swap(desk)
    jobs = jobs_of(desk)
    jobs.replies["swap"], jobs.stages["swap"] = LOST_AT_COMMIT, ("check", "prepare", "swap")
    begin_to_swap(session)
    jobs.replies["look"] = lambda _: make_standing(clock_of(desk), live_oid=live_oid)
    poll_to_the_end(session)
    step = session.read().incident.steps["swap"]
    assert step.status == status
    if status == "failed":
        assert step.reason == LOST_AT_COMMIT.what
    else:
        assert session.read().facts.document("swapped")["database_oid"] == COPY_OID


def test_what_failed_at_its_first_look_changed_nothing(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = lead_to_swap(desk)
    jobs = jobs_of(desk)
    jobs.replies["swap"] = Problem("safety", "NOT SWAPPED. Nothing changed.")
    jobs.stages["swap"] = ("check",)
    begin_to_swap(session)
    session.poll()
    assert session.read().incident.steps["swap"].status == "failed"


def test_a_new_leader_takes_along_a_job_whose_start_was_not_written(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = lead_to_swap(desk)
    session.look_now()
    session.poll()
    append = session.journal.append

    def die(kind: str, *given: Any, **named: Any) -> Any:
        if kind == "started":
            raise KeyboardInterrupt
        return append(kind, *given, **named)

    session.journal.append = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        session.begin("swap", Answer(typed="shop"))
    session.leave()
    second = attach(desk, IncidentJournal(session.journal.directory))
    assert second.leads
    (job,) = (desk.state / "jobs").glob("*-swap-*")
    check_leader(read_request(job), desk.state)


def test_a_thaw_nobody_saw_the_end_of_is_undone_when_nothing_is_frozen(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    do_step(session, "keep-evidence", Answer("videos"))
    body: Mapping[str, Any] = {
        "step": "keep-evidence",
        "title": "Keep the evidence",
        "request": {"operation": "thaw", "arguments": {}},
        "undoing": True,
    }
    session.journal.append("intent", body, desk.author, epoch=session.epoch)
    session.settle("keep-evidence")
    assert session.read().incident.steps["keep-evidence"].status == "undone"


def test_a_thaw_that_failed_after_it_undid_all_is_undone(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    do_step(session, "keep-evidence", Answer("videos"))
    frozen = {"what": "autovacuum of public.videos", "undo": ["ALTER TABLE …"], "grade": "vacuum"}
    session.journal.append("frozen", frozen, desk.author, epoch=session.epoch)
    jobs_of(desk).replies["thaw"] = LOST_AT_COMMIT
    session.look_now()
    session.poll()
    session.undo("keep-evidence")
    session.journal.append("thawed", frozen, desk.author, epoch=session.epoch)
    session.poll()
    assert session.read().incident.steps["keep-evidence"].status == "undone"


def merge_begun(session: RecoverySession) -> None:
    """Leave a merge behind that was begun, and whose job is gone."""
    body = {"step": "merge", "title": "Put the rows back", "request": request_document(MERGE)}
    session.journal.append("intent", body, session.desk.author, epoch=session.epoch)


def note_of(request: MergeRequest) -> str:
    return note_text(digest_of(request), Merged(1, (), (), {}, (), (), 0.1))


@pytest.mark.parametrize(("happened", "status"), [(True, "done"), (False, "open")])
def test_a_merge_nobody_saw_the_end_of_is_looked_for_in_live(
    tmp_path: Path, happened: bool, status: str
) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="partial-loss")
    merge_begun(session)

    def look(request: Request) -> Mapping[str, Any]:
        assert isinstance(request, LookRequest)
        assert request.staging == MERGE.staging
        return make_standing(clock_of(desk), merged=(note_of(MERGE),) if happened else ())

    jobs_of(desk).replies["look"] = look
    session.settle("merge")
    poll_to_the_end(session)
    assert session.read().incident.steps["merge"].status == status
    assert bool(session.read().facts.document("merged").get("set_number")) is happened


def test_another_merge_is_not_taken_for_this_one(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="partial-loss")
    merge_begun(session)
    other = note_of(MergeRequest(part="db", staging=MERGE.staging, choices="[1]", expected="{}"))
    jobs_of(desk).replies["look"] = lambda _: make_standing(clock_of(desk), merged=(other,))
    session.settle("merge")
    poll_to_the_end(session)
    assert session.read().incident.steps["merge"].status == "open"


def test_only_a_person_can_tell_of_a_command_and_polling_goes_on(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    body = {
        "step": "stop-app",
        "title": "Stop the application",
        "request": {"operation": "command", "arguments": {}},
        "commands": ["systemctl stop shop"],
    }
    session.journal.append("intent", body, desk.author, epoch=session.epoch)
    poll_to_the_end(session)
    assert session.read().incident.steps["stop-app"].status == "unknown"
    with pytest.raises(UsageError, match="DID IT HAPPEN") as asked:
        session.settle("stop-app")
    assert "systemctl stop shop" in asked.value.why
    session.settle("stop-app", happened=True)
    assert session.read().incident.steps["stop-app"].status == "done"
