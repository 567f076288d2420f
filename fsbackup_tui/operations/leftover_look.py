"""One look at what recoveries left: what was found, what holds it, and how each is dropped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.leftovers import Leftover, Leftovers
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import RecoveryRequest

# In its own incident these may go before it is closed: they can be made again.
_REPLACEABLE = ("restore", "restored", "unfinished", "staging", "drill")


@dataclass
class Looking:
    """One look at what is left; ``drops`` has, by kind and name, how each is dropped."""

    request: RecoveryRequest
    context: JobContext
    live: DatabaseAddress
    admin_at: DatabaseAddress
    state: Path
    is_alive: Callable[[str], bool]
    incidents: list[Incident]
    admin: Connection | None = None
    identity: ServerIdentity | None = None
    items: list[Leftover] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drops: dict[tuple[str, str], Callable[[], Awaitable[None]]] = field(default_factory=dict)

    def add(self, item: Leftover, drop: Callable[[], Awaitable[None]], *, role: str = "") -> None:
        """Take an item, and how it is dropped; ``role`` is what it is for, if not its kind."""
        held = item.held_by or self._held_by_incident(item, role or item.kind)
        self.items.append(replace(item, held_by=held))
        self.drops[item.kind, item.name] = drop

    def incident_of(self, job: str) -> str:
        """Return the incident that a job belonged to, else the job itself."""
        for incident in self.incidents:
            if any(step.job == job for step in incident.steps.values()):
                return incident.id
        return job

    def is_dead(self, job: str) -> bool:
        """Whether a job of this site is known, and lives no more."""
        return (self.state / "jobs" / job).is_dir() and not self.is_alive(job)

    def is_ours(self, database: str) -> bool:
        """Whether it is the live database, or one that a drill played on in its place."""
        return database == self.live.database or database.startswith(
            f"{self.live.database}__drill_"
        )

    def _held_by_incident(self, item: Leftover, role: str) -> str:
        still_open = [incident for incident in self.incidents if incident.closed is None]
        own = next((incident for incident in still_open if incident.id == item.of), None)
        if own is None and role == "before":
            # Swapped by hand while an incident goes on: it may be what that one goes back to.
            known = any(incident.id == item.of for incident in self.incidents)
            mine = [one for one in still_open if one.source == self.request.part]
            own = None if known or not mine else mine[0]
        if own is None:
            return ""
        here = self.context.incident
        if here is not None and here.name == own.id and role in _REPLACEABLE:
            return ""
        return f"incident {own.id} is open: it may be needed to go back, or be looked at"

    def found(self) -> Leftovers:
        """Return all of them, the oldest first, those of unknown age last."""
        ordered = sorted(
            self.items,
            key=lambda item: (item.since is None, item.since and item.since.timestamp(), item.name),
        )
        return Leftovers(tuple(ordered), tuple(self.notes))

    async def open(self, database: str = "") -> Connection:
        """Open a session in live, or in another database there.

        It is the administrator's, who passes a fence, or where that can't be the source's own.
        """
        name = self.context.application_name
        database = database or self.live.database
        try:
            return await connect(self.admin_at.with_database(database), application_name=name)
        except PostgresError:
            return await connect(self.live.with_database(database), application_name=name)


def time_of(text: str) -> datetime | None:
    """Return the time that a mark tells; None where it tells none."""
    try:
        return parse_time(text)
    except ValueError:
        return None
