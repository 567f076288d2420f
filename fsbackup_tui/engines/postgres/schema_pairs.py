"""Which schemas change places, and on which side of that a database stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.schema_marks import MarkKind

Standing = Literal["before", "after", "neither"]


@dataclass(frozen=True, slots=True)
class SchemaPair:
    """``coming`` gets the name of ``schema``, which is called ``kept_as`` from then on.

    ``leaving_oid`` 0: there is no live schema of that name, and the other is only renamed.
    """

    schema: str
    leaving_oid: int
    coming: str
    coming_oid: int
    kept_as: str


@dataclass(frozen=True, slots=True)
class SchemaSwap:
    """All pairs at once; ``kind`` is what those that leave are, ``at`` and ``job`` their mark's."""

    pairs: tuple[SchemaPair, ...]
    kind: MarkKind
    at: str
    job: str

    @property
    def leaving(self) -> tuple[SchemaPair, ...]:
        """The pairs that have a live schema."""
        return tuple(pair for pair in self.pairs if pair.leaving_oid)


@dataclass(slots=True)
class SchemaSwapped:
    """How it went: how long the tables were closed, what was re-pointed, what is to be said."""

    closed_seconds: float = 0.0
    attempts: int = 0
    sessions_ended: int = 0
    repointed: tuple[str, ...] = ()
    to_check: tuple[tuple[str, str, str], ...] = ()
    notes: list[str] = field(default_factory=list)


async def standing(connection: Connection, swap: SchemaSwap) -> Standing:
    """Return on which side of the swap the database is, by names and OIDs; never assumed."""
    wanted = [oid for pair in swap.pairs for oid in (pair.leaving_oid, pair.coming_oid) if oid]
    rows = await fetch_all(
        connection,
        "SELECT oid::int8, nspname::text FROM pg_catalog.pg_namespace WHERE oid::int8 = ANY (%s)",
        [wanted],
    )
    found = dict(rows)
    before: dict[int, str] = {}
    after: dict[int, str] = {}
    for pair in swap.pairs:
        before[pair.coming_oid], after[pair.coming_oid] = pair.coming, pair.schema
        if pair.leaving_oid:
            before[pair.leaving_oid], after[pair.leaving_oid] = pair.schema, pair.kept_as
    if found == before:
        return "before"
    return "after" if found == after else "neither"
