"""What is wrong in the live database, measured against a point; and what each way would lose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

SchemaObject = Literal[
    "table",
    "column",
    "index",
    "constraint",
    "view",
    "sequence",
    "function",
    "trigger",
    "policy",
    "type",
    "extension",
    "other",
]
Way = Literal["merge", "swap", "schema swap", "salvage"]


@dataclass(frozen=True, slots=True)
class TableDamage:
    """One table, live against the point: rows (None: not there, or not known), newest row's time.

    ``counted``: live's rows were counted, else it is the server's estimate. ``deleted`` and
    ``inserted`` are the server's own counters (n_tup_del, n_tup_ins), since ``counters_since``.
    ``missing``: the point has it and live does not, whether or not its rows are known;
    ``corrupt``: live has it, but what is on the disk can't be right, as ``note`` says.
    """

    schema: str
    name: str
    point_rows: int | None
    live_rows: int | None
    counted: bool = True
    newest: str = ""
    newest_column: str = ""
    inserted: int | None = None
    updated: int | None = None
    deleted: int | None = None
    live_bytes: int | None = None
    point_bytes: int | None = None
    note: str = ""
    missing: bool = False
    corrupt: bool = False

    @property
    def qualified(self) -> str:
        """The name as people read it."""
        return f"{self.schema}.{self.name}"

    @property
    def is_gone(self) -> bool:
        """Whether the point has it and live does not."""
        unread = self.point_rows is not None and self.live_rows is None and not self.note
        return self.missing or unread

    @property
    def rows_lost(self) -> int:
        """How many rows live has fewer than the point, as far as both are known."""
        if self.point_rows is None or (self.live_rows is None and not self.is_gone):
            return 0
        return max(0, self.point_rows - (self.live_rows or 0))


@dataclass(frozen=True, slots=True)
class SchemaDamage:
    """One definition that the point has and live has not (gone), or the other way, or changed."""

    kind: SchemaObject
    name: str
    what: Literal["gone", "added", "changed"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SequenceGap:
    """A sequence that moved on: how many values it gave since the point, how many rows stayed."""

    sequence: str
    table: str
    given: int
    kept: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point that might be restored, and what swapping to it would lose, against live now.

    ``rows_lost`` sums tables in which live has more rows than the point; ``rows_back`` those
    where the point has more. ``minutes`` from the point's moment to now. ``doubt`` says why it
    needs a written reason (suspect, after the damage, not proven, not signed); empty: none.
    ``unsigned`` says how it lacks the signature that the configuration demands. ``links`` tells of
    rows in it whose file no part of it has, a line for each column that names files.
    """

    point: str
    at: datetime
    trust: str
    minutes: float
    rows_lost: int | None
    rows_back: int | None
    after_damage: bool | None
    doubt: str = ""
    spare: str = ""
    spare_oid: int = 0
    seconds: float | None = None
    unsigned: str = ""
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DamageReport:
    """The whole read-only comparison. ``born_and_gone`` rows are in neither: at most so many.

    ``live`` tells whether the database is there and could be read; ``corrupt``, whether the
    server itself found something on its disk that can't be right. ``code`` tells of the point's
    code part and live's, ``links`` which rows of the point would have no file, each in a sentence.
    """

    at: datetime
    point: str
    point_at: datetime | None
    tables: tuple[TableDamage, ...] = ()
    schema: tuple[SchemaDamage, ...] = ()
    sequences: tuple[SequenceGap, ...] = ()
    live_bytes: int | None = None
    point_bytes: int | None = None
    born_and_gone: int | None = None
    counters_since: datetime | None = None
    candidates: tuple[Candidate, ...] = ()
    health: tuple[str, ...] = ()
    migration_head_live: str = ""
    migration_head_point: str = ""
    notes: tuple[str, ...] = ()
    live: Literal["there", "gone", "unreadable"] = "there"
    corrupt: bool = False
    code: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def worst(self) -> tuple[TableDamage, ...]:
        """The tables that lost rows or are gone, the greatest loss first."""
        hurt = [table for table in self.tables if table.is_gone or table.rows_lost]
        return tuple(sorted(hurt, key=lambda table: -table.rows_lost))
