"""The look at the server right before a change, and after a crash: who am I about to hurt?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.place import PlaceStanding
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.operations.place_requests import LookPlaceRequest
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.recovery_requests import LookRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.facts import IncidentFacts, read_value
from fsbackup_tui.recovery.running import JobWatch, problem_of

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import RecoverySession

FRESH = timedelta(minutes=2)
_CLOCKS_DIFFER = timedelta(seconds=5)


class Look:
    """One look at a time; ``problem`` says why the last one saw nothing."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self._watch: JobWatch | None = None
        self._seen: Standing | PlaceStanding | None = None
        self._wanted: list[str] = []
        self._settling: tuple[str, ...] = ()
        self._ended: frozenset[object] = frozenset()
        self._seen_ended: frozenset[object] = frozenset()

    @property
    def is_under_way(self) -> bool:
        """Whether a look was begun and has not come back."""
        return self._watch is not None

    def want(self, step: str) -> None:
        """Have a step settled by the next look."""
        if step not in self._wanted:
            self._wanted.append(step)

    def settles(self) -> tuple[str, ...]:
        """Return the steps that waited for the look that came back, and forget them.

        One that was wanted while it was under way waits for the next.
        """
        settling, self._settling = self._settling, ()
        self._wanted = [step for step in self._wanted if step not in settling]
        return settling

    @property
    def is_wanted(self) -> bool:
        """Whether a step waits to be settled."""
        return bool(self._wanted)

    def is_fresh(self, incident: Incident, now: datetime) -> bool:
        """Whether no step was begun or has ended since the last look, and that was not long ago.

        A clock that was set back or forward makes a look old, at worst.
        """
        seen = self._seen
        if seen is None or _ended(incident) != self._seen_ended:
            return False
        return -_CLOCKS_DIFFER < now - seen.at < FRESH

    def start(self, session: RecoverySession) -> None:
        """Begin a look, unless one is under way."""
        if self._watch is not None:
            return
        self.problem, self._settling = None, tuple(self._wanted)
        reading = session.read()
        self._ended = _ended(reading.incident)
        request = _request(reading.incident, reading.facts, settling=self.is_wanted)
        try:
            self._watch = JobWatch("look", session.begin_job(request))
        except FsbackupError as error:
            self.problem = error.problem()

    def take(self, session: RecoverySession) -> Standing | PlaceStanding | None:
        """Return what a look saw that has come back by now, once."""
        if self._watch is None:
            if self._wanted and self.problem is None:
                self.start(session)
            return None
        self._watch.read()
        if not self._watch.ended:
            return None
        job, self._watch = self._watch.job, None
        standing = _standing(job) if job.state == "ok" else None
        if standing is None:
            self.problem = problem_of(job)
            return None
        self._seen, self._seen_ended = standing, self._ended
        session.take_standing(standing)
        return standing


def _request(incident: Incident, facts: IncidentFacts, *, settling: bool) -> Request:
    if facts.kind != "postgres":
        return LookPlaceRequest(incident.source)
    return LookRequest(
        part=incident.source,
        database=facts.database,
        staging=_staging_of_unknown(incident) if settling else "",
    )


def _standing(job: Job) -> Standing | PlaceStanding | None:
    if job.operation == LookPlaceRequest.operation:
        return read_value(PlaceStanding, job.result)
    return read_value(Standing, job.result)


def _ended(incident: Incident) -> frozenset[object]:
    """Return which jobs of steps are under way or have ended, and how."""
    return frozenset(
        (name, state.job, state.status, state.at)
        for name, state in incident.steps.items()
        if state.job and state.status in ("done", "failed", "undone", "unknown")
    )


def _staging_of_unknown(incident: Incident) -> str:
    """Return where a merge put down that it happened whose end nobody saw."""
    for state in incident.steps.values():
        arguments = state.request.get("arguments")
        if state.status == "unknown" and isinstance(arguments, Mapping):
            return str(arguments.get("staging") or "")
    return ""


def mismatch_words(
    standing: Standing,
    captured: ServerIdentity | None,
    environment: str,
    *,
    is_drill: bool,
) -> str:
    """Return why the server is not the one a point came from, in two lines; empty where it is."""
    server, words = standing.server, []
    if captured is not None:
        other_system = (
            captured.system_identifier is not None
            and server.system_identifier is not None
            and captured.system_identifier != server.system_identifier
        )
        other_name = not is_drill and captured.database != standing.live_name
        if other_system or other_name:
            words = [
                f"point   {captured.database} on {captured.host}"
                f"  system {captured.system_identifier or '-'}",
                f"target  {standing.live_name} on {server.host}"
                f"  system {server.system_identifier or '-'}",
            ]
    if server.standby:
        words.append(f"{server.host} is a standby: it can't be written to.")
    if standing.environment and standing.environment != environment:
        words.append(
            f"The configuration says {environment}, {standing.environment_from} says"
            f" {standing.environment}."
        )
    return "\n".join(words)


def standing_facts(standing: Standing, mismatch: str) -> dict[str, object]:
    """Return what an incident remembers of a look."""
    return {
        "standing": plain(standing),
        "server": plain(standing.server),
        "live_name": standing.live_name,
        "mismatch": mismatch,
    }
