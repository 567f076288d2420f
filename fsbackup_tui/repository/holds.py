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
    """Keep every user's and host's retention from deleting while the incident is open.

    Another host's incident of the same day may have the same id; both hold then.
    """
    document = {
        "format": HOLD_FORMAT,
        "incident": journal.id,
        "operator": author.operator,
        "host": author.host,
        "since": format_time(author.now()),
    }
    content = (json.dumps(document, indent=1) + "\n").encode()
    plain = repository.holds / f"{journal.id}.json"
    path = plain if _host(plain) in (None, author.host) else _of_host(plain, author.host)
    with writing(path):
        make_directory(repository.holds)
        with suppress(FileExistsError):
            create_whole(path, content)
    return path


def release_repository(repository: Repository, journal: IncidentJournal) -> None:
    """Take the incident's hold away again; one that is gone is no error."""
    for path in holds_of(repository, journal):
        with writing(path):
            path.unlink(missing_ok=True)


def holds_of(repository: Repository, journal: IncidentJournal) -> list[Path]:
    """Return the holds of an incident: those that a host wrote which had a part in it."""
    hosts = {entry.host for entry in journal.entries()}
    return [
        hold
        for hold in repository.holds_open()
        if incident_of(hold) == journal.id and (not hosts or _host(hold) in hosts)
    ]


def incident_of(hold: Path) -> str:
    """Return the id of the incident that a hold is of."""
    return str(_read(hold).get("incident") or hold.stem)


def release_closed(repository: Repository, state: Path) -> tuple[str, ...]:
    """Take away the holds of incidents that ``state`` knows to be closed; returns which.

    Whoever closed one could not write the repository; every later backup would count as taken
    in an incident.
    """
    if not repository.holds_open():
        return ()
    found: list[str] = []
    with suppress(FsbackupError, OSError):
        for journal in list_incidents(state):
            incident = journal.read()
            over = incident is not None and incident.closed is not None
            if over and journal.entries() and holds_of(repository, journal):
                release_repository(repository, journal)
                found.append(journal.id)
    return tuple(found)


def _of_host(plain: Path, host: str) -> Path:
    name = "".join(each if each.isalnum() or each in "-_" else "_" for each in host)
    return plain.with_name(f"{plain.stem}@{name}.json")


def _host(hold: Path) -> str | None:
    host = _read(hold).get("host")
    return None if host is None else str(host)


def _read(hold: Path) -> dict[str, object]:
    try:
        document = json.loads(hold.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
