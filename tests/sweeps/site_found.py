"""Damage as a disk does it to the points of a site: *sealed* sees all of it."""

from __future__ import annotations

from collections.abc import Iterable

from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from tests.sweeps.damage import Damage
from tests.sweeps.outcomes import Tally
from tests.sweeps.site_points import SIGNATURE, SitePoint
from tests.sweeps.verdict import verdict

_TELLING = (SUMS_NAME, MANIFEST_NAME)
"""What names the others: a hash altered there can't be told from the file altered it is of."""


def site_problems(stored: SitePoint) -> list[str]:
    """Return what the check of the seal finds."""
    return stored.reader.check_sealed(stored.part, lambda _event: None)


async def sweep_found(damages: Iterable[Damage[SitePoint]]) -> Tally:
    """Inflict each damage on a faultless point; it must be found, and the file be named."""
    tally = Tally("a site's points damaged, found by sealed")
    for damage in damages:
        damage.stored.renew()
        assert site_problems(damage.stored) == []
        damage.inflict()
        if damage.kind == SIGNATURE:
            seen = await _signature_seen(damage)
        else:
            problems = site_problems(damage.stored)
            named = [text for text in problems if damage.path.name in text]
            seen = "found" if (problems if damage.path.name in _TELLING else named) else "NOT FOUND"
        if seen == "NOT FOUND":
            tally.failures.append(str(damage))
        tally.counts[f"{damage.way} of {damage.kind}: {seen}"] += 1
    return tally


async def _signature_seen(damage: Damage[SitePoint]) -> str:
    said = await verdict(damage.stored.bench, damage.stored.point, "sealed")
    if not said.ok:
        return "found"
    return "it says the same" if signature_says_the_same(damage.stored) else "NOT FOUND"


def signature_says_the_same(stored: SitePoint) -> bool:
    """A signature is armoured: what lies around its letters says nothing."""
    before, after = (
        b"".join((place / SIGNATURE).read_bytes().split())
        for place in (stored.pristine, stored.directory)
    )
    return after.startswith(before)
