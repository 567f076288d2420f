"""Which runbook a damage asks for, and which way of recovering loses least. Pure.

Loss is counted against live as it is now: rows that it has and would have no more, and minutes of
changes. Rows that were born after a point and are gone again come back by no way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fsbackup_tui.domain.damage import Candidate, DamageReport, TableDamage, Way
from fsbackup_tui.domain.incident import Seen

RunbookId = Literal["data-loss", "partial-loss", "corruption"]
FilesWay = Literal["missing", "everything", "patterns", "exchange"]
"""How files come back: those that are missing and named by a row; all that are missing; some by
patterns, with a policy for those that live has otherwise; the whole tree, in live's place."""
Seconds = tuple[float, float]

_MOST = 0.5
_NAMED = 3
_SWAP: Seconds = (0.1, 1.0)
_SCHEMA_SWAP: Seconds = (0.1, 5.0)
_MERGE_WAITS: Seconds = (0.0, 10.0)
# A restore's time is learned from trial restores on an idle server.
_FASTER, _SLOWER = 0.8, 1.6
_MERGE_BESIDE = 1.5
_UNUSABLE = ("damaged", "incomplete")


@dataclass(frozen=True, slots=True)
class WayEstimate:
    """One way with one point (salvage has none): what it loses, how long it takes, the way back.

    Ranges are in seconds, None: nobody can tell yet; ``downtime`` is how long the application
    can't work, from when all is made ready. ``loss_rows`` and ``loss_minutes`` None: not known.
    ``why`` says why it is recommended, why it can't be done, or what speaks against it.
    """

    way: Way
    point: str
    loss_rows: int | None
    loss_minutes: float | None
    downtime: str
    downtime_seconds: Seconds | None
    duration_seconds: Seconds | None
    way_back: str
    possible: bool
    why: str
    recommended: bool = False
    doubt: str = ""


def propose_runbook(seen: Seen, report: DamageReport) -> tuple[RunbookId, tuple[str, ...]]:
    """Return the runbook to follow, with the reasons in words; a person may choose another."""
    if report.live == "gone":
        return "data-loss", ("the live database is gone",)
    if report.corrupt:
        return "corruption", tuple(report.health[:_NAMED]) or ("pages on the disk are wrong",)
    if seen == "errors":
        reasons = [*report.health[:_NAMED]] or [
            "you see errors; this first look found none: the whole check may"
        ]
        return "corruption", tuple(reasons)
    whole = tuple(_all_is_lost(report))
    if whole:
        return "data-loss", whole
    reasons = [*_hurt(report)] or [_no_loss_seen(report)]
    kept = sum(1 for table in report.tables if not table.is_gone and not table.rows_lost)
    if kept and report.worst:
        reasons.append(f"{_tables(kept)} lost no row: a restore of all would set them back, too")
    return "partial-loss", tuple(reasons)


def _no_loss_seen(report: DamageReport) -> str:
    if report.live == "unreadable":
        return "live could not be read: what is lost is not known"
    return "no table has fewer rows: changed ones show in the comparison"


def _all_is_lost(report: DamageReport) -> Iterator[str]:
    """Yield why the whole database is to be brought back; nothing where a part of it will do."""
    captured = [table for table in report.tables if table.point_rows]
    if not captured or report.live == "unreadable":
        return
    if has_nothing_left(report):
        yield "live has no table with rows left"
        return
    rows = sum(table.point_rows or 0 for table in captured)
    lost = sum(table.rows_lost for table in captured)
    hurt = [table for table in captured if table.rows_lost]
    if lost > _MOST * rows and len(hurt) > _MOST * len(captured):
        share = f"{_number(lost)} of {_number(rows)}"
        yield f"{_tables(len(hurt))} of {len(captured)} lost rows, {share}"


def _hurt(report: DamageReport) -> Iterator[str]:
    worst = report.worst
    for table in worst[:_NAMED]:
        yield _loss_of(table)
    if len(worst) > _NAMED:
        yield f"{_tables(len(worst) - _NAMED)} more lost rows"
    gone = [one for one in report.schema if one.what == "gone" and one.kind != "table"]
    if gone:
        named = ", ".join(f"{one.kind} {one.name}" for one in gone[:_NAMED])
        more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
        yield f"not defined any more: {named}{more}"


def _loss_of(table: TableDamage) -> str:
    if table.is_gone:
        rows = "" if table.point_rows is None else f", it had {_number(table.point_rows)} rows"
        return f"{table.qualified} is gone{rows}"
    was, now = _number(table.point_rows or 0), _number(table.live_rows or 0)
    return f"{table.qualified}: {was} to {now} rows"


def _tables(count: int) -> str:
    return f"{count} table" + ("" if count == 1 else "s")


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def has_nothing_left(report: DamageReport) -> bool:
    """Whether live is gone, or has no table any more that a merge could go into."""
    if report.live == "gone":
        return True
    if report.live == "unreadable":
        return False
    return not any(
        not table.is_gone and (table.live_rows or table.corrupt or table.live_rows is None)
        for table in report.tables
    )


def weigh_ways(report: DamageReport, *, can_rename: bool = True) -> tuple[WayEstimate, ...]:
    """Return every way with every point, the least loss first; exactly one is recommended.

    None is where none is possible. A point in doubt is never recommended over one without, nor
    one that brings no row back over one that does while nobody knows when it was last right. Of
    the same loss the newest point is, then the shorter downtime.
    """
    ways: list[WayEstimate] = []
    for candidate in report.candidates:
        ways.append(_merge(report, candidate))
        ways.append(_swap(report, candidate, can_rename=can_rename))
        if not can_rename:
            ways.append(_schema_swap(report, candidate))
    if report.corrupt:
        ways.append(_salvage(report))
    points = {candidate.point: candidate for candidate in report.candidates}
    helps = any(candidate.rows_back for candidate in report.candidates)
    ordered = sorted(ways, key=lambda way: _rank(way, points.get(way.point), helps=helps))
    if not ordered or not ordered[0].possible:
        return tuple(ordered)
    best = replace(ordered[0], recommended=True, why=_reason(ordered[0], ordered[1:], report))
    return (best, *ordered[1:])


def _rank(way: WayEstimate, candidate: Candidate | None, *, helps: bool) -> tuple[object, ...]:
    unsure = candidate is not None and candidate.after_damage is None
    brings_nothing = candidate is not None and candidate.rows_back == 0
    return (
        not way.possible,
        bool(way.doubt),
        helps and unsure and brings_nothing,
        way.loss_rows is None,
        way.loss_rows or 0,
        way.loss_minutes is None,
        way.loss_minutes or 0.0,
        0.0 if candidate is None else candidate.minutes,
        way.downtime_seconds or (0.0, 0.0),
        way.way,
        way.point,
    )


def _reason(best: WayEstimate, others: Iterable[WayEstimate], report: DamageReport) -> str:
    pieces = [_loss_text(best)]
    next_way = next((way for way in others if way.possible and way.way != best.way), None)
    if next_way is not None and not next_way.doubt:
        pieces.append(f"{next_way.way}: {_loss_text(next_way)}")
    if best.doubt:
        pieces.append(f"no point is without doubt; this one is {best.doubt}")
    if report.born_and_gone and best.way != "salvage":
        pieces.append(
            f"at most {_number(report.born_and_gone)} rows born since the point come back by no way"
        )
    return "; ".join(pieces)


def _loss_text(way: WayEstimate) -> str:
    if way.way == "merge":
        return "loses nothing of what live has"
    if way.loss_rows is None:
        return "what it loses is not known before"
    if way.loss_minutes is None:
        return f"loses {_number(way.loss_rows)} rows"
    minutes = f"{way.loss_minutes:.0f}"
    word = "minute" if minutes == "1" else "minutes"
    return f"loses {_number(way.loss_rows)} rows and the changes of {minutes} {word}"


def _merge(report: DamageReport, candidate: Candidate) -> WayEstimate:
    why = _no_use(candidate)
    if not why and has_nothing_left(report):
        why = "live has nothing left to merge into"
    if not why and report.live == "unreadable":
        why = "live can't be read: let fsbackup in, then look again"
    if not why and report.corrupt:
        why = "live's own pages are damaged: nothing more should be written into it"
    return WayEstimate(
        way="merge",
        point=candidate.point,
        loss_rows=0,
        loss_minutes=0.0,
        downtime="none, the application may run on; writers to these tables wait for seconds",
        downtime_seconds=_MERGE_WAITS,
        duration_seconds=_restore(candidate, most=_MERGE_BESIDE),
        way_back="undo of the merge, exact as long as nobody wrote to its rows since",
        possible=not why,
        why=why or candidate.doubt,
        doubt=candidate.doubt,
    )


def _swap(report: DamageReport, candidate: Candidate, *, can_rename: bool) -> WayEstimate:
    why = _no_use(candidate)
    if not why and not can_rename:
        why = "the role may not rename databases here"
    return WayEstimate(
        way="swap",
        point=candidate.point,
        loss_rows=_loss(report, candidate),
        loss_minutes=candidate.minutes,
        downtime="under a second, when the copy is ready; the application stands still before",
        downtime_seconds=_SWAP,
        duration_seconds=_SWAP if candidate.spare else _restore(candidate),
        way_back="rollback: the damaged database is kept, whole, under another name",
        possible=not why,
        why=why or candidate.doubt,
        doubt=candidate.doubt,
    )


def _schema_swap(report: DamageReport, candidate: Candidate) -> WayEstimate:
    why = _no_use(candidate)
    if not why and report.live != "there":
        why = "the live database must be there to take the schema"
    return WayEstimate(
        way="schema swap",
        point=candidate.point,
        loss_rows=_loss(report, candidate),
        loss_minutes=candidate.minutes,
        downtime="seconds, when the copy is ready; the application stands still before",
        downtime_seconds=_SCHEMA_SWAP,
        duration_seconds=_restore(candidate, most=2.0),
        way_back="the same renames back: the damaged schema is kept beside",
        possible=not why,
        why=why or candidate.doubt,
        doubt=candidate.doubt,
    )


def _salvage(report: DamageReport) -> WayEstimate:
    why = "" if report.live == "there" else "live can't be read at all"
    return WayEstimate(
        way="salvage",
        point="",
        loss_rows=None,
        loss_minutes=None,
        downtime="until all that can be read is copied",
        downtime_seconds=None,
        duration_seconds=None,
        way_back="the damaged database stays as it is, beside",
        possible=not why,
        why=why or "brings what can still be read, the newest rows too; what is missing, it tells",
    )


def _loss(report: DamageReport, candidate: Candidate) -> int | None:
    if candidate.rows_lost is None and has_nothing_left(report):
        return 0
    return candidate.rows_lost


def _no_use(candidate: Candidate) -> str:
    """Return why a point can't be restored at all."""
    return f"the point is {candidate.trust}" if candidate.trust in _UNUSABLE else ""


def _restore(candidate: Candidate, *, most: float = 1.0) -> Seconds | None:
    if candidate.seconds is None:
        return None
    return candidate.seconds * _FASTER, candidate.seconds * _SLOWER * most


def recommended(ways: Sequence[WayEstimate]) -> WayEstimate | None:
    """Return the way to propose; None where none is possible."""
    return next((way for way in ways if way.recommended), None)
