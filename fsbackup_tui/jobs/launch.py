"""Starting a worker exactly as design §3 says, and reaping it when it has ended."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import (
    DiskFull,
    FsbackupError,
    JobError,
    Problem,
    RepositoryUnwritable,
)
from fsbackup_tui.domain.point import new_tag, point_id
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import state_document
from fsbackup_tui.jobs.journal import JournalTail, utc_now
from fsbackup_tui.jobs.layout import (
    CONTROL,
    JOURNAL,
    LOCK,
    OUTPUT,
    REQUEST,
    STATE,
    JobRequest,
    make_private_directory,
    open_private,
    output_tail,
    replace_json,
)
from fsbackup_tui.repository.files import free_bytes, make_state_directory
from fsbackup_tui.repository.origin import acting_origin

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.operations.request import Request

JOBS = "jobs"
WORKER = "fsbackup_tui.jobs.worker"
# One that ended is seen at once. One that is slow is waited for: a machine in trouble may give a
# worker a twentieth of a processor, and it is then that a recovery has to start.
FIRST_LINE_SECONDS = 120.0
_POLL_SECONDS = 0.01
# What a worker needs for its first words, its state and the reserve for its last ones.
_LEAST_FREE_BYTES = 512 * 1024
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_started: set[subprocess.Popen[bytes]] = set()


def jobs_directory(state: Path) -> Path:
    """Return where a site's jobs lie."""
    return state / JOBS


def job_names(state: Path) -> list[str]:
    """Return the names of the jobs' directories, newest first; OSError where they can't be read.

    An id knows its second alone: of jobs of the same second the request's time stamp tells.
    """
    jobs = jobs_directory(state)
    try:
        with os.scandir(jobs) as entries:
            names = [entry.name for entry in entries if entry.name[:1].isdigit()]
    except FileNotFoundError:
        return []
    seconds = Counter(_second(name) for name in names)

    def order(name: str) -> tuple[str, int]:
        second = _second(name)
        return second, _requested_ns(jobs / name) if seconds[second] > 1 else 0

    return sorted(names, key=order, reverse=True)


def _second(name: str) -> str:
    return name.partition("-")[0]


def _requested_ns(directory: Path) -> int:
    try:
        return (directory / REQUEST).stat().st_mtime_ns
    except OSError:
        return 0


def reap_ended_workers() -> None:
    """Collect the exit status of workers that this process started and that have ended."""
    for process in [process for process in _started if process.poll() is not None]:
        _started.discard(process)


@atexit.register
def _let_workers_go() -> None:
    # They outlive us on purpose; init collects them, and Popen need not warn of it.
    reap_ended_workers()
    for process in _started:
        process.returncode = 0
    _started.clear()


def make_job_directory(
    request: Request,
    loaded: LoadedConfig,
    *,
    state: Path,
    operator: str,
    incident: str | None,
    epoch: int | None,
) -> tuple[Path, JobRequest]:
    """Make JOBDIR with its request and first state; FsbackupError where that can't be written."""
    now = utc_now()
    job = point_id(now, request.operation, new_tag())
    directory = jobs_directory(state) / job
    job_request = JobRequest(
        job=job,
        request=request,
        site=loaded.config.site,
        config=loaded.path.absolute(),
        config_digest=loaded.digest,
        operator=operator,
        host=socket.gethostname(),
        requested=now,
        incident=incident,
        epoch=epoch,
        origin=acting_origin(),
        read_only=loaded.config.read_only,
    )
    try:
        make_private_directory(directory.parent)
        if free_bytes(directory.parent) < _LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        make_state_directory(directory, exist_ok=False)
        make_state_directory(directory / CONTROL, exist_ok=False)
        for name in (LOCK, OUTPUT):
            os.close(open_private(directory / name, os.O_WRONLY))
        replace_json(directory / REQUEST, job_request.document(), sync=True)
        first = state_document(job_request, JobFeed(), now=now)
        replace_json(directory / STATE, first, sync=False)
    except OSError as error:
        raise _not_writable(error, state) from error
    return directory, job_request


def launch_worker(
    directory: Path, environ: Mapping[str, str], *, module: str = WORKER
) -> subprocess.Popen[bytes]:
    """Start the worker of a job in its own session, away from the caller's directory.

    Never through asyncio, whose transport kills the child when it is collected (Python 3.12
    on), and never without ``-P``, which keeps a yaml.py in some directory from being imported.
    """
    output = open_private(directory / OUTPUT, os.O_WRONLY | os.O_APPEND)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(directory)],
            start_new_session=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_worker_environment(environ),
        )
    finally:
        os.close(output)
    _started.add(process)
    return process


def await_first_line(
    process: subprocess.Popen[bytes], directory: Path, request: JobRequest
) -> None:
    """Return when the journal has its first line; JobError with output.log's tail otherwise."""
    tail = JournalTail(directory / JOURNAL)
    deadline = time.monotonic() + FIRST_LINE_SECONDS
    while True:
        status = process.poll()
        if tail.read_new():
            return
        if status is not None or time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    if status is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        why = f"It gave no sign of life within {FIRST_LINE_SECONDS:.0f} s and was ended."
    elif status < 0:
        why = f"It was killed by signal {-status} before its first word."
    else:
        why = f"It ended with exit status {status} before its first word."
    _started.discard(process)
    printed = output_tail(directory)
    problem = Problem(
        "job-failed",
        f"JOB NOT STARTED: the worker of {request.job} did not come up.",
        why + (f"\n{printed}" if printed else ""),
        f"All of it: {directory / OUTPUT}. fsbackup doctor looks at what a job needs.",
    )
    feed = JobFeed()
    feed.outcome, feed.problem, feed.finished = "failed", problem, utc_now()
    try:
        replace_json(
            directory / STATE, state_document(request, feed, now=feed.finished), sync=False
        )
    except OSError as error:
        raise JobError(problem) from error
    raise JobError(problem)


def _worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without module search paths that depend on the directory."""
    environment = dict(environ)
    search = environment.pop("PYTHONPATH", "")
    kept = [entry for entry in search.split(os.pathsep) if Path(entry).is_absolute()]
    if kept:
        environment["PYTHONPATH"] = os.pathsep.join(kept)
    return environment


def _not_writable(error: OSError, state: Path) -> FsbackupError:
    if error.errno in _NO_SPACE:
        return DiskFull(
            "STATE DIRECTORY FULL: the job's journal can't be written.",
            why=f"{state}: {error.strerror}",
            fix="Free some space there, or name another directory under state: in the config.",
        )
    return RepositoryUnwritable(
        "STATE DIRECTORY NOT WRITABLE: the job's journal can't be written.",
        why=f"{error.filename or state}: {error.strerror} ({_owner_text(state)}).",
        fix="Run fsbackup as that user (sudo -u OWNER fsbackup …), or set state: in the config.",
    )


def _owner_text(path: Path) -> str:
    for candidate in (path, *path.parents):
        try:
            return f"{candidate} belongs to {candidate.owner()}"
        except (OSError, KeyError):
            continue
    return "its owner is not known"
