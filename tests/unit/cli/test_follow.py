"""Following a job from the command line: what is printed, what signals mean, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.supervisor import list_jobs
from tests.support.jobs import ROOT, let_go_on, make_site, slow_environment
from tests.support.waiting import wait_until

MODULE = "tests.support.follow_slow"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    make_site(tmp_path)
    yield tmp_path
    for job in list_jobs(tmp_path / "state"):
        let_go_on(job)
    wait_until(lambda: not any(job.running for job in list_jobs(tmp_path / "state")))


def start(site: Path, scenario: str, *more: str) -> subprocess.Popen[str]:
    """Start the command off a tty."""
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, str(site), scenario, *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(slow_environment()),
        cwd=ROOT,
    )


def on_terminal(site: Path, scenario: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        sys.executable,
        ["-m", MODULE, str(site), scenario],
        env={**slow_environment(), "TERM": "xterm"},
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 80),
    )


def running_job(site: Path) -> Job:
    found: list[Job] = []

    def runs() -> bool:
        # Looked at twice, it may have ended in between.
        found[:] = [job for job in list_jobs(site / "state") if job.stage is not None]
        return bool(found)

    wait_until(runs)
    return found[0]


def state_of(job: Job) -> str:
    return load_job(job.directory).state


def test_off_a_terminal_it_is_quiet_and_exact(site: Path) -> None:
    with start(site, "loop") as process:
        let_go_on(running_job(site))
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0
    assert stdout == "Done: p1\n"
    assert stderr == "warning: the disk is slow\n"


def test_json_is_one_document(site: Path) -> None:
    with start(site, "loop", "--json") as process:
        let_go_on(running_job(site))
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(stdout) == {"ok": True, "point": "p1", "seconds": 1.0}
    assert stdout.count("\n") == 1


def test_a_failure_is_told_in_three_parts(site: Path) -> None:
    with start(site, "fail") as process:
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stdout == ""
    assert stderr == (
        "warning: the disk is slow\n"
        "SERVER GONE: db1 went away.\nWhy   It was stopped.\nNext  Wait.\n"
    )


def test_a_failure_in_json(site: Path) -> None:
    with start(site, "fail", "--json") as process:
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert json.loads(stdout) == {
        "ok": False,
        "error": {
            "kind": "postgres",
            "what": "SERVER GONE: db1 went away.",
            "why": "It was stopped.",
            "fix": "Wait.",
        },
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_off_a_terminal_signals_cancel(site: Path, number: signal.Signals) -> None:
    with start(site, "child") as process:
        job = running_job(site)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout == ""
    assert f"CANCELLED: {job.id}" in stderr.replace("\n", " ")
    assert state_of(job) == "cancelled"


def test_a_hang_up_leaves_the_job_running(site: Path) -> None:
    with start(site, "loop") as process:
        job = running_job(site)
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "LEFT RUNNING" in stderr
    assert state_of(job) == "running"
    let_go_on(job)
    wait_until(lambda: state_of(job) == "ok")


def test_under_nohup_a_hang_up_is_nothing(site: Path) -> None:
    command = ["nohup", sys.executable, "-m", MODULE, str(site), "loop"]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(slow_environment()),
        cwd=ROOT,
    ) as process:
        job = running_job(site)
        process.send_signal(signal.SIGHUP)
        let_go_on(job)
        stdout, _ = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "Done: p1\n")


def test_a_lost_job_is_told(site: Path) -> None:
    with start(site, "loop") as process:
        job = running_job(site)
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "JOB LOST" in stderr
    assert state_of(job) == "lost"


def test_on_a_terminal_progress_is_shown_and_taken_away(site: Path) -> None:
    terminal = on_terminal(site, "loop")
    terminal.expect(r"sealed 1/2")
    terminal.expect(r"\[\.+\] \d %  \d+ B of 1.0 kB")
    terminal.expect("public.videos")
    let_go_on(running_job(site))
    terminal.expect("Done: p1")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_asks_and_enter_leaves_it_running(site: Path) -> None:
    terminal = on_terminal(site, "loop")
    terminal.expect("sealed 1/2")
    job = running_job(site)
    terminal.sendintr()
    terminal.expect(r"Leave it running \(Enter\), or cancel it")
    terminal.send("\r")
    terminal.expect("LEFT RUNNING")
    terminal.expect(f"fsbackup attach {job.id}")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert state_of(job) == "running"


def test_ctrl_c_twice_leaves_it_running(site: Path) -> None:
    terminal = on_terminal(site, "loop")
    terminal.expect("sealed 1/2")
    job = running_job(site)
    terminal.sendintr()
    terminal.expect("cancel it")
    terminal.sendintr()
    terminal.expect("LEFT RUNNING")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert state_of(job) == "running"


def test_ctrl_c_and_c_cancel(site: Path) -> None:
    terminal = on_terminal(site, "loop")
    terminal.expect("sealed 1/2")
    job = running_job(site)
    terminal.sendintr()
    terminal.expect("cancel it")
    terminal.send("c\r")
    terminal.expect("CANCELLED")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert state_of(job) == "cancelled"


def test_a_dead_terminal_leaves_the_job_running(site: Path) -> None:
    terminal = on_terminal(site, "loop")
    terminal.expect("sealed 1/2")
    job = running_job(site)
    terminal.close(force=True)
    assert state_of(job) == "running"
    let_go_on(job)
    wait_until(lambda: state_of(job) == "ok")
