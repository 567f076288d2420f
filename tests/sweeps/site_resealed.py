"""Damage that somebody sealed anew: what comes back otherwise must never come out as proven.

Either the stored file is damaged and the hashes of what is stored are made to match, as a copying
script would; or what it holds is altered, stored again with the same key, and *every* hash of it
is made to match, as somebody would who can write to the repository. A signature finds both.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.engines.chain import Sink, write_artifact
from fsbackup_tui.operations.signatures import signature_in
from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME
from tests.support.resealing import NotResealable, reseal
from tests.sweeps.damage import WAYS, Damage, draw_blow
from tests.sweeps.lane import Lane
from tests.sweeps.outcomes import Tally
from tests.sweeps.site_content import WITNESSED, content_of, differ
from tests.sweeps.site_found import signature_says_the_same, site_problems
from tests.sweeps.site_points import SIGNATURE, SitePoint, plain_name
from tests.sweeps.verdict import verdict

_NO_ARTIFACTS = (MANIFEST_NAME, PART_NAME)


@dataclass(frozen=True)
class Truth:
    """What an artifact gives back now: whether it is other, and whether that must be found."""

    changed: bool
    must_be_found: bool


async def sweep_resealed(lane: Lane, damages: Iterable[Damage[SitePoint]]) -> Tally:
    """Inflict each damage, seal what is stored, and hold what *proven* says against the content."""
    tally = Tally("a site's points damaged, the hashes of what is stored made to match")
    for number, damage in enumerate(damages):
        stored = damage.stored
        stored.renew()
        damage.inflict()
        believing = PART_NAME if damage.kind == PART_NAME else MANIFEST_NAME
        try:
            reseal(stored.bench.repository, stored.point, believing=believing)
        except NotResealable:
            tally.counts["no source writes such a thing"] += 1
            continue
        if problems := site_problems(stored):
            tally.counts["not to be sealed: no manifest could say so"] += 1
            assert damage.kind in _NO_ARTIFACTS, problems
            continue
        truth = await _truth_of_stored(lane, damage, f"resealed_{number}")
        await _judge(tally, stored, str(damage), damage.kind, truth)
    return tally


async def _truth_of_stored(lane: Lane, damage: Damage[SitePoint], name: str) -> Truth:
    stored = damage.stored
    artifact = _artifact_at(stored, damage.path)
    if artifact is None:
        return Truth(changed=False, must_be_found=False)
    before = await content_of(stored.pristine / damage.path, artifact, stored.opened_by)
    after = await content_of(stored.directory / damage.path, artifact, stored.opened_by)
    assert before is not None
    if artifact.plain_sha256 is not None:
        return Truth(before != after, must_be_found=True)
    other = await asyncio.to_thread(differ, damage.kind, before, after, lane, name)
    return Truth(other, must_be_found=damage.kind in WITNESSED)


def _artifact_at(stored: SitePoint, path: Path) -> Artifact | None:
    manifest = json.loads((stored.pristine / MANIFEST_NAME).read_bytes())
    (part,) = manifest["parts"]
    for artifact in part["artifacts"]:
        if Path(part["source"], artifact["path"]) == path:
            fields = {**artifact, "recipients": tuple(artifact["recipients"])}
            return Artifact(**fields)
    return None


async def _judge(tally: Tally, stored: SitePoint, what: str, kind: str, truth: Truth) -> None:
    """Verify a point that was sealed anew; it must not be green where other things come back."""
    with stored.bench.job("look") as context:
        signature = await signature_in(context, stored.reader)
    sums = [(place / SUMS_NAME).read_bytes() for place in (stored.pristine, stored.directory)]
    # Damage to nothing but the sums is mended by sealing anew.
    is_good = sums[0] == sums[1] and signature_says_the_same(stored)
    expected = "good" if is_good else "broken"
    if signature.state != expected:
        tally.failures.append(f"{what}: the signature is {signature.state}, not {expected}")
    (stored.directory / SIGNATURE).unlink()
    said = await verdict(stored.bench, stored.point)
    if said.crashed:
        tally.failures.append(f"{what}: {said.text}")
    if said.ok:
        tally.failures.append(f"{what}: verified, although a signature is demanded")
    if truth.changed and truth.must_be_found and said.is_green:
        tally.failures.append(f"{what}: proven, although {kind} gives other content")
    changed = "content as it was" if not truth.changed else "content changed"
    if truth.changed and not truth.must_be_found:
        changed += f" in {kind}, which nothing else tells of"
    tally.counts[f"{changed}: {said.text}"] += 1


def draw_artifacts(
    stored: Sequence[SitePoint], count: int, seed: str
) -> Iterator[tuple[SitePoint, Artifact, random.Random]]:
    """Draw so many artifacts, spread evenly over all points and their files."""
    pool = []
    for item in stored:
        item.renew()
        pool += [(item, artifact) for artifact in item.reader.part(item.part).artifacts]
    for number in range(count):
        if number % len(pool) == 0:
            random.Random(f"{seed}/{number}").shuffle(pool)
        item, artifact = pool[number % len(pool)]
        yield item, artifact, random.Random(f"{seed}/content/{number}")


async def sweep_rewritten(lane: Lane, stored: Sequence[SitePoint], count: int, seed: str) -> Tally:
    """Alter what an artifact holds and every hash of it; hold *proven* against what comes back."""
    tally = Tally("what a site's artifacts hold altered, and every hash made to match")
    for number, (item, artifact, chance) in enumerate(draw_artifacts(stored, count, seed)):
        item.renew()
        kind = plain_name(artifact)
        path = item.directory / item.part / artifact.path
        before = await content_of(path, artifact, item.opened_by)
        assert before is not None
        blow = draw_blow(WAYS[number % len(WAYS)], before, chance, near_end=number % 2 == 1)
        after = blow.struck(before)
        await store_anew(item, artifact, after)
        reseal(item.bench.repository, item.point)
        assert site_problems(item) == []
        other = await asyncio.to_thread(differ, kind, before, after, lane, f"rewritten_{number}")
        truth = Truth(other, must_be_found=kind in WITNESSED)
        await _judge(tally, item, f"{item.name} content of {artifact.path} {blow}", kind, truth)
    return tally


async def store_anew(stored: SitePoint, artifact: Artifact, content: bytes) -> None:
    """Store other content under an artifact's name, as it was stored, and tell the manifest."""
    path = stored.directory / stored.part / artifact.path
    path.unlink()

    def produce(sink: Sink) -> None:
        sink.write(content)

    written = await write_artifact(path, stored.chain(artifact), produce)
    if artifact.plain_sha256 is None:
        return
    told = replace(artifact, plain_bytes=written.plain_bytes, plain_sha256=written.plain_sha256)
    manifest = json.loads((stored.directory / MANIFEST_NAME).read_bytes())
    for part in manifest["parts"]:
        for known in part["artifacts"]:
            if known["path"] == artifact.path:
                known |= {"plain_bytes": told.plain_bytes, "plain_sha256": told.plain_sha256}
    (stored.directory / MANIFEST_NAME).write_text(json.dumps(manifest))
