"""What a report tells of the data: the damage, the proof, what was lost, whom it concerns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from fsbackup_tui.domain.damage import TableDamage
from fsbackup_tui.domain.text import count_text, duration_text
from fsbackup_tui.recovery.flow import Placed
from fsbackup_tui.recovery.report_text import (
    between_text,
    both_text,
    code,
    escaped,
    mappings,
    number_text,
    table,
    table_name,
    texts,
)
from fsbackup_tui.recovery.session import Reading

MADE_LIVE = (
    *("swap", "schema-swap", "merge", "in-place"),
    *("files-back", "files-exchange", "config-back", "code-back"),
)
"""The steps that bring the data back: from then on it is live again."""


def point_time(reading: Reading) -> datetime | None:
    """Return the moment of the point that was chosen; None before one is."""
    candidate, report = reading.facts.candidate, reading.facts.report
    of_site = reading.facts.site_candidate
    if candidate is not None:
        return candidate.at
    if of_site is not None:
        return of_site.at
    if report is not None and report.point == reading.facts.point:
        return report.point_at
    return None


def live_again(reading: Reading) -> tuple[Placed, datetime] | None:
    """Return the step by which the data was live again, and when; None where it is not."""
    done = [
        placed
        for placed in reading.flow.steps
        if placed.step.id in MADE_LIVE and placed.state.status == "done"
    ]
    return (done[0], done[0].state.at) if done else None


def objective_lines(reading: Reading) -> Iterator[str]:
    """Yield how long it took (RTO), and what of the time before is missing (RPO)."""
    incident = reading.incident
    until = incident.closed
    took = between_text(incident.opened, until or reading.now)
    state = "" if until is not None else " so far, it is still open"
    yield f"- Recovery time (RTO), declared to closed: **{took}**{state}"
    back = live_again(reading)
    if back is not None:
        placed, at = back
        yield (
            f"- Declared to data live again ({placed.number} {escaped(placed.step.title)}):"
            f" {between_text(incident.opened, at)}"
        )
    swapped = reading.facts.document("swapped")
    if isinstance(swapped.get("closed_seconds"), int | float):
        ended = number_text(swapped.get("sessions_ended"))
        yield (
            f"- Live could not be reached for {_seconds(swapped.get('closed_seconds'))}"
            f" while it was swapped; {ended} sessions were ended"
        )
    yield f"- Recovery point (RPO), last right to the point: {_recovery_point(reading)}"


def _recovery_point(reading: Reading) -> str:
    right, at = reading.incident.last_right, point_time(reading)
    if at is None:
        return "no point was chosen"
    if right is None:
        return f"not known (nobody knows when it was last right); the point: {_both(reading, at)}"
    if at > right:
        return f"the point is from {between_text(right, at)} AFTER it was last right"
    lost = f"**{between_text(at, right)}** of changes"
    if reading.facts.files_way in ("missing", "everything", "patterns"):
        lost += " was not taken back: live was only added to"
    elif reading.facts.way == "merge":
        lost += " were not taken back: the rest of live stayed as it was"
    return lost


def _both(reading: Reading, at: datetime | None) -> str:
    return both_text(at, reading.zone)


def damage_lines(reading: Reading) -> Iterator[str]:
    """Yield the damage report: tables that lost rows, definitions, what was noticed beside."""
    report = reading.facts.report
    if report is None:
        yield "The damage was not measured."
        return
    yield (
        f"Live at {_both(reading, report.at)} against {code(report.point)},"
        f" {_both(reading, report.point_at)}:"
    )
    yield ""
    changed = [each for each in report.tables if each.point_rows != each.live_rows or each.note]
    yield from table(
        ("table", "rows in the point", "rows in live", "deleted", "inserted", "remark"),
        (_damage_row(each) for each in changed),
    )
    if not changed:
        yield "All tables have as many rows as in the point."
    yield ""
    yield from (
        f"- {change.kind} {escaped(change.name)}: **{change.what}**"
        + (f", {escaped(change.detail)}" if change.detail else "")
        for change in report.schema
    )
    if report.born_and_gone is not None:
        yield (
            f"- Rows born after the point and gone again, in neither:"
            f" at most {count_text(report.born_and_gone)}"
        )
    yield from (
        f"- Sequence {escaped(gap.sequence)} gave {count_text(gap.given)} numbers since, of which"
        f" {count_text(gap.kept)} are in a row"
        for gap in report.sequences
    )
    told = (*report.health, *report.notes, *report.code, *report.links)
    yield from (f"- {escaped(text)}" for text in told)


def _damage_row(each: TableDamage) -> tuple[str, ...]:
    about = "" if each.counted or each.live_rows is None else "about "
    return (
        code(each.qualified),
        count_text(each.point_rows),
        "GONE" if each.is_gone else about + count_text(each.live_rows),
        count_text(each.deleted),
        count_text(each.inserted),
        escaped(each.note),
    )


def check_lines(reading: Reading) -> Iterator[str]:
    """Yield what the proof of the side database said, and whether the choice was doubtful."""
    facts = reading.facts
    known = facts.incident.parameters
    if facts.point:
        why = known.get("point_reason")
        yield f"- Point {code(facts.point)}, {_both(reading, point_time(reading))}" + (
            f"; doubtful, chosen because: {escaped(why)}" if why else ""
        )
    if facts.way:
        yield f"- Way: {escaped(facts.way)}"
    restored = facts.document("restored")
    entries = restored.get("entries")
    if isinstance(entries, Mapping):
        counted = ", ".join(f"{number_text(count)} {word}" for word, count in entries.items())
        yield f"- Restored in {_seconds(restored.get('seconds'))}: {counted}"
    check = facts.copy_check
    if check is None:
        yield "- The copy was not checked."
        return
    yield (
        f"- Copy {code(check.copy)}: **{check.verdict.upper()}**,"
        f" {count_text(check.tables)} tables, {count_text(check.rows)} rows compared"
        f" in {duration_text(check.seconds)}, as {escaped(check.role) or '-'}"
    )
    yield from (
        f"- {each.state.upper()}: {escaped(each.sort)} {escaped(each.name)} {escaped(each.detail)}"
        for each in check.differences
    )
    for each in mappings(facts.document("rearmed").get("armed")):
        what, detail = escaped(str(each.get("what"))), escaped(str(each.get("detail")))
        yield f"- Armed again in live: {what}; {detail}"


def _seconds(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return duration_text(float(value) if is_number else None)  # type: ignore[arg-type]


def loss_lines(reading: Reading) -> Iterator[str]:
    """Yield what was lost, table by table, for the way that was gone."""
    facts = reading.facts
    report, merged = facts.report, facts.document("merged")
    swapped = facts.document("swapped")
    if merged:
        yield "Put back into live:"
        yield ""
        yield from table(
            ("table", "put back", "set back", "deleted"),
            (_effect_row(each) for each in mappings(merged.get("effects"))),
        )
        yield ""
        yield from (_again_line(each) for each in mappings(merged.get("recreated")))
        yield from (
            f"- {code(table_name(each.get('table')))}: {number_text(each.get('rows'))}"
            f" {escaped(each.get('row_class'))} rows stayed out ({escaped(each.get('reason'))}"
            f" {escaped(each.get('name'))})"
            for each in mappings(merged.get("left_out"))
        )
    if swapped:
        yield from _swap_loss(reading)
    if not merged and not swapped:
        yield "Nothing was put in place of live: nothing was lost by recovering."
    if report is not None and report.born_and_gone:
        yield ""
        yield (
            f"- At most {count_text(report.born_and_gone)} rows were born after the point and"
            " were gone before the recovery: no copy has them"
        )
    yield from _written_lines(reading)


def _again_line(each: Mapping[str, Any]) -> str:
    kind, name = each.get("kind"), each.get("name")
    what = f"{escaped(kind)} {escaped(name)}" if name else escaped(kind)
    lacking = [escaped(text) for text in texts(each.get("lacking"))]
    without = f", without {'; '.join(lacking)}" if lacking else ""
    return (
        f"- {code(table_name(each.get('table')))}: {what} made again,"
        f" {number_text(each.get('filled'))} rows from the copy{without}"
    )


def _effect_row(each: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (each.get("inserted"), each.get("overwritten"), each.get("deleted"))
    return (code(table_name(each.get("table"))), *(number_text(count) for count in counts))


def _swap_loss(reading: Reading) -> Iterator[str]:
    facts = reading.facts
    kept = facts.document("swapped").get("kept_as")
    report = facts.report
    if report is None or report.live == "unreadable":
        yield "The rows that only the former database has were not counted."
        return
    rows = [
        (code(each.qualified), count_text(each.live_rows - (each.point_rows or 0)))
        for each in report.tables
        if each.live_rows and each.live_rows > (each.point_rows or 0)
    ]
    if not rows:
        yield "No table had more rows than the point (changed rows are not counted)."
        return
    yield f"Not in the live database any more; they are in {code(kept or 'the former one')}:"
    yield ""
    yield from table(("table", "rows more than in the point"), rows)


def _written_lines(reading: Reading) -> Iterator[str]:
    written = reading.facts.written
    if written is None:
        return
    yield ""
    yield (
        f"Written to the restored database between {_both(reading, written.since)} and"
        f" {_both(reading, written.at)}:"
    )
    yield ""
    yield from table(
        ("table", "inserted", "updated", "deleted"),
        (
            (
                code(each.table),
                count_text(each.inserted),
                count_text(each.updated),
                count_text(each.deleted),
            )
            for each in written.tables
        ),
    )
    if not written.tables:
        yield escaped(written.note or "nothing")


def affected_lines(reading: Reading) -> Iterator[str]:
    """Yield whom it concerns, where the site's own SQL was asked."""
    affected = reading.facts.document("affected")
    rows = affected.get("rows")
    if not isinstance(rows, list):
        yield "Not asked (recovery.affected_users in the configuration is the SQL that tells)."
        return
    columns = texts(affected.get("columns"))
    listed = [row if isinstance(row, list | tuple) else [row] for row in rows]
    yield from table(
        [escaped(column) for column in columns] or ["who"],
        ([escaped(cell) for cell in row] for row in listed),
    )
    if not listed:
        yield "Nobody."
    more = affected.get("more")
    if isinstance(more, int) and more:
        yield ""
        yield f"and {count_text(more)} more"
