"""An incident led from its declaration to its end: order, guards, settling, taking over."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    IdentityMismatch,
    PointDamaged,
    Problem,
    SafetyRefusal,
    StaleLeader,
    UsageError,
)
from fsbackup_tui.jobs.layout import read_request
from fsbackup_tui.jobs.leader import check_leader
from fsbackup_tui.operations.recovery_requests import FreezeRequest, SwapRequest
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.recovery.actions.assessing import ways_of
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.driving import last_problem
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.report_follow import risks
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.files import share_with_group
from fsbackup_tui.repository.incidents import NOW as NOW_TXT
from fsbackup_tui.repository.incidents import IncidentJournal, find_incident
from tests.support.recovering import (
    COPY_OID,
    LIVE_OID,
    POINT,
    Clock,
    do_step,
    jobs_of,
    make_desk,
    make_report,
    make_standing,
    open_session,
    to_the_swap,
)


def clock_of(desk: Desk) -> Clock:
    assert isinstance(desk.author.now, Clock)
    return desk.author.now


def lead_to(session: RecoverySession, last: str) -> None:
    for step, answer in to_the_swap():
        do_step(session, step, answer)
        if step == last:
            return


def again(session: RecoverySession, operator: str = "ana") -> RecoverySession:
    """Sit down anew, as after kill -9."""
    session.leave()
    return attach(session.desk, IncidentJournal(session.journal.directory))


def test_a_data_loss_is_led_to_its_end(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "check-copy")
    card = session.card("swap")
    assert card.typed == "shop"
    assert any("31" in line for line in card.shows), card.shows
    do_step(session, "swap", Answer(typed="shop"))
    for step in ("migrations", "start-app", "smoke-test", "resume-jobs", "fresh-backup"):
        do_step(session, step)
    do_step(session, "tell-done")
    reading = session.read()
    assert reading.flow.current() is None
    assert jobs_of(session.desk).operations() == [
        *("look", "freeze", "look", "freeze", "damage", "look", "restore"),
        *("check-copy", "look", "swap", "migration", "backup"),
    ]
    session.close("all is well")
    assert session.read().incident.closed is not None


def test_what_flows_from_step_to_step(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "check-copy")
    do_step(session, "swap", Answer(typed="shop"))
    asked = {request.operation: request for request in jobs_of(session.desk).requests}
    restore, swap = asked["restore"], asked["swap"]
    assert isinstance(restore, RestoreBesideRequest)
    assert (restore.point, restore.beside) == (POINT, "shop__restore_20261122_01")
    assert isinstance(swap, SwapRequest)
    assert (swap.live_oid, swap.copy, swap.copy_oid) == (LIVE_OID, restore.beside, COPY_OID)
    assert swap.kept_as == "shop__before_20261122_01"
    assert swap.target is not None
    freezes = [each for each in jobs_of(session.desk).requests if isinstance(each, FreezeRequest)]
    assert [each.grade for each in freezes] == ["vacuum", "role"]
    assert freezes[0].names == ("public.videos",)


def test_no_step_comes_before_what_it_needs(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "choose-way")
    with pytest.raises(SafetyRefusal, match="NOT YET"):
        session.begin("swap", Answer(typed="shop"))
    assert "swap" not in jobs_of(session.desk).operations()


@pytest.mark.parametrize("typed", ["", "sho", "shop ", "SHOP", "y", "yes"])
def test_without_the_name_nothing_is_swapped(tmp_path: Path, typed: str) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "check-copy")
    session.look_now()
    session.poll()
    with pytest.raises(ConfirmationNeeded):
        session.begin("swap", Answer(typed=typed))
    assert "swap" not in jobs_of(session.desk).operations()
    assert session.read().incident.steps.get("swap") is None


def test_a_change_wants_a_look_right_before(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "check-copy")
    assert session.card("swap").needs_look
    with pytest.raises(SafetyRefusal, match="NOT LOOKED YET"):
        session.begin("swap", Answer(typed="shop"))


def test_another_server_stops_it_until_it_is_named(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    clock = desk.author.now
    assert isinstance(clock, Clock)
    jobs_of(desk).replies["look"] = lambda _: make_standing(
        clock, environment="staging", environment_from="the database's name"
    )
    session = open_session(desk, runbook="data-loss")
    session.look_now()
    session.poll()
    assert "staging" in session.card("keep-evidence").stopped
    with pytest.raises(IdentityMismatch, match="STOPPED"):
        session.begin("keep-evidence", Answer("videos"))
    with pytest.raises(ConfirmationNeeded):
        session.accept_target("shop")
    session.accept_target("db1/shop")
    session.begin("keep-evidence", Answer("videos"))
    assert "freeze" in jobs_of(desk).operations()


def test_a_doubtful_point_wants_a_reason(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "damage")
    question = session.card("choose-point").question
    assert question is not None
    assert question.default == POINT
    doubtful = next(option for option in question.options if option.doubt)
    with pytest.raises(UsageError, match="A REASON IS NEEDED"):
        session.begin("choose-point", Answer(doubtful.key))
    session.begin("choose-point", Answer(doubtful.key, reason="the damage is older"))
    assert session.read().facts.point == doubtful.key


def test_the_way_chosen_switches_the_runbook_and_done_steps_stay_done(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "choose-point")
    do_step(session, "choose-way", Answer("merge"))
    reading = session.read()
    assert reading.runbook.id == "partial-loss"
    damage = reading.flow.find("damage")
    assert damage is not None
    assert damage.state.status == "done"
    assert reading.flow.find("merge") is not None


def test_a_failed_step_says_why_and_can_be_done_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    lead_to(session, "tell-eta")
    good = jobs_of(desk).replies["restore"]
    jobs_of(desk).replies["restore"] = Problem("disk-full", "NOT ENOUGH SPACE on the server.")
    do_step(session, "restore")
    card = session.card("restore")
    assert card.status == "FAILED"
    assert "NOT ENOUGH SPACE" in card.trouble[0]
    jobs_of(desk).replies["restore"] = good
    do_step(session, "restore")
    assert session.card("restore").status == "done"


def test_a_swap_nobody_saw_the_end_of_is_settled_by_looking(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    lead_to(session, "check-copy")
    session.look_now()
    session.poll()
    session.begin("swap", Answer(typed="shop"))
    # The worker's directory is lost with the machine's /tmp, the databases have changed places.
    job = session.read().incident.steps["swap"].job
    for path in sorted((desk.state / "jobs" / job).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (desk.state / "jobs" / job).rmdir()
    second = again(session)
    current = second.read().flow.current()
    assert current is not None
    assert current.step.id == "swap"
    assert current.state.status == "unknown"
    second.settle("swap")
    second.poll()
    second.poll()
    step = second.read().incident.steps["swap"]
    assert step.status == "done"
    assert second.read().facts.document("swapped")["kept_as"] == "shop__before_20261122_01"


def test_a_swap_that_never_happened_is_open_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    lead_to(session, "check-copy")
    body = {
        "step": "swap",
        "title": "Swap it in",
        "request": {"operation": "swap", "arguments": {"copy_oid": COPY_OID, "live_oid": LIVE_OID}},
        "commands": [],
    }
    session.journal.append("intent", body, desk.author, epoch=session.epoch)
    second = again(session)
    second.settle("swap")
    second.poll()
    second.poll()
    assert second.read().incident.steps["swap"].status == "open"
    do_step(second, "swap", Answer(typed="shop"))
    assert second.read().incident.steps["swap"].status == "done"


def test_a_job_that_ended_while_nobody_looked_is_taken_by_the_next(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "preserve")
    session.begin("damage")
    second = again(session)
    assert second.leads
    second.poll()
    assert second.read().incident.steps["damage"].status == "done"
    assert second.read().facts.report is not None


def test_two_cannot_act_at_once(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    first = open_session(desk, runbook="data-loss")
    ben = make_desk(tmp_path, operator="ben")
    second = attach(ben, IncidentJournal(first.journal.directory))
    assert not second.leads
    assert first.watchers == ("ben",)
    with pytest.raises(StaleLeader, match="YOU WATCH: ana"):
        second.begin("keep-evidence", Answer("videos"))
    second.note("seen in the log at 02:51")
    assert first.read().incident.notes[-1].operator == "ben"


def test_a_leader_who_is_there_has_twenty_seconds(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    first = open_session(desk, runbook="data-loss")
    clock = Clock(desk.now())
    second = attach(make_desk(tmp_path, operator="ben", clock=clock), first.journal)
    with pytest.raises(SafetyRefusal, match="NOT TAKEN OVER"):
        second.take_over()
    second.ask_take_over()
    with pytest.raises(SafetyRefusal):
        second.take_over()
    clock.moment += timedelta(seconds=21)
    second.take_over("ana is on the train")
    assert second.leads
    assert not first.leads
    with pytest.raises(StaleLeader):
        first.begin("keep-evidence", Answer("videos"))
    # Who led before and sits there still watches, and keeps nobody from following the leader.
    first.poll()
    assert second.watchers == ("ana",)
    second.leave()
    assert first.may_take_over()
    first.take_over("ben went home")
    assert first.leads


def test_a_leader_may_refuse(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    first = open_session(desk, runbook="data-loss")
    clock = Clock(desk.now())
    second = attach(make_desk(tmp_path, operator="ben", clock=clock), first.journal)
    second.ask_take_over()
    first.refuse_take_over("in the middle of it")
    clock.moment += timedelta(seconds=60)
    with pytest.raises(SafetyRefusal, match="NOT TAKEN OVER") as caught:
        second.take_over()
    assert "in the middle of it" in caught.value.why


def test_a_leader_who_is_gone_is_followed_at_once(tmp_path: Path) -> None:
    first = open_session(make_desk(tmp_path), runbook="data-loss")
    first.leave()
    second = attach(make_desk(tmp_path, operator="ben"), first.journal)
    assert not second.leads
    second.take_over("ana lost her line")
    assert second.read().incident.epoch == second.epoch == 2


def test_it_is_not_closed_while_something_is_frozen(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    body = {"what": "the role app", "undo": ["GRANT CONNECT ON DATABASE shop TO app;"]}
    session.journal.append("frozen", body, desk.author, epoch=session.epoch)
    with pytest.raises(SafetyRefusal, match="NOT CLOSED"):
        session.close("done")
    text = (session.journal.directory / NOW_TXT).read_text()
    assert "GRANT CONNECT ON DATABASE shop TO app;" in text


def test_skipping_wants_a_reason_and_what_follows_may_go_on(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    with pytest.raises(UsageError, match="A REASON IS NEEDED"):
        session.skip("pause-jobs", " ")
    session.skip("pause-jobs", "there are none")
    placed = session.read().flow.find("pause-jobs")
    assert placed is not None
    assert placed.is_behind


def test_choosing_another_point_opens_what_was_based_on_it(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "check-copy")
    session.again("choose-point")
    steps = session.read().incident.steps
    assert {name: steps[name].status for name in ("choose-point", "restore", "check-copy")} == {
        "choose-point": "open",
        "restore": "open",
        "check-copy": "open",
    }
    lead = [("choose-point", Answer("")), ("choose-way", Answer("swap")), ("restore", None)]
    for step, answer in lead:
        do_step(session, step, answer)
    assert session.read().facts.copy == "shop__restore_20261122_01_2"


def test_what_a_swap_was_based_on_stays_until_it_is_undone(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "check-copy")
    do_step(session, "swap", Answer(typed="shop"))
    with pytest.raises(SafetyRefusal, match="NOT OPENED AGAIN"):
        session.again("choose-point")
    session.look_now()
    session.poll()
    with pytest.raises(ConfirmationNeeded):
        session.undo("swap")
    session.undo("swap", Answer(typed="shop"))
    session.poll()
    assert session.read().incident.steps["swap"].status == "undone"
    back = [each for each in jobs_of(session.desk).requests if isinstance(each, SwapRequest)][-1]
    assert back.back
    assert back.copy == "shop__before_20261122_01"
    assert back.copy_oid == LIVE_OID


def test_correcting_the_damage_time_measures_again(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "choose-point")
    session.set_damage_time(session.desk.now() - timedelta(hours=3))
    steps = session.read().incident.steps
    assert steps["damage"].status == "open"
    assert steps["choose-point"].status == "open"


def test_a_job_that_runs_goes_on_under_who_takes_over(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    lead_to(session, "preserve")
    session.begin("damage")
    job = session.read().incident.steps["damage"].job
    session.leave()
    second = attach(make_desk(tmp_path, operator="ben"), session.journal)
    second.take_over("ana's line is gone")
    told = read_request(second.desk.state / "jobs" / job)
    assert told.epoch == 1
    check_leader(told, second.desk.state)
    stale = replace(told, job="20261122T030500Z-damage-zzzz")
    with pytest.raises(StaleLeader, match="another leader"):
        check_leader(stale, second.desk.state)


def test_a_state_shared_with_a_group_lets_it_write(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    share_with_group(desk.state, os.getgid())
    session = open_session(desk, runbook="data-loss")
    lead_to(session, "damage")
    incident = session.journal.directory
    modes = {path.name: path.stat().st_mode & 0o7777 for path in incident.iterdir()}
    assert modes["journal.jsonl"] == modes["leader.json"] == modes["NOW.txt"] == 0o660
    assert incident.stat().st_mode & 0o7777 == 0o2770
    job = next((desk.state / "jobs").iterdir())
    assert job.stat().st_mode & 0o7777 == 0o2770
    assert (job / "journal.jsonl").stat().st_mode & 0o7777 == 0o660


def test_a_step_that_does_not_apply_lets_nothing_past_it_too_early(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    thaw = session.read().flow.find("thaw")
    assert thaw is not None
    assert thaw.applies is False
    with pytest.raises(SafetyRefusal, match="NOT YET"):
        session.begin("start-app")


def test_what_a_done_step_could_not_do_is_told_wherever_it_is_shown(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    jobs_of(desk).warnings["freeze"] = ("Not frozen: public.nosuch. It is missing.",)
    do_step(session, "keep-evidence", Answer("videos, nosuch"))
    assert session.card("keep-evidence").status == "done"
    assert session.card("keep-evidence").trouble == ("Not frozen: public.nosuch. It is missing.",)
    again_read = IncidentJournal(session.journal.directory).read()
    assert again_read is not None
    assert again_read.steps["keep-evidence"].warnings
    assert "1.1 Keep the evidence: Not frozen: public.nosuch. It is missing." in list(
        risks(session.read())
    )


def test_a_step_whose_end_nobody_knows_is_not_lost_by_another_runbook(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="partial-loss")
    body = {"step": "diff", "title": "Compare by key", "request": {}, "commands": []}
    session.journal.append("intent", body, session.desk.author, epoch=session.epoch)
    with pytest.raises(SafetyRefusal, match=r"NOT CHANGED: nobody knows how 4.3 Compare"):
        session.switch_runbook("data-loss")
    assert session.read().incident.runbook == "partial-loss"


def test_a_clock_that_was_set_back_keeps_nobody_from_acting(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    do_step(session, "keep-evidence", Answer("videos"))
    clock_of(desk).moment -= timedelta(hours=1)
    do_step(session, "pause-jobs", Answer())
    do_step(session, "freeze", Answer("role"))
    assert session.read().incident.steps["freeze"].status == "done"


def test_an_answer_after_a_failed_attempt_has_not_its_job(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    jobs_of(desk).replies["freeze"] = Problem("failed", "ROLE MISSING: app.")
    do_step(session, "freeze", Answer("role"))
    assert session.read().incident.steps["freeze"].status == "failed"
    do_step(session, "freeze", Answer("nothing"))
    state = session.read().incident.steps["freeze"]
    assert (state.status, state.job, state.seconds) == ("done", "", None)


def test_people_are_called_by_their_whole_names(tmp_path: Path) -> None:
    first = open_session(make_desk(tmp_path), runbook="data-loss")
    attach(make_desk(tmp_path, operator="www-data"), IncidentJournal(first.journal.directory))
    assert first.watchers == ("www-data",)


def test_the_last_message_says_what_a_merge_did_not_bring_back(tmp_path: Path) -> None:
    session = open_session(make_desk(tmp_path), runbook="partial-loss")
    lead_to(session, "preserve")
    do_step(session, "damage")
    do_step(session, "choose-point", Answer())
    do_step(session, "choose-way", Answer("merge"))
    # The report of the desk knows of rows that are in neither.
    said = "\n".join(session.card("tell-done").shows)
    assert "Up to 7 rows younger than the backup are gone." in said
    assert "Nothing was lost" not in said


def test_an_incident_that_can_not_be_read_keeps_nobody_from_recovering(tmp_path: Path) -> None:
    first = open_session(make_desk(tmp_path), runbook="data-loss")
    first.close("over")
    journal = first.journal.directory / "journal.jsonl"
    journal.unlink()
    journal.symlink_to(journal)  # like another user's: there, and can't be opened
    desk = make_desk(tmp_path)
    second = open_session(desk, runbook="data-loss")
    assert second.journal.id != first.journal.id
    assert f"of what can't be read: {first.journal.id} (" in second.read().incident.notes[0].text
    with pytest.raises(UsageError, match="NO SUCH INCIDENT") as raised:
        find_incident(desk.state, first.journal.id)
    assert f"Not yours to read: {first.journal.id} (" in raised.value.why


def test_a_point_that_turns_out_damaged_leads_back_to_the_choice(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    lead_to(session, "tell-eta")
    jobs_of(desk).replies["restore"] = PointDamaged("POINT DAMAGED: its dump.").problem()
    do_step(session, "restore")
    assert session.read().incident.steps["restore"].status == "open"
    told = last_problem(session.journal, "restore")
    assert told is not None
    assert told.what == "POINT DAMAGED: its dump."
    current = session.read().flow.current()
    assert current is not None
    assert current.step.id == "choose-point"
    question = session.card("choose-point").question
    assert question is not None
    assert "found damaged" in question.options[0].doubt
    assert question.default != POINT


def test_a_freeze_that_failed_half_way_can_be_undone(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    jobs_of(desk).replies["freeze"] = Problem("failed", "SERVER LOST: in the middle.")
    do_step(session, "freeze", Answer("role"))
    assert not session.card("freeze").can_undo
    body = {"what": "the role app", "grade": "role", "undo": ["GRANT CONNECT …;"]}
    session.journal.append("frozen", body, desk.author, epoch=session.epoch)
    with pytest.raises(SafetyRefusal, match="NOT CLOSED") as raised:
        session.close("over")
    assert raised.value.fix == "First undo 1.3 Freeze writing."
    assert session.card("freeze").can_undo
    session.look_now()
    session.poll()
    session.undo("freeze")
    assert jobs_of(desk).operations()[-1] == "thaw"


def test_where_live_can_not_be_read_nothing_is_said_to_be_whole(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    session = open_session(desk, runbook="data-loss")
    told = make_report(clock_of(desk))
    unread = [{**table, "live_rows": None, "note": "not read"} for table in told["tables"]]
    jobs_of(desk).replies["damage"] = {**told, "tables": unread, "live": "unreadable"}
    lead_to(session, "check-copy")
    damage = "\n".join(session.card("damage").shows)
    assert "what is lost is NOT KNOWN" in damage
    assert "since live could not be read: what is lost is not known" in damage
    swap = "\n".join(session.card("swap").shows)
    assert "NOT KNOWN: live could not be read when it was counted" in swap
    assert not any("no table has" in text.lower() for text in (damage, swap))


def test_what_was_left_alone_can_be_decided_anew(tmp_path: Path) -> None:
    """Who froze nothing at first must be able to freeze later, and not only line by line."""
    session = open_session(make_desk(tmp_path), runbook="data-loss")
    do_step(session, "keep-evidence", Answer("videos"))
    do_step(session, "freeze", Answer("nothing"))
    assert not session.card("keep-evidence").can_open_again
    assert session.card("freeze").can_open_again
    session.again("freeze")
    do_step(session, "freeze", Answer("role"))
    assert not session.card("freeze").can_open_again


def test_a_step_that_goes_on_for_far_too_long_is_warned_of_and_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    session = open_session(make_desk(tmp_path, clock=clock), runbook="data-loss")
    session.append("intent", step="freeze", title="Freeze", request={}, commands=[], answer={})
    session.append("started", step="freeze", job="20261122T030500Z-freeze-x1y2")
    clock.moment += timedelta(seconds=25)
    assert session.card("freeze").trouble == ()
    clock.moment += timedelta(minutes=3)
    (told,) = session.card("freeze").trouble
    assert told.startswith("SLOW: it has been going on for 3 m 25 s; about 10 s is usual.")
    assert session.card("freeze").status == "under way"


@pytest.mark.parametrize(
    ("left", "proposed"),
    [
        (40, "Proposed: partial-loss, by merge, since public.videos: 5 340 to 40 rows"),
        (1, "Proposed: partial-loss, by merge: it loses nothing of what live has; swap: loses"),
    ],
)
def test_the_runbook_and_the_way_that_are_proposed_agree(
    tmp_path: Path, left: int, proposed: str
) -> None:
    clock = Clock()
    desk = make_desk(tmp_path, clock=clock)
    report = make_report(clock)
    if left == 1:
        for table in report["tables"]:
            table["live_rows"] = left
    jobs_of(desk).replies["damage"] = report
    session = open_session(desk, runbook="data-loss")
    do_step(session, "damage")
    lines = session.card("choose-point").shows
    assert any(line.startswith(proposed) for line in lines), lines
    best = next(way for way in ways_of(session.situation()) if way.recommended)
    assert best.way == "merge"


def test_where_nothing_can_be_merged_no_runbook_that_merges_is_proposed(tmp_path: Path) -> None:
    clock = Clock()
    desk = make_desk(tmp_path, clock=clock)
    jobs_of(desk).replies["damage"] = {**make_report(clock), "live": "unreadable"}
    session = open_session(desk, runbook="data-loss")
    do_step(session, "damage")
    lines = session.card("choose-point").shows
    (told,) = (line for line in lines if line.startswith("Proposed: "))
    assert told.startswith("Proposed: data-loss, by swap, since ")
    assert told.endswith("; nothing can be merged")
