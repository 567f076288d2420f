"""An incident read by somebody who does not sit down at it: to list, to show, to report."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.place import SourceKind
from fsbackup_tui.operations.places import configured_path
from fsbackup_tui.recovery.actions.action import Situation
from fsbackup_tui.recovery.actions.registry import ACTIONS, conditions
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.facts import IncidentFacts
from fsbackup_tui.recovery.flow import place_steps
from fsbackup_tui.recovery.kinds import source_kinds
from fsbackup_tui.recovery.library import find_runbook
from fsbackup_tui.recovery.rehearsing import with_rehearsal
from fsbackup_tui.recovery.runbook import Phases, Runbook, Step
from fsbackup_tui.recovery.session import Reading
from fsbackup_tui.repository.incidents import IncidentJournal


def read_incident(desk: Desk, journal: IncidentJournal) -> Reading:
    """Return where an incident stands; nobody is told that somebody looks.

    One whose runbook is not there any more has no steps in order, and all the rest.
    """
    incident = journal.read()
    if incident is None:
        raise UsageError(f"NO SUCH INCIDENT: {journal.id} has no first entry.")
    facts, now = IncidentFacts(incident), desk.now()
    runbook = _runbook(desk, incident)
    situation = Situation(desk.loaded, incident, facts, now, desk.zone)
    flow = place_steps(runbook, incident, conditions(situation), now)
    return Reading(incident, runbook, flow, facts, now, desk.zone)


def _runbook(desk: Desk, incident: Incident) -> Runbook:
    try:
        found = find_runbook(incident.runbook or "data-loss", desk.loaded)
    except UsageError:
        return Runbook(
            format=1,
            id="gone",
            title="A runbook that is not there",
            summary="It was another version's, or the site's, and is not there any more.",
            phases=Phases(),
        )
    return with_rehearsal(found) if incident.is_drill else found


_KIND_OF_STEP: Mapping[str, tuple[SourceKind, ...]] = {
    "is-code": ("code",),
    "is-config": ("config",),
}


def commands_ahead(
    step: Step, about: Collection[SourceKind], loaded: LoadedConfig, now: datetime
) -> tuple[str, ...]:
    """Return what a step runs, in an incident that there is not: with words for its names.

    It is of the first source of the kinds in ``about``, or of the one that the step is for.
    """
    sources = source_kinds(loaded)
    wanted = _KIND_OF_STEP.get(step.when or "", tuple(about))
    source = next((name for name, kind in sources.items() if kind in wanted), "")
    kind = sources.get(source, wanted[0])
    words = {"live_name": "NAME", "point": "POINT", "copy": "COPY"}
    if kind != "postgres":
        words = {"kind": kind, "point": "POINT"}
        words["live_name"] = configured_path(loaded, source) if source else "PATH"
    incident = Incident("ID", loaded.config.site, source, now, "-", "unknown", parameters=words)
    facts = IncidentFacts(incident)
    return ACTIONS[step.do].runs(Situation(loaded, incident, facts, now, UTC, step.id))
