"""A monkey at the keys of mode 4 (the sweeps have more of it: ``python -m tests.sweeps``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.recover_keys import press_randomly

SEED = os.environ.get("FSBACKUP_SWEEP_SEED", "1")


@pytest.mark.parametrize("to", ["keep-evidence", "choose-point", "swap", "migrations"])
async def test_random_keys_begin_nothing_that_can_hurt(tmp_path: Path, to: str) -> None:
    pressed = await press_randomly(tmp_path, f"{SEED}/{to}", 500, to=to)
    assert pressed.keys >= 500
    assert pressed.asked > 0
