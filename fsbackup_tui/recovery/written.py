"""Counting what was written since a swap or an exchange: what taking it back sets aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.tree import Exchanged
from fsbackup_tui.domain.written import WrittenSince
from fsbackup_tui.operations.plain import plain
from fsbackup_tui.operations.recovery_requests import WrittenSinceRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.site_requests import FilesRollbackRequest
from fsbackup_tui.recovery.facts import read_value
from fsbackup_tui.recovery.running import JobWatch, problem_of

if TYPE_CHECKING:
    from fsbackup_tui.recovery.session import Reading, RecoverySession


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
        if self._watch is not None:
            return
        request = _request(session.read())
        if request is None:
            return
        self.problem = None
        try:
            self._watch = JobWatch("written", session.begin_job(request))
        except FsbackupError as error:
            self.problem = error.problem()

    def take(self) -> Mapping[str, Any] | None:
        """Return what was counted, as the facts to remember, once it has come back."""
        if self._watch is None:
            return None
        self._watch.read()
        if not self._watch.ended:
            return None
        job, self._watch = self._watch.job, None
        if job.state == "ok":
            exchanged = read_value(Exchanged, job.result)
            if exchanged is not None:
                return {"written_files": plain(exchanged.written_since)}
            written = read_value(WrittenSince, job.result)
            if written is not None:
                return {"written": plain(written)}
        self.problem = problem_of(job)
        return None


def _request(reading: Reading) -> Request | None:
    """Return what counts; None where nothing is swapped or exchanged."""
    incident, facts = reading.incident, reading.facts
    done = facts.exchanged
    if done is not None:
        return FilesRollbackRequest(
            incident.source,
            point=facts.point,
            kept_as=done.kept_as,
            kept_inode=done.kept_inode,
            live_inode=done.inode,
            preview=True,
        )
    swapped = facts.document("swapped")
    schemas = swapped_schemas(swapped)
    if not (swapped.get("kept_as") or schemas):
        return None
    return WrittenSinceRequest(
        part=incident.source,
        database=facts.database,
        target=facts.server,
        live_oid=int(swapped.get("database_oid") or 0),
        counters=str(swapped.get("counters") or ""),
        schemas=schemas,
    )
