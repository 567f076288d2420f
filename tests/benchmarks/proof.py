"""``python -m tests.benchmarks.proof``: what a proof costs beside raw ``pg_restore``.

Both restore the same archive into a scratch server of the same settings, with as many jobs;
the proof also accounts for every entry and compares every row. Its start-up and the reading of
the archive (sealed, readable) are shown apart. Exit code 0 when the bars hold, else 1.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from fsbackup_tui.config.model import Scratch
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.scratch import start_scratch_server
from fsbackup_tui.engines.postgres.trial_server import trial_settings
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from tests.benchmarks import contenders as run
from tests.benchmarks.bars import Bar, runs_table
from tests.benchmarks.running import bytes_of, judge, work_directory
from tests.benchmarks.site import BenchSite, bench_site, default_binaries

_READING = ("sealed", "readable")


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
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.proof", description=__doc__)
    parser.add_argument("--size", default="1GB", help="of the generated database")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each contender")
    parser.add_argument("--bin", type=Path, default=default_binaries(), help="server and clients")
    parser.add_argument("--dir", type=Path, help="where to work: 6 times the size is needed")
    return parser.parse_args()


def _measure(site: BenchSite, repeat: int) -> list[Bar]:
    point = run.fsbackup_backup(site, "content").document["point"]
    reader = PointReader(open_repository(site.directory / "repository"), point)
    (part,) = reader.parts()
    facts = part.postgres
    if facts is None:
        raise SystemExit("the benchmark's point holds no database")
    # A directory, or one file where the database is small.
    (name,) = {each.path.split("/")[0] for each in part.artifacts if each.role == "dump"}
    archive = reader.path_inside(part.source, name)
    seconds: dict[str, list[float]] = defaultdict(list)
    peak = 0
    for _round in range(repeat):
        run.settle(site)
        seconds["raw pg_restore"].append(_raw_trial(site, facts, archive))
        run.settle(site)
        proof = run.fsbackup_verify(site, point, "proven")
        (summary,) = proof.document["proofs"].values()
        phases = {name: took for name, took in summary["phases"].items() if name not in _READING}
        for name, took in phases.items():
            seconds[f"proof: {name}"].append(took)
        seconds["proof: trial whole"].append(sum(phases.values()) - phases["start"])
        for level in ("sealed", "readable"):
            seconds[level].append(proof.document["levels"][level]["seconds"])
        seconds["fsbackup verify"].append(proof.seconds)
        peak = max(peak, proof.peak_bytes)
    print("\n".join(runs_table(seconds)) + "\n")
    whole = statistics.median(seconds["proof: trial whole"])
    raw = statistics.median(seconds["raw pg_restore"])
    return [
        Bar("proof with fingerprints: times pg_restore", whole / raw, "at most", 1.4, "x"),
        Bar("worker peak memory", peak / 1e6, "at most", 120, "MB"),
    ]


def _raw_trial(site: BenchSite, facts: PostgresFacts, archive: Path) -> float:
    """Restore with pg_restore alone into a scratch server like a proof's; returns seconds."""
    scratch, jobs = Scratch(), 2
    settings = trial_settings(facts, major=15, memory=scratch.memory, disk=10**11, jobs=jobs)
    server = start_scratch_server(
        site.directory / "raw-scratch", bin_directory=site.binaries, settings=settings
    )
    try:
        psql = [site.tool("psql"), "-Xq", "-d", server.url()]
        for role in facts.roles:
            if role != server.superuser:
                subprocess.run([*psql, "-c", f'CREATE ROLE "{role}"'], check=True)
        subprocess.run([*psql, "-c", "CREATE DATABASE raw TEMPLATE template0"], check=True)
        command = [site.tool("pg_restore"), f"--jobs={jobs}", f"--dbname={server.url('raw')}"]
        started = time.perf_counter()
        subprocess.run([*command, str(archive)], check=True)
        return time.perf_counter() - started
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(main())
