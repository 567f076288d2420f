"""A site whose jobs run in the test's own process: as a worker runs them, many in a second."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations import run_plan, verify
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.requests import BackupRequest, VerifyLevel, VerifyRequest
from fsbackup_tui.repository.layout import Repository, open_repository
from tests.support.sites import Site, make_site

_numbers = itertools.count(1)


@dataclass
class Bench:
    """A site and what runs on it; ``told`` is what its jobs reported."""

    site: Site
    told: list[Event] = field(default_factory=list)

    @property
    def repository(self) -> Repository:
        """The site's repository."""
        return open_repository(self.site.repository)

    def point_directory(self, point: str) -> Path:
        """Return where a point lies."""
        return self.repository.point_directory(point)

    @contextmanager
    def job(self, operation: str) -> Iterator[JobContext]:
        """Give the context of a new job for the block."""
        number = next(_numbers)
        now = datetime.now(UTC)
        work = self.site.directory / f"work-{number}"
        work.mkdir(mode=0o700)
        environment = self.site.environ()
        try:
            yield JobContext(
                job=f"{now:%Y%m%dT%H%M%SZ}-{operation}-{number:04d}",
                loaded=load_config(self.site.config, environment),
                environment=environment,
                redactor=Redactor(),
                report=self.told.append,
                stage=lambda _name: None,
                work=work,
                operator="somebody",
                host="here",
                now=lambda: datetime.now(UTC),
            )
        finally:
            shutil.rmtree(work, ignore_errors=True)

    async def back_up(self, plan: str = "daily") -> dict[str, Any]:
        """Run a plan, with the verification that it asks for; returns the job's document."""
        self.told.clear()
        with self.job("backup") as context:
            return await run_plan.run(BackupRequest(plan=plan), context)

    async def verify(self, point: str, level: VerifyLevel = "proven") -> dict[str, Any]:
        """Climb up to a level; returns the job's document."""
        self.told.clear()
        with self.job("verify") as context:
            return await verify.run(VerifyRequest(point=point, level=level), context)


def make_bench(
    directory: Path,
    url: str,
    *,
    scratch_url: str | None = None,
    source: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    verify_level: str = "sealed",
) -> Bench:
    """Return a new site; trial restores go to the server at ``scratch_url``, else to own ones."""
    where = {} if scratch_url is None else {"scratch": {"on": "server", "url": scratch_url}}
    plans = {"plans": {"daily": {"sources": ["db"], "verify": verify_level}}}
    site = make_site(directory, url, source=source, settings={**where, **plans, **(settings or {})})
    return Bench(site)
