"""Looking at an incident without sitting down at it: where it stands, and at a glance."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.glance import Glance
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.past import read_incident
from fsbackup_tui.repository.incidents import INCIDENTS, IncidentJournal

__all__ = ["OpenIncidents", "glance_at", "read_incident"]


class OpenIncidents:
    """Looks again and again whether an incident is open; reads no journal twice."""

    def __init__(self) -> None:
        self._journals: dict[Path, IncidentJournal] = {}
        self._stood: dict[Path, tuple[int, Incident | None]] = {}

    def newest(self, state: Path) -> IncidentJournal | None:
        """Return the newest open incident, a drill only where nothing else is open."""
        root = state / INCIDENTS
        found = sorted(root.iterdir(), reverse=True) if root.is_dir() else []
        drill: IncidentJournal | None = None
        for path in found:
            journal = self._journals.setdefault(path, IncidentJournal(path))
            count = len(journal.entries())
            if self._stood.get(path, (-1, None))[0] != count:
                self._stood[path] = (count, journal.read())
            incident = self._stood[path][1]
            if incident is None or incident.closed is not None:
                continue
            if not incident.is_drill:
                return journal
            drill = drill or journal
        return drill


def open_glance(desk: Desk) -> Glance | None:
    """Return the open incident at a glance; None where none is open but a drill."""
    journal = OpenIncidents().newest(desk.state)
    glance = glance_at(desk, journal) if journal is not None else None
    return None if glance is None or glance.is_drill else glance


def glance_at(desk: Desk, journal: IncidentJournal) -> Glance | None:
    """Return an incident at a glance; None where its first entry was never written."""
    incident = journal.read()
    if incident is None:
        return None
    step = ""
    try:
        current = read_incident(desk, journal).flow.current()
        step = current.number if current is not None else ""
    except FsbackupError:
        step = "-"
    freezes = [freeze.since for freeze in incident.freezes if freeze.keeps_writes_off]
    return Glance(
        id=incident.id,
        opened=incident.opened,
        leader=incident.leader.operator if incident.leader is not None else "",
        step=step,
        frozen_since=min(freezes, default=None),
        is_drill=incident.is_drill,
        damage=incident.damage,
        last_entry=incident.last_entry,
    )
