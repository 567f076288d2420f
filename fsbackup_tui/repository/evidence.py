"""Where what was kept of a damage lies on disk: one directory for each job that kept some.

``STATE/incidents/ID/evidence/JOB``, or ``DIRECTORY/OF/JOB`` where the site's config names another
place; ``evidence.json`` tells what it is of, so that it is found again and known for ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.files import (
    create_file,
    is_inside,
    make_directory,
    remove_tree,
    sync_directory,
    writing,
)
from fsbackup_tui.repository.incidents import INCIDENTS

EVIDENCE = "evidence"
_MARK = "evidence.json"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One directory with evidence: ``of`` an incident (or a job), of a database, since when.

    ``root`` and ``relative`` together are its path; ``name`` is what people type for it.
    """

    root: Path
    relative: str
    of: str
    job: str
    database: str
    since: datetime | None
    bytes: int

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self.root / self.relative

    @property
    def name(self) -> str:
        """The name by which it is dropped."""
        return f"{self.of}/{EVIDENCE}/{self.directory.name}"


def new_evidence(
    state: Path,
    incident: Path | None,
    configured: Path | None,
    *,
    job: str,
    database: str,
    now: datetime,
) -> Path:
    """Make a job's own directory for evidence, marked, and return it.

    Raises:
        RepositoryUnwritable, DiskFull: it can't be made there.
    """
    if configured is not None:
        parent = configured / (incident.name if incident is not None else job)
    else:
        parent = (incident if incident is not None else state / INCIDENTS / job) / EVIDENCE
    of = incident.name if incident is not None else job
    with writing(parent):
        for directory in reversed([parent, *parent.parents]):
            if not directory.exists():
                make_directory(directory)
        place = make_directory(parent / job)
        document = {
            "format": 1,
            "of": of,
            "job": job,
            "database": database,
            "since": format_time(now),
        }
        with suppress(FileExistsError):
            create_file(place / _MARK, (json.dumps(document, indent=1) + "\n").encode())
        sync_directory(place)
    return place


def find_evidence(state: Path, configured: Path | None) -> list[Evidence]:
    """Return all directories with evidence; what bears no mark is none of ours."""
    places = list(_of_incidents(state / INCIDENTS))
    if configured is not None:
        places += [
            (configured, f"{of.name}/{job.name}")
            for of in _directories(configured)
            for job in _directories(of)
        ]
    found = (_read(root, relative) for root, relative in places if is_inside(root, relative))
    return [evidence for evidence in found if evidence is not None]


def _of_incidents(root: Path) -> Iterable[tuple[Path, str]]:
    for incident in _directories(root):
        for job in _directories(incident / EVIDENCE):
            yield root, f"{incident.name}/{EVIDENCE}/{job.name}"


def _directories(place: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink())
    return []


def _read(root: Path, relative: str) -> Evidence | None:
    place = root / relative
    try:
        document = json.loads((place / _MARK).read_bytes())
        since: datetime | None = None
        with suppress(ValueError, TypeError):
            since = parse_time(document["since"])
        return Evidence(
            root=root,
            relative=relative,
            of=str(document["of"]),
            job=str(document["job"]),
            database=str(document["database"]),
            since=since,
            bytes=_bytes(place),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bytes(place: Path) -> int:
    total = 0
    for directory, _names, files in os.walk(place):
        for name in files:
            with suppress(OSError):
                total += Path(directory, name).lstat().st_blocks * 512
    return total


def remove_evidence(evidence: Evidence) -> None:
    """Remove a directory with evidence; only below its root, and only if it still bears its mark.

    Raises:
        SafetyRefusal: it is not there any more, or a link leads elsewhere.
    """
    inside = is_inside(evidence.root, evidence.relative)
    again = _read(evidence.root, evidence.relative) if inside else None
    if again is None or (again.of, again.job) != (evidence.of, evidence.job):
        raise SafetyRefusal(
            f"NOT REMOVED: {evidence.directory} is not what it was.",
            why="It was moved, or replaced by a link, since it was looked at.",
            fix="Look again: fsbackup leftovers",
        )
    with writing(evidence.directory):
        remove_tree(evidence.directory)
        with suppress(OSError):
            evidence.directory.parent.rmdir()
