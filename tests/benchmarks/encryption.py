"""``python -m tests.benchmarks.encryption``: what encrypting a point costs.

The same plan is taken in plain, with age and with gpg, one after the other in every round; the
plain dump runs with as many jobs as ``format: auto`` takes, an encrypted one is a single stream.
The pure stream (pg_dump through the chain, without counting rows) is ``dump``, the phase of that
name. Exit code 0 when the bars hold, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.repository.layout import create_repository
from tests.benchmarks import contenders as run
from tests.benchmarks.bars import Bar, runs_table
from tests.benchmarks.running import bytes_of, judge, work_directory
from tests.benchmarks.site import BenchSite, bench_site, default_binaries

_KINDS = {"plain": "", "age": "method: age", "gpg": "method: gpg"}
_PASSPHRASE = "correct horse battery staple"
_CHECKS = 5


def main() -> int:
    """Measure, print the tables, and return whether the bars hold (0) or not (1)."""
    arguments = _arguments()
    size = bytes_of(arguments.size)
    os.environ["FSBACKUP_PASSPHRASE"] = _PASSPHRASE
    with (
        work_directory(arguments.dir) as directory,
        bench_site(directory, binaries=arguments.bin, size_bytes=size) as site,
    ):
        bars = _measure(site, arguments.repeat)
    return judge(bars)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.encryption")
    parser.add_argument("--size", default="1GB", help="of the generated database")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each contender")
    parser.add_argument("--bin", type=Path, default=default_binaries(), help="server and clients")
    parser.add_argument("--dir", type=Path, help="where to work: 4 times the size is needed")
    return parser.parse_args()


def _measure(site: BenchSite, repeat: int) -> list[Bar]:
    print(f"{os.cpu_count()} cores, {repeat} runs of each\n")
    sites = {kind: _configured(site, kind, text) for kind, text in _KINDS.items()}
    for each in sites.values():
        run.fsbackup_backup(each, "counts")  # makes the keys, and warms the server
    seconds: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, int] = defaultdict(int)
    for _round in range(repeat):
        for kind, each in sites.items():
            run.settle(each)
            taken = run.fsbackup_backup(each, "counts")
            seconds[f"backup: {kind}"].append(taken.seconds)
            seconds[f"dump: {kind}"].append(_dump_seconds(taken))
            peaks[kind] = max(peaks[kind], taken.peak_bytes)
    for kind in ("age", "gpg"):
        for _check in range(_CHECKS):
            seconds[f"wrong passphrase told: {kind}"].append(_refused(sites[kind]))
    print("\n".join(runs_table(seconds)) + "\n")
    plain = statistics.median(seconds["backup: plain"])
    bars = []
    for kind in ("age", "gpg"):
        times = statistics.median(seconds[f"backup: {kind}"]) / plain
        bars.append(Bar(f"{kind}: times the backup in plain", times, "at most", 1.5, "x"))
        bars.append(Bar(f"{kind}: worker peak memory", peaks[kind] / 1e6, "at most", 200, "MB"))
    return bars


def _configured(site: BenchSite, kind: str, encryption: str) -> BenchSite:
    """Return the same server with a repository and a key of its own."""
    config = site.directory / f"{kind}.yaml"
    text = site.config.read_text()
    repository = site.directory / f"repository-{kind}"
    text = text.replace(str(site.directory / "repository"), str(repository))
    if encryption:
        text += f"encryption: {{{encryption}}}\n"
    config.touch(mode=0o600)
    config.write_text(text)
    create_repository(repository, "face-swap", datetime.now(UTC))
    return BenchSite(site.directory, site.binaries, site.server, config, site.state)


def _dump_seconds(taken: run.Timed) -> float:
    manifest = json.loads((Path(taken.document["path"]) / "manifest.json").read_bytes())
    return float(manifest["phases"]["dump"])


def _refused(site: BenchSite) -> float:
    """Return how long a backup with a wrong passphrase takes to be refused."""
    started = time.perf_counter()
    done = subprocess.run(
        site.fsbackup("backup", "counts", "--json"),
        env={**os.environ, "FSBACKUP_PASSPHRASE": "another"},
        capture_output=True,
        check=False,
    )
    took = time.perf_counter() - started
    if done.returncode == 0:
        raise SystemExit("a wrong passphrase was taken")
    return took


if __name__ == "__main__":
    sys.exit(main())
