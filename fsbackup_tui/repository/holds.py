"""Holds: no retention deletes from a repository while an incident is open, on whatever host."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.repository.files import create_whole, make_directory, writing
from fsbackup_tui.repository.incidents import Author, IncidentJournal, list_incidents
from fsbackup_tui.repository.layout import Repository

HOLD_FORMAT = 1


def hold_repository(repository: Repository, journal: IncidentJournal, author: Author) -> Path:
    """Keep every user's and host's retention from deleting while the incident is open."""
    path = repository.holds / f"{journal.id}.json"
    document = {
        "format": HOLD_FORMAT,
        "incident": journal.id,
        "operator": author.operator,
        "host": author.host,
        "since": format_time(author.now()),
    }
    with writing(path):
        make_directory(repository.holds)
        with suppress(FileExistsError):
            create_whole(path, (json.dumps(document, indent=1) + "\n").encode())
    return path


def release_repository(repository: Repository, journal: IncidentJournal) -> None:
    """Take the incident's hold away again; one that is gone is no error."""
    path = repository.holds / f"{journal.id}.json"
    with writing(path):
        path.unlink(missing_ok=True)


def release_closed(repository: Repository, state: Path) -> tuple[str, ...]:
    """Take away the holds of incidents that ``state`` knows to be closed; returns which.

    Whoever closed one could not write the repository; every later backup would count as taken
    in an incident. Another host's incident of the same day may have the same id: a hold is an
    incident's only where the host that wrote it had a part in that.
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
