"""Run the sweeps whole and print their figures; exit status 1 if anything was wrong."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.replicating import KINDS
from tests.sweeps.clean import sweep_clean
from tests.sweeps.damage import Damage, Way, draw
from tests.sweeps.keys import KEYS_A_ROUND, sweep_keys
from tests.sweeps.kills import run_all
from tests.sweeps.lane import open_lane
from tests.sweeps.outcomes import Tally
from tests.sweeps.replica_kills import sweep_replica_kills
from tests.sweeps.sealed import sweep_sealed
from tests.sweeps.site import Rounds, sweep_site
from tests.sweeps.site_kills import run_scenes
from tests.sweeps.stored import Stored, store_all
from tests.sweeps.wrong_source import sweep_wrong_source

_DUMPS = 0.8
"""The share of the sealed damages that goes to the dumps themselves, where the rows are."""


@dataclass(frozen=True)
class Plan:
    """How many rounds of each, the seed, and which share of them this process has."""

    flips: int
    cuts: int
    clean: int
    keys: int
    site: int
    seed: str
    share: int = 0
    shares: int = 1

    def mine(self, count: int) -> int:
        """Return this share's part of so many rounds."""
        return count // self.shares + (self.share < count % self.shares)


def main() -> int:
    given = _arguments()
    started = time.monotonic()
    if given.replicas:
        tallies = _kill_on_the_way()
    else:
        tallies = [*run_all(), *run_scenes()] if given.recover else _sweep(given)
    for tally in tallies:
        sys.stdout.write(f"{tally.text()}\n\n")
    wrong = sum(len(tally.failures) for tally in tallies)
    seconds = time.monotonic() - started
    sys.stdout.write(f"{'FAIL' if wrong else 'PASS'}: {wrong} wrong, {seconds:.0f} s\n")
    return 1 if wrong else 0


def _sweep(given: argparse.Namespace) -> list[Tally]:
    plan = Plan(given.flips, given.cuts, given.clean, given.keys, given.site, given.seed)
    shares = min(os.cpu_count() or 1, 4)
    plans = [replace(plan, share=share, shares=shares) for share in range(shares)]
    with ProcessPoolExecutor(shares) as pool:
        results = list(pool.map(run_share, plans))
    return [_together(same) for same in zip(*results, strict=True)]


def _kill_on_the_way() -> list[Tally]:
    with tempfile.TemporaryDirectory(prefix="fsbackup-sweep-") as place:
        return [
            sweep_replica_kills(kind, Path(place) / kind, list(range(14)), 10) for kind in KINDS
        ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sweeps", description=__doc__)
    parser.add_argument("--flips", type=int, default=320, help="bits flipped, in either sweep")
    parser.add_argument("--cuts", type=int, default=220, help="files cut off, in either sweep")
    parser.add_argument("--clean", type=int, default=220, help="faultless databases")
    parser.add_argument("--keys", type=int, default=20_000, help="random keys in Recover")
    parser.add_argument("--site", type=int, default=1200, help="damages to a whole site's points")
    parser.add_argument("--seed", default="1", help="another seed draws other rounds")
    parser.add_argument(
        "--recover", action="store_true", help="instead: kill at every point of a recovery"
    )
    parser.add_argument(
        "--replicas", action="store_true", help="instead: kill at every moment of sending copies"
    )
    return parser.parse_args()


def run_share(plan: Plan) -> list[Tally]:
    """Run one share of all the sweeps, on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="fsbackup-sweep-") as place:
        return asyncio.run(_run(plan, Path(place)))


async def _run(plan: Plan, place: Path) -> list[Tally]:
    seed = f"{plan.seed}/{plan.share}"
    tallies = []
    with open_lane(place / "seventeen", 17) as lane:
        stored = await store_all(lane)

        def lots(way: Way, count: int, *, dumps: float) -> list[Damage[Stored]]:
            of_dumps = round(plan.mine(count) * dumps)
            anything = plan.mine(count) - of_dumps
            return [
                *draw(stored, way, anything, seed),
                *draw(stored, way, of_dumps, seed, only="dump"),
            ]

        def damages(dumps: float) -> list[Damage[Stored]]:
            return lots("flip", plan.flips, dumps=dumps) + lots("cut", plan.cuts, dumps=dumps)

        tallies.append(sweep_sealed(damages(0)))
        tallies.append(await sweep_wrong_source(lane, damages(_DUMPS)))
        half = plan.mine(plan.clean) // 2
        clean = await sweep_clean(lane, [f"{seed}/{n}" for n in range(half)])
    with open_lane(place / "eighteen", 18) as lane:
        rest = plan.mine(plan.clean) - half
        more = await sweep_clean(lane, [f"{seed}/{n + half}" for n in range(rest)])
    with open_lane(place / "site", 17) as lane:
        count = plan.mine(plan.site)
        of_site = await sweep_site(
            lane, Rounds(count, count // 2, count // 2, count // 6, count // 6), seed
        )
    rounds = [f"{seed}/{n}" for n in range(plan.mine(-(-plan.keys // KEYS_A_ROUND)))]
    return [*tallies, _together([clean, more]), *of_site, await sweep_keys(place, rounds)]


def _together(tallies: list[Tally] | tuple[Tally, ...]) -> Tally:
    whole = Tally(tallies[0].title)
    for tally in tallies:
        whole.counts += tally.counts
        whole.failures += tally.failures
    return whole


if __name__ == "__main__":
    sys.exit(main())
