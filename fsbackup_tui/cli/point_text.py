"""Points as the command line prints them: aligned text of 80 columns, and JSON documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from types import MappingProxyType

from fsbackup_tui.cli.copy_text import copies_cell, copies_documents, copy_lines, wrong_notes
from fsbackup_tui.cli.link_text import link_lines
from fsbackup_tui.cli.output import WIDTH, wrap_text
from fsbackup_tui.cli.site_text import fit_lines, site_documents, site_part_lines
from fsbackup_tui.domain.anomaly import RowChange
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import (
    LevelCheck,
    PartManifest,
    PartSummary,
    PointSummary,
    PostgresFacts,
    TableFacts,
)
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.against import Against
from fsbackup_tui.operations.part_changes import PartChanges
from fsbackup_tui.operations.status import restore_command_lines
from fsbackup_tui.operations.wording import (
    AFTER_DAMAGE,
    IN_INCIDENT,
    UNKNOWN,
    accepted_words,
    age_text,
    blocked_words,
    cell_width,
    count_text,
    damage_words,
    duration_text,
    in_incident_words,
    level_word,
    pad_text,
    plain_text,
    size_text,
    spare_words,
    when_text,
)
from fsbackup_tui.repository.spares import Spare, spare_document, spare_summary

MINUS = "\N{MINUS SIGN}"
EVERYTHING_HERE: Mapping[str, str] = MappingProxyType({})
_LABEL = 12
_SCHEMA_KIND = "postgres-schema"
_NOTES_SHOWN = 3
_PROVEN_IS_NOT_GOOD = "It comes back as it was taken, which may have been after the damage."


def trust_word(point: PointSummary) -> str:
    """Return the words for what a point is worth, bad news first and in capitals.

    What a doubtful point was shown to be stands beside that: neither takes the other back.
    """
    if point.running:
        return "running"
    doubt = "SUSPECT" if point.suspect else IN_INCIDENT if point.in_incident else ""
    if point.after_damage and not doubt:
        doubt = AFTER_DAMAGE
    if doubt and point.trust is Trust.UNVERIFIED:
        return doubt
    word = point.trust.word
    if point.foreign or word in {"damaged", "incomplete", "proven"}:
        word = word.upper()
    return f"{doubt} {word}".lstrip()


def change_text(change: float | None) -> str:
    """Return the change of the row count against the point before: ``+0.3 %``."""
    if change is None:
        return UNKNOWN
    percent = f"{change * 100:+.1f}" if abs(change) < 0.1 else f"{change * 100:+.0f}"
    return percent.replace("-", MINUS) + " %"


def list_lines(
    points: Sequence[PointSummary],
    now: datetime,
    zone: tzinfo,
    elsewhere: Mapping[str, str] = EVERYTHING_HERE,
) -> Iterator[str]:
    """Yield the table of points with a remark below those that need one.

    ``elsewhere`` says of points that are not wholly here where the rest of them lies.
    """
    if not points:
        return
    rows = [
        (
            plain_text(point.id),
            when_text(point.created, now, zone),
            age_text((now - point.created).total_seconds()),
            size_text(point.bytes) if point.parts else UNKNOWN,
            change_text(point.rows_change),
            count_text(point.files),
            change_text(point.files_change),
            trust_word(point) + (f" at {plain_text(place)}" if place else ""),
            copies_cell(point.copies),
        )
        for point in points
        for place in [elsewhere.get(point.id, "")]
    ]
    headings = ("POINT", "WHEN", "AGE", "SIZE", "Δ ROWS", "FILES", "Δ", "TRUST", "COPIES")
    right = {2, 3, 4, 5, 6}
    widths = [max(map(cell_width, column)) for column in zip(headings, *rows, strict=True)]
    # The trust must be seen at 80 columns; a long plan name costs the least telling columns.
    shown = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    if all(point.files is None for point in points):
        shown = [0, 1, 2, 3, 4, 7, 8]
    elif all(point.rows is None for point in points):
        shown.remove(4)
    if not any(point.copies for point in points):
        shown.remove(8)
    for spare in (column for column in (3, 6, 4, 2, 5, 8) if column in shown):
        if sum(widths[column] for column in shown) + 2 * (len(shown) - 1) > WIDTH:
            shown.remove(spare)
    yield _cells(headings, widths, shown, right)
    for point, row in zip(points, rows, strict=True):
        yield _cells(row, widths, shown, right)
        for note in _notes(point):
            yield from wrap_text(note, first="    ", later="      ")


def _notes(point: PointSummary) -> list[str]:
    foreign = [f"foreign: {point.reason}"] if point.foreign else []
    incident = [in_incident_words(point.in_incident)] if point.in_incident else []
    damage = [damage_words(point)] if point.after_damage else []
    pinned = [f"pinned: {point.pinned}"] if point.pinned else []
    copies = wrong_notes(point.copies)
    notes = [*foreign, *point.suspect, *incident, *damage, *point.problems, *copies, *pinned]
    more = len(notes) - _NOTES_SHOWN
    return notes[:_NOTES_SHOWN] + ([f"and {more} more: fsbackup show"] if more > 0 else [])


def _cells(row: Sequence[str], widths: Sequence[int], shown: Sequence[int], right: set[int]) -> str:
    texts = (pad_text(row[column], widths[column], right=column in right) for column in shown)
    return "  ".join(texts).rstrip()


def show_lines(
    point: PointSummary,
    parts: Sequence[PartManifest],
    directory: Path,
    now: datetime,
    zone: tzinfo,
    spares: Sequence[Spare] = (),
    against: Sequence[Against] = (),
    *,
    signature: Signature | None = None,
    changes: Mapping[str, PartChanges] | None = None,
    links: Sequence[LinkFacts] = (),
) -> Iterator[str]:
    """Yield everything that is known of one point."""
    yield f"{plain_text(point.id)}  {trust_word(point)}"
    when = when_text(point.created, now, zone)
    age = age_text((now - point.created).total_seconds())
    yield _fact("taken", f"{when} ({age} ago), took {duration_text(point.seconds)}")
    yield _fact("plan", point.plan or UNKNOWN)
    if point.reason:
        yield from _wrapped("reason", point.reason)
    yield _fact("stored", size_text(point.bytes))
    yield _fact("database", size_text(point.database_bytes))
    change = "" if point.rows_change is None else f" ({change_text(point.rows_change)})"
    yield _fact("rows", count_text(point.rows) + change)
    if point.files is not None:
        change = "" if point.files_change is None else f" ({change_text(point.files_change)})"
        yield _fact("files", count_text(point.files) + change)
    yield _fact("lies in", str(directory))
    if signature is not None:
        yield from _wrapped("signature", signature.text)
    for reason in point.suspect:
        yield from _wrapped("SUSPECT", reason)
    if point.in_incident:
        yield from _wrapped(IN_INCIDENT, in_incident_words(point.in_incident))
    if point.after_damage is not None:
        yield from _wrapped("damage", damage_words(point))
    for problem in point.problems:
        yield from _wrapped("PROBLEM", problem)
    if point.pinned:
        yield from _wrapped("pinned", point.pinned)
    yield from copy_lines(point.copies, now, zone)
    yield ""
    yield from _trust_lines(point, now, zone)
    for one in against:
        yield ""
        yield from _against_lines(one, now, zone)
    trusts = {part.source: part for part in point.parts}
    for part in parts:
        yield ""
        yield from _part_lines(part, trusts.get(part.source))
        yield from site_part_lines(part, (changes or {}).get(part.source), now, zone)
        for spare in (spare for spare in spares if spare.part == part.source):
            yield from _wrapped("spare", spare_words(spare_summary(spare), now, zone))
            yield from _wrapped("remove it", str(spare_document(spare)["remove"]))
    if fits := list(fit_lines(parts)):
        yield from ("", *fits)
    if links:
        yield ""
        yield from link_lines(links)
    yield ""
    yield from _restore_lines(point, parts, directory)


def _trust_lines(point: PointSummary, now: datetime, zone: tzinfo) -> Iterator[str]:
    yield f"Trust: {trust_word(point)}"
    if point.doubtful and point.trust >= Trust.RESTORED:
        yield from wrap_text(_PROVEN_IS_NOT_GOOD, first="  ")
    for level, check in point.levels.items():
        word = level_word(check.ok)
        took = duration_text(check.seconds)
        when = when_text(check.at, now, zone)
        yield f"  {level:<10}{word:<8}{when}, took {took}, job {plain_text(check.job)}"
    blocked = blocked_words(point.levels)
    for text in point.blocked:
        yield from wrap_text(f"{blocked}: {text}", first="  ", later="    ")
    for one in point.accepted:
        yield from wrap_text(f"{blocked}: {accepted_words(one)}", first="  ", later="    ")
    if not point.levels:
        yield "  Nothing was checked yet: fsbackup verify " + point.id


def _against_lines(against: Against, now: datetime, zone: tzinfo) -> Iterator[str]:
    """Yield what fell since the last good point, table by table."""
    when = when_text(against.created, now, zone)
    yield f"Rows of {against.source} against {when} ({against.trust.word})"
    yield f"  {plain_text(against.point)}"
    if not against.changes:
        yield "  as many in every table"
        return
    yield f"  {'BEFORE':>15}  {'NOW':>15}  {'CHANGE':>8}  TABLE"
    for change in against.changes:
        before, now_rows = count_text(change.before), count_text(change.now)
        yield f"  {before:>15}  {now_rows:>15}  {_change(change):>8}  {plain_text(change.table)}"


def _change(change: RowChange) -> str:
    if change.vanished:
        return "GONE"
    if change.before is None:
        return "new"
    share = None if change.now is None or not change.before else change.now / change.before - 1
    return change_text(share)


def _part_lines(part: PartManifest, summary: PartSummary | None) -> Iterator[str]:
    trust = summary.trust.word if summary is not None else UNKNOWN
    yield f"Part {part.source} ({part.kind})  {trust}  {size_text(part.bytes)}"
    facts = part.postgres
    if facts is not None:
        yield from _database_lines(facts)
    for warning in part.warnings:
        yield from _wrapped("warning", warning)
    dumps = [artifact for artifact in part.artifacts if artifact.role == "dump"]
    if len(dumps) > 1:
        total = sum(artifact.bytes for artifact in dumps)
        yield _fact("dump", f"{len(dumps)} files, {size_text(total)}")
    for artifact in part.artifacts:
        if artifact.role == "dump" and len(dumps) > 1:
            continue
        text = f"{plain_text(artifact.path)}  {size_text(artifact.bytes)}"
        yield _fact(artifact.role, f"{text}  sha256 {artifact.sha256[:16]}…")
    if facts is not None and facts.tables:
        yield from _table_lines(facts.tables)


def _database_lines(facts: PostgresFacts) -> Iterator[str]:
    identity = facts.identity
    place = f"{identity.database} on {identity.host}:{identity.port}"
    role = "standby" if identity.standby else "primary"
    # An adopted dump does not tell its server.
    yield _fact("database", f"{place}, {role}" if identity.host else identity.database or UNKNOWN)
    dumped = f"{identity.server_version}, dumped with {facts.client_version}"
    yield _fact("version", dumped if identity.server_version else UNKNOWN)
    yield _fact("form", f"{facts.format}, scope {facts.scope}, {facts.toc_entries} entries")
    yield _fact("encoding", f"{facts.encoding}, {facts.collate or UNKNOWN}")
    if facts.roles:
        yield from _wrapped("roles", ", ".join(facts.roles))
    if facts.extensions:
        named = (f"{item.name} {item.version}" for item in facts.extensions)
        yield from _wrapped("extensions", ", ".join(named))
    counts = {"content": "rows and content", "counts": "rows", "absent": "nothing"}
    note = f" ({facts.count_note})" if facts.count_note else ""
    yield from _wrapped("compared by", counts[facts.count_method] + note)
    if facts.migration_head:
        yield from _wrapped("migration", facts.migration_head)


def _table_lines(tables: Sequence[TableFacts]) -> Iterator[str]:
    ordered = sorted(
        tables, key=lambda table: (-(table.bytes or 0), -(table.rows or 0), table.name)
    )
    yield f"  {'ROWS':>15}  {'SIZE':>8}  TABLE"
    for table in ordered:
        about = "" if table.counted or table.rows is None else "~"
        note = "  (data left out)" if table.data_excluded else ""
        rows = about + count_text(table.rows)
        yield f"  {rows:>15}  {size_text(table.bytes):>8}  {plain_text(table.qualified)}{note}"


def _restore_lines(
    point: PointSummary, parts: Sequence[PartManifest], directory: Path
) -> Iterator[str]:
    yield "Restore"
    commands = restore_command_lines(point, parts)
    yield from (f"  {command}" for command in commands)
    if not commands:
        yield "  Nothing in it is whole."
    stock = [command for part in parts for command in part.restore_commands]
    if stock:
        yield ""
        yield "Restore without fsbackup (RECOVER.md there says more)"
        yield f"  cd {_quoted(directory)}"
        for command in stock:
            yield from (f"  {line}" for line in command.splitlines())


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _fact(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{plain_text(text)}"


def _wrapped(label: str, text: str) -> Iterator[str]:
    yield from wrap_text(text or UNKNOWN, first=f"  {label:<{_LABEL}}")


def point_document(point: PointSummary) -> dict[str, object]:
    """Return a point as ``list --json`` gives it (design §9); times are UTC."""
    return {
        "id": point.id,
        "sequence": point.sequence,
        "plan": point.plan,
        "created": format_time(point.created),
        "whole": point.whole,
        "running": point.running,
        "trust": point.trust.word,
        "suspect": list(point.suspect),
        "in_incident": point.in_incident or None,
        "after_damage": point.after_damage,
        "bytes": point.bytes,
        "rows": point.rows,
        "rows_change": point.rows_change,
        "database_bytes": point.database_bytes,
        "files": point.files,
        "files_change": point.files_change,
        "seconds": point.seconds,
        "reason": point.reason,
        "parts": [_part_document(part) for part in point.parts],
        "copies": copies_documents(point.copies),
        "problems": list(point.problems),
        "blocked": list(point.blocked),
        "accepted": [dataclasses.asdict(one) for one in point.accepted],
        "foreign": point.foreign or None,
        "pinned": point.pinned or None,
        "spares": {
            spare.part: {
                "name": spare.name,
                "server": spare.server,
                "proven_at": format_time(spare.proven),
            }
            for spare in point.spares
        },
    }


def _part_document(part: PartSummary) -> dict[str, object]:
    schema_only = part.kind == _SCHEMA_KIND
    return {
        "source": part.source,
        "kind": "postgres" if schema_only else part.kind,
        "schema_only": schema_only,
        "trust": part.trust.word,
        "bytes": part.bytes,
        "rows": part.rows,
        "database_bytes": part.database_bytes,
        "files": part.files,
    }


def show_document(
    point: PointSummary,
    parts: Sequence[PartManifest],
    directory: Path,
    spares: Sequence[Spare] = (),
    against: Sequence[Against] = (),
    *,
    signature: Signature | None = None,
    changes: Mapping[str, PartChanges] | None = None,
    links: Sequence[LinkFacts] = (),
) -> dict[str, object]:
    """Return a point as ``show --json`` gives it: as in the list, and all that its parts tell."""
    return {
        "ok": True,
        **point_document(point),
        "path": str(directory),
        "levels": levels_document(point.levels),
        "signature": None if signature is None else signature.document(),
        "links": [dataclasses.asdict(link) for link in links],
        "manifests": {part.source: _plain(dataclasses.asdict(part)) for part in parts},
        "against": {one.source: _plain(_against_document(one)) for one in against},
        "spares": {spare.part: spare_document(spare) for spare in spares},
        **site_documents(parts, changes or {}),
        "commands": {
            "fsbackup": list(restore_command_lines(point, parts)),
            "stock": {part.source: list(part.restore_commands) for part in parts},
        },
    }


def _against_document(against: Against) -> dict[str, object]:
    return {
        "point": against.point,
        "created": against.created,
        "trust": against.trust.word,
        "tables": [dataclasses.asdict(change) for change in against.changes],
    }


def levels_document(levels: Mapping[str, LevelCheck]) -> dict[str, object]:
    """Return the levels as JSON documents carry them."""
    return {
        word: {
            "ok": check.ok,
            "at": format_time(check.at),
            "job": check.job,
            "seconds": check.seconds,
        }
        for word, check in levels.items()
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
