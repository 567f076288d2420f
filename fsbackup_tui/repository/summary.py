"""One point as the inventory sees it, read from what lies in the repository."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.point import (
    POINT_ID,
    Manifest,
    PartManifest,
    PartSummary,
    PointSummary,
    point_time,
)
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository.copies import copies_of
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.leftovers import is_being_written, whole_parts
from fsbackup_tui.repository.manifest import (
    MANIFEST_NAME,
    PART_NAME,
    parse_manifest,
    read_bytes,
    read_part,
)
from fsbackup_tui.repository.measured import measured_runs
from fsbackup_tui.repository.records import (
    Record,
    head_sequence,
    pin_in,
    read_records,
    was_whole,
)
from fsbackup_tui.repository.spares import spare_summary, spares_in
from fsbackup_tui.repository.standing import judge, part_summary


def summarise(
    repository: Repository, point: str, running: Callable[[str], bool] | None = None
) -> PointSummary:
    """Return what the inventory shows of one point; whatever is wrong with it is in there.

    ``rows_change`` is left open: it needs the point before.
    """
    directory = repository.point_directory(point)
    path = directory / MANIFEST_NAME
    if not path.exists() and not path.is_symlink():
        if was_whole(repository, point):
            return _damaged(repository, point, f"{MANIFEST_NAME}: missing", 0)
        return _without_manifest(repository, point, running)
    try:
        content = read_bytes(path)
        manifest = parse_manifest(path, content)
    except PointDamaged as error:
        problem = error.why.rstrip(".") or error.what
        return _damaged(repository, point, problem, head_sequence(path))
    digest = hashlib.sha256(content).hexdigest()
    records = read_records(repository, point, manifest_sha256=digest)
    return _whole(manifest, records, _missing_parts(repository, manifest))


def _missing_parts(repository: Repository, manifest: Manifest) -> list[str]:
    """Return what is plain without reading much: a part that is gone, or not a directory."""
    directory = repository.point_directory(manifest.id)
    return [
        f"{part.source}: the part is missing"
        for part in manifest.parts
        if not (directory / part.source / PART_NAME).is_file()
    ]


def _whole(manifest: Manifest, records: Sequence[Record], missing: list[str]) -> PointSummary:
    standing = judge(manifest.parts, records, whole=True)
    gone = {text.partition(":")[0] for text in missing}
    parts = tuple(
        part_summary(part, Trust.DAMAGED if part.source in gone else standing.parts[part.source])
        for part in manifest.parts
    )
    return PointSummary(
        id=manifest.id,
        sequence=manifest.sequence,
        plan=manifest.plan,
        created=manifest.started.astimezone(UTC),
        whole=True,
        running=False,
        trust=Trust.DAMAGED if missing else standing.trust,
        suspect=standing.suspect,
        bytes=manifest.bytes,
        parts=parts,
        rows=_sum(part.rows for part in parts),
        database_bytes=_sum(part.database_bytes for part in parts),
        files=_sum(part.files for part in parts),
        seconds=max(0.0, (manifest.finished - manifest.started).total_seconds()),
        reason=manifest.reason,
        problems=(*missing, *standing.problems),
        blocked=standing.blocked,
        levels=standing.levels,
        runs=measured_runs(records),
        spares=tuple(map(spare_summary, spares_in(records))),
        in_incident="" if standing.cleared else manifest.in_incident or "",
        pinned=pin_in(records),
        copies=copies_of(records),
    )


def _without_manifest(
    repository: Repository, point: str, running: Callable[[str], bool] | None
) -> PointSummary:
    directory = repository.point_directory(point)
    alive = is_being_written(directory, running)
    parts: list[PartManifest] = []
    problems: list[str] = []
    for source in whole_parts(directory):
        try:
            parts.append(read_part(directory / source / PART_NAME))
        except PointDamaged as error:
            problems.append(f"{source}/{error.why.rstrip('.')}")
    records = read_records(repository, point, manifest_sha256="")
    standing = judge(parts, records, whole=False)
    if not alive:
        problems.append(
            "never finished: no manifest; its whole parts can be restored"
            if parts
            else "never finished: nothing in it is whole"
        )
    summaries = tuple(part_summary(part, standing.parts[part.source]) for part in parts)
    return _bare(
        point,
        running=alive,
        trust=Trust.INCOMPLETE,
        parts=summaries,
        suspect=standing.suspect,
        problems=(*problems, *standing.problems),
        pinned=pin_in(records),
    )


def _damaged(repository: Repository, point: str, problem: str, sequence: int) -> PointSummary:
    directory = repository.point_directory(point)
    parts: list[PartSummary] = []
    for source in whole_parts(directory):
        try:
            part = read_part(directory / source / PART_NAME)
        except PointDamaged:
            continue
        parts.append(part_summary(part, Trust.UNVERIFIED))
    return _bare(
        point,
        running=False,
        trust=Trust.DAMAGED,
        parts=tuple(parts),
        problems=(problem,),
        sequence=sequence,
        pinned=pin_in(read_records(repository, point, manifest_sha256="")),
    )


def _bare(
    point: str,
    *,
    running: bool,
    trust: Trust,
    parts: tuple[PartSummary, ...],
    problems: tuple[str, ...],
    suspect: tuple[str, ...] = (),
    sequence: int = 0,
    pinned: str = "",
) -> PointSummary:
    match = POINT_ID.fullmatch(point)
    return PointSummary(
        id=point,
        sequence=sequence,
        plan=match["plan"] if match else "",
        created=_created(point),
        whole=False,
        running=running,
        trust=trust,
        suspect=suspect,
        bytes=sum(part.bytes for part in parts),
        parts=parts,
        rows=_sum(part.rows for part in parts),
        database_bytes=_sum(part.database_bytes for part in parts),
        files=_sum(part.files for part in parts),
        problems=problems,
        pinned=pinned,
    )


def _created(point: str) -> datetime:
    try:
        return point_time(point) or datetime.fromtimestamp(0, UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
