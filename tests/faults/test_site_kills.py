"""Killed while settings, code or a tree come back: a sample of what the sweeps try whole.

``python -m tests.sweeps --recover`` takes every moment. FSBACKUP_SWEEP_SEED draws another one.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.sweeps.kill_points import WORDS_OF_A_STEP
from tests.sweeps.site_kills import sweep_site_kills

SEED = os.environ.get("FSBACKUP_SWEEP_SEED", "1")
FEWEST = {"config": 14, "exchange": 3, "code": 14, "code gone": 1}
"""How many moments each job has at the least."""


@pytest.mark.parametrize(
    "name",
    [
        "config",
        "exchange",
        pytest.param("code", marks=pytest.mark.machine),
        pytest.param("code gone", marks=pytest.mark.machine),
    ],
)
def test_it_comes_to_its_end_and_goes_back(name: str, tmp_path: Path) -> None:
    chance = random.Random(f"{SEED}/{name}")
    moments = chance.sample(range(FEWEST[name]), 1 if name == "code gone" else 2)
    tally = sweep_site_kills(name, tmp_path, moments, [chance.choice(WORDS_OF_A_STEP)])
    assert tally.failures == [], tally.text()
    assert tally.rounds == len(moments) + 1, tally.text()
