"""Incidents of real files whose jobs run in the test's own process: whole in milliseconds."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, VerifyRequest
from fsbackup_tui.operations.stand_in import with_stand_in
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import Desk, open_desk
from fsbackup_tui.recovery.session import RecoverySession
from tests.support.recovering import Clock, Reply, ScriptedJobs
from tests.support.sites import Site
from tests.support.starting import Asked


@dataclass
class InProcessJobs(ScriptedJobs):
    """Starts jobs that have ended when they begin, by running what a worker would run.

    ``replies`` still answers in its place; ``told`` is what the operations told.
    """

    told: list[Event] = field(default_factory=list)

    def begin(self, asked: Asked) -> Job:
        """Run it; what is raised is the job's problem."""
        request = asked.request

        def run(_: Request) -> Mapping[str, Any] | Problem:
            return self._run_asked(asked)

        scripted: Reply | None = self.replies.get(request.operation)
        self.replies[request.operation] = run if scripted is None else scripted
        try:
            return super().begin(asked)
        finally:
            if scripted is None:
                del self.replies[request.operation]

    def run_for(self, session: RecoverySession, request: Request) -> Mapping[str, Any] | Problem:
        """Run a request of an incident as its job would; for one that is killed in it."""
        desk = session.desk
        return self._run(
            request, desk.loaded, desk.environ, session.journal.directory, session.epoch
        )

    def _run_asked(self, asked: Asked) -> Mapping[str, Any] | Problem:
        return self._run(
            asked.request, asked.loaded, asked.environ, asked.incident_directory, asked.epoch
        )

    def _run(
        self,
        request: Request,
        loaded: LoadedConfig,
        environ: Mapping[str, str],
        incident: Path | None,
        epoch: int | None,
    ) -> Mapping[str, Any] | Problem:
        work = loaded.path.parent / f"work-{len(self.requests)}"
        shutil.rmtree(work, ignore_errors=True)  # of one that was killed
        work.mkdir(mode=0o700)
        try:
            loaded = with_stand_in(loaded, request.operation, incident)
        except FsbackupError as error:
            return error.problem()
        context = JobContext(
            job=f"20261122T020000Z-test-{len(self.requests):04d}",
            loaded=loaded,
            environment=environ,
            redactor=Redactor(),
            report=self.told.append,
            stage=lambda _name: None,
            work=work,
            operator="ana",
            host=socket.gethostname(),
            now=lambda: datetime.now(UTC),
            incident=incident,
            epoch=epoch,
        )
        module, _, name = request.runner.partition(":")
        runner = getattr(__import__(module, fromlist=[name]), name)
        try:
            result = asyncio.run(runner(request, context))
        except FsbackupError as error:
            return error.problem()
        finally:
            shutil.rmtree(work, ignore_errors=True)
        assert isinstance(result, dict)
        return result


def real_desk(site: Site) -> Desk:
    """Return the desk of a real site; its jobs run in this process."""
    environ = {**os.environ, **site.environ()}
    desk = open_desk(load_config(site.config, environ), environ)
    jobs = InProcessJobs(Clock(datetime.now(UTC)))
    return Desk(desk.loaded, environ, desk.state, desk.author, desk.zone, desk.repository, jobs)


def back_up_in_process(site: Site, plan: str = "daily") -> str:
    """Take a point and prove it, without a worker; returns its id."""
    desk = real_desk(site)

    def run(request: Request) -> Mapping[str, Any]:
        job = desk.start(
            request, desk.loaded, environ=desk.environ, state=desk.state, operator="ana"
        )
        assert job.state == "ok", job.problem
        return job.result

    point = str(run(BackupRequest(plan))["point"])
    run(VerifyRequest(point, level="proven"))
    return point


def declare_real(site: Site, source: str, seen: Seen, **more: Any) -> RecoverySession:
    """Declare an incident of a real site: right until this moment."""
    desk = real_desk(site)
    return declare(desk, source=source, seen=seen, last_right=desk.now(), **more)
