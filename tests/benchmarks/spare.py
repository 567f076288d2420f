"""``python -m tests.benchmarks.spare``: how soon a spare serves, and what keeping one costs.

Each round keeps a spare as a night would (WAL and time are taken), then lets it serve as an
emergency would: a session, the check that it is as it was proven, live renamed away and the spare
into its place in one transaction, the application's first query. Beside it the same point is
restored. Nothing else uses the server. Exit code 0 when the bars hold, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import psycopg

from fsbackup_tui.demo.sample_site import DATABASE
from fsbackup_tui.domain.database_url import parse_database_url
from fsbackup_tui.engines.postgres.connection import connect
from fsbackup_tui.engines.postgres.spare import unfence
from fsbackup_tui.operations.spare import check_spare
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.spares import Spare, spares_of
from tests.benchmarks import contenders as run
from tests.benchmarks.bars import Bar, runs_table
from tests.benchmarks.running import bytes_of, judge, work_directory
from tests.benchmarks.site import BenchSite, bench_site, default_binaries

_BEFORE = f"{DATABASE}__before_bench"


def main() -> int:
    """Measure, print the tables, and return whether the bars hold (0) or not (1)."""
    arguments = _arguments()
    size = bytes_of(arguments.size)
    with (
        work_directory(arguments.dir) as directory,
        bench_site(directory, binaries=arguments.bin, size_bytes=size) as site,
    ):
        bars = _measure(site, arguments.repeat)
    return judge(bars)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.spare", description=__doc__)
    parser.add_argument("--size", default="1GB", help="of the generated database")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--bin", type=Path, default=default_binaries(), help="server and clients")
    parser.add_argument("--dir", type=Path, help="where to work: 6 times the size is needed")
    return parser.parse_args()


def _measure(site: BenchSite, repeat: int) -> list[Bar]:
    point = run.fsbackup_backup(site, "content").document["point"]
    live = _size(site, DATABASE)
    seconds: dict[str, list[float]] = defaultdict(list)
    wal: list[float] = []
    disk: list[float] = []
    for _round in range(repeat):
        run.settle(site)
        seconds["verify --level proven"].append(run.fsbackup_verify(site, point, "proven").seconds)
        run.settle(site)
        before = site.sql("SELECT pg_current_wal_lsn()")
        seconds["verify --keep-spare"].append(run.fsbackup_keep_spare(site, point).seconds)
        wal.append(float(site.sql(f"SELECT pg_current_wal_lsn() - '{before}'::pg_lsn")) / live)
        (spare,) = spares_of(open_repository(site.directory / "repository"), point)
        disk.append(_size(site, spare.name) / live)
        run.settle(site)
        for name, took in asyncio.run(_serve(site, spare)).items():
            seconds[f"spare: {name}"].append(took)
        _put_back(site)
        run.settle(site)
        seconds["restore --beside"].append(run.fsbackup_restore(site, point, "content").seconds)
    steps = [name for name in seconds if name.startswith("spare: ")]
    whole_runs = {name: took for name, took in seconds.items() if name not in steps}
    print("\n".join(runs_table(whole_runs)) + "\n")
    for name in steps:
        runs = "  ".join(f"{1000 * took:.1f}" for took in seconds[name])
        print(f"{name:<22}  {1000 * statistics.median(seconds[name]):>6.1f} ms   {runs}")
    print(f"\ndatabase {live / 1e6:.0f} MB, server {site.sql('SHOW server_version')}, idle")
    print(f"WAL of keeping one, times the database: {statistics.median(wal):.2f}")
    taken = statistics.median(disk)
    print(f"disk it takes, times the database: {taken:.2f} (twice while the next is made)\n")
    ready = statistics.median(seconds["spare: whole"])
    restored = statistics.median(seconds["restore --beside"])
    return [
        Bar("spare: an emergency's start to first query", ready, "at most", 1.0, "s"),
        Bar("spare: times faster than restore --beside", restored / ready, "at least", 1.0, "x"),
    ]


async def _serve(site: BenchSite, spare: Spare) -> dict[str, float]:
    """Let the spare take live's place; returns the seconds of each step and of the whole."""
    marks = [time.perf_counter()]
    admin = await connect(
        parse_database_url(site.server.url()), application_name="fsbackup/benchmark"
    )
    marks.append(time.perf_counter())
    async with admin:
        standing = await check_spare(admin, spare)
        marks.append(time.perf_counter())
        await unfence(admin, standing, DATABASE, comment=None, before=[(DATABASE, _BEFORE)])
        marks.append(time.perf_counter())
        with psycopg.connect(site.url) as application:
            application.execute("SELECT count(*) FROM public.users")
        marks.append(time.perf_counter())
    names = ("session", "check", "swap", "first query")
    taken = dict(zip(names, (b - a for a, b in itertools.pairwise(marks)), strict=True))
    return {**taken, "whole": marks[-1] - marks[0]}


def _put_back(site: BenchSite) -> None:
    site.sql(f"DROP DATABASE {DATABASE}")
    site.sql(f"ALTER DATABASE {_BEFORE} RENAME TO {DATABASE}")


def _size(site: BenchSite, database: str) -> float:
    return float(site.sql(f"SELECT pg_database_size('{database}')"))


if __name__ == "__main__":
    sys.exit(main())
