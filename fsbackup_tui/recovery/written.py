"""Counting what was written to the restored database since the swap: what a rollback sets aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.written import WrittenSince
from fsbackup_tui.operations.recovery_requests import WrittenSinceRequest
from fsbackup_tui.recovery.facts import read_value
from fsbackup_tui.recovery.running import JobWatch, problem_of

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import RecoverySession


def swapped_schemas(swapped: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the schemas that a schema swap gave live's names; empty for databases."""
    found = swapped.get("schemas")
    listed = found if isinstance(found, list) else []
    return tuple(str(each.get("schema")) for each in listed if isinstance(each, Mapping))


class Count:
    """One count at a time; ``problem`` says why the last one told nothing."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self._watch: JobWatch | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a count was begun and has not come back."""
        return self._watch is not None

    def start(self, session: RecoverySession) -> None:
        """Begin to count; nothing where nothing is swapped, or one is under way."""
        incident = session.read().incident
        facts = session.read().facts
        swapped = facts.document("swapped")
        schemas = swapped_schemas(swapped)
        if self._watch is not None or not (swapped.get("kept_as") or schemas):
            return
        self.problem = None
        request = WrittenSinceRequest(
            part=incident.source,
            database=facts.database,
            target=facts.server,
            live_oid=int(swapped.get("database_oid") or 0),
            counters=str(swapped.get("counters") or ""),
            schemas=schemas,
        )
        try:
            self._watch = JobWatch("written", session.begin_job(request))
        except FsbackupError as error:
            self.problem = error.problem()

    def take(self) -> WrittenSince | None:
        """Return what was counted, once it has come back."""
        if self._watch is None:
            return None
        self._watch.read()
        if not self._watch.ended:
            return None
        job, self._watch = self._watch.job, None
        written = read_value(WrittenSince, job.result) if job.state == "ok" else None
        if written is None:
            self.problem = problem_of(job)
        return written
