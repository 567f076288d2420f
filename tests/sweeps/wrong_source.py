"""Damage that is sealed as it is: what changes rows must never come out as proven."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME
from tests.support.resealing import NotResealable, reseal
from tests.sweeps.damage import Damage
from tests.sweeps.lane import Lane
from tests.sweeps.outcomes import Tally
from tests.sweeps.rows import Rows, archive_rows, database_rows
from tests.sweeps.sealed import sealed_problems
from tests.sweeps.stored import Stored
from tests.sweeps.verdict import verdict


async def sweep_wrong_source(lane: Lane, damages: Iterable[Damage[Stored]]) -> Tally:
    """Inflict each damage, seal it, and hold what *proven* says against the rows themselves."""
    tally = Tally("damaged and sealed to match, against the rows that come back")
    captured = database_rows(lane.live.url("shop"))
    for number, damage in enumerate(damages):
        damage.stored.renew()
        damage.inflict()
        believing = PART_NAME if damage.kind == PART_NAME else MANIFEST_NAME
        try:
            reseal(damage.stored.bench.repository, damage.stored.point, believing=believing)
        except NotResealable:
            tally.counts["no source writes such a thing"] += 1
            continue
        if problems := sealed_problems(damage.stored):
            tally.counts["not to be sealed: no manifest could say so"] += 1
            assert damage.kind in (MANIFEST_NAME, PART_NAME), problems
            continue
        said = await verdict(damage.stored.bench, damage.stored.point)
        changed = await asyncio.to_thread(_changed, lane, damage, captured, f"truth_{number}")
        rows = "rows changed" if changed else "rows as captured"
        tally.counts[f"{rows}: {said.text}"] += 1
        if said.crashed:
            tally.failures.append(f"{damage}: {said.text}")
        if changed and said.is_green:
            tally.failures.append(f"{damage}: proven, although {', '.join(changed)} differ")
    return tally


def _changed(lane: Lane, damage: Damage[Stored], captured: Rows, name: str) -> list[str]:
    """Return the tables whose rows the damage changed."""
    if damage.kind != "dump":
        return []
    plain = damage.stored.dump_format == "plain"
    dump = damage.stored.directory / "db" / damage.path.relative_to("db").parts[0]
    here = archive_rows(lane.scratch, dump, plain=plain, name=name)
    return [table for table in sorted({*captured, *here}) if captured.get(table) != here.get(table)]
