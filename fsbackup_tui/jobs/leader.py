"""Who may ask for a job that belongs to an incident: its leader, of the present epoch alone."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.domain.errors import StaleLeader
from fsbackup_tui.jobs.layout import JobRequest, read_json

INCIDENTS = "incidents"
LEADER = "leader.json"


def check_leader(request: JobRequest, state: Path) -> None:
    """Refuse a request whose incident is led by somebody else by now (StaleLeader).

    A request that names no incident passes, and so does a job that the new leader took along.
    The worker asks at its start and before each stage: a take-over may come at any moment.
    """
    if request.incident is None:
        return
    if Path(request.incident).name != request.incident:
        raise StaleLeader(f"NOT DONE: {request.incident!r} is no incident's id.")
    leader = read_json(state / INCIDENTS / request.incident / LEADER)
    if leader is None:
        raise StaleLeader(
            f"NOT DONE: nobody leads incident {request.incident}.",
            why=f"Its {LEADER} is missing or can't be read.",
            fix=f"fsbackup recover --resume {request.incident}",
        )
    adopts = leader.get("adopts")
    if isinstance(adopts, list) and request.job in adopts:
        return
    if request.epoch is None or leader.get("epoch") != request.epoch:
        raise StaleLeader(
            f"NOT DONE: incident {request.incident} has another leader now.",
            why=f"{leader.get('operator', 'somebody')} leads it in epoch {leader.get('epoch')}; "
            f"this was asked in epoch {'-' if request.epoch is None else request.epoch}.",
            fix="Nothing was changed. Ask the leader, or take over in: fsbackup recover "
            f"--resume {request.incident}",
        )
