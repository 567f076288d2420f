"""Starting the jobs again: what a copy may not have is armed, then the site's own command runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.operations.recovery_requests import RearmRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Facts, Situation
from fsbackup_tui.recovery.actions.commands import command_of, site_command
from fsbackup_tui.recovery.actions.words import bounded
from fsbackup_tui.recovery.question import Answer

CRON = "EXTENSION pg_cron"
_SUBSCRIPTION = "SUBSCRIPTION "
_BASE = site_command(
    "resume-jobs", "resume_jobs", by_hand="Start cron and workers again that were stopped."
)


def _subscriptions(situation: Situation) -> tuple[str, ...]:
    """Return the subscriptions that the restored database has not: the point's, and live's."""
    swapped, check = situation.facts.document("swapped"), situation.facts.copy_check
    if not swapped or swapped.get("schemas"):
        return ()
    deferred = check.deferred if check is not None else ()
    names = [
        label.removeprefix(_SUBSCRIPTION) for label in deferred if label.startswith(_SUBSCRIPTION)
    ]
    stayed = swapped.get("subscriptions")
    names += map(str, stayed if isinstance(stayed, list) else ())
    return tuple(dict.fromkeys(names))


def _has_cron(situation: Situation) -> bool:
    swapped, check = situation.facts.document("swapped"), situation.facts.copy_check
    return bool(swapped) and check is not None and CRON in check.deferred


def _arms(situation: Situation) -> bool:
    """Whether anything is to be armed; nothing is in a drill, whose copy nobody uses."""
    if situation.facts.database:
        return False
    return bool(_subscriptions(situation)) or _has_cron(situation)


def _rearm(situation: Situation, *, back: bool = False) -> RearmRequest:
    facts = situation.facts
    swapped = facts.document("swapped")
    return RearmRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        point=facts.point,
        live_oid=int(swapped.get("database_oid") or 0),
        kept_as=str(swapped.get("kept_as") or ""),
        kept_oid=int(swapped.get("kept_oid") or 0),
        subscriptions=_subscriptions(situation),
        cron=_has_cron(situation),
        back=back,
        then_resume_jobs=not back and bool(command_of(situation, "resume_jobs")),
        reason_unsigned=facts.reason_unsigned,
    )


def _request(situation: Situation, answer: Answer) -> Request | None:
    if _arms(situation):
        return _rearm(situation)
    return None if _BASE.request is None else _BASE.request(situation, answer)


def _by_hand(situation: Situation) -> str:
    return "" if _arms(situation) else _BASE.by_hand(situation)


def _runs(situation: Situation) -> tuple[str, ...]:
    if not _arms(situation):
        return _BASE.runs(situation)
    swapped = situation.facts.document("swapped")
    live = plain_text(situation.facts.live_name)
    kept = plain_text(str(swapped.get("kept_as") or "the former database"))
    lines = []
    for name in map(plain_text, _subscriptions(situation)):
        lines += [
            f"{live}: CREATE SUBSCRIPTION {name} … (create_slot = false, copy_data = false)",
            f"{kept}: ALTER SUBSCRIPTION {name} DISABLE; SET (slot_name = NONE)",
            f"{live}: ALTER SUBSCRIPTION {name} ENABLE",
        ]
    if _has_cron(situation):
        lines.append(f"{live}: CREATE EXTENSION pg_cron; its jobs out of the point")
    if command_of(situation, "resume_jobs"):
        return (*lines, *_BASE.runs(situation))
    return (*lines, f"by hand: {_BASE.by_hand(situation)}")


def _shows(situation: Situation) -> tuple[str, ...]:
    if situation.facts.document("rearmed"):
        return bounded(armed_lines(situation.facts.document("rearmed")))
    if not _subscriptions(situation) or not _arms(situation):
        return ()
    kept = plain_text(str(situation.facts.document("swapped").get("kept_as") or "the former one"))
    return (
        f"What a subscription brought since the point is in {kept} alone: it is not brought again.",
        "Undo this step before you roll back: after a rollback the slot would be missing there.",
    )


def armed_lines(rearmed: Mapping[str, Any]) -> list[str]:
    """Return what was armed, and what is left to a person with its commands."""
    lines = []
    for each in _listed(rearmed, "armed"):
        lines.append(f"armed: {_word(each, 'what')}; {_word(each, 'detail')}")
    for each in _listed(rearmed, "by_hand"):
        lines.append(f"NOT ARMED: {_word(each, 'what')}: {_word(each, 'why')}")
        commands = each.get("lines")
        lines += [plain_text(str(line)) for line in commands] if isinstance(commands, list) else []
    return lines


def _listed(rearmed: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = rearmed.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _word(each: Mapping[str, Any], name: str) -> str:
    return plain_text(str(each.get(name) or "-"))


def _learn(situation: Situation, answer: Answer, result: Mapping[str, Any]) -> Facts:
    facts = dict(_BASE.learn(situation, answer, result))
    if "armed" in result:
        facts["rearmed"] = {name: result.get(name) for name in ("armed", "by_hand")}
    return facts


def _undo(situation: Situation) -> Request | None:
    armed = _listed(situation.facts.document("rearmed"), "armed")
    return _rearm(situation, back=True) if armed else None


def _undone(_s: Situation, _result: Mapping[str, Any]) -> Facts:
    return {"rearmed": None}


RESUME_JOBS = replace(
    _BASE,
    request=_request,
    by_hand=_by_hand,
    runs=_runs,
    shows=_shows,
    learn=_learn,
    undo=_undo,
    undo_learn=_undone,
)
