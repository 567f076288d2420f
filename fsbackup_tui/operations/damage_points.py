"""The points that a damage is measured against, and those that might be restored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from fsbackup_tui.domain.damage import Candidate
from fsbackup_tui.domain.errors import (
    FsbackupError,
    PointDamaged,
    PointNotFound,
    RepositoryError,
)
from fsbackup_tui.domain.estimate import MeasuredRun, time_back
from fsbackup_tui.domain.point import PartManifest, PointSummary, PostgresFacts, work_of
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.postgres.connection import connect
from fsbackup_tui.engines.postgres.inspect import read_identity
from fsbackup_tui.engines.postgres.spare import Standing, find_standing
from fsbackup_tui.operations.candidate_points import candidate_points, doubts, is_after, trust_of
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.link_loss import loss_lines
from fsbackup_tui.operations.target import admin_address
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.spares import Spare, all_spares

_NEWEST = 10
_CLEAN = 3
_SCHEMA_ALONE = "postgres-schema"

LiveRows = Mapping[tuple[str, str], int | None]
"""Every table of live with its rows; None: they are not known."""


@dataclass(frozen=True, slots=True)
class PointPart:
    """A point with its database part; ``part`` None: its manifest can't be read.

    ``links`` are those of its rows, as they fitted the files at capture.
    """

    summary: PointSummary
    part: PartManifest | None
    links: tuple[LinkFacts, ...] = ()

    @property
    def facts(self) -> PostgresFacts | None:
        """What was captured, as far as it is known."""
        return None if self.part is None else self.part.postgres

    @property
    def at(self) -> datetime:
        """The moment that the rows are of."""
        return self.summary.created if self.facts is None else self.facts.snapshot_at

    def trust(self, source: str) -> Trust:
        """How far the part itself was shown good."""
        return Trust.DAMAGED if self.part is None else trust_of(self.summary, source)


@dataclass(frozen=True, slots=True)
class KnownPoints:
    """What the repository has: the point asked for, those that might be restored, and the rest.

    ``chosen`` None: there is none, as the notes say. ``unsigned`` are the candidates that lack
    the signature which is demanded, with the words for it.
    """

    repository: Repository | None = None
    chosen: PointPart | None = None
    candidates: tuple[PointPart, ...] = ()
    runs: tuple[MeasuredRun, ...] = ()
    spares: tuple[Spare, ...] = ()
    notes: tuple[str, ...] = ()
    unsigned: Mapping[str, str] = field(default_factory=dict)


def known_points(
    context: JobContext, source: str, wanted: str, last_right: datetime | None
) -> KnownPoints:
    """Return the point to measure by, and the candidates, the newest first.

    Without ``wanted`` it is the newest good one from before it was last right, else the newest
    good one; where there is none, that is told, and nothing raised.

    Raises:
        PointNotFound: the point that was named is not there.
    """
    found = candidate_points(
        context,
        source,
        wanted,
        last_right,
        fits=lambda point: _fits(point, source),
        newest=_NEWEST,
        clean=_CLEAN,
    )
    repository = found.repository
    if repository is None:
        return KnownPoints(notes=found.notes)
    # Who names a point wants to be able to choose it, however old it is.
    candidates = found.with_chosen() if wanted else found.candidates
    parts = tuple(_point_part(repository, point, source) for point in candidates)
    measured = None if found.chosen is None else _point_part(repository, found.chosen, source)
    notes = found.notes
    if measured is not None and measured.facts is None:
        notes += (f"The manifest of {measured.summary.id} can't be read.",)
    spares = tuple(all_spares(repository, source))
    return KnownPoints(repository, measured, parts, found.runs, spares, notes)


def _fits(point: PointSummary, source: str) -> bool:
    """Whether a restore of it could bring the source's rows back, be it good or not."""
    return (
        point.whole
        and not point.running
        and any(part.source == source and part.kind != _SCHEMA_ALONE for part in point.parts)
    )


def _point_part(repository: Repository, point: PointSummary, source: str) -> PointPart:
    with suppress(PointDamaged, PointNotFound, RepositoryError):
        reader = PointReader(repository, point.id)
        part = reader.part(source)
        links = () if reader.manifest is None else reader.manifest.links
        return PointPart(point, part, tuple(link for link in links if link.source == source))
    return PointPart(point, None)


def weigh_candidates(
    known: KnownPoints,
    source: str,
    live: LiveRows | None,
    standing: Mapping[str, Standing],
    *,
    last_right: datetime | None,
    now: datetime,
) -> tuple[Candidate, ...]:
    """Return each point that might be restored, with what swapping to it would lose.

    ``live`` None: it could not be read. ``standing`` are the spares on the server, by point.
    """
    return tuple(
        _candidate(known, point, source, live, standing, last_right, now)
        for point in known.candidates
    )


def _candidate(
    known: KnownPoints,
    point: PointPart,
    source: str,
    live: LiveRows | None,
    standing: Mapping[str, Standing],
    last_right: datetime | None,
    now: datetime,
) -> Candidate:
    trust = point.trust(source)
    lost, back = rows_between(live, point.facts)
    outlook = time_back(known.runs, work_of(point.summary))
    spare = standing.get(point.summary.id)
    unsigned = known.unsigned.get(point.summary.id, "")
    doubt = doubts(point.summary, source, last_right, trust=trust)
    return Candidate(
        point=point.summary.id,
        at=point.at,
        trust=trust.word,
        minutes=round(max(0.0, (now - point.at).total_seconds()) / 60, 1),
        rows_lost=lost,
        rows_back=back,
        after_damage=is_after(point.summary, last_right),
        doubt="; ".join(filter(None, (doubt, unsigned))),
        spare="" if spare is None else spare.name,
        spare_oid=0 if spare is None else spare.oid,
        seconds=None if outlook is None else round(outlook.span.seconds, 1),
        unsigned=unsigned,
        links=loss_lines(point.links),
    )


def rows_between(
    live: LiveRows | None, facts: PostgresFacts | None
) -> tuple[int | None, int | None]:
    """Return the rows that live has more than the point, and those that the point has more.

    Summed by table; None where nothing is known. Rows that no point holds, as the configuration
    leaves them out, count for neither.
    """
    if live is None or facts is None:
        return None, None
    captured = dict(captured_rows(facts))
    known = {name: rows for name, rows in captured.items() if rows is not None}
    if not known:
        return None, None
    left_out = {(t.schema, t.name) for t in facts.tables if t.data_excluded}
    lost = back = 0
    for name in live.keys() | known.keys():
        now, then = live.get(name, 0), known.get(name, None if name in captured else 0)
        if now is None or then is None or name in left_out:
            continue
        lost += max(0, now - then)
        back += max(0, then - now)
    return lost, back


def captured_rows(facts: PostgresFacts) -> Iterator[tuple[tuple[str, str], int | None]]:
    """Yield each table with rows of its own, and how many a restore would bring."""
    for table in facts.tables:
        if table.kind in ("table", "unlogged") and not table.data_excluded:
            yield (table.schema, table.name), table.rows


async def standing_spares(
    context: JobContext, source: str, spares: Iterable[Spare]
) -> tuple[dict[str, Standing], str]:
    """Return the spares that stand on the server and are closed, by point; and why none is known.

    Whether one is still as it was proven is looked at before it is used.
    """
    known = list(spares)
    if not known:
        return {}, ""
    try:
        address = await admin_address(context.loaded, context.environment, context.redactor, source)
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            server = (await read_identity(admin, address)).system_identifier
            here = [spare for spare in known if spare.system_identifier == server]
            found = await find_standing(admin, [(spare.oid, spare.comment) for spare in here])
    except FsbackupError as error:
        return {}, f"Whether a spare stands ready is not known: {error.what}"
    marks = {(standing.oid, standing.comment): standing for standing in found if not standing.open}
    return {
        spare.point: marks[spare.oid, spare.comment]
        for spare in here
        if (spare.oid, spare.comment) in marks
    }, ""
