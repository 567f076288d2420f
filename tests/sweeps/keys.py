"""Random keys on the screens of a recovery, many of them: nothing that can hurt is ever begun."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.sweeps.outcomes import Tally

STEPS = ("keep-evidence", "choose-point", "restore", "swap", "swap", "swap", "migrations", "")
"""Where rounds begin: at what can hurt most often; the last one at the end of the incident."""

KEYS_A_ROUND = 500


async def sweep_keys(place: Path, seeds: Sequence[str]) -> Tally:
    """Press ``KEYS_A_ROUND`` random keys for every seed."""
    # Textual reads its manners when it is imported.
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    from tests.tui.recover_keys import press_randomly

    tally = Tally("Random keys in Recover: nothing that can hurt is begun without the typed name")
    for number, seed in enumerate(seeds):
        to = STEPS[number % len(STEPS)]
        directory = place / f"keys-{number}"
        directory.mkdir()
        try:
            pressed = await press_randomly(directory, seed, KEYS_A_ROUND, to=to)
        except Exception as error:  # noqa: BLE001 - whatever it is, the round has failed
            tally.failures.append(f"seed {seed} at {to or 'the end'}: {error!r}")
            continue
        asked = "asked for text" if pressed.asked else "never asked"
        tally.counts[f"{pressed.keys} keys or so from {to or 'the end'}, {asked}"] += 1
    return tally
