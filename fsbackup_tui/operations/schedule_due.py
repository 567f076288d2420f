"""What is due now and has not been begun: so that a run that was missed is caught up, once.

``schedule.json`` in the site's state directory holds, for each entry, the times it was asked for
with, since when, and which run of them was begun last. Only cron's lines need it to decide
(systemd keeps its own stamps); ``since`` also tells ``schedule show`` from when on a run that did
not come counts as overdue.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.schedule import previous_run
from fsbackup_tui.domain.scheduled import Scheduled
from fsbackup_tui.repository.files import open_kept, replace_file, state_file_mode, writing

_NAME = "schedule.json"
_LOCK = "schedule.lock"
_AHEAD = timedelta(minutes=5)
"""A begin that lies further in the future was written before the clock was set back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Since when an entry is asked for with its present times, and the run begun last."""

    since: datetime
    begun: datetime | None = None


def register(state: Path, entries: Iterable[Scheduled], zone_name: str, now: datetime) -> None:
    """Write down that entries run by themselves from now on; those already known stay as known."""
    with _held(state):
        before = _read(state)
        _write(
            state,
            {entry.id: _kept(before.get(entry.id), entry, zone_name, now) for entry in entries},
        )


def forget(state: Path) -> None:
    """Write down that nothing runs by itself any more."""
    with _held(state):
        if _read(state):
            _write(state, {})


def asked_since(state: Path) -> dict[str, Asked]:
    """Return what is known of each entry, by its id; empty where nothing was installed."""
    known = {}
    for identifier, facts in _read(state).items():
        since, begun = _moment(facts.get("since")), _moment(facts.get("begun"))
        if since is not None:
            known[identifier] = Asked(since, begun)
    return known


def claim(
    state: Path, entry: Scheduled, *, zone: tzinfo, zone_name: str, now: datetime
) -> datetime | None:
    """Return the run of an entry that is due and was not begun, and write down that it is begun.

    None where there is none; two callers never get the same one. What is asked for anew, or with
    other times, begins with its next run.
    """
    with _held(state):
        known = _read(state)
        facts = _kept(known.get(entry.id), entry, zone_name, now)
        since, begun = _moment(facts["since"]) or now, _moment(facts.get("begun"))
        if max(since, begun or since) > now + _AHEAD:
            since, begun = now, None
        due = previous_run(entry.schedule, now, zone)
        is_due = due > max(since, begun or since)
        new = {
            "at": facts["at"],
            "since": format_time(since),
            "begun": _text(due if is_due else begun),
        }
        if new != known.get(entry.id):
            _write(state, {**known, entry.id: new})
        return due if is_due else None


def _kept(
    before: Mapping[str, Any] | None, entry: Scheduled, zone_name: str, now: datetime
) -> dict[str, Any]:
    at = f"{entry.schedule} {zone_name}".rstrip()
    if before is not None and before.get("at") == at and _moment(before.get("since")):
        return dict(before)
    return {"at": at, "since": format_time(now), "begun": None}


@contextmanager
def _held(state: Path) -> Iterator[None]:
    with writing(state):
        descriptor = open_kept(state / _LOCK, mode=state_file_mode(state / _LOCK))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(state: Path) -> dict[str, dict[str, Any]]:
    """Return the file's entries; a damaged file is one that knows nothing yet."""
    try:
        document = json.loads((state / _NAME).read_bytes())
        entries = document["entries"]
        return {
            str(name): dict(facts) for name, facts in entries.items() if isinstance(facts, dict)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(state: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    path = state / _NAME
    document = {"format": 1, "entries": entries}
    with writing(state):
        replace_file(path, json.dumps(document, indent=1).encode(), mode=state_file_mode(path))


def _moment(value: object) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
