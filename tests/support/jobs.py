"""Jobs for tests: a small site, and jobs whose runner does what the request's reason says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.events import CommandStarted, JournalLine, Log, Progress, TableDone, Warned
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import Job, load_job, state_document
from fsbackup_tui.jobs.journal import JournalTail
from fsbackup_tui.jobs.launch import await_first_line, launch_worker, make_job_directory
from fsbackup_tui.jobs.layout import JOURNAL, STATE, JobRequest, replace_json
from fsbackup_tui.jobs.worker import Runner
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, VerifyRequest

ROOT = Path(__file__).parents[2]
SLOW_WORKER = "tests.support.slow_worker"
GO_ON = "go-on"
SECRET = "hunter2-not-for-eyes"


def make_site(directory: Path, *, more: str = "") -> LoadedConfig:
    """Write a small site's configuration into the directory and load it."""
    directory.chmod(0o700)
    path = directory / "fsbackup.yaml"
    path.write_text(
        "site: shop\n"
        f"repository: {directory}/repository\n"
        f"state: {directory}/state\n"
        "sources:\n"
        "  db: {kind: postgres, url: '${DATABASE_URL}'}\n"
        "plans:\n"
        "  daily: {sources: [db]}\n" + more,
        encoding="utf-8",
    )
    path.chmod(0o600)
    return load_config(path, os.environ)


def prepare_job(
    loaded: LoadedConfig,
    state: Path,
    request: Request,
    *,
    incident: str | None = None,
    epoch: int | None = None,
) -> tuple[Path, JobRequest]:
    """Make a job's directory without starting its worker."""
    return make_job_directory(
        request, loaded, state=state, operator="ana", incident=incident, epoch=epoch
    )


def start_slow_job(loaded: LoadedConfig, state: Path, scenario: str) -> Job:
    """Start a worker, as ``start_job`` does, whose runner follows the scenario."""
    directory, request = prepare_job(loaded, state, slow_request(scenario))
    process = launch_worker(directory, slow_environment(), module=SLOW_WORKER)
    await_first_line(process, directory, request)
    return load_job(directory)


def slow_request(scenario: str) -> Request:
    """Return a request that the slow worker understands (``verify``, so that nothing is niced)."""
    return VerifyRequest(point=scenario)


def slow_environment() -> Mapping[str, str]:
    """Return an environment in which the worker finds the tests' modules."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def let_go_on(job: Job) -> None:
    """Let the slow runner of a job come to its end."""
    (job.directory / GO_ON).touch()


def slow_runner(directory: Path) -> Runner:
    """Return a runner whose scenario is the request's ``point``."""

    async def work(request: VerifyRequest, context: JobContext) -> dict[str, object]:
        context.stage("sealed")
        context.report(Warned("the disk is slow"))
        context.report(TableDone("public.users", 5, 4096, 0.1))
        scenario = request.point
        if scenario == "child":
            await run(Command((sys.executable, "-c", _SLEEPER)), report=context.report)
        elif scenario == "orphan":
            child = _start_orphan()
            context.report(CommandStarted((sys.executable,), child.pid))
            await asyncio.sleep(600)
        elif scenario == "wrong-pid":
            context.report(CommandStarted(("pg_dump",), os.getppid(), 0.5))
            await asyncio.sleep(600)
        elif scenario == "busy":
            while not (directory / GO_ON).exists():
                threading.Event().wait(0.02)
        elif scenario == "fail":
            raise PostgresError("SERVER GONE: db1 went away.", why="It was stopped.", fix="Wait.")
        else:
            done = 0
            while not (directory / GO_ON).exists():
                done += 1
                context.report(Progress(done, 1000, "bytes", "public.videos", active=("videos",)))
                await asyncio.sleep(0.02)
        context.stage("readable")
        context.report(Log("nearly there"))
        return {"ok": True, "point": "p1", "seconds": 1.0}

    return work


def _start_orphan() -> subprocess.Popen[bytes]:
    return subprocess.Popen((sys.executable, "-c", _SLEEPER), start_new_session=True)


_SLEEPER = "import signal; signal.pause()"


def write_past_job(
    state: Path,
    name: str,
    loaded_digest: str = "0",
    *,
    started: datetime | None = None,
    request: Request | None = None,
    result: Mapping[str, object] | None = None,
) -> Path:
    """Write the directory of a job that ended well, as a worker leaves it."""
    moment = started or datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    directory = state / "jobs" / name
    directory.mkdir(parents=True)
    whole = JobRequest(
        job=name,
        request=request or BackupRequest(plan="daily"),
        site="shop",
        config=Path("/etc/fsbackup/config.yaml"),
        config_digest=loaded_digest,
        operator="ana",
        host="db1",
        requested=moment,
    )
    replace_json(directory / "request.json", whole.document(), sync=False)
    feed = JobFeed()
    feed.started, feed.finished, feed.outcome = moment, moment, "ok"
    feed.result = result or {"ok": True, "bytes": 1}
    replace_json(directory / STATE, state_document(whole, feed, now=moment), sync=False)
    return directory


def journal_lines(directory: Path) -> list[JournalLine]:
    """Return all of a job's journal."""
    return JournalTail(directory / JOURNAL).read_new()


def journal_feed(directory: Path) -> JobFeed:
    """Return the state that a job's journal tells."""
    feed = JobFeed()
    feed.feed_all(journal_lines(directory))
    return feed
