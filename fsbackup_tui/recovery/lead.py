"""Who leads an incident: one at a time, by the epoch in its journal; the lead may go over."""

from __future__ import annotations

from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, StaleLeader, UsageError
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.recovery.desk import Desk
from fsbackup_tui.recovery.presence import Presence, present
from fsbackup_tui.recovery.running import find_job_of
from fsbackup_tui.repository.holds import hold_repository
from fsbackup_tui.repository.incidents import IncidentJournal, find_open

TAKE_OVER_SECONDS = 20.0
_WATCHER = "watcher"


class Lead:
    """One process's claim to lead an incident; while it lives it is seen to be there."""

    def __init__(self, desk: Desk, journal: IncidentJournal, *, lead: bool) -> None:
        self._desk = desk
        self._journal = journal
        incident = read_incident(journal)
        self.epoch = incident.epoch if lead and incident.leader is not None else 0
        self._seen_leading = bool(self.epoch)
        role = _leader_of(self.epoch) if self.epoch else _WATCHER
        self._presence = Presence(journal.directory, desk.author, role, shown=not desk.read_only)
        if self.epoch and incident.closed is None and not incident.is_drill:
            self._hold()

    def leave(self) -> None:
        """Be seen no more; who leads by the journal stays as it is."""
        self._presence.leave()

    @property
    def is_held(self) -> bool:
        """Whether it is this process that leads, by what the journal says now."""
        return bool(self.epoch) and self.epoch == read_incident(self._journal).epoch

    def require(self) -> None:
        """Raise StaleLeader where somebody else leads."""
        if self.is_held:
            return
        incident = read_incident(self._journal)
        leader = incident.leader
        who = f"{leader.operator} on {leader.host}" if leader is not None else "nobody"
        raise StaleLeader(
            f"YOU WATCH: {who} leads incident {incident.id}.",
            fix="Ask for the lead to act (take over).",
        )

    def ask(self) -> None:
        """Ask the leader for the lead."""
        self._desk.require_writing()
        self._journal.append("take-over-asked", {}, self._desk.author, epoch=None)

    def is_free(self) -> bool:
        """Whether the leader is gone, or was asked 20 s ago by this person and said nothing.

        Who led before and sits there still is no leader.
        """
        incident = read_incident(self._journal)
        sweeps = not self._desk.read_only
        if not present(self._journal.directory, _leader_of(incident.epoch), sweeps=sweeps):
            return True
        asked = incident.take_over
        if asked is None or asked.refused or asked.operator != self._desk.author.operator:
            return False
        return (self._desk.now() - asked.at).total_seconds() >= TAKE_OVER_SECONDS

    def take(self, why: str) -> None:
        """Lead from now on, and take along the jobs that run.

        Raises:
            SafetyRefusal: the leader is there and was not asked, or refused. StaleLeader.
        """
        self._desk.require_writing()
        incident = read_incident(self._journal)
        if not self.is_free():
            raise _not_free(incident)
        begun = (
            find_job_of(self._desk.state, incident, state)
            for state in incident.steps.values()
            if state.status == "unknown"
        )
        adopts = tuple(job.id for job in begun if job is not None)
        author = self._desk.author
        entry = self._journal.take_over(author, why, expected=incident.epoch, adopts=adopts)
        self.epoch = entry.epoch
        self._presence.leave()
        self._presence = Presence(self._journal.directory, author, _leader_of(self.epoch))
        self._seen_leading = True

    def step_down(self) -> None:
        """Be seen as somebody who watches, where another one leads by now."""
        if not self._seen_leading or self.is_held:
            return
        self._seen_leading = False
        self._presence.leave()
        self._presence = Presence(self._journal.directory, self._desk.author, _WATCHER)

    def reopen(self, why: str) -> None:
        """Lead an incident that was over, once more; it raises what ``take`` does, too."""
        incident = read_incident(self._journal)
        other = find_open(self._desk.state, source=incident.source, is_drill=incident.is_drill)
        if other is not None:
            raise SafetyRefusal(
                f"INCIDENT OPEN ALREADY: {other.id}.",
                why="Two incidents of one source would undo each other's work.",
                fix=f"fsbackup recover --resume {other.id}",
            )
        self.take(why)
        self._journal.append("reopened", {"why": why}, self._desk.author, epoch=self.epoch)
        if not incident.is_drill:
            self._hold()

    def _hold(self) -> None:
        desk = self._desk
        if desk.repository is None:
            return
        try:
            hold_repository(desk.repository, self._journal, desk.author)
        except FsbackupError as error:
            text = f"Retention is not held back: {error.what}"
            self._journal.append("note", {"text": text}, desk.author, epoch=self.epoch)


def _leader_of(epoch: int) -> str:
    return f"leader.{epoch}"


def read_incident(journal: IncidentJournal) -> Incident:
    """Return what a journal says; UsageError where it has no first entry."""
    incident = journal.read()
    if incident is None:
        raise UsageError(f"NO SUCH INCIDENT: {journal.id} has no first entry.")
    return incident


def _not_free(incident: Incident) -> SafetyRefusal:
    asked = incident.take_over
    refused = asked.refused if asked is not None else ""
    leader = incident.leader.operator if incident.leader is not None else "-"
    return SafetyRefusal(
        f"NOT TAKEN OVER: {leader} leads.",
        why=f"Refused: {refused}" if refused else "They are there, and have 20 s to refuse.",
        fix="Ask for it, and wait." if asked is None else "Wait, or talk to them.",
    )
