"""Killed in mid-recovery: worker, leader or server, at a sample of the places of the whole sweep.

``python -m tests.sweeps --recover`` takes them all. FSBACKUP_SWEEP_SEED draws another sample.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.servers import FreshServer
from tests.sweeps.kills import SETTINGS, WAYS, Way, points_of, sweep_kills

SEED = os.environ.get("FSBACKUP_SWEEP_SEED", "1")
SAMPLE = 4

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("way", WAYS)
def test_whoever_is_killed_it_comes_to_its_end(
    way: Way, fresh_server: FreshServer, tmp_path: Path
) -> None:
    every = points_of(way)
    drawn = sorted(random.Random(f"{SEED}/{way}").sample(range(len(every)), SAMPLE))
    points = [every[number] for number in drawn]
    tally = sweep_kills(fresh_server(settings=SETTINGS), tmp_path, way, points)
    assert tally.failures == [], tally.text()
    assert tally.rounds == SAMPLE, tally.text()


def test_the_whole_sweep_has_places_enough() -> None:
    every = [point for way in WAYS for point in points_of(way)]
    assert len(every) == len(set(map(str, every))) >= 60
    assert {point.victim for point in every} == {
        *("worker", "server", "restart", "both", "session", "all")
    }
