"""What becomes of a request in the worker: the outcome, the journal, the directory."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import DiskFull, NotProven, PostgresError, SafetyRefusal
from fsbackup_tui.domain.events import (
    CommandStarted,
    JobFinished,
    JobStarted,
    Log,
    Progress,
    StageFinished,
    StageStarted,
    Warned,
)
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.jobs.layout import CANCEL, CONTROL, WORK
from fsbackup_tui.jobs.liveness import process_start_time
from fsbackup_tui.jobs.worker import Runner, run_job
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.requests import BackupRequest, VerifyRequest
from tests.support.jobs import SECRET, journal_feed, journal_lines, make_site, prepare_job
from tests.support.waiting import wait_until_async

REQUEST = VerifyRequest(point="p1")


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    return make_site(tmp_path)


@pytest.fixture
def directory(loaded: LoadedConfig, tmp_path: Path) -> Path:
    return prepare_job(loaded, tmp_path / "state", REQUEST)[0]


def run_with(directory: Path, runner: Runner, redactor: Redactor | None = None) -> int:
    return run_job(directory, resolve_runner=lambda _: runner, redactor=redactor)


async def two_stages(request: VerifyRequest, context: JobContext) -> dict[str, object]:
    context.stage("sealed")
    (context.work / "scratch").write_text("x")
    context.report(Progress(1, 2))
    context.report(Progress(2, 2))
    context.stage("readable")
    context.report(Log(f"{request.point} for {context.operator}"))
    return {"ok": True, "point": request.point}


def test_a_job_that_ends_well(directory: Path) -> None:
    assert run_with(directory, two_stages) == 0

    events = [line.event for line in journal_lines(directory)]
    started, finished = events[0], events[-1]
    assert isinstance(started, JobStarted)
    assert (started.operation, started.site, started.stages) == (
        "verify",
        "shop",
        ("sealed", "readable"),
    )
    assert isinstance(finished, JobFinished)
    assert finished.outcome == "ok"
    assert finished.result == {"ok": True, "point": "p1"}
    assert [event.stage for event in events if isinstance(event, StageStarted)] == [
        "sealed",
        "readable",
    ]
    assert [(e.stage, e.outcome) for e in events if isinstance(e, StageFinished)] == [
        ("sealed", "ok"),
        ("readable", "ok"),
    ]
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2]
    assert "p1 for ana" in [event.text for event in events if isinstance(event, Log)]


def test_the_directory_is_private_and_left_clean(directory: Path) -> None:
    run_with(directory, two_stages)

    assert not (directory / WORK).exists()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    assert {path.name for path in directory.iterdir()} == {
        "request.json",
        "journal.jsonl",
        "state.json",
        "control",
        "output.log",
        "lock",
    }


def test_the_state_tells_the_end_without_the_journal(directory: Path) -> None:
    run_with(directory, two_stages)
    (directory / "journal.jsonl").unlink()

    job = load_job(directory)

    assert job.state == "ok"
    assert job.result == {"ok": True, "point": "p1"}
    assert job.request == REQUEST
    assert job.finished is not None


def test_an_error_for_the_user_is_the_jobs_problem(directory: Path) -> None:
    async def fails(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        context.stage("sealed")
        raise DiskFull("DISK FULL: 3 MB are left.", why="/backups is full.", fix="Free 1 GB.")

    assert run_with(directory, fails) == 1

    feed = journal_feed(directory)
    assert feed.outcome == "failed"
    assert feed.problem is not None
    assert (feed.problem.kind, feed.problem.what, feed.problem.fix) == (
        "disk-full",
        "DISK FULL: 3 MB are left.",
        "Free 1 GB.",
    )
    assert [(stage.name, stage.outcome) for stage in feed.stages] == [
        ("sealed", "failed"),
        ("readable", None),
    ]


def test_the_exit_status_is_that_of_the_problem(directory: Path) -> None:
    async def refuses(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        raise SafetyRefusal("NOT DONE: it could do harm.")

    assert run_with(directory, refuses) == 3


def test_errors_of_parallel_tasks_come_out_as_the_first_of_them(directory: Path) -> None:
    async def fails() -> None:
        raise PostgresError("SERVER GONE: db1.")

    async def parallel(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(60))
        return {"ok": True}

    run_with(directory, parallel)

    problem = journal_feed(directory).problem
    assert problem is not None
    assert (problem.kind, problem.what) == ("postgres", "SERVER GONE: db1.")


def test_anything_else_is_an_internal_problem_and_its_traceback_is_redacted(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redactor = Redactor([Secret(SECRET)])

    async def breaks(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        raise ZeroDivisionError(f"dividing {SECRET}")

    assert run_with(directory, breaks, redactor) == 1

    feed = journal_feed(directory)
    assert feed.problem is not None
    assert feed.problem.kind == "internal"
    assert feed.problem.why == "ZeroDivisionError: dividing ***"
    assert str(directory / "output.log") in feed.problem.fix
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "in breaks" in printed
    assert SECRET not in printed + (directory / "journal.jsonl").read_text()
    assert SECRET not in (directory / "state.json").read_text()


def test_a_traceback_tells_nothing_of_the_sites_environment(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSBACKUP_PASSPHRASE", "canary-phrase")

    async def breaks(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        raise KeyError(dict(context.environment)["FSBACKUP_PASSPHRASE"])

    assert run_with(directory, breaks) == 1
    feed = journal_feed(directory)
    assert feed.problem is not None
    assert feed.problem.why == "KeyError: '***'"
    printed = capsys.readouterr().err
    assert "in breaks" in printed
    assert "canary-phrase" not in printed + (directory / "journal.jsonl").read_text()


def test_a_result_that_is_not_ok_is_kept_and_fails_the_job(directory: Path) -> None:
    async def finds_damage(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        return {"ok": False, "problems": [{"what": "db/database.dump altered", "fix": "Use p0."}]}

    assert run_with(directory, finds_damage) == 1

    feed = journal_feed(directory)
    assert feed.outcome == "failed"
    assert feed.result["ok"] is False
    assert feed.problem is not None
    assert feed.problem.what == "VERIFY FOUND PROBLEMS: db/database.dump altered"
    assert feed.problem.fix == "Use p0."


def test_what_is_wrong_is_said_with_the_file_it_is_about(directory: Path) -> None:
    missing = {"part": "db", "artifact": "database.dump", "table": None, "what": "missing"}

    async def finds_a_gap(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        return {"ok": False, "problems": [missing, missing]}

    assert run_with(directory, finds_a_gap) == 1

    problem = journal_feed(directory).problem
    assert problem is not None
    assert problem.what == "VERIFY FOUND PROBLEMS: db/database.dump: missing (and 1 more)"


def test_what_was_blocked_is_said_to_be_neither_a_pass_nor_a_failure(directory: Path) -> None:
    async def blocked(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        lacks = [{"what": "pg_cron is missing", "fix": "Install it."}, {"what": "so is x"}]
        return {"ok": False, "problems": [], "blocked": lacks}

    assert run_with(directory, blocked) == 1

    problem = journal_feed(directory).problem
    assert problem is not None
    assert problem.what == "VERIFY BLOCKED: pg_cron is missing (and 1 more)"
    assert "neither a pass nor a failure" in problem.why
    assert problem.fix == "Install it."


def test_the_problem_of_a_stage_is_the_jobs(directory: Path) -> None:
    async def not_proven(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        problem = NotProven("NOT PROVEN: p1 is restored.", why="users differs", fix="Look.")
        backup: dict[str, object] = {"ok": True, "problem": None}
        verify: dict[str, object] = {"ok": False, "problem": problem.problem().document()}
        return {"ok": False, "stages": {"backup": backup, "verify": verify}}

    assert run_with(directory, not_proven) == 1

    found = journal_feed(directory).problem
    assert found is not None
    assert (found.what, found.why) == ("NOT PROVEN: p1 is restored.", "users differs")


def test_a_result_without_ok_is_a_bug(directory: Path) -> None:
    async def forgets(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        return {"point": "p1"}

    assert run_with(directory, forgets) == 1
    problem = journal_feed(directory).problem
    assert problem is not None
    assert problem.kind == "internal"


def test_the_cancel_file_ends_the_job(directory: Path) -> None:
    cleaned: list[str] = []

    async def waits(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        context.stage("sealed")
        (directory / CONTROL / CANCEL).write_text(json.dumps({"operator": "ben"}))
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append("yes")
        return {"ok": True}

    assert run_with(directory, waits) == 130

    feed = journal_feed(directory)
    assert cleaned == ["yes"]
    assert feed.outcome == "cancelled"
    assert feed.problem is not None
    assert feed.problem.exit_code == 130
    assert "ben" in feed.problem.what
    assert (feed.stages[0].name, feed.stages[0].outcome) == ("sealed", "cancelled")
    assert load_job(directory).state == "cancelled"


def test_a_failure_while_ending_is_still_a_cancel(directory: Path) -> None:
    async def fails_to_clean(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        (directory / CONTROL / CANCEL).touch()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise PostgresError("SERVER GONE: the copy was not dropped.") from None
        return {"ok": True}

    assert run_with(directory, fails_to_clean) == 130
    feed = journal_feed(directory)
    assert feed.outcome == "cancelled"
    assert "While ending: SERVER GONE: the copy was not dropped." in [
        line.text for line in feed.log
    ]


def test_work_in_a_thread_hears_of_a_cancel_where_it_tells_progress(directory: Path) -> None:
    ended = threading.Event()

    def hash_for_ever(context: JobContext) -> None:
        done = 0
        try:
            while True:
                done += 1
                context.report(Progress(done))
        finally:
            ended.set()

    async def hashes(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        (directory / CONTROL / CANCEL).touch()
        await asyncio.to_thread(hash_for_ever, context)
        return {"ok": True}

    assert run_with(directory, hashes) == 130
    assert ended.is_set()


def test_a_changed_configuration_is_refused(
    directory: Path, loaded: LoadedConfig, tmp_path: Path
) -> None:
    loaded.path.write_text(loaded.text + "# changed\n", encoding="utf-8")

    assert run_with(directory, two_stages) == 3

    problem = journal_feed(directory).problem
    assert problem is not None
    assert problem.kind == "refused"
    assert problem.what.startswith("CONFIGURATION CHANGED")
    assert str(loaded.path) in problem.why


def test_a_configuration_with_mistakes_is_told_in_full(
    directory: Path, loaded: LoadedConfig
) -> None:
    loaded.path.write_text("site: 3 words here\nsurces: {}\n", encoding="utf-8")

    assert run_with(directory, two_stages) == 2
    problem = journal_feed(directory).problem
    assert problem is not None
    assert problem.kind == "config"
    assert "surces" in problem.why


def test_a_job_runs_once(directory: Path) -> None:
    run_with(directory, two_stages)
    before = (directory / "journal.jsonl").read_bytes()

    with pytest.raises(SafetyRefusal, match="JOB ALREADY RAN"):
        run_with(directory, two_stages)

    assert (directory / "journal.jsonl").read_bytes() == before


def test_children_are_journaled_with_pid_and_start_time(directory: Path) -> None:
    seen: list[tuple[int, float]] = []

    async def starts(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        await run(
            Command(("sleep", "0.2")),
            report=context.report,
            on_started=lambda child: seen.append((child.pid, process_start_time(child.pid))),
        )
        return {"ok": True}

    run_with(directory, starts)

    commands = [
        line.event for line in journal_lines(directory) if isinstance(line.event, CommandStarted)
    ]
    assert [(command.pid, command.start_time) for command in commands] == seen
    assert seen[0][1] > 0


IN_A_PROCESS = """
import os, subprocess, sys
from pathlib import Path
from fsbackup_tui.jobs.worker import run_job
{}
sys.exit(run_job(Path(sys.argv[1]), resolve_runner=lambda _: work))
"""


def run_in_a_process(directory: Path, runner: str) -> subprocess.CompletedProcess[str]:
    """Run a job whose runner is the coroutine function ``work`` of the text."""
    return subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS.format(runner), str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_limits_lower_the_priority_of_a_backup(tmp_path: Path) -> None:
    """In a process of its own: a niceness is not taken back."""
    loaded = make_site(tmp_path, more="limits: {nice: 7, ionice: idle}\n")
    directory, _ = prepare_job(loaded, tmp_path / "state", BackupRequest(plan="daily"))
    runner = """
async def work(request, context):
    said = subprocess.run(['ionice', '-p', str(os.getpid())], capture_output=True)
    return {'ok': True, 'nice': os.nice(0), 'ionice': said.stdout.decode().strip()}
"""
    done = run_in_a_process(directory, runner)

    assert done.returncode == 0, done.stderr
    feed = journal_feed(directory)
    assert feed.result["nice"] == min(19, os.nice(0) + 7)
    assert feed.result["ionice"] == "idle"


@pytest.mark.parametrize("ending", ["return {'ok': True}", "raise ValueError('x')"])
def test_nothing_is_imported_after_the_first_word(directory: Path, ending: str) -> None:
    """An upgrade in mid-job takes the files away under the worker."""
    runner = f"""
import atexit
from fsbackup_tui.engines.process import Command, run
class Watch:
    def find_spec(self, name, path=None, target=None):
        late.append(name)
late = []
async def work(request, context):
    sys.meta_path.insert(0, Watch())
    atexit.register(lambda: print(late, flush=True))
    context.stage('sealed')
    await run(Command(('true',)), report=context.report)
    {ending}
"""
    done = run_in_a_process(directory, runner)
    assert done.stdout.strip() == "[]", done.stderr
    assert journal_feed(directory).outcome == ("ok" if "ok" in ending else "failed")


@pytest.mark.parametrize(
    ("leader", "epoch", "outcome"),
    [
        ({"epoch": 2, "operator": "ben"}, 2, "ok"),
        ({"epoch": 3, "operator": "ben"}, 2, "failed"),
        ({"epoch": 2, "operator": "ben"}, None, "failed"),
        (None, 2, "failed"),
    ],
)
def test_only_the_present_leader_of_an_incident_is_obeyed(
    tmp_path: Path,
    loaded: LoadedConfig,
    leader: dict[str, object] | None,
    epoch: int | None,
    outcome: str,
) -> None:
    state = tmp_path / "state"
    if leader is not None:
        incident = state / "incidents" / "1122-01"
        incident.mkdir(parents=True)
        (incident / "leader.json").write_text(json.dumps(leader))
    directory, _ = prepare_job(loaded, state, REQUEST, incident="1122-01", epoch=epoch)

    status = run_with(directory, two_stages)

    feed = journal_feed(directory)
    assert feed.outcome == outcome
    assert status == (0 if outcome == "ok" else 3)
    if feed.problem is not None:
        assert feed.problem.kind == "stale-leader"
        assert "1122-01" in feed.problem.what


def test_a_take_over_stops_the_job_before_its_next_stage(
    tmp_path: Path, loaded: LoadedConfig
) -> None:
    state = tmp_path / "state"
    incident = state / "incidents" / "1122-01"
    incident.mkdir(parents=True)
    (incident / "leader.json").write_text(json.dumps({"epoch": 1}))
    directory, _ = prepare_job(loaded, state, REQUEST, incident="1122-01", epoch=1)

    async def is_taken_over(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        context.stage("sealed")
        (incident / "leader.json").write_text(json.dumps({"epoch": 2, "operator": "ben"}))
        context.stage("readable")
        return {"ok": True}

    assert run_with(directory, is_taken_over) == 3
    feed = journal_feed(directory)
    assert feed.problem is not None
    assert "ben leads it in epoch 2" in feed.problem.why
    assert [(stage.name, stage.started is None) for stage in feed.stages] == [
        ("sealed", False),
        ("readable", True),
    ]


def test_a_silent_job_is_warned_about_and_goes_on(tmp_path: Path) -> None:
    loaded = make_site(tmp_path, more="stall_after: 100ms\n")
    directory, _ = prepare_job(loaded, tmp_path / "state", REQUEST)

    async def stalls(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        context.stage("sealed")
        context.report(Progress(1, 2, "bytes", "public.videos"))
        context.report(Log("server: waits for Lock relation"))
        await wait_until_async(
            lambda: any(isinstance(line.event, Warned) for line in journal_lines(directory))
        )
        return {"ok": True}

    assert run_with(directory, stalls) == 0
    warning = journal_feed(directory).warnings[0].text
    assert "No progress for" in warning
    assert "stage sealed" in warning
    assert "public.videos" in warning
    assert "waits for Lock relation" in warning
