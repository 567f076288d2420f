"""How far the restore of a plain dump is: what psql was fed, and what the server says it runs.

psql loads all in one transaction, so nobody else sees its tables; and what follows the rows is so
little text that it lies in the pipe as a whole while the indexes are built. The place in the text
tells how much of a table is loaded, the statement that runs tells which table or index it is.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable
from time import monotonic

import psycopg

from fsbackup_tui.domain.events import Report, TableDone
from fsbackup_tui.engines.compression import PositionFile
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.plain import PlainScan
from fsbackup_tui.engines.postgres.progress import (
    BUILD_SHARES,
    REPORT_SECONDS,
    Item,
    Pace,
    PhaseClock,
    build_phase,
)
from fsbackup_tui.engines.postgres.toc import TocEntry

_NAME = r'((?:"(?:[^"]|"")*"|[^\s".])+)\.((?:"(?:[^"]|"")*"|[^\s".])+)'
_TABLE_OF_BUILD = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX .*? ON (?:ONLY )?{_NAME} USING |ALTER TABLE (?:ONLY )?{_NAME}\s",
    re.DOTALL,
)
_LEADING_COMMENTS = re.compile(r"(?:\s|--[^\n]*\n)*")
# The session's own query is left out by its pid; psql's is the only other one in the copy.
_RUNNING = """
SELECT query FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND application_name = %s
  AND pid <> pg_catalog.pg_backend_pid() AND state = 'active'
"""


class PlainProgress:
    """Follows one psql that is fed a plain dump, and reports at most once a second.

    ``run`` looks at the feeder's position and at the server until it is cancelled; ``at`` takes
    one such look. ``done`` and ``total`` are bytes of text; what is built on a table weighs a
    share of its text.
    """

    def __init__(
        self, scan: PlainScan, report: Report, *, now: Callable[[], float] = monotonic
    ) -> None:
        self._scan = scan
        self._report = report
        self._now = now
        self._pace = Pace(report, now)
        self._items = _items(scan)
        self._before = list(itertools.accumulate((i.weight for i in self._items), initial=0.0))
        self._texts = [entry.definition for entry in scan.entries]
        self._place = 0
        self._clock = PhaseClock(self._items, now)
        self._since = now()
        self._fed = 0.0

    async def run(self, fed: PositionFile, connection: Connection, application_name: str) -> None:
        """Look and report until cancelled; where the server can't be asked, the text must do."""
        source: Connection | None = connection
        while True:
            statement = None
            if source is not None:
                try:
                    cursor = await source.execute(_RUNNING, (application_name,))
                    row = await cursor.fetchone()
                    statement = str(row[0]) if row is not None else None
                except psycopg.Error:
                    source = None
            self.at(fed.read(), statement)
            await asyncio.sleep(REPORT_SECONDS)

    def at(self, position: int, statement: str | None) -> None:
        """Take the number of plain bytes that psql was given, and what the server runs for it."""
        if not self._items:
            return
        self._clock.passed([self._items[self._place]])
        self._move_to(max(self._place, self._place_of(position, statement)))
        item, entry = self._items[self._place], self._scan.entries[self._place]
        if entry.holds_data:
            fed = position - self._scan.starts[self._place]
            self._fed = max(self._fed, min(float(fed), item.weight))
        names = [item.label] if item.weight else []
        done = self._before[self._place] + self._fed
        self._pace.tell(done, self._before[-1], names, work=self._work())

    def finish(self) -> None:
        """Count everything as done and report a last time; for a psql that ended well."""
        self._clock.passed(self._items[self._place : self._place + 1])
        self._move_to(len(self._items))
        self._pace.tell(self._before[-1], self._before[-1], [], last=True, work=self._work())

    def _work(self) -> dict[str, tuple[float, float, float]]:
        done: dict[str, float] = {}
        for item in self._items[: self._place]:
            done[item.phase] = done.get(item.phase, 0.0) + item.weight
        if self._place < len(self._items):
            phase = self._items[self._place].phase
            done[phase] = done.get(phase, 0.0) + self._fed
        return self._clock.work(done)

    def _place_of(self, position: int, statement: str | None) -> int:
        if statement is not None:
            begins = _LEADING_COMMENTS.sub("", statement, count=1).rstrip().rstrip(";")
            for place in range(self._place, len(self._texts)):
                if begins and self._texts[place].startswith(begins):
                    return place
        # Text is fed ahead of its statement: it proves rows under way, but nothing behind them.
        place = max(0, bisect_right(self._scan.starts, position) - 1)
        while place > self._place and not self._scan.entries[place].holds_data:
            place -= 1
        return place

    def _move_to(self, place: int) -> None:
        if place == self._place:
            return
        for number in range(self._place, place):
            item = self._items[number]
            if item.table:
                seconds = self._now() - self._since if number == self._place else None
                self._report(TableDone(item.label, item.rows, round(item.weight), seconds))
        self._place, self._since, self._fed = place, self._now(), 0.0


def _items(scan: PlainScan) -> list[Item]:
    """Return what each entry weighs: rows their text, builds a share of it, all else nothing."""
    ranges = scan.ranges_of(scan.entries)
    texts = {
        (entry.schema, entry.name): float(len(part))
        for entry, part in zip(scan.entries, ranges, strict=True)
        if entry.kind == "TABLE DATA"
    }
    items = []
    for entry, part in zip(scan.entries, ranges, strict=True):
        if entry.kind == "TABLE DATA":
            rows = scan.rows.get(entry.dump_id)
            items.append(Item(f"{entry.schema}.{entry.name}", float(len(part)), rows))
        elif entry.kind in BUILD_SHARES:
            weight = texts.get(_table_of(entry), 0.0) * BUILD_SHARES[entry.kind]
            items.append(Item(entry.label, max(1.0, weight), None, False, build_phase(entry.kind)))
        else:
            weight = float(len(part)) if entry.holds_data else 0.0
            items.append(Item(entry.label, weight, table=False, phase="definitions"))
    return items


def _table_of(entry: TocEntry) -> tuple[str | None, str]:
    """Return schema and name of the table that an index or constraint is made on."""
    match = _TABLE_OF_BUILD.match(entry.definition)
    if match is None:
        return None, ""
    schema, name = (_unquoted(part) for part in match.groups() if part is not None)
    return schema, name


def _unquoted(identifier: str) -> str:
    if not identifier.startswith('"'):
        return identifier
    return identifier[1:-1].replace('""', '"')
