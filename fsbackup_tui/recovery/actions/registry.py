"""Every action and every condition that a runbook may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fsbackup_tui.recovery.actions import (
    assessing,
    bleeding,
    config_code,
    files_back,
    files_tree,
    files_way,
    host_lost,
    merging,
    places,
    preserving,
    recovering,
    resuming,
    schemas,
)
from fsbackup_tui.recovery.actions.action import Action, Situation
from fsbackup_tui.recovery.actions.commands import SITE_STEP
from fsbackup_tui.recovery.rehearsing import REHEARSAL_ACTIONS
from fsbackup_tui.recovery.runbook import Names

ACTIONS: Mapping[str, Action] = {
    action.name: action
    for family in (
        *(bleeding, preserving, assessing, recovering, schemas, merging, resuming),
        *(places, files_way, files_back, files_tree, config_code, host_lost),
    )
    for action in family.ACTIONS
} | {action.name: action for action in (SITE_STEP, *REHEARSAL_ACTIONS)}


def _needs_restore(situation: Situation) -> bool | None:
    if situation.facts.way == "salvage" or situation.facts.copy_is_kept:
        return False
    if not situation.facts.point:
        return None
    return not situation.incident.parameters.get("copy_is_spare")


def _way_is(way: str) -> Callable[[Situation], bool | None]:
    def holds(situation: Situation) -> bool | None:
        return None if situation.facts.way is None else situation.facts.way == way

    return holds


def _frozen(situation: Situation) -> bool | None:
    if situation.incident.freezes or situation.incident.step("thaw", situation.now).settled:
        return True
    step = situation.incident.steps.get("thaw")
    return step is not None and step.status == "unknown"


def _salvaged(situation: Situation) -> bool | None:
    if situation.facts.way == "salvage":
        return False  # what was saved is what is swapped in
    if situation.facts.salvaged is not None:
        return True
    settled = situation.incident.step("salvage", situation.now).settled
    return False if settled else None


def _has(command: str) -> Callable[[Situation], bool | None]:
    def holds(situation: Situation) -> bool | None:
        return getattr(situation.loaded.config.commands, command) is not None

    return holds


def _has_affected_users(situation: Situation) -> bool | None:
    return situation.loaded.config.recovery.affected_users is not None


PREDICATES: Mapping[str, Callable[[Situation], bool | None]] = {
    "needs-restore": _needs_restore,
    "needs-values": merging.needs_values,
    "way-swap": _way_is("swap"),
    "way-schema-swap": _way_is("schema swap"),
    "way-merge": _way_is("merge"),
    "way-salvage": _way_is("salvage"),
    "way-puts-back": files_way.way_is("missing", "everything", "patterns"),
    "way-patterns": files_way.way_is("patterns"),
    "way-exchange": files_way.way_is("exchange"),
    "is-config": config_code.kind_is("config"),
    "is-code": config_code.kind_is("code"),
    "is-frozen": _frozen,
    "is-salvaged": _salvaged,
    "has-regenerate-client": _has("regenerate_client"),
    "has-migration-status": _has("migration_status"),
    "has-affected-users": _has_affected_users,
    "has-pause-jobs": _has("pause_jobs"),
    "has-smoke-test": _has("smoke_test"),
}

NAMES = Names({name: action.kind for name, action in ACTIONS.items()}, PREDICATES.keys())


def conditions(situation: Situation) -> dict[str, bool | None]:
    """Return for each condition whether it holds now; None: not known yet."""
    return {name: holds(situation) for name, holds in PREDICATES.items()}
