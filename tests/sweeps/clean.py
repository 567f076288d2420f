"""Faultless databases of every content: each backup must be proven."""

from __future__ import annotations

import random
from collections.abc import Iterable

import psycopg

from fsbackup_tui.domain.errors import FsbackupError
from tests.support.proving import make_bench
from tests.support.servers import execute, query
from tests.support.varied_databases import create_database_options, statements
from tests.sweeps.lane import Lane
from tests.sweeps.outcomes import Tally
from tests.sweeps.stored import COMPRESSIONS, FORMATS


async def sweep_clean(lane: Lane, seeds: Iterable[str]) -> Tally:
    """Make a database of each seed, back it up and prove it; anything else is a false alarm."""
    tally = Tally("faultless, backed up and proven")
    for seed in seeds:
        chance = random.Random(f"{seed}/way")
        dump_format = chance.choice(FORMATS)
        # The package's pg_dump 18 is built without zstd.
        usable = COMPRESSIONS if lane.live.version_num < 180_000 else COMPRESSIONS[:2]
        compression = chance.choice(usable)
        name = f"clean {seed}"
        execute(lane.live.url(), f'CREATE DATABASE "{name}" {_options(lane, seed)}')
        try:
            fill(lane.live.url(name), statements(seed, name))
            said = await _proven(lane, name, dump_format, compression)
        finally:
            execute(lane.live.url(), f'DROP DATABASE "{name}" WITH (FORCE)')
        outcome = "FALSE ALARM" if said else "proven"
        tally.counts[f"{dump_format}/{compression}: {outcome}"] += 1
        if said:
            tally.failures.append(f"seed {seed}, {dump_format}/{compression}: {said}")
    return tally


def _options(lane: Lane, seed: str) -> str:
    built = query(lane.live.url(), "SELECT 1 FROM pg_collation WHERE collname = 'de-x-icu'")
    return create_database_options(seed, icu=bool(built))


def fill(url: str, made: Iterable[str]) -> None:
    """Run the statements, each by itself; AssertionError names the one that can't be run."""
    with psycopg.connect(url, autocommit=True, options="-c client_encoding=UTF8") as connection:
        for statement in made:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                raise AssertionError(f"{statement}: {error}") from error


async def _proven(lane: Lane, database: str, dump_format: str, compression: str) -> str:
    """Return why the backup is not proven; empty where it is."""
    bench = make_bench(
        lane.directory / database,
        lane.live.url(database),
        scratch_url=lane.scratch.url(),
        source={"format": dump_format, "compression": compression},
        verify_level="proven",
    )
    try:
        document = await bench.back_up()
    except FsbackupError as error:
        return f"{error.what} {error.why}"
    if document["ok"] and document["trust"] == "proven":
        return ""
    return f"{document['trust']}: {document['stages']}"
