"""Points on their way to a replica, by a worker that is killed -9 at every kind of moment.

Afterwards no record says "copied" of what is not whole there, a manifest there stands only above
a whole point, and the next run sends what lacks and nothing that was whole.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from fsbackup_tui.engines.process_group import death_signal_prefix
from tests.support.killed_work import run_until_killed
from tests.support.replicating import copies, far_away, made, replicate, site_with, tree
from tests.support.sites import Site
from tests.sweeps.outcomes import Tally

GATES = (
    *(f"fsbackup_tui.engines.remote.{way}:run" for way in ("rclone", "rsync")),
    "fsbackup_tui.operations.replica_send:write_record",
    "fsbackup_tui.operations.replica_send:_demand_all",
    "fsbackup_tui.operations.replica_check:write_record",
)
_POINTS = 2
_BYTES = 1_500_000
_BANDWIDTH = "3MB"


def sweep_replica_kills(kind: str, directory: Path, moments: list[int], instants: int) -> Tally:
    """Kill a run before each of those calls of a program, and at so many instants of its time."""
    tally = Tally(f"kill -9 while points go to {kind}")
    death_signal_prefix()
    chance = random.Random(f"{os.environ.get('FSBACKUP_SWEEP_SEED', '1')}/{kind}")
    with far_away(kind, directory / "far") as (place, there):
        for number, moment in enumerate([*moments, *[None] * instants]):
            slow = {**place, "bandwidth": _BANDWIDTH}
            where = str(slow.get("url") or slow.get("rsync")) + f"/{number}"
            slow |= {"url": where} if slow.get("url") else {"rsync": where}
            site = site_with(directory / str(number), far=slow)
            points = made(site, _POINTS, chance.randbytes(_BYTES))
            name = f"before call {moment}" if moment is not None else "at an instant"
            _one(tally, name, site, points, there / str(number), moment, chance)
    return tally


def _one(
    tally: Tally,
    name: str,
    site: Site,
    points: list[str],
    there: Path,
    moment: int | None,
    chance: random.Random,
) -> None:
    def work() -> None:
        asyncio.run(replicate(site))

    if moment is not None:
        killed = run_until_killed(work, GATES, moment)
    else:
        # Two points of 1.5 MB at 3 MB a second, and what it takes to begin and to end.
        killed = _kill_within(work, chance.uniform(0.2, 2.5))
    said = _false_words(site, points, there)
    whole = {path: (there / path).stat().st_mtime_ns for path in _whole_files(site, there)}
    result = asyncio.run(replicate(site))
    if not result["ok"]:
        said.append(f"the next run fails: {result['replicas']['far']['problem']}")
    if {n: c for n, c in tree(there / "points").items() if "/.partial/" not in f"/{n}"} != tree(
        site.repository / "points"
    ):
        said.append("the next run did not make it whole")
    again = [path for path, at in whole.items() if (there / path).stat().st_mtime_ns != at]
    if again:
        said.append(f"sent although it was whole: {again}")
    tally.counts["killed, and whole after the next run" if killed else "had come to its end"] += 1
    tally.failures += [f"{name}: {word}" for word in said]


def _false_words(site: Site, points: list[str], there: Path) -> list[str]:
    said = []
    for point in points:
        here = tree(site.repository / "points" / point)
        far = tree(there / "points" / point)
        whole = all(far.get(name) == content for name, content in here.items())
        if copies(site, point) and not whole:
            said.append(f"{point} is called copied and is not whole")
        if "manifest.json" in far and not whole:
            said.append(f"{point} has its manifest there and is not whole")
    return said


def _whole_files(site: Site, there: Path) -> list[str]:
    here, far = tree(site.repository / "points"), tree(there / "points")
    return [f"points/{name}" for name, content in far.items() if here.get(name) == content]


def _kill_within(work: object, seconds: float) -> bool:
    assert callable(work)
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True
