"""Phase 4, recover: restore beside, prove, swap; and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.damage import DamageReport
from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.kept_name import kept_name
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.operations.recovery_requests import (
    CheckCopyRequest,
    SalvageRequest,
    SwapRequest,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import RestoreBesideRequest
from fsbackup_tui.recovery.actions import schemas
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.names import next_attempt, tag_of
from fsbackup_tui.recovery.actions.words import (
    bounded,
    only_before,
    put_back_command,
    shell,
    table_line,
)
from fsbackup_tui.recovery.facts import IncidentFacts
from fsbackup_tui.recovery.question import Answer


def beside_name(situation: Situation) -> str:
    """Return the name of the side database."""
    return kept_name(situation.facts.live_name, "restore", tag_of(situation, "restore"))


def _restore(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    return RestoreBesideRequest(
        point=facts.point,
        part=situation.part,
        beside=beside_name(situation),
        target=facts.server,
        copy_of=facts.live_name,
        reason_unsigned=facts.reason_unsigned,
    )


def _restore_lines(situation: Situation) -> tuple[str, ...]:
    return (
        f"pg_restore --no-owner … -d {plain_text(beside_name(situation))} {situation.facts.point}",
    )


def _restored(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "copy": str(result.get("target") or beside_name(situation)),
        "copy_oid": int(result.get("target_oid") or 0),
        "copy_is_spare": False,
        "restored": {"entries": result.get("entries"), "seconds": result.get("seconds")},
        **next_attempt(situation, "restore"),
    }


def _found_spoilt(situation: Situation, kind: str) -> Facts:
    """Remember a point whose bytes are not what was sealed, so that another one is proposed."""
    if kind != PointDamaged.kind:
        return {}
    return {"spoilt": [*situation.facts.spoilt, situation.facts.point]}


def _restore_settled(situation: Situation, standing: Standing) -> Facts | None:
    found = standing.database(beside_name(situation))
    if found is None:
        return None
    return {
        "copy": found.name,
        "copy_oid": found.oid,
        "copy_is_spare": False,
        **next_attempt(situation, "restore"),
    }


def _check(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    return CheckCopyRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        point=facts.point,
        copy=facts.copy,
        copy_oid=facts.copy_oid,
    )


def _checked(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    learnt: dict[str, Any] = {"copy_check": {k: v for k, v in result.items() if k != "ok"}}
    if result.get("copy_oid"):
        learnt["copy_oid"] = result["copy_oid"]
    return learnt


def _differs(situation: Situation, result: Mapping[str, Any]) -> str:
    # What was saved from live can't be as a point: it lacks what nobody can read.
    if result.get("verdict") != "different" or situation.facts.way == "salvage":
        return ""
    found = result.get("differences")
    count = len(found) if isinstance(found, list) else 0
    return f"THE COPY DIFFERS from its point in {count} things. Choose another point."


def check_lines(situation: Situation) -> tuple[str, ...]:
    """Return what the proof of the side database said."""
    check = situation.facts.copy_check
    if check is None:
        return ()
    lines = [
        f"{plain_text(check.copy)}: {check.verdict.upper()}, {check.tables} tables,"
        f" {count_text(check.rows)} rows compared, as {plain_text(check.role) or '-'}"
    ]
    lines += [
        f"  {finding.state.upper()}  {finding.sort} {plain_text(finding.name)}"
        f"  {plain_text(finding.detail)}"
        for finding in check.differences
    ]
    if check.differences and situation.facts.way == "salvage":
        lines.append("It was saved from live: it lacks what can't be read, and has what is newer")
    lines += [f"  for later: {plain_text(entry)}" for entry in check.deferred]
    return bounded(lines)


def swapped_lines(situation: Situation) -> tuple[str, ...]:
    """Return where a swap left both databases; empty where nothing is swapped, or schemas are."""
    kept = situation.facts.document("swapped").get("kept_as")
    if not kept:
        return ()
    return (
        "SWAPPED: live is the restored copy.",
        f"{plain_text(str(kept))} is the damaged database, whole.",
    )


def taken_back_lines(situation: Situation) -> tuple[str, ...]:
    """Return where a swap that was taken back left both databases, and what may be done now."""
    newer = situation.facts.document("rolled_back").get("kept_as")
    if not newer or situation.facts.way == schemas.WAY:
        return ()
    command = put_back_command(str(newer), situation.facts.written)
    afterwards = ("Or, when this incident is closed:", command) if command else ()
    return (
        "TAKEN BACK: live is the database that it was at the swap.",
        f"The restored one is kept, with all that was written to it: {plain_text(str(newer))}",
        "To put rows of it back: W, runbook partial-loss, compares it with live by key.",
        *afterwards,
        "To have it live again: this step, once more.",
    )


def loss_lines(situation: Situation) -> tuple[str, ...]:
    """Return what a swap loses, table by table: rows that live has and the point has not."""
    facts = situation.facts
    report = facts.report
    swapped, back = swapped_lines(situation), taken_back_lines(situation)
    if back and not swapped:
        return back
    lines = list(swapped or check_lines(situation))
    if facts.way == "salvage":
        return (*lines, "The damaged database is kept, whole.")
    if report is None:
        return tuple(lines)
    lines.append(
        "Rows that only the kept one has, as last counted before"
        if swapped
        else "What you lose by swapping: rows that only live has, as last counted"
    )
    lost = [
        table
        for table in report.tables
        if table.live_rows and table.live_rows > (table.point_rows or 0)
    ]
    lines += [f"  {table_line(table)}" for table in lost[:8]]
    if len(lost) > 8:
        lines.append(f"  and {len(lost) - 8} more tables")
    if report.live == "unreadable":
        lines.append("  NOT KNOWN: live could not be read when it was counted")
    elif not lost:
        lines.append("  no table has more rows than the point (changed rows are not counted)")
    lines += [f"  {plain_text(text)}" for text in _fit_of_chosen(facts, report, bool(swapped))]
    rows, kept = only_before(situation), str(facts.document("swapped").get("kept_as") or "")
    if rows and kept:
        lines.append("They can be put back, when this incident is closed, by:")
        lines.append(f"fsbackup restore {shell([kept])} --tables {shell([','.join(rows)])}")
    else:
        lines.append("They stay in the damaged database, which is kept, and can be merged back.")
    return tuple(lines)


def _fit_of_chosen(facts: IncidentFacts, report: DamageReport, swapped: bool) -> tuple[str, ...]:
    """Return which rows of the chosen point have no file, and how it fits the code."""
    candidate = facts.candidate
    links = report.links if candidate is None else candidate.links
    # What was read of the code is of the point that live was measured by.
    return links if swapped or facts.point != report.point else (*links, *report.code)


def _swap(situation: Situation, _: Answer) -> Request:
    if situation.facts.way == schemas.WAY:
        return schemas.swap_request(situation)
    facts, standing = situation.facts, situation.facts.standing
    live = standing.live if standing is not None else None
    return SwapRequest(
        part=situation.part,
        live_oid=live.oid if live is not None else 0,
        copy=facts.copy,
        copy_oid=facts.copy_oid,
        kept_as=kept_name(facts.live_name, "before", tag_of(situation, "swap")),
        target=facts.server,
        database=facts.database,
        point=facts.point,
    )


def _swap_lines(situation: Situation) -> tuple[str, ...]:
    if situation.facts.way == schemas.WAY:
        return schemas.swap_lines(situation)
    facts = situation.facts
    kept = kept_name(facts.live_name, "before", tag_of(situation, "swap"))
    live, standing = plain_text(facts.live_name), facts.standing
    if standing is not None and standing.live is None:
        return (f'ALTER DATABASE "{plain_text(facts.copy)}" RENAME TO "{live}";',)
    return (
        "BEGIN;",
        f'ALTER DATABASE "{live}" RENAME TO "{plain_text(kept)}";',
        f'ALTER DATABASE "{plain_text(facts.copy)}" RENAME TO "{live}";',
        "COMMIT;  -- sessions in both are ended",
    )


def _live_name(situation: Situation) -> str:
    return situation.facts.live_name


def _swapped(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "swapped": {name: value for name, value in result.items() if name != "ok"},
        "rolled_back": None,
        **next_attempt(situation, "swap"),
    }


def _swap_settled(situation: Situation, standing: Standing) -> Facts | None:
    # Schemas can't be seen from outside; swapping them again finds that it is done.
    arguments = situation.incident.steps["swap"].request.get("arguments", {})
    live = standing.live
    if live is None or live.oid != arguments.get("copy_oid"):
        return None
    return {
        "swapped": {
            "database": live.name,
            "database_oid": live.oid,
            "kept_as": arguments.get("kept_as") if arguments.get("live_oid") else "",
            "kept_oid": arguments.get("live_oid"),
        },
        "rolled_back": None,
        **next_attempt(situation, "swap"),
    }


def _rollback(situation: Situation) -> Request | None:
    swapped, standing = situation.facts.document("swapped"), situation.facts.standing
    if swapped.get("schemas"):
        return schemas.back_request(situation, swapped)
    if not swapped.get("kept_as") or standing is None:
        return None
    live = standing.live
    return SwapRequest(
        part=situation.part,
        live_oid=live.oid if live is not None else 0,
        copy=str(swapped.get("kept_as")),
        copy_oid=int(swapped.get("kept_oid") or 0),
        kept_as=kept_name(situation.facts.live_name, "after", tag_of(situation, "swap")),
        target=situation.facts.server,
        back=True,
        database=situation.facts.database,
    )


def _rolled_back(situation: Situation, result: Mapping[str, Any]) -> Facts:
    if result.get("schemas"):
        return schemas.rolled_back(situation, result)
    return {
        "swapped": None,
        "rolled_back": {name: value for name, value in result.items() if name != "ok"},
        "copy": str(result.get("kept_as") or ""),
        "copy_oid": int(result.get("kept_oid") or 0),
    }


def _rollback_settled(situation: Situation, standing: Standing) -> Facts | None:
    arguments = situation.incident.steps["swap"].request.get("arguments", {})
    live = standing.live
    if live is None or live.oid != arguments.get("copy_oid"):
        return None
    return _rolled_back(
        situation,
        {
            "database": live.name,
            "database_oid": live.oid,
            "kept_as": arguments.get("kept_as"),
            "kept_oid": arguments.get("live_oid"),
        },
    )


def salvage_name(situation: Situation) -> str:
    """Return the name of the database that holds what could still be read."""
    return kept_name(situation.facts.live_name, "restore", f"{tag_of(situation, 'salvage')}_read")


def _salvage(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    return SalvageRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        beside=salvage_name(situation),
    )


def _salvaged(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "salvaged": {name: value for name, value in result.items() if name != "ok"},
        **next_attempt(situation, "salvage"),
    }


def _salvage_settled(situation: Situation, standing: Standing) -> Facts | None:
    # A salvaged database gets its name when it is whole; its verdicts are in its job's journal.
    found = standing.database(salvage_name(situation))
    if found is None:
        return None
    return {
        "salvaged": {"database": found.name, "database_oid": found.oid, "tables": []},
        **next_attempt(situation, "salvage"),
    }


def _salvage_lines(situation: Situation) -> tuple[str, ...]:
    salvaged = situation.facts.salvaged
    if salvaged is None:
        return ()
    lines = [f"{plain_text(salvaged.database)}: what could be read"]
    lines += [
        f"  {plain_text(table.table)}: {table.verdict}, {count_text(table.rows)} rows"
        for table in salvaged.tables
        if table.verdict != "whole"
    ]
    lines += [f"  not made: {plain_text(text)}" for text in salvaged.objects_failed]
    if salvaged.lost_rows is not None:
        lines.append(f"  {count_text(salvaged.lost_rows)} rows can't be read any more")
    return bounded(lines)


ACTIONS = (
    Action(
        "restore",
        "act",
        request=_restore,
        runs=_restore_lines,
        learn=_restored,
        changes=True,
        settling="look",
        settled=_restore_settled,
        learn_failed=_found_spoilt,
        reopens={PointDamaged.kind: "choose-point"},
    ),
    Action(
        "check-copy",
        "check",
        request=_check,
        runs=lambda _: ("counts and content of every table against the manifest; your queries",),
        shows=check_lines,
        learn=_checked,
        fails=_differs,
    ),
    Action(
        "swap",
        "act",
        request=_swap,
        runs=_swap_lines,
        shows=loss_lines,
        learn=_swapped,
        changes=True,
        typed=_live_name,
        settling="look",
        settled=_swap_settled,
        undo=_rollback,
        undo_typed=_live_name,
        undo_learn=_rolled_back,
        undo_settled=_rollback_settled,
    ),
    Action(
        "salvage",
        "act",
        request=_salvage,
        runs=lambda s: (f"CREATE DATABASE {salvage_name(s)}; COPY what can be read",),
        shows=_salvage_lines,
        learn=_salvaged,
        changes=True,
        settling="look",
        settled=_salvage_settled,
    ),
)
