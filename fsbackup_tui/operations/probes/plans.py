"""What a plan is to ``check``: its schedule, since when it is, and which of its points count."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

from fsbackup_tui.config.model import Plan
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.expected import is_good
from fsbackup_tui.domain.point import DATA_KINDS, PointSummary
from fsbackup_tui.domain.schedule import Schedule
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.repository.files import replace_file, state_file_mode

_NAME = "plans-seen.json"


def schedule_of(plan: Plan) -> Schedule | None:
    """Return when a plan is due; None where it is run by hand."""
    return plan.at


def drill_schedules(ground: Ground) -> dict[str, Schedule]:
    """Return when the drills of the configuration are due, by their names."""
    return {name: drill.at for name, drill in ground.loaded.config.drills.items()}


def wanted_of(ground: Ground, plan: str) -> Trust:
    """Return how far a plan wants its points shown good; sealed where there is no such plan."""
    found = ground.loaded.config.plans.get(plan)
    return Trust.SEALED if found is None else Trust.from_word(found.verify)


def good(ground: Ground, point: PointSummary) -> bool:
    """Whether a point is one to rely on, by what its plan wants."""
    return is_good(point, wanted_of(ground, point.plan))


def holds_data(ground: Ground, plan: Plan) -> bool:
    """Whether a plan captures what cannot be made again."""
    return any(name in data_sources(ground) for name in plan.sources)


def data_sources(ground: Ground) -> tuple[str, ...]:
    """Return the sources whose loss is a loss of data, and that some plan captures."""
    config = ground.loaded.config
    planned = {name for plan in config.plans.values() for name in plan.sources}
    return tuple(
        name
        for name, source in config.sources.items()
        if name in planned
        and source.kind in DATA_KINDS
        and getattr(source, "scope", "full") != "schema"
    )


def plan_since(ground: Ground, name: str, schedule: Schedule) -> datetime:
    """Return since when a plan is due as it is: runs before that are none that were missed.

    That is its first point, or when a look first saw another schedule than before.
    """
    known = _read(ground)
    entry = known.get(name)
    text = str(schedule)
    if entry is not None and entry[0] == text:
        return entry[1]
    since = ground.now
    if entry is None:
        first = ground.catalogue.points(name, descending=False, limit=1, own=True)
        since = min([ground.now, *(point.created for point in first)])
    _write(ground, {**known, name: (text, since)})
    return since


def _read(ground: Ground) -> dict[str, tuple[str, datetime]]:
    try:
        document = json.loads((ground.state / _NAME).read_bytes())
        return {
            str(name): (str(entry["at"]), parse_time(str(entry["since"])))
            for name, entry in document["plans"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(ground: Ground, known: dict[str, tuple[str, datetime]]) -> None:
    if ground.loaded.config.read_only:
        return
    plans = {name: {"at": at, "since": format_time(since)} for name, (at, since) in known.items()}
    path = ground.state / _NAME
    with suppress(OSError):
        content = json.dumps({"format": 1, "plans": plans}, indent=1).encode()
        replace_file(path, content, mode=state_file_mode(path))
