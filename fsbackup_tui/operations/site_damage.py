"""The damage report of files, configuration and code: live against the points, by reading alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import parse_time
from fsbackup_tui.domain.fit import fits_of
from fsbackup_tui.domain.site_damage import SiteCandidate, SiteDamage, entry_words
from fsbackup_tui.domain.site_parts import CodeFacts
from fsbackup_tui.operations.code_back import foreign_paths
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.files_counting import count_points
from fsbackup_tui.operations.live_code import LiveCode, read_live_code
from fsbackup_tui.operations.place_requests import SiteDamageRequest
from fsbackup_tui.operations.places import kind_of, place_paths, place_source
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.signatures import unsigned_points
from fsbackup_tui.operations.site_points import SitePoints, candidate_of, site_points
from fsbackup_tui.operations.status import site_zone
from fsbackup_tui.operations.wording import when_text


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
    now, ids = context.now(), [each.summary.id for each in known.candidates]
    unsigned = await unsigned_points(context, known.repository, ids)
    candidates = tuple(
        candidate_of(each, request.part, last_right=right, now=now, unsigned=unsigned.get(name, ""))
        for each, name in zip(known.candidates, ids, strict=True)
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
        notes += await asyncio.to_thread(_when_it_went, found, context)
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


async def _config(
    request: SiteDamageRequest,
    context: JobContext,
    known: SitePoints,
    candidates: tuple[SiteCandidate, ...],
) -> Measured:
    from fsbackup_tui.operations import restore_config
    from fsbackup_tui.operations.site_requests import RestoreConfigRequest

    context.stage("live")
    chosen = "" if known.chosen is None else known.chosen.summary.id
    quiet, notes = replace(context, stage=_no_stage), list[str]()
    found: dict[str, object] = {}
    shown = []
    context.stage("candidates")
    for each in candidates:
        asked = RestoreConfigRequest(each.point, request.part, "diff")
        try:
            document = await restore_config.compare(asked, quiet)
        except FsbackupError as error:
            notes.append(_not_read(each.point, error))
            shown.append(each)
            continue
        entries = _entries(document)
        other = [entry for entry in entries if entry.get("change") != "same"]
        shown.append(replace(each, brings=len(other), about=_config_words(other)))
        if each.point == chosen:
            found = {"entries": entries, "lines": _config_lines(entries)}
            told = document.get("notes")
            notes += map(str, told) if isinstance(told, list) else ()
    return Measured(found, tuple(shown), tuple(dict.fromkeys(notes)))


def _entries(document: Mapping[str, object]) -> list[Mapping[str, Any]]:
    entries = document.get("entries")
    listed = entries if isinstance(entries, list) else []
    return [each for each in listed if isinstance(each, Mapping)]


def _config_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the differences by names: what live has beyond the point, and what it lacks."""
    lines = [
        f"{entry.get('origin')} {entry.get('name')}: {entry_words(entry)}"
        for entry in entries
        if entry.get("change") != "same"
    ]
    same = sum(entry.get("change") == "same" for entry in entries)
    told = "1 entry is" if same == 1 else f"{same} entries are"
    return [*(lines or ["live is as the point has it"]), f"{told} the same"]


def _config_words(entries: Sequence[Mapping[str, Any]]) -> str:
    names = [str(entry.get("name")).rpartition("/")[2] for entry in entries[:3]]
    more = len(entries) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


async def _code(
    request: SiteDamageRequest,
    context: JobContext,
    known: SitePoints,
    candidates: tuple[SiteCandidate, ...],
) -> Measured:
    context.stage("live")
    work_tree = place_paths(context.loaded, request.part)[0]
    live = await read_live_code(context, work_tree)
    context.stage("candidates")
    shown = []
    for each, point in zip(candidates, known.candidates, strict=True):
        facts = point.part.code if point.part is not None else None
        if facts is not None:
            another = facts.head != live.head or facts.dirty or live.problem
            each = replace(each, brings=int(bool(another)), about=code_words(facts))
        shown.append(each)
    facts = known.chosen.part.code if known.chosen and known.chosen.part else None
    found: dict[str, object] = {"live": plain(live), "lines": list(_code_lines(live, facts))}
    if facts is not None:
        found["artifacts"] = list(facts.artifacts)
        found["head"], found["dirty"] = facts.head or "", facts.dirty
    notes = [*_fit_notes(context, known), *_inside_notes(context, work_tree)]
    return Measured(found, tuple(shown), tuple(notes))


def _code_lines(live: LiveCode, facts: CodeFacts | None) -> Iterator[str]:
    yield f"live   {live.words}"
    if facts is None:
        return
    yield f"point  {code_words(facts)}"
    if not live.problem:
        same = "the same commit" if facts.head == live.head else "ANOTHER commit"
        yield f"live is at {same}"
    head = live.migrations[-1] if live.migrations else "none"
    yield f"last migration: live {head}, point {facts.migration_head or 'none'}"
    if facts.deployed and facts.deployed != facts.head:
        yield f"deployed when it was taken: {facts.deployed[:12]}, and not its HEAD"


def _fit_notes(context: JobContext, known: SitePoints) -> Iterator[str]:
    """Yield how the point's databases fit its code."""
    if known.chosen is None:
        return
    for database, code, fit in fits_of(known.parts):
        yield f"In the point, {database} and {code}: {fit.words()}"


def _inside_notes(context: JobContext, work_tree: Path) -> Iterator[str]:
    inside = foreign_paths(context.loaded, work_tree)
    if inside:
        yield f"In the work tree, and none of its code: {', '.join(inside[:3])}: they stay"


def _when_it_went(found: Mapping[str, object], context: JobContext) -> list[str]:
    """Return when names were last taken out of (or put into) the directories that miss some.

    It helps whoever does not know since when it is wrong; those of the first names are asked.
    """
    missing, root = found.get("missing"), Path(str(found.get("root") or "/"))
    names = missing.get("names") if isinstance(missing, Mapping) else None
    times: dict[Path, float] = {}
    for name in names if isinstance(names, list) else ():
        directory = root / str(name).rpartition("/")[0]
        with suppress(OSError, ValueError):
            times[directory] = directory.stat().st_mtime
    if not times:
        return []
    zone, now = site_zone(context.loaded), context.now()
    first, last = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    told = [f"Last changed: {last} at {when_text(_moment(times[last]), now, zone)}"]
    if times[first] != times[last]:
        told.append(f"and {first} at {when_text(_moment(times[first]), now, zone)}")
    return [", ".join(told)]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _not_read(point: str, error: FsbackupError) -> str:
    return f"{point} can't be looked into: {error.what}"


def _no_stage(_: str) -> None:
    return None


_Measure = Callable[
    [SiteDamageRequest, JobContext, SitePoints, tuple[SiteCandidate, ...]], Awaitable[Measured]
]
_MEASURES: Mapping[str, _Measure] = {"files": _files, "config": _config, "code": _code}
