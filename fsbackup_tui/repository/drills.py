"""The drills that were held, found by the names of their records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import Record, manifest_digest, read_record

KIND = "drill"
_MARK = f"-{KIND}-"


def newest_drills(repository: Repository, *, limit: int) -> list[Record]:
    """Return the drills whose records count, the newest first; a damaged record is left out."""
    paths = sorted(_paths(repository.records), key=lambda path: path.name, reverse=True)
    found: list[Record] = []
    for path in paths:
        if len(found) == limit:
            break
        record = read_record(path, manifest_digest(repository, path.parent.name))
        if record.counts and record.kind == KIND:
            found.append(record)
    return found


def _paths(records: Path) -> Iterator[Path]:
    for directory in _entries(records):
        for entry in _entries(Path(directory.path)):
            if _MARK in entry.name and entry.name.endswith(".json"):
                yield Path(entry.path)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
