"""A sample of the proof's sweeps (``python -m tests.sweeps`` runs them whole).

FSBACKUP_SWEEP_SEED draws other rounds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sweeps.clean import sweep_clean
from tests.sweeps.damage import draw
from tests.sweeps.lane import open_lane
from tests.sweeps.sealed import sweep_sealed
from tests.sweeps.site import Rounds, sweep_site
from tests.sweeps.site_points import LOCKS
from tests.sweeps.stored import store_all
from tests.sweeps.wrong_source import sweep_wrong_source

SEED = os.environ.get("FSBACKUP_SWEEP_SEED", "1")


async def test_a_sample_of_damage(tmp_path: Path) -> None:
    with open_lane(tmp_path / "lane") as lane:
        stored = await store_all(lane)
        drawn = [*draw(stored, "flip", 90, SEED), *draw(stored, "cut", 90, SEED)]
        found = sweep_sealed(drawn)
        assert found.failures == []
        assert found.rounds == 180
        of_dumps = [
            *draw(stored, "flip", 9, SEED, only="dump"),
            *draw(stored, "cut", 3, SEED, only="dump"),
        ]
        held = await sweep_wrong_source(lane, of_dumps)
        assert held.failures == []
        assert held.rounds == 12


@pytest.mark.parametrize("major", [17, 18])
async def test_a_sample_of_faultless_databases(tmp_path: Path, major: int) -> None:
    with open_lane(tmp_path / "lane", major) as lane:
        tally = await sweep_clean(lane, [f"{SEED}/sample/{major}/{number}" for number in range(4)])
    assert tally.failures == []
    assert tally.rounds == 4


@pytest.mark.machine
async def test_a_sample_of_damage_to_a_whole_site(tmp_path: Path) -> None:
    """Needs git, gpg and ssh-keygen."""
    with open_lane(tmp_path / "lane") as lane:
        tallies = await sweep_site(lane, Rounds(150, 15, 15, 6, 5), SEED)
    assert [failure for tally in tallies for failure in tally.failures] == []
    assert [tally.rounds for tally in tallies] == [150, 15, 15, 6, 15, 4 * len(LOCKS)]
