"""The lines that tell a point's details, as plain functions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo

from rich.cells import cell_len

from fsbackup_tui.domain.anomaly import DEFAULT_FALL, RowChange
from fsbackup_tui.domain.point import PartManifest, PointSummary, PostgresFacts
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.files_words import tree_facts
from fsbackup_tui.operations.wording import (
    IN_INCIDENT,
    accepted_words,
    blocked_words,
    count_text,
    damage_words,
    duration_text,
    in_incident_words,
    level_word,
    size_text,
    spare_words,
    when_text,
)
from fsbackup_tui.tui.copy_data import copy_facts
from fsbackup_tui.tui.data import NO_COPIES, Copies, PointDetails
from fsbackup_tui.tui.lines import Line, Role, line, pad, printable, width_of, wrapped
from fsbackup_tui.tui.modes.columns import age_of, change_text, trust_shown
from fsbackup_tui.tui.modes.site_part_lines import (
    has_site_parts,
    part_rows,
    signature_fact,
    site_facts,
    together_facts,
)
from fsbackup_tui.tui.problems import problem_lines

_LABEL = 11
_CHANGES = 100
_LEVEL_ROLES: Mapping[bool | None, Role] = {True: "text", False: "bad", None: "warn"}
_DAMAGE_ROLES: Mapping[bool, Role] = {True: "warn", False: "text"}
_PROVEN_IS_NOT_GOOD = "It comes back as it was taken, which may have been after the damage."


def details_lines(
    details: PointDetails, width: int, *, now: datetime, zone: tzinfo, site: Copies = NO_COPIES
) -> list[Line]:
    """Return everything known of a point: state, commands, parts, tables, in this order."""
    return [
        *summary_lines(details.summary, width, now=now, zone=zone, site=site),
        *_signature(details, width),
        *_overview(details, width),
        *_problem(details, width, now, zone),
        *_against(details, width, now, zone),
        *_commands(details, width),
        *_captured(details, width, now, zone),
        *_parts(details, width, now, zone),
    ]


def summary_lines(
    point: PointSummary, width: int, *, now: datetime, zone: tzinfo, site: Copies = NO_COPIES
) -> list[Line]:
    """Return what the inventory itself knows of a point."""
    word, role = trust_shown(point)
    when = when_text(point.created, now, zone)
    lines = [
        line(" ", (point.id, "heading")),
        _fact("Taken", f"{when}, {age_of(point.created, now)} ago, plan {point.plan}"),
        _fact("Trust", word, role),
    ]
    for name, check in point.levels.items():
        outcome = level_word(check.ok)
        at = when_text(check.at, now, zone)
        text = f"{name:<9}{outcome}, {at}, {duration_text(check.seconds)}"
        by = f", job {check.job.rpartition('-')[2]}"
        if cell_len(text + by) <= width - _LABEL - 2:
            text += by
        calm = check.ok is None and point.calmly_blocked
        lines.extend(_facts("", text, width, "text" if calm else _LEVEL_ROLES[check.ok]))
    unsound = point.trust in (Trust.DAMAGED, Trust.INCOMPLETE)
    if not point.levels and not point.running and not unsound and point.bytes:
        lines.append(_fact("", "never verified: v does", "warn"))
    blocked = blocked_words(point.levels)
    for text in point.blocked:
        lines.extend(_facts("Blocked", f"{blocked}: {text}", width, "warn"))
    for one in point.accepted:
        lines.extend(_facts("Blocked", f"{blocked}: {accepted_words(one)}", width))
    for reason in point.suspect:
        lines.extend(_facts("Suspect", reason, width, "bad"))
    if point.in_incident:
        lines.extend(
            _facts(
                "Incident", f"{IN_INCIDENT}: {in_incident_words(point.in_incident)}", width, "warn"
            )
        )
    if point.after_damage is not None:
        lines.extend(
            _facts("Damage", damage_words(point), width, _DAMAGE_ROLES[point.after_damage])
        )
    if point.doubtful and point.trust >= Trust.RESTORED:
        lines.extend(_facts("", _PROVEN_IS_NOT_GOOD, width, "muted"))
    if point.doubtful:
        lines.extend(_facts("", f'fsbackup clear {point.id} --reason "…"', width))
    for problem in point.problems:
        lines.extend(_facts("Problem", problem, width, "bad"))
    if point.reason:
        lines.extend(_facts("Reason", point.reason, width))
    if point.running:
        lines.append(_fact("Size", "- (2 shows how far the backup is)"))
        return lines
    for number, (text, meaning) in enumerate(copy_facts(point, site, now, zone)):
        lines.extend(_facts("" if number else "Copies", text, width, meaning))
    sizes = f"{size_text(point.bytes)} stored, database {size_text(point.database_bytes)}"
    lines.append(_fact("Size", sizes))
    change = "" if point.rows_change is None else f" ({change_text(point.rows_change)})"
    lines.append(_fact("Rows", count_text(point.rows) + change))
    if point.files is not None:
        change = "" if point.files_change is None else f" ({change_text(point.files_change)})"
        lines.append(_fact("Files", count_text(point.files) + change))
    return lines


def _fact(label: str, text: str, role: Role = "text") -> Line:
    return line(" ", (pad(label, _LABEL), "muted"), (text, role))


def _facts(label: str, text: str, width: int, role: Role = "text") -> list[Line]:
    rows = wrapped(text, max(20, width - _LABEL - 2), role)
    first = line(" ", (pad(label, _LABEL), "muted"), *rows[0])
    return [first, *(line(" " * (_LABEL + 1), *row) for row in rows[1:])]


def _title(text: str) -> list[Line]:
    return [line(), line(" ", (text, "heading"))]


def _signature(details: PointDetails, width: int) -> Iterator[Line]:
    if details.signature is not None:
        label, text, role = signature_fact(details.signature)
        yield from _facts(label, text, width, role)


def _overview(details: PointDetails, width: int) -> Iterator[Line]:
    """Yield the parts at a glance, and how they fit together, where there is more than a dump."""
    if not has_site_parts(details.summary):
        return
    yield from _title("Parts")
    manifest = details.manifest
    known = manifest.parts if manifest is not None else ()
    yield from part_rows(details.summary, known, details.changes)
    if manifest is not None:
        for label, text in together_facts(manifest.parts, manifest.links):
            yield from _facts(label, text, width)


def _problem(details: PointDetails, width: int, now: datetime, zone: tzinfo) -> Iterator[Line]:
    problem = details.problem
    if problem is None:
        return
    yield line()
    yield from problem_lines(problem, width, now=now, zone=zone)


def _against(details: PointDetails, width: int, now: datetime, zone: tzinfo) -> Iterator[Line]:
    """Yield what fell since the last good point, table by table."""
    for one in details.against:
        when = when_text(one.created, now, zone)
        yield from _title(f"Rows of {one.source} against {when} ({one.trust.word})")
        yield line("   ", (one.point, "muted"))
        if not one.changes:
            yield line("   ", ("as many in every table", "text"))
            continue
        longest = max(cell_len(printable(change.table)) for change in one.changes[:_CHANGES])
        name_width = max(16, min(longest, 60, width - 48))
        titles = (pad("TABLE", name_width), *(pad(t, 13, right=True) for t in ("BEFORE", "NOW")))
        yield line("   ", ("  ".join((*titles, "CHANGE")), "muted"))
        for change in one.changes[:_CHANGES]:
            yield _change(change, name_width)
        if len(one.changes) > _CHANGES:
            more = count_text(len(one.changes) - _CHANGES)
            yield line("   ", (f"and {more} more tables with other numbers of rows", "muted"))


def _change(change: RowChange, name_width: int) -> Line:
    before, now = change.before, change.now
    share = (now - before) / before if before and now is not None else None
    words = "GONE" if change.vanished else "new" if before is None else change_text(share)
    fell = change.vanished or (share is not None and share <= -DEFAULT_FALL)
    numbers = (pad(count_text(number), 13, right=True) for number in (before, now))
    name = pad(printable(change.table), name_width)
    return line("   ", "  ".join((name, *numbers)), "  ", (words, "bad" if fell else "text"))


def _commands(details: PointDetails, width: int) -> Iterator[Line]:
    if details.commands:
        yield from _title("Restore with fsbackup")
        for command in details.commands:
            for row in wrapped(command, width - 4, indent="  "):
                yield line("   ", *row)
    manifest = details.manifest
    if manifest is None:
        return
    for part in manifest.parts:
        if not part.restore_commands:
            continue
        yield from _title(f"Restore {part.source} with stock tools alone")
        for text in stock_commands(details.path, part):
            for row in wrapped(text, width - 4, indent="  "):
                yield line("   ", *row)


def stock_commands(path: str, part: PartManifest) -> list[str]:
    """Return what restores a part with stock tools, line by line, from the point's directory."""
    lines = (text for command in part.restore_commands for text in command.splitlines())
    return [f"cd {shlex.quote(path)}", *lines]


def _captured(details: PointDetails, width: int, now: datetime, zone: tzinfo) -> Iterator[Line]:
    manifest = details.manifest
    yield from _title("How it was taken")
    yield from _facts("Path", details.path, width)
    if manifest is None:
        return
    seconds = (manifest.finished - manifest.started).total_seconds()
    yield _fact(
        "Took", f"{duration_text(seconds)}, until {when_text(manifest.finished, now, zone)}"
    )
    if manifest.phases:
        phases = ", ".join(
            f"{name} {duration_text(took)}" for name, took in manifest.phases.items()
        )
        yield from _facts("Phases", phases, width)
    by = f"{manifest.operator} on {manifest.host}, fsbackup {manifest.tool_version}"
    yield from _facts("By", by, width)
    yield _fact("Job", manifest.job)


def _parts(details: PointDetails, width: int, now: datetime, zone: tzinfo) -> Iterator[Line]:
    manifest = details.manifest
    if manifest is None:
        return
    for part in manifest.parts:
        yield from _title(f"Part {part.source} ({part.kind}), {size_text(part.bytes)}")
        for spare in details.summary.spares:
            if spare.part == part.source:
                yield from _facts("Spare", spare_words(spare, now, zone), width)
        for warning in part.warnings:
            yield from _facts("Warning", warning, width, "warn")
        for artifact in part.artifacts[:20]:
            text = f"{artifact.path}  {size_text(artifact.bytes)}  sha256 {artifact.sha256[:16]}…"
            yield _fact("Artifact", text)
        if len(part.artifacts) > 20:
            yield _fact("", f"and {len(part.artifacts) - 20} more in SHA256SUMS", "muted")
        if part.postgres is not None:
            yield from _database(part, part.postgres, width)
        if part.files is not None:
            for told in tree_facts(part.files):
                label = told.label.capitalize()
                yield from _facts(label, told.text, width, "warn" if told.warns else "text")
        for label, text in site_facts(part, details.changes.get(part.source), now, zone):
            yield from _facts(label, text, width)


def _database(part: PartManifest, facts: PostgresFacts, width: int) -> Iterator[Line]:
    identity = facts.identity
    role = "standby" if identity.standby else "primary"
    server = f"{identity.database} on {identity.host}:{identity.port}, {role}"
    # An adopted dump does not tell its server, nor what it was called there.
    server = server if identity.host else identity.database or "-"
    yield from _facts("Database", f"{server}, PostgreSQL {identity.server_version or '-'}", width)
    yield _fact("System", f"{identity.system_identifier or '-'}, as {identity.role or '-'}")
    yield _fact("Dump", f"{facts.format}, scope {facts.scope}, client {facts.client_version}")
    locale = f"{facts.encoding}, {facts.collate or '-'} ({facts.locale_provider})"
    yield _fact("Encoding", locale)
    if facts.extensions:
        named = ", ".join(f"{item.name} {item.version}" for item in facts.extensions)
        yield from _facts("Extensions", named, width)
    if facts.roles:
        yield from _facts("Roles", ", ".join(facts.roles), width)
    left_out = (*facts.excluded_schemas, *facts.excluded_tables)
    if left_out:
        yield from _facts("Left out", ", ".join(left_out), width, "warn")
    hosts_own = (*facts.managed_schemas, *facts.managed_tables)
    if hosts_own:
        yield from _facts("Host's own", f"left out: {', '.join(hosts_own)}", width)
    counts = {"content": "rows and content", "counts": "rows", "absent": "not counted"}
    note = f" ({facts.count_note})" if facts.count_note else ""
    yield from _facts("Counted", counts[facts.count_method] + note, width)
    yield from _tables(part, facts, width)


def _tables(part: PartManifest, facts: PostgresFacts, width: int) -> Iterator[Line]:
    longest = max((cell_len(printable(table.qualified)) for table in facts.tables), default=0)
    name_width = max(20, min(longest, 60, width - 34))
    number = len(facts.tables)
    yield from _title(f"{number} table{'s' if number != 1 else ''} of {part.source}")
    titles = (
        f"{pad('TABLE', name_width)}  {pad('ROWS', 14, right=True)}  {pad('SIZE', 8, right=True)}"
    )
    yield line("   ", (titles, "muted"))
    ordered = sorted(facts.tables, key=lambda table: (-(table.bytes or 0), table.qualified))
    for table in ordered:
        about = "" if table.rows is None or table.counted else "~"
        rows = pad(about + count_text(table.rows), 14, right=True)
        remark = "data left out" if table.data_excluded else table.note
        size = pad(size_text(table.bytes), 8, right=True)
        row = line("   ", pad(printable(table.qualified), name_width), f"  {rows}  {size}")
        room = width - width_of(row) - 2
        if cell_len(remark) <= room:
            yield line(*row, (f"  {remark}" if remark else "", "warn"))
            continue
        yield row
        for below in wrapped(remark, width - 6, "warn"):
            yield line("     ", *below)
