"""What others see of a job: running, ended, lost, and never one for the other."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import JobFinished, JobStarted, Progress, StageStarted
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.job import UnknownRequest, again_text, load_job
from fsbackup_tui.jobs.journal import JournalWriter, utc_now
from fsbackup_tui.jobs.layout import JOURNAL, OUTPUT, STATE
from fsbackup_tui.jobs.liveness import (
    hold_lock,
    is_same_process,
    lock_is_held,
    process_start_time,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import (
    BackupRequest,
    DrillRequest,
    VerifyDueRequest,
    VerifyRequest,
)
from tests.support.jobs import make_site, prepare_job, write_past_job

LATER = timedelta(minutes=10)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    loaded = make_site(tmp_path)
    return prepare_job(loaded, tmp_path / "state", BackupRequest(plan="daily"))[0]


def begin(directory: Path, *, pid: int = 4242) -> JournalWriter:
    journal = JournalWriter(directory, Redactor())
    journal.write(JobStarted("backup", "shop", pid, 1.0, "0.1.0", ("backup",)))
    journal.write(StageStarted("backup"))
    journal.write(Progress(41, 100, "bytes", "public.videos"))
    return journal


def change_state(directory: Path, **values: Any) -> None:
    document = json.loads((directory / STATE).read_text())
    (directory / STATE).write_text(json.dumps({**document, **values}))


def test_a_held_lock_means_running(directory: Path) -> None:
    begin(directory).close()
    descriptor = hold_lock(directory)
    assert descriptor is not None
    assert lock_is_held(directory) is True
    assert load_job(directory, now=utc_now() + LATER).state == "running"
    os.close(descriptor)
    assert lock_is_held(directory) is False
    assert load_job(directory, now=utc_now() + LATER).state == "lost"


def test_a_worker_that_comes_up_is_not_lost(directory: Path) -> None:
    assert load_job(directory).state == "running"
    assert load_job(directory, now=utc_now() + LATER).state == "lost"


def test_a_living_process_of_the_same_pid_is_not_taken_for_the_worker(directory: Path) -> None:
    begin(directory, pid=os.getpid()).close()
    change_state(directory, pid=os.getpid(), start_time=process_start_time(os.getpid()))
    assert load_job(directory, now=utc_now() + LATER).state == "lost"


def test_what_is_told_of_a_lost_job(directory: Path) -> None:
    begin(directory).close()
    (directory / OUTPUT).write_text("one\n\nMemoryError: too much\n")
    change_state(
        directory,
        pid=4242,
        stage="backup",
        progress={"done": 41, "total": 100, "unit": "bytes", "detail": "public.videos"},
    )

    job = load_job(directory, now=utc_now() + LATER)

    assert job.problem is not None
    assert job.problem.kind == "job-lost"
    assert job.id in job.problem.what
    assert f"Worker 4242 on {socket.gethostname()} is gone" in job.problem.why
    assert "in stage backup, 41% (public.videos)" in job.problem.why
    assert "MemoryError: too much" in job.problem.why
    assert "fsbackup backup daily" in job.problem.fix
    assert str(directory / JOURNAL) in job.problem.fix


def test_a_restart_of_the_machine_is_named(directory: Path) -> None:
    begin(directory).close()
    change_state(directory, pid=4242, boot="00000000-0000-0000-0000-000000000000")
    problem = load_job(directory, now=utc_now() + LATER).problem
    assert problem is not None
    assert "the machine was restarted since" in problem.why


def test_an_end_that_only_the_journal_tells(directory: Path) -> None:
    journal = begin(directory)
    journal.write(JobFinished("ok", {"ok": True, "point": "p1"}))
    journal.close()
    job = load_job(directory)
    assert (job.state, job.result) == ("ok", {"ok": True, "point": "p1"})


@pytest.mark.parametrize("damage", ["", "{", "[]", "null"])
def test_a_state_that_is_torn_is_made_from_the_journal(directory: Path, damage: str) -> None:
    journal = begin(directory)
    journal.write(JobFinished("ok", {"ok": True}))
    journal.close()
    (directory / STATE).write_text(damage)
    job = load_job(directory)
    assert job.state == "ok"
    assert job.request == BackupRequest(plan="daily")
    assert job.operator == "ana"


def test_a_directory_without_anything_is_no_job(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_job(tmp_path)


def test_an_operation_of_a_later_version_can_be_shown(tmp_path: Path) -> None:
    directory = write_past_job(tmp_path, "20261122T020000Z-merge-aaaa")
    change_state(directory, operation="merge", arguments={"tables": ["a"]})
    job = load_job(directory)
    assert job.operation == "merge"
    assert job.request == UnknownRequest("merge")
    assert job.state == "ok"


def test_another_hosts_job_is_lost_only_after_its_silence(directory: Path) -> None:
    """A flock may not reach across hosts; the state is replaced every 30 s as a sign of life."""
    begin(directory).close()
    change_state(directory, host="db2.example", updated="2026-11-22T02:00:00Z", pid=1)
    seen = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    assert load_job(directory, now=seen + timedelta(seconds=90)).state == "running"
    assert load_job(directory, now=seen + timedelta(seconds=150)).state == "lost"


def test_the_entry_of_a_job_in_json(tmp_path: Path) -> None:
    job = load_job(write_past_job(tmp_path, "20261122T020000Z-backup-aaaa"))
    document = job.document()
    assert {"id", "operation", "state", "pid", "started", "stage", "progress"} <= set(document)
    assert document["id"] == "20261122T020000Z-backup-aaaa"
    assert document["started"] == "2026-11-22T02:00:00.000Z"
    assert json.loads(json.dumps(document)) == document


def test_a_process_is_told_from_a_later_one_of_its_pid() -> None:
    own = process_start_time(os.getpid())
    assert own > 0
    assert is_same_process(os.getpid(), own)
    assert not is_same_process(os.getpid(), own - 1)
    assert not is_same_process(os.getpid(), 0.0)


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (BackupRequest(plan="daily"), "fsbackup backup daily"),
        (VerifyRequest(point="p1"), "fsbackup verify p1"),
        (VerifyRequest(point="p1", level="proven"), "fsbackup verify p1 --level proven"),
        (
            VerifyRequest(point="p1", level="proven", keep_spare=True),
            "fsbackup verify p1 --keep-spare",
        ),
        (VerifyDueRequest(budget_seconds=3600.0), "fsbackup verify --due --budget 3600s"),
        (
            DrillRequest(choice="random", copy="/mnt/a copy"),
            "fsbackup drill --random --copy '/mnt/a copy'",
        ),
        (DrillRequest("p1", "named"), "fsbackup drill p1"),
    ],
)
def test_a_lost_job_says_how_to_ask_for_just_the_same(request_: Request, command: str) -> None:
    assert again_text(request_) == f"Once more: {command}"
