"""Phase 4 in part: what differs by key, what of it is put back, and taking that back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fsbackup_tui.domain.errors import StagingLost, UsageError
from fsbackup_tui.domain.merge import (
    MergePlan,
    MergePreview,
    Proposed,
    TableChoice,
)
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.operations.merge_documents import (
    digest_of,
    merged_by,
    read_plan,
    read_preview,
    read_proposed,
)
from fsbackup_tui.operations.merge_requests import (
    MergePlanRequest,
    MergePreviewRequest,
    MergeRequest,
    MergeUndoRequest,
)
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import parse_request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.offers import Offer, choices_from, offers_of, table_text
from fsbackup_tui.recovery.actions.words import bounded
from fsbackup_tui.recovery.question import Answer, Question

_CHOICES: TypeAdapter[tuple[TableChoice, ...]] = TypeAdapter(tuple[TableChoice, ...])


def _base(situation: Situation) -> dict[str, Any]:
    facts = situation.facts
    live = facts.standing.live if facts.standing is not None else None
    return {
        "part": situation.part,
        "database": facts.database,
        "target": facts.server,
        "live_oid": live.oid if live is not None else 0,
    }


def _diff(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    salvaged = facts.salvaged
    after_swap = salvaged is not None and bool(facts.document("swapped"))
    copy, oid = facts.copy, facts.copy_oid
    if after_swap and salvaged is not None:
        copy, oid = salvaged.database, salvaged.database_oid
    where = facts.incident.parameters.get("where")
    return MergePlanRequest(
        **_base(situation),
        copy=copy,
        copy_oid=oid,
        named=facts.tables,
        where=where if isinstance(where, str) else "",
    )


def _learn_diff(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "staging": str(result.get("staging") or ""),
        "plan": result.get("plan"),
        "proposed": result.get("proposed"),
        "preview": result.get("preview"),
        "diff_problem": str(result.get("problem") or ""),
        "resolve": result.get("resolve") or [],
        "choices": None,
        "values": None,
    }


def plan_of(situation: Situation) -> MergePlan | None:
    """Return the diff; None before there is one."""
    return read_plan(situation.facts.incident.parameters.get("plan"))


def proposed_of(situation: Situation) -> tuple[Proposed, ...]:
    """Return what the diff proposes to put back."""
    return read_proposed(situation.facts.incident.parameters.get("proposed"))


def preview_of(situation: Situation) -> MergePreview | None:
    """Return what the choice comes to, as last foretold."""
    return read_preview(situation.facts.incident.parameters.get("preview"))


def diff_lines(situation: Situation) -> tuple[str, ...]:
    """Return the diff as lines: per table missing, changed, only in live; the schema's drift."""
    plan = plan_of(situation)
    if plan is None:
        return ()
    lines = [
        f"{table_text(table.table)}: {count_text(table.missing)} missing,"
        f" {count_text(table.changed)} changed, {count_text(table.only_in_live)} only in live"
        for table in plan.tables
        if not table.equal
    ]
    lines += [
        f"{drift.kind} {plain_text(drift.column or '')}{' of ' if drift.column else ''}"
        f"{table_text(drift.table)}: {'LOST' if drift.lost else 'another'},"
        f" {plain_text(drift.copy or 'not in the copy')}"
        for drift in plan.drift
    ]
    lines += [
        f"{table_text(name)}: not merged, {plain_text(why)}" for name, why in plan.refused.items()
    ]
    lines += [plain_text(note) for note in plan.notes]
    problem = situation.incident.parameters.get("diff_problem")
    if isinstance(problem, str) and problem:
        lines.append(plain_text(problem))
    return bounded(lines or ["Live has all the rows of the copy, and no others."], 16)


def offers(situation: Situation) -> tuple[Offer, ...]:
    """Return all that the diff offers to be put back."""
    plan = plan_of(situation)
    if plan is None:
        return ()
    structure = situation.incident.seen == "structure"
    return offers_of(plan, proposed_of(situation), structure=structure)


def _rows(situation: Situation) -> Question:
    options = tuple(offer.option for offer in offers(situation))
    proposed = any(option.recommended for option in options)
    return Question(
        "What is put back? What is proposed is chosen already."
        if proposed or not options
        else "What is put back? Nothing is proposed: Enter alone puts nothing back.",
        options,
        several=True,
        default=", ".join(option.key for option in options if option.recommended),
        hint="Rows that are only in live stay unless you choose to delete them.",
        may_be_empty=True,
    )


def _chosen(situation: Situation, answer: Answer) -> tuple[TableChoice, ...]:
    values = situation.facts.document("values")
    return choices_from(offers(situation), answer.values, proposed_of(situation), values)


def needed(situation: Situation) -> tuple[str, ...]:
    """Return the columns that want a value, as schema.table.column."""
    plan = plan_of(situation)
    return tuple(
        f"{drift.table[0]}.{drift.table[1]}.{drift.column}"
        for drift in (plan.drift if plan is not None else ())
        if drift.needs_value and drift.column
    )


def needs_values(situation: Situation) -> bool | None:
    """Whether a value has to be asked for; None before the diff is there."""
    return None if plan_of(situation) is None else bool(needed(situation))


def _values(situation: Situation) -> Question:
    columns = ", ".join(map(plain_text, needed(situation)))
    first = next(iter(needed(situation)), "schema.table.column")
    return Question(
        f"Which value do rows get that never had one? {columns}",
        hint=f"Like {plain_text(first)}=free; a comma between several. NULL means none, DEFAULT"
        " the column's own. Empty: leave these columns out.",
        may_be_empty=True,
    )


def _filled(situation: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    columns = needed(situation)
    values: dict[str, dict[str, str]] = {}
    for each in answer.values:
        name, sign, value = each.partition("=")
        if not sign and len(columns) == 1:
            name, value = columns[0], each
        if name.strip() not in columns:
            raise UsageError(
                f"WHICH COLUMN? {each}",
                why=f"A value is wanted for: {', '.join(columns)}.",
                fix=f"Write it like {columns[0]}=VALUE.",
            )
        table, _dot, column = name.strip().rpartition(".")
        values.setdefault(table, {})[column] = value.strip()
    return {"values": values}


def choices_of(situation: Situation) -> tuple[TableChoice, ...]:
    """Return what was chosen to be put back."""
    try:
        return _CHOICES.validate_python(situation.incident.parameters.get("choices") or ())
    except ValidationError:
        return ()


def _preview(situation: Situation, answer: Answer) -> Request:
    return MergePreviewRequest(
        **_base(situation),
        staging=situation.facts.staging,
        choices=json.dumps(plain(_chosen(situation, answer))),
    )


def _previewed(situation: Situation, answer: Answer, result: Mapping[str, Any]) -> Facts:
    return {"choices": plain(_chosen(situation, answer)), "preview": result.get("preview")}


def preview_lines(situation: Situation) -> tuple[str, ...]:
    """Return what the choice comes to: rows in, over, out, and what stays out and why."""
    preview = preview_of(situation)
    if preview is None:
        return ()
    lines = [
        f"{effect.table[0]}.{plain_text(effect.table[1])}: {count_text(effect.inserted)} rows in,"
        f" {count_text(effect.overwritten)} set back, {count_text(effect.deleted)} deleted"
        for effect in preview.effects
    ]
    lines += [
        f"{table_text(each.table)}: {each.kind} {plain_text(each.name or '')} made again".replace(
            "  ", " "
        )
        for each in preview.recreated
    ]
    lines += [
        f"{left.table[0]}.{plain_text(left.table[1])}: {count_text(left.rows)} {left.row_class}"
        f" rows stay out: {plain_text(left.text)}"
        for left in preview.left_out
    ]
    nothing = "Nothing is put back: nothing was chosen. Do the step before again to choose."
    return bounded(lines or [nothing], 16)


def _merge(situation: Situation, _: Answer) -> Request:
    return MergeRequest(
        **_base(situation),
        staging=situation.facts.staging,
        choices=json.dumps(plain(choices_of(situation))),
        expected=json.dumps(situation.incident.parameters.get("preview") or {}),
    )


def _merged(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    merged = result.get("merged")
    known = dict(merged) if isinstance(merged, Mapping) else {}
    return {"merged": {"staging": situation.facts.staging, **known}}


def _undo(situation: Situation) -> Request | None:
    merged = situation.facts.document("merged")
    if not merged.get("set_number"):
        return None
    return MergeUndoRequest(
        **_base(situation),
        staging=str(merged.get("staging") or situation.facts.staging),
        set_number=int(merged["set_number"]),
    )


def _undone(_s: Situation, result: Mapping[str, Any]) -> Facts:
    return {"merged": None, "merge_undone": {k: v for k, v in result.items() if k != "ok"}}


def _found_done(situation: Situation, standing: Standing) -> Mapping[str, Any] | None:
    """Return the result of the merge, or its undo, whose end nobody saw, if live has it."""
    state = situation.incident.steps[situation.step]
    request = parse_request(state.request)
    if not isinstance(request, MergeRequest | MergeUndoRequest):
        return None
    merged = merged_by(digest_of(request), standing.merged)
    if merged is None:
        return None
    return {"staging": request.staging, "merged": plain(merged), "left": plain(merged.left_out)}


def _merge_settled(situation: Situation, standing: Standing) -> Facts | None:
    result = _found_done(situation, standing)
    return None if result is None else _merged(situation, Answer(), result)


def _undo_settled(situation: Situation, standing: Standing) -> Facts | None:
    result = _found_done(situation, standing)
    return None if result is None else _undone(situation, result)


def _live_name(situation: Situation) -> str:
    return situation.facts.live_name


def _merge_lines(_: Situation) -> tuple[str, ...]:
    return (
        "BEGIN;  -- one transaction, its undo written first",
        "INSERT … OVERRIDING SYSTEM VALUE SELECT … (parents before children)",
        "COMMIT;",
    )


def _resolve_lines(situation: Situation) -> tuple[str, ...]:
    resolve = situation.incident.parameters.get("resolve")
    commands = tuple(map(str, resolve)) if isinstance(resolve, list) else ()
    lines = preview_lines(situation)
    if commands:
        lines += ("Afterwards, so that the migrations know of it:", *commands)
    return lines


_REOPENS = {StagingLost.kind: "diff"}

ACTIONS = (
    Action(
        "diff",
        "check",
        request=_diff,
        runs=lambda s: (f"compare every table of {plain_text(s.facts.copy)} with live, by key",),
        shows=diff_lines,
        learn=_learn_diff,
        changes=True,
    ),
    Action("fill-values", "ask", question=_values, learn=_filled),
    Action(
        "choose-rows",
        "choose",
        question=_rows,
        request=_preview,
        runs=lambda _: ("what the choice would do is read; nothing is changed",),
        shows=diff_lines,
        learn=_previewed,
        reopens=_REOPENS,
    ),
    Action(
        "merge",
        "act",
        request=_merge,
        runs=_merge_lines,
        shows=_resolve_lines,
        learn=_merged,
        changes=True,
        typed=_live_name,
        settling="look",
        settled=_merge_settled,
        undo=_undo,
        undo_typed=_live_name,
        undo_learn=_undone,
        undo_settled=_undo_settled,
        reopens=_REOPENS,
    ),
)
