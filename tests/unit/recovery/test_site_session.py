"""An incident of files, settings or code: who is looked at, what stops it, how it is settled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    IdentityMismatch,
    SafetyRefusal,
    UsageError,
)
from fsbackup_tui.domain.incident import SHELL, STOPPED
from fsbackup_tui.domain.tree import LeftTree
from fsbackup_tui.operations.place_requests import StopTouchingRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import FilesPutBackRequest
from fsbackup_tui.recovery.actions.registry import ACTIONS
from fsbackup_tui.recovery.card import target_lines
from fsbackup_tui.recovery.declare import attach, declare
from fsbackup_tui.recovery.handover import handover_text
from fsbackup_tui.recovery.kinds import seen_here, sources_for
from fsbackup_tui.recovery.library import runbooks_about
from fsbackup_tui.recovery.messages import done_word, first_word
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.report import report_markdown
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import NOW as NOW_TXT
from fsbackup_tui.repository.incidents import IncidentJournal
from tests.support.recovering import POINT, do_step, jobs_of, make_desk
from tests.support.site_recovering import (
    COMING,
    KEPT,
    LIVE,
    ROOT,
    TO_THE_WAY,
    TREE,
    open_files,
    seen,
    site_desk,
)


def lead(session: RecoverySession, *steps: str, **answers: str) -> None:
    """Do the steps that are named, one after the other."""
    for step in steps:
        do_step(session, step, Answer(answers.get(step.replace("-", "_"), "")))
        assert session.read().incident.steps[step].status == "done", step


def test_what_is_seen_decides_which_sources_and_runbooks_there_are(tmp_path: Path) -> None:
    desk = site_desk(tmp_path)
    loaded = desk.loaded
    assert seen_here(loaded) == (
        *("rows", "structure", "errors", "files", "server", "config", "unknown"),
    )
    assert sources_for(loaded, "files") == ("uploads", "public")
    assert sources_for(loaded, "config") == ("env", "code")
    assert sources_for(loaded, "rows") == sources_for(loaded, "unknown") == ("db",)
    (tmp_path / "alone").mkdir()
    alone = make_desk(tmp_path / "alone")
    assert seen_here(alone.loaded) == ("rows", "structure", "errors", "server", "unknown")
    session = open_files(desk)
    assert session.read().incident.runbook == "files-loss"
    assert runbooks_about("code", loaded) == ("config-or-code-loss",)
    with pytest.raises(UsageError, match="NOT THIS RUNBOOK: data-loss brings back database"):
        session.switch_runbook("data-loss")
    with pytest.raises(UsageError, match="NO DRILL OF configuration: env has no copy"):
        declare(desk, source="env", seen="config", last_right=None, is_drill=True)
    with pytest.raises(SafetyRefusal):
        open_files(desk)
    assert open_files(desk, "code", "config").read().incident.runbook == "config-or-code-loss"


def test_each_change_shows_the_place_and_another_one_stops_it(tmp_path: Path) -> None:
    desk = site_desk(tmp_path)
    jobs, clock = jobs_of(desk), jobs_of(desk).clock
    session = open_files(desk)
    session.look_now()
    session.poll()
    shown = "\n".join(target_lines(session.situation("stop-deleting")))
    for words in (f"{ROOT} on db1", "PRODUCTION", "owner www:www", "inode 100", "34 GB free"):
        assert words in shown
    card = session.card("stop-deleting")
    assert card.question is not None
    options = card.question.options
    assert [each.key for each in options if not each.impossible] == ["nothing", "process 4711"]
    assert "0 3 * * * rm -rf /srv/storage" in options[-1].label
    assert options[-1].impossible == "by hand: sudoedit /etc/crontab"
    for another, why in (
        (seen(clock, 999), "inode 100 then, 999 now"),
        (seen(clock, unmounted="/srv"), "Nothing is mounted at /srv"),
        (seen(clock, environment="staging", environment_from="the word staging"), "staging"),
    ):
        jobs.replies["look-place"] = another
        session.look_now()
        session.poll()
        assert why in session.card("stop-deleting").stopped
        with pytest.raises(IdentityMismatch, match="this may not be the place"):
            session.begin("stop-deleting", Answer("process 4711"))
    with pytest.raises(ConfirmationNeeded):
        session.accept_target("db1")
    session.accept_target(f"db1:{ROOT}")
    clock.moment += timedelta(minutes=3)
    with pytest.raises(SafetyRefusal, match="NOT LOOKED YET: the place"):
        session.begin("stop-deleting", Answer("process 4711"))
    assert not session.card("stop-deleting").stopped
    # It was taken for right for that reason, and for no other.
    jobs.replies["look-place"] = seen(clock, unmounted="/srv")
    session.look_now()
    session.poll()
    assert "Nothing is mounted" in session.card("stop-deleting").stopped
    assert "stop-touching" not in jobs.operations()


def test_what_deletes_is_stopped_and_must_go_on_before_it_is_closed(tmp_path: Path) -> None:
    desk = site_desk(tmp_path)
    jobs = jobs_of(desk)
    session = open_files(desk)

    def stop(_: Request) -> Mapping[str, Any]:
        body = {"what": "process 4711 (cleanup.py)", "grade": STOPPED, "place": SHELL}
        body |= {"undo": ["kill -CONT 4711"]}  # type: ignore[dict-item]
        session.append("frozen", **body)
        return {"ok": True, "stopped": ["process 4711 (cleanup.py)"], "gone": [], "left": []}

    jobs.replies["stop-touching"] = stop
    do_step(session, "stop-deleting", Answer("process 4711"))
    asked = jobs.requests[-1]
    assert asked == StopTouchingRequest("uploads", ("process 4711",))
    incident = session.read().incident
    assert incident.freezes
    assert incident.frozen_for(session.desk.now()) is None  # nobody is kept from writing
    now = (session.journal.directory / NOW_TXT).read_text(encoding="utf-8")
    assert "To let it go on, in a shell:" in now
    assert "  kill -CONT 4711" in now
    assert "FROZEN    nothing" in now
    assert "psql" not in now
    with pytest.raises(SafetyRefusal, match="still frozen") as caught:
        session.close("done")
    assert "Stop what deletes" in caught.value.fix


def test_files_are_put_back_and_taken_out_again(tmp_path: Path) -> None:
    desk = site_desk(tmp_path)
    session = open_files(desk)
    assert first_word(session.situation()).startswith(
        "shop: we have a problem with the files (uploads) (files gone)."
    )
    lead(session, *TO_THE_WAY)
    shown = "\n".join(session.card("damage").shows)
    for words in (
        *("missing    5 300 files, 1.2 GB of the point's 41 890", "put back   5 280 files"),
        *("20 files, 100 MB no row names", "NOWHERE    3 files", "34 GB free", "about 40 s"),
    ):
        assert words in shown, shown
    question = session.card("choose-way").question
    assert question is not None
    assert question.default == "missing"
    assert [option.key for option in question.options if option.doubt] == ["everything"]
    with pytest.raises(UsageError, match="A REASON IS NEEDED"):
        session.begin("choose-way", Answer("everything"))
    lead(session, "choose-way", "tell-eta")
    assert session.card("files-back").runs[-1].startswith("# by hand it puts in all")
    lead(session, "files-back")
    asked = next(each for each in jobs_of(desk).requests if isinstance(each, FilesPutBackRequest))
    assert (asked.point, asked.conflict, asked.all_missing) == (POINT, "keep", False)
    assert session.card("files-back").can_undo
    lead(session, "files-check")
    assert done_word(session.situation()).endswith("3 files are lost: no backup has them.")
    entries = session.journal.entries()
    report = report_markdown(session.read(), entries)
    assert "**5 280 files, 1.1 GB**" in report
    assert "**3** files that rows name are nowhere" in report
    session.look_now()
    session.poll()
    session.undo("files-back")
    session.poll()
    steps = session.read().incident.steps
    assert (steps["files-back"].status, steps["files-check"].status) == ("undone", "open")
    assert jobs_of(desk).requests[-1].operation == "files-take-back"


def test_an_exchange_asks_for_the_name_and_is_settled_by_its_inodes(tmp_path: Path) -> None:
    desk = site_desk(tmp_path)
    jobs, clock = jobs_of(desk), jobs_of(desk).clock
    session = open_files(desk)
    lead(session, *TO_THE_WAY, "choose-way", "tell-eta", choose_way="exchange")
    lead(session, "files-beside", "files-compare", "files-carry")
    session.look_now()
    session.poll()
    assert session.card("files-exchange").typed == "storage"
    for typed in ("", "y", "STORAGE", ROOT):
        with pytest.raises(ConfirmationNeeded):
            session.begin("files-exchange", Answer(typed=typed))
    body = {
        "step": "files-exchange",
        "title": "Exchange the trees",
        "request": {
            "operation": "files-exchange",
            "arguments": {"tree": TREE, "inode": COMING, "live_inode": LIVE},
        },
        "commands": list(ACTIONS["files-exchange"].runs(session.situation("files-exchange"))),
    }
    session.journal.append("intent", body, desk.author, epoch=session.epoch)
    now = (session.journal.directory / NOW_TXT).read_text(encoding="utf-8")
    for words in (f"ls -ldi {ROOT}", f"It is done if {ROOT} has inode {COMING}", f"mv -nT {ROOT}"):
        assert words in now, now
    session.leave()
    for kept, status in (("restore", "open"), ("before", "done")):
        # Under the restored one's name yet: half of it; under its own: done.
        tree = LeftTree(kept, Path(KEPT).name, KEPT, LIVE, ROOT, POINT, None, None, None)  # type: ignore[arg-type]
        jobs.replies["look-place"] = seen(clock, COMING, beside=(tree,))
        second = attach(desk, IncidentJournal(session.journal.directory))
        if status == "done":
            second.journal.append("intent", body, desk.author, epoch=second.epoch)
        second.settle("files-exchange")
        second.poll()
        second.poll()
        assert second.read().incident.steps["files-exchange"].status == status
        second.leave()
    last = attach(desk, IncidentJournal(session.journal.directory))
    exchanged = last.read().facts.exchanged
    assert exchanged is not None
    assert (exchanged.kept_as, exchanged.inode, exchanged.kept_inode) == (KEPT, COMING, LIVE)
    last.look_now()
    last.poll()
    assert not last.card("files-exchange").stopped  # it is our own tree that is live now
    text = handover_text(last.read())
    assert "EXCHANGED: live is the restored tree" in text
    assert KEPT in text.replace("\n          ", "")
