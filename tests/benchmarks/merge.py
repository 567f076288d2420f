"""``python -m tests.benchmarks.merge``: rows found missing or changed by key, put back, undone.

A table of a million rows with its child, in live and in a copy; one row in a hundred is missing
and one in a hundred changed. Printed are the seconds of each step and the peak memory of this
process. The result is compared row by row with the copy, and after the undo with what was.
Exit code 0 when all that holds and the steps take less than ``--limit`` seconds together.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.domain.database_url import parse_database_url
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.merge import ALL_COLUMNS, TableChoice
from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.merge.merging import (
    apply_merge,
    preview_merge,
    preview_undo,
    undo_merge,
)
from fsbackup_tui.engines.postgres.merge.planning import plan_merge
from fsbackup_tui.engines.postgres.merge.staging import create_staging
from fsbackup_tui.engines.postgres.scratch import start_scratch_server
from tests.benchmarks.running import work_directory
from tests.benchmarks.site import default_binaries
from tests.support.servers import execute, query

_TABLES = ("users", "videos")


@dataclass
class Figures:
    """The seconds of each step, the rows that came back or changed, and what was compared."""

    seconds: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    as_in_copy: bool = False
    as_before: bool = False
    locked_seconds: float = 0.0

    @property
    def total(self) -> float:
        """All steps together."""
        return sum(self.seconds.values())


_Result = TypeVar("_Result")


async def _timed(figures: Figures, name: str, work: Awaitable[_Result]) -> _Result:
    started = time.perf_counter()
    result = await work
    figures.seconds[name] = time.perf_counter() - started
    return result


def main() -> int:
    """Measure, print, and return whether all holds (0) or not."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.merge", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each of the two tables")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for all steps")
    parser.add_argument("--bin", type=Path, default=default_binaries(), help="the server's")
    parser.add_argument("--dir", type=Path, help="where to work")
    arguments = parser.parse_args()
    with work_directory(arguments.dir) as directory:
        server = start_scratch_server(directory / "server", bin_directory=arguments.bin)
        try:
            for name in ("live", "copy"):
                execute(server.url(), f"CREATE DATABASE {name}")
            urls = server.url("live"), server.url("copy")
            figures = asyncio.run(measure(*urls, arguments.rows))
        finally:
            server.remove()
    for name, seconds in figures.seconds.items():
        print(f"{name:<15} {seconds:8.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'all':<15} {figures.total:8.2f} s   locked {figures.locked_seconds:.2f} s")
    print(
        f"{figures.rows} rows of {2 * arguments.rows} put back or overwritten; peak {peak:.0f} MB"
    )
    print(f"as in the copy: {figures.as_in_copy}; after the undo as before: {figures.as_before}")
    held = figures.as_in_copy and figures.as_before and figures.total < arguments.limit
    return 0 if held else 1


def fill(rows: int) -> tuple[str, ...]:
    """Return the statements that make the two tables."""
    return (
        "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text"
        " NOT NULL UNIQUE, name text, about text, at timestamptz NOT NULL, score numeric)",
        "CREATE TABLE videos (id uuid PRIMARY KEY, user_id bigint NOT NULL REFERENCES users"
        " ON DELETE CASCADE, title text, meta jsonb)",
        "INSERT INTO users (email, name, about, at, score) SELECT 'user' || n || '@example.com',"
        " 'Name ' || n, repeat(md5(n::text), 3), '2026-01-01'::timestamptz + n * interval '1 s',"
        f" n / 7.0 FROM generate_series(1, {rows}) AS n",
        "INSERT INTO videos SELECT md5(n::text)::uuid, n, 'Video ' || n,"
        " jsonb_build_object('views', n, 'tags', ARRAY['a', 'b'])"
        f" FROM generate_series(1, {rows}) AS n",
        "CREATE INDEX ON videos (user_id)",
        "ANALYZE",
    )


DAMAGE = (
    "DELETE FROM users WHERE id % 100 = 3",
    "UPDATE users SET name = 'bad', score = 0 WHERE id % 100 = 4",
    "UPDATE videos SET title = 'bad' WHERE user_id % 100 = 5",
)


async def measure(live: str, copy: str, rows: int) -> Figures:
    """Fill two empty databases, and time each step of a merge between them, and of its undo."""
    for url in (live, copy):
        execute(url, *fill(rows))
    execute(live, *DAMAGE)
    damaged = _digests(live)
    figures = Figures()
    async with await _session(live) as there, await _session(copy) as here:
        await _steps(here, there, live, copy, figures)
    figures.as_before = _digests(live) == damaged
    return figures


async def _steps(
    here: Connection, there: Connection, live: str, copy: str, figures: Figures
) -> None:
    staging = await create_staging(there, "benchmark")
    plan = await _timed(figures, "plan", plan_merge(here, there, staging, report=_ignore))
    choices = [TableChoice(table.table, overwrite=ALL_COLUMNS) for table in plan.tables]
    preview = await _timed(figures, "preview", preview_merge(there, staging, choices))
    merged = await _timed(figures, "merge", apply_merge(there, staging, choices, preview))
    figures.rows = preview.rows
    figures.locked_seconds = merged.locked_seconds
    figures.as_in_copy = _digests(live) == _digests(copy) and not merged.left_out
    number = merged.set_number
    expected = await _timed(figures, "preview of undo", preview_undo(there, staging, number))
    await _timed(figures, "undo", undo_merge(there, staging, number, expected))


async def _session(url: str) -> Connection:
    return await connect(parse_database_url(url), application_name="fsbackup/benchmark")


def _digests(url: str) -> list[list[tuple[object, ...]]]:
    """Return for each table what any row's difference changes."""
    return [
        query(url, f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY id)) FROM {t} AS t")
        for t in _TABLES
    ]


def _ignore(_: Event) -> None:
    return None


if __name__ == "__main__":
    raise SystemExit(main())
