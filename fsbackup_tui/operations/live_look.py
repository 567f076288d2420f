"""One look at a live database while it goes on: what it has at hand, its manners, what it found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import PostgresError
from fsbackup_tui.domain.events import Progress, Warned
from fsbackup_tui.domain.live_health import (
    Check,
    HealthFinding,
    Sight,
    TableHealth,
    Unchecked,
    not_seen,
)
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.guards import watch_snapshot_age
from fsbackup_tui.engines.postgres.health import CannotCheck, NotNow, TableGone, TableToCheck
from fsbackup_tui.engines.postgres.health_amcheck import Amcheck
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.guard import GaveWay, give_way_when_blocking, guarded, pause_seconds
from fsbackup_tui.operations.target import target_text

_ATTEMPTS = 2
_Result = TypeVar("_Result")
_AGE_FIX = "Raise limits.snapshot_age, or prove a point: a scratch server has no such limit."


class SnapshotTooOld(Exception):
    """One check took longer than a snapshot may be held on the server."""


@dataclass
class LiveLook:
    """One look at a live database; ``backed_up`` are the OIDs of the tables that a backup holds.

    ``asks_as`` is whose search_path the site's own queries are asked with.
    ``health`` and ``seconds`` are by OID, ``captured`` (rows in the last good point) by name.
    ``refused`` are checks that the server would not do: of no meaning for the table's health.
    """

    context: JobContext
    source_name: str
    source: PostgresSource
    connection: Connection
    monitor: Connection
    identity: ServerIdentity
    asks_as: str
    tables: tuple[TableToCheck, ...]
    backed_up: frozenset[int]
    amcheck: Amcheck
    foreign_tables: int
    started: float
    data_checksums: bool = False
    collation_known: bool = True
    findings: list[HealthFinding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    refused: list[Unchecked] = field(default_factory=list)
    health: dict[int, TableHealth] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    captured: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unlisted: int = 0
    no_last_point: str = ""

    def unreadable(self) -> frozenset[str]:
        """Return the tables that are damaged so that they can't be read."""
        return frozenset(
            finding.table or "" for finding in self.findings if finding.check == "read"
        )

    async def politely(
        self, check: Check, table: str, work: Callable[[], Coroutine[Any, Any, _Result]]
    ) -> _Result | None:
        """Return what the work gives; None where the table is gone, or could not be looked at.

        Whoever waits for us is let through, and the work begun again later.
        """
        why = ""
        for attempt in range(_ATTEMPTS):
            try:
                return await guarded(
                    work(),
                    give_way_when_blocking(
                        self.monitor,
                        application_name=self.context.application_name,
                        longer_than_seconds=self.source.yield_after.total_seconds(),
                    ),
                    self.within_snapshot_age(),
                )
            except TableGone:
                return None
            except SnapshotTooOld as old:
                self.unchecked.append(Unchecked(check, table, str(old), _AGE_FIX))
                return None
            except CannotCheck as cannot:
                refused = Unchecked(check, table, str(cannot))
                (self.unchecked if check == "read" else self.refused).append(refused)
                return None
            except NotNow as error:
                why = str(error)
            except GaveWay as gave_way:
                why = f"gave way to others: {gave_way.who}"
            if attempt < _ATTEMPTS - 1:
                self.context.report(Warned(f"{table} is tried again later: {why}"))
                await asyncio.sleep(pause_seconds(attempt))
        self.unchecked.append(Unchecked(check, table, why, "Run it again when nobody changes it."))
        return None

    async def within_snapshot_age(self) -> None:
        """Raise SnapshotTooOld when the snapshot that is taken now is older than allowed."""
        limit = self.context.loaded.config.limits.snapshot_age
        try:
            await watch_snapshot_age(None if limit is None else limit.total_seconds())
        except PostgresError as error:
            raise SnapshotTooOld(f"stopped: {error.why.rstrip('.')}") from error

    def with_progress(self, what: str) -> Iterator[TableToCheck]:
        """Give every table, and report how many of the bytes are done."""
        total = float(sum(table.bytes for table in self.tables))
        done = 0.0
        for table in self.tables:
            detail = f"{what} {table.qualified}"
            self.context.report(Progress(done, total, "bytes", detail, active=(table.qualified,)))
            yield table
            done += table.bytes
        self.context.report(Progress(total, total, "bytes"))

    def document(self) -> dict[str, object]:
        """Return the document of ``fsbackup verify --live``."""
        problems = [
            *((finding.table, finding.what, finding.fix) for finding in self.findings),
            *((item.table, f"not checked: {item.why}", item.fix) for item in self.unchecked),
        ]
        return {
            "ok": not problems,
            "source": self.source_name,
            "target": target_text(self.identity),
            "tables": self._table_documents(),
            "findings": [finding.document() for finding in self.findings],
            "unchecked": [item.document() for item in self.unchecked],
            "not_seen": [unseen.document() for unseen in not_seen(self._sight())],
            "problems": [
                {
                    "part": self.source_name,
                    "artifact": None,
                    "table": table,
                    "what": what if table is None else f"{table}: {what}",
                    "fix": fix,
                }
                for table, what, fix in problems
            ],
            "notes": self.notes,
            "seconds": round(time.monotonic() - self.started, 3),
        }

    def _table_documents(self) -> list[dict[str, object]]:
        """Return every table of the site's own; of the system's those with something to say."""
        found = {finding.table for finding in self.findings}
        documents: list[dict[str, object]] = []
        for table in sorted(self.tables, key=lambda table: table.qualified):
            if table.system and table.qualified not in found:
                continue
            health = self.health.get(table.oid)
            documents.append(
                {
                    "table": table.qualified,
                    "rows": None if health is None else health.rows,
                    "captured_rows": self.captured.get(table.qualified),
                    "indexes": {}
                    if health is None
                    else {count.index: count.rows for count in health.counted_by},
                    "note": "" if health is None else health.note,
                    "seconds": self.seconds.get(table.oid),
                }
            )
        return documents

    def _sight(self) -> Sight:
        uncompared = [
            table.qualified
            for table in self.tables
            if not table.system
            and (health := self.health.get(table.oid)) is not None
            and health.rows
            and not health.counted_by
        ]
        return Sight(
            data_checksums=self.data_checksums,
            amcheck_lacks=self.amcheck.lacks,
            amcheck_remedy=self.amcheck.remedy,
            refused=tuple(self.refused),
            uncompared=tuple(sorted(uncompared)),
            unlisted=self.unlisted,
            foreign_tables=self.foreign_tables,
            no_last_point=self.no_last_point,
            standby=self.identity.standby,
            collation_known=self.collation_known,
        )
