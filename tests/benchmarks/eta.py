"""``python -m tests.benchmarks.eta``: how wrong the remaining time of a proof is while it runs.

Databases of several sizes are backed up into one repository, then proven in turn. What each
proof's journal foretold at 10, 25, 50 and 75 % of its time is held against how long the rest
then took. Counted are, as the bar of design §10 says, the runs from the second one on of each
database; a size that only others tell about is shown, too. Exit code 0 when the bars hold, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.demo.sample_site import APPLICATION_ROLE, DATABASE, seed_database
from tests.benchmarks import contenders as run
from tests.benchmarks.bars import Bar
from tests.benchmarks.running import bytes_of, judge, work_directory
from tests.benchmarks.site import BenchSite, bench_site, default_binaries

_SHARES = (0.10, 0.25, 0.50, 0.75)
_WITHIN = 0.20


@dataclass(frozen=True, slots=True)
class Foretold:
    """One proof: its size, its seconds, and by share of them how wrong the rest was foretold.

    An error of 0.1 is a tenth too long: of the rest in ``of_rest``, of the whole proof in
    ``of_whole``. None: nothing was foretold. ``again``: that database was proven before.
    """

    size: str
    seconds: float
    of_rest: Mapping[float, float | None]
    of_whole: Mapping[float, float | None]
    again: bool


def main() -> int:
    """Measure, print every run and the errors, and return whether the bars hold (0) or not."""
    arguments = _arguments()
    sizes = {text: bytes_of(text) for text in arguments.sizes.split(",")}
    first = next(iter(sizes.values()))
    with (
        work_directory(arguments.dir) as directory,
        bench_site(directory, binaries=arguments.bin, size_bytes=first) as site,
    ):
        foretold = _prove(site, _back_up(site, sizes), arguments.rounds)
    print("\n".join(_runs(foretold)) + "\n")
    counted = [proof for proof in foretold if proof.again]
    print("\n".join(_errors(counted)) + "\n")
    bars = _bars(counted)
    return judge(bars)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.eta", description=__doc__)
    parser.add_argument("--sizes", default="20MB,60MB,150MB", help="of the generated databases")
    parser.add_argument("--rounds", type=int, default=8, help="proofs of each size")
    parser.add_argument("--bin", type=Path, default=default_binaries(), help="server and clients")
    parser.add_argument("--dir", type=Path, help="where to work: 6 times the sizes are needed")
    return parser.parse_args()


def _back_up(site: BenchSite, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return a point for each size; the site's first database is of the first one."""
    points: dict[str, str] = {}
    for text, size in sizes.items():
        if points:
            site.sql(f"DROP DATABASE {DATABASE}")
            site.sql(f"DROP ROLE {APPLICATION_ROLE}")
            asyncio.run(
                seed_database(
                    size,
                    psql=site.tool("psql"),
                    superuser_url=site.server.url(),
                    application_url=site.url,
                    env={},
                )
            )
        points[text] = run.fsbackup_backup(site, "content").document["point"]
    return points


def _prove(site: BenchSite, points: Mapping[str, str], rounds: int) -> list[Foretold]:
    foretold: list[Foretold] = []
    for number in range(rounds):
        for size, point in points.items():
            print(f"round {number + 1} of {rounds}: {size}", file=sys.stderr, flush=True)
            run.settle(site)
            run.fsbackup_verify(site, point, "proven")
            journals = site.state.rglob("*-verify-*/journal.jsonl")
            newest = max(journals, key=lambda path: path.stat().st_mtime_ns)
            foretold.append(_foretold(size, newest, again=number > 0))
    return foretold


def _foretold(size: str, journal: Path, *, again: bool) -> Foretold:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    began, ended = _time(lines[0]), _time(lines[-1])
    told = [line for line in lines if line["event"] == "remaining"]
    of_rest: dict[float, float | None] = {}
    of_whole: dict[float, float | None] = {}
    for share in _SHARES:
        moment = began + share * (ended - began)
        last = next((line for line in reversed(told) if _time(line) <= moment), None)
        of_rest[share] = of_whole[share] = None
        if last is not None and last["seconds"] is not None:
            rest = max(0.0, last["seconds"] - (moment - _time(last)))
            wrong = rest - (ended - moment)
            of_rest[share], of_whole[share] = wrong / (ended - moment), wrong / (ended - began)
    return Foretold(size, ended - began, of_rest, of_whole, again)


def _time(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["at"]).timestamp()


def _runs(foretold: Sequence[Foretold]) -> list[str]:
    heads = "".join(f"{f'at {share:.0%}':>9}" for share in _SHARES)
    lines = [f"{'RUN':<5}{'SIZE':<8}{'TOOK':>8}   ERROR OF THE REST{heads}"]
    for number, proof in enumerate(foretold, 1):
        cells = "".join(f"{_percent(proof.of_rest[share]):>9}" for share in _SHARES)
        lines.append(f"{number:<5}{proof.size:<8}{proof.seconds:>6.1f} s   {'':<17}{cells}")
    return lines


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:+.0%}"


def _errors(foretold: Sequence[Foretold]) -> list[str]:
    lines = [f"{'ERROR':<22}{'RUNS':>5}{'MEDIAN':>9}{'9 OF 10':>9}{'WORST':>9}{'IN ±20 %':>10}"]
    for share in _SHARES:
        for name, errors in (
            ("of the rest", [proof.of_rest[share] for proof in foretold]),
            ("of the whole", [proof.of_whole[share] for proof in foretold]),
        ):
            found = [abs(error) for error in errors if error is not None]
            if not found:
                continue
            within = sum(error <= _WITHIN for error in found) / len(found)
            lines.append(
                f"{f'at {share:.0%}, {name}':<22}{len(found):>5}{statistics.median(found):>9.0%}"
                f"{_of_nine_in_ten(found):>9.0%}{max(found):>9.0%}{within:>10.0%}"
            )
    return lines


def _of_nine_in_ten(values: Sequence[float]) -> float:
    """Return the smallest value that nine in ten of them don't exceed."""
    return sorted(values)[-(len(values) // 10) - 1]


def _bars(foretold: Sequence[Foretold]) -> list[Bar]:
    bars = []
    for share in (0.10, 0.50):
        errors = [proof.of_rest[share] for proof in foretold]
        told = [abs(error) for error in errors if error is not None]
        worst = _of_nine_in_ten(told) if told else 1.0
        name = f"error of the rest at {share:.0%}, 9 in 10 runs"
        bars.append(Bar(name, worst * 100, "at most", _WITHIN * 100, "%"))
    known = sum(proof.of_rest[0.10] is not None for proof in foretold) / max(1, len(foretold))
    bars.append(Bar("runs that foretell their end at 10 %", known * 100, "at least", 100, "%"))
    return bars


if __name__ == "__main__":
    sys.exit(main())
