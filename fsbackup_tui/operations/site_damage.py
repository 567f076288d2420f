"""The damage report of files, configuration and code: live against the points, by reading alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.site_damage import SiteCandidate, SiteDamage
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_counting import count_points
from fsbackup_tui.operations.place_requests import SiteDamageRequest
from fsbackup_tui.operations.places import kind_of, place_source
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.site_points import SitePoints, candidate_of, site_points


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found: the kind's own document of the point measured by, and the candidates."""

    found: Mapping[str, Any]
    candidates: tuple[SiteCandidate, ...]
    notes: tuple[str, ...] = ()


async def run(request: SiteDamageRequest, context: JobContext) -> dict[str, object]:
    """Return the ``SiteDamage``; what can't be looked at is in its notes.

    Raises:
        UsageError: the source is none of files, configuration or code.
        PointNotFound: the point that was named is not there.
    """
    context.stage("points")
    kind = kind_of(place_source(context.loaded, request.part))
    right = parse_time(request.last_right) if request.last_right else None
    known = await asyncio.to_thread(site_points, context, request.part, request.point, right)
    now = context.now()
    candidates = tuple(
        candidate_of(each, request.part, last_right=right, now=now) for each in known.candidates
    )
    measure = _MEASURES[kind]
    measured = await measure(request, context, known, candidates)
    chosen = known.chosen
    damage = SiteDamage(
        at=now,
        kind=kind,
        part=request.part,
        point="" if chosen is None else chosen.summary.id,
        point_at=None if chosen is None else chosen.at,
        candidates=measured.candidates,
        found=measured.found,
        notes=(*known.notes, *measured.notes),
    )
    return {"ok": True, **plain(damage)}


async def _files(
    request: SiteDamageRequest,
    context: JobContext,
    known: SitePoints,
    candidates: tuple[SiteCandidate, ...],
) -> Measured:
    from fsbackup_tui.operations import files_look
    from fsbackup_tui.operations.site_requests import FilesLookRequest

    context.stage("live")
    found: dict[str, object] = {}
    notes: list[str] = []
    if known.chosen is not None:
        asked = FilesLookRequest(request.part, point=known.chosen.summary.id, touching=False)
        quiet = replace(context, stage=_no_stage)
        try:
            found = await files_look.run(asked, quiet)
        except FsbackupError as error:
            notes.append(_not_read(asked.point, error))
    context.stage("candidates")
    counted, unread = await count_points(
        context, request.part, tuple(each.point for each in candidates if each.trust != "damaged")
    )
    told = {_not_read(point, error): None for point, error in unread.items()}
    notes += [note for note in told if note not in notes]
    taken = found.get("seconds")
    shown = []
    for each in candidates:
        count = counted.get(each.point)
        if count is not None:
            each = replace(
                each,
                brings=count.missing,
                brings_bytes=count.missing_bytes,
                differs=count.changed,
                lacks=count.only_live,
            )
        if found.get("point") == each.point and isinstance(taken, int | float):
            each = replace(each, seconds=float(taken))
        shown.append(each)
    return Measured({k: v for k, v in found.items() if k != "ok"}, tuple(shown), tuple(notes))


def _not_read(point: str, error: FsbackupError) -> str:
    return f"{point} can't be looked into: {error.what}"


def _no_stage(_: str) -> None:
    return None


_Measure = Callable[
    [SiteDamageRequest, JobContext, SitePoints, tuple[SiteCandidate, ...]], Awaitable[Measured]
]
_MEASURES: Mapping[str, _Measure] = {"files": _files}
