"""A drill's two steps more: making the database that is practised on, and dropping it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.operations.recovery_requests import DropLeftoverRequest, RehearsalRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.runbook import Runbook, Step

MAKE, DROP = "rehearsal", "drop-rehearsal"


def with_rehearsal(runbook: Runbook) -> Runbook:
    """Return the runbook as it is practised."""
    phases: dict[str, tuple[Step, ...]] = dict(runbook.phases.named())
    make = Step(
        id=MAKE,
        kind="act",
        do=MAKE,
        title="Make the database to practise on",
        why="The drill plays on a damaged copy of a point; the live database has no part in it.",
        changes="a new database beside the live one",
        undo="is dropped at the end",
    )
    drop = Step(
        id=DROP,
        kind="act",
        do=DROP,
        title="Drop what was practised on",
        why="Nothing of a drill is needed any more; it only takes room.",
        changes="drops the drill's database",
    )
    stop, resume = (make, *phases["stop"]), (*phases["resume"], drop)
    # A drill's own two steps do not count among the seven of a phase.
    practised = runbook.phases.model_copy(update={"stop": stop, "resume": resume})
    return runbook.model_copy(update={"phases": practised})


def _make(situation: Situation, _: Answer) -> Request:
    return RehearsalRequest(
        part=situation.part, point="", scenario=situation.incident.runbook or "data-loss"
    )


def _made(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "database": str(result.get("database") or ""),
        "database_oid": int(result.get("oid") or 0),
        "rehearsed": str(result.get("damage") or ""),
    }


def _drop(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    standing = facts.standing
    live = standing.live if standing is not None else None
    return DropLeftoverRequest(
        part=situation.part, name=facts.database, oid=live.oid if live is not None else 0
    )


def _not_made(_s: Situation, _: Standing) -> Facts | None:
    return None


REHEARSAL_ACTIONS = (
    Action(
        MAKE,
        "act",
        request=_make,
        runs=lambda _: ("CREATE DATABASE …__drill_…; pg_restore the newest good point",),
        learn=_made,
        settling="look",
        settled=_not_made,
    ),
    Action(
        DROP,
        "act",
        request=_drop,
        runs=lambda s: (f'DROP DATABASE "{s.facts.database}"',),
        changes=True,
    ),
)
