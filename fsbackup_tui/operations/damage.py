"""The damage report: live against a point, by reading alone, and what each point would bring."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from fsbackup_tui.domain.damage import DamageReport, SchemaDamage
from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.damage_definitions import compare_with_copy, compare_with_point
from fsbackup_tui.operations.damage_points import (
    KnownPoints,
    known_points,
    standing_spares,
    weigh_candidates,
)
from fsbackup_tui.operations.damage_reading import LiveFound, has_rows, look_at_live
from fsbackup_tui.operations.live_server import reading_address
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.point_site import code_lines, link_lines, live_code_lines, parts_of
from fsbackup_tui.operations.recovery_requests import DamageRequest
from fsbackup_tui.operations.signatures import unsigned_points

_NAMED = 3


async def run(request: DamageRequest, context: JobContext) -> dict[str, object]:
    """Return the ``DamageReport`` of live against a point, with the candidates beside it.

    Raises:
        PointNotFound: the point that was named is not there.
        IdentityMismatch: the server is not the one that was seen.
        ServerUnreachable, AuthenticationFailed: nothing can be told of live.
    """
    context.stage("tables")
    last_right = parse_time(request.last_right) if request.last_right else None
    known = await asyncio.to_thread(known_points, context, request.part, request.point, last_right)
    facts = None if known.chosen is None else known.chosen.facts
    address = await reading_address(context, request.part, request.database)
    found = await look_at_live(request, context, address, facts)
    context.stage("schema")
    schema, notes = await _definitions(request, context, known, found)
    context.stage("candidates")
    # A drill's copy has no spare: what stands ready is kept for when it is needed.
    spares = () if request.database else known.spares
    standing, unknown = await standing_spares(context, request.part, spares)
    ids = [point.summary.id for point in known.candidates]
    unsigned = await unsigned_points(context, known.repository, ids)
    point = "" if known.chosen is None else known.chosen.summary.id
    parts, links = await asyncio.to_thread(parts_of, context, point) if point else ((), ())
    head = None if facts is None else facts.migration_head
    code = [*code_lines(parts, request.part, head), *await live_code_lines(context, parts)]
    now = context.now()
    report = DamageReport(
        at=now,
        point=point,
        point_at=None if known.chosen is None else known.chosen.at,
        tables=tuple(found.tables),
        schema=schema,
        sequences=found.sequences,
        live_bytes=found.size,
        point_bytes=None if facts is None else facts.identity.size_bytes,
        born_and_gone=_born_and_gone(found),
        counters_since=found.counters_since,
        candidates=weigh_candidates(
            replace(known, unsigned=unsigned),
            request.part,
            found.rows,
            standing,
            last_right=last_right,
            now=now,
        ),
        health=tuple(found.health),
        migration_head_live=found.migration_head,
        migration_head_point="" if facts is None else facts.migration_head or "",
        notes=tuple(
            filter(None, (*known.notes, *found.notes, *_remarks(found, facts), *notes, unknown))
        ),
        live="gone" if found.gone else "there" if found.live is not None else "unreadable",
        corrupt=found.corrupt,
        code=tuple(code),
        links=link_lines(links, request.part),
    )
    return {"ok": True, **plain(report)}


def _born_and_gone(found: LiveFound) -> int | None:
    """Return how many rows at most were born since the point and are gone again; None: unknown.

    A number that a sequence gave and no row has may also have been given in vain.
    """
    if found.live is None or not (found.sequences or found.tables):
        return None
    return sum(gap.given - min(gap.given, gap.kept or 0) for gap in found.sequences)


def _remarks(found: LiveFound, facts: PostgresFacts | None) -> list[str]:
    """Return what the figures alone don't tell."""
    notes = []
    estimated = [t.qualified for t in found.tables if not t.counted and t.live_rows is not None]
    if estimated:
        notes.append(f"Estimated by the server's counters: {_some(estimated)}.")
    numbered = {gap.table for gap in found.sequences}
    if facts is not None:
        numbered |= {(s.owned_by or "").rpartition(".")[0] for s in facts.sequences}
        uncounted = [
            t.qualified
            for t in found.tables
            if t.point_rows is not None
            and not t.counted
            and not t.missing
            and t.live_rows is None
            and not t.note
        ]
        notes += [f"Not known: the rows of {_some(uncounted)}."] if uncounted else []
        left_out = [t.qualified for t in facts.tables if t.data_excluded and has_rows(t.kind)]
        if left_out:
            notes.append(f"In no point are the rows of {_some(left_out)}.")
        if absent := (*facts.excluded_schemas, *facts.excluded_tables):
            notes.append(f"In no point is what the configuration leaves out: {_some(absent)}.")
    since = "ever" if found.counters_since is None else f"since {found.counters_since:%F %R} UTC"
    for table in found.tables:
        if table.deleted and table.point_rows is not None and table.qualified not in numbered:
            gone = max(0, table.deleted - table.rows_lost)
            if gone:
                notes.append(
                    f"{table.qualified} has no sequence: of its rows that were born after the"
                    f" point at most {gone} are gone ({table.deleted} were deleted {since})."
                )
    return notes


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


async def _definitions(
    request: DamageRequest, context: JobContext, known: KnownPoints, found: LiveFound
) -> tuple[tuple[SchemaDamage, ...], tuple[str, ...]]:
    if found.live is None:
        return (), ()
    if request.copy:
        return await compare_with_copy(context, found.live, request.part, request.copy)
    chosen, repository = known.chosen, known.repository
    if chosen is None or chosen.part is None or repository is None:
        return (), ()
    return await compare_with_point(context, found.live, repository, chosen.summary.id, chosen.part)
