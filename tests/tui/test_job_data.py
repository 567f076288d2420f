"""Jobs as the screens show them, from real journals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import (
    CommandStarted,
    Event,
    JobFinished,
    JobStarted,
    Log,
    Progress,
    StageFinished,
    StageStarted,
    TableDone,
    Warned,
)
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.jobs.journal import JournalWriter
from fsbackup_tui.jobs.layout import JOURNAL
from fsbackup_tui.jobs.liveness import hold_lock
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, RestoreBesideRequest
from fsbackup_tui.tui.data import TableView
from fsbackup_tui.tui.job_data import LiveWatch, job_row, jobs_order
from tests.support.jobs import make_site, prepare_job, write_past_job


@dataclass
class Work:
    """A job whose journal the test writes; it runs until it is killed."""

    directory: Path
    journal: JournalWriter
    lock: int | None

    def tell(self, *events: Event) -> None:
        for event in events:
            self.journal.write(event)

    def kill(self) -> None:
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def begin(tmp_path: Path, request: Request) -> Work:
    directory, _ = prepare_job(make_site(tmp_path), tmp_path / "state", request)
    journal = JournalWriter(directory, Redactor())
    journal.write(JobStarted("backup", "shop", 4242, 1.0, "0.1.0", ("backup", "verify")))
    journal.write(StageStarted("backup"))
    return Work(directory, journal, hold_lock(directory))


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    started = begin(tmp_path, BackupRequest(plan="daily"))
    yield started
    started.kill()
    started.journal.close()


def test_running_job_is_shown_with_all_that_its_journal_tells(work: Work) -> None:
    work.tell(
        CommandStarted(("pg_dump", "--file=/srv/my backups/db"), 4243),
        Log("db: face_swap on db1"),
        Warned("the disk is slow"),
        Progress(310, 1000, "bytes", "public.videos", active=("public.videos",)),
    )
    view = LiveWatch(load_job(work.directory)).read()
    assert (view.row.state, view.row.stage, view.row.subject) == ("running", "backup", "daily")
    assert (view.row.done, view.row.total, view.row.unit) == (310, 1000, "bytes")
    assert [(stage.name, stage.state) for stage in view.stages] == [
        ("backup", "running"),
        ("verify", "waiting"),
    ]
    assert view.active == ("public.videos",)
    assert view.commands == ("pg_dump '--file=/srv/my backups/db'",)
    assert view.log == ("db: face_swap on db1", "WARN  the disk is slow")
    assert view.warnings == ("the disk is slow",)


def test_table_is_one_row_counted_and_dumped(work: Work) -> None:
    work.tell(
        TableDone("public.users", 5, None, 0.1),
        TableDone("public.videos", 40, None, 0.2),
        TableDone("public.users", None, 4096, 1.5),
    )
    assert LiveWatch(load_job(work.directory)).read().tables == (
        TableView("public.videos", 40, None, 0.2),
        TableView("public.users", 5, 4096, 1.5),
    )


def test_journal_is_read_on_and_a_torn_line_is_not_taken_for_one(work: Work) -> None:
    work.tell(Log("one"))
    watch = LiveWatch(load_job(work.directory))
    assert watch.read().log == ("one",)
    work.tell(Log("two"))
    with (work.directory / JOURNAL).open("ab") as journal:
        journal.write(b'{"seq": 99, "at": "2026-11')
    assert watch.read().log == ("one", "two")


def test_more_log_than_is_shown_is_counted(work: Work) -> None:
    work.tell(*(Log(f"line {number}") for number in range(500)))
    view = LiveWatch(load_job(work.directory)).read()
    assert view.log[-1] == "line 499"
    assert view.log_skipped == 500 - len(view.log)
    assert 0 < len(view.log) <= 300


def test_worker_killed_before_ones_eyes_is_lost_and_says_what_to_do(work: Work) -> None:
    work.tell(Progress(310, 1000, "bytes", "public.videos"))
    watch = LiveWatch(load_job(work.directory))
    assert watch.read().row.state == "running"
    work.kill()
    views = [watch.read() for _ in range(8)]
    assert views[-1].row.state == "lost"
    assert views[-1].stages[0].state == "lost"
    assert views[-1].problem is not None
    assert views[-1].problem.what.startswith("JOB LOST")
    assert "fsbackup backup daily" in views[-1].problem.fix
    assert job_row(load_job(work.directory)).problem is not None


def test_failed_job_tells_what_why_and_next(work: Work) -> None:
    problem = Problem("server-gone", "SERVER GONE: db1.", "It was stopped.", "Wait.")
    work.tell(StageFinished("backup", "failed"), JobFinished("failed", problem=problem))
    work.kill()
    view = LiveWatch(load_job(work.directory)).read()
    assert view.row.state == "failed"
    assert [stage.state for stage in view.stages] == ["failed", "waiting"]
    assert view.problem == view.row.problem
    assert view.problem is not None
    assert (view.problem.what, view.problem.why, view.problem.fix) == (
        "SERVER GONE: db1.",
        "It was stopped.",
        "Wait.",
    )
    assert view.row.done is None
    assert view.output_log.startswith(str(work.directory))


def test_running_jobs_come_first_then_the_newest(work: Work, tmp_path: Path) -> None:
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    names = [f"2026112{day}T000000Z-backup-a2b{day}" for day in (0, 1)]
    past = [
        load_job(write_past_job(tmp_path, name, started=moment + timedelta(days=day)))
        for day, name in enumerate(names)
    ]
    rows = jobs_order([past[1], past[0], load_job(work.directory)])
    assert [row.state for row in rows] == ["running", "ok", "ok"]
    assert [row.id for row in rows[1:]] == [names[1], names[0]]


def test_restore_is_told_by_point_and_new_database(tmp_path: Path) -> None:
    point = "20261122T010000Z-daily-k3f9"
    request = RestoreBesideRequest(point=point, part="db", beside="face_swap_restored")
    restore = begin(tmp_path, request)
    row = job_row(load_job(restore.directory))
    restore.kill()
    restore.journal.close()
    assert row.subject == f"{point} beside as face_swap_restored"
