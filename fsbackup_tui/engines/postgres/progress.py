"""How far a dump or a restore is: the tool's log and the server's own counters, put together."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import psycopg

from fsbackup_tui.domain.events import Progress, Report, TableDone
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.toc import TocEntry

RATE_WINDOW_SECONDS = 60.0
REPORT_SECONDS = 1.0
_MOST_OF_AN_ITEM = 0.99
_NAMED_AT_ONCE = 3

_DUMPING = re.compile(r"pg_dump: dumping contents of table \"(?P<table>.*)\"$")
_DUMPED = re.compile(r"pg_dump: finished item \d+ TABLE DATA (?P<name>.*)$")
_PROCESSING = re.compile(r"pg_restore: processing data for table \"(?P<table>.*)\"$")
_CREATING = re.compile(r"pg_restore: creating (?P<kind>[A-Z][A-Z ]*) \"(?P<name>.*)\"$")
_ITEM = re.compile(r"pg_restore: (?P<what>launching|processing|finished) item (?P<number>\d+) ")

BUILD_SHARES: Mapping[str, float] = {"INDEX": 0.2, "CONSTRAINT": 0.2, "FK CONSTRAINT": 0.1}
"""How long building takes as a share of loading the same table's rows.

Measured with pg_restore on the benchmarks' generated database (275 MB, of it 168 MB of rows), on
PostgreSQL 15 and 18, with one job and two, three runs each: all indexes together took 0.17 to
0.29, all keys 0.18 to 0.25, all foreign keys 0.07 to 0.13. A single one took 0.1 to 0.55, and
everything lay in memory: good for a first estimate, no more.
"""

# Which phase of domain/estimate.py an entry's making belongs to; rows are data.
_PHASES: Mapping[str, str] = {
    "INDEX": "index",
    "CONSTRAINT": "constraints",
    "FK CONSTRAINT": "constraints",
}

_COPIES = """
SELECT n.nspname || '.' || c.relname, p.bytes_processed, p.tuples_processed
FROM pg_catalog.pg_stat_progress_copy AS p
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = p.pid
JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.datname = pg_catalog.current_database() AND a.application_name = %s
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work: what it is called, what it weighs (bytes), rows where known."""

    label: str
    weight: float
    rows: int | None = None
    table: bool = True
    phase: str = "data"


def build_phase(kind: str) -> str:
    """Return the phase that making an entry of the kind belongs to."""
    return _PHASES.get(kind, "definitions")


class PhaseClock:
    """Shares the time that passes among the phases under way; nothing under way: definitions."""

    def __init__(self, items: Iterable[Item], now: Callable[[], float]) -> None:
        self._now = now
        self._last = now()
        self.total: dict[str, float] = {}
        for item in items:
            self.total[item.phase] = self.total.get(item.phase, 0.0) + item.weight
        self._seconds = dict.fromkeys(("definitions", "data", "index", "constraints"), 0.0)

    def passed(self, active: Sequence[Item]) -> None:
        """Count the time since the last call to those that were active all along."""
        now = self._now()
        phases = [item.phase for item in active] or ["definitions"]
        for phase in phases:
            self._seconds[phase] += (now - self._last) / len(phases)
        self._last = now

    def work(self, done: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
        """Return for each phase how much is done, of how much, in how many seconds."""
        return {
            phase: (done.get(phase, 0.0), self.total.get(phase, 0.0), round(seconds, 3))
            for phase, seconds in self._seconds.items()
        }


class Pace:
    """Reports how far the work is, at most once a second, with rate and remaining time.

    The rate is that of the last minute; the remaining time is the rest at that rate.
    """

    def __init__(self, report: Report, now: Callable[[], float] = monotonic) -> None:
        self._report = report
        self._now = now
        self._window: deque[tuple[float, float]] = deque()
        self._reported = float("-inf")

    def tell(
        self,
        done: float,
        total: float,
        names: Sequence[str],
        *,
        last: bool = False,
        work: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Report now, unless less than a second has passed since the last time."""
        now = self._now()
        if not last and now - self._reported < REPORT_SECONDS * 0.9:
            return
        self._reported = now
        self._window.append((now, done))
        while now - self._window[0][0] > RATE_WINDOW_SECONDS:
            self._window.popleft()
        since, before = self._window[0]
        rate = (done - before) / (now - since) if now > since else None
        eta = max(0.0, (total - done) / rate) if rate else None
        self._report(
            Progress(
                done, total or None, "bytes", _detail(names), rate, eta, tuple(names), work or {}
            )
        )


@dataclass(slots=True)
class _Active:
    item: Item
    since: float
    fraction: float = 0.0


class TransferProgress:
    """Follows one pg_dump or pg_restore and reports at most once a second.

    ``on_log`` takes every line of the tool's verbose log, ``run`` polls
    ``pg_stat_progress_copy`` (PostgreSQL 14 and later) through a connection to the same
    database for the sessions of ``application_name`` until it is cancelled; without a
    connection the log alone must do. ``parallel`` says that the tool works on several tables at
    once; otherwise one is finished when the next begins. ``done`` and ``total`` are bytes as
    the tables weigh, not as the file grows.
    """

    def __init__(
        self,
        items: Mapping[str, Item],
        report: Report,
        *,
        connection: Connection | None = None,
        application_name: str = "",
        parallel: bool = False,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._items = items
        self._report = report
        self._connection = connection
        self._lost = False
        self._application_name = application_name
        self._now = now
        self._total = sum(item.weight for item in items.values())
        self._clock = PhaseClock(items.values(), now)
        self._finished_work: dict[str, float] = {}
        self._finished_weight = 0.0
        self._finished: set[str] = set()
        self._active: dict[str, _Active] = {}
        self._copied: dict[str, int] = {}
        self._copied_before = 0.0
        self._copied_tables: set[str] = set()
        self._by_label: dict[str, str] = {}
        for key, item in items.items():
            self._by_label.setdefault(item.label, key)
        self._parallel = parallel
        self._pace = Pace(report, now)

    @property
    def done(self) -> float:
        """Weight of what is finished and of the active items' finished share."""
        running = sum(active.item.weight * active.fraction for active in self._active.values())
        return self._finished_weight + running

    @property
    def copied_bytes(self) -> float | None:
        """Bytes that went through COPY so far, as last seen, for keeping a rate.

        A table that was begun and finished between two looks counts by its weight. None when the
        server can't be asked any more.
        """
        if self._lost:
            return None
        return self._copied_before + sum(self._copied.values())

    def on_log(self, line: str) -> None:
        """Take one line of the tool's log."""
        if match := _DUMPING.match(line):
            if not self._parallel:
                self._finish_all()
            self._start(self._by_label.get(match["table"]))
        elif match := _DUMPED.match(line):
            self._parallel = True
            self._finish_named(match["name"])
        elif match := _ITEM.match(line):
            self._parallel = True
            if match["what"] == "launching":
                self._start(match["number"])
            elif match["what"] == "finished":
                self._finish(match["number"])
        elif (match := _PROCESSING.match(line)) and not self._parallel:
            self._finish_all()
            self._start(self._by_label.get(match["table"]))
        elif (match := _CREATING.match(line)) and not self._parallel:
            self._finish_all()
            self._start(self._by_label.get(f"{match['kind']} {match['name']}"))

    async def run(self, poll_seconds: float = REPORT_SECONDS) -> None:
        """Poll the server and report until cancelled; a failing poll is the tool's to tell."""
        while True:
            if self._connection is not None:
                try:
                    cursor = await self._connection.execute(_COPIES, (self._application_name,))
                    self.on_copies(await cursor.fetchall())
                except psycopg.Error:
                    self._connection, self._lost = None, True
            self.report()
            await asyncio.sleep(poll_seconds)

    def on_copies(self, rows: Iterable[tuple[str, int, int]]) -> None:
        """Take what pg_stat_progress_copy shows: table, bytes and rows so far."""
        seen: dict[str, int] = {}
        for table, copied, tuples in rows:
            seen[table] = copied
            self._copied_tables.add(table)
            key = self._by_label.get(table)
            if key is None or key in self._finished:
                continue
            if key not in self._active:
                self._start(key)
            active = self._active[key]
            active.fraction = max(active.fraction, _fraction(active.item, copied, tuples))
        for table, copied in self._copied.items():
            if table not in seen:
                self._copied_before += copied
        self._copied = seen

    def report(self, *, last: bool = False) -> None:
        """Report now, unless less than a second has passed since the last time."""
        names = [active.item.label for active in self._active.values()]
        self._pass_time()
        self._pace.tell(self.done, self._total, names, last=last, work=self._work())

    def finish(self) -> None:
        """Count everything as done and report a last time; for a tool that ended well."""
        self._finish_all()
        self._finished_weight = self._total
        self._finished_work = dict(self._clock.total)
        self.report(last=True)

    def _pass_time(self) -> None:
        self._clock.passed([active.item for active in self._active.values()])

    def _work(self) -> dict[str, tuple[float, float, float]]:
        done = dict(self._finished_work)
        for active in self._active.values():
            phase = active.item.phase
            done[phase] = done.get(phase, 0.0) + active.item.weight * active.fraction
        return self._clock.work(done)

    def _start(self, key: str | None) -> None:
        if key is None or key in self._finished or key in self._active:
            return
        item = self._items.get(key)
        if item is not None:
            self._pass_time()
            self._active[key] = _Active(item, self._now())

    def _finish(self, key: str) -> None:
        self._pass_time()
        active = self._active.pop(key, None)
        item = active.item if active is not None else self._items.get(key)
        if item is None or key in self._finished:
            return
        self._finished.add(key)
        self._finished_weight += item.weight
        self._finished_work[item.phase] = self._finished_work.get(item.phase, 0.0) + item.weight
        if item.table and item.label not in self._copied_tables:
            self._copied_before += item.weight
        if item.table:
            seconds = self._now() - active.since if active is not None else None
            self._report(TableDone(item.label, None, round(item.weight), seconds))

    def _finish_all(self) -> None:
        for key in list(self._active):
            self._finish(key)

    def _finish_named(self, name: str) -> None:
        for key, active in self._active.items():
            if active.item.label == name or active.item.label.endswith(f".{name}"):
                self._finish(key)
                return


def _fraction(item: Item, copied: int, tuples: int) -> float:
    if item.rows:
        return min(_MOST_OF_AN_ITEM, tuples / item.rows)
    return min(_MOST_OF_AN_ITEM, copied / item.weight) if item.weight else 0.0


def _detail(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_ONCE])
    return f"{shown} and {len(names) - _NAMED_AT_ONCE} more" if len(names) > 3 else shown


def dump_items(tables: Iterable[tuple[str, int | None, int | None]]) -> dict[str, Item]:
    """Return a dump's items from (``schema.name``, bytes, rows) of each table with data."""
    return {name: Item(name, float(max(size or 0, 1)), rows) for name, size, rows in tables}


def restore_items(
    entries: Sequence[TocEntry], tables: Mapping[str, tuple[int | None, int | None]]
) -> dict[str, Item]:
    """Return a restore's items by dump id: rows to load, indexes and constraints to build.

    ``tables`` gives bytes and rows by ``schema.name``. An index weighs a share of its table.
    """
    names = {
        entry.dump_id: f"{entry.schema}.{entry.name}"
        for entry in entries
        if entry.kind in {"TABLE", "MATERIALIZED VIEW"}
    }
    items: dict[str, Item] = {}
    for entry in entries:
        if entry.kind == "TABLE DATA":
            name = f"{entry.schema}.{entry.name}"
            size, rows = tables.get(name, (None, None))
            items[str(entry.dump_id)] = Item(name, float(max(size or 0, 1)), rows)
        elif entry.kind in BUILD_SHARES:
            size, _rows = tables.get(_table_of(entry, names), (None, None))
            weight = max(size or 0, 1) * BUILD_SHARES[entry.kind]
            label = f"{entry.kind} {entry.schema}.{entry.name}"
            items[str(entry.dump_id)] = Item(
                label, weight, table=False, phase=build_phase(entry.kind)
            )
    return items


def _table_of(entry: TocEntry, names: Mapping[int, str]) -> str:
    """Return the table that is built on; a foreign key depends on the referenced one as well."""
    parents = [names[number] for number in entry.dependencies if number in names]
    # A constraint is called by its table and its own name.
    own = [name for name in parents if f"{entry.schema}.{entry.name}".startswith(f"{name} ")]
    return (own or parents or [""])[0]
