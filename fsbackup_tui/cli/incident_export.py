"""``fsbackup incidents export ID``: the rows that only live has, as CSV files of the incident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.recovery.desk import Desk
    from fsbackup_tui.repository.incidents import IncidentJournal


def export(context: CliContext, desk: Desk, journal: IncidentJournal) -> int:
    """Write the rows that the incident's comparison found in live alone; its leader may.

    Raises:
        UsageError: nothing was compared by key yet. StaleLeader: somebody else leads.
    """
    from fsbackup_tui.cli.follow import Interrupts, end_of_job, follow_job
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.jobs.supervisor import Follower
    from fsbackup_tui.operations.merge_requests import ExportRequest
    from fsbackup_tui.recovery.declare import attach

    session = attach(desk, journal)
    try:
        facts = session.read().facts
        if not facts.staging:
            raise UsageError(
                f"NOTHING COMPARED YET in incident {journal.id}.",
                why="Which rows only live has is known once it was compared by key.",
                fix=f"fsbackup recover --resume {journal.id}",
            )
        session.require_lead()
        request = ExportRequest(
            part=facts.incident.source, database=facts.database, staging=facts.staging
        )
        job = session.begin_job(request)
        if not follow_job(job, context, Interrupts()):
            return 0
        follower = Follower(job)
        while follower.finished is None:
            follower.poll()
        return end_of_job(follower.finished, context, summary=summary)
    finally:
        session.leave()


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.wording import count_text, plain_text

    lines = [f"Written into {result['directory']}"]
    lines += [
        f"  {plain_text(str(table['table']))}: {count_text(table['rows'])} rows,"
        f" {plain_text(str(table['file']))}"
        for table in result["tables"]
    ]
    return lines if result["tables"] else ["Live has no rows of its own."]
