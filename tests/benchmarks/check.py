"""How long ``fsbackup check`` takes over a thousand points, the process's start and all.

    python -m tests.benchmarks.check [--points 1000] [--repeat 5]

Prints the first look, which reads every manifest, the later ones by their median, and the look
alone, inside of a process that runs. Exits 1 if a later one takes a second or more.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import load_config
from fsbackup_tui.jobs.check import check_site
from fsbackup_tui.operations.check import PROBES
from tests.support.many_points import make_many_points

BAR_SECONDS = 1.0
_CONFIG = """\
site: face-swap
repository: {directory}/repository
state: {directory}/state
sources:
  db: {{kind: postgres, url: "postgresql://nobody@127.0.0.1:1/nothing"}}
plans:
  daily: {{sources: [db]}}
  hourly: {{sources: [db]}}
objectives: {{rpo: 24h, rto: 30m}}
"""


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fsbackup-bench-") as name:
        directory = Path(name)
        make_many_points(directory / "repository", arguments.points)
        config = directory / "fsbackup.yaml"
        config.write_text(_CONFIG.format(directory=directory))
        config.chmod(0o600)
        first = _process(config)
        later = statistics.median(_process(config) for _ in range(arguments.repeat))
        alone = statistics.median(_alone(config, live=True) for _ in range(arguments.repeat))
        local = statistics.median(_alone(config, live=False) for _ in range(arguments.repeat))
    print(f"check on {arguments.points} points")
    print(f"  first look, catalogue made      {first:6.2f} s")
    print(f"  later, whole process            {later:6.2f} s   bar {BAR_SECONDS:.1f} s", end="   ")
    print("PASS" if later < BAR_SECONDS else "FAIL")
    print(f"  the look alone                  {alone:6.2f} s")
    print(f"  without servers and programs    {local:6.2f} s")
    return 0 if later < BAR_SECONDS else 1


def _process(config: Path) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-P", "-m", "fsbackup_tui", "--config", str(config), "check"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def _alone(config: Path, *, live: bool) -> float:
    loaded = load_config(config, {})
    probes = [probe for probe in PROBES if live or not probe.live]
    began = time.perf_counter()
    check_site(loaded, {}, datetime.now(UTC), probes=probes)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
