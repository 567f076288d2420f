"""A spare that is swapped in: known by its record, as it was proven, and no spare any more."""

from __future__ import annotations

from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.spare import (
    STATISTICS_LOST,
    changed_since,
    find_standing,
    parse_counters,
)
from fsbackup_tui.engines.postgres.swap import Database
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record
from fsbackup_tui.repository.spares import KIND, Spare, all_spares

_NO_COUNTERS = "its record does not tell its counters"


async def spare_of(
    admin: Connection, repository: Repository, part: str, database: Database
) -> Spare | None:
    """Return the spare that the database is, by record, OID and mark together; else None."""
    known = [spare for spare in all_spares(repository, part) if spare.oid == database.oid]
    found = await find_standing(admin, [(spare.oid, spare.comment) for spare in known])
    marks = {here.comment for here in found if here.name == database.name}
    return next((spare for spare in known if spare.comment in marks), None)


async def why_not_as_proven(admin: Connection, spare: Spare) -> str:
    """Return why a spare is not as it was proven, or can't be told to be; empty where it is."""
    try:
        proven = parse_counters(spare.counters)
    except (KeyError, TypeError, ValueError):
        return _NO_COUNTERS
    return await changed_since(admin, spare.oid, spare.comment, proven)


def can_not_be_told(reason: str) -> bool:
    """Whether the reason is no more than that: nothing says that somebody was in the spare."""
    return reason in (_NO_COUNTERS, STATISTICS_LOST)


async def refuse_used(admin: Connection, spare: Spare, context: JobContext) -> str:
    """Return a remark where it can't be told that nobody was in the spare; empty where it can.

    Raises:
        SafetyRefusal: somebody was, or is, in it.
    """
    reason = await why_not_as_proven(admin, spare)
    if not reason:
        return ""
    if can_not_be_told(reason):
        text = f"{spare.name} may not be as it was proven: {reason}"
        context.report(Warned(text))
        return text
    raise SafetyRefusal(
        f"NOT SWAPPED: {spare.name} is not as it was proven. Nothing changed.",
        why=f"{reason[0].upper()}{reason[1:]}.",
        fix=f"Restore the point itself: fsbackup restore {spare.point}",
    )


def captured_comment(repository: Repository, point: str, part: str) -> str | None:
    """Return the comment that a part's database had when captured; None where not known."""
    try:
        facts = PointReader(repository, point).part(part).postgres
    except FsbackupError:
        return None
    return None if facts is None else facts.comment


def record_swapped_in(
    context: JobContext, repository: Repository, part: str, oid: int, system_identifier: str | None
) -> bool:
    """Record that the spare of that OID is the live database now; whether there was such."""
    spares = [
        spare
        for spare in all_spares(repository, part)
        if (spare.oid, spare.system_identifier) == (oid, system_identifier)
    ]
    for spare in spares:
        try:
            write_record(
                repository,
                spare.point,
                KIND,
                spare.document(gone="it was swapped in"),
                now=context.now(),
                job=context.job,
                operator=context.operator,
            )
        except UsageError:
            # Of a point that is gone itself, nothing can be recorded any more.
            continue
        context.report(Log(f"{spare.name} is live now, and no spare of {spare.point} any more"))
    return bool(spares)
