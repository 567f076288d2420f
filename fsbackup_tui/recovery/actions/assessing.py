"""Phase 3, assess: what is damaged, what each point and way would lose, and choosing both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fsbackup_tui.domain.damage import DamageReport
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.text import count_text, duration_text, plain_text, shorten
from fsbackup_tui.domain.way import WayEstimate, propose_runbook, recommended, weigh_ways
from fsbackup_tui.operations.recovery_requests import DamageRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import LiveHealthRequest
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.words import bounded, candidate_line, moment, table_line
from fsbackup_tui.recovery.question import Answer, Option, Question

RUNBOOKS_OF_WAY: Mapping[str, tuple[str, ...]] = {
    "merge": ("partial-loss",),
    "swap": ("data-loss", "corruption"),
    "schema swap": ("data-loss",),
    "salvage": ("corruption",),
}
"""Which of the shipped runbooks lead along a way; the first one is switched to."""


_OURS = "autovacuum_enabled=off"
_DETAIL = 100
_SPOILT = "found damaged when it was restored; mend it from a copy of the repository first"


def _look_at_damage(situation: Situation, _: Answer) -> Request:
    facts, incident = situation.facts, situation.incident
    right = incident.last_right
    preferred = incident.parameters.get("preferred_point")
    return DamageRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        point=facts.point or (preferred if isinstance(preferred, str) else ""),
        last_right="" if right is None else format_time(right),
    )


def _learn_damage(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"report": {name: value for name, value in result.items() if name != "ok"}}


def report_lines(situation: Situation) -> tuple[str, ...]:
    """Return the damage report as lines: what is gone, what is fewer, what the schema lacks."""
    report = situation.facts.report
    if report is None:
        return ()
    lines = [f"Live now against {report.point}, {moment(situation, report.point_at)}:"]
    lines += [f"  {table_line(table)}" for table in bounded_worst(report)]
    # What step 1.1 switched off itself is no damage; a table that is gone was told of already.
    told = {table.qualified for table in bounded_worst(report) if table.is_gone}
    changes = [
        change
        for change in report.schema
        if _OURS not in change.detail and not (change.kind == "table" and change.name in told)
    ]
    lines += [
        f"  {change.kind} {plain_text(change.name)} {change.what.upper()}"
        + (f": {shorten(plain_text(change.detail), _DETAIL)}" if change.detail else "")
        for change in changes[:8]
    ]
    if len(changes) > 8:
        lines.append(f"  and {len(changes) - 8} more changes of the schema")
    if not report.worst and not changes:
        lines.append(f"  {_nothing_found(report)}")
    more = [
        table
        for table in report.tables
        if table.live_rows is not None
        and table.point_rows is not None
        and table.live_rows > table.point_rows
    ]
    if more:
        rows = sum((table.live_rows or 0) - (table.point_rows or 0) for table in more)
        tables = "1 table" if len(more) == 1 else f"{len(more)} tables"
        lines.append(f"  {count_text(rows)} rows more in {tables}: written since")
    if report.born_and_gone:
        lines.append(
            f"  up to {count_text(report.born_and_gone)} rows were born since and are gone:"
            " no point has them"
        )
    lines += [f"  {plain_text(text)}" for text in (*report.health, *report.notes)]
    lines += [f"  {plain_text(text)}" for text in (*report.code, *report.links)]
    lines += _proposal_lines(situation, report)
    return tuple(lines)


def _nothing_found(report: DamageReport) -> str:
    """Return what it means that no loss is shown; what was not looked at may be lost."""
    if report.live == "gone":
        return "The live database is not there."
    if report.live == "unreadable":
        return "Live could not be read: what is lost is NOT KNOWN."
    if any(table.point_rows is not None and table.live_rows is None for table in report.tables):
        return "No loss was found, but not every table could be counted."
    return "No table lost rows, and no definition is gone."


def bounded_worst(report: DamageReport) -> Iterator[Any]:
    """Yield the tables that are told of, the worst first, ten at most."""
    yield from report.worst[:10]


def _proposal_lines(situation: Situation, report: DamageReport) -> list[str]:
    """Return the runbook to follow and the way that loses least in it, with why: they agree."""
    runbook, reasons = propose_runbook(situation.incident.seen, report)
    best = recommended(ways_of(situation))
    found = "; ".join(reasons)
    if best is None or not best.possible:
        return [f"Proposed: {runbook}, since {found}"]
    if runbook == "data-loss" and best.way == "merge":
        return [f"Proposed: partial-loss, by merge: it {best.why}", f"  although {found}"]
    if runbook == "partial-loss" and best.way in ("swap", "schema swap"):
        return [f"Proposed: data-loss, by {best.way}, since {found}; nothing can be merged"]
    return [f"Proposed: {runbook}, by {best.way}, since {found}"]


def _points(situation: Situation) -> Question:
    report = situation.facts.report
    candidates = tuple(
        replace(each, doubt=_SPOILT) if each.point in situation.facts.spoilt else each
        for each in (report.candidates if report is not None else ())
    )
    preferred = situation.incident.parameters.get("preferred_point")
    clean = next((each for each in candidates if not each.doubt), None)
    wished = next((each for each in candidates if each.point == preferred), None)
    if wished is not None and not wished.doubt:
        clean = wished
    options = tuple(
        Option(
            candidate.point,
            candidate_line(situation, candidate),
            (
                *(("AFTER DAMAGE",) if candidate.after_damage else ()),
                *map(plain_text, candidate.links),
            ),
            doubt=candidate.doubt,
            recommended=candidate is clean,
        )
        for candidate in candidates
    )
    return Question(
        "Which point? Least loss first; a doubtful one needs a written reason.",
        options,
        default=clean.point if clean is not None else "",
        hint="The point is restored beside; live is not touched by choosing.",
    )


def _chosen_point(situation: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    facts: dict[str, Any] = {"point": answer.value, "point_reason": answer.reason}
    report = situation.facts.report
    found = next(
        (each for each in (report.candidates if report else ()) if each.point == answer.value),
        None,
    )
    spare = found is not None and bool(found.spare)
    facts["copy"] = found.spare if found is not None and spare else ""
    facts["copy_oid"] = found.spare_oid if found is not None and spare else 0
    facts["copy_is_spare"] = spare
    return facts


def ways_of(situation: Situation) -> tuple[WayEstimate, ...]:
    """Return the ways there are for the chosen point, the best of them recommended."""
    report, standing = situation.facts.report, situation.facts.standing
    if report is None:
        return ()
    chosen = situation.facts.point
    of_point = tuple(each for each in report.candidates if each.point == chosen)
    measured = replace(report, candidates=of_point or report.candidates)
    return weigh_ways(measured, can_rename=standing is None or standing.can_rename)


def _ways(situation: Situation) -> Question:
    options = tuple(
        Option(
            way.way,
            _way_label(way),
            (*_way_detail(way), *_without_files(situation, way)),
            impossible=_impossible(situation, way),
            doubt=way.doubt,
            recommended=way.recommended,
        )
        for way in ways_of(situation)
    )
    default = next((option.key for option in options if option.recommended), "")
    return Question("Which way?", options, default=default)


def _without_files(situation: Situation, way: WayEstimate) -> tuple[str, ...]:
    """Return which rows come back without their file, where rows come from the point."""
    candidate = situation.facts.candidate
    if candidate is None or way.way == "salvage":
        return ()
    return tuple(f"Without a file: {plain_text(line)}" for line in candidate.links)


def _impossible(situation: Situation, way: WayEstimate) -> str:
    if way.way == "salvage" and situation.facts.salvaged is None:
        return "Nothing was saved yet: that is a step of the runbook corruption."
    return "" if way.possible else way.why


def _way_label(way: WayEstimate) -> str:
    lost = "rows lost not known"
    if way.loss_rows is not None:
        lost = f"loses {count_text(way.loss_rows)} rows"
    minutes = f", {way.loss_minutes:.0f} m of changes" if way.loss_minutes else ""
    return f"{way.way}: {lost}{minutes}"


def _way_detail(way: WayEstimate) -> tuple[str, ...]:
    lines = [f"Downtime: {way.downtime}"]
    if way.duration_seconds is not None:
        low, high = way.duration_seconds
        lines.append(f"Takes: {duration_text(low)} to {duration_text(high)}")
    lines += [f"Way back: {way.way_back}"]
    lines += [f"Why: {way.why}"] if way.why and way.possible and not way.doubt else []
    return tuple(lines)


def _chosen_way(situation: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    leads, now = RUNBOOKS_OF_WAY.get(answer.value, ()), situation.incident.runbook
    facts: dict[str, Any] = {"way": answer.value, "way_reason": answer.reason}
    shipped = any(now in names for names in RUNBOOKS_OF_WAY.values())
    facts["runbook"] = leads[0] if leads and shipped and now not in leads else ""
    salvaged = situation.facts.salvaged
    if answer.value == "salvage" and salvaged is not None:
        facts |= {"copy": salvaged.database, "copy_oid": salvaged.database_oid}
    return facts


def _health(situation: Situation, _: Answer) -> Request:
    return LiveHealthRequest(situation.part, database=situation.facts.database)


def _learn_health(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"health": {"findings": result.get("problems") or result.get("findings") or []}}


def _health_lines(situation: Situation) -> tuple[str, ...]:
    findings = situation.facts.document("health").get("findings")
    if not isinstance(findings, list):
        return ()
    texts = [
        plain_text(str(finding.get("what", "")))
        for finding in findings
        if isinstance(finding, dict)
    ]
    return bounded(texts) or ("No damage was found.",)


ACTIONS = (
    Action(
        "damage",
        "check",
        request=_look_at_damage,
        runs=lambda _: ("SELECT count(*) of every table, and the catalogues; reading alone",),
        shows=report_lines,
        learn=_learn_damage,
    ),
    Action(
        "live-health",
        "check",
        request=_health,
        runs=lambda _: ("pg_amcheck's checks, counts by index, foreign keys; reading alone",),
        shows=_health_lines,
        finds=True,
        learn=_learn_health,
    ),
    Action(
        "choose-point",
        "choose",
        question=_points,
        shows=report_lines,
        learn=_chosen_point,
        forget=("copy_check", "staging", "plan", "proposed", "preview", "choices"),
    ),
    Action("choose-way", "choose", question=_ways, shows=report_lines, learn=_chosen_way),
)
