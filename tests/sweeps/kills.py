"""Recoveries in which somebody is killed at every place where that could hurt."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.recovery.question import Answer
from tests.support.killing import Emergency, Point, production
from tests.support.servers import PACKAGES, package_binaries
from tests.support.shop import Shop, open_shop
from tests.support.walking import declare_at
from tests.sweeps.kill_points import points_of_data_loss, points_of_partial_loss
from tests.sweeps.outcomes import Tally

Way = Literal["swap", "merge"]
WAYS: tuple[Way, ...] = ("swap", "merge")
# A commit must be durable, as it is on a server that is not made for tests.
SETTINGS = {"synchronous_commit": "on"}


def points_of(way: Way) -> list[Point]:
    """Return where somebody is killed in a recovery of that way, in the order of its steps."""
    return points_of_data_loss() if way == "swap" else points_of_partial_loss()


@contextmanager
def open_emergency(shop: Shop, way: Way) -> Iterator[Emergency]:
    """Damage a shop and declare its emergency."""
    shop.back_up()
    new = dict(production(shop))
    shop.execute("DELETE FROM users", "INSERT INTO users (mail) VALUES ('new@example.org')")
    old = production(shop)
    if way == "merge":
        new["users"] = tuple(sorted((*new["users"], *old["users"])))
    runbook = {"swap": "data-loss", "merge": "partial-loss"}[way]
    session = declare_at(shop.site, "rows", runbook=runbook)
    answers: dict[str, Answer | str] = {"keep-evidence": "users", "choose-way": way}
    if way == "swap":
        answers["freeze"] = "role"
    yield Emergency(shop, session, old, new, answers)


def sweep_kills(server: ScratchServer, place: Path, way: Way, points: Sequence[Point]) -> Tally:
    """Kill at all these points, and bring each recovery to its end all the same."""
    tally = Tally(f"killed in a recovery by {way}")
    left = list(points)
    while left:
        directory = place / f"{way}-{len(left)}"
        directory.mkdir()
        with open_shop(directory, server) as shop, open_emergency(shop, way) as emergency:
            _strike_all(emergency, left, tally)
    return tally


def _strike_all(emergency: Emergency, left: list[Point], tally: Tally) -> None:
    """Take one point after another, until one fails: the rest is for another emergency."""
    point: Point | None = None
    try:
        while left:
            point = left.pop(0)
            started = time.monotonic()
            came = emergency.strike(point)
            _tell(f"{time.monotonic() - started:5.1f} s  {'ok' if came else 'NOT MET'}  {point}")
            tally.counts[f"{point.victim}{'' if came else ': the moment did not come'}"] += 1
        point = None
        emergency.finish()
    except (AssertionError, FsbackupError) as error:
        tally.counts["wrong"] += 1
        tally.failures.append(f"{point or 'walk to the end'}: {error!r}"[:600])
        _tell("".join(traceback.format_exception(error)))
        emergency.server.start()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def run_way(way: Way, pattern: str = "") -> Tally:
    """Run a way's sweep on a server of its own."""
    points = [point for point in points_of(way) if pattern in str(point)]
    with tempfile.TemporaryDirectory(prefix="fsbackup-kills-") as place:
        server = start_scratch_server(
            Path(place) / "server",
            bin_directory=package_binaries(PACKAGES[18]),
            settings=SETTINGS,
        )
        try:
            return sweep_kills(server, Path(place), way, points)
        finally:
            server.remove()


def run_all() -> list[Tally]:
    """Run both ways' sweeps, beside each other."""
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(WAYS))) as pool:
        return list(pool.map(run_way, WAYS))
