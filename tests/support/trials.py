"""A job's context and a part, for tests of what runs inside a job, without a worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import load_config, site_environment
from fsbackup_tui.domain.events import CommandStarted, Event, Log, Warned
from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations.context import JobContext
from tests.support.sites import make_site

MOMENT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
JOB = "20261122T020000Z-verify-abcd"


@dataclass
class Told:
    """What a job reported."""

    events: list[Event] = field(default_factory=list)

    def texts(self) -> list[str]:
        """What it said in words."""
        return [event.text for event in self.events if isinstance(event, Log | Warned)]

    def commands(self) -> list[tuple[str, ...]]:
        """The programs it started."""
        return [event.argv for event in self.events if isinstance(event, CommandStarted)]


def make_context(
    directory: Path,
    url: str,
    *,
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    job: str = JOB,
) -> tuple[JobContext, Told]:
    """Return the context of a job of a new site in ``directory``, and what it will report."""
    site = make_site(directory / "site", url, settings=settings)
    environ = {**site.environ(), **(environment or {})}
    loaded = load_config(site.config, environ)
    work = directory / "work"
    work.mkdir(mode=0o700)
    told = Told()
    context = JobContext(
        job=job,
        loaded=loaded,
        environment=site_environment(loaded, environ),
        redactor=Redactor(),
        report=told.events.append,
        stage=lambda _name: None,
        work=work,
        operator="ana",
        host=os.uname().nodename,
        now=lambda: MOMENT,
    )
    return context, told


def part_of(facts: PostgresFacts, source: str = "db") -> PartManifest:
    """Return a part that holds these facts and no artifact."""
    return PartManifest(source, "postgres", MOMENT, MOMENT, (), (), postgres=facts)
