"""Whether a point's database and code fit together, by their migrations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import CodeFacts

Verdict = Literal["same", "code newer", "database newer", "unknown"]


@dataclass(frozen=True, slots=True)
class MigrationFit:
    """How the last migration of a database and those that the code has stand to each other.

    ``pending`` are the code's migrations that the database has not had, oldest first.
    """

    verdict: Verdict
    database: str | None
    code: str | None
    pending: tuple[str, ...] = ()
    why: str = ""

    def words(self) -> str:
        """Return it as a sentence."""
        if self.verdict == "same":
            return f"database and code fit: both are at {self.database}"
        if self.verdict == "code newer":
            count = len(self.pending)
            noun = "migration is" if count == 1 else "migrations are"
            return f"the code is newer: {count} {noun} pending: {', '.join(self.pending)}"
        if self.verdict == "database newer":
            return (
                f"the database is newer: the code does not have its {self.database}, "
                f"and ends with {self.code}"
            )
        return f"whether database and code fit is not known: {self.why}"


def migration_fit(database: str | None, code: CodeFacts | None) -> MigrationFit:
    """Return how a database whose last finished migration is ``database`` fits the code.

    Prisma's names begin with the time they were made, so that the later of two sorts behind.
    """
    head = None if code is None else code.migration_head
    if database is None or head is None or code is None:
        lacks = "the code" if database is not None else "the database"
        if database is None and head is None:
            lacks = "each of them"
        return MigrationFit("unknown", database, head, why=f"{lacks} tells of no migration")
    if database == head:
        return MigrationFit("same", database, head)
    if database in code.migrations:
        pending = code.migrations[code.migrations.index(database) + 1 :]
        return MigrationFit("code newer", database, head, pending)
    if database > head:
        return MigrationFit("database newer", database, head)
    why = f"the code ends with {head} and does not have the database's {database}"
    return MigrationFit("unknown", database, head, why=why)


def fits_of(parts: Iterable[PartManifest]) -> tuple[tuple[str, str, MigrationFit], ...]:
    """Return for each database and each code part of a point how they fit.

    Each is named by its source. Pairs of which nothing is known on either side are left out.
    """
    listed = list(parts)
    found = [
        (database.source, code.source, migration_fit(database.postgres.migration_head, code.code))
        for database in listed
        if database.postgres is not None
        for code in listed
        if code.code is not None
    ]
    return tuple(one for one in found if one[2].database or one[2].code)
