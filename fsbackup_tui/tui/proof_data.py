"""What a point's records tell of its trial restores, and its plan's points over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

from fsbackup_tui.config.model import Plan, Scratch
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.proof import parse_proof
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.records import Record, read_records
from fsbackup_tui.repository.standing import problem_text
from fsbackup_tui.tui.buckets import Picture, end_of, fill_buckets, usual_spacing, usual_unit
from fsbackup_tui.tui.data import Checked, PartProof, PointProof, Wanted

_HISTORY_KEPT = 500
_PAGE = 500
_SPACED_BY = 30
_TRIALS: Mapping[str, str] = {
    "own": "on a server of its own here",
    "server": "on the scratch server",
    "live": "in a database beside the live one",
}


def wanted_of(plans: Mapping[str, Plan]) -> dict[str, Wanted]:
    """Return how far each plan wants its points verified."""
    return {
        name: Wanted(Trust.from_word(plan.verify), plan.verify_every)
        for name, plan in plans.items()
    }


def trial_words(scratch: Scratch) -> str:
    """Return in words where trial restores run."""
    kind = scratch.on
    if kind == "auto":
        kind = "own" if scratch.url is None else "server"
    return _TRIALS[kind]


def point_proof(repository: Repository, summary: PointSummary) -> PointProof:
    """Return what was shown of a point, as its records tell; reads them all."""
    records = read_records(repository, summary.id)
    verified = [record for record in records if record.counts and record.kind == "verified"]
    parts: dict[str, PartProof] = {}
    for record in verified:
        parts.update((part.source, part) for part in _proofs(record))
    spares = {spare.part: spare for spare in summary.spares}
    history = tuple(_checked(record) for record in reversed(verified[-_HISTORY_KEPT:]))
    worthless = tuple(record.problem for record in records if record.problem)
    told = tuple(replace(part, spare=spares.get(source)) for source, part in parts.items())
    return PointProof(summary, told, history, worthless)


def _outcomes(record: Record) -> Iterator[tuple[str, Mapping[str, object]]]:
    parts = record.document.get("parts")
    for source, outcome in parts.items() if isinstance(parts, Mapping) else ():
        if isinstance(outcome, Mapping):
            yield str(source), outcome


def _proofs(record: Record) -> Iterator[PartProof]:
    level = str(record.document.get("level"))
    for source, outcome in _outcomes(record):
        document = outcome.get("proof")
        if not isinstance(document, Mapping):
            continue
        # A record of another version may hold what this one can't read: then it shows less.
        with suppress(ValueError):
            proof = parse_proof(document)
            yield PartProof(source, level, record.at, record.job, str(record.path), proof)


def _checked(record: Record) -> Checked:
    document = record.document
    ok, seconds = document.get("ok"), document.get("seconds")
    texts: list[str] = []
    for _source, outcome in _outcomes(record):
        listed = outcome.get("blocked" if ok is None else "problems")
        texts += map(problem_text, listed if isinstance(listed, Sequence) else ())
    return Checked(
        level=str(document.get("level")),
        ok=ok if isinstance(ok, bool) else None,
        at=record.at,
        job=record.job,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        problems=tuple(texts),
    )


def plan_picture(
    catalogue: Catalogue,
    plan: str,
    unit: timedelta | None,
    columns: int,
    *,
    now: datetime,
    zone: tzinfo,
) -> Picture:
    """Return a plan's points up to now; without a unit the one that suits their age."""
    first = catalogue.points(plan, order="created", descending=False, limit=1)
    oldest = min((point.created for point in first), default=None)
    spacing = usual_spacing(catalogue.points(plan, order="created", limit=_SPACED_BY))
    length = unit or usual_unit(oldest, now, columns, spacing)
    until = end_of(now, length, zone)
    points = _newest_first(catalogue, plan, until - length * columns)
    buckets = fill_buckets(points, until, length, columns)
    return Picture(plan, length, until, buckets, oldest, spacing)


def _newest_first(catalogue: Catalogue, plan: str, since: datetime) -> Iterator[PointSummary]:
    """Yield the plan's points page by page: all of them at once could be very many."""
    offset = 0
    while page := catalogue.points(plan, since, order="created", limit=_PAGE, offset=offset):
        offset += len(page)
        yield from page
