"""Which schemas change places, and on which side of that a database stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all
from fsbackup_tui.engines.postgres.schema_marks import Mark, MarkKind, parse_mark

Standing = Literal["before", "after", "neither"]


@dataclass(frozen=True, slots=True)
class SchemaPair:
    """``coming`` gets the name of ``schema``, which is called ``kept_as`` from then on.

    ``leaving_oid`` 0: there is no live schema of that name, and the other is only renamed. Where
    an extension can't leave the live one, that keeps its OID, and its content changes places.
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
    rows = await fetch_all(
        connection,
        "SELECT oid::int8, nspname::text, pg_catalog.obj_description(oid, 'pg_namespace')"
        " FROM pg_catalog.pg_namespace",
    )
    names = {oid: name for oid, name, _comment in rows}
    marks = {name: parse_mark(comment) for _oid, name, comment in rows}
    sides = {_standing(pair, names, marks) for pair in swap.pairs}
    return sides.pop() if len(sides) == 1 else "neither"


def _standing(
    pair: SchemaPair, names: Mapping[int, str], marks: Mapping[str, Mark | None]
) -> Standing:
    leaving, coming = names.get(pair.leaving_oid), names.get(pair.coming_oid)
    if coming == pair.coming and (leaving == pair.schema or not pair.leaving_oid):
        return "before"
    if coming == pair.schema and (leaving == pair.kept_as or not pair.leaving_oid):
        return "after"
    # A schema that an extension keeps in its place: what was in it is in one that is new.
    kept = marks.get(pair.kept_as)
    emptied = coming is None and leaving == pair.schema
    return "after" if emptied and kept is not None and kept.schema == pair.schema else "neither"
