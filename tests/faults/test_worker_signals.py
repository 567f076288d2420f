"""Signals and deaths: of the worker, of its starter, of the terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import JobLost, Problem
from fsbackup_tui.domain.events import CommandStarted, Log
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.layout import CANCEL, CONTROL, STATE, WORK
from fsbackup_tui.jobs.leftovers import (
    leftover_processes,
    lost_with_sessions,
    reap_lost,
    sessions_seen_to,
)
from fsbackup_tui.jobs.liveness import is_same_process, process_facts
from fsbackup_tui.jobs.supervisor import cancel_job, find_job, follow, list_jobs
from tests.support.jobs import (
    ROOT,
    journal_feed,
    journal_lines,
    let_go_on,
    make_site,
    slow_environment,
    start_slow_job,
)
from tests.support.waiting import wait_until


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    return make_site(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def _nothing_is_left(state: Path) -> Iterator[None]:
    yield
    for job in list_jobs(state):
        if job.running and job.pid is not None:
            os.killpg(job.pid, signal.SIGKILL)
        assert leftover_processes(job) == []


def send(job: Job, number: signal.Signals) -> None:
    assert job.pid is not None
    os.kill(job.pid, number)


def child_of(job: Job) -> CommandStarted:
    def commands() -> list[CommandStarted]:
        events = (line.event for line in journal_lines(job.directory))
        return [event for event in events if isinstance(event, CommandStarted)]

    wait_until(commands, what="the child is started")
    return commands()[0]


def wait_for_state(job: Job, word: str) -> Job:
    wait_until(lambda: load_job(job.directory).state == word, what=f"{job.id} is {word}")
    return load_job(job.directory)


def test_a_hang_up_changes_nothing(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    send(job, signal.SIGHUP)
    let_go_on(job)
    ended = wait_for_state(job, "ok")
    assert ended.result == {"ok": True, "point": "p1", "seconds": 1.0}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("scenario", ["loop", "child"])
def test_a_signal_cancels_and_leaves_no_child(
    loaded: LoadedConfig, state: Path, number: signal.Signals, scenario: str
) -> None:
    job = start_slow_job(loaded, state, scenario)
    child = child_of(job) if scenario == "child" else None
    before = time.monotonic()

    send(job, number)

    ended = wait_for_state(job, "cancelled")
    assert time.monotonic() - before < 5
    assert ended.problem is not None
    assert ended.problem.exit_code == 130
    assert number.name in ended.problem.what
    assert not (job.directory / WORK).exists()
    if child is not None:
        assert not is_same_process(child.pid, child.start_time)


def test_many_signals_are_one_cancel(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    for _ in range(20):
        send(job, signal.SIGTERM)
        send(job, signal.SIGINT)
    wait_for_state(job, "cancelled")
    said = [line.text for line in journal_feed(job.directory).log if "Cancelled by" in line.text]
    assert len(said) == 1


def test_the_file_alone_cancels(loaded: LoadedConfig, state: Path) -> None:
    """Another user of the group may write it, but not send a signal."""
    job = start_slow_job(loaded, state, "child")
    child = child_of(job)
    (job.directory / CONTROL / CANCEL).touch()
    wait_for_state(job, "cancelled")
    assert not is_same_process(child.pid, child.start_time)


def test_cancel_names_who_asked(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    cancel_job(job, operator="ben")
    ended = wait_for_state(job, "cancelled")
    assert ended.problem is not None
    assert ended.problem.what == f"CANCELLED: {job.id} by ben."


def test_state_and_progress_go_on_while_the_loop_is_busy(loaded: LoadedConfig, state: Path) -> None:
    """The runner blocks the event loop; what is asked of the job is heard all the same."""
    job = start_slow_job(loaded, state, "busy")
    cancel_job(job, operator="ben")
    wait_until(
        lambda: any(
            isinstance(line.event, Log) and "Cancelled by ben" in line.event.text
            for line in journal_lines(job.directory)
        )
    )
    let_go_on(job)
    wait_until(lambda: not load_job(job.directory).running)


async def test_a_killed_worker_is_lost_within_a_second(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    killed_at = 0.0
    problem: Problem | None = None
    try:
        async for _ in follow(job):
            if not killed_at:
                send(job, signal.SIGKILL)
                killed_at = time.monotonic()
    except JobLost as lost:
        problem = lost.problem()
    assert problem is not None
    assert time.monotonic() - killed_at < 3
    assert problem.kind == "job-lost"
    assert job.id in problem.what
    assert "fsbackup verify loop" in problem.fix
    assert find_job(state, "last").state == "lost"


def test_the_child_of_a_killed_worker_dies_with_it(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "child")
    child = child_of(job)
    assert is_same_process(child.pid, child.start_time)
    send(job, signal.SIGKILL)
    wait_until(lambda: not is_same_process(child.pid, child.start_time), timeout=5)
    wait_for_state(job, "lost")


def test_what_a_lost_job_left_is_ended_by_the_next_fsbackup(
    loaded: LoadedConfig, state: Path
) -> None:
    """Here the child does not die with its worker, as where there is no pdeathsig."""
    job = start_slow_job(loaded, state, "orphan")
    child = child_of(job)
    send(job, signal.SIGKILL)
    lost = wait_for_state(job, "lost")
    assert is_same_process(child.pid, child.start_time)

    assert [job.id for job in reap_lost(state)] == [lost.id]
    assert not is_same_process(child.pid, child.start_time)
    assert not (job.directory / WORK).exists()
    assert reap_lost(state) == []
    settled = find_job(state, "last")
    assert settled.state == "lost"
    assert settled.problem == lost.problem


def test_sessions_of_a_lost_job_are_offered_until_somebody_saw_to_them(
    loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "loop")
    send(job, signal.SIGKILL)
    wait_for_state(job, "lost")
    assert lost_with_sessions(state, host=job.host) == []
    reap_lost(state)
    assert lost_with_sessions(state, host="another-machine") == []
    for _ in range(2):
        assert [lost.id for lost in lost_with_sessions(state, host=job.host)] == [job.id]
        reap_lost(state)
    sessions_seen_to(job)
    assert lost_with_sessions(state, host=job.host) == []
    assert find_job(state, "last").state == "lost"


def test_a_process_that_got_a_lost_childs_pid_is_left_alone(
    loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "wrong-pid")
    child = child_of(job)
    assert child.pid == os.getpid()
    send(job, signal.SIGKILL)
    wait_for_state(job, "lost")
    assert leftover_processes(job) == []
    assert [lost.id for lost in reap_lost(state)] == [job.id]


def test_a_zombie_is_dead(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    assert job.pid is not None
    send(job, signal.SIGKILL)
    # This process is the parent and has not collected it: it stays a zombie.
    wait_until(lambda: process_facts(job.pid or 0) is None)
    wait_for_state(job, "lost")
    assert (Path("/proc") / str(job.pid)).exists()


def test_the_terminal_dies_and_the_job_ends_well(
    tmp_path: Path, loaded: LoadedConfig, state: Path
) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.support.jobs import *\n"
        f"job = start_slow_job(make_site(Path({str(tmp_path)!r})), Path({str(state)!r}), 'loop')\n"
        "sys.stdout.write(f'started {job.id}\\n')\n"
        "sys.stdout.flush()\n"
        "while True: time.sleep(1)\n"
    )
    terminal = pexpect.spawn(
        sys.executable,
        ["-c", script],
        env=dict(slow_environment()),
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=30,
    )
    terminal.expect(r"started (\S+)\r\n")
    name = terminal.match.group(1)  # type: ignore[union-attr]
    terminal.close(force=True)
    assert not terminal.isalive()

    job = find_job(state, name)
    assert job.running
    before = (job.directory / "journal.jsonl").stat().st_size
    wait_until(lambda: (job.directory / "journal.jsonl").stat().st_size > before)
    let_go_on(job)
    assert wait_for_state(job, "ok").result["point"] == "p1"


def test_the_state_is_never_half_written(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    seen: set[int] = set()

    def look() -> bool:
        document = json.loads((job.directory / STATE).read_bytes())
        seen.add(document["seq"])
        return len(seen) >= 3

    wait_until(look)
    let_go_on(job)
    wait_for_state(job, "ok")
