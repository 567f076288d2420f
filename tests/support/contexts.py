"""What a worker gives an operation, for tests that run one in their own process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations.context import JobContext
from tests.support.sites import Site


def context_of(
    site: Site,
    report: Callable[[Event], None],
    *,
    job: str = "20261122T020000Z-restore-k3f9",
    incident: Path | None = None,
) -> JobContext:
    """Return the context of a restore job of the site, which tells its events to ``report``."""
    work = site.directory / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    return JobContext(
        job=job,
        loaded=load_config(site.config, site.environ()),
        environment=site.environ(),
        redactor=Redactor(),
        report=report,
        stage=lambda _name: None,
        work=work,
        operator="somebody",
        host="here",
        now=lambda: datetime.now(UTC),
        incident=incident,
    )
