"""``jobs``, ``attach`` and ``cancel``, as a user and as a script meet them."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pexpect
import pytest

from fsbackup_tui.cli import jobs as commands
from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import JobError, JobNotFound, UsageError
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.jobs.journal import utc_now
from fsbackup_tui.jobs.supervisor import find_job, list_jobs
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.repository.layout import site_state
from tests.support.jobs import let_go_on, make_site, start_slow_job, write_past_job
from tests.support.waiting import wait_until


@dataclass
class Ran:
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    return make_site(tmp_path, more="timezone: UTC\n")


@pytest.fixture
def state(loaded: LoadedConfig) -> Iterator[Path]:
    state = site_state(loaded, os.environ, None)
    yield state
    for job in list_jobs(state):
        let_go_on(job)
    wait_until(lambda: not any(job.running for job in list_jobs(state)))


@pytest.fixture
def run(loaded: LoadedConfig) -> Callable[..., Ran]:
    def run(*argv: str) -> Ran:
        parser = argparse.ArgumentParser()
        commands.add_parser(parser.add_subparsers(), [])
        arguments = parser.parse_args([word for word in argv if word != "--json"])
        stdout, stderr = io.StringIO(), io.StringIO()
        context = CliContext(
            config_path=loaded.path, json="--json" in argv, stdout=stdout, stderr=stderr
        )
        code = arguments.run(arguments, context)
        return Ran(code, stdout.getvalue(), stderr.getvalue())

    return run


def test_no_job_yet(run: Callable[..., Ran]) -> None:
    assert run("jobs") == Ran(0, "No job has run yet.\n", "")
    assert json.loads(run("jobs", "--json").stdout) == {"jobs": []}


def test_jobs_lists_running_ones_first_with_their_progress(
    run: Callable[..., Ran], loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "loop")
    later = utc_now() + timedelta(minutes=1)
    past = f"{later:%Y%m%dT%H%M%SZ}-backup-aaaa"
    write_past_job(state, past, started=utc_now() - timedelta(hours=25))
    wait_until(lambda: load_job(job.directory).progress is not None)

    shown = run("jobs")

    heading, first, second = shown.stdout.splitlines()
    assert heading.split() == ["JOB", "STATE", "STARTED", "AGE", "STAGE", "DONE"]
    assert first.split()[:2] == [job.id, "running"]
    assert first.split()[-3] == "sealed"
    assert first.endswith(" %")
    assert second.split()[:2] == [past, "ok"]
    assert "25 h" in second
    assert max(map(len, shown.stdout.splitlines())) <= 80
    document = json.loads(run("jobs", "--json").stdout)
    assert [entry["id"] for entry in document["jobs"]] == [job.id, past]
    entry = document["jobs"][0]
    assert (entry["operation"], entry["state"], entry["stage"]) == ("verify", "running", "sealed")
    assert entry["pid"] == job.pid
    assert entry["progress"]["total"] == 1000
    assert document["jobs"][1]["progress"] is None
    assert len(run("jobs", "--limit", "1").stdout.splitlines()) == 2


def test_cancel_waits_for_the_end(
    run: Callable[..., Ran], loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "child")
    ran = run("cancel", job.id[:-2], "--json")
    assert (ran.exit_code, json.loads(ran.stdout), ran.stderr) == (
        0,
        {"ok": True, "job": job.id, "state": "cancelled"},
        "",
    )
    assert load_job(job.directory).state == "cancelled"
    with pytest.raises(UsageError, match=r"NOTHING TO CANCEL.*cancelled"):
        run("cancel", "last")


def test_attach_tells_how_a_past_job_ended(
    run: Callable[..., Ran], loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "loop")
    let_go_on(job)
    wait_until(lambda: not load_job(job.directory).running)

    assert json.loads(run("attach", "last", "--json").stdout) == {
        "ok": True,
        "point": "p1",
        "seconds": 1.0,
    }
    shown = run("attach", job.id)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0] == f"{job.id}: ok"
    assert "  point: p1" in shown.stdout.splitlines()
    assert shown.stderr == "warning: the disk is slow\n"


VERIFIED = {
    "ok": True,
    "point": "20261122T010000Z-daily-k3f9",
    "trust": "readable",
    "levels": {
        "sealed": {"ok": True, "at": "2026-11-22T01:00:00.000Z", "seconds": 1.5},
        "readable": {"ok": True, "at": "2026-11-22T01:00:02.000Z", "seconds": 2.0},
    },
    "problems": [],
}


def test_attach_tells_of_a_past_job_what_its_own_command_told(
    run: Callable[..., Ran], loaded: LoadedConfig, state: Path
) -> None:
    name = "20261122T020000Z-verify-aaaa"
    request = VerifyRequest(point="20261122T010000Z-daily-k3f9")
    write_past_job(state, name, request=request, result=VERIFIED)
    assert run("attach", "last").stdout.splitlines() == [
        f"{name}: ok",
        "20261122T010000Z-daily-k3f9: READABLE",
        "  sealed    ok      1.5 s",
        "  readable  ok      2.0 s",
    ]
    assert json.loads(run("attach", "last", "--json").stdout) == VERIFIED


def test_attach_to_a_verification_that_found_damage_says_what_to_do(
    run: Callable[..., Ran], state: Path
) -> None:
    problem = {"part": "db", "artifact": "database.dump", "table": None}
    problems = [{**problem, "what": what, "fix": "Restore another."} for what in ("cut", "long")]
    request = VerifyRequest(point="20261122T010000Z-daily-k3f9")
    result = {**VERIFIED, "ok": False, "trust": "damaged", "problems": problems}
    write_past_job(state, "20261122T020000Z-verify-aaaa", request=request, result=result)
    lines = run("attach", "last").stdout.splitlines()
    assert lines[-3:] == [
        "  db/database.dump: cut",
        "  db/database.dump: long",
        "Next  Restore another.",
    ]


def test_an_ended_job_is_not_left_half_way(
    run: Callable[..., Ran], loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "loop")
    wait_until(lambda: load_job(job.directory).progress is not None)
    let_go_on(job)
    wait_until(lambda: not load_job(job.directory).running)
    (entry,) = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert (entry["state"], entry["progress"]) == ("ok", None)


def test_attach_to_a_failed_job_has_its_problem(
    run: Callable[..., Ran], loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "fail")
    with pytest.raises(JobError) as caught:
        run("attach", job.id)
    assert caught.value.problem().kind == "postgres"
    assert caught.value.problem().what == "SERVER GONE: db1 went away."


@pytest.mark.parametrize("command", ["attach", "cancel"])
def test_a_job_that_is_not_there(run: Callable[..., Ran], state: Path, command: str) -> None:
    write_past_job(state, "20261122T020000Z-backup-aaaa")
    with pytest.raises(JobNotFound, match="NO SUCH JOB: 2027"):
        run(command, "2027")


def test_attach_detaches_on_ctrl_c_and_the_job_goes_on(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "fsbackup_tui", "--config", str(loaded.path), "attach", "last"],
        env={**os.environ, "TERM": "xterm"},
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 80),
    )
    terminal.expect("sealed 1/2")
    terminal.sendintr()
    terminal.expect(f"Detached. {job.id} runs on")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert load_job(job.directory).running


@pytest.mark.parametrize("how", ["module", "script"])
def test_a_yaml_in_the_current_directory_changes_nothing(
    tmp_path: Path, loaded: LoadedConfig, state: Path, how: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("yaml", "pydantic", "psycopg", "rich", "json"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    write_past_job(state, "20261122T020000Z-backup-aaaa")
    script = shutil.which("fsbackup", path=str(Path(sys.executable).parent)) or "fsbackup"
    command = [sys.executable, "-m", "fsbackup_tui"] if how == "module" else [script]

    listed = subprocess.run(
        [*command, "--config", str(loaded.path), "jobs", "--json"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (listed.returncode, listed.stderr) == (0, "")
    assert [job["id"] for job in json.loads(listed.stdout)["jobs"]] == [find_job(state, "last").id]
