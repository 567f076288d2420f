"""Incidents for the tests of the screens: desks with scripted jobs, led to a step beforehand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from textual.pilot import Pilot

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.events import Event, JobFinished, JobStarted, Log, Progress
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.jobs.feed import JobFeed, JournalTail
from fsbackup_tui.jobs.job import Job, load_job, state_document
from fsbackup_tui.jobs.journal import JournalWriter
from fsbackup_tui.jobs.layout import JOURNAL, STATE, JobRequest, replace_json
from fsbackup_tui.jobs.liveness import hold_lock
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.tui.app import FsbackupApp
from fsbackup_tui.tui.modes.recover_step import StepScreen
from tests.support.recovering import (
    ScriptedJobs,
    do_step,
    make_desk,
    open_session,
    to_the_swap,
)
from tests.support.starting import Asked
from tests.tui.fakes import Clock, FakeSite, make_app
from tests.tui.screens import press, until, until_text

LED = (
    *to_the_swap(freeze="nothing"),
    ("swap", Answer(typed="shop")),
    ("migrations", None),
    ("start-app", None),
    ("smoke-test", None),
    ("resume-jobs", None),
    ("fresh-backup", None),
    ("tell-done", None),
)


@dataclass
class HeldJobs(ScriptedJobs):
    """Scripted jobs, of which those of the operations in ``hold`` run until ``finish``."""

    hold: set[str] = field(default_factory=set)
    held: list[tuple[Path, JobRequest, int, JournalWriter]] = field(default_factory=list)

    def begin(self, asked: Asked) -> Job:
        """Start a job; one that is held has told how far it is."""
        request = asked.request
        if request.operation not in self.hold:
            return super().begin(asked)
        assert request.operation not in self.refuse, f"{request.operation} was started"
        self.requests.append(request)
        directory, told = asked.make_directory()
        lock = hold_lock(directory)
        assert lock is not None
        writer = JournalWriter(directory, Redactor(), now=self.clock)
        self.held.append((directory, told, lock, writer))
        started = JobStarted(
            operation=request.operation,
            site=asked.loaded.config.site,
            pid=os.getpid(),
            start_time=0.0,
            version="test",
            stages=request.planned(),
        )
        self.tell(
            started,
            Log("pg_restore: creating TABLE [bold]videos[/bold]\x1b[31m"),
            Progress(744e6, 1200e6, "bytes", "data public.events", rate=112e6, eta_seconds=240.0),
        )
        return load_job(directory)

    def tell(self, *events: Event) -> None:
        """Let the job that is held last tell something."""
        directory, told, _, writer = self.held[-1]
        for event in events:
            writer.write(event)
        feed = JobFeed()
        feed.feed_all(JournalTail(directory / JOURNAL).read_new())
        replace_json(directory / STATE, state_document(told, feed, now=self.clock()), sync=False)

    def finish(self, result: Mapping[str, object], problem: Problem | None = None) -> None:
        """Let the job that is held last come to its end."""
        self.tell(JobFinished("failed" if problem else "ok", dict(result), problem))
        self.lose()

    def lose(self) -> None:
        """Let the job that is held last vanish without a word."""
        _, _, lock, writer = self.held.pop()
        writer.close()
        os.close(lock)


def held_desk(directory: Path, *, operator: str = "ana", more: str = "") -> Desk:
    """Return a desk whose jobs can be held."""
    desk = make_desk(directory, operator=operator, more=more)
    assert isinstance(desk.start, ScriptedJobs)
    jobs = HeldJobs(desk.start.clock, desk.start.replies)
    return replace(desk, start=jobs)


def jobs_held(desk: Desk) -> HeldJobs:
    """Return what starts a desk's jobs."""
    assert isinstance(desk.start, HeldJobs)
    return desk.start


def led_to(desk: Desk, step: str, *, runbook: str = "data-loss", seen: Seen = "rows") -> str:
    """Declare an incident, lead it up to a step, and leave; returns its id."""
    session = lead(desk, step, runbook=runbook, seen=seen)
    session.leave()
    return session.journal.id


def lead(
    desk: Desk, step: str, *, runbook: str = "data-loss", seen: Seen = "rows"
) -> RecoverySession:
    """Declare an incident and lead it up to a step."""
    session = open_session(desk, seen=seen, runbook=runbook)
    for name, answer in LED:
        if name == step:
            break
        do_step(session, name, answer)
    return session


def recover_app(desk: Desk, *, clock: Clock | None = None, theme: str = "dark") -> FsbackupApp:
    """Return the application on a site in memory whose recoveries are led from the desk."""
    site = FakeSite(recovery=desk)
    return make_app(site, now=desk.now, clock=clock or Clock(), theme=theme)


def step_screen(app: FsbackupApp) -> StepScreen:
    """Return the step's screen, which must be what is seen."""
    screen = app.screen
    assert isinstance(screen, StepScreen), screen
    return screen


async def until_step(pilot: Pilot[int], step: str) -> None:
    """Wait until a step is shown, the server looked at where that is due."""
    app = pilot.app
    assert isinstance(app, FsbackupApp)

    def shown() -> bool:
        screen = app.screen
        if not isinstance(screen, StepScreen) or screen.view is None:
            return False
        card = screen.card
        return card is not None and card.id == step and not (card.needs_look and card.can_run)

    await until(pilot, shown)


async def open_incident(pilot: Pilot[int], step: str) -> None:
    """Wait until the application has gone to the open incident by itself."""
    await until_text(pilot, "ana leads")
    await until_step(pilot, step)


async def enter_name(pilot: Pilot[int], name: str) -> None:
    """Type a name into the line that takes text, and Enter."""
    await press(pilot, *name, "enter")
