"""The whole demo: server, sample site, backup, verification, restore beside, comparison."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.demo.compare import Comparison, compare_databases
from fsbackup_tui.demo.narration import Narrator
from fsbackup_tui.demo.place import DemoPlace, take_place
from fsbackup_tui.demo.sample_code import BUILT, write_code
from fsbackup_tui.demo.sample_site import (
    APPLICATION_ROLE,
    DATABASE,
    DEFAULT_SIZE,
    SITE_NAME,
    SampleSite,
    seed_database,
    users_for,
    write_files,
)
from fsbackup_tui.demo.server import embedded_binaries
from fsbackup_tui.domain.errors import FsbackupError, JobError, JobLost, Problem, UsageError
from fsbackup_tui.domain.events import JobFinished
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.jobs.job import Job, lost_problem
from fsbackup_tui.jobs.supervisor import (
    cancel_job,
    find_job,
    follow,
    list_jobs,
    operator_name,
    start_job,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, RestoreBesideRequest, VerifyRequest
from fsbackup_tui.repository.layout import Repository, create_repository, site_state
from fsbackup_tui.repository.reader import PointReader

PLAN, SOURCE = "daily", "db"
FILES = ("uploads", "public")
_STEPS = 7
_CANCEL_SECONDS = 20.0
_CONFIG = """\
# The demo's configuration, written by fsbackup demo.
site: {site}
environment: demo
env_file: {environment_file}
repository: {repository}
state: {state}
clients: [{clients}]
sources:
  {source}:
    kind: postgres
    url: "${{DATABASE_URL}}"
    admin: {{url: {admin}}}
  uploads: {{kind: files, root: {storage}}}
  public: {{kind: files, root: {public}}}
  env: {{kind: config, files: [{environment_file}], variables: [NODE_ENV]}}
{code}links:
  - {{table: face_sources, column: file_path, files: uploads}}
  - {{table: generated_videos, column: output_path, files: uploads}}
encryption:
  method: age
  recipients: [{recipient}]
  identity: {{file: {identity}}}
  hint: {identity}
plans:
  {plan}: {{sources: [{sources}]}}
"""
_CODE = "  code: {{kind: code, worktree: {worktree}, artifacts: [{built}]}}\n"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for; without a directory a temporary one is made."""

    directory: Path | None = None
    size_bytes: int = DEFAULT_SIZE
    keep: bool = False


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo did and where everything is; sizes in bytes, times in seconds."""

    place: DemoPlace
    loaded: LoadedConfig
    server_version: str
    copy: str
    uploads_bytes: int
    comparison: Comparison
    backup: Mapping[str, Any]
    verify: Mapping[str, Any]
    restore: Mapping[str, Any]
    seconds: Mapping[str, float]
    parts: tuple[PartManifest, ...] = ()
    links: tuple[LinkFacts, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the copy equals the original and the proof found nothing wrong."""
        return self.comparison.equal and not self.verify["problems"]


@contextmanager
def running_demo(
    options: DemoOptions, *, environ: Mapping[str, str], stream: TextIO
) -> Iterator[DemoReport]:
    """Run the demo and yield its report while its server still runs; clean up whatever happens.

    Words go to ``stream``. SIGTERM and SIGHUP end it like ctrl-c: KeyboardInterrupt.

    Raises:
        ToolMissing: the embedded server is not installed.
        UsageError, LockHeld: the directory or the size can't be used.
        JobError: one of the demo's jobs failed; the problem is the job's own.
    """
    users_for(options.size_bytes)
    binaries = embedded_binaries()
    with ExitStack() as stack:
        stack.enter_context(_signals_interrupt())
        place = take_place(options.directory, keep=options.keep)
        demo = _Demo(place, options, environ, Narrator(stream, _STEPS))
        stack.callback(demo.clean_up)
        yield demo.run(binaries)


class _Demo:
    """One demo while it runs: what was started, so that it can be ended."""

    def __init__(
        self, place: DemoPlace, options: DemoOptions, environ: Mapping[str, str], tell: Narrator
    ) -> None:
        self._place = place
        self._options = options
        self._environ = environ
        self._tell = tell
        self._server: ScratchServer | None = None
        self._state: Path | None = None
        self._has_code = False

    def run(self, binaries: Path) -> DemoReport:
        """Do the seven steps."""
        place, step = self._place, self._tell.step
        place.work.mkdir(mode=0o700)
        with step("server", "Start a PostgreSQL server of our own"):
            server = self._server = start_scratch_server(place.server, bin_directory=binaries)
        megabytes = self._options.size_bytes / 1e6
        with step("seed", f"Fill the sample site {SITE_NAME}, {megabytes:g} MB"):
            url = server.url(DATABASE, user=APPLICATION_ROLE)
            uploads = self._seed(server, url)
        with step("config", "Write a configuration and create the repository"):
            loaded, repository = self._configure(server, binaries)
        self._state = site_state(loaded, self._environ, repository)
        with step("backup", f"Back up: plan {PLAN}"):
            backup = self._job(BackupRequest(plan=PLAN, reason="demo"), loaded)
        point = str(backup["point"])
        with step("verify", f"Prove {point}: restored on a server made for it, and compared"):
            verify = self._job(VerifyRequest(point=point, level="proven"), loaded)
        copy = f"{DATABASE}__demo_{point.rpartition('-')[2]}"
        with step("restore", f"Restore beside, as {copy}"):
            request = RestoreBesideRequest(point=point, part=SOURCE, beside=copy)
            restore = self._job(request, loaded)
        with step("compare", "Compare the dump of the original with the dump of the copy"):
            comparison = self._compare(server, url, copy)
        version = f"{server.version_num // 10000}.{server.version_num % 10000}"
        seconds = dict(self._tell.seconds)
        manifest = PointReader(repository, point).manifest
        return DemoReport(
            place,
            loaded,
            version,
            copy,
            uploads,
            comparison,
            backup,
            verify,
            restore,
            seconds,
            manifest.parts if manifest else (),
            manifest.links if manifest else (),
        )

    @property
    def _sample(self) -> SampleSite:
        return SampleSite(self._place.site, self._options.size_bytes)

    def _seed(self, server: ScratchServer, url: str) -> int:
        site = self._sample
        site.directory.mkdir(mode=0o700)
        asyncio.run(
            seed_database(
                self._options.size_bytes,
                psql=str(server.bin_directory / "psql"),
                superuser_url=server.url(),
                application_url=url,
                env={},
            )
        )
        written = write_files(site, url)
        self._has_code = asyncio.run(write_code(site.directory))
        if not self._has_code:
            self._tell.line("      note: no git here: the site's code is left out")
        return written

    def _configure(self, server: ScratchServer, binaries: Path) -> tuple[LoadedConfig, Repository]:
        place = self._place
        sample = self._sample
        recipient = place.make_identity()
        sources = [SOURCE, *FILES, "env"]
        code = ""
        if self._has_code:
            code = _CODE.format(worktree=_quoted(place.site), built=BUILT)
            sources.append("code")
        place.config.touch(mode=0o600)
        place.config.write_text(
            _CONFIG.format(
                site=SITE_NAME,
                environment_file=_quoted(sample.environment_file),
                storage=_quoted(sample.storage),
                public=_quoted(sample.public),
                code=code,
                sources=", ".join(sources),
                recipient=recipient,
                identity=_quoted(place.identity),
                repository=_quoted(place.repository),
                state=_quoted(place.state),
                clients=_quoted(binaries),
                source=SOURCE,
                plan=PLAN,
                admin=_quoted(server.url()),
            ),
            encoding="utf-8",
        )
        repository = create_repository(place.repository, SITE_NAME, datetime.now(UTC))
        return load_config(place.config, self._environ), repository

    def _job(self, request: Request, loaded: LoadedConfig) -> Mapping[str, Any]:
        """Run one operation as the command line does, in a worker of its own."""
        if self._state is None:
            raise UsageError("NO STATE DIRECTORY: the demo is not configured yet.")
        job = start_job(
            request,
            loaded,
            environ=self._environ,
            state=self._state,
            operator=operator_name(self._environ),
        )
        finished = asyncio.run(self._watch(job))
        if finished.outcome != "ok":
            problem = finished.problem or Problem("failed", f"JOB {finished.outcome.upper()}.")
            raise JobError(self._with_a_way_to_keep_it(problem))
        return finished.result

    def _with_a_way_to_keep_it(self, problem: Problem) -> Problem:
        if self._place.kept:
            return problem
        keep = "fsbackup demo --dir DIR keeps the job's directory, with its log."
        return replace(problem, fix=f"{problem.fix}\n{keep}".strip())

    async def _watch(self, job: Job) -> JobFinished:
        """Follow a job to its last event: the journal has it before the job's state does."""
        async for line in follow(job):
            self._tell.event(line.event)
            if isinstance(line.event, JobFinished):
                return line.event
        raise JobLost(lost_problem(job))

    def _compare(self, server: ScratchServer, url: str, copy: str) -> Comparison:
        comparing = compare_databases(
            url,
            server.url(copy),
            pg_dump=str(server.bin_directory / "pg_dump"),
            work=self._place.work,
            env={},
        )
        try:
            return asyncio.run(comparing)
        finally:
            shutil.rmtree(self._place.work, ignore_errors=True)

    def clean_up(self) -> None:
        """End the jobs that still run, then the server; remove the directory unless kept."""
        with _signals_wait(), ExitStack() as stack:
            stack.callback(self._place.close)
            if self._server is not None:
                stack.callback(self._server.remove)
            if self._state is not None:
                with suppress(FsbackupError):
                    _end_jobs(self._state)


def _quoted(value: object) -> str:
    """Return a value as YAML's double-quoted text, whatever characters a path has."""
    return json.dumps(str(value), ensure_ascii=False)


def _end_jobs(state: Path) -> None:
    deadline = time.monotonic() + _CANCEL_SECONDS
    for job in list_jobs(state):
        if job.running:
            with suppress(FsbackupError):
                cancel_job(job, operator="demo")
            pause = threading.Event()
            while find_job(state, job.id).running and time.monotonic() < deadline:
                pause.wait(0.05)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    with _signal_handlers(dict.fromkeys(numbers, signal.default_int_handler)):
        yield


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let no second ctrl-c end the cleaning up: what it left would run on."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with _signal_handlers(dict.fromkeys(numbers, signal.SIG_IGN)):
        yield


@contextmanager
def _signal_handlers(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
