"""What retention remembers from one run to the next: a file of the state directory, deletable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.files import replace_file, state_file_mode

NAME = "retention.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class RetainState:
    """When the clock was last found right, and what the last run came to.

    ``accepted`` is a time in the future that something had written, and that a person told to be
    a mistake of the past. ``ran`` is when retention last ran, ``refusals`` why it removed nothing
    then (as ``retain --json`` has them), by plan; the plan is empty for a run of all.
    """

    clock_right: datetime | None = None
    accepted: datetime | None = None
    ran: datetime | None = None
    refusals: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


def read_retain_state(state: Path) -> RetainState:
    """Return what is remembered; nothing where it can't be read."""
    try:
        document = json.loads((state / NAME).read_bytes())
        refusals = document.get("refusals")
        return RetainState(
            _time(document.get("clock_right")),
            _time(document.get("accepted")),
            _time(document.get("ran")),
            refusals if isinstance(refusals, dict) else {},
        )
    except (OSError, ValueError, AttributeError):
        return RetainState()


def write_retain_state(state: Path, known: RetainState) -> None:
    """Remember it; where it can't be written nothing is lost but the memory."""
    document = {
        "format": _FORMAT,
        "clock_right": _text(known.clock_right),
        "accepted": _text(known.accepted),
        "ran": _text(known.ran),
        "refusals": dict(known.refusals),
    }
    path = state / NAME
    with suppress(OSError):
        content = (json.dumps(document, indent=1) + "\n").encode()
        replace_file(path, content, mode=state_file_mode(path))


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    moment = parse_time(text)
    return moment if moment.tzinfo is not None else None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
