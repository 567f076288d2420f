"""An incident of a test's site, and contexts of jobs that belong to it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import SiteEnvironment
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.incidents import Author, IncidentJournal, open_incident
from tests.support.contexts import context_of
from tests.support.sites import Site


def author(operator: str = "somebody") -> Author:
    return Author(operator, "here", lambda: datetime.now(UTC))


def declare(
    site: Site, state: Path | None = None, *, is_drill: bool = False, by: Author | None = None
) -> IncidentJournal:
    """Open an incident of the source ``db``."""
    state = state or site.directory / "incident-state"
    state.mkdir(mode=0o700, exist_ok=True)
    return open_incident(
        state,
        by or author(),
        site="face-swap",
        source="db",
        seen="rows",
        last_right=None,
        zone=UTC,
        is_drill=is_drill,
    )


def incident_context(
    site: Site, journal: IncidentJournal | None, events: list[Event] | None = None, epoch: int = 1
) -> JobContext:
    """Return the context of a job of the incident, or of none."""
    shutil.rmtree(site.directory / "work", ignore_errors=True)
    context = context_of(site, (events if events is not None else []).append)
    context = replace(context, environment=SiteEnvironment(context.loaded, site.environ()))
    if journal is None:
        return context
    return replace(context, incident=journal.directory, epoch=epoch)


def as_it_stands(journal: IncidentJournal) -> Incident:
    incident = IncidentJournal(journal.directory).read()
    assert incident is not None
    return incident
