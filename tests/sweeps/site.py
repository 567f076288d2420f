"""All sweeps over the points of a whole site, together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import execute
from tests.sweeps.damage import WAYS, Damage, draw
from tests.sweeps.lane import Lane
from tests.sweeps.outcomes import Tally
from tests.sweeps.site_forged import sweep_forged
from tests.sweeps.site_found import sweep_found
from tests.sweeps.site_keys import draw_keys, sweep_keys_of_points
from tests.sweeps.site_points import SitePoint, gpg_keyring, stored_site
from tests.sweeps.site_resealed import sweep_resealed, sweep_rewritten
from tests.sweeps.stored import CONTENT
from tests.sweeps.verdict import verdict


@dataclass(frozen=True)
class Rounds:
    """How many of each."""

    found: int
    resealed: int
    rewritten: int
    forged: int
    keys: int


async def sweep_site(lane: Lane, rounds: Rounds, seed: str) -> list[Tally]:
    """Back a site up under every key, and sweep its points; untouched they are all proven."""
    execute(lane.live.url(), "CREATE DATABASE shop")
    url = lane.live.url("shop")
    execute(url, *CONTENT)
    place = lane.directory / "points"
    place.mkdir()
    with gpg_keyring() as keyring:
        site = stored_site(place, url, scratch_url=lane.scratch.url(), keyring=keyring)
        async with site as stored:
            return await _sweep(lane, place, rounds, seed, stored)


async def _sweep(
    lane: Lane, place: Path, rounds: Rounds, seed: str, stored: list[SitePoint]
) -> list[Tally]:
    uploads = [point for point in stored if point.part == "uploads"]
    with_key = [point for point in stored if point.part == "env" and point.lock != "plain"]
    return [
        await sweep_found(_drawn(stored, rounds.found, seed)),
        await sweep_resealed(lane, _drawn(stored, rounds.resealed, seed)),
        await sweep_rewritten(lane, stored, rounds.rewritten, seed),
        await sweep_forged(uploads, place, rounds.forged, seed),
        await sweep_keys_of_points(draw_keys(with_key, rounds.keys, seed)),
        await _untouched(stored),
    ]


def _drawn(stored: Sequence[SitePoint], count: int, seed: str) -> list[Damage[SitePoint]]:
    return [damage for way in WAYS for damage in draw(stored, way, count // len(WAYS), seed)]


async def _untouched(stored: Iterable[SitePoint]) -> Tally:
    tally = Tally("a site's points untouched")
    for point in stored:
        point.renew()
        said = await verdict(point.bench, point.point)
        tally.counts[f"{point.part}: {said.text}"] += 1
        if not (said.is_green and said.ok):
            tally.failures.append(f"{point.name}: FALSE ALARM: {said.text}")
    return tally
