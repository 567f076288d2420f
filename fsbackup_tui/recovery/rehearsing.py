"""A drill's two steps more: making what is practised on, and dropping it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.place import PathIdentity
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.operations.place_requests import RehearseTreeRequest
from fsbackup_tui.operations.recovery_requests import DropLeftoverRequest, RehearsalRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import DropTreeRequest
from fsbackup_tui.operations.stand_in import STAND_IN
from fsbackup_tui.recovery.actions import host_lost
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.place import taken_for_first
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.runbook import Runbook, Step

MAKE, DROP = "rehearsal", "drop-rehearsal"
MAKE_TREE, DROP_TREE = "rehearse-tree", "drop-rehearsed-tree"


def with_rehearsal(runbook: Runbook) -> Runbook:
    """Return the runbook as it is practised."""
    if runbook.id == host_lost.RUNBOOK:
        return _of_a_lost_host(runbook)
    phases: dict[str, tuple[Step, ...]] = dict(runbook.phases.named())
    of_tree = "postgres" not in runbook.about
    what = "tree" if of_tree else "database"
    make = Step(
        id=MAKE,
        kind="act",
        do=MAKE_TREE if of_tree else MAKE,
        title=f"Make the {what} to practise on",
        why=f"The drill plays on a damaged copy of a point; the live {what} has no part in it.",
        changes=f"a new {'directory' if of_tree else 'database'} beside the live one",
        undo="is dropped at the end",
    )
    drop = Step(
        id=DROP,
        kind="act",
        do=DROP_TREE if of_tree else DROP,
        title="Drop what was practised on",
        why="Nothing of a drill is needed any more; it only takes room.",
        changes=f"drops the drill's {'directory, with all in it' if of_tree else 'database'}",
    )
    stop, resume = (make, *phases["stop"]), (*phases["resume"], drop)
    # A drill's own two steps do not count among the seven of a phase.
    practised = runbook.phases.model_copy(update={"stop": stop, "resume": resume})
    return runbook.model_copy(update={"phases": practised})


def _of_a_lost_host(runbook: Runbook) -> Runbook:
    """Return it with a place of its own: there is nothing to damage, all of it is made anew."""
    phases: dict[str, tuple[Step, ...]] = dict(runbook.phases.named())
    make = Step(
        id=host_lost.STAGE,
        kind="act",
        do=host_lost.STAGE,
        title="Make a place to practise in",
        why="The drill restores into a database and a directory of its own; live has no part.",
        changes="a new directory in the state directory",
        undo="is dropped at the end",
    )
    drop = Step(
        id=host_lost.UNSTAGE,
        kind="act",
        do=host_lost.UNSTAGE,
        title="Drop what was practised on",
        why="Nothing of a drill is needed any more; it only takes room.",
        changes="drops the drill's database and directory, with all in it",
    )
    stop, resume = (make, *phases["stop"]), (*phases["resume"], drop)
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


def _make_tree(situation: Situation, _: Answer) -> Request:
    return RehearseTreeRequest(situation.part)


def _made_tree(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    """Learn which tree stands in; what was looked at before was live's."""
    return {
        STAND_IN: str(result.get("tree") or ""),
        "live_name": str(result.get("tree") or ""),
        "place": None,
        "mismatch": "",
        "rehearsed": str(result.get("damage") or ""),
        "rehearsed_tree": {name: result.get(name) for name in ("name", "inode")},
        **taken_for_first(PathIdentity("")),
    }


def _drop_tree(situation: Situation, _: Answer) -> Request:
    made = situation.facts.document("rehearsed_tree")
    return DropTreeRequest(
        situation.part, name=str(made.get("name") or ""), inode=int(made.get("inode") or 0)
    )


def _made_lines(situation: Situation) -> tuple[str, ...]:
    told = situation.incident.parameters.get("rehearsed")
    if not told:
        return ()
    path = situation.incident.parameters.get(STAND_IN)
    return (f"{plain_text(str(path))}: {plain_text(str(told))}",)


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
    Action(
        MAKE_TREE,
        "act",
        request=_make_tree,
        runs=lambda _: ("mkdir ROOT.restore-…-drill; the newest good point is restored in it",),
        shows=_made_lines,
        learn=_made_tree,
    ),
    Action(
        DROP_TREE,
        "act",
        request=_drop_tree,
        runs=lambda s: (f"rm -r {s.facts.document('rehearsed_tree').get('name') or '…-drill'}",),
    ),
)
