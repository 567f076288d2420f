"""Every damage to what is stored is found by *sealed*."""

from __future__ import annotations

from collections.abc import Iterable

from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.reader import PointReader
from tests.sweeps.damage import Damage
from tests.sweeps.outcomes import Tally
from tests.sweeps.stored import Stored


def sealed_problems(stored: Stored) -> list[str]:
    """Return what the check of the seal finds, as ``fsbackup verify --level sealed`` reads it."""
    return PointReader(stored.bench.repository, stored.point).check_sealed(
        "db", lambda _event: None
    )


def sweep_sealed(damages: Iterable[Damage[Stored]]) -> Tally:
    """Inflict each damage on a faultless point; it must be found, and the file be named."""
    tally = Tally("damaged, found by sealed")
    for damage in damages:
        damage.stored.renew()
        assert sealed_problems(damage.stored) == []
        damage.inflict()
        problems = sealed_problems(damage.stored)
        named = [text for text in problems if damage.path.name in text]
        # A hash altered in SHA256SUMS can't be told from the file altered that it is of.
        seen = problems if damage.path.name in (SUMS_NAME, MANIFEST_NAME) else named
        if not seen:
            tally.failures.append(f"{damage}: {problems}")
        tally.counts[f"{damage.way} of {damage.kind}: {'found' if seen else 'NOT FOUND'}"] += 1
    return tally
