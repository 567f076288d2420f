"""Whether a job belongs to the incident in which a lost machine was rebuilt on another server."""

from __future__ import annotations

from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.incidents import IncidentJournal

REBUILDING = "host-database"
"""The step after which live is on another server, on purpose."""


def is_rebuilt(context: JobContext) -> bool:
    """Whether this job's own incident brought the database to another server; a drill did not."""
    if context.incident is None:
        return False
    incident = IncidentJournal(context.incident).read()
    if incident is None or incident.is_drill:
        return False
    state = incident.steps.get(REBUILDING)
    return state is not None and state.status == "done"
