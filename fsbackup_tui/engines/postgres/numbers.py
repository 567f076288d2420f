"""Sequences of a database moved beyond those of another, so that no number is given twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far a sequence has come (None: not drawn from yet), and how it goes on."""

    last: int | None
    increment: int
    least: int
    most: int
    cycles: bool


async def read_numbers(connection: Connection) -> Mapping[str, Numbers]:
    """Return the sequences of the session's database by their names, quoted and with schema."""
    rows = await fetch_all(connection, _NUMBERS)
    return {str(name): Numbers(*rest) for name, *rest in rows}


def numbers_to_set(
    mine: Mapping[str, Numbers], others: Mapping[str, Numbers], *, margin: int
) -> dict[str, int]:
    """Return where sequences have to stand that are behind those of the other database. Pure.

    ``margin`` is how many numbers are left for what is drawn from the other one meanwhile, at
    most a hundredth of those there are; no sequence is moved beyond its bounds, and one that
    cycles is left alone.
    """
    found = {}
    for name, other in others.items():
        own = mine.get(name)
        if own is None or own.cycles or other.last is None or own.increment * other.increment <= 0:
            continue
        forward = own.increment > 0
        if own.last is not None and (own.last >= other.last if forward else own.last <= other.last):
            continue
        # Moved to its end, a short sequence would give no number any more.
        there_are = ((own.most if forward else own.least) - other.last) // own.increment
        wanted = other.last + min(margin, there_are // 100) * own.increment
        if there_are >= 0:
            found[name] = wanted
    return found


async def set_numbers(connection: Connection, wanted: Mapping[str, int]) -> None:
    """Let sequences go on from these numbers. A setval is not undone by a rollback."""
    if wanted:
        names, values = list(wanted), list(wanted.values())
        await connection.execute(_SET, [names, values])


_NUMBERS = """
SELECT pg_catalog.format('%I.%I', schemaname, sequencename), last_value, increment_by, min_value,
       max_value, cycle
FROM pg_catalog.pg_sequences
"""
_SET = """
SELECT pg_catalog.setval(name::pg_catalog.regclass, value)
FROM ROWS FROM (
    pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.int8[])
) AS wanted(name, value)
"""
