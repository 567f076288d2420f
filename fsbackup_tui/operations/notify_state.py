"""What was told to whom, and what could not be delivered: ``notified.json`` of a site's state.

It holds ids of findings and numbers of targets, never an address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.files import replace_file, state_file_mode

_NAME = "notified.json"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A target that could not be reached: ``to[0]`` or ``ping.daily``, since when, and why."""

    target: str
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class NotifyState:
    """``told`` has for each target the findings it knows of, with the severity told."""

    looked: datetime | None = None
    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    undelivered: Mapping[str, Undelivered] = field(default_factory=dict)


def undelivered(state: Path) -> tuple[Undelivered, ...]:
    """Return the targets that could not be reached when last tried."""
    return tuple(read_notify_state(state).undelivered.values())


def read_notify_state(state: Path) -> NotifyState:
    """Return what is known; a file that is missing or damaged knows nothing."""
    try:
        document: dict[str, Any] = json.loads((state / _NAME).read_bytes())
        looked = document["looked"]
        return NotifyState(
            parse_time(looked) if looked else None,
            {
                str(target): {str(name): str(word) for name, word in told.items()}
                for target, told in document["told"].items()
            },
            {
                str(target): Undelivered(
                    str(target), parse_time(str(facts["since"])), str(facts["why"])
                )
                for target, facts in document["undelivered"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NotifyState()


def write_notify_state(state: Path, known: NotifyState) -> None:
    """Keep what is known; where that can't be written, the next look tells again."""
    document = {
        "format": 1,
        "looked": None if known.looked is None else format_time(known.looked),
        "told": {target: dict(told) for target, told in known.told.items()},
        "undelivered": {
            one.target: {"since": format_time(one.since), "why": one.why}
            for one in known.undelivered.values()
        },
    }
    path = state / _NAME
    with suppress(OSError):
        content = json.dumps(document, indent=1).encode()
        replace_file(path, content, mode=state_file_mode(path))


def with_outcome(known: NotifyState, target: str, why: str, now: datetime) -> NotifyState:
    """Return the state after a try to reach a target; ``why`` is empty where it was reached."""
    others = {name: one for name, one in known.undelivered.items() if name != target}
    if why:
        before = known.undelivered.get(target)
        others[target] = Undelivered(target, before.since if before else now, why)
    return replace(known, undelivered=others)
