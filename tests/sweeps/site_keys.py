"""Damage to the files that tell of a repository's keys: no point is called damaged for it.

What is written afterwards must open with what the person has; and a passphrase that was mistyped
must be refused as long as a key of the repository is there in pieces.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.engines.chain import Chain, Sink, write_artifact
from fsbackup_tui.operations.keys import encryption_key, reading_keys
from tests.sweeps.damage import WAYS, Blow, draw_blow
from tests.sweeps.outcomes import Tally
from tests.sweeps.site_content import content_of
from tests.sweeps.site_points import PASSPHRASE, SitePoint
from tests.sweeps.verdict import CRASHED, crash, verdict

_CONTENT = b"what is captured next\n"


@dataclass(frozen=True)
class KeyDamage:
    """One blow to one file of ``keys/``."""

    stored: SitePoint
    path: Path
    blow: Blow

    def __str__(self) -> str:
        return f"{self.stored.name} {self.path.name} {self.blow}"


def draw_keys(stored: Sequence[SitePoint], count: int, seed: str) -> Iterator[KeyDamage]:
    """Draw so many, spread evenly over all keys, their files and ways."""
    pool = []
    for item in stored:
        item.renew()
        pool += [(item, path, way) for path in sorted(item.keys.glob("*")) for way in WAYS]
    for number in range(count):
        if number % len(pool) == 0:
            random.Random(f"{seed}/keys/{number}").shuffle(pool)
        item, path, way = pool[number % len(pool)]
        chance = random.Random(f"{seed}/keys/blow/{number}")
        content = (item.pristine_keys / path.name).read_bytes()
        blow = draw_blow(way, content, chance, near_end=number % 2 == 1)
        yield KeyDamage(item, path, blow)


async def sweep_keys_of_points(damages: Iterable[KeyDamage]) -> Tally:
    """Damage a key's file; then read an old point, write a new one, and mistype the passphrase."""
    tally = Tally("the files of a repository's keys damaged")
    for damage in damages:
        stored = damage.stored
        for step in (_read_old, _write_new, _mistype):
            stored.renew()
            damage.path.write_bytes(damage.blow.struck(damage.path.read_bytes()))
            try:
                said = await step(stored)
            except Exception as error:  # noqa: BLE001 - a round that ends so is a finding
                said = crash(error)
            if said.startswith((CRASHED, "WRONG")):
                tally.failures.append(f"{damage}: {said}")
            kind = damage.path.name.partition(".")[2]
            tally.counts[f"{stored.lock}, {kind}: {said}"] += 1
        stored.renew()
    return tally


async def _read_old(stored: SitePoint) -> str:
    said = await verdict(stored.bench, stored.point)
    if said.crashed:
        return said.text
    if said.text.startswith("found"):
        return f"WRONG: the point is called damaged: {said.text}"
    return f"an old point is {said.text}"


async def _write_new(stored: SitePoint) -> str:
    target = stored.bench.site.directory / "written"
    target.unlink(missing_ok=True)
    repository = stored.bench.repository
    try:
        with stored.bench.job("backup") as context:
            key = await encryption_key(context, repository)
            written = await write_artifact(target, Chain(None, key), _produce)
    except FsbackupError as error:
        return f"a new one is refused: {error.what.partition(':')[0]}"
    # A key that was begun anew stays; the damaged one comes back from a copy.
    for path in stored.pristine_keys.iterdir():
        (stored.keys / path.name).write_bytes(path.read_bytes())
    artifact = written.artifact(target.parent, target.name, "also")
    with stored.bench.job("look") as context:
        keys = await reading_keys(context, repository)
        content = await content_of(target, artifact, keys)
    return "a new one is written" if content == _CONTENT else "WRONG: nothing opens the new one"


def _produce(sink: Sink) -> None:
    sink.write(_CONTENT)


async def _mistype(stored: SitePoint) -> str:
    environment = stored.bench.site.environment
    if "FSBACKUP_PASSPHRASE" not in environment:
        return "there is no passphrase to mistype"
    environment["FSBACKUP_PASSPHRASE"] = PASSPHRASE.upper()
    try:
        with stored.bench.job("backup") as context:
            await encryption_key(context, stored.bench.repository)
    except FsbackupError as error:
        return f"mistyped, refused: {error.what.partition(':')[0]}"
    finally:
        environment["FSBACKUP_PASSPHRASE"] = PASSPHRASE
    return "WRONG: a mistyped passphrase began a key"
