"""Holds that outlived their incident: whoever closed it could not write the repository."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.repository.incidents import list_incidents, release_repository
from fsbackup_tui.repository.layout import Repository


def release_closed(repository: Repository, state: Path) -> tuple[str, ...]:
    """Take away the holds of incidents that ``state`` knows to be closed; returns which.

    Another host's incident of the same day may have the same id: a hold is an incident's only
    where the host that wrote it had a part in that.
    """
    holds = {hold.stem: hold for hold in repository.holds_open()}
    if not holds:
        return ()
    found: list[str] = []
    with suppress(FsbackupError, OSError):
        for journal in list_incidents(state):
            hold = holds.get(journal.id)
            incident = journal.read()
            if hold is None or incident is None or incident.closed is None:
                continue
            if _host(hold) in {entry.host for entry in journal.entries()}:
                release_repository(repository, journal)
                found.append(journal.id)
    return tuple(found)


def _host(hold: Path) -> str | None:
    try:
        return str(json.loads(hold.read_bytes())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
