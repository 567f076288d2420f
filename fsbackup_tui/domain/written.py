"""What was written to the restored database since it became live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TableWritten:
    """One table's counters since the swap: rows inserted, updated, deleted (None: not known)."""

    table: str
    inserted: int | None
    updated: int | None
    deleted: int | None


@dataclass(frozen=True, slots=True)
class WrittenSince:
    """Since when, by table; tables without writing are left out. ``note`` where it is unsure."""

    since: datetime
    at: datetime
    tables: tuple[TableWritten, ...] = ()
    note: str = ""

    @property
    def rows(self) -> int:
        """All rows inserted, updated or deleted."""
        return sum((t.inserted or 0) + (t.updated or 0) + (t.deleted or 0) for t in self.tables)
